//! Oblivious linear evaluation in slots: shares of sums of x·w mod p, for vectors x of the key's holder (the receiver)
//! and w of the other party (the sender).
//!
//! # | from -> to           | content                                                        | bytes
//! --|----------------------|----------------------------------------------------------------|------ 1 | receiver ->
//! sender   | seed, c0 of Enc(x): points, `[batch, limbs, n]`                | 16 + the packed residues 2 | sender ->
//! receiver   | Enc(sum of x·w + r) on the first prime: coefficients, `[batch, c0 or c1, n]` | the packed residues
//!
//! The receiver's share is what it decrypts, the sender's -r for uniform r. Vectors are `[batch, n]` values mod p. See
//! [`reply`](super::reply) for what hides w, and why it comes in that order.
//!
//! Either message is one chain. Whatever is random about a ciphertext comes from a generator of its own, so neither
//! order nor threads matter.

use super::SlotEncoder;
use super::encoding::{Decoder, Encoder};
use super::items::{own, parts, rows};
use super::keys::{PublicKey, SecretKey};
use super::params::Params;
use crate::chain::{Chain, Each, Item};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::prng::Prng;
use crate::ring::sampler::{self, PublicSeed};
use crate::ring::{Basis, Modulus};
use crate::rlwe::wire;
use crate::simd::wide;

/// What both parties work with.
struct Tools {
    params: Params,
    /// The first prime alone: where replies are.
    first: Basis,
    slots: SlotEncoder,
    encoder: Encoder,
    decoder: Decoder,
}

/// The party that encrypts, and learns sums with a mask.
pub struct OleReceiver {
    key: SecretKey,
    tools: Tools,
}

/// The party that multiplies.
pub struct OleSender {
    key: PublicKey,
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

impl Tools {
    fn new(params: &Params) -> Result<Self> {
        let (basis, plain) = (params.basis(), params.plain());
        Ok(Self {
            first: basis.level(1)?,
            slots: SlotEncoder::new(params.n(), plain)?,
            encoder: Encoder::new(basis, plain),
            decoder: Decoder::new(basis.modulus(0), plain)?,
            params: params.clone(),
        })
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
        Ok(Self { key: SecretKey::generate(params, device, prng)?, tools: Tools::new(params)? })
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
        let prngs = parts(forks(prng, batch));
        let Tools { params, slots, encoder, .. } = &self.tools;
        let (basis, n, start) = (params.basis(), params.n(), out.len());
        let s = self.key.key.on(basis)?;
        let mut chain = Chain::new(basis);
        let (noise, text) = (chain.small(), chain.small());
        let c0 = chain.lift(noise);
        chain.add_lifted(&c0, text, encoder.scale());
        let c0 = chain.forward(c0);
        let c1 = chain.uniform(&seed, 0);
        chain.mul(&c1, &s);
        chain.sub(&c0, &c1);
        chain.output(c0);
        let prepare = |item: Item<'_>| {
            let [noise, text] = rows(item.small);
            slots.encode(&x[item.number * n..][..n], item.row);
            encoder.fill_signed(item.row, text);
            sampler::fill_noise(&mut own(&prngs[item.number]), noise);
            Ok(())
        };
        let len = wire::packed_rows_len(basis, 1);
        out.resize(start + batch * len, 0);
        let bytes = parts(out[start..].chunks_exact_mut(len));
        let finish = |item: Item<'_>, outputs: &[&[u64]]| {
            let (mut guard, mut at) = (own(&bytes[item.number]), 0);
            for (limb, row) in outputs[0].chunks_exact(n).enumerate() {
                wire::pack_into(row, self.tools.bits(limb), &mut guard[at..][..self.tools.row_len(limb)]);
                at += self.tools.row_len(limb);
            }
            Ok(())
        };
        chain.run(self.key.device(), batch, &Each::new(prepare, finish)).map(drop)
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
        let Tools { params, first, slots, decoder, .. } = &self.tools;
        let (row, bits) = (self.tools.row_len(0), self.tools.bits(0));
        let s = self.key.key.on(first)?;
        let mut chain = Chain::new(first);
        let (c0, c1) = (chain.given(), chain.given());
        let c1 = chain.forward(c1);
        chain.mul(&c1, &s);
        let c1 = chain.inverse(c1);
        chain.add(&c0, &c1);
        chain.output(c0);
        let prepare = |mut item: Item<'_>| {
            let halves = replies[item.number * len..][..len].chunks_exact(row);
            halves.zip(&mut item.given).for_each(|(bytes, half)| wire::unpack_into(bytes, bits, half));
            Ok(())
        };
        let batch = replies.len() / len;
        let acc = parts(acc.chunks_exact_mut(params.n()));
        let finish = |item: Item<'_>, outputs: &[&[u64]]| {
            item.row.iter_mut().zip(outputs[0]).for_each(|(x, &phase)| *x = decoder.decode(phase).into());
            slots.decode(item.row);
            add_to(slots.modulus(), &mut own(&acc[item.number]), item.row.iter().copied());
            Ok(())
        };
        chain.run(self.key.device(), batch, &Each::new(prepare, finish)).map(drop)
    }
}

