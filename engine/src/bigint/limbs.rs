//! One number in 64-bit words, for any processor: digits of 58 bits, whose products are added up whole, in 128 bits.

// Lanes of a tile are indices into several arrays at once.
#![allow(clippy::needless_range_loop)]

use super::natural::mask;
use super::numbers::Line1 as Line;

type V = u128;

/// Of a digit: with 58, a column of 3 * 72 products stays below 2^124.
const BITS: u32 = 58;

#[inline(always)]
fn load(line: &Line) -> V {
    u128::from(line.0[0]) | u128::from(line.0[1]) << 64
}

#[inline(always)]
fn store(line: &mut Line, v: V) {
    line.0 = [v as u64, (v >> 64) as u64];
}

#[inline(always)]
fn splat(x: u64) -> V {
    x.into()
}

#[inline(always)]
fn zero() -> V {
    0
}

#[inline(always)]
fn add(a: V, b: V) -> V {
    a + b
}

/// Whole products.
#[inline(always)]
fn lo(s: V, a: V, b: V) -> V {
    s + u128::from(a as u64) * u128::from(b as u64)
}

#[inline(always)]
fn hi(s: V, _: V, _: V) -> V {
    s
}

#[inline(always)]
fn quotient(t: V, inverse: V) -> V {
    low((t as u64).wrapping_mul(inverse as u64).into())
}

#[inline(always)]
fn low(s: V) -> V {
    (s as u64 & mask(BITS)).into()
}

#[inline(always)]
fn carry(s: V) -> V {
    s >> BITS
}

#[inline(always)]
fn complement(digit: V) -> V {
    (mask(BITS) - digit as u64).into()
}

/// All ones where two small numbers are equal, else zero; no branch.
#[inline(always)]
fn equal(a: V, b: V) -> V {
    std::hint::black_box(((a ^ b) as u64).wrapping_sub(1) >> 63).wrapping_neg().into()
}

/// s or (mask and x), of digits.
#[inline(always)]
fn pick(s: V, mask: V, x: V) -> V {
    (s as u64 | mask as u64 & x as u64).into()
}

#[inline(always)]
fn nothing(s: V) {
    debug_assert_eq!(s, 0, "a carry beyond R");
}

/// For any processor: none of its functions is unsafe.
#[allow(unused_unsafe)]
pub(super) mod portable {
    use super::super::lanes::{body, kernels};
    use super::super::numbers::Line as _;
    use super::*;

    fn runs_here() -> bool {
        true
    }

    kernels!(4 columns 0 1 2 3);
    body!(
        /// One number in digits of 58 bits.
        Limbs, 58, Line
    );
}

/// With the multiplication that leaves flags alone.
#[cfg(target_arch = "x86_64")]
pub(super) mod bmi2 {
    use super::super::lanes::{body, kernels};
    use super::super::numbers::Line as _;
    use super::*;

    fn runs_here() -> bool {
        is_x86_feature_detected!("bmi2")
    }

    kernels!(4 columns 0 1 2 3; #[target_feature(enable = "bmi2")]);
    body!(
        /// One number in digits of 58 bits.
        Limbs, 58, Line
    );
}
