//! Additive secret sharing: x = x_C + x_S in a [`Ring`]. Shares are `u32`; bits are shared by xor ([`BitShares`]).

mod bits;

pub use bits::BitShares;

use std::fmt;
use std::ops::{Deref, DerefMut};

use blindvox_net::transport::recycle;

/// 2^32 - 2^20 + 1, the prime in which squares are computed: NTT-friendly up to n = 2^19, and
/// p / 2^f is within 2^-f of an integer for f <= 20, so that a wrap is cheap to undo after truncation.
pub const P: u32 = 4_293_918_721;

/// The group that shares live in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ring {
    /// Integers modulo 2^bits, 1 <= bits <= 32.
    Pow2(u32),
    /// Integers modulo an odd prime below 2^32.
    Prime(u32),
}

impl Ring {
    /// Integers modulo 2^32: what linear layers work in.
    pub const FULL: Self = Self::Pow2(32);

    /// The modulus.
    pub fn modulus(self) -> u64 {
        match self {
            Self::Pow2(bits) => 1 << bits,
            Self::Prime(p) => u64::from(p),
        }
    }

    /// `a + b` for reduced operands.
    #[inline]
    pub fn add(self, a: u32, b: u32) -> u32 {
        match self {
            Self::Pow2(_) => self.mask(a.wrapping_add(b)),
            Self::Prime(p) => subtract_once(u64::from(a) + u64::from(b), p),
        }
    }

    /// `-a` for a reduced operand.
    #[inline]
    pub fn neg(self, a: u32) -> u32 {
        match self {
            Self::Pow2(_) => self.mask(a.wrapping_neg()),
            Self::Prime(p) => subtract_once(u64::from(p - a), p),
        }
    }

    /// `a - b` for reduced operands.
    #[inline]
    pub fn sub(self, a: u32, b: u32) -> u32 {
        self.add(a, self.neg(b))
    }

    /// `a * b` for reduced operands.
    #[inline]
    pub fn mul(self, a: u32, b: u32) -> u32 {
        match self {
            Self::Pow2(_) => self.mask(a.wrapping_mul(b)),
            Self::Prime(p) => (u64::from(a) * u64::from(b) % u64::from(p)) as u32,
        }
    }

    /// Reduces any 32-bit value.
    #[inline]
    pub fn mask(self, a: u32) -> u32 {
        match self {
            Self::Pow2(bits) => a & (u32::MAX >> (32 - bits)),
            Self::Prime(p) => a % p,
        }
    }

    /// The residue of a signed value.
    #[inline]
    pub fn from_signed(self, x: i64) -> u32 {
        x.rem_euclid(self.modulus() as i64) as u32
    }

    /// The representative in [-modulus/2, modulus/2) of a residue.
    #[inline]
    pub fn to_signed(self, a: u32) -> i64 {
        let m = self.modulus() as i64;
        let a = i64::from(a);
        if a >= (m + 1) / 2 { a - m } else { a }
    }

    /// The value behind two shares.
    pub fn open(self, a: &[u32], b: &[u32]) -> Vec<i64> {
        a.iter().zip(b).map(|(&a, &b)| self.to_signed(self.add(a, b))).collect()
    }
}

/// x modulo p for x < 2p, by the sign bit of x - p: compilers make branches of comparisons where there are no wide
/// registers, and shares are secret.
#[inline(always)]
fn subtract_once(x: u64, p: u32) -> u32 {
    let less = x.wrapping_sub(u64::from(p));
    less.wrapping_add(u64::from(p) & (less as i64 >> 63) as u64) as u32
}

/// One party's shares of a tensor: cleared when dropped, and not printed. Large ones live in memory that served others
/// before.
#[derive(Default, PartialEq, Eq)]
pub struct Shares(Vec<u32>);

impl Shares {
    /// None, with room for `count`.
    pub fn with_capacity(count: usize) -> Self {
        Self(recycle::shares(count))
    }

    /// So many zeros.
    pub fn zeros(count: usize) -> Self {
        let mut shares = recycle::shares(count);
        shares.resize(count, 0);
        Self(shares)
    }

