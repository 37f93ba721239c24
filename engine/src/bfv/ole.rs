//! Oblivious linear evaluation in slots: shares of sums of x·w mod p, for vectors x of the key's holder (the receiver) and w
//! of the other party (the sender).
//!
//! # | from -> to           | content                                                        | bytes
//! --|----------------------|----------------------------------------------------------------|------
//! 1 | receiver -> sender   | seed, c0 of Enc(x): points, `[batch, limbs, n]`                | 16 + the packed residues
//! 2 | sender -> receiver   | Enc(sum of x·w + r) on the first prime: coefficients, `[batch, c0 or c1, n]` | the packed residues
//!
//! The receiver's share is what it decrypts, the sender's -r for uniform r. Vectors are `[batch, n]` values mod p. See
//! [`reply`](super::reply) for what hides w, and why it comes in that order.
//!
//! Two ways lead to the same bytes. On a CPU each ciphertext is taken from its first random draw to its packed bytes while it is in
//! cache; on other devices, and as the definition, batches of polynomials go step by step. Whatever is random about a ciphertext
//! comes from a generator of its own, so neither order nor threads matter.

mod batches;
mod rows;

use std::sync::Mutex;

use rayon::prelude::*;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::SlotEncoder;
use super::encoding::{Decoder, Encoder};
use crate::backend::Memory;
use crate::cpu::CpuTables;
use crate::device::{Device, DeviceTables};
use crate::error::{Error, Result};
use crate::prng::Prng;
use crate::ring::sampler::{self, PublicSeed};
use crate::ring::{Basis, Modulus};
use crate::rlwe::{Params, PublicKey, SecretKey, wire};
use crate::simd::wide;

/// What both parties work with.
struct Tools {
    params: Params,
    /// The first prime alone: where replies are.
    first: Basis,
    device: Device,
    slots: SlotEncoder,
    encoder: Encoder,
    decoder: Decoder,
    /// Of the ciphertexts and of the slots.
    tables: [DeviceTables; 2],
    scratch: Mutex<Vec<Scratch>>,
}

/// The party that encrypts, and learns sums with a mask.
pub struct OleReceiver {
    key: SecretKey,
    /// The key's points, `[limbs, n]`.
    s: Zeroizing<Vec<u64>>,
    tools: Tools,
}

/// The party that multiplies.
pub struct OleSender {
    key: PublicKey,
    /// The public key's halves, `[limbs, n]`.
    b: Vec<u64>,
    a: Vec<u64>,
    flood_bits: u32,
    tools: Tools,
}

/// One term of the sums: what the receiver sent for x, and w.
pub struct Term<'a> {
    /// From [`OleReceiver::ask`].
    pub asked: &'a [u8],
    /// `[batch, n]`, below p.
    pub factor: &'a [u32],
}

/// Space for one ciphertext on its way; kept for the next.
#[derive(Default, Zeroize, ZeroizeOnDrop)]
struct Scratch {
    residues: Vec<u64>,
    values: Vec<i32>,
}

impl Tools {
    fn new(params: &Params, device: &Device) -> Result<Self> {
        let (basis, plain) = (params.basis(), params.plain());
        let slots = SlotEncoder::new(device, params.n(), plain)?;
        Ok(Self {
            params: params.clone(),
            device: device.clone(),
            encoder: Encoder::new(basis, plain),
            decoder: Decoder::new(basis.modulus(0), plain)?,
            tables: [device.tables(basis)?, device.tables(slots.basis())?],
            first: basis.level(1)?,
            slots,
            scratch: Mutex::default(),
        })
    }

    /// The tables of the ciphertexts and of the slots, where this is a CPU.
    fn cpu(&self) -> Option<[&CpuTables; 2]> {
        match &self.tables {
            [DeviceTables::Cpu(ciphertexts), DeviceTables::Cpu(slots)] => Some([ciphertexts, slots]),
            _ => None,
        }
    }

