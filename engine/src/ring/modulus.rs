//! Scalar arithmetic modulo one prime. Operands and results are reduced, in `[0, q)`, unless said otherwise.

use crate::error::{Error, Result};
use crate::simd::wide;

/// The largest supported width of a modulus: four of them still fit a word, which lazy butterflies need.
pub const MAX_BITS: u32 = 60;

/// An odd modulus of at most [`MAX_BITS`] bits with its Barrett constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Modulus {
    value: u64,
    /// floor(2^128 / q), low and high word.
    ratio: [u64; 2],
}

impl Modulus {
    /// [`Error::Decode`] unless all residues are below it.
    pub fn check_reduced(self, residues: &[u64]) -> Result<()> {
        let q = self.value();
        let reduced = wide(|| residues.iter().fold(true, |ok, &x| ok & (x < q)));
        reduced.then_some(()).ok_or_else(|| Error::Decode("a residue is not below its modulus".to_owned()))
    }

    /// Wraps an odd `value` in `[3, 2^60)`. That it is prime is up to the caller.
    pub fn new(value: u64) -> Result<Self> {
        if value < 3 || value.is_multiple_of(2) || value >> MAX_BITS != 0 {
            return Err(Error::Parameters(format!("modulus {value}: must be odd, at least 3 and below 2^{MAX_BITS}")));
        }
        // floor((2^128 - 1) / q) = floor(2^128 / q), as q > 1 is odd and divides no power of two.
        let ratio = u128::MAX / u128::from(value);
        Ok(Self { value, ratio: [ratio as u64, (ratio >> 64) as u64] })
    }

    /// The modulus itself.
    #[inline]
    pub fn value(self) -> u64 {
        self.value
    }

    /// Its width in bits.
    pub fn bits(self) -> u32 {
        64 - self.value.leading_zeros()
    }

    /// `a + b`.
    #[inline]
    pub fn add(self, a: u64, b: u64) -> u64 {
        self.reduce_once(a + b)
    }

    /// `a - b`.
    #[inline]
    pub fn sub(self, a: u64, b: u64) -> u64 {
        self.reduce_once(a + self.value - b)
    }

    /// `-a`.
    #[inline]
    pub fn neg(self, a: u64) -> u64 {
        self.reduce_once(self.value - a)
    }

    /// `a * b`.
    #[inline]
    pub fn mul(self, a: u64, b: u64) -> u64 {
        self.reduce_wide(u128::from(a) * u128::from(b))
    }

    /// Any 128-bit value, reduced (Barrett; the quotient is at most two too small).
    #[inline]
    pub fn reduce_wide(self, x: u128) -> u64 {
        let (lo, hi) = (x as u64, (x >> 64) as u64);
        let [r0, r1] = self.ratio;
        let carry = (u128::from(lo) * u128::from(r0)) >> 64;
        let mid = u128::from(lo) * u128::from(r1) + carry;
        let mid2 = u128::from(hi) * u128::from(r0) + u128::from(mid as u64);
        let quotient = hi.wrapping_mul(r1).wrapping_add((mid >> 64) as u64).wrapping_add((mid2 >> 64) as u64);
        let rest = lo.wrapping_sub(quotient.wrapping_mul(self.value));
        self.reduce_once(self.reduce_once(rest))
    }

    /// Any 64-bit value, reduced.
    #[inline]
    pub fn reduce(self, x: u64) -> u64 {
        self.reduce_wide(u128::from(x))
    }

    /// `[0, 2q)` to `[0, q)`, without a branch.
    #[inline]
    pub fn reduce_once(self, x: u64) -> u64 {
        x.min(x.wrapping_sub(self.value))
    }

    /// The residue of a signed value, without a branch.
    #[inline]
    pub fn from_signed(self, x: i64) -> u64 {
        let magnitude = self.reduce(x.unsigned_abs());
        let negative = (x >> 63) as u64;
        (magnitude & !negative) | (self.neg(magnitude) & negative)
    }

    /// The representative nearest zero.
    #[inline]
    pub fn to_signed(self, x: u64) -> i64 {
        let high = u64::from(x > self.value / 2).wrapping_neg();
        (x as i64).wrapping_sub((self.value & high) as i64)
    }

    /// `base^exponent`. Not constant-time in the exponent.
    pub fn pow(self, mut base: u64, mut exponent: u64) -> u64 {
        let mut result = 1;
        while exponent != 0 {
            if exponent & 1 == 1 {
                result = self.mul(result, base);
            }
            base = self.mul(base, base);
            exponent >>= 1;
        }
        result
    }

    /// The inverse of a non-zero `a` modulo a prime.
    pub fn inv(self, a: u64) -> u64 {
        self.pow(a, self.value - 2)
    }

    /// Shoup's companion of a fixed factor: floor(w * 2^64 / q).
    pub fn shoup(self, w: u64) -> u64 {
        ((u128::from(w) << 64) / u128::from(self.value)) as u64
    }

    /// `a * w` in `[0, 2q)` for any 64-bit `a`, with `w`'s companion.
    #[inline]
    pub fn mul_shoup_lazy(self, a: u64, w: u64, w_shoup: u64) -> u64 {
        let quotient = ((u128::from(a) * u128::from(w_shoup)) >> 64) as u64;
        a.wrapping_mul(w).wrapping_sub(quotient.wrapping_mul(self.value))
    }

    /// `a * w` with `w`'s companion, for any 64-bit `a`.
    #[inline]
    pub fn mul_shoup(self, a: u64, w: u64, w_shoup: u64) -> u64 {
        self.reduce_once(self.mul_shoup_lazy(a, w, w_shoup))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_wide_integers(q in 1u64..1 << 59, a: u64, b: u64, wide: u128, x: i64) {
            let m = Modulus::new(2 * q + 1).unwrap();
            let q = u128::from(m.value());
            let (a, b) = (a % m.value(), b % m.value());
            let (wa, wb) = (u128::from(a), u128::from(b));
            prop_assert_eq!(u128::from(m.add(a, b)), (wa + wb) % q);
            prop_assert_eq!(u128::from(m.sub(a, b)), (wa + q - wb) % q);
            prop_assert_eq!(u128::from(m.neg(a)), (q - wa) % q);
            prop_assert_eq!(u128::from(m.mul(a, b)), wa * wb % q);
            prop_assert_eq!(u128::from(m.reduce_wide(wide)), wide % q);
            prop_assert_eq!(u128::from(m.mul_shoup(x as u64, b, m.shoup(b))), u128::from(x as u64) * wb % q);
            prop_assert_eq!(i128::from(m.from_signed(x)), i128::from(x).rem_euclid(q as i128));
            prop_assert_eq!(m.from_signed(m.to_signed(a)), a);
        }
    }

    #[test]
    fn refuses_what_it_cannot_hold() {
        for bad in [0, 1, 2, 4, 1 << 60, (1 << 60) + 1, u64::MAX] {
            assert!(Modulus::new(bad).is_err(), "{bad}");
        }
    }
}
