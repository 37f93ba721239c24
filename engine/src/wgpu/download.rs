//! From the device to the host: copies begun early, taken out late.

use std::sync::{Arc, mpsc};

use ::wgpu::{Buffer, BufferAsyncError, MapMode, SubmissionIndex};
use rayon::prelude::*;

use super::buffer::GpuBuffer;
use super::context::{Context, lost};
use super::lock::lock;
use super::pool::{PIECE_BYTES, STAGING_BYTES};
use crate::error::Result;

/// A long download goes in parts of this size, two of which are under way at a time.
const DOWNLOAD_BYTES: usize = 4 * STAGING_BYTES;

impl Context {
    /// Starts to copy `bytes` of `buffer` from `offset` on, both multiples of four, once all commands so far are done.
    /// They are submitted, and this call does not wait.
    pub(super) fn begin_download(
        self: &Arc<Self>,
        buffer: &GpuBuffer,
        offset: usize,
        bytes: usize,
    ) -> Result<Download> {
        let mut parts = Vec::new();
        for at in (0..bytes).step_by(STAGING_BYTES) {
            let used = STAGING_BYTES.min(bytes - at);
            let staging = lock(&self.pool).take_download(&self.device, used)?;
            self.record(1, |e| {
                e.copy_buffer_to_buffer(buffer.raw(), (offset + at) as u64, &staging, 0, used as u64);
            });
            parts.push((staging, used));
        }
        let index = self.submit(&mut lock(&self.recorder));
        let (sender, done) = mpsc::channel();
        for (staging, used) in &parts {
            let sender = sender.clone();
            staging.map_async(MapMode::Read, ..*used as u64, move |result| {
                // Nobody listens any more if the download was given up.
                let _ = sender.send(result);
            });
        }
        Ok(Download { context: self.clone(), parts, index: Some(index), done })
    }

    /// Copies `buffer` from `offset` on into `out`, a multiple of four bytes, once all commands so far are done. While
    /// a part is taken out, the next one is on its way.
    pub(super) fn download(self: &Arc<Self>, buffer: &GpuBuffer, offset: usize, out: &mut [u8]) -> Result<()> {
        let mut before: Option<(Download, &mut [u8])> = None;
        for (i, part) in out.chunks_mut(DOWNLOAD_BYTES).enumerate() {
            let next = self.begin_download(buffer, offset + i * DOWNLOAD_BYTES, part.len())?;
            if let Some((download, out)) = before.replace((next, part)) {
                download.finish(out)?;
            }
        }
        match before {
            Some((download, out)) => download.finish(out),
            None => self.healthy(),
        }
    }
}

/// A copy to the host under way.
pub(super) struct Download {
    context: Arc<Context>,
    /// Staging buffers and the bytes of them that are used.
    parts: Vec<(Buffer, usize)>,
    index: Option<SubmissionIndex>,
    done: mpsc::Receiver<std::result::Result<(), BufferAsyncError>>,
}

impl Download {
    /// Waits for it and copies it to `out`, which has the length that was asked for.
    pub(super) fn finish(mut self, out: &mut [u8]) -> Result<()> {
        if let Some(index) = self.index.take() {
            self.context.wait(index)?;
        }
        for _ in &self.parts {
            self.done.recv().map_err(lost)?.map_err(lost)?;
        }
        let parts = std::mem::take(&mut self.parts);
        // One core does not fill the bus.
        parts.par_iter().zip(out.par_chunks_mut(STAGING_BYTES)).try_for_each(|((staging, used), out)| {
            let mapped = staging.get_mapped_range(..*used as u64).map_err(lost)?;
            let pieces = out.par_chunks_mut(PIECE_BYTES).zip(mapped.par_chunks(PIECE_BYTES));
            pieces.for_each(|(out, mapped)| out.copy_from_slice(mapped));
            Ok(())
        })?;
        for (staging, used) in parts {
            staging.unmap();
            self.context.clear(&staging, used as u64);
            lock(&self.context.pool).put_download(staging);
        }
        self.context.healthy()
    }
}

impl Drop for Download {
    /// What was given up is cleared too.
    fn drop(&mut self) {
        for (staging, used) in self.parts.drain(..) {
            staging.unmap();
            self.context.clear(&staging, used as u64);
        }
    }
}