    /// Runs `f` on `rows` rows of residues and as many of small values as asked for; their contents are anything.
    fn with_scratch<T>(&self, [rows, values]: [usize; 2], f: impl FnOnce(&mut [u64], &mut [i32]) -> T) -> T {
        let pool = || self.scratch.lock().unwrap_or_else(|e| e.into_inner());
        let mut scratch = pool().pop().unwrap_or_default();
        let n = self.params.n();
        if scratch.residues.len() < rows * n || scratch.values.len() < values * n {
            scratch = Scratch { residues: vec![0; rows * n], values: vec![0; values * n] };
        }
        let (residues, small) = (&mut scratch.residues[..rows * n], &mut scratch.values[..values * n]);
        let result = f(residues, small);
        pool().push(scratch);
        result
    }

    /// The number of ciphertexts that hold `values`.
    fn batch(&self, values: usize) -> Result<usize> {
        let n = self.params.n();
        if values == 0 || !values.is_multiple_of(n) {
            return Err(Error::Shape(format!("{values} values are not a positive multiple of n = {n}")));
        }
        Ok(values / n)
    }

    /// Bytes of message 2 for one ciphertext.
    fn reply_len(&self) -> usize {
        2 * wire::packed_rows_len(&self.first, 1)
    }

    fn bits(&self, limb: usize) -> u32 {
        self.params.basis().modulus(limb).bits()
    }

    /// Bytes of one limb.
    fn row_len(&self, limb: usize) -> usize {
        wire::packed_len(self.params.n(), self.bits(limb))
    }

    /// Unpacks a row of limb `limb` and checks it.
    fn unpack(&self, limb: usize, bytes: &[u8], row: &mut [u64]) -> Result<()> {
        wire::unpack_into(bytes, self.bits(limb), row);
        self.params.basis().modulus(limb).check_reduced(row)
    }
}

/// A generator for each ciphertext.
fn forks(prng: &mut Prng, batch: usize) -> Vec<Prng> {
    (0..batch).map(|_| prng.fork("ciphertext")).collect()
}

/// `acc += x` mod p.
fn add_to(p: Modulus, acc: &mut [u32], x: impl Iterator<Item = u64>) {
    wide(|| acc.iter_mut().zip(x).for_each(|(a, x)| *a = p.add(u64::from(*a), x) as u32));
}

impl OleReceiver {
    /// With a fresh key of its own; the parameters' plaintext modulus must be an NTT prime for their n.
    pub fn new(params: &Params, device: &Device, prng: &mut Prng) -> Result<Self> {
        let key = SecretKey::generate(params, device, prng)?;
        let s = Zeroizing::new(key.points()?);
        Ok(Self { key, s, tools: Tools::new(params, device)? })
    }

    /// The public key that the sender needs, in bytes.
    pub fn public_key(&self, prng: &mut Prng) -> Result<Vec<u8>> {
        Ok(self.key.public_key(prng)?.to_bytes())
    }

    /// Bytes of message 2 for `[batch, n]` values.
    pub fn reply_len(&self, values: usize) -> Result<usize> {
        Ok(self.tools.batch(values)? * self.tools.reply_len())
    }

    /// Appends message 1 for `x`, `[batch, n]`, below p.
    pub fn ask(&self, x: &[u32], prng: &mut Prng, out: &mut Vec<u8>) -> Result<()> {
        let batch = self.tools.batch(x.len())?;
        let mut seed = PublicSeed::default();
        prng.fill_bytes(&mut seed);
        out.extend(seed);
        let prngs = forks(prng, batch);
        match self.tools.cpu() {
            Some(tables) => self.ask_by_rows(tables, &seed, x, prngs, out),
            None => self.ask_by_batches(&seed, x, prngs, out)?,
        }
        Ok(())
    }

    /// Reads message 2 and adds the receiver's shares to `acc`, `[batch, n]`, below p.
    ///
    /// # Errors
    /// [`Error::Decode`] for bytes that are no such message.
    pub fn receive(&self, replies: &[u8], acc: &mut [u32]) -> Result<()> {
        let (expected, len) = (self.reply_len(acc.len())?, self.tools.reply_len());
        if replies.len() != expected {
            return Err(Error::Decode(format!("{} bytes of replies, expected {expected}", replies.len())));
        }
        match self.tools.cpu() {
            Some(tables) => {
                let n = self.tools.params.n();
                let rows = replies.par_chunks_exact(len).zip(acc.par_chunks_exact_mut(n));
                rows.try_for_each(|(bytes, acc)| self.receive_by_rows(tables, bytes, acc))
            }
            None => self.receive_by_batches(replies, acc),
        }
    }
}

