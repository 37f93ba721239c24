//! Twin of `pointwise.wgsl`: x along n, y the rows of a window.

use blindvox_shaders::{Kernel, MUL_SCALAR};

use super::{GpuBuffer, GpuTables, LANES, WORD, Wgpu, part, words};
use crate::backend::{MulShape, Shape};
use crate::error::Result;
use crate::ring::ntt_table::Factor;

impl Wgpu {
    /// A kernel on `acc` and `operands`, the last of which has `size.factors` polynomials.
    pub(super) fn run_pointwise(
        &self,
        kernel: Kernel,
        t: &GpuTables,
        size: MulShape,
        acc: &GpuBuffer,
        operands: &[&GpuBuffer],
    ) -> Result<()> {
        let MulShape { shape, factors } = size;
        self.context.healthy()?;
        let pipeline = self.context.pipeline(kernel, &[]);
        let poly = shape.limbs * shape.n * WORD;
        for (first, count) in self.windows(shape)? {
            let rows = count * shape.limbs;
            let mut windows = vec![t.moduli(), part(acc, poly, first, count)];
            windows.extend(operands.iter().map(|o| part(o, poly, first, count)));
            let repeats = factors == 1;
            if let (true, Some(last)) = (repeats, operands.last()) {
                windows[operands.len() + 1] = part(last, poly, 0, 1);
            }
            let factor_rows = if repeats { shape.limbs } else { rows };
            let parameters = [0, 0, 0, 0, shape.n as u32, shape.limbs as u32, factor_rows as u32, 0];
            self.context.dispatch(&pipeline, &windows, &parameters, [(shape.n / LANES) as u32, rows as u32, 1]);
        }
        Ok(())
    }

    pub(super) fn run_mul_scalar(&self, t: &GpuTables, shape: Shape, a: &GpuBuffer, scalars: &[u64]) -> Result<()> {
        self.context.healthy()?;
        let pipeline = self.context.pipeline(MUL_SCALAR, &[]);
        let poly = shape.limbs * shape.n * WORD;
        for (first, count) in self.windows(shape)? {
            let windows = [t.moduli(), part(a, poly, first, count)];
            for (limb, &value) in scalars.iter().enumerate() {
                let [v0, v1, c0, c1] = words(Factor { value, shoup: t.basis.modulus(limb).shoup(value) });
                let parameters = [v0, v1, c0, c1, shape.n as u32, shape.limbs as u32, 0, limb as u32];
                self.context.dispatch(&pipeline, &windows, &parameters, [(shape.n / LANES) as u32, count as u32, 1]);
            }
        }
        Ok(())
    }
}
