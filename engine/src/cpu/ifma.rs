//! Arithmetic on AVX-512 IFMA for primes below 2^50: the 52-bit multiply-adds give both halves of a product.
//!
//! A factor w has the companion w' = floor(w * 2^52 / q). For y < 2^52, with t = floor(y * w' / 2^52), the value
//! `y * w - t * q` lies in `[0, 2q)` (Shoup) and its low 52 bits are `lo(y w) + lo(t (2^52 - q))`; that sum has bit 52
//! set or not, and costs an instruction to mask. The instructions ignore what is above bit 51 of their factors, so a
//! value that is next multiplied stays as it is. Forward values:
//!
//! | held | range |
//! |---|---|
//! | loose | `[0, 4q)` modulo 2^52, as 4q <= 2^52 |
//! | sum | `[0, 4q)` |
//! | difference | `(-2q, 2q)`, two's complement |
//!
//! A butterfly's first value comes below 2q by one subtraction or addition and a minimum. Inverse sums are exact and
//! below 2q, products the same modulo 2^52, masked where the next butterfly adds them.
//!
//! A product x * y of two residues, 2^52 h + l, is reduced by Barrett's method with the quotient's estimate from its
//! top 52 bits; the estimate is at most three too small, and the rest below 4q <= 2^52.

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
    pub(super) mask: V,
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
            mask: splat((1 << 52) - 1),
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