    /// Adds more at the end.
    ///
    /// # Panics
    /// If there is no room: growing would leave a copy behind.
    pub fn extend_from_slice(&mut self, more: &[u32]) {
        assert!(self.0.capacity() - self.0.len() >= more.len(), "no room for {} shares", more.len());
        self.0.extend_from_slice(more);
    }
}

impl Clone for Shares {
    fn clone(&self) -> Self {
        Self::from(&self.0[..])
    }
}

impl Deref for Shares {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        &self.0
    }
}

impl DerefMut for Shares {
    fn deref_mut(&mut self) -> &mut [u32] {
        &mut self.0
    }
}

impl<'a> IntoIterator for &'a Shares {
    type Item = &'a u32;
    type IntoIter = std::slice::Iter<'a, u32>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl From<Vec<u32>> for Shares {
    fn from(shares: Vec<u32>) -> Self {
        Self(shares)
    }
}

impl From<&[u32]> for Shares {
    fn from(shares: &[u32]) -> Self {
        let mut copy = Self::with_capacity(shares.len());
        copy.extend_from_slice(shares);
        copy
    }
}

/// Of iterators that know their length: growing would leave a copy behind.
impl FromIterator<u32> for Shares {
    fn from_iter<I: IntoIterator<Item = u32>>(shares: I) -> Self {
        let shares = shares.into_iter();
        let mut all = recycle::shares(shares.size_hint().0);
        all.extend(shares);
        Self(all)
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shares({})", self.0.len())
    }
}

impl Drop for Shares {
    fn drop(&mut self) {
        self.0.fill(0);
        // The clearing is observed here, so it is not removed as a dead store.
        zeroize::optimization_barrier(self.0.as_slice());
        recycle::give_shares(std::mem::take(&mut self.0));
    }
}

/// `a * b` mod [`P`] for operands below it, in loops that vectorise: 2^32 = 2^20 - 1 mod p folds the high
/// half of the product down four times.
#[inline]
pub(crate) fn mul_mod_p(a: u32, b: u32) -> u32 {
    let fold = |x: u64| (x >> 32) * ((1 << 20) - 1) + (x & u64::from(u32::MAX));
    // Bounds of the folds: 2^52, 2^40 + 2^32, 2^28 + 2^32, 2^32.
    let x = fold(fold(fold(fold(u64::from(a) * u64::from(b))))) as u32;
    subtract_once(u64::from(x), P)
}

impl fmt::Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pow2(bits) => write!(f, "2^{bits}"),
            Self::Prime(p) => write!(f, "{p}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_integers(a: u32, b: u32, bits in 1u32..=32) {
            for ring in [Ring::Pow2(bits), Ring::Prime(P), Ring::Prime(65537)] {
                let m = ring.modulus();
                let (a, b) = (ring.mask(a), ring.mask(b));
                let (wide_a, wide_b) = (u64::from(a), u64::from(b));
                prop_assert_eq!(u64::from(ring.add(a, b)), (wide_a + wide_b) % m);
                prop_assert_eq!(u64::from(ring.sub(a, b)), (wide_a + m - wide_b) % m);
                prop_assert_eq!(u64::from(ring.neg(a)), (m - wide_a) % m);
                prop_assert_eq!(u128::from(ring.mul(a, b)), u128::from(wide_a) * u128::from(wide_b) % u128::from(m));
                prop_assert_eq!(ring.from_signed(ring.to_signed(a)), a);
            }
        }

        #[test]
        fn folding_is_reduction(a in 0..P, b in 0..P) {
            prop_assert_eq!(mul_mod_p(a, b), Ring::Prime(P).mul(a, b));
        }
    }

    #[test]
    fn shares_are_not_printed_and_do_not_grow() {
        let mut shares = Shares::with_capacity(2);
        shares.extend_from_slice(&[77_777, 88_888]);
        assert_eq!(format!("{shares:?}"), "Shares(2)");
        assert!(std::panic::catch_unwind(move || shares.extend_from_slice(&[1; 100])).is_err());
    }

    #[test]
    fn folding_is_reduction_at_the_edges() {
        let edges = [0, 1, 2, (1 << 20) - 1, 1 << 20, 1 << 31, P / 2, P / 2 + 1, P - 2, P - 1];
        for a in edges {
            for b in edges {
                assert_eq!(mul_mod_p(a, b), Ring::Prime(P).mul(a, b), "{a} * {b}");
            }
        }
    }
}
