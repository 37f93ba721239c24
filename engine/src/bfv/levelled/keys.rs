//! Keys: encryption under the secret or the public key, decryption, and noise as measured.

use std::fmt;

use zeroize::Zeroizing;

use super::batch::Plaintext;
use super::ciphertext::Ciphertext;
use super::noise;
use super::params::Params;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::poly::{Coeff, PolyBatch, Rows};
use crate::prng::Prng;
use crate::ring::Basis;
use crate::ring::sampler::PublicSeed;
use crate::rlwe::{self, EvalKeys, KeyRequest, wire};

/// A secret key on its device.
pub struct SecretKey {
    params: Params,
    key: rlwe::SecretKey,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({}, ..)", self.params.describe())
    }
}

impl SecretKey {
    /// A fresh key.
    pub fn generate(params: &Params, device: &Device, prng: &mut Prng) -> Result<Self> {
        Ok(Self { params: params.clone(), key: rlwe::SecretKey::generate(params, device, prng)? })
    }

    /// What it is a key for.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Where it is.
    pub fn device(&self) -> &Device {
        self.key.device()
    }

    /// A public key for this secret.
    pub fn public_key(&self, prng: &mut Prng) -> Result<PublicKey> {
        Ok(PublicKey { params: self.params.clone(), key: self.key.public_key(prng)? })
    }

    /// The keys that were asked for.
    ///
    /// # Errors
    /// [`Error::Parameters`] for elements and levels that there are not.
    pub fn eval_keys(&self, request: &KeyRequest, prng: &mut Prng) -> Result<EvalKeys> {
        self.key.eval_keys(request, prng)
    }

    /// Encrypts at the highest level.
    ///
    /// # Errors
    /// Those of [`Self::encrypt_seeded`].
    pub fn encrypt(&self, text: &Plaintext, prng: &mut Prng) -> Result<Ciphertext> {
        self.encrypt_seeded(text, prng)?.expand(&self.params, self.device())
    }

    /// Encrypts at the highest level, to be sent. Each call draws a fresh seed and fresh noise.
    ///
    /// # Errors
    /// [`Error::Parameters`] where the primes are too few for t.
    pub fn encrypt_seeded(&self, text: &Plaintext, prng: &mut Prng) -> Result<Seeded> {
        let basis = self.params.basis();
        let (values, factors) = text.scaled(&self.params, basis);
        let write = |words: &mut [u64]| {
            for ((row, q), &factor) in words.chunks_exact_mut(basis.n()).zip(basis.primes()).zip(&factors) {
                let q = q.modulus();
                row.iter_mut().zip(&*values).for_each(|(r, &x)| *r = q.mul(q.from_signed(x), factor));
            }
        };
        let (seed, c0) = self.key.encrypt(write, prng)?;
        Ok(Seeded { seed, c0 })
    }

    /// The secret itself, for the key's own file: the parameters' digest and the coefficients. It is cleared when
    /// dropped.
    pub fn to_secret_bytes(&self) -> Zeroizing<Vec<u8>> {
        let secret = self.key.to_secret_bytes();
        let mut out = Zeroizing::new(Vec::with_capacity(SECRET_MAGIC.len() + 32 + secret.len()));
        out.extend(SECRET_MAGIC);
        out.extend(self.params.digest());
        out.extend(&*secret);
        out
    }

    /// Reads what [`Self::to_secret_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Decode`] for anything else, other parameters' keys included.
    pub fn from_secret_bytes(params: &Params, device: &Device, bytes: &[u8]) -> Result<Self> {
        let mut reader = wire::Reader::new(bytes);
        if reader.array()? != *SECRET_MAGIC || reader.array()? != params.digest() {
            let what = format!("secret key: not one for {}, or not of this version", params.describe());
            return Err(Error::Decode(what));
        }
        Ok(Self { params: params.clone(), key: rlwe::SecretKey::from_secret_bytes(params, device, reader.rest())? })
    }

    /// The message.
    pub fn decrypt(&self, x: &Ciphertext) -> Result<Plaintext> {
        let (basis, t) = (x.pair.basis(), self.params.plain_basis());
        // t phase - [t phase] = Q m, and the first is 0 mod t.
        let rest = self.scaled_phase(x)?.mod_up(t)?;
        let rest = Zeroizing::new(rest.download()?);
        let t = t.modulus(0);
        let factor = t.neg(t.inv(basis.product_mod(t.value())));
        Ok(Plaintext(Zeroizing::new(rest.iter().map(|&r| t.mul(r, factor)).collect())))
    }

    /// Bits of noise that are left as measured: log2 of Q / 2 over the largest coefficient of t (c0 + c1 s) mod Q. Its
    /// value is for the key's holder.
    pub fn budget(&self, x: &Ciphertext) -> Result<f64> {
        let residues = Zeroizing::new(self.scaled_phase(x)?.download()?);
        Ok(x.pair.basis().log2_q() - 1.0 - log2_largest(x.pair.basis(), &residues))
    }

    /// t (c0 + c1 s).
    fn scaled_phase(&self, x: &Ciphertext) -> Result<PolyBatch<Coeff>> {
        let basis = x.pair.basis();
        let phase = self.key.phase(x.pair.duplicate()?)?;
        let mut phase = PolyBatch::upload(self.device(), basis, &phase)?;
        let t = self.params.plain();
        phase.mul_scalar(&basis.primes().iter().map(|q| q.modulus().reduce(t)).collect::<Vec<_>>())?;
        Ok(phase)
    }
}