/// Factors that are not 0. As w' q = 2^52 w - r with 0 < r < q, the value is one more than that product's high half,
/// and need not be fetched.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn lanes<const LARGE: bool>(c: &C, value: &Line, companion: &Line) -> W {
    let companion = load_line(&companion.0);
    let value = if LARGE { _mm512_madd52hi_epu64(splat(1), companion, c.q) } else { load_line(&value.0) };
    W { value, companion }
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
fn forward<const EVEN: bool, const IN: u8, const OUT: u8>(c: &C, x: V, y: V, w: W) -> (V, V) {
    let x = below_two_q::<IN>(c, x);
    // The product is made beside x, and not added to it on its way: the chain from stage to stage is short.
    let v = mul(c, y, w);
    if OUT == EXACT {
        let v = _mm512_and_si512(v, c.mask);
        (_mm512_add_epi64(x, v), _mm512_sub_epi64(x, v))
    } else {
        (_mm512_add_epi64(x, v), _mm512_sub_epi64(_mm512_add_epi64(x, c.two_q), v))
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse<const IN: u8, const OUT: u8>(c: &C, x: V, y: V, w: W) -> (V, V) {
    let sum = _mm512_add_epi64(x, y);
    let sum = match IN {
        REDUCED => sum,
        EXACT => reduce_once(sum, c.two_q),
        _ => reduce_once(_mm512_and_si512(sum, c.mask), c.two_q),
    };
    let v = mul(c, _mm512_sub_epi64(_mm512_add_epi64(x, c.two_q), y), w);
    (sum, if OUT == EXACT { _mm512_and_si512(v, c.mask) } else { v })
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse_last(c: &C, x: V, y: V, w0: W, w1: W) -> (V, V) {
    let (sum, difference) = (_mm512_add_epi64(x, y), _mm512_sub_epi64(_mm512_add_epi64(x, c.two_q), y));
    (mul_reduced(c, sum, w0), mul_reduced(c, difference, w1))
}

/// x, reduced below 2q.
#[inline]
#[target_feature(enable = "avx512f")]
fn below_two_q<const KIND: u8>(c: &C, x: V) -> V {
    match KIND {
        LOOSE => reduce_once(_mm512_and_si512(x, c.mask), c.two_q),
        REDUCED => x,
        SUM => reduce_once(x, c.two_q),
        // A negative value is huge, and the smaller one after adding 2q.
        _ => _mm512_min_epu64(x, _mm512_add_epi64(x, c.two_q)),
    }
}

/// A forward result, reduced.
#[inline]
#[target_feature(enable = "avx512f")]
fn finish<const KIND: u8>(c: &C, x: V) -> V {
    reduce_once(below_two_q::<KIND>(c, x), c.q)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Modulus;
    use crate::ring::NttTable;
    use crate::ring::primes::{DEFAULT_50, ntt_primes};

    /// Words of a kind at the ends of its range, as the registers hold them.
    fn extremes(kind: u8, q: u64) -> Vec<u64> {
        let ends = [0, 1, q - 1, q, 2 * q - 1, 2 * q, 3 * q, 4 * q - 1];
        match kind {
            LOOSE => ends.iter().flat_map(|&x| [x, x + (1 << 52), x + (3 << 52)]).collect(),
            SUM => ends.to_vec(),
            REDUCED => ends[..3].to_vec(),
            _ => [1, q, 2 * q - 1].into_iter().flat_map(|x| [x, x.wrapping_neg()]).chain([0]).collect(),
        }
    }

    /// What a word of a kind stands for, after checking its range.
    fn value(kind: u8, q: u64, x: u64) -> i128 {
        let (x, q) = (i128::from(x), i128::from(q));
        let (value, range) = match kind {
            LOOSE => (x & ((1 << 52) - 1), 0..4 * q),
            SUM => (x, 0..4 * q),
            REDUCED => (x, 0..q),
            _ => (i128::from(x as u64 as i64), 1 - 2 * q..2 * q),
        };
        assert!(range.contains(&value), "{x:#x} of kind {kind} for q = {q}");
        value
    }

    fn modulo(q: u64, x: i128) -> u64 {
        x.rem_euclid(q.into()) as u64
    }

    #[target_feature(enable = "avx512f")]
    fn word(v: V) -> u64 {
        let mut line = [0; 8];
        super::super::vec512::store_line(&mut line, v);
        assert!(line.iter().all(|&x| x == line[0]));
        line[0]
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn check_forward<const IN: u8, const OUT: u8>(roots: &Roots) {
        let (c, q) = (&C::new(roots), roots.q);
        for w in [0, 1, 2, q / 2, q - 1] {
            for x in extremes(IN, q) {
                for y in extremes(LOOSE, q) {
                    let (a, b) = forward::<true, IN, OUT>(c, splat(x), splat(y), uniform(&roots.factor(w)));
                    let (first, second) = if OUT == EXACT { (SUM, DIFFERENCE) } else { (LOOSE, LOOSE) };
                    let (x, product) = (value(IN, q, x), i128::from(w) * value(LOOSE, q, y));
                    assert_eq!(modulo(q, value(first, q, word(a))), modulo(q, x + product));
                    assert_eq!(modulo(q, value(second, q, word(b))), modulo(q, x - product));
                }
            }
        }
        for x in extremes(IN, q) {
            assert_eq!(word(finish::<IN>(c, splat(x))), modulo(q, value(IN, q, x)));
        }
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn check_inverse<const IN: u8, const OUT: u8>(roots: &Roots) {
        let (c, q) = (&C::new(roots), roots.q);
        let ends = [0, 1, q - 1, q, 2 * q - 1];
        let ends = if IN == REDUCED { &ends[..3] } else { &ends };
        let high = if IN == LOOSE { vec![0, 1 << 52, 3 << 52] } else { vec![0] };
        for w in [0, 1, 2, q / 2, q - 1] {
            for (x, y) in ends.iter().flat_map(|x| ends.iter().map(|y| (*x, *y))) {
                let (sum, difference) = (i128::from(x) + i128::from(y), i128::from(x) - i128::from(y));
                for h in &high {
                    let (a, b) = inverse::<IN, OUT>(c, splat(x + h), splat(y), uniform(&roots.factor(w)));
                    let (a, b) = (word(a), if OUT == EXACT { word(b) } else { word(b) & ((1 << 52) - 1) });
                    assert!(a < 2 * q && b < 2 * q);
                    assert_eq!([a % q, b % q], [modulo(q, sum), modulo(q, i128::from(w) * difference)]);
                    let (a, b) = inverse_last(
                        c,
                        splat(x + h),
                        splat(y),
                        uniform(&roots.factor(w)),
                        uniform(&roots.factor(q - 1)),
                    );
                    assert_eq!([word(a), word(b)], [modulo(q, i128::from(w) * sum), modulo(q, -difference)]);
                }
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn check_lanes(roots: &Roots) {
        for w in [1, 2, roots.q / 2, roots.q - 1] {
            let [value, companion] = roots.factor(w).map(|x| Line([x; 8]));
            let c = &C::new(roots);
            assert_eq!(word(lanes::<true>(c, &value, &companion).value), w);
            assert_eq!(word(lanes::<false>(c, &value, &companion).value), w);
        }
    }

    #[test]
    fn butterflies_hold_their_ranges() {
        if !(is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma")) {
            return;
        }
        for q in [DEFAULT_50[0], ntt_primes(50, 64, 1).unwrap()[0], ntt_primes(30, 64, 1).unwrap()[0], 257] {
            assert!(Modulus::new(q).unwrap().bits() <= MAX_BITS);
            let roots = &Roots::new(&NttTable::new(64, q).unwrap(), COMPANION_SHIFT);
            // SAFETY: the features are there.
            unsafe {
                check_forward::<LOOSE, LOOSE>(roots);
                check_forward::<LOOSE, EXACT>(roots);
                check_forward::<SUM, LOOSE>(roots);
                check_forward::<SUM, EXACT>(roots);
                check_forward::<DIFFERENCE, LOOSE>(roots);
                check_forward::<DIFFERENCE, EXACT>(roots);
                check_forward::<REDUCED, LOOSE>(roots);
                check_forward::<REDUCED, EXACT>(roots);
                check_inverse::<REDUCED, LOOSE>(roots);
                check_inverse::<REDUCED, EXACT>(roots);
                check_lanes(roots);
                check_inverse::<LOOSE, LOOSE>(roots);
                check_inverse::<EXACT, LOOSE>(roots);
                check_inverse::<EXACT, EXACT>(roots);
                check_inverse::<LOOSE, EXACT>(roots);
            }
        }
    }
}
