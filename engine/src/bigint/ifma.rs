//! Eight numbers on AVX-512 IFMA: digits of 52 bits, whose products come as two halves.

// Lanes of a tile are indices into several arrays at once.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::lanes::{body, kernels};
use super::numbers::{Line as _, Line8 as Line};

type V = __m512i;

fn runs_here() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512ifma")
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(line: &Line) -> V {
    // SAFETY: a line is 64 bytes, aligned to them.
    unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(line: &mut Line, v: V) {
    // SAFETY: a line is 64 bytes, aligned to them.
    unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), v) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(x: u64) -> V {
    _mm512_set1_epi64(x as i64)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn zero() -> V {
    _mm512_setzero_si512()
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: V, b: V) -> V {
    _mm512_add_epi64(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn lo(s: V, a: V, b: V) -> V {
    _mm512_madd52lo_epu64(s, a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn hi(s: V, a: V, b: V) -> V {
    _mm512_madd52hi_epu64(s, a, b)
}

/// The instruction reads the low 52 bits of t alone.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn quotient(t: V, inverse: V) -> V {
    lo(zero(), t, inverse)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn low(s: V) -> V {
    _mm512_and_si512(s, splat((1 << 52) - 1))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn carry(s: V) -> V {
    _mm512_srli_epi64::<52>(s)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn complement(digit: V) -> V {
    _mm512_andnot_si512(digit, splat((1 << 52) - 1))
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn equal(a: V, b: V) -> V {
    _mm512_movm_epi64(_mm512_cmpeq_epi64_mask(a, b))
}

/// s or (mask and x).
#[inline]
#[target_feature(enable = "avx512f")]
fn pick(s: V, mask: V, x: V) -> V {
    _mm512_ternarylogic_epi64::<0xf8>(s, mask, x)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn nothing(_: V) {}

kernels!(8 columns 0 1 2 3 4 5 6 7; #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]);
body!(
    /// Eight numbers in digits of 52 bits.
    Ifma, 52, Line
);
