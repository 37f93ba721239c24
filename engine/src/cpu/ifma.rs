//! Arithmetic on AVX-512 IFMA for primes below 2^50: the 52-bit multiply-adds give both halves of a product.
//!
//! A factor w has the companion w' = floor(w * 2^52 / q). For y < 2^52, with t = floor(y * w' / 2^52), the value y * w - t * q lies in
//! `[0, 2q)` (Shoup) and its low 52 bits are `lo(y w) + lo(t (2^52 - q))`. The instructions ignore what is above bit 51
//! of their factors, so forward values are kept modulo 2^52 and that sum is not masked: values are below
//! 4q <= 2^52 and what is above bit 51 means nothing. `x` is brought below 2^51 by subtracting 2q if bit 51
//! is set; then x + v and x - v + 2q are in `[0, 2^51 + 2q)` again. Inverse values are exact and below 2q.
//!
//! A product x * y of two residues, 2^52 h + l, is reduced by Barrett's method with the quotient's estimate from its top
//! 52 bits; the estimate is at most three too small, and the rest below 4q <= 2^52.

use std::arch::x86_64::*;

use super::buffer::Line;
use super::rows512::row_kernels;
use super::transform512::transforms;
use super::vec512::{V, reduce_once, splat};

/// Companions are the 64-bit ones shifted by this.
pub(super) const COMPANION_SHIFT: u32 = 12;

/// The widest prime.
pub(super) const MAX_BITS: u32 = 50;

/// Constants of a prime.
pub(super) struct C {
    pub(super) q: V,
    pub(super) two_q: V,
    /// 2^52 - q.
    negative_q: V,
    bit51: V,
    pub(super) mask: V,
    /// floor(2^52 / q): the companion of 1.
    one: V,
    /// floor(2^(bits + 51) / q).
    pub(super) barrett: V,
    /// bits - 1, and what complements it to 52.
    pub(super) low_bits: V,
    high_bits: V,
}

impl C {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(roots: &Roots) -> Self {
        let (q, bits) = (roots.q, u64::from(roots.modulus.bits()));
        assert!(q >> MAX_BITS == 0);
        Self {
            q: splat(q),
            two_q: splat(2 * q),
            negative_q: splat((1 << 52) - q),
            bit51: splat(1 << 51),
            mask: splat((1 << 52) - 1),
            one: splat(roots.power.p0[1]),
            barrett: splat(roots.barrett),
            low_bits: splat(bits - 1),
            high_bits: splat(53 - bits),
        }
    }
}

#[derive(Clone, Copy)]
struct W {
    value: V,
    companion: V,
}

#[inline]
#[target_feature(enable = "avx512f")]
fn uniform(f: &Uniform) -> W {
    W { value: splat(f[0]), companion: splat(f[1]) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn lanes(value: &Line, companion: &Line) -> W {
    // SAFETY: a line is eight words.
    unsafe { W { value: load(value.0.as_ptr()), companion: load(companion.0.as_ptr()) } }
}

/// w * y modulo 2^52 (not masked), of a value in `[0, 2q)`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn mul(c: &C, y: V, w: W) -> V {
    let zero = _mm512_setzero_si512();
    let t = _mm512_madd52hi_epu64(zero, y, w.companion);
    _mm512_madd52lo_epu64(_mm512_madd52lo_epu64(zero, y, w.value), t, c.negative_q)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn forward<const EVEN: bool>(c: &C, x: V, y: V, w: W) -> (V, V) {
    let high = _mm512_test_epi64_mask(x, c.bit51);
    let x = _mm512_mask_sub_epi64(x, high, x, c.two_q);
    let t = _mm512_madd52hi_epu64(_mm512_setzero_si512(), y, w.companion);
    // The product is added to x as it is made; x - v + 2q = 2x + 2q - (x + v).
    let sum = _mm512_madd52lo_epu64(_mm512_madd52lo_epu64(x, y, w.value), t, c.negative_q);
    let twice = _mm512_add_epi64(_mm512_add_epi64(x, x), c.two_q);
    (sum, _mm512_sub_epi64(twice, sum))
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse(c: &C, x: V, y: V, w: W) -> (V, V) {
    let difference = _mm512_sub_epi64(_mm512_add_epi64(x, c.two_q), y);
    (reduce_once(_mm512_add_epi64(x, y), c.two_q), _mm512_and_si512(mul(c, difference, w), c.mask))
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse_last(c: &C, x: V, y: V, w0: W, w1: W) -> (V, V) {
    let (sum, difference) = (_mm512_add_epi64(x, y), _mm512_sub_epi64(_mm512_add_epi64(x, c.two_q), y));
    (mul_reduced(c, sum, w0), mul_reduced(c, difference, w1))
}

/// Any value below 2^52 (bits above ignored) to `[0, q)`: a product with 1.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn finish(c: &C, x: V) -> V {
    let t = _mm512_madd52hi_epu64(_mm512_setzero_si512(), x, c.one);
    let v = _mm512_and_si512(_mm512_madd52lo_epu64(x, t, c.negative_q), c.mask);
    reduce_once(v, c.q)
}

/// w * y, reduced, for y < 2^52.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn mul_reduced(c: &C, y: V, w: W) -> V {
    reduce_once(_mm512_and_si512(mul(c, y, w), c.mask), c.q)
}

/// x * y of residues, reduced.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn product(c: &C, x: V, y: V) -> V {
    let zero = _mm512_setzero_si512();
    let (high, low) = (_mm512_madd52hi_epu64(zero, x, y), _mm512_madd52lo_epu64(zero, x, y));
    // x * y >> (bits - 1): below 2^(bits + 1) <= 2^51.
    let top = _mm512_or_si512(_mm512_sllv_epi64(high, c.high_bits), _mm512_srlv_epi64(low, c.low_bits));
    let t = _mm512_madd52hi_epu64(zero, top, c.barrett);
    let rest = _mm512_and_si512(_mm512_madd52lo_epu64(low, t, c.negative_q), c.mask);
    reduce_once(reduce_once(rest, c.two_q), c.q)
}

transforms!("avx512f,avx512ifma");
row_kernels!("avx512f,avx512dq,avx512ifma");
