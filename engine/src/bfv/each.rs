//! Encryption, replies and decryption of many ciphertexts, each handed over as soon as it is made.
//!
//! On a CPU a ciphertext is taken from its first random draw to its last step while it is in cache; on other devices all go step by
//! step, and are then copied back. Whatever is random about a ciphertext comes from generators of its own, so both ways give the same,
//! and neither order nor threads matter.

use std::ops::Range;

use rayon::prelude::*;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::cipher::{Encryptor, add_messages};
use super::encoding::{Decoder, Encoder};
use super::reply::{Draws, Kind, ReplyParams};
use crate::backend::{Memory, parts};
use crate::device::{Device, DeviceTables};
use crate::error::Result;
use crate::poly::PolyBatch;
use crate::prng::Prng;
use crate::ring::sampler::{self, PublicSeed};
use crate::rlwe::{Ciphertexts, Params, PublicKey, SecretKey};

/// Products that are read from memory together.
const NEIGHBOURS: usize = 4;

/// Space for one ciphertext on its way.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Scratch {
    rows: Vec<u64>,
    values: Vec<i32>,
    message: Vec<u32>,
}

impl Scratch {
    /// So many rows of residues, a row of small values, and a message.
    fn new(rows: usize, n: usize) -> Self {
        Self { rows: vec![0; rows * n], values: vec![0; n], message: vec![0; n] }
    }
}

/// Messages `range`, `[range, n]`, each made by `message`.
fn messages(range: Range<usize>, n: usize, message: impl Fn(usize, &mut [u32]) + Sync) -> Zeroizing<Vec<u32>> {
    let mut out = Zeroizing::new(vec![0; range.len() * n]);
    out.par_chunks_exact_mut(n).zip(range).for_each(|(out, i)| message(i, out));
    out
}

impl Encryptor<'_> {
    /// Encrypts the next `batch` messages in `[0, t)`: `message(i, m)` writes message i over n zeros, `take(i, c0)` is given the
    /// half that holds it, `[limbs, n]` coefficients.
    pub fn encrypt_each<T: Send>(
        &mut self,
        batch: usize,
        prng: &mut Prng,
        message: impl Fn(usize, &mut [u32]) + Sync,
        take: impl Fn(usize, &[u64]) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let (first, key, seed) = (self.advance(batch)?, self.key, self.seed());
        let (basis, plain, n) = (key.params().basis(), key.params().plain(), key.params().n());
        let series = prng.series();
        let tables = key.device().tables(basis)?;
        let DeviceTables::Cpu(tables) = &tables else {
            let noise = sampler::each(&series, 0..batch, n, sampler::fill_noise);
            let mut c0 = key.zeros(&seed, first, &noise)?;
            add_messages(&mut c0, &messages(0..batch, n, message), plain)?;
            let c0 = c0.download()?;
            return c0.par_chunks_exact(basis.len() * n).enumerate().map(|(i, c0)| take(i, c0)).collect();
        };
        let s = Zeroizing::new(key.points()?);
        let encoder = Encoder::new(basis, plain);
        let encrypt = |scratch: &mut Scratch, i: usize| {
            let Scratch { rows, values, message: m } = scratch;
            sampler::fill_noise(&mut series.at(i), values);
            let limbs = || 0..basis.len();
            for (limb, row) in limbs().zip(rows.chunks_exact_mut(n)) {
                sampler::uniform_poly(&seed, basis.modulus(limb), first + i as u32, limb as u32, row);
                tables.mul(limb, row, &s[limb * n..][..n]);
                tables.inverse(limb, row);
                tables.negate(limb, row);
                tables.add_lifted(limb, row, values, 1);
            }
            m.fill(0);
            message(i, m);
            encoder.fill_signed(m, values);
            for (limb, row) in limbs().zip(rows.chunks_exact_mut(n)) {
                tables.add_lifted(limb, row, values, encoder.scale()[limb]);
            }
            take(i, rows)
        };
        (0..batch).into_par_iter().map_init(|| Scratch::new(basis.len(), n), encrypt).collect()
    }
}

