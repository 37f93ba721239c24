//! Kernels residue by residue, and products of points, in either layout.

use std::ops::Range;

use super::buffer::{CpuBuffer, Layout};
use super::{Cpu, CpuTables, common, for_each_chunk, groups};
use crate::backend::{MulShape, Pointwise, Shape};
use crate::error::Result;

impl Pointwise for Cpu {
    fn add_assign(&self, t: &CpuTables, shape: Shape, a: &mut CpuBuffer, b: &CpuBuffer) -> Result<()> {
        a.layout = common(a.layout, b.layout);
        let (n, limb) = (shape.n, limb_of(a.layout, shape));
        for_each_chunk(a.words_mut(), n, |i, a| t.limbs[limb(i)].add(a, &b.words()[i * n..][..n]));
        Ok(())
    }

    fn sub_assign(&self, t: &CpuTables, shape: Shape, a: &mut CpuBuffer, b: &CpuBuffer) -> Result<()> {
        a.layout = common(a.layout, b.layout);
        let (n, limb) = (shape.n, limb_of(a.layout, shape));
        for_each_chunk(a.words_mut(), n, |i, a| t.limbs[limb(i)].sub(a, &b.words()[i * n..][..n]));
        Ok(())
    }

    fn negate_assign(&self, t: &CpuTables, shape: Shape, a: &mut CpuBuffer) -> Result<()> {
        let limb = limb_of(a.layout, shape);
        for_each_chunk(a.words_mut(), shape.n, |i, a| t.limbs[limb(i)].negate(a));
        Ok(())
    }

    fn mul_assign(&self, t: &CpuTables, size: MulShape, a: &mut CpuBuffer, b: &CpuBuffer) -> Result<()> {
        a.layout = common(a.layout, b.layout);
        let chunks = Chunks::new(a.layout, size);
        for_each_chunk(a.words_mut(), chunks.size, |i, a| {
            t.limbs[chunks.limb(i)].mul(a, &b.words()[chunks.factor(i)]);
        });
        Ok(())
    }

    fn mul_add_assign(
        &self,
        t: &CpuTables,
        size: MulShape,
        acc: &mut CpuBuffer,
        a: &CpuBuffer,
        b: &CpuBuffer,
    ) -> Result<()> {
        acc.layout = common(acc.layout, common(a.layout, b.layout));
        let chunks = Chunks::new(acc.layout, size);
        for_each_chunk(acc.words_mut(), chunks.size, |i, s| {
            let (a, b) = (&a.words()[i * chunks.size..][..chunks.size], &b.words()[chunks.factor(i)]);
            t.limbs[chunks.limb(i)].mul_add(s, a, b);
        });
        Ok(())
    }

    fn add_scaled_assign(
        &self,
        t: &CpuTables,
        shape: Shape,
        acc: &mut CpuBuffer,
        x: &CpuBuffer,
        scalars: &[u64],
    ) -> Result<()> {
        acc.layout = common(acc.layout, Layout::Rows);
        let (Shape { limbs, n, .. }, some) = (shape, scalars.len());
        for_each_chunk(acc.words_mut(), n, |i, acc| {
            let (poly, limb) = (i / limbs, i % limbs);
            if let Some(&scalar) = scalars.get(limb) {
                let x = &x.words()[(poly * some + limb) * n..][..n];
                t.limbs[limb].mul_add(acc, x, &vec![scalar; groups::width(n)]);
            }
        });
        Ok(())
    }

    fn mul_scalar_assign(&self, t: &CpuTables, shape: Shape, a: &mut CpuBuffer, scalars: &[u64]) -> Result<()> {
        let limb = limb_of(a.layout, shape);
        for_each_chunk(a.words_mut(), shape.n, |i, a| t.limbs[limb(i)].mul_scalar(a, scalars[limb(i)]));
        Ok(())
    }
}

/// The limb of each chunk of n words.
fn limb_of(layout: Layout, shape: Shape) -> impl Fn(usize) -> usize + Sync {
    move |chunk| if layout == Layout::Rows { chunk % shape.limbs } else { chunk / shape.batch }
}

/// How a product of points is cut: n words of one limb at a time, or in panels one line of a single factor against a
/// panel.
struct Chunks {
    shape: Shape,
    rows: bool,
    /// Whether the other factor is a single one for all.
    one: bool,
    /// Words of a chunk.
    size: usize,
    /// Words of the other factor that it meets; they repeat within.
    period: usize,
}

impl Chunks {
    fn new(layout: Layout, MulShape { shape, factors }: MulShape) -> Self {
        let Shape { batch, n, .. } = shape;
        let (rows, one, width) = (layout == Layout::Rows, factors != batch, groups::width(n));
        let (size, period) = if rows || !one { (n, n) } else { (batch * width, width) };
        Self { shape, rows, one, size, period }
    }

    fn limb(&self, chunk: usize) -> usize {
        if self.rows { chunk % self.shape.limbs } else { chunk * self.size / (self.shape.batch * self.shape.n) }
    }

    fn factor(&self, chunk: usize) -> Range<usize> {
        let at = if self.rows && self.one { chunk % self.shape.limbs } else { chunk };
        at * self.period..(at + 1) * self.period
    }
}
