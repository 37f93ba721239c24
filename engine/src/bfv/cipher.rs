//! Encryption and decryption of messages mod t, coefficient by coefficient.

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::encoding::{Decoder, Encoder};
use crate::error::{Error, Result};
use crate::poly::{Coeff, PolyBatch};
use crate::prng::Prng;
use crate::ring::sampler::{self, PublicSeed};
use crate::rlwe::{SecretKey, SeededCiphertexts};

/// Encrypts piece by piece under one public seed, each piece going on where the one before ended.
pub struct Encryptor<'k> {
    pub(super) key: &'k SecretKey,
    seed: PublicSeed,
    next: u32,
}

impl Encryptor<'_> {
    /// The seed that all c1 halves are expanded from.
    pub fn seed(&self) -> PublicSeed {
        self.seed
    }

    /// The c0 halves for the next `[batch, n]` messages in `[0, t)`.
    pub fn encrypt(&mut self, messages: &[u32], prng: &mut Prng) -> Result<PolyBatch<Coeff>> {
        let n = self.key.params().n();
        if messages.is_empty() || !messages.len().is_multiple_of(n) {
            return Err(Error::Shape(format!("{} messages are not a positive multiple of n = {n}", messages.len())));
        }
        let first = self.advance(messages.len() / n)?;
        let noise = Zeroizing::new(sampler::noise(prng, messages.len()));
        let mut c0 = self.key.zeros(&self.seed, first, &noise)?;
        add_messages(&mut c0, messages, self.key.params().plain())?;
        Ok(c0)
    }

    /// The number of the first of the next `batch` polynomials under the seed, each used once.
    pub(super) fn advance(&mut self, batch: usize) -> Result<u32> {
        let next = u32::try_from(batch).ok().and_then(|b| self.next.checked_add(b));
        let Some(next) = next else {
            return Err(Error::Shape("more than 2^32 ciphertexts under one seed".to_owned()));
        };
        Ok(std::mem::replace(&mut self.next, next))
    }
}

/// Adds `[batch, n]` messages in `[0, plain)`.
pub(crate) fn add_messages(c0: &mut PolyBatch<Coeff>, messages: &[u32], plain: u64) -> Result<()> {
    let encoder = Encoder::new(c0.basis(), plain);
    c0.add_lifted(&Zeroizing::new(encoder.signed(messages)), encoder.scale())
}

impl SecretKey {
    /// An encryptor with a fresh seed.
    pub fn encryptor(&self, prng: &mut Prng) -> Encryptor<'_> {
        let mut seed = PublicSeed::default();
        prng.fill_bytes(&mut seed);
        Encryptor { key: self, seed, next: 0 }
    }

    /// Encrypts `[batch, n]` messages in `[0, t)`. Each call draws a fresh seed and fresh noise.
    pub fn encrypt_seeded(&self, messages: &[u32], prng: &mut Prng) -> Result<SeededCiphertexts> {
        let mut encryptor = self.encryptor(prng);
        let c0 = encryptor.encrypt(messages, prng)?;
        Ok(SeededCiphertexts::new(encryptor.seed(), c0))
    }

    /// Decrypts replies on the first prime, both halves `[batch, n]` in the coefficient domain, to `[batch, n]` messages.
    pub fn decrypt(&self, c0: PolyBatch<Coeff>, c1: PolyBatch<Coeff>) -> Result<Vec<u32>> {
        let mut phase = self.times_secret(c1.into_ntt()?)?;
        phase.add_assign(&c0)?;
        let decoder = Decoder::new(self.params().basis().modulus(0), self.params().plain())?;
        let phase = Zeroizing::new(phase.download()?);
        let decode = |&x: &u64| decoder.decode(x);
        let serial = phase.len() <= 4 * self.params().n();
        Ok(if serial { phase.iter().map(decode).collect() } else { phase.par_iter().map(decode).collect() })
    }
}
