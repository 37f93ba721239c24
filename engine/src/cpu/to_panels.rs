//! Rows that go to panels as they are made or transformed, in groups.

use std::ops::Range;

use rayon::prelude::*;

use super::buffer::{CpuBuffer, Layout};
use super::groups;
use super::panels::{Order, Panels, exchange};
use super::tables::CpuTables;
use crate::backend::{Shape, parts};

/// Batches of at most so many words are not worth waking other threads.
pub(super) const SERIAL_WORDS: usize = 1 << 14;

/// Panels of rows of points that `fill(row, points)` produces in the canonical order.
pub(super) fn rows_to_panels(shape: Shape, fill: impl Fn(usize, &mut [u64]) + Send + Sync) -> CpuBuffer {
    let Shape { batch, limbs, n } = shape;
    let mut out = CpuBuffer::new(shape.words(), Layout::Panels);
    let panels = Panels::new(out.words_mut(), shape);
    let group = groups::size(shape);
    let one = |words: &mut Vec<u64>, polys: Range<usize>| {
        words.resize(polys.len() * limbs * n, 0);
        for (i, points) in words.chunks_exact_mut(n).enumerate() {
            fill(polys.start * limbs + i, points);
            exchange(points);
        }
        // SAFETY: each group is taken once.
        unsafe { write_polys(&panels, shape, polys.start, words) };
    };
    if shape.words() <= SERIAL_WORDS {
        parts(batch, group).for_each(|polys| one(&mut Vec::new(), polys));
    } else {
        let groups: Vec<_> = parts(batch, group).collect();
        groups.into_par_iter().for_each_init(Vec::new, one);
    }
    out
}

/// Writes polynomials `first..`, `[polynomials, limbs, n]` points in the order of panels.
///
/// # Safety
/// No row of theirs may be alive.
pub(super) unsafe fn write_polys(panels: &Panels<'_>, shape: Shape, first: usize, words: &[u64]) {
    for limb in 0..shape.limbs {
        let rows: Vec<_> = words.chunks_exact(shape.n).skip(limb).step_by(shape.limbs).collect();
        // SAFETY: the caller's promise.
        unsafe { panels.write(first, limb, &rows) };
    }
}

impl CpuTables {
    /// Transforms polynomials `first..`, `[polynomials, limbs, n]`, to panels of as many limbs.
    ///
    /// # Safety
    /// No row of theirs may be alive.
    pub(super) unsafe fn forward_to(&self, panels: &Panels<'_>, first: usize, words: &mut [u64]) {
        let shape = panels.shape();
        for (i, row) in words.chunks_exact_mut(shape.n).enumerate() {
            self.limbs[i % shape.limbs].forward(row, Order::Panel);
        }
        // SAFETY: the caller's promise.
        unsafe { write_polys(panels, shape, first, words) };
    }
}
