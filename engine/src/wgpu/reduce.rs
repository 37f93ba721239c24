//! Twin of `reduce.wgsl`: x along n, y the rows of a window.

use blindvox_shaders::{REDUCE_ONE, REDUCE_TWO};

use super::{GpuBuffer, GpuTables, LANES, WORD, Wgpu, part};
use crate::backend::{Integers, Shape};
use crate::error::Result;

impl Wgpu {
    pub(super) fn run_reduce(&self, t: &GpuTables, shape: Shape, values: Integers<'_>) -> Result<GpuBuffer> {
        let out = self.zeros_of(shape)?;
        let (kernel, words, bytes): (_, _, &[u8]) = match values {
            Integers::One(values) => (REDUCE_ONE, 1, bytemuck::cast_slice(values)),
            Integers::Two(values) => (REDUCE_TWO, 2, bytemuck::cast_slice(values)),
        };
        let values = GpuBuffer::upload(&self.context, bytes)?;
        let pipeline = self.context.pipeline(kernel, &[]);
        let Shape { limbs, n, .. } = shape;
        // Values of two words are wider than residues of one limb.
        let windows = self.windows(Shape { limbs: limbs.max(words), ..shape })?;
        for (first, count) in windows {
            let windows =
                [t.moduli(), part(&out, limbs * n * WORD, first, count), part(&values, n * words * WORD, first, count)];
            let groups = [n / LANES, count * limbs, 1].map(|g| g as u32);
            self.context.dispatch(&pipeline, &windows, &[n as u32, limbs as u32], groups);
        }
        Ok(out)
    }
}
