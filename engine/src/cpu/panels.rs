//! The layout of NTT-domain data: frequency panels `[limbs][n / F][batch][F]`, F = min(n, 8).
//!
//! A matrix product at one frequency touches that frequency of every polynomial. In rows of n words these lie a power
//! of two apart and fall in one cache set; in a panel they are neighbours. Rows are transformed in cache and go to
//! panels and back in [`groups`].
//!
//! From n = 64 on, points 8r + k and 8k + r of each block of 64 change places ([`Order::Panel`]): a vector transform
//! ends with its blocks transposed, and to transpose them back would serve no kernel. All code paths hold them so.

use std::marker::PhantomData;

use super::buffer::LINE;
use super::groups::{self, width};
use crate::backend::Shape;

/// Points whose lines and lanes are exchanged in panels.
const BLOCK: usize = LINE * LINE;

/// The orders of the points of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// That of [`NttTable`](crate::ring::NttTable).
    Canonical,
    /// That of panels.
    Panel,
}

/// Where point `i` of `n` is in [`Order::Panel`], and the point that is in place `i`.
pub(super) fn place(n: usize, i: usize) -> usize {
    if n < BLOCK { i } else { i - i % BLOCK + i % LINE * LINE + i / LINE % LINE }
}

/// Changes one order into the other.
pub(super) fn exchange(points: &mut [u64]) {
    for block in points.as_chunks_mut::<BLOCK>().0 {
        *block = transposed(block);
    }
}

fn transposed(block: &[u64; BLOCK]) -> [u64; BLOCK] {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has AVX-512.
        return unsafe { super::vec512::transpose_block(block) };
    }
    std::array::from_fn(|i| block[place(BLOCK, i)])
}

/// Panels of `shape`, to be taken apart into rows.
pub(super) struct Panels<'a> {
    first: *mut u64,
    shape: Shape,
    words: PhantomData<&'a mut [u64]>,
}

// SAFETY: it stands for a mutable borrow of plain words, which may move to and be shared with other threads; rows are
// handed out only by an unsafe function, whose callers take each row once.
unsafe impl Send for Panels<'_> {}
// SAFETY: as above.
unsafe impl Sync for Panels<'_> {}

impl<'a> Panels<'a> {
    /// Wraps the words of a buffer.
    pub(super) fn new(words: &'a mut [u64], shape: Shape) -> Self {
        assert_eq!(words.len(), shape.words());
        Self { first: words.as_mut_ptr(), shape, words: PhantomData }
    }

    /// Their shape.
    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Writes rows of limb `limb`, polynomials `first..`, whose points are in the order of panels.
    ///
    /// # Safety
    /// No other row of the same indices may be alive.
    pub(super) unsafe fn write(&self, first: usize, limb: usize, rows: &[&[u64]]) {
        // SAFETY: the words are borrowed for as long as this lives; the caller's promise.
        unsafe { groups::write(self.first, self.shape, first, limb, rows) }
    }
}

/// One limb of one polynomial inside panels, to be read.
#[derive(Clone, Copy)]
pub(super) struct PanelView<'a> {
    /// From the first line on, to the end of the last one at least.
    words: &'a [u64],
    stride: usize,
    n: usize,
}

impl<'a> PanelView<'a> {
    /// Limb `limb` of polynomial `poly`.
    pub(super) fn row(words: &'a [u64], shape: Shape, poly: usize, limb: usize) -> Self {
        let Shape { batch, limbs, n } = shape;
        assert!(poly < batch && limb < limbs && words.len() == shape.words());
        let width = width(n);
        Self { words: &words[limb * n * batch + poly * width..], stride: batch * width, n }
    }

    /// Copies the points out, in the canonical order.
    pub(super) fn read(self, points: &mut [u64]) {
        assert_eq!(points.len(), self.n);
        let width = width(self.n);
        for (p, line) in points.chunks_exact_mut(width).zip(self.words.chunks(self.stride)) {
            p.copy_from_slice(&line[..width]);
        }
        exchange(points);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_their_order() {
        for n in [4, 8, 32, 64, 256] {
            let shape = Shape { batch: 3, limbs: 2, n };
            let mut words = vec![0; shape.words()];
            let row = |i: usize| (0..n).map(|k| (1000 * i + k) as u64).collect::<Vec<_>>();
            let panels = Panels::new(&mut words, shape);
            for i in 0..6 {
                let mut held = row(i);
                exchange(&mut held);
                // SAFETY: each row is taken once.
                unsafe { panels.write(i / 2, i % 2, &[&held]) };
            }
            for i in 0..6 {
                let (view, mut points) = (PanelView::row(&words, shape, i / 2, i % 2), vec![0; n]);
                view.read(&mut points);
                assert_eq!(points, row(i), "n = {n}");
                let (line, lane) = (place(n, n - 3) / width(n), place(n, n - 3) % width(n));
                assert_eq!(view.words[line * view.stride + lane], points[n - 3], "n = {n}");
            }
        }
    }

    #[test]
    fn places_exchange_lines_and_lanes_of_blocks() {
        assert!((0..32).all(|i| place(32, i) == i));
        assert_eq!([0, 1, 8, 63, 64 + 10].map(|i| place(128, i)), [0, 8, 1, 63, 64 + 17]);
        let mut points: Vec<u64> = (0..128).collect();
        exchange(&mut points);
        assert!(points.iter().enumerate().all(|(i, &p)| place(128, i) as u64 == p));
    }
}
