//! Keys. The secret is uniform ternary; the public key is an encryption of zero, (b, a) = (-a s + e, a).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use zeroize::Zeroizing;

use super::params::Params;
use super::wire;
use crate::chain::{Chain, Each, Item};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::poly::{Coeff, Ntt, PolyBatch, Rows};
use crate::prng::Prng;
use crate::ring::Basis;
use crate::ring::sampler::{self, PublicSeed};

/// A secret: its coefficients, and its points on the bases where it was asked for.
pub struct SecretKey {
    params: Params,
    device: Device,
    coefficients: Zeroizing<Vec<i32>>,
    lifted: Mutex<HashMap<Basis, Arc<PolyBatch<Ntt>>>>,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({}, ..)", self.params.describe())
    }
}

impl SecretKey {
    /// A fresh key.
    pub fn generate(params: &Params, device: &Device, prng: &mut Prng) -> Result<Self> {
        let coefficients = Zeroizing::new(sampler::ternary(prng, params.n()));
        Ok(Self { params: params.clone(), device: device.clone(), coefficients, lifted: Mutex::default() })
    }

    /// What it is a key for.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Where it is.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// s on a basis, kept for the next time: a single polynomial.
    pub fn on(&self, basis: &Basis) -> Result<Arc<PolyBatch<Ntt>>> {
        let mut lifted = self.lifted.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(s) = lifted.get(basis) {
            return Ok(s.clone());
        }
        let ones = vec![1; basis.len()];
        let s = Arc::new(PolyBatch::lift(&self.device, basis, &self.coefficients, &ones)?.into_ntt()?);
        lifted.insert(basis.clone(), s.clone());
        Ok(s)
    }

    /// c1 * s in the coefficient domain.
    pub fn times_secret(&self, c1: PolyBatch<Ntt>) -> Result<PolyBatch<Coeff>> {
        let secret = self.on(c1.basis())?;
        c1.into_product(&secret)
    }

    /// Encryptions of zero under the secret key, c0 = e - c1 s, with c1 the polynomials `first..` of a public seed,
    /// which must not have served before, and noise `[batch, n]`.
    pub(crate) fn zeros(&self, seed: &PublicSeed, first: u32, noise: &[i32]) -> Result<PolyBatch<Coeff>> {
        let c1 = PolyBatch::uniform(&self.device, self.params.basis(), seed, first, noise.len() / self.params.n())?;
        let mut c0 = self.times_secret(c1)?;
        c0.negate()?;
        c0.add_lifted(noise, &vec![1; self.params.basis().len()])?;
        Ok(c0)
    }