impl Ciphertexts {
    /// The `batch` ciphertexts under a seed, with messages added, ready to be multiplied: `half(i, c0)` writes what was sent for
    /// ciphertext i, `[limbs, n]` coefficients, and `message(i, m)` the message in `[0, t)` to be added over n zeros.
    ///
    /// # Errors
    /// Those of `half`, and [`Error::Decode`](crate::Error::Decode) for residues that are not reduced.
    pub fn expand_each(
        device: &Device,
        params: &Params,
        seed: &PublicSeed,
        batch: usize,
        half: impl Fn(usize, &mut [u64]) -> Result<()> + Sync,
        message: impl Fn(usize, &mut [u32]) + Sync,
    ) -> Result<Self> {
        let (basis, plain, n) = (params.basis(), params.plain(), params.n());
        let size = basis.len() * n;
        let c1 = PolyBatch::uniform(device, basis, seed, 0, batch)?;
        let tables = device.tables(basis)?;
        let DeviceTables::Cpu(tables) = &tables else {
            let mut words = vec![0; batch * size];
            words.par_chunks_exact_mut(size).enumerate().try_for_each(|(i, rows)| half(i, rows))?;
            let mut c0 = PolyBatch::upload(device, basis, &words)?;
            add_messages(&mut c0, &messages(0..batch, n, message), plain)?;
            return Ok(Self { c0: c0.into_ntt()?, c1 });
        };
        let encoder = Encoder::new(basis, plain);
        let c0 = PolyBatch::from_rows(device, basis, batch, |i, rows| {
            half(i, rows)?;
            basis.check_reduced(rows)?;
            let (mut m, mut values) = (Zeroizing::new(vec![0; n]), Zeroizing::new(vec![0; n]));
            message(i, &mut m);
            encoder.fill_signed(&m, &mut values);
            for (limb, row) in rows.chunks_exact_mut(n).enumerate() {
                tables.add_lifted(limb, row, &values, encoder.scale()[limb]);
            }
            Ok(())
        })?;
        Ok(Self { c0, c1 })
    }
}

impl PublicKey {
    /// Replies of the products `range`, numbered from 0: `message(i, m)` writes what reply i carries besides its product over n
    /// zeros, in `[0, t)`, and `take(i, c0, c1, m)` is given the reply on the first prime, coefficients, and that message again.
    pub fn reply_each<T: Send>(
        &self,
        products: &Ciphertexts,
        range: Range<usize>,
        how: ReplyParams,
        prng: &mut Prng,
        message: impl Fn(usize, &mut [u32]) + Sync,
        take: impl Fn(usize, &[u64], &[u64], &[u32]) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        self.check(products)?;
        let (batch, series, first) = (range.len(), prng.series(), range.start);
        let (basis, plain, n) = (self.params().basis(), self.params().plain(), self.params().n());
        let tables = self.device().tables(basis)?;
        let rows = [&products.c0, &products.c1, &self.b, &self.a].map(PolyBatch::rows);
        let (DeviceTables::Cpu(tables), [Some(p0), Some(p1), Some(b), Some(a)]) = (&tables, &rows) else {
            let messages = messages(0..batch, n, message);
            let (c0, c1) = (products.c0.extract(range.clone())?, products.c1.extract(range)?);
            let reply = self.randomise(Ciphertexts { c0, c1 }, &messages, &Draws::new(&series, 0..batch, n, how))?;
            let (c0, c1) = (reply.c0.download()?, reply.c1.download()?);
            let rows = c0.par_chunks_exact(n).zip(c1.par_chunks_exact(n)).zip(messages.par_chunks_exact(n));
            return rows.enumerate().map(|(i, ((c0, c1), m))| take(i, c0, c1, m)).collect();
        };
        let (encoder, limbs) = (Encoder::new(basis, plain), basis.len());
        let size = limbs * n;
        let reply = |i: usize, c0: &mut [u64], c1: &mut [u64], u: &mut [u64], values: &mut [i32], m: &mut [u32]| {
            Kind::Secret.fill(&series, i, values);
            for (limb, (c0, c1)) in c0.chunks_exact_mut(n).zip(c1.chunks_exact_mut(n)).enumerate() {
                tables.lift(limb, u, values);
                tables.forward_as_held(limb, u);
                for (half, key) in [(&mut *c0, b), (&mut *c1, a)] {
                    tables.mul_add(limb, half, u, key.single(limb));
                    tables.inverse_as_held(limb, half);
                }
            }
            let add = |half: &mut [u64], values: &[i32], scale: &[u64]| {
                for (limb, row) in half.chunks_exact_mut(n).enumerate() {
                    tables.add_lifted(limb, row, values, scale[limb]);
                }
            };
            let ones = vec![1; limbs];
            Kind::Noise0.fill(&series, i, values);
            add(c0, values, &ones);
            Kind::Noise1.fill(&series, i, values);
            add(c1, values, &ones);
            m.fill(0);
            message(i, m);
            encoder.fill_signed(m, values);
            add(c0, values, encoder.scale());
            tables.drop_to_first(c0);
            tables.drop_to_first(c1);
            if let Some(bits) = how.flood_bits {
                Kind::Flood(bits).fill(&series, i, values);
                tables.add_lifted(0, &mut c0[..n], values, 1);
            }
            take(i, &c0[..n], &c1[..n], m)
        };
        // A few neighbours are read from the products together.
        let group = |scratch: &mut Scratch, range: Range<usize>| {
            let Scratch { rows, values, message } = scratch;
            let (u, rows) = rows.split_at_mut(n);
            let (c0, c1) = rows.split_at_mut(NEIGHBOURS * size);
            for (half, products) in [(&mut *c0, p0), (&mut *c1, p1)] {
                for limb in 0..limbs {
                    let rows = half.chunks_exact_mut(n).skip(limb).step_by(limbs).take(range.len());
                    products.read(first + range.start, limb, &mut rows.collect::<Vec<_>>());
                }
            }
            let halves = c0.chunks_exact_mut(size).zip(c1.chunks_exact_mut(size));
            range.zip(halves).map(|(i, (c0, c1))| reply(i, c0, c1, u, values, message)).collect::<Result<Vec<_>>>()
        };
        let groups: Vec<_> = parts(batch, NEIGHBOURS).collect();
        let init = || Scratch::new(1 + 2 * NEIGHBOURS * limbs, n);
        let replies: Vec<Vec<T>> = groups.into_par_iter().map_init(init, group).collect::<Result<_>>()?;
        Ok(replies.into_iter().flatten().collect())
    }
}

