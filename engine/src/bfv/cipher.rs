//! Encryption and decryption of messages mod t, coefficient by coefficient.

use zeroize::Zeroizing;

use super::encoding::{Decoder, Encoder};
use crate::error::{Error, Result};
use crate::poly_batch::{Coeff, PolyBatch};
use crate::prng::Prng;
use crate::rlwe::{SecretKey, SeededCiphertexts};

impl SecretKey {
    /// Encrypts `[batch, n]` messages in `[0, t)`. Each call draws a fresh seed and fresh noise.
    pub fn encrypt_seeded(&self, messages: &[u32], prng: &mut Prng) -> Result<SeededCiphertexts> {
        let n = self.params().n();
        if messages.is_empty() || !messages.len().is_multiple_of(n) {
            return Err(Error::Shape(format!("{} messages are not a positive multiple of n = {n}", messages.len())));
        }
        let (seed, c0) = self.zeros(messages.len() / n, prng)?;
        let mut fresh = SeededCiphertexts::new(seed, c0);
        fresh.add_plain(messages, self.params().plain())?;
        Ok(fresh)
    }

    /// Decrypts replies on the first prime, both halves `[batch, n]` in the coefficient domain, to `[batch, n]` messages.
    pub fn decrypt(&self, c0: PolyBatch<Coeff>, c1: PolyBatch<Coeff>) -> Result<Vec<u32>> {
        let mut phase = self.times_secret(c1.into_ntt()?)?;
        phase.add_assign(&c0)?;
        let decoder = Decoder::new(self.params().basis().modulus(0), self.params().plain())?;
        let phase = Zeroizing::new(phase.download()?);
        Ok(phase.iter().map(|&x| decoder.decode(x)).collect())
    }
}

impl SeededCiphertexts {
    /// Adds `[batch, n]` messages mod `plain`.
    pub fn add_plain(&mut self, messages: &[u32], plain: u64) -> Result<()> {
        let c0 = self.c0_mut();
        let encoder = Encoder::new(c0.basis(), plain);
        c0.add_lifted(&Zeroizing::new(encoder.signed(messages)), encoder.scale())
    }
}
