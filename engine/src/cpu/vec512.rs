//! Eight words a register: loads, stores and the 8x8 transposition.

use std::arch::x86_64::*;

/// Eight residues.
pub(super) type V = __m512i;

/// # Safety
/// `p` must be valid for reading 8 words.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn load(p: *const u64) -> V {
    // SAFETY: the caller's promise; no alignment is needed.
    unsafe { _mm512_loadu_si512(p.cast()) }
}

/// # Safety
/// `p` must be valid for writing 8 words.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn store(p: *mut u64, v: V) {
    // SAFETY: the caller's promise; no alignment is needed.
    unsafe { _mm512_storeu_si512(p.cast(), v) }
}

/// Writes around the caches.
///
/// # Safety
/// `p` must be valid for writing 8 words, and aligned to them.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn stream(p: *mut u64, v: V) {
    // SAFETY: the caller's promise.
    unsafe { _mm512_stream_si512(p.cast(), v) }
}

/// Eight words.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load_line(x: &[u64; 8]) -> V {
    // SAFETY: eight words.
    unsafe { load(x.as_ptr()) }
}

/// Writes eight words.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store_line(x: &mut [u64; 8], v: V) {
    // SAFETY: eight words.
    unsafe { store(x.as_mut_ptr(), v) }
}

/// Applies `f` to whole lines of `a` and `b`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn zip_lines(a: &mut [u64], b: &[u64], f: impl Fn(V, V) -> V) {
    assert!(a.len() == b.len() && a.len().is_multiple_of(8));
    for (a, b) in a.as_chunks_mut().0.iter_mut().zip(b.as_chunks().0) {
        let v = f(load_line(a), load_line(b));
        store_line(a, v);
    }
}

/// `a += b` modulo q.
#[target_feature(enable = "avx512f")]
pub(super) fn add(q: u64, a: &mut [u64], b: &[u64]) {
    let q = splat(q);
    zip_lines(a, b, |a, b| reduce_once(_mm512_add_epi64(a, b), q));
}

/// `a -= b` modulo q.
#[target_feature(enable = "avx512f")]
pub(super) fn sub(q: u64, a: &mut [u64], b: &[u64]) {
    let q = splat(q);
    zip_lines(a, b, |a, b| sub_reduced(a, b, q));
}

/// `a = -a` modulo q.
#[target_feature(enable = "avx512f")]
pub(super) fn negate(q: u64, a: &mut [u64]) {
    let q = splat(q);
    for a in a.as_chunks_mut().0 {
        let v = reduce_once(_mm512_sub_epi64(q, load_line(a)), q);
        store_line(a, v);
    }
}

/// `a - b` of residues, reduced: a negative difference is huge, and the smaller one after adding q.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn sub_reduced(a: V, b: V, q: V) -> V {
    let d = _mm512_sub_epi64(a, b);
    _mm512_min_epu64(d, _mm512_add_epi64(d, q))
}

/// One word in all lanes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn splat(x: u64) -> V {
    _mm512_set1_epi64(x as i64)
}

/// Unsigned `min(x, x - q)`: `[0, 2q)` to `[0, q)`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn reduce_once(x: V, q: V) -> V {
    _mm512_min_epu64(x, _mm512_sub_epi64(x, q))
}

/// Rows to columns.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn transpose(a: [V; 8]) -> [V; 8] {
    // Pairs of rows, then the 128-bit pieces of four rows, then of eight.
    let pair = |i: usize| (_mm512_unpacklo_epi64(a[i], a[i + 1]), _mm512_unpackhi_epi64(a[i], a[i + 1]));
    let ((a0, a1), (b0, b1), (c0, c1), (d0, d1)) = (pair(0), pair(2), pair(4), pair(6));
    let even = |x, y| _mm512_shuffle_i64x2::<0x88>(x, y);
    let odd = |x, y| _mm512_shuffle_i64x2::<0xdd>(x, y);
    let (low0, high0) = (even(a0, b0), even(c0, d0));
    let (low1, high1) = (even(a1, b1), even(c1, d1));
    let (low2, high2) = (odd(a0, b0), odd(c0, d0));
    let (low3, high3) = (odd(a1, b1), odd(c1, d1));
    [
        even(low0, high0),
        even(low1, high1),
        even(low2, high2),
        even(low3, high3),
        odd(low0, high0),
        odd(low1, high1),
        odd(low2, high2),
        odd(low3, high3),
    ]
}

/// Rows to columns of a block in memory.
#[target_feature(enable = "avx512f")]
pub(super) fn transpose_block(block: &[u64; 64]) -> [u64; 64] {
    let rows = transpose(std::array::from_fn(|k| load_line(&block.as_chunks().0[k])));
    let mut columns = [0; 64];
    for (line, row) in columns.as_chunks_mut().0.iter_mut().zip(rows) {
        store_line(line, row);
    }
    columns
}