impl SecretKey {
    /// Decrypts `batch` replies: `halves(i, c0, c1)` writes reply i on the first prime, coefficients, over zeros, and `take(i, m)` is
    /// given its message.
    ///
    /// # Errors
    /// [`Error::Decode`](crate::Error::Decode) for residues that are not reduced.
    pub fn decrypt_each<T: Send>(
        &self,
        batch: usize,
        halves: impl Fn(usize, &mut [u64], &mut [u64]) + Sync,
        take: impl Fn(usize, &[u32]) -> T + Sync,
    ) -> Result<Vec<T>> {
        let (basis, plain, n) = (self.reply_basis(), self.params().plain(), self.params().n());
        let tables = self.device().tables(basis)?;
        let (DeviceTables::Cpu(tables), Some(s)) = (&tables, self.for_basis(1)?.rows()) else {
            let (mut c0, mut c1) = (vec![0; batch * n], vec![0; batch * n]);
            let rows = c0.par_chunks_exact_mut(n).zip(c1.par_chunks_exact_mut(n));
            rows.enumerate().for_each(|(i, (c0, c1))| halves(i, c0, c1));
            let upload = |half: &[u64]| PolyBatch::upload(self.device(), basis, half);
            let messages = Zeroizing::new(self.decrypt(upload(&c0)?, upload(&c1)?)?);
            return Ok(messages.par_chunks_exact(n).enumerate().map(|(i, m)| take(i, m)).collect());
        };
        let decoder = Decoder::new(basis.modulus(0), plain)?;
        let decrypt = |scratch: &mut Scratch, i: usize| {
            let Scratch { rows, message: m, .. } = scratch;
            rows.fill(0);
            let (c0, c1) = rows.split_at_mut(n);
            halves(i, c0, c1);
            basis.check_reduced(c0)?;
            basis.check_reduced(c1)?;
            tables.forward_as_held(0, c1);
            tables.mul(0, c1, s.single(0));
            tables.inverse_as_held(0, c1);
            tables.add(0, c0, c1);
            m.iter_mut().zip(&*c0).for_each(|(m, &phase)| *m = decoder.decode(phase));
            Ok(take(i, m))
        };
        (0..batch).into_par_iter().map_init(|| Scratch::new(2, n), decrypt).collect()
    }
}
