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