impl OleSender {
    /// With the receiver's public key, flooding replies by `flood_bits` (see [`sampler::fill_flood`]).
    ///
    /// # Errors
    /// [`Error::Decode`] for bytes that are no public key.
    pub fn new(params: &Params, device: &Device, public_key: &[u8], flood_bits: u32) -> Result<Self> {
        let key = PublicKey::from_bytes(params, device, public_key)?;
        let [b, a] = [key.b.download()?, key.a.download()?];
        Ok(Self { key, b, a, flood_bits, tools: Tools::new(params, device)? })
    }

    /// Bytes of message 1 for `[batch, n]` values.
    pub fn asked_len(&self, values: usize) -> Result<usize> {
        let packed = wire::packed_rows_len(self.tools.params.basis(), self.tools.batch(values)?);
        Ok(size_of::<PublicSeed>() + packed)
    }

    /// Appends message 2 for the sum of the terms, at least one, and adds the sender's shares to `acc`, `[batch, n]`, below p.
    ///
    /// # Errors
    /// [`Error::Decode`] where what the receiver asked is no message 1 for so many values.
    pub fn answer(&self, terms: &[Term<'_>], prng: &mut Prng, acc: &mut [u32], out: &mut Vec<u8>) -> Result<()> {
        let (batch, len) = (self.tools.batch(acc.len())?, self.asked_len(acc.len())?);
        for term in terms {
            if term.asked.len() != len || term.factor.len() != acc.len() {
                let found = [term.asked.len(), term.factor.len()];
                return Err(Error::Decode(format!("{found:?} bytes and factors, expected {:?}", [len, acc.len()])));
            }
        }
        let prngs = forks(prng, batch);
        match self.tools.cpu() {
            Some(tables) => self.answer_by_rows(tables, terms, prngs, acc, out),
            None => self.answer_by_batches(terms, prngs, acc, out),
        }
    }
}

/// The seed and the packed rows of message 1.
fn split_seed(asked: &[u8]) -> Result<(PublicSeed, &[u8])> {
    let (seed, rows) =
        asked.split_first_chunk().ok_or_else(|| Error::Decode(format!("{} bytes ask for nothing", asked.len())))?;
    Ok((*seed, rows))
}

#[cfg(test)]
mod tests {
    use super::super::slots::P;
    use super::*;
    use crate::cpu::Body;
    use crate::ring::primes::DEFAULT_50;

    const BATCH: usize = 3;

    /// Values at the edges and random ones.
    fn vector(salt: u8, count: usize) -> Vec<u32> {
        let mut x = vec![0; count];
        sampler::fill_residues(&mut Prng::from_seed_for_tests([salt; 32]), P, &mut x);
        x[..6].copy_from_slice(&[0, 1, P - 1, P / 2, P / 2 + 1, 2]);
        x
    }

