//! Rows of neighbouring polynomials to panels and back, several at a time.
//!
//! The lines of one row lie far apart in panels, those of its neighbours beside them. Taken one by one, rows touch a page and a cache
//! set for every 64 bytes; a group of rows, which is in cache, moves its lines of a panel together.

use std::ops::Range;

use rayon::prelude::*;

use super::SERIAL_WORDS;
use super::body::CpuTables;
use super::buffer::{CpuBuffer, Layout};
use super::panels::{Order, Panels, exchange, width};
use crate::backend::{Shape, parts};

#[cfg(target_arch = "x86_64")]
use super::vec512::{load, store, stream};

/// Words of a group: half of a second-level cache.
const GROUP_WORDS: usize = 1 << 16;
/// Rows of a group: their lines are 512 bytes.
const GROUP_ROWS: usize = 8;
/// Buffers of more words than this leave the caches before they are read again.
const STREAM_WORDS: usize = 1 << 19;

/// Polynomials that are taken to or from panels together, of so many: enough groups for all threads.
pub(super) fn size(shape: Shape) -> usize {
    let most = (GROUP_WORDS / (shape.limbs * shape.n)).clamp(1, GROUP_ROWS);
    most.min(shape.batch.div_ceil(2 * rayon::current_num_threads())).max(1)
}

/// Lines of limb `limb` of polynomials `first..first + rows` in panels of `shape`: the first word, the words from panel to panel.
fn place(shape: Shape, first: usize, limb: usize, rows: usize) -> (usize, usize) {
    let Shape { batch, limbs, n } = shape;
    assert!(first + rows <= batch && limb < limbs);
    (limb * n * batch + first * width(n), batch * width(n))
}

/// Copies rows of limb `limb`, polynomials `first..`, points in the order of panels, to panels of `shape` that begin at `panels`.
///
/// # Safety
/// `panels` must be valid for writing the words of `shape`, and nobody else may use these rows' lines.
pub(super) unsafe fn write(panels: *mut u64, shape: Shape, first: usize, limb: usize, rows: &[&[u64]]) {
    let (at, stride) = place(shape, first, limb, rows.len());
    let width = width(shape.n);
    assert!(rows.iter().all(|r| r.len() == shape.n));
    // SAFETY: the last line begins at at + (n / width - 1) stride + (rows - 1) width, within the words.
    unsafe {
        let out = panels.add(at);
        #[cfg(target_arch = "x86_64")]
        if width == 8 && is_x86_feature_detected!("avx512f") {
            let around = out.cast::<std::arch::x86_64::__m512i>().is_aligned() && shape.words() > STREAM_WORDS;
            return if around { write512::<true>(out, stride, rows) } else { write512::<false>(out, stride, rows) };
        }
        for i in 0..shape.n / width {
            for (g, row) in rows.iter().enumerate() {
                let to = std::slice::from_raw_parts_mut(out.add(i * stride + g * width), width);
                to.copy_from_slice(&row[i * width..][..width]);
            }
        }
    }
}

/// # Safety
/// That of [`write`]; aligned lines where they are written around the caches.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn write512<const AROUND: bool>(out: *mut u64, stride: usize, rows: &[&[u64]]) {
    for i in 0..rows[0].len() / 8 {
        for (g, row) in rows.iter().enumerate() {
            // SAFETY: the caller's promise; rows are of equal lengths.
            unsafe {
                let (line, to) = (load(row.as_ptr().add(8 * i)), out.add(i * stride + 8 * g));
                if AROUND { stream(to, line) } else { store(to, line) }
            }
        }
    }
    if AROUND {
        // Before another thread is told that they are there.
        std::arch::x86_64::_mm_sfence();
    }
}

/// The way back: rows of limb `limb`, polynomials `first..`, out of panels of `shape`.
pub(super) fn read(panels: &[u64], shape: Shape, first: usize, limb: usize, rows: &mut [&mut [u64]]) {
    /// Lines that are fetched before they are needed.
    const AHEAD: usize = 8;
    let (at, stride) = place(shape, first, limb, rows.len());
    let width = width(shape.n);
    assert!(panels.len() == shape.words() && rows.iter().all(|r| r.len() == shape.n));
    for i in 0..shape.n / width {
        #[cfg(target_arch = "x86_64")]
        if let Some(next) = panels.get(at + (i + AHEAD) * stride..) {
            for line in next.chunks(width).take(rows.len()) {
                use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                // SAFETY: a prefetch of any address is harmless.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
            }
        }
        let lines = panels[at + i * stride..].chunks_exact(width);
        for (row, line) in rows.iter_mut().zip(lines) {
            row[i * width..][..width].copy_from_slice(line);
        }
    }
}

/// Panels of rows of points that `fill(row, points)` produces in the canonical order.
pub(super) fn rows_to_panels(shape: Shape, fill: impl Fn(usize, &mut [u64]) + Send + Sync) -> CpuBuffer {
    let Shape { batch, limbs, n } = shape;
    let mut out = CpuBuffer::new(shape.words(), Layout::Panels);
    let panels = Panels::new(out.words_mut(), shape);
    let group = size(shape);
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
unsafe fn write_polys(panels: &Panels<'_>, shape: Shape, first: usize, words: &[u64]) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_go_to_their_panels_and_back() {
        for (batch, limbs, n) in [(5, 2, 4), (9, 1, 8), (13, 2, 64), (300, 1, 2048)] {
            let shape = Shape { batch, limbs, n };
            let word = |poly: usize, limb: usize, i: usize| ((poly * limbs + limb) * n + i) as u64;
            let mut panels = vec![0; shape.words()];
            for (first, count) in [(0, 3), (3, 1), (4, batch - 4)] {
                for limb in 0..limbs {
                    let rows: Vec<Vec<u64>> =
                        (first..first + count).map(|p| (0..n).map(|i| word(p, limb, i)).collect()).collect();
                    let rows: Vec<&[u64]> = rows.iter().map(Vec::as_slice).collect();
                    // SAFETY: all of the buffer is this test's.
                    unsafe { write(panels.as_mut_ptr(), shape, first, limb, &rows) };
                    let mut back = vec![vec![0; n]; count];
                    read(&panels, shape, first, limb, &mut back.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
                    assert!(back.iter().zip(&rows).all(|(back, row)| back == row), "{shape:?} from {first}");
                }
            }
            let w = width(n);
            let at = |poly: usize, limb: usize, i: usize| ((limb * n / w + i / w) * batch + poly) * w + i % w;
            for (poly, limb) in (0..batch).flat_map(|p| (0..limbs).map(move |l| (p, l))) {
                assert!((0..n).all(|i| panels[at(poly, limb, i)] == word(poly, limb, i)), "{shape:?}");
            }
        }
    }
}
