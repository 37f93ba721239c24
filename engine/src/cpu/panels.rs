//! The layout of NTT-domain data: frequency panels `[limbs][n / F][batch][F]`, F = min(n, 8).
//!
//! A matrix product at one frequency touches that frequency of every polynomial. In rows of n words these lie a power of
//! two apart and fall in one cache set; in a panel they are neighbours. The last pass of the forward transform
//! writes panels and the first of the inverse reads them, so the change of layout costs no pass of its own.
//!
//! From n = 64 on, points 8r + k and 8k + r of each block of 64 change places ([`Order::Panel`]): a vector transform ends with its
//! blocks transposed, and to transpose them back would serve no kernel. All code paths hold them so.

use std::marker::PhantomData;

use super::buffer::LINE;
use crate::backend::Shape;

/// Words of one polynomial in one panel.
pub(super) fn width(n: usize) -> usize {
    n.min(LINE)
}

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

/// One limb of one polynomial inside panels: line `i` holds points `i * F..(i + 1) * F`.
///
/// It is the only one to its words while it lives, although other rows lie between its lines.
pub(super) struct PanelRow<'a> {
    first: *mut u64,
    stride: usize,
    n: usize,
    words: PhantomData<&'a mut [u64]>,
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

    /// Limb `limb` of polynomial `poly`.
    ///
    /// # Safety
    /// No other row of the same indices may be alive.
    pub(super) unsafe fn row(&self, poly: usize, limb: usize) -> PanelRow<'_> {
        let Shape { batch, limbs, n } = self.shape;
        assert!(poly < batch && limb < limbs);
        let width = width(n);
        // SAFETY: the last line of the row, at (limb * n + n - width) * batch + poly * width, ends within the buffer.
        let first = unsafe { self.first.add(limb * n * batch + poly * width) };
        PanelRow { first, stride: batch * width, n, words: PhantomData }
    }
}

impl PanelRow<'_> {
    /// The first line and the distance between lines in words.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn raw(&mut self) -> (*mut u64, usize) {
        (self.first, self.stride)
    }

    /// The number of points.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn n(&self) -> usize {
        self.n
    }

    /// Copies a row of points in, from the canonical order.
    pub(super) fn write(&mut self, points: &[u64]) {
        assert_eq!(points.len(), self.n);
        if self.n < BLOCK {
            return self.write_lines(0, points);
        }
        for (b, block) in points.as_chunks::<BLOCK>().0.iter().enumerate() {
            self.write_lines(b * LINE, &transposed(block));
        }
    }

    fn write_lines(&mut self, first: usize, places: &[u64]) {
        let width = width(self.n);
        for (i, line) in places.chunks_exact(width).enumerate() {
            // SAFETY: line first + i < n / width of the row lies within the buffer and belongs to this row alone.
            unsafe { std::slice::from_raw_parts_mut(self.first.add((first + i) * self.stride), width) }
                .copy_from_slice(line);
        }
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

    /// The number of points.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn n(self) -> usize {
        self.n
    }

    /// The first line and the distance between lines in words; all n / 8 lines are there.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn raw(self) -> (*const u64, usize) {
        let width = width(self.n);
        assert!((self.n / width - 1) * self.stride + width <= self.words.len());
        (self.words.as_ptr(), self.stride)
    }

    /// Copies the points out, in the canonical order.
    pub(super) fn read(self, points: &mut [u64]) {
        self.read_as_held(points);
        exchange(points);
    }

    /// Copies the points out, in the order of panels.
    pub(super) fn read_as_held(self, points: &mut [u64]) {
        assert_eq!(points.len(), self.n);
        let width = width(self.n);
        for (p, line) in points.chunks_exact_mut(width).zip(self.words.chunks(self.stride)) {
            p.copy_from_slice(&line[..width]);
        }
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
                // SAFETY: each row is taken once.
                unsafe { panels.row(i / 2, i % 2) }.write(&row(i));
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
