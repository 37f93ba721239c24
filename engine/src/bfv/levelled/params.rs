//! Parameters: ring and primes, the plaintext modulus, and the primes that products are computed over.

use std::ops::Deref;

use crate::error::{Error, Result};
use crate::ring::Basis;
use crate::ring::primes::ntt_primes;
use crate::rlwe;

/// Width of the primes that products are computed over.
const PRODUCT_BITS: u32 = 50;

/// Ring, primes of ciphertexts and of key switching, the prime t that messages are modulo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    rlwe: rlwe::Params,
    plain: Basis,
    product: Basis,
}

impl Params {
    /// Widths in bits of the ciphertext primes and of those of key switching, primes of a digit, and t, a prime of at
    /// most 60 bits that is 1 mod 2n.
    ///
    /// # Errors
    /// [`Error::Parameters`] under 128 bits, for primes that there are not, and for a t that does not suit.
    pub fn new(n: usize, chain: &[u32], special: &[u32], digit: usize, plain: u64) -> Result<Self> {
        Self::with(n, chain, special, digit, plain, rlwe::Params::new)
    }

    /// The same with whatever security that is, for tests at small sizes.
    ///
    /// # Errors
    /// [`Error::Parameters`] for primes that there are not, and for a t that does not suit.
    pub fn insecure_for_tests(n: usize, chain: &[u32], special: &[u32], digit: usize, plain: u64) -> Result<Self> {
        Self::with(n, chain, special, digit, plain, rlwe::Params::insecure)
    }

    fn with(
        n: usize,
        chain: &[u32],
        special: &[u32],
        digit: usize,
        plain: u64,
        make: impl Fn(usize, &[u64], &[u64]) -> Result<rlwe::Params>,
    ) -> Result<Self> {
        let suits =
            |e: Error| Error::Parameters(format!("plaintext modulus {plain}: a prime that is 1 mod {}: {e}", 2 * n));
        let modulus = Basis::new(n, &[plain]).map_err(suits)?;
        let mut taken = vec![plain];
        let mut take = |bits: u32| -> Result<u64> {
            let found = ntt_primes(bits, n, taken.iter().filter(|q| q.ilog2() + 1 == bits).count() + 1)?;
            let q = found.into_iter().find(|q| !taken.contains(q)).expect("one more than are taken");
            taken.push(q);
            Ok(q)
        };
        let mut all = |bits: &[u32]| bits.iter().map(|&bits| take(bits)).collect::<Result<Vec<_>>>();
        let (chain, special) = (all(chain)?, all(special)?);
        Self::of(make(n, &chain, &special)?.with_digits(digit)?, modulus)
    }

    /// With primes for products.
    fn of(rlwe: rlwe::Params, modulus: Basis) -> Result<Self> {
        let (n, plain) = (rlwe.n(), modulus.modulus(0).value());
        let special = rlwe.special().map(Basis::values).unwrap_or_default();
        let taken = [&rlwe.basis().values()[..], &special, &[plain]].concat();
        // t n Q / 2 and a bit to spare.
        let need = rlwe.basis().log2_q() + (plain as f64).log2() + (n as f64).log2() + 2.0;
        let count = (need / f64::from(PRODUCT_BITS - 1)).ceil() as usize;
        let others = ntt_primes(PRODUCT_BITS, n, count + taken.len())?.into_iter().filter(|q| !taken.contains(q));
        let product: Vec<u64> = others.take(count).collect();
        Ok(Self { rlwe, plain: modulus, product: Basis::new(n, &product)? })
    }

    /// n = 4096: one product of small messages. t of 20 bits unless `bits` says otherwise.
    ///
    /// # Errors
    /// [`Error::Parameters`] where there is no prime of so many bits.
    pub fn n4096(bits: u32) -> Result<Self> {
        Self::new(4096, &[35, 35], &[36], 1, ntt_primes(bits, 4096, 1)?[0])
    }

    /// n = 8192: 172 bits for ciphertexts, t of `bits` bits.
    ///
    /// # Errors
    /// [`Error::Parameters`] where there is no prime of so many bits.
    pub fn n8192(bits: u32) -> Result<Self> {
        Self::new(8192, &[43; 4], &[42], 1, ntt_primes(bits, 8192, 1)?[0])
    }

    /// n = 16384: 384 bits for ciphertexts, t of `bits` bits.
    ///
    /// # Errors
    /// [`Error::Parameters`] where there is no prime of so many bits.
    pub fn n16384(bits: u32) -> Result<Self> {
        Self::new(16384, &[48; 8], &[46], 1, ntt_primes(bits, 16384, 1)?[0])
    }

    /// n = 32768: 720 bits for ciphertexts in digits of three primes, t of `bits` bits.
    ///
    /// # Errors
    /// [`Error::Parameters`] where there is no prime of so many bits.
    pub fn n32768(bits: u32) -> Result<Self> {
        Self::new(32768, &[48; 15], &[49; 3], 3, ntt_primes(bits, 32768, 1)?[0])
    }

    /// t.
    pub fn plain(&self) -> u64 {
        self.plain.modulus(0).value()
    }

    /// t as a basis of its own.
    pub(crate) fn plain_basis(&self) -> &Basis {
        &self.plain
    }

    /// What is common with other schemes.
    pub fn rlwe(&self) -> &rlwe::Params {
        &self.rlwe
    }

    /// The primes B that products at a level are computed over.
    pub(crate) fn product_basis(&self, level: usize) -> Result<Basis> {
        let basis = self.basis().level(level)?;
        let need = basis.log2_q() + (self.plain() as f64).log2() + (self.n() as f64).log2() + 2.0;
        let count = (need / f64::from(PRODUCT_BITS - 1)).ceil() as usize;
        self.product.level(count.min(self.product.len()))
    }

    /// What tells these parameters from others, hashed.
    pub fn digest(&self) -> [u8; 32] {
        blake3::hash(&self.to_bytes()).into()
    }

    /// t, then the ring and its primes.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.plain().to_le_bytes()[..], &self.rlwe.to_bytes()].concat()
    }

    /// Reads what [`Self::to_bytes`] wrote, under 128 bits refused.
    ///
    /// # Errors
    /// [`Error::Decode`] for anything else, [`Error::Parameters`] for what is refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = rlwe::wire::Reader::new(bytes);
        let plain = u64::from_le_bytes(reader.array()?);
        let rlwe = rlwe::Params::from_bytes(reader.rest())?;
        let modulus = Basis::new(rlwe.n(), &[plain])?;
        rlwe.basis().joined(&modulus)?;
        Self::of(rlwe, modulus)
    }

    /// In words, for reports.
    pub fn describe(&self) -> String {
        let warning = if self.is_128_bit() { "" } else { ", UNDER 128-BIT SECURITY" };
        format!("{}, t = {}{warning}", self.rlwe.describe(), self.plain())
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
    fn sets_are_within_the_table_and_t_suits() {
        for params in [Params::n4096(20), Params::n8192(30), Params::n16384(60), Params::n32768(60)] {
            let params = params.unwrap();
            assert_eq!(Params::from_bytes(&params.to_bytes()).unwrap(), params);
            assert!(params.is_128_bit() && params.plain() % (2 * params.n() as u64) == 1, "{}", params.describe());
        }
        assert!(Params::new(4096, &[50, 50], &[50], 1, 65537).is_err());
        let refused = Params::n4096(20).and(Params::new(4096, &[35], &[], 1, 65539)).unwrap_err().to_string();
        assert!(refused.contains("65539") && refused.contains("1 mod 8192"), "{refused}");
    }
}
