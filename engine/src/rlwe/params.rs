//! Parameters, held to the security table.
//!
//! The table is for 128 bits of classical security with uniform ternary secrets: "Security Guidelines for Implementing
//! Homomorphic Encryption" (Bossuat et al., 2024). Larger moduli are refused unless a parameter set is asked for by name.

use crate::bfv::slots::P;
use crate::error::{Error, Result};
use crate::ring::Basis;
use crate::ring::primes::{DEFAULT_50, DEFAULT_60};

/// (n, largest log2 Q), key-switching primes included.
pub const SECURITY_TABLE: [(usize, u32); 6] =
    [(1024, 26), (2048, 53), (4096, 106), (8192, 214), (16384, 430), (32768, 868)];

/// Ring, primes and plaintext modulus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    basis: Basis,
    plain: u64,
    secure: bool,
}

impl Params {
    /// Dimension `n`, ciphertext primes and plaintext modulus t, 2 <= t <= 2^32, odd or a power of two. Refused under 128 bits.
    pub fn new(n: usize, primes: &[u64], plain: u64) -> Result<Self> {
        let params = Self::unchecked(n, primes, plain)?;
        let log2_q = params.basis.log2_q();
        let limit = SECURITY_TABLE.iter().find(|(dimension, _)| *dimension == n).map(|(_, bits)| *bits);
        match limit {
            Some(bits) if log2_q <= f64::from(bits) => Ok(Self { secure: true, ..params }),
            Some(bits) => Err(Error::Parameters(format!(
                "n = {n} with log2 Q = {log2_q:.1} is under 128-bit security: at most {bits} bits for this n"
            ))),
            None => {
                Err(Error::Parameters(format!("n = {n}: the security table has {:?}", SECURITY_TABLE.map(|r| r.0))))
            }
        }
    }

    fn unchecked(n: usize, primes: &[u64], plain: u64) -> Result<Self> {
        let basis = Basis::new(n, primes)?;
        if !(2..=1 << 32).contains(&plain) || !(plain % 2 == 1 || plain.is_power_of_two()) || primes.contains(&plain) {
            return Err(Error::Parameters(format!(
                "plaintext modulus {plain}: must be in 2..=2^32, odd or a power of two, and none of the primes"
            )));
        }
        Ok(Self { basis, plain, secure: false })
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
        Self::unchecked(2048, &DEFAULT_60[..1], plain)
    }

    /// Sets without security, for tests of correctness at small sizes.
    pub fn insecure_for_tests(n: usize, primes: &[u64], plain: u64) -> Result<Self> {
        Self::unchecked(n, primes, plain)
    }

    /// Whether the set is within the security table.
    pub fn is_128_bit(&self) -> bool {
        self.secure
    }

    /// The ciphertext primes.
    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// The ring dimension.
    pub fn n(&self) -> usize {
        self.basis.n()
    }

    /// The plaintext modulus t.
    pub fn plain(&self) -> u64 {
        self.plain
    }

    /// In words, for reports.
    pub fn describe(&self) -> String {
        let bits: Vec<_> = (0..self.basis.len()).map(|i| self.basis.modulus(i).bits().to_string()).collect();
        let warning = if self.secure { "" } else { ", UNDER 128-BIT SECURITY" };
        format!("n = {}, primes of {} bits, t = {}{warning}", self.n(), bits.join(" + "), self.plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insecure_sets_are_refused_unless_named() {
        assert!(Params::hom_conv().is_128_bit() && Params::square_pairs().is_128_bit());
        let refused = Params::new(2048, &DEFAULT_60[..1], 1 << 20).unwrap_err().to_string();
        assert!(refused.contains("at most 53 bits"), "{refused}");
        let paper = Params::paper_2048(1 << 20).unwrap();
        assert!(!paper.is_128_bit() && paper.describe().contains("UNDER"));
        assert!(Params::new(4096, &DEFAULT_50[..2], 1).is_err() && Params::new(4096, &DEFAULT_50[..2], 6).is_err());
        assert!(Params::new(65536, &DEFAULT_50[..2], 4).is_err());
    }
}
