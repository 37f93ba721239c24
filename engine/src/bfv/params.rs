//! Parameters: those of the ring, and the plaintext modulus.

use std::ops::Deref;

use super::slots::P;
use crate::error::{Error, Result};
use crate::ring::primes::{DEFAULT_50, DEFAULT_60};
use crate::rlwe;

/// Ring, primes and plaintext modulus t.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    rlwe: rlwe::Params,
    plain: u64,
}

impl Params {
    /// Dimension `n`, ciphertext primes and plaintext modulus t, 2 <= t <= 2^32, odd or a power of two. Refused under
    /// 128 bits.
    pub fn new(n: usize, primes: &[u64], plain: u64) -> Result<Self> {
        Self::with(rlwe::Params::new(n, primes, &[])?, plain)
    }

    fn with(rlwe: rlwe::Params, plain: u64) -> Result<Self> {
        let shared = rlwe.basis().primes().iter().any(|q| q.value() == plain);
        if !(2..=1 << 32).contains(&plain) || !(plain % 2 == 1 || plain.is_power_of_two()) || shared {
            return Err(Error::Parameters(format!(
                "plaintext modulus {plain}: must be in 2..=2^32, odd or a power of two, and none of the primes"
            )));
        }
        Ok(Self { rlwe, plain })
    }

    /// Convolutions: n = 4096, two 50-bit primes, messages mod 2^32.
    pub fn hom_conv() -> Self {
        Self::new(4096, &DEFAULT_50[..2], 1 << 32).expect("within the table")
    }

    /// Square pairs: n = 8192, three 50-bit primes, messages mod [`P`] in slots.
    pub fn square_pairs() -> Self {
        Self::new(8192, &DEFAULT_50, u64::from(P)).expect("within the table")
    }

    /// BUNET's own set, n = 2048 with a 60-bit prime. **Under 128 bits** (about 108): for comparison only.
    pub fn paper_2048(plain: u64) -> Result<Self> {
        Self::insecure_for_tests(2048, &DEFAULT_60[..1], plain)
    }

    /// Sets without security, for tests of correctness at small sizes.
    pub fn insecure_for_tests(n: usize, primes: &[u64], plain: u64) -> Result<Self> {
        Self::with(rlwe::Params::insecure(n, primes, &[])?, plain)
    }

    /// The plaintext modulus t.
    pub fn plain(&self) -> u64 {
        self.plain
    }

    /// In words, for reports.
    pub fn describe(&self) -> String {
        let warning = if self.is_128_bit() { "" } else { ", UNDER 128-BIT SECURITY" };
        format!("{}, t = {}{warning}", self.rlwe.describe(), self.plain)
    }
}

/// The ring, its primes and their security.
impl Deref for Params {
    type Target = rlwe::Params;

    fn deref(&self) -> &rlwe::Params {
        &self.rlwe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insecure_sets_are_refused_unless_named() {
        assert!(Params::hom_conv().is_128_bit() && Params::square_pairs().is_128_bit());
        assert!(Params::new(2048, &DEFAULT_60[..1], 1 << 20).is_err());
        let paper = Params::paper_2048(1 << 20).unwrap();
        assert!(!paper.is_128_bit() && paper.describe().contains("UNDER"));
        assert_eq!(Params::hom_conv().describe(), "n = 4096, primes of 50 + 50 bits, t = 4294967296");
        assert!(Params::new(4096, &DEFAULT_50[..2], 1).is_err() && Params::new(4096, &DEFAULT_50[..2], 6).is_err());
        assert!(Params::new(4096, &DEFAULT_50[..2], DEFAULT_50[0]).is_err());
    }
}
