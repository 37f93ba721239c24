//! Kernels residue by residue, in either layout, and products of points in panels.

use super::buffer::{CpuBuffer, Layout};
use super::{Cpu, CpuTables, common, for_each_chunk, groups};
use crate::backend::{Pointwise, Shape};
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

    fn mul_assign(&self, t: &CpuTables, shape: Shape, a: &mut CpuBuffer, b: &CpuBuffer, b_batch: usize) -> Result<()> {
        a.layout = common(a.layout, b.layout);
        let (size, period, limb) = product_chunks(shape, b_batch);
        for_each_chunk(a.words_mut(), size, |i, a| {
            t.limbs[limb(i)].mul(a, &b.words()[i * period..][..period]);
        });
        Ok(())
    }

    fn mul_add_assign(
        &self,
        t: &CpuTables,
        shape: Shape,
        acc: &mut CpuBuffer,
        a: &CpuBuffer,
        b: &CpuBuffer,
        b_batch: usize,
    ) -> Result<()> {
        acc.layout = common(common(acc.layout, Layout::Panels), common(a.layout, b.layout));
        let (size, period, limb) = product_chunks(shape, b_batch);
        for_each_chunk(acc.words_mut(), size, |i, s| {
            let (a, b) = (&a.words()[i * size..][..size], &b.words()[i * period..][..period]);
            t.limbs[limb(i)].mul_add(s, a, b);
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

/// Chunks of a product of panels: their size, that of the other factor's (which repeats within), and their limbs.
fn product_chunks(shape: Shape, b_batch: usize) -> (usize, usize, impl Fn(usize) -> usize + Sync) {
    let Shape { batch, n, .. } = shape;
    let width = groups::width(n);
    // A whole limb's worth of equal batches in chunks of n, or one line against a panel.
    let (size, period) = if b_batch == batch { (n, n) } else { (batch * width, width) };
    (size, period, move |chunk| chunk * size / (batch * n))
}