    /// A fresh encryption of a message that is written over zeros as `[limbs, n]` residues: the seed of c1, its
    /// polynomial 0, and the points of c0 = e + m - c1 s.
    pub(crate) fn encrypt(
        &self,
        message: impl Fn(&mut [u64]) + Sync,
        prng: &mut Prng,
    ) -> Result<(PublicSeed, Vec<u64>)> {
        let basis = self.params.basis();
        let mut seed = PublicSeed::default();
        prng.fill_bytes(&mut seed);
        let (series, s) = (prng.series(), self.on(basis)?);
        let mut chain = Chain::new(basis);
        let (noise, given) = (chain.small(), chain.given());
        let c0 = chain.uniform(&seed, 0);
        chain.mul(&c0, &s);
        let c0 = chain.inverse(c0);
        chain.negate(&c0);
        chain.add_lifted(&c0, noise, &vec![1; basis.len()]);
        chain.add(&c0, &given);
        let c0 = chain.forward(c0);
        chain.output(c0);
        let prepare = |mut item: Item<'_>| {
            sampler::fill_noise(&mut series.at(item.number), item.small[0]);
            message(item.given[0]);
            Ok(())
        };
        let finish = |_: Item<'_>, outputs: &[&[u64]]| Ok(outputs[0].to_vec());
        Ok((seed, chain.run(&self.device, 1, &Each::new(prepare, finish))?.remove(0)))
    }

    /// c0 + c1 s of a ciphertext's two polynomials, `[limbs, n]` coefficients.
    pub(crate) fn phase(&self, pair: PolyBatch<Rows>) -> Result<Zeroizing<Vec<u64>>> {
        let s = self.on(pair.basis())?;
        let pair = &pair.into_panels()?;
        let mut chain = Chain::new(pair.basis());
        let (c0, c1) = (chain.item_of(pair, 0), chain.item_of(pair, 1));
        chain.mul_add(&c0, &c1, &s);
        let c0 = chain.inverse(c0);
        chain.output(c0);
        let finish = |_: Item<'_>, outputs: &[&[u64]]| Ok(Zeroizing::new(outputs[0].to_vec()));
        Ok(chain.run(&self.device, 1, &Each::new(|_: Item<'_>| Ok(()), finish))?.remove(0))
    }

    /// The secret itself, for the key's own file: coefficients plus 1, two bits each. It is cleared when dropped.
    pub fn to_secret_bytes(&self) -> Zeroizing<Vec<u8>> {
        let byte = |four: &[i32]| four.iter().rev().fold(0, |byte, &x| byte << 2 | (x + 1) as u8);
        let mut out = Zeroizing::new(Vec::with_capacity(self.params.n().div_ceil(4)));
        out.extend(self.coefficients.chunks(4).map(byte));
        out
    }

    /// Reads what [`Self::to_secret_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Decode`] for another length, and for what is no ternary coefficient.
    pub fn from_secret_bytes(params: &Params, device: &Device, bytes: &[u8]) -> Result<Self> {
        let (n, expected) = (params.n(), params.n().div_ceil(4));
        if bytes.len() != expected {
            return Err(Error::Decode(format!("secret key: {} bytes where {expected} were expected", bytes.len())));
        }
        let mut coefficients = Zeroizing::new(Vec::with_capacity(n));
        coefficients.extend((0..n).map(|i| i32::from(bytes[i / 4] >> (i % 4 * 2) & 3) - 1));
        // All are looked at, whatever they are.
        if coefficients.iter().fold(0, |most, &x| most | (x >> 1 & !(x >> 31))) != 0 {
            return Err(Error::Decode("secret key: not ternary".to_owned()));
        }
        Ok(Self { params: params.clone(), device: device.clone(), coefficients, lifted: Mutex::default() })
    }

    /// A public key for this secret.
    pub fn public_key(&self, prng: &mut Prng) -> Result<PublicKey> {
        let mut seed = PublicSeed::default();
        prng.fill_bytes(&mut seed);
        let noise = Zeroizing::new(sampler::noise(prng, self.params.n()));
        let b = self.zeros(&seed, 0, &noise)?;
        PublicKey::new(&self.params, seed, b)
    }
}

/// An encryption of zero that anyone can re-randomise.
pub struct PublicKey {
    params: Params,
    seed: PublicSeed,
    bytes: Vec<u8>,
    /// -a s + e.
    pub(crate) b: PolyBatch<Ntt>,
    /// Uniform.
    pub(crate) a: PolyBatch<Ntt>,
}

impl PublicKey {
    fn new(params: &Params, seed: PublicSeed, b: PolyBatch<Coeff>) -> Result<Self> {
        let mut bytes = seed.to_vec();
        wire::pack_rows(params.basis(), &b.download()?, &mut bytes);
        let a = PolyBatch::uniform(b.device(), params.basis(), &seed, 0, 1)?;
        Ok(Self { params: params.clone(), seed, bytes, b: b.into_ntt()?, a })
    }

    /// What it is a key for.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Where it is.
    pub fn device(&self) -> &Device {
        self.b.device()
    }

    /// A fresh encryption of zero on some of the primes, (v b + e0, v a + e1) with v ternary.
    pub(crate) fn zero(&self, basis: &Basis, prng: &mut Prng) -> Result<PolyBatch<Rows>> {
        let series = prng.series();
        let (b, a) = (self.b.limbs(basis)?.to_batch()?, self.a.limbs(basis)?.to_batch()?);
        let mut chain = Chain::new(basis);
        let (v, noise0, noise1) = (chain.small(), chain.small(), chain.small());
        let (v, c0, c1) = (chain.lift(v), chain.lift(noise0), chain.lift(noise1));
        let (v, c0, c1) = (chain.forward(v), chain.forward(c0), chain.forward(c1));
        chain.mul_add(&c0, &v, &b);
        chain.mul_add(&c1, &v, &a);
        chain.output(c0);
        chain.output(c1);
        let prepare = |mut item: Item<'_>| {
            sampler::fill_ternary(&mut series.at(0), item.small[0]);
            sampler::fill_noise(&mut series.at(1), item.small[1]);
            sampler::fill_noise(&mut series.at(2), item.small[2]);
            Ok(())
        };
        let finish = |_: Item<'_>, outputs: &[&[u64]]| Ok(outputs.concat());
        let halves = chain.run(self.device(), 1, &Each::new(prepare, finish))?.remove(0);
        PolyBatch::upload(self.device(), basis, &halves)
    }

    /// The public seed of its uniform half.
    pub fn seed(&self) -> PublicSeed {
        self.seed
    }

    /// Bytes on the wire.
    pub fn wire_len(params: &Params) -> usize {
        size_of::<PublicSeed>() + wire::packed_rows_len(params.basis(), 1)
    }

    /// The seed, then the packed residues of b.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub fn from_bytes(params: &Params, device: &Device, bytes: &[u8]) -> Result<Self> {
        let (seed, rows) = bytes
            .split_first_chunk::<16>()
            .ok_or_else(|| Error::Decode(format!("{} bytes are no public key", bytes.len())))?;
        let words = wire::unpack_rows(params.basis(), 1, rows)?;
        Self::new(params, *seed, PolyBatch::upload(device, params.basis(), &words)?)
    }
}