const MAGIC: &[u8; 8] = b"bvbfvst1";
const SECRET_MAGIC: &[u8; 8] = b"bvbfvsk1";

/// A fresh ciphertext in half the bytes: c1 is expanded from a public seed.
pub struct Seeded {
    seed: PublicSeed,
    /// Points of c0.
    c0: Vec<u64>,
}

impl Seeded {
    /// Bytes on the wire.
    pub fn wire_len(params: &Params) -> usize {
        8 + 32 + 16 + wire::packed_rows_len(params.basis(), 1)
    }

    /// The parameters' digest and the seed, then the packed points of c0.
    pub fn to_bytes(&self, params: &Params) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(params.digest());
        out.extend(self.seed);
        wire::pack_rows(params.basis(), &self.c0, &mut out);
        out
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Decode`] for anything else, other parameters' ciphertexts included; nothing is allocated before the
    /// length is known to be right.
    pub fn from_bytes(params: &Params, bytes: &[u8]) -> Result<Self> {
        let mut reader = wire::Reader::new(bytes);
        if reader.array()? != *MAGIC || reader.array()? != params.digest() {
            let what = format!("seeded ciphertext: not one for {}, or not of this version", params.describe());
            return Err(Error::Decode(what));
        }
        let seed = reader.array()?;
        let rows = reader.take(wire::packed_rows_len(params.basis(), 1))?;
        reader.end()?;
        let c0 = wire::unpack_rows(params.basis(), 1, rows)?;
        params.basis().check_reduced(&c0)?;
        Ok(Self { seed, c0 })
    }

    /// Expands c1.
    ///
    /// # Errors
    /// [`Error::Parameters`] where the primes are too few for t.
    pub fn expand(&self, params: &Params, device: &Device) -> Result<Ciphertext> {
        let basis = params.basis();
        let c0 = PolyBatch::upload(device, basis, &self.c0)?;
        let pair = PolyBatch::stack(&[&c0, &PolyBatch::uniform(device, basis, &self.seed, 0, 1)?.into_rows()?])?;
        Ciphertext { pair, noise: noise::fresh(params), plain_bits: (params.plain() as f64).log2() }.checked()
    }
}

/// log2 of the largest of integers nearest zero, `[limbs, n]` residues, by mixed radices; 0 where all are at most 1.
fn log2_largest(basis: &Basis, residues: &[u64]) -> f64 {
    let (n, limbs) = (basis.n(), basis.len());
    let moduli: Vec<_> = basis.primes().iter().map(|q| q.modulus()).collect();
    let inverse = |i: usize, j: usize| moduli[i].inv(moduli[i].reduce(moduli[j].value()));
    let inverses: Vec<Vec<u64>> = (0..limbs).map(|i| (0..i).map(|j| inverse(i, j)).collect()).collect();
    let mut largest = 1.0f64;
    for k in 0..n {
        // x = d_0 + m_0 (d_1 + m_1 (d_2 + ...)).
        let mut digits = Zeroizing::new(Vec::with_capacity(limbs));
        for i in 0..limbs {
            let q = moduli[i];
            let digit = digits
                .iter()
                .zip(&inverses[i])
                .fold(residues[i * n + k], |x, (&d, &inverse)| q.mul(q.sub(x, q.reduce(d)), inverse));
            digits.push(digit);
        }
        let value = |digit: &dyn Fn(usize) -> u64| -> f64 {
            (0..limbs).rev().fold(0.0, |sum: f64, i| sum * moduli[i].value() as f64 + digit(i) as f64)
        };
        let above = value(&|i| digits[i]);
        let below = value(&|i| moduli[i].value() - 1 - digits[i]);
        largest = largest.max(above.min(below + 1.0));
    }
    largest.log2()
}

/// A public key: anyone can encrypt.
pub struct PublicKey {
    params: Params,
    key: rlwe::PublicKey,
}

impl PublicKey {
    /// The seed, then the packed residues of b.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.key.to_bytes()
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Decode`] for anything else.
    pub fn from_bytes(params: &Params, device: &Device, bytes: &[u8]) -> Result<Self> {
        Ok(Self { params: params.clone(), key: rlwe::PublicKey::from_bytes(params, device, bytes)? })
    }

    /// Encrypts at the highest level.
    ///
    /// # Errors
    /// [`Error::Parameters`] where the primes are too few for t.
    pub fn encrypt(&self, text: &Plaintext, prng: &mut Prng) -> Result<Ciphertext> {
        let (basis, device) = (self.params.basis(), self.key.device());
        let mut pair: PolyBatch<Rows> = self.key.zero(basis, prng)?;
        let message = text.summand(&self.params, device, basis)?;
        pair.add_assign(&PolyBatch::stack(&[&message, &PolyBatch::zeros(device, basis, 1)?])?)?;
        let plain_bits = (self.params.plain() as f64).log2();
        Ciphertext { pair, noise: noise::public(&self.params), plain_bits }.checked()
    }
}

impl Params {
    /// An error unless evaluation keys are for these parameters.
    pub(super) fn check_keys(&self, keys: &EvalKeys) -> Result<()> {
        if keys.params().digest() == self.rlwe().digest() {
            return Ok(());
        }
        Err(Error::Parameters(format!("keys for other parameters than {}", self.describe())))
    }
}
