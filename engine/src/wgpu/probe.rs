//! Twin of `probe.wgsl`: the rates that an adapter reaches at best, measured, for measurements to be held to.

use std::time::Instant;

use blindvox_shaders::{Kernel, PROBE_COPY, PROBE_MULTIPLY};

use super::context::Window;
use super::{GpuBuffer, WORD, Wgpu, whole};
use crate::error::{Error, Result};

/// Lanes of a workgroup.
const LANES: usize = 256;
/// Multiply-adds a lane and round.
const CHAINS: usize = 32;
/// Factor and summand of the chains.
const CHAIN: [u32; 2] = [0x9e37_79b1, 0x7f4a_7c15];

/// What a lane of `probe_multiply` leaves.
fn chains(lane: u32, rounds: usize) -> u64 {
    let value =
        |chain: u32| (0..rounds).fold(lane.wrapping_add(chain), |x, _| x.wrapping_mul(CHAIN[0]).wrapping_add(CHAIN[1]));
    let half = |from: u32| (from..from + 16).fold(0, |sum, chain| sum ^ value(chain));
    u64::from(half(0)) | u64::from(half(16)) << 32
}

impl Wgpu {
    /// The shortest of five runs, after one that is not timed.
    fn best_seconds(
        &self,
        kernel: Kernel,
        windows: &[Window<'_>],
        parameters: &[u32; 2],
        groups: usize,
        repeat: usize,
    ) -> Result<f64> {
        let pipeline = self.context.pipeline(kernel, &[]);
        let mut best = f64::INFINITY;
        for run in 0..6 {
            self.context.synchronize()?;
            let start = Instant::now();
            for _ in 0..repeat {
                self.context.dispatch(&pipeline, windows, parameters, [groups as u32, 1, 1]);
            }
            self.context.synchronize()?;
            if run > 0 {
                best = best.min(start.elapsed().as_secs_f64() / repeat as f64);
            }
        }
        Ok(best)
    }

    /// Words copied a second.
    pub(super) fn copy_rate(&self) -> Result<f64> {
        // Larger than any cache on a GPU.
        let limit = self.context.limits.max_storage_buffer_binding_size as usize;
        let bytes = if self.context.software { 16 << 20 } else { 1 << 30 }.min(limit) / 4096 * 4096;
        let count = bytes / WORD;
        let from = GpuBuffer::zeros(&self.context, bytes)?;
        self.context.upload(&from, bytes - 4096, &[7; 4096])?;
        let to = GpuBuffer::zeros(&self.context, bytes)?;
        let groups = 4096;
        let windows = [whole(&from), whole(&to), whole(&from)];
        let repeat = if self.context.software { 1 } else { 8 };
        let seconds =
            self.best_seconds(PROBE_COPY, &windows, &[count as u32, (groups * LANES) as u32], groups, repeat)?;
        let mut end = [0; 4096];
        self.context.download(&to, bytes - 4096, &mut end)?;
        if end != [7; 4096] {
            return Err(Error::Device("the copying probe did not copy".to_owned()));
        }
        Ok(count as f64 / seconds)
    }

    /// Multiply-adds a second.
    pub(super) fn multiply_rate(&self) -> Result<f64> {
        let (groups, rounds) = if self.context.software { (64, 256) } else { (16_384, 4096) };
        let lanes = groups * LANES;
        let factors = GpuBuffer::upload(&self.context, bytemuck::cast_slice(&CHAIN))?;
        let out = GpuBuffer::zeros(&self.context, lanes * WORD)?;
        let windows = [whole(&factors), whole(&out), whole(&factors)];
        let seconds = self.best_seconds(PROBE_MULTIPLY, &windows, &[rounds as u32, 0], groups, 1)?;
        let mut last = [0u64];
        self.context.download(&out, (lanes - 1) * WORD, bytemuck::cast_slice_mut(&mut last))?;
        if last[0] != chains(lanes as u32 - 1, rounds) {
            return Err(Error::Device("the multiplying probe is wrong".to_owned()));
        }
        Ok((lanes * rounds * CHAINS) as f64 / seconds)
    }
}
