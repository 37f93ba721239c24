//! Twin of `ntt_forward.wgsl`, `ntt_inverse.wgsl` and `ntt_head.wgsl`: chunks of up to [`CHUNK`] points in one workgroup
//! each; longer rows take one more step over global memory, first (forward) or last (inverse).

use std::sync::Arc;

use blindvox_shaders::{Kernel, NTT_FORWARD, NTT_HEAD_FORWARD, NTT_HEAD_INVERSE, NTT_INVERSE};

use super::pipeline::Pipeline;
use super::{GpuBuffer, GpuTables, LANES, WORD, Wgpu, part, whole};
use crate::backend::Shape;
use crate::error::Result;

/// Points that fit 32 KiB of workgroup memory.
const CHUNK: usize = 4096;

impl Wgpu {
    pub(super) fn run_ntt_forward(&self, t: &GpuTables, shape: Shape, buffer: &GpuBuffer) -> Result<()> {
        let chunk = self.chunk_kernel(NTT_FORWARD, shape.n);
        let head = self.head_kernel(NTT_HEAD_FORWARD, shape.n);
        self.run_ntt(t, shape, buffer, &t.forward, [head, Some(chunk)])
    }

    pub(super) fn run_ntt_inverse(&self, t: &GpuTables, shape: Shape, buffer: &GpuBuffer) -> Result<()> {
        let chunk = self.chunk_kernel(NTT_INVERSE, shape.n);
        let head = self.head_kernel(NTT_HEAD_INVERSE, shape.n);
        self.run_ntt(t, shape, buffer, &t.inverse, [Some(chunk), head])
    }

    /// The kernel of a chunk and its workgroups a row.
    fn chunk_kernel(&self, kernel: Kernel, n: usize) -> (Arc<Pipeline>, usize) {
        let points = n.min(CHUNK);
        // Pays where memory wants neighbouring lanes at neighbouring words; checked runs take it to be tested anywhere.
        let through_tile = u32::from(!self.context.software || self.context.pipelines.checked);
        (self.context.pipeline(kernel, &[("POINTS", points as u32), ("THROUGH_TILE", through_tile)]), n / points)
    }

    /// The step that joins chunks and its workgroups a row; none if the row is a chunk.
    fn head_kernel(&self, kernel: Kernel, n: usize) -> Option<(Arc<Pipeline>, usize)> {
        let chunks = n / CHUNK;
        (chunks > 1).then(|| (self.context.pipeline(kernel, &[("RADIX", chunks as u32)]), n / chunks / LANES))
    }

    fn run_ntt(
        &self,
        t: &GpuTables,
        shape: Shape,
        buffer: &GpuBuffer,
        roots: &GpuBuffer,
        steps: [Option<(Arc<Pipeline>, usize)>; 2],
    ) -> Result<()> {
        self.context.healthy()?;
        let Shape { limbs, n, .. } = shape;
        let parameters = [n, limbs, n / n.min(CHUNK)].map(|v| v as u32);
        for (first, count) in self.windows(shape)? {
            let windows = [t.moduli(), part(buffer, limbs * n * WORD, first, count), whole(roots)];
            for (pipeline, groups) in steps.iter().flatten() {
                let groups = [*groups as u32, (count * limbs) as u32, 1];
                self.context.dispatch(pipeline, &windows, &parameters, groups);
            }
        }
        Ok(())
    }
}
