//! Encryption and decryption of messages mod t, coefficient by coefficient.

use std::ops::Range;

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::encoding::{Decoder, Encoder};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::poly_batch::{Coeff, PolyBatch};
use crate::prng::Prng;
use crate::ring::sampler::{self, PublicSeed};
use crate::rlwe::{Ciphertexts, Params, SecretKey, SeededCiphertexts};

/// Encrypts piece by piece under one public seed, each piece going on where the one before ended.
pub struct Encryptor<'k> {
    key: &'k SecretKey,
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

    /// Encrypts the next `batch` messages part by part: `take` is given each part's c0 halves while they are in cache, for the
    /// `[part, n]` messages in `[0, t)` that `messages` makes.
    pub fn encrypt_parts<T: Send>(
        &mut self,
        batch: usize,
        prng: &mut Prng,
        messages: impl Fn(Range<usize>) -> Zeroizing<Vec<u32>> + Sync,
        take: impl Fn(Range<usize>, PolyBatch<Coeff>) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let (first, key) = (self.advance(batch)?, self.key);
        let (series, n) = (prng.series(), key.params().n());
        key.device().in_parts(key.params().basis(), batch, |part| {
            let noise = sampler::each(&series, part.clone(), n, |i| i, sampler::fill_noise);
            let mut c0 = key.zeros(&self.seed, first + part.start as u32, &noise)?;
            add_messages(&mut c0, &messages(part.clone()), key.params().plain())?;
            take(part, c0)
        })
    }

    /// The number of the first of the next `batch` polynomials under the seed, each used once.
    fn advance(&mut self, batch: usize) -> Result<u32> {
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

impl SeededCiphertexts {
    /// Adds `[batch, n]` messages mod `plain`.
    pub fn add_plain(&mut self, messages: &[u32], plain: u64) -> Result<()> {
        add_messages(self.c0_mut(), messages, plain)
    }
}

impl Ciphertexts {
    /// The `batch` ciphertexts under a seed, with messages added, ready to be multiplied. Part by part: `c0` makes the halves that
    /// were sent, `messages` the `[part, n]` messages in `[0, t)`.
    pub fn expand(
        device: &Device,
        params: &Params,
        seed: &PublicSeed,
        batch: usize,
        c0: impl Fn(Range<usize>) -> Result<PolyBatch<Coeff>> + Sync,
        messages: impl Fn(Range<usize>) -> Zeroizing<Vec<u32>> + Sync,
    ) -> Result<Self> {
        let c0 = PolyBatch::from_parts(device, params.basis(), batch, |part| {
            let mut c0 = c0(part.clone())?;
            add_messages(&mut c0, &messages(part), params.plain())?;
            Ok(c0)
        })?;
        Ok(Self { c0, c1: PolyBatch::uniform(device, params.basis(), seed, 0, batch)? })
    }
}