impl OleSender {
    /// With the receiver's public key, flooding replies by `flood_bits` (see [`sampler::fill_flood`]).
    ///
    /// # Errors
    /// [`Error::Decode`] for bytes that are no public key.
    pub fn new(params: &Params, device: &Device, public_key: &[u8], flood_bits: u32) -> Result<Self> {
        Ok(Self { key: PublicKey::from_bytes(params, device, public_key)?, flood_bits, tools: Tools::new(params)? })
    }

    /// Bytes of message 1 for `[batch, n]` values.
    pub fn asked_len(&self, values: usize) -> Result<usize> {
        let packed = wire::packed_rows_len(self.tools.params.basis(), self.tools.batch(values)?);
        Ok(size_of::<PublicSeed>() + packed)
    }

    /// Appends message 2 for the sum of the terms, at least one, and adds the sender's shares to `acc`, `[batch, n]`,
    /// below p.
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
        let Tools { params, slots, encoder, .. } = &self.tools;
        let (basis, n, p) = (params.basis(), params.n(), slots.modulus());
        let ones = vec![1; basis.len()];
        let mut chain = Chain::new(basis);
        let [text, u, noise0, noise1, flood] = std::array::from_fn(|_| chain.small());
        // The encryption of zero, u (b, a), and products on top.
        let c1 = chain.lift(u);
        let c1 = chain.forward(c1);
        let c0 = chain.copy(&c1);
        chain.mul(&c0, &self.key.key.b);
        chain.mul(&c1, &self.key.key.a);
        for term in terms {
            let factor = chain.small();
            let asked = chain.load();
            let uniform = chain.uniform(&split_seed(term.asked)?.0, 0);
            let factor = chain.lift(factor);
            let factor = chain.forward(factor);
            chain.mul_add_own(&c0, &factor, &asked);
            chain.mul_add_own(&c1, &factor, &uniform);
        }
        let c0 = chain.inverse(c0);
        chain.add_lifted(&c0, noise0, &ones);
        chain.add_lifted(&c0, text, encoder.scale());
        let c1 = chain.inverse(c1);
        chain.add_lifted(&c1, noise1, &ones);
        chain.mod_down_to_first(&c0);
        chain.mod_down_to_first(&c1);
        chain.add_lifted(&c0, flood, &ones);
        chain.output(c0);
        chain.output(c1);

