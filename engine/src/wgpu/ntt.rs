//! Twin of `ntt_forward.wgsl`, `ntt_inverse.wgsl` and `ntt_head.wgsl`: rows of up to [`CHUNK`] points in one workgroup, longer
//! ones by stages over global memory first (forward) or last (inverse).

use blindvox_shaders::{NTT_FORWARD, NTT_HEAD_FORWARD, NTT_HEAD_INVERSE, NTT_INVERSE};

use super::{GpuBuffer, GpuTables, LANES, WORD, Wgpu, part, whole};
use crate::backend::Shape;
use crate::error::Result;

/// Points that fit the 32 KiB of workgroup memory.
const CHUNK: usize = 4096;

fn constants(points: usize) -> [(&'static str, u32); 2] {
    [("POINTS", points as u32), ("LANES", (points / 4).min(256) as u32)]
}

impl Wgpu {
    pub(super) fn run_ntt_forward(&self, t: &GpuTables, shape: Shape, buffer: &GpuBuffer) -> Result<()> {
        self.context.healthy()?;
        let Shape { limbs, n, .. } = shape;
        let points = n.min(CHUNK);
        let head = self.context.pipeline(NTT_HEAD_FORWARD, &[]);
        let tail = self.context.pipeline(NTT_FORWARD, &constants(points));
        for (first, count) in self.windows(shape)? {
            let rows = (count * limbs) as u32;
            let windows = [t.moduli(), part(buffer, limbs * n * WORD, first, count), whole(&t.forward)];
            let mut half = n / 2;
            while half >= points {
                let parameters = [n as u32, limbs as u32, half as u32, 0];
                self.context.dispatch(&head, &windows, &parameters, [(n / 2 / LANES) as u32, rows, 1]);
                half /= 2;
            }
            let chunks = (n / points) as u32;
            self.context.dispatch(&tail, &windows, &[n as u32, limbs as u32, chunks], [chunks, rows, 1]);
        }
        Ok(())
    }

    pub(super) fn run_ntt_inverse(&self, t: &GpuTables, shape: Shape, buffer: &GpuBuffer) -> Result<()> {
        self.context.healthy()?;
        let Shape { limbs, n, .. } = shape;
        let points = n.min(CHUNK);
        let head = self.context.pipeline(NTT_INVERSE, &constants(points));
        let tail = self.context.pipeline(NTT_HEAD_INVERSE, &[]);
        for (first, count) in self.windows(shape)? {
            let rows = (count * limbs) as u32;
            let windows = [t.moduli(), part(buffer, limbs * n * WORD, first, count), whole(&t.inverse)];
            let chunks = (n / points) as u32;
            self.context.dispatch(&head, &windows, &[n as u32, limbs as u32, chunks], [chunks, rows, 1]);
            let mut half = points;
            while half < n {
                let parameters = [n as u32, limbs as u32, half as u32, u32::from(2 * half == n)];
                self.context.dispatch(&tail, &windows, &parameters, [(n / 2 / LANES) as u32, rows, 1]);
                half *= 2;
            }
        }
        Ok(())
    }
}
