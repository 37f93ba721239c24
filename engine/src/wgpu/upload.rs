//! From the host to the device, through a ring of mapped buffers.
//!
//! Staging buffers are taken under the recorder's lock, filled without it, by all threads where there is much to copy,
//! and recorded under it again: other threads record and fill meanwhile. Where the driver puts them on the device, the
//! copy to them is what crosses the bus. The host clears what was staged when it comes back. (The device could, after
//! its copy, where it may write to what the host maps: on an H200 the next copy then read those zeros in place of what
//! the host had written since.)

use ::wgpu::{Buffer, PollType, SubmissionIndex};
use rayon::prelude::*;

use super::buffer::GpuBuffer;
use super::context::{Context, Recorder, lost};
use super::lock::lock;
use super::pool::{PIECE_BYTES, STAGING_BYTES};
use crate::error::Result;

/// Upload buffers in flight before an upload waits for the device: bounds host memory.
pub(super) const UPLOADS_IN_FLIGHT: usize = 16;
/// Of them in one submission, so that the device copies some while the host fills others.
pub(super) const UPLOADS_A_SUBMIT: usize = 4;

impl Context {
    /// Copies `bytes` to `buffer` from `offset` on, both multiples of four.
    pub(super) fn upload(&self, buffer: &GpuBuffer, offset: usize, bytes: &[u8]) -> Result<()> {
        let group = UPLOADS_A_SUBMIT * STAGING_BYTES;
        for (i, bytes) in bytes.chunks(group).enumerate() {
            let staging = self.take_staging(bytes)?;
            let parts = || staging.iter().zip(bytes.chunks(STAGING_BYTES));
            // Not from within the pool, where a thread that waits for pieces may take up other work, nor for a little.
            if bytes.len() > 2 * PIECE_BYTES && rayon::current_thread_index().is_none() {
                let pieces = |(to, part): (&'_ Buffer, &'_ [u8])| {
                    part.par_chunks(PIECE_BYTES).enumerate().try_for_each(|(i, p)| fill(to, i * PIECE_BYTES, p))
                };
                parts().collect::<Vec<_>>().into_par_iter().try_for_each(pieces)?;
            } else {
                parts().try_for_each(|(to, part)| fill(to, 0, part))?;
            }
            self.record_uploads(buffer, offset + i * group, bytes, staging);
        }
        self.healthy()
    }

    /// A mapped buffer for every part of `bytes`.
    fn take_staging(&self, bytes: &[u8]) -> Result<Vec<Buffer>> {
        self.poll(PollType::Poll)?;
        self.reclaim_uploads();
        loop {
            // Others go on while this thread waits.
            let ahead = self.upload_ahead(&mut lock(&self.recorder));
            let Some(oldest) = ahead else { break };
            self.wait(oldest)?;
            self.reclaim_uploads();
        }
        let pool = &mut *lock(&self.pool);
        bytes.chunks(STAGING_BYTES).map(|part| pool.take_upload(&self.device, part.len())).collect()
    }

    /// The oldest submission if the host is a whole ring ahead.
    fn upload_ahead(&self, recorder: &mut Recorder) -> Option<SubmissionIndex> {
        if recorder.uploads.len() >= UPLOADS_A_SUBMIT {
            self.submit(recorder);
        }
        let ahead = recorder.in_flight >= UPLOADS_IN_FLIGHT;
        ahead.then(|| recorder.uploading.pop_front()).flatten()
    }

    fn record_uploads(&self, buffer: &GpuBuffer, offset: usize, bytes: &[u8], staging: Vec<Buffer>) {
        let recorder = &mut *lock(&self.recorder);
        for (i, (staging, part)) in staging.into_iter().zip(bytes.chunks(STAGING_BYTES)).enumerate() {
            staging.unmap();
            let used = part.len() as u64;
            let encoder = self.encoder(recorder);
            encoder.copy_buffer_to_buffer(&staging, 0, buffer.raw(), (offset + i * STAGING_BYTES) as u64, used);
            recorder.commands += 1;
            recorder.uploads.push((staging, used));
        }
    }

    /// Upload buffers that came back are cleared, without the recorder's lock, and can be filled again.
    pub(super) fn reclaim_uploads(&self) {
        let back: Vec<_> = {
            let recorder = &mut *lock(&self.recorder);
            let back: Vec<_> = recorder.back.1.try_iter().collect();
            recorder.in_flight -= back.len();
            if recorder.in_flight == 0 {
                recorder.uploading.clear();
            }
            back
        };
        for (buffer, used) in back {
            if let Ok(mut view) = buffer.get_mapped_range_mut(..used) {
                view.slice(..).fill(0);
            }
            lock(&self.pool).put_upload(buffer);
        }
    }
}

fn fill(staging: &Buffer, at: usize, piece: &[u8]) -> Result<()> {
    let (start, end) = (at as u64, (at + piece.len()) as u64);
    staging.get_mapped_range_mut(start..end).map_err(lost)?.copy_from_slice(piece);
    Ok(())
}
