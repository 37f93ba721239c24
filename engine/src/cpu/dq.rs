//! Arithmetic on AVX-512 DQ for primes below 2^60.
//!
//! There is no instruction for the high half of a 64-bit product. With a factor's companion w' = floor(w * 2^64 / q),
//! three 32-bit products give t in floor(y * w' / 2^64) - 2 and that value: the product of the low halves and two
//! carries are left out. So y * w - t * q is in `[0, 4q)` for every 64-bit y. As 16q <= 2^64, forward values may grow
//! by 4q a stage and `x` is reduced in every second stage only: below 8q, then 12q, then 16q. Inverse values are below
//! 8q. All are exact.
//!
//! A product of two residues is taken of 30-bit halves, l + m * 2^30 + h * 2^60, and its parts are reduced by the
//! factors 2^30 and 2^60.

use std::arch::x86_64::*;

use super::buffer::Line;
use super::rows512::row_kernels;
use super::transform512::transforms;
use super::vec512::{V, reduce_once, splat};

/// Constants of a prime.
pub(super) struct C {
    pub(super) q: V,
    two_q: V,
    four_q: V,
    eight_q: V,
    /// 2^30 - 1.
    pub(super) mask: V,
    p0: W,
    p30: W,
    p60: W,
    p92: W,
}

impl C {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(roots: &Roots) -> Self {
        let q = roots.q;
        assert!(q >> 60 == 0);
        let power = &roots.power;
        Self {
            q: splat(q),
            two_q: splat(2 * q),
            four_q: splat(4 * q),
            eight_q: splat(8 * q),
            mask: splat((1 << 30) - 1),
            p0: uniform(&power.p0),
            p30: uniform(&power.p30),
            p60: uniform(&power.p60),
            p92: uniform(&power.p92),
        }
    }
}

#[derive(Clone, Copy)]
struct W {
    value: V,
    companion: V,
    /// The companion's high halves in the low 32 bits of the lanes.
    high: V,
}

#[inline]
#[target_feature(enable = "avx512f")]
fn uniform(f: &Uniform) -> W {
    W { value: splat(f[0]), companion: splat(f[1]), high: _mm512_set1_epi32((f[1] >> 32) as i32) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn lanes<const LARGE: bool>(_: &C, value: &Line, companion: &Line) -> W {
    // SAFETY: a line is eight words.
    let (value, companion) = unsafe { (load(value.0.as_ptr()), load(companion.0.as_ptr())) };
    W { value, companion, high: _mm512_srli_epi64::<32>(companion) }
}

/// w * y mod q in `[0, 4q)` for any 64-bit y.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn mul(c: &C, y: V, w: W) -> V {
    let y_high = _mm512_srli_epi64::<32>(y);
    let cross0 = _mm512_srli_epi64::<32>(_mm512_mul_epu32(y_high, w.companion));
    let cross1 = _mm512_srli_epi64::<32>(_mm512_mul_epu32(y, w.high));
    let t = _mm512_add_epi64(_mm512_mul_epu32(y_high, w.high), _mm512_add_epi64(cross0, cross1));
    _mm512_sub_epi64(_mm512_mullo_epi64(y, w.value), _mm512_mullo_epi64(t, c.q))
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn forward<const EVEN: bool, const IN: u8, const OUT: u8>(c: &C, x: V, y: V, w: W) -> (V, V) {
    let x = if EVEN && IN != REDUCED { reduce_once(x, c.eight_q) } else { x };
    let v = mul(c, y, w);
    (_mm512_add_epi64(x, v), _mm512_sub_epi64(_mm512_add_epi64(x, c.four_q), v))
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn inverse<const IN: u8, const OUT: u8>(c: &C, x: V, y: V, w: W) -> (V, V) {
    let difference = _mm512_sub_epi64(_mm512_add_epi64(x, c.eight_q), y);
    let sum = _mm512_add_epi64(x, y);
    (if IN == REDUCED { sum } else { reduce_once(sum, c.eight_q) }, mul(c, difference, w))
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn inverse_last(c: &C, x: V, y: V, w0: W, w1: W) -> (V, V) {
    let (sum, difference) = (_mm512_add_epi64(x, y), _mm512_sub_epi64(_mm512_add_epi64(x, c.eight_q), y));
    (mul_reduced(c, sum, w0), mul_reduced(c, difference, w1))
}

/// `[0, 16q)` to `[0, q)`.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn finish<const KIND: u8>(c: &C, x: V) -> V {
    [c.eight_q, c.four_q, c.two_q, c.q].into_iter().fold(x, |x, k| reduce_once(x, k))
}

/// w * y, reduced, for any 64-bit y.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn mul_reduced(c: &C, y: V, w: W) -> V {
    reduce_once(reduce_once(mul(c, y, w), c.two_q), c.q)
}

/// x * y of residues, reduced.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn product(c: &C, x: V, y: V) -> V {
    let half = |v| (_mm512_and_si512(v, c.mask), _mm512_srli_epi64::<30>(v));
    let ((x0, x1), (y0, y1)) = (half(x), half(y));
    let middle = _mm512_add_epi64(_mm512_mul_epu32(x0, y1), _mm512_mul_epu32(x1, y0));
    let zero = _mm512_setzero_si512();
    reduce_parts(c, [_mm512_mul_epu32(x0, y0), middle, _mm512_mul_epu32(x1, y1), zero])
}

/// a + b * 2^30 + c * 2^60 + d * 2^92 of any words, reduced.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
pub(super) fn reduce_parts(c: &C, [p0, p30, p60, p92]: [V; 4]) -> V {
    let low = _mm512_add_epi64(mul(c, p0, c.p0), mul(c, p30, c.p30));
    let high = _mm512_add_epi64(mul(c, p60, c.p60), mul(c, p92, c.p92));
    finish::<EXACT>(c, _mm512_add_epi64(low, high))
}

transforms!("avx512f,avx512dq");
row_kernels!("avx512f,avx512dq");
