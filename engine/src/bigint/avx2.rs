//! Four numbers on AVX2: digits of 26 bits, whose products are added up whole.

// Lanes of a tile are indices into several arrays at once.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::lanes::{body, kernels};
use super::numbers::{Line as _, Line4 as Line};

type V = __m256i;

fn runs_here() -> bool {
    is_x86_feature_detected!("avx2")
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(line: &Line) -> V {
    // SAFETY: a line is 32 bytes, aligned to them.
    unsafe { _mm256_load_si256(line.0.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(line: &mut Line, v: V) {
    // SAFETY: a line is 32 bytes, aligned to them.
    unsafe { _mm256_store_si256(line.0.as_mut_ptr().cast(), v) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn splat(x: u64) -> V {
    _mm256_set1_epi64x(x as i64)
}

#[inline]
#[target_feature(enable = "avx2")]
fn zero() -> V {
    _mm256_setzero_si256()
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: V, b: V) -> V {
    _mm256_add_epi64(a, b)
}

/// Whole products.
#[inline]
#[target_feature(enable = "avx2")]
fn lo(s: V, a: V, b: V) -> V {
    _mm256_add_epi64(s, _mm256_mul_epu32(a, b))
}

#[inline]
#[target_feature(enable = "avx2")]
fn hi(s: V, _: V, _: V) -> V {
    s
}

/// The instruction reads the low 32 bits of t alone.
#[inline]
#[target_feature(enable = "avx2")]
fn quotient(t: V, inverse: V) -> V {
    low(_mm256_mul_epu32(t, inverse))
}

#[inline]
#[target_feature(enable = "avx2")]
fn low(s: V) -> V {
    _mm256_and_si256(s, splat((1 << 26) - 1))
}

#[inline]
#[target_feature(enable = "avx2")]
fn carry(s: V) -> V {
    _mm256_srli_epi64::<26>(s)
}

#[inline]
#[target_feature(enable = "avx2")]
fn complement(digit: V) -> V {
    _mm256_andnot_si256(digit, splat((1 << 26) - 1))
}

#[inline]
#[target_feature(enable = "avx2")]
fn equal(a: V, b: V) -> V {
    _mm256_cmpeq_epi64(a, b)
}

/// s or (mask and x).
#[inline]
#[target_feature(enable = "avx2")]
fn pick(s: V, mask: V, x: V) -> V {
    _mm256_or_si256(s, _mm256_and_si256(mask, x))
}

#[inline]
#[target_feature(enable = "avx2")]
fn nothing(_: V) {}

kernels!(8 columns 0 1 2 3 4 5 6 7; #[target_feature(enable = "avx2")]);
body!(
    /// Four numbers in digits of 26 bits.
    Avx2, 26, Line
);
