//! Ring and primes, held to the security table.
//!
//! The table is for 128 bits of classical security with uniform ternary secrets: "Security Guidelines for Implementing
//! Homomorphic Encryption" (Bossuat et al., 2024). Larger moduli are refused unless a parameter set is asked for by
//! name.

use crate::error::{Error, Result};
use crate::ring::Basis;

/// (n, largest log2 of QP), key-switching primes included.
pub const SECURITY_TABLE: [(usize, u32); 7] =
    [(1024, 26), (2048, 53), (4096, 106), (8192, 214), (16384, 430), (32768, 868), (65536, 1747)];

/// More primes than any set within the table has.
const MOST_PRIMES: u64 = 64;

/// Ring dimension n, the primes Q of ciphertexts and the primes P of key switching. Secrets are uniform ternary. What
/// messages are is a scheme's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    basis: Basis,
    special: Option<Basis>,
    /// Primes of a digit in key switching.
    digit: usize,
    secure: bool,
}

impl Params {
    /// Dimension `n`, ciphertext primes, and the primes of key switching if there are any. Refused under 128 bits.
    pub fn new(n: usize, primes: &[u64], special: &[u64]) -> Result<Self> {
        let params = Self::insecure(n, primes, special)?;
        let log2 = params.log2_qp();
        match SECURITY_TABLE.iter().find(|(dimension, _)| *dimension == n) {
            Some(&(_, bits)) if log2 <= f64::from(bits) => Ok(Self { secure: true, ..params }),
            Some((_, bits)) => Err(Error::Parameters(format!(
                "n = {n} with log2 Q = {log2:.1} is under 128-bit security: at most {bits} bits for this n"
            ))),
            None => {
                Err(Error::Parameters(format!("n = {n}: the security table has {:?}", SECURITY_TABLE.map(|r| r.0))))
            }
        }
    }

    /// The same with whatever security that is: for comparison with published sets, and for tests at small sizes.
    pub fn insecure(n: usize, primes: &[u64], special: &[u64]) -> Result<Self> {
        let basis = Basis::new(n, primes)?;
        let special = if special.is_empty() { None } else { Some(Basis::new(n, special)?) };
        if let Some(special) = &special {
            basis.joined(special)?;
        }
        let digit = special.as_ref().map_or(1, Basis::len).min(basis.len());
        Ok(Self { basis, special, digit, secure: false })
    }

    /// The same with digits of `size` primes in key switching, of which there are as many as primes of key switching
    /// otherwise. Larger digits are faster and noisier.
    ///
    /// # Errors
    /// [`Error::Parameters`] for digits of no prime or of more than there are.
    pub fn with_digits(self, size: usize) -> Result<Self> {
        if !(1..=self.basis.len()).contains(&size) {
            return Err(Error::Parameters(format!("digits of {size} primes, of {} in all", self.basis.len())));
        }
        Ok(Self { digit: size, ..self })
    }

    /// Primes of a digit.
    pub fn digit(&self) -> usize {
        self.digit
    }

    /// Digits of an element of `level` primes.
    pub fn digits(&self, level: usize) -> usize {
        level.div_ceil(self.digit)
    }

    /// The first `level` primes of ciphertexts, then those of key switching.
    ///
    /// # Errors
    /// [`Error::Parameters`] for a level that there is not, or without primes of key switching.
    pub fn extended(&self, level: usize) -> Result<Basis> {
        let none = || Error::Parameters(format!("{}: no primes of key switching", self.describe()));
        self.basis.level(level)?.joined(self.special.as_ref().ok_or_else(none)?)
    }

    /// P modulo each of the first `level` primes.
    pub(crate) fn special_scalars(&self, level: usize) -> Vec<u64> {
        let p = |q: &crate::ring::Prime| self.special.as_ref().map_or(1, |p| p.product_mod(q.value()));
        self.basis.primes().iter().take(level).map(p).collect()
    }

    /// What tells these parameters from others: n, the primes and the digits, hashed.
    pub fn digest(&self) -> [u8; 32] {
        blake3::hash(&self.to_bytes()).into()
    }