    /// One exchange of `terms` terms, by rows or by batches: both messages and both shares.
    fn exchange(params: &Params, device: &Device, rows: bool, terms: u8) -> (Vec<Vec<u8>>, Vec<u8>, [Vec<u32>; 2]) {
        let count = BATCH * params.n();
        let mut prng = Prng::from_seed_for_tests([1; 32]);
        let receiver = OleReceiver::new(params, device, &mut prng).unwrap();
        let sender = OleSender::new(params, device, &receiver.public_key(&mut prng).unwrap(), 14).unwrap();
        let seed = PublicSeed::default();
        let ask = |k: u8| {
            let (x, prngs) = (vector(10 + k, count), forks(&mut Prng::from_seed_for_tests([k; 32]), BATCH));
            let mut out = seed.to_vec();
            match receiver.tools.cpu().filter(|_| rows) {
                Some(tables) => receiver.ask_by_rows(tables, &seed, &x, prngs, &mut out),
                None => receiver.ask_by_batches(&seed, &x, prngs, &mut out).unwrap(),
            }
            out
        };
        let asked: Vec<_> = (0..terms).map(ask).collect();
        let factors: Vec<_> = (0..terms).map(|k| vector(20 + k, count)).collect();
        let terms: Vec<_> = asked.iter().zip(&factors).map(|(asked, factor)| Term { asked, factor }).collect();
        let (mut mine, mut theirs, mut reply) = (vector(30, count), vector(31, count), vec![]);
        let prngs = forks(&mut prng, BATCH);
        match sender.tools.cpu().filter(|_| rows) {
            Some(tables) => sender.answer_by_rows(tables, &terms, prngs, &mut theirs, &mut reply).unwrap(),
            None => sender.answer_by_batches(&terms, prngs, &mut theirs, &mut reply).unwrap(),
        }
        match receiver.tools.cpu().filter(|_| rows) {
            Some(_) => receiver.receive(&reply, &mut mine).unwrap(),
            None => receiver.receive_by_batches(&reply, &mut mine).unwrap(),
        }
        (asked, reply, [mine, theirs])
    }

    #[test]
    fn shares_add_up_to_the_sums_and_both_ways_agree() {
        let params = Params::insecure_for_tests(512, &DEFAULT_50, u64::from(P)).unwrap();
        for terms in [1, 2] {
            let expected = exchange(&params, &Device::cpu(), false, terms);
            let [mine, theirs] = &expected.2;
            let count = mine.len();
            let start = [vector(30, count), vector(31, count)];
            let vectors: Vec<_> = (0..terms).map(|k| (vector(10 + k, count), vector(20 + k, count))).collect();
            for i in 0..count {
                let products = vectors.iter().map(|(x, w)| u64::from(x[i]) * u64::from(w[i]) % u64::from(P));
                let sum = products.sum::<u64>() + u64::from(start[0][i]) + u64::from(start[1][i]);
                assert_eq!((u64::from(mine[i]) + u64::from(theirs[i])) % u64::from(P), sum % u64::from(P), "{i}");
            }
            for body in Body::available() {
                let device = Device::cpu_with_body(body).unwrap();
                assert!(exchange(&params, &device, true, terms) == expected, "{terms} terms on {body:?}");
            }
        }
    }

    #[test]
    fn wrong_lengths_and_unreduced_residues_are_errors() {
        let (params, device) = (Params::insecure_for_tests(512, &DEFAULT_50, u64::from(P)).unwrap(), Device::cpu());
        let mut prng = Prng::from_seed_for_tests([1; 32]);
        let receiver = OleReceiver::new(&params, &device, &mut prng).unwrap();
        let sender = OleSender::new(&params, &device, &receiver.public_key(&mut prng).unwrap(), 14).unwrap();
        let len = sender.asked_len(512).unwrap();
        let mut answer = |asked: &[u8], factor: &[u32], acc: &mut [u32]| {
            sender.answer(&[Term { asked, factor }], &mut prng, acc, &mut vec![])
        };
        assert!(answer(&vec![0; len], &[1; 512], &mut [0; 512]).is_ok());
        for (asked, factor, acc) in [(len - 1, 512, 512), (len, 511, 512), (len, 512, 511), (0, 512, 512), (0, 0, 0)] {
            assert!(answer(&vec![0; asked], &vec![1; factor], &mut vec![0; acc]).is_err());
        }
        assert!(answer(&vec![0xff; len], &[1; 512], &mut [0; 512]).is_err());
        let len = receiver.reply_len(512).unwrap();
        assert!(receiver.receive(&vec![0; len], &mut [0; 512]).is_ok());
        for (reply, acc) in [(len + 1, 512), (len, 513), (len, 0)] {
            assert!(receiver.receive(&vec![0; reply], &mut vec![0; acc]).is_err());
        }
        assert!(receiver.receive(&vec![0xff; len], &mut [0; 512]).is_err());
        assert!(OleSender::new(&params, &device, &[0; 7], 14).is_err());
    }
}
