//! The layout of NTT-domain data: frequency panels `[limbs][n / F][batch][F]`, F = min(n, 8).
//!
//! A matrix product at one frequency touches that frequency of every polynomial. In rows of n words these lie a power of
//! two apart and fall in one cache set; in a panel they are neighbours. The last pass of the forward transform
//! writes panels and the first of the inverse reads them, so the change of layout costs no pass of its own.

use std::marker::PhantomData;

use super::buffer::LINE;
use crate::backend::Shape;

/// Words of one polynomial in one panel.
pub(super) fn width(n: usize) -> usize {
    n.min(LINE)
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

    /// Copies a row of points in.
    pub(super) fn write(&mut self, points: &[u64]) {
        assert_eq!(points.len(), self.n);
        let width = width(self.n);
        for (i, p) in points.chunks_exact(width).enumerate() {
            // SAFETY: line i < n / width of the row lies within the buffer and belongs to this row alone.
            unsafe { std::slice::from_raw_parts_mut(self.first.add(i * self.stride), width) }.copy_from_slice(p);
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

    /// Point `i`.
    pub(super) fn point(self, i: usize) -> u64 {
        let width = width(self.n);
        self.words[i / width * self.stride + i % width]
    }

    /// Copies the points out.
    pub(super) fn read(self, points: &mut [u64]) {
        assert_eq!(points.len(), self.n);
        let width = width(self.n);
        for (p, line) in points.chunks_exact_mut(width).zip(self.words.chunks(self.stride)) {
            p.copy_from_slice(&line[..width]);
        }
    }
}
