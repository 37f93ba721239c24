//! Twin of `ntt_forward.wgsl`, `ntt_inverse.wgsl` and `ntt_head.wgsl`: chunks of up to [`CHUNK`] points in one
//! workgroup each; longer rows take one more step over global memory, first (forward) or last (inverse).
//!
//! Pointwise products join the pass that touches the points anyway: those that a row is the inverse of, as it is read,
//! and those that are added to sums, as it would be written. Either saves writing and reading the batch once more.

use std::sync::Arc;

use blindvox_shaders::{
    ADD, ADD_LIFTED, Kernel, MOD_DOWN, MUL, MUL_ADD, NTT_FORWARD, NTT_FORWARD_MUL_ADD, NTT_HEAD_FORWARD,
    NTT_HEAD_INVERSE, NTT_INVERSE, NTT_INVERSE_OF_PRODUCT,
};

use super::pipeline::Pipeline;
use super::tables::CHUNK;
use super::{GpuBuffer, GpuTables, LANES, WORD, Wgpu, part, whole};
use crate::backend::{MulShape, Shape};
use crate::error::Result;

/// A kernel, its workgroups a row, and the operands that it has besides the rows: whole windows of each.
struct Pass<'a> {
    pipeline: Arc<Pipeline>,
    groups: usize,
    sums: &'a [&'a GpuBuffer],
    factors: &'a [&'a GpuBuffer],
}

impl Wgpu {
    pub(super) fn run_ntt_forward(&self, t: &GpuTables, shape: Shape, buffer: &GpuBuffer) -> Result<()> {
        let passes = [self.head(NTT_HEAD_FORWARD, shape.n), Some(self.chunk(NTT_FORWARD, shape.n, &[], &[]))];
        self.run_ntt(t, MulShape::each(shape), buffer, &self.tables.roots(shape.n).forward, passes)
    }

    /// `sums[k] += NTT(buffer) * factors[k]`, the factors of `size.factors` polynomials.
    pub(super) fn run_ntt_forward_mul_add(
        &self,
        t: &GpuTables,
        size: MulShape,
        buffer: &GpuBuffer,
        sums: [&GpuBuffer; 2],
        factors: [&GpuBuffer; 2],
    ) -> Result<()> {
        let n = size.shape.n;
        let chunk = self.chunk(NTT_FORWARD_MUL_ADD, n, &sums, &factors);
        let passes = [self.head(NTT_HEAD_FORWARD, n), Some(chunk)];
        self.run_ntt(t, size, buffer, &self.tables.roots(n).forward, passes)
    }

    pub(super) fn run_ntt_inverse(&self, t: &GpuTables, shape: Shape, buffer: &GpuBuffer) -> Result<()> {
        let passes = [Some(self.chunk(NTT_INVERSE, shape.n, &[], &[])), self.head(NTT_HEAD_INVERSE, shape.n)];
        self.run_ntt(t, MulShape::each(shape), buffer, &self.tables.roots(shape.n).inverse, passes)
    }

    /// The inverse of `buffer * factor`.
    pub(super) fn run_ntt_inverse_of_product(
        &self,
        t: &GpuTables,
        size: MulShape,
        buffer: &GpuBuffer,
        factor: &GpuBuffer,
    ) -> Result<()> {
        let (n, factors) = (size.shape.n, [factor]);
        let chunk = self.chunk(NTT_INVERSE_OF_PRODUCT, n, &[], &factors);
        let passes = [Some(chunk), self.head(NTT_HEAD_INVERSE, n)];
        self.run_ntt(t, size, buffer, &self.tables.roots(n).inverse, passes)
    }

    /// Compiles what a ring of dimension n needs at once, by a thread each: a driver takes up to a second for each
    /// kernel when it first sees it. Software devices are quick, and tests on them use a few kernels each.
    pub(super) fn compile_ahead(&self, n: usize) {
        if self.context.software {
            return;
        }
        std::thread::scope(|scope| {
            for kernel in [NTT_FORWARD, NTT_FORWARD_MUL_ADD, NTT_INVERSE, NTT_INVERSE_OF_PRODUCT] {
                scope.spawn(move || drop(self.chunk(kernel, n, &[], &[])));
            }
            for kernel in [NTT_HEAD_FORWARD, NTT_HEAD_INVERSE] {
                scope.spawn(move || drop(self.head(kernel, n)));
            }
            for constants in [false, true] {
                scope.spawn(move || self.compile_gemm(constants));
            }
            for kernel in [ADD, MUL, MUL_ADD, ADD_LIFTED, MOD_DOWN] {
                scope.spawn(move || drop(self.context.pipeline(kernel, &[])));
            }
        });
    }

    /// The pass within chunks.
    fn chunk<'a>(&self, kernel: Kernel, n: usize, sums: &'a [&'a GpuBuffer], factors: &'a [&'a GpuBuffer]) -> Pass<'a> {
        let points = n.min(CHUNK);
        // Pays where memory wants neighbouring lanes at neighbouring words; checked runs take it to be tested anywhere.
        let through_tile = u32::from(!self.context.software || self.context.pipelines.checked);
        let constants = [
            ("POINTS", points as u32),
            ("LAST_RADIX", points as u32 / 256),
            ("THROUGH_TILE", through_tile),
            ("LAST", u32::from(points == n)),
        ];
        Pass { pipeline: self.context.pipeline(kernel, &constants), groups: n / points, sums, factors }
    }

    /// The pass that joins chunks; none if the row is a chunk.
    fn head<'a>(&self, kernel: Kernel, n: usize) -> Option<Pass<'a>> {
        let chunks = n / CHUNK;
        (chunks > 1).then(|| Pass {
            pipeline: self.context.pipeline(kernel, &[("RADIX", chunks as u32)]),
            groups: n / chunks / LANES,
            sums: &[],
            factors: &[],
        })
    }

    fn run_ntt(
        &self,
        t: &GpuTables,
        size: MulShape,
        buffer: &GpuBuffer,
        roots: &GpuBuffer,
        passes: [Option<Pass<'_>>; 2],
    ) -> Result<()> {
        self.context.healthy()?;
        let MulShape { shape, factors } = size;
        let Shape { limbs, n, .. } = shape;
        let poly = limbs * n * WORD;
        let repeats = factors == 1;
        for (first, count) in self.windows(shape)? {
            let factor_rows = if repeats { limbs } else { count * limbs };
            let parameters = [n, limbs, n / n.min(CHUNK), factor_rows].map(|v| v as u32);
            for Pass { pipeline, groups, sums, factors } in passes.iter().flatten() {
                let mut windows = vec![t.moduli(), part(buffer, poly, first, count), whole(roots)];
                windows.extend(sums.iter().map(|sum| part(sum, poly, first, count)));
                windows.extend(factors.iter().map(|factor| match repeats {
                    true => part(factor, poly, 0, 1),
                    false => part(factor, poly, first, count),
                }));
                let groups = [*groups as u32, (count * limbs) as u32, 1];
                self.context.dispatch(pipeline, &windows, &parameters, groups);
            }
        }
        Ok(())
    }
}