    /// n, primes of a digit, the numbers of primes and the primes, as words of eight bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let special = self.special.as_ref().map(Basis::values).unwrap_or_default();
        let head = [self.n() as u64, self.digit as u64, special.len() as u64, self.basis.len() as u64];
        let words = head.into_iter().chain(special).chain(self.basis.values());
        words.flat_map(u64::to_le_bytes).collect()
    }

    /// Reads what [`Self::to_bytes`] wrote, under 128 bits refused.
    ///
    /// # Errors
    /// [`Error::Decode`] for anything else, [`Error::Parameters`] for what is refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let words: Vec<u64> = words.iter().map(|w| u64::from_le_bytes(*w)).collect();
        let bad = || Error::Decode(format!("{} bytes are no parameters", bytes.len()));
        let [n, digit, special, chain, ref primes @ ..] = words[..] else { return Err(bad()) };
        let count = special.checked_add(chain).filter(|&count| count == primes.len() as u64 && count <= MOST_PRIMES);
        if count.is_none() || !rest.is_empty() || !SECURITY_TABLE.iter().any(|&(known, _)| known as u64 == n) {
            return Err(bad());
        }
        let (special, chain) = primes.split_at(special as usize);
        let digit = usize::try_from(digit).map_err(|_| bad())?;
        Self::new(n as usize, chain, special)?.with_digits(digit)
    }

    /// Whether the set is within the security table.
    pub fn is_128_bit(&self) -> bool {
        self.secure
    }

    /// The ciphertext primes.
    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// The primes of key switching.
    pub fn special(&self) -> Option<&Basis> {
        self.special.as_ref()
    }

    /// log2 of the product of all primes.
    pub fn log2_qp(&self) -> f64 {
        self.basis.log2_q() + self.special.as_ref().map_or(0.0, Basis::log2_q)
    }

    /// The ring dimension.
    pub fn n(&self) -> usize {
        self.basis.n()
    }

    /// In words, for reports.
    pub fn describe(&self) -> String {
        let bits = |basis: &Basis| {
            let bits: Vec<_> = basis.primes().iter().map(|q| q.modulus().bits().to_string()).collect();
            bits.join(" + ")
        };
        let special = self.special.as_ref().map(|p| format!(", key switching {}", bits(p))).unwrap_or_default();
        format!("n = {}, primes of {} bits{special}", self.n(), bits(&self.basis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::primes::{DEFAULT_50, DEFAULT_60, ntt_primes};

    #[test]
    fn sets_are_held_to_the_table() {
        let refused = Params::new(2048, &DEFAULT_60[..1], &[]).unwrap_err().to_string();
        assert!(refused.contains("at most 53 bits"), "{refused}");
        assert!(!Params::insecure(2048, &DEFAULT_60[..1], &[]).unwrap().is_128_bit());
        assert!(Params::new(512, &DEFAULT_50[..1], &[]).is_err());
        // Primes of key switching count.
        assert!(Params::new(4096, &DEFAULT_50[..2], &[]).unwrap().is_128_bit());
        assert!(Params::new(4096, &DEFAULT_50[..2], &DEFAULT_50[2..]).is_err());
        assert!(Params::insecure(4096, &DEFAULT_50[..2], &DEFAULT_50[1..]).is_err());
    }

    #[test]
    fn sets_come_back_from_their_bytes() {
        let params = Params::new(8192, &DEFAULT_50[..2], &DEFAULT_50[2..]).unwrap().with_digits(2).unwrap();
        let bytes = params.to_bytes();
        assert_eq!(Params::from_bytes(&bytes).unwrap(), params);
        for cut in 0..bytes.len() {
            assert!(Params::from_bytes(&bytes[..cut]).is_err());
        }
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0x81;
            assert!(Params::from_bytes(&other).map_or(true, |p| p.to_bytes() == other), "byte {at}");
        }
        let insecure = Params::insecure(1024, &DEFAULT_50[..2], &[]).unwrap();
        assert!(Params::from_bytes(&insecure.to_bytes()).unwrap_err().to_string().contains("under 128-bit"));
    }

    #[test]
    fn the_largest_dimension_has_1747_bits() {
        let primes = ntt_primes(50, 65536, 35).unwrap();
        let (q, p) = primes.split_at(30);
        assert!(Params::new(65536, &q[..29], p).unwrap().log2_qp() <= 1747.0);
        assert!(Params::new(65536, q, p).unwrap_err().to_string().contains("at most 1747 bits"));
    }
}
