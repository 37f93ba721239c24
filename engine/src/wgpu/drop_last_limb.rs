//! Twin of `drop_last_limb.wgsl`: x along n, y the remaining limbs, z the polynomials of a window.

use blindvox_shaders::DROP_LAST_LIMB;

use super::{GpuBuffer, GpuTables, LANES, WORD, Wgpu, part};
use crate::backend::Shape;
use crate::error::Result;

impl Wgpu {
    pub(super) fn run_drop_last_limb(&self, t: &GpuTables, shape: Shape, buffer: &GpuBuffer) -> Result<GpuBuffer> {
        let Shape { batch, limbs, n } = shape;
        let kept = limbs - 1;
        let out = self.zeros_of(Shape { batch, limbs: kept, n })?;
        let pipeline = self.context.pipeline(DROP_LAST_LIMB, &[]);
        for (first, count) in self.windows(shape)? {
            let windows =
                [t.moduli(), part(&out, kept * n * WORD, first, count), part(buffer, limbs * n * WORD, first, count)];
            let groups = [(n / LANES) as u32, kept as u32, count as u32];
            self.context.dispatch(&pipeline, &windows, &[n as u32, limbs as u32], groups);
        }
        Ok(out)
    }
}