        let prngs = parts(forks(prng, batch));
        let acc = parts(acc.chunks_exact_mut(n));
        let prepare = |mut item: Item<'_>| {
            let i = item.number;
            let (own_rows, factors) = item.small.split_at_mut(5);
            let [text, u, noise0, noise1, flood] = own_rows else { unreachable!("five were recorded first") };
            for (factor, term) in factors.iter_mut().zip(terms) {
                slots.encode(&term.factor[i * n..][..n], item.row);
                wide(|| factor.iter_mut().zip(&*item.row).for_each(|(c, &x)| *c = p.to_signed(x) as i32));
            }
            let prng = &mut *own(&prngs[i]);
            // The mask is where the flooding will be.
            let mask: &mut [u32] = bytemuck::cast_slice_mut(flood);
            sampler::fill_residues(prng, p.value() as u32, mask);
            encoder.fill_signed(mask, text);
            item.row.iter_mut().zip(&*mask).for_each(|(r, &m)| *r = m.into());
            slots.decode(item.row);
            add_to(p, &mut own(&acc[i]), item.row.iter().map(|&r| p.neg(r)));
            sampler::fill_ternary(prng, u);
            sampler::fill_noise(prng, noise0);
            sampler::fill_noise(prng, noise1);
            sampler::fill_flood(prng, flood, self.flood_bits);
            Ok(())
        };
        let packed = wire::packed_rows_len(basis, 1);
        let before: Vec<usize> = (0..basis.len()).map(|l| (0..l).map(|l| self.tools.row_len(l)).sum()).collect();
        let load = |i: usize, term: usize, limb: usize, row: &mut [u64]| {
            let (_, asked) = split_seed(terms[term].asked)?;
            let bytes = &asked[i * packed + before[limb]..][..self.tools.row_len(limb)];
            wire::unpack_into(bytes, self.tools.bits(limb), row);
            Ok(())
        };
        let (start, len, row, bits) = (out.len(), self.tools.reply_len(), self.tools.row_len(0), self.tools.bits(0));
        out.resize(start + batch * len, 0);
        let bytes = parts(out[start..].chunks_exact_mut(len));
        let finish = |item: Item<'_>, outputs: &[&[u64]]| {
            let mut bytes = own(&bytes[item.number]);
            outputs
                .iter()
                .zip(bytes.chunks_exact_mut(row))
                .for_each(|(half, bytes)| wire::pack_into(half, bits, bytes));
            Ok(())
        };
        chain.run(self.key.device(), batch, &Each::with_loads(prepare, load, finish)).map(drop)
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
    use crate::ring::primes::DEFAULT_50;
    use crate::testing::Body;

    const BATCH: usize = 3;

    /// Values at the edges and random ones.
    fn vector(salt: u8, count: usize) -> Vec<u32> {
        let mut x = vec![0; count];
        sampler::fill_residues(&mut Prng::from_seed_for_tests([salt; 32]), P, &mut x);
        x[..6].copy_from_slice(&[0, 1, P - 1, P / 2, P / 2 + 1, 2]);
        x
    }

    /// One exchange of `terms` terms: both messages and both shares.
    fn exchange(params: &Params, device: &Device, terms: u8) -> (Vec<Vec<u8>>, Vec<u8>, [Vec<u32>; 2]) {
        let count = BATCH * params.n();
        let mut prng = Prng::from_seed_for_tests([1; 32]);
        let receiver = OleReceiver::new(params, device, &mut prng).unwrap();
        let sender = OleSender::new(params, device, &receiver.public_key(&mut prng).unwrap(), 14).unwrap();
        let ask = |k: u8| {
            let mut out = vec![];
            receiver.ask(&vector(10 + k, count), &mut Prng::from_seed_for_tests([k; 32]), &mut out).unwrap();
            out
        };
        let asked: Vec<_> = (0..terms).map(ask).collect();
        let factors: Vec<_> = (0..terms).map(|k| vector(20 + k, count)).collect();
        let terms: Vec<_> = asked.iter().zip(&factors).map(|(asked, factor)| Term { asked, factor }).collect();
        let (mut mine, mut theirs, mut reply) = (vector(30, count), vector(31, count), vec![]);
        sender.answer(&terms, &mut prng, &mut theirs, &mut reply).unwrap();
        receiver.receive(&reply, &mut mine).unwrap();
        (asked, reply, [mine, theirs])
    }

    #[test]
    fn shares_add_up_to_the_sums_however_chains_run() {
        let params = Params::insecure_for_tests(512, &DEFAULT_50, u64::from(P)).unwrap();
        for terms in [1, 2] {
            let expected = exchange(&params, &Device::cpu_by_steps(), terms);
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
                assert!(exchange(&params, &device, terms) == expected, "{terms} terms on {body:?}");
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
