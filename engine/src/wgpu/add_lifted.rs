//! Twin of `add_lifted.wgsl`: x along n, y the polynomials of a window, one dispatch a limb.

use blindvox_shaders::ADD_LIFTED;

use super::{GpuBuffer, GpuTables, LANES, WORD, Wgpu, part, words};
use crate::backend::Shape;
use crate::error::Result;
use crate::ring::ntt_table::Factor;

impl Wgpu {
    pub(super) fn run_add_lifted(
        &self,
        t: &GpuTables,
        shape: Shape,
        acc: &GpuBuffer,
        values: &[i32],
        scale: &[u64],
    ) -> Result<()> {
        let pipeline = self.context.pipeline(ADD_LIFTED, &[]);
        let values = GpuBuffer::upload(&self.context, bytemuck::cast_slice(values))?;
        for (first, count) in self.windows(shape)? {
            let windows = [
                t.moduli(),
                part(acc, shape.limbs * shape.n * WORD, first, count),
                part(&values, shape.n * size_of::<i32>(), first, count),
            ];
            for (limb, &value) in scale.iter().enumerate() {
                let [v0, v1, c0, c1] = words(Factor { value, shoup: t.basis.modulus(limb).shoup(value) });
                let parameters = [v0, v1, c0, c1, shape.n as u32, shape.limbs as u32, limb as u32, 0];
                self.context.dispatch(&pipeline, &windows, &parameters, [(shape.n / LANES) as u32, count as u32, 1]);
            }
        }
        Ok(())
    }
}
