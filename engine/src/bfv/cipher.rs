//! Encryption and decryption of messages mod t, coefficient by coefficient. Each direction is one chain.
//!
//! Values of a tensor go in and come out by their [`Places`], residues packed as they travel, so
//! each direction is one call for a whole batch.

use zeroize::Zeroizing;

use super::encoding::{Decoder, Encoder};
use super::items::{own, parts, rows};
use super::keys::SecretKey;
use super::packing::Packing;
use super::params::Params;
use crate::chain::{Chain, Each, Item};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::poly::{Coeff, Gather, Places, PolyBatch, Scatter};
use crate::prng::Prng;
use crate::ring::sampler::{self, PublicSeed};
use crate::rlwe::{Ciphertexts, SeededCiphertexts, wire};

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

    /// Encrypts values at their places in the next polynomials, and appends the packed c0 halves, `[batch, limbs, n]`
    /// coefficients.
    ///
    /// # Errors
    /// [`Error::Shape`] for places or values of other sizes, or beyond 2^32 ciphertexts under one seed.
    pub fn encrypt_packed(&mut self, values: Gather<'_>, prng: &mut Prng, out: &mut Vec<u8>) -> Result<()> {
        let basis = self.key.params().basis().clone();
        let (start, batch, len) = (out.len(), values.places.polynomials(), wire::packed_rows_len(&basis, 1));
        values.check(basis.n(), batch)?;
        out.resize(start + batch * len, 0);
        let halves = parts(out[start..].chunks_exact_mut(len));
        let take = |i: usize, c0: &[u64]| {
            wire::pack_rows_into(&basis, c0, &mut own(&halves[i]));
            Ok(())
        };
        self.encrypt_each(values, prng, take).map(drop)
    }

    /// `take(i, c0)` is given the half that holds polynomial i, `[limbs, n]` coefficients.
    fn encrypt_each<T: Send>(
        &mut self,
        values: Gather<'_>,
        prng: &mut Prng,
        take: impl Fn(usize, &[u64]) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let batch = values.places.polynomials();
        let (first, key) = (self.advance(batch)?, self.key);
        let basis = key.params().basis();
        let (encoder, series) = (Encoder::new(basis, key.params().plain()), prng.series());
        let s = key.key.on(basis)?;
        let mut chain = Chain::new(basis);
        let (noise, text) = (chain.small(), chain.small());
        let c0 = chain.uniform(&self.seed, first);
        chain.mul(&c0, &s);
        let c0 = chain.inverse(c0);
        chain.negate(&c0);
        chain.add_lifted(&c0, noise, &vec![1; basis.len()]);
        chain.add_lifted(&c0, text, encoder.scale());
        chain.output(c0);
        let prepare = |item: Item<'_>| {
            let [noise, text] = rows(item.small);
            // The message is where the noise will be.
            let words: &mut [u32] = bytemuck::cast_slice_mut(noise);
            values.write(item.number, words);
            encoder.fill_signed(words, text);
            sampler::fill_noise(&mut series.at(item.number), noise);
            Ok(())
        };
        let finish = |item: Item<'_>, outputs: &[&[u64]]| take(item.number, outputs[0]);
        chain.run(key.device(), batch, &Each::new(prepare, finish))
    }

    /// The c0 halves for the next `[batch, n]` messages in `[0, t)`.
    pub fn encrypt(&mut self, messages: &[u32], prng: &mut Prng) -> Result<PolyBatch<Coeff>> {
        let (n, key) = (self.key.params().n(), self.key);
        if messages.is_empty() || !messages.len().is_multiple_of(n) {
            return Err(Error::Shape(format!("{} messages are not a positive multiple of n = {n}", messages.len())));
        }
        let places = Places::whole(n, messages.len() / n);
        let values = Gather { places: &places, values: messages };
        let halves = self.encrypt_each(values, prng, |_, c0| Ok(c0.to_vec()))?;
        PolyBatch::upload(key.device(), key.params().basis(), &halves.concat())
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

impl Ciphertexts {
    /// The ciphertexts under a seed, ready to be multiplied, with values in `[0, t)` added at their places: `halves`
    /// has the packed c0 of each, as [`Encryptor::encrypt_packed`] wrote it.
    ///
    /// # Errors
    /// [`Error::Decode`] for halves of another length and for residues that are not reduced, [`Error::Shape`] for
    /// places or values of other sizes.
    pub fn unpack(
        device: &Device,
        params: &Params,
        seed: &PublicSeed,
        halves: &[&[u8]],
        added: Gather<'_>,
    ) -> Result<Self> {
        let batch = halves.len();
        added.check(params.n(), batch)?;
        let basis = params.basis();
        let len = wire::packed_rows_len(basis, 1);
        if let Some(half) = halves.iter().find(|half| half.len() != len) {
            return Err(Error::Decode(format!("{} bytes for a ciphertext, expected {len}", half.len())));
        }
        let encoder = Encoder::new(basis, params.plain());
        let mut chain = Chain::new(basis);
        // One for the words of the message, which no step reads.
        let (_, text) = (chain.small(), chain.small());
        let c0 = chain.given();
        chain.add_lifted(&c0, text, encoder.scale());
        let c0 = chain.forward(c0);
        let prepare = |mut item: Item<'_>| {
            let [words, text] = rows(item.small);
            wire::unpack_rows_into(basis, halves[item.number], item.given[0])?;
            let words: &mut [u32] = bytemuck::cast_slice_mut(words);
            added.write(item.number, words);
            encoder.fill_signed(words, text);
            Ok(())
        };
        let c0 = chain.gather(c0, device, batch, &Each::new(prepare, |_: Item<'_>, _: &[&[u64]]| Ok(())))?;
        Ok(Self { c0, c1: PolyBatch::uniform(device, basis, seed, 0, batch)? })
    }
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

    /// Decrypts replies on the first prime, each as [`PublicKey::reply_packed`](super::PublicKey::reply_packed) packed
    /// it, and brings the messages to their elements.
    ///
    /// # Errors
    /// [`Error::Decode`] for replies of another length and for residues that are not reduced, [`Error::Shape`] for
    /// places or values of other sizes.
    pub fn decrypt_packed(&self, replies: &[&[u8]], into: Scatter<'_>) -> Result<()> {
        let Scatter { places, values } = into;
        Scatter { places, values: &mut *values }.check(self.params().n(), replies.len())?;
        let packing = Packing::new(self.params(), places);
        packing.check(replies)?;
        let halves = |i: usize, c0: &mut [u64], c1: &mut [u64]| packing.unpack(i, replies[i], c0, c1);
        let take = |i: usize, poly: &[u32]| packing.pick(i, poly);
        for (i, picked) in self.decrypt_each(replies.len(), halves, take)?.iter().enumerate() {
            places.spread(i, picked, values);
        }
        Ok(())
    }

    /// `halves(i, c0, c1)` writes reply i, coefficients, over zeros, and `take(i, m)` is given its message.
    fn decrypt_each<T: Send>(
        &self,
        batch: usize,
        halves: impl Fn(usize, &mut [u64], &mut [u64]) + Sync,
        take: impl Fn(usize, &[u32]) -> T + Sync,
    ) -> Result<Vec<T>> {
        let basis = self.reply_basis();
        let decoder = Decoder::new(basis.modulus(0), self.params().plain())?;
        let s = self.key.on(basis)?;
        let mut chain = Chain::new(basis);
        // For the message, which no step reads.
        let _ = chain.small();
        let (c0, c1) = (chain.given(), chain.given());
        let c1 = chain.forward(c1);
        chain.mul(&c1, &s);
        let c1 = chain.inverse(c1);
        chain.add(&c0, &c1);
        chain.output(c0);
        let prepare = |item: Item<'_>| {
            let [c0, c1] = item.given.try_into().unwrap_or_else(|_| unreachable!("two were recorded"));
            halves(item.number, c0, c1);
            Ok(())
        };
        let finish = |item: Item<'_>, outputs: &[&[u64]]| {
            let [message] = rows(item.small);
            let message: &mut [u32] = bytemuck::cast_slice_mut(message);
            message.iter_mut().zip(outputs[0]).for_each(|(m, &phase)| *m = decoder.decode(phase));
            Ok(take(item.number, message))
        };
        chain.run(self.device(), batch, &Each::new(prepare, finish))
    }

    /// Decrypts replies on the first prime, both halves `[batch, n]` in the coefficient domain, to `[batch, n]`
    /// messages.
    pub fn decrypt(&self, c0: PolyBatch<Coeff>, c1: PolyBatch<Coeff>) -> Result<Vec<u32>> {
        let (n, basis) = (self.params().n(), self.reply_basis());
        if c0.basis() != basis || c1.basis() != basis || c0.batch() != c1.batch() {
            return Err(Error::Shape(format!("replies of {} and {} polynomials", c0.batch(), c1.batch())));
        }
        let (first, second) = (Zeroizing::new(c0.download()?), c1.download()?);
        let halves = |i: usize, c0: &mut [u64], c1: &mut [u64]| {
            c0.copy_from_slice(&first[i * n..][..n]);
            c1.copy_from_slice(&second[i * n..][..n]);
        };
        Ok(self
            .decrypt_each(c0.batch(), halves, |_, m| Zeroizing::new(m.to_vec()))?
            .iter()
            .flat_map(|m| m.iter().copied())
            .collect())
    }
}
