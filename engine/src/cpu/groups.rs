//! Rows of neighbouring polynomials to panels and back, several at a time.
//!
//! The lines of one row lie far apart in panels, those of its neighbours beside them. Taken one by one, rows touch a
//! page and a cache set for every 64 bytes; a group of rows, which is in cache, moves its lines of a panel together.

use super::buffer::LINE;
use crate::backend::Shape;

#[cfg(target_arch = "x86_64")]
use super::vec512::{load, store, stream};

/// Words of a group: half of a second-level cache.
const GROUP_WORDS: usize = 1 << 16;
/// Rows of a group: their lines are 512 bytes.
const GROUP_ROWS: usize = 8;
/// Buffers of more words than this leave the caches before they are read again.
const STREAM_WORDS: usize = 1 << 19;

/// Words of one polynomial in one panel.
pub(super) fn width(n: usize) -> usize {
    n.min(LINE)
}

/// Polynomials that are taken to or from panels together, of so many: enough groups for all threads.
pub(super) fn size(shape: Shape) -> usize {
    let most = (GROUP_WORDS / (shape.limbs * shape.n)).clamp(1, GROUP_ROWS);
    most.min(shape.batch.div_ceil(2 * rayon::current_num_threads())).max(1)
}

/// Lines of limb `limb` of polynomials `first..first + rows` in panels of `shape`: the first word, the words from panel
/// to panel.
fn place(shape: Shape, first: usize, limb: usize, rows: usize) -> (usize, usize) {
    let Shape { batch, limbs, n } = shape;
    assert!(first + rows <= batch && limb < limbs);
    (limb * n * batch + first * width(n), batch * width(n))
}

/// Copies rows of limb `limb`, polynomials `first..`, points in the order of panels, to panels of `shape` that begin at
/// `panels`.
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
