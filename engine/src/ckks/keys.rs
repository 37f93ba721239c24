//! Keys: encryption under the secret or the public key, decryption, and what is done to results before they are sent.

use std::fmt;

use zeroize::Zeroizing;

use super::ciphertext::Ciphertext;
use super::decrypted::{Decrypted, Queries};
use super::encoding::{Encoder, Plaintext};
use super::noise;
use super::params::Params;
use crate::Integers;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::poly::PolyBatch;
use crate::prng::Prng;
use crate::ring::sampler::PublicSeed;
use crate::ring::{Basis, Modulus};
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

/// A fresh ciphertext in half the bytes: c1 is expanded from a public seed.
pub struct Seeded {
    seed: PublicSeed,
    level: usize,
    /// Points of c0.
    c0: Vec<u64>,
    scale: f64,
    slots: usize,
    bound: f64,
}

/// Writes the residues of integers to `[limbs, n]` words.
fn write_residues(basis: &Basis, values: Integers<'_>, words: &mut [u64]) {
    for (row, q) in words.chunks_exact_mut(basis.n()).zip(basis.primes()) {
        let q = q.modulus();
        match values {
            Integers::One(x) => row.iter_mut().zip(x).for_each(|(r, &x)| *r = q.from_signed(x)),
            Integers::Two(x) => row.iter_mut().zip(x).for_each(|(r, &x)| *r = from_wide(q, x)),
        }
    }
}

/// The residue of a signed integer of two words, without a branch.
fn from_wide(q: Modulus, x: i128) -> u64 {
    let (magnitude, negative) = (q.reduce_wide(x.unsigned_abs()), ((x >> 127) as u64));
    (magnitude & !negative) | (q.neg(magnitude) & negative)
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

    /// The key without the scale: what all schemes share.
    pub fn rlwe(&self) -> &rlwe::SecretKey {
        &self.key
    }

    /// The secret itself with the queries that are left of it, for the key's own file: the parameters' digest, both
    /// numbers of queries, the coefficients. It is cleared when dropped. Write it anew whenever a value was published.
    pub fn to_secret_bytes(&self, queries: &Queries) -> Zeroizing<Vec<u8>> {
        let secret = self.key.to_secret_bytes();
        let mut out = Zeroizing::new(Vec::with_capacity(SECRET_HEAD + secret.len()));
        out.extend(SECRET_MAGIC);
        out.extend(self.params.digest());
        out.extend(queries.numbers().map(u32::to_le_bytes).as_flattened());
        out.extend(&*secret);
        out
    }

    /// Reads what [`Self::to_secret_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Decode`] for anything else, other parameters' keys included.
    pub fn from_secret_bytes(params: &Params, device: &Device, bytes: &[u8]) -> Result<(Self, Queries)> {
        let mut reader = wire::Reader::new(bytes);
        if reader.array()? != *SECRET_MAGIC || reader.array()? != params.digest() {
            let what = format!("secret key: not one for {}, or not of this version", params.describe());
            return Err(Error::Decode(what));
        }
        let [total, left] = [u32::from_le_bytes(reader.array()?), u32::from_le_bytes(reader.array()?)];
        let key = rlwe::SecretKey::from_secret_bytes(params, device, reader.rest())?;
        Ok((Self { params: params.clone(), key }, Queries::with_left(total, left)?))
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
    pub fn encrypt(&self, text: &Plaintext, prng: &mut Prng) -> Result<Ciphertext> {
        self.encrypt_seeded(text, prng)?.expand(&self.params, self.device())
    }

    /// Encrypts at the highest level, to be sent. Each call draws a fresh seed and fresh noise.
    ///
    /// # Errors
    /// [`Error::Parameters`] for a plaintext that the primes don't hold.
    pub fn encrypt_seeded(&self, text: &Plaintext, prng: &mut Prng) -> Result<Seeded> {
        let basis = self.params.basis();
        text.fits(basis)?;
        let write = |words: &mut [u64]| write_residues(basis, text.words.integers(), words);
        let (seed, c0) = self.key.encrypt(write, prng)?;
        Ok(Seeded { seed, level: basis.len(), c0, scale: text.scale, slots: text.slots, bound: text.bound })
    }

    /// Decrypts, on the first two primes where there are two. The values are for the key's holder: see
    /// [`Decrypted::publish`].
    ///
    /// # Errors
    /// [`Error::Parameters`] where those primes don't hold the values, by their bound.
    pub fn decrypt(&self, x: &Ciphertext) -> Result<Decrypted> {
        let basis = self.params.basis().level(x.level().min(2))?;
        let have = basis.log2_q() - 1.0;
        if (x.scale * x.bound).log2() > have {
            return Err(Error::Parameters(format!(
                "values up to {:.3e} at scale 2^{:.1}: decryption, on {} primes, holds {have:.1} bits; rescale first",
                x.bound,
                x.scale.log2(),
                basis.len()
            )));
        }
        let phase = self.key.phase(x.pair.limbs(&basis)?.to_batch()?)?;
        Decrypted::new(&self.params, Zeroizing::new(centred(&basis, &phase)), x)
    }
}

/// The integers nearest zero of residues modulo one or two primes.
fn centred(basis: &Basis, words: &[u64]) -> Vec<f64> {
    let (n, q0) = (basis.n(), basis.modulus(0));
    if basis.len() == 1 {
        return words.iter().map(|&x| q0.to_signed(x) as f64).collect();
    }
    // x = low + q0 ((x1 - low) / q0 mod q1), centred.
    let q1 = basis.modulus(1);
    let (inverse, wide) = (q1.inv(q1.reduce(q0.value())), i128::from(q0.value()));
    let (first, second) = words.split_at(n);
    let value = |(&x0, &x1): (&u64, &u64)| {
        let low = q0.to_signed(x0);
        let digit = q1.to_signed(q1.mul(q1.sub(x1, q1.from_signed(low)), inverse));
        (i128::from(low) + i128::from(digit) * wide) as f64
    };
    first.iter().zip(second).map(value).collect()
}

const MAGIC: &[u8; 8] = b"bvckkss1";
const SECRET_MAGIC: &[u8; 8] = b"bvckksk1";
/// Magic, digest, queries in all and left.
const SECRET_HEAD: usize = 8 + 32 + 2 * 4;

impl Seeded {
    /// Bytes on the wire.
    pub fn wire_len(params: &Params) -> usize {
        8 + 32 + 4 + 2 * 8 + 16 + wire::packed_rows_len(params.basis(), 1)
    }

    /// The parameters' digest, slots, scale, bound and seed, then the packed points of c0.
    pub fn to_bytes(&self, params: &Params) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(params.digest());
        out.extend((self.slots as u32).to_le_bytes());
        [self.scale, self.bound].iter().for_each(|x| out.extend(x.to_le_bytes()));
        out.extend(self.seed);
        wire::pack_rows(params.basis(), &self.c0, &mut out);
        out
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Decode`] for anything else, other parameters' ciphertexts included.
    pub fn from_bytes(params: &Params, bytes: &[u8]) -> Result<Self> {
        let bad = |what: String| Error::Decode(format!("seeded ciphertext: {what}"));
        let mut reader = wire::Reader::new(bytes);
        if reader.array()? != *MAGIC || reader.array()? != params.digest() {
            return Err(bad(format!("not one for {}, or not of this version", params.describe())));
        }
        let slots = u32::from_le_bytes(reader.array()?) as usize;
        let [scale, bound] = [f64::from_le_bytes(reader.array()?), f64::from_le_bytes(reader.array()?)];
        let fits = |x: f64| x.is_finite() && x > 0.0;
        if slots == 0 || !params.slots().is_multiple_of(slots) || !fits(scale) || !fits(bound) {
            return Err(bad(format!("{slots} slots, scale {scale}, bound {bound}")));
        }
        let seed = reader.array()?;
        let rows = reader.take(wire::packed_rows_len(params.basis(), 1))?;
        reader.end()?;
        let c0 = wire::unpack_rows(params.basis(), 1, rows)?;
        params.basis().check_reduced(&c0)?;
        Ok(Self { seed, level: params.basis().len(), c0, scale, slots, bound })
    }

    /// Expands c1.
    pub fn expand(&self, params: &Params, device: &Device) -> Result<Ciphertext> {
        let basis = params.basis().level(self.level)?;
        let c0 = PolyBatch::upload(device, &basis, &self.c0)?;
        let pair = PolyBatch::stack(&[&c0, &PolyBatch::uniform(device, &basis, &self.seed, 0, 1)?.into_rows()?])?;
        let error = noise::in_slots(params, noise::fresh_variance(), self.scale);
        let Self { scale, slots, bound, .. } = *self;
        Ciphertext { pair, scale, slots, bound, error, flood: 0.0 }.checked()
    }
}

/// A public key: anyone can encrypt, and re-randomise ciphertexts.
pub struct PublicKey {
    params: Params,
    key: rlwe::PublicKey,
}

impl PublicKey {
    /// What it is a key for.
    pub fn params(&self) -> &Params {
        &self.params
    }

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
    /// [`Error::Parameters`] for a plaintext that the primes don't hold.
    pub fn encrypt(&self, text: &Plaintext, prng: &mut Prng) -> Result<Ciphertext> {
        let basis = self.params.basis();
        let mut pair = self.key.zero(basis, prng)?;
        let message = text.points(self.key.device(), basis)?;
        pair.add_assign(&PolyBatch::stack(&[&message, &PolyBatch::zeros(self.key.device(), basis, 1)?])?)?;
        let error = noise::in_slots(&self.params, noise::public_variance(self.params.n()), text.scale);
        let Plaintext { scale, slots, bound, .. } = *text;
        Ciphertext { pair, scale, slots, bound, error, flood: 0.0 }.checked()
    }

    /// The last thing to do with a result before it goes to the key's holder: it is cut to the first prime, a fresh
    /// encryption of zero makes c1 uniform to the key's holder, who knows how it was made otherwise, and c0 is flooded
    /// by uniforms of a public width, of 2^`bits` times the predicted error's standard deviation or more.
    ///
    /// # Errors
    /// [`Error::Parameters`] where the first prime does not hold the values and the flood.
    pub fn rerandomise(&self, x: &Ciphertext, bits: u32, prng: &mut Prng) -> Result<Ciphertext> {
        let basis = self.params.basis().level(1)?;
        let n = self.params.n();
        let mut pair = x.pair.limbs(&basis)?.to_batch()?;
        pair.add_assign(&self.key.zero(&basis, prng)?)?;
        // The deviation of a coefficient; the sum of four uniforms of b bits has 2^b / sqrt(3).
        let error = (x.error * x.scale / (n as f64).sqrt()).max(crate::rlwe::gadget::rounding_variance(n).sqrt());
        let width = (f64::from(bits).exp2() * error * 3f64.sqrt()).log2().ceil().max(1.0) as u32;
        if width > 60 {
            return Err(Error::Parameters(format!("flooding of {width} bits: more than 60")));
        }
        let words = Zeroizing::new(wide_flood(prng, n, width));
        let words = PolyBatch::reduce(self.key.device(), &basis, Integers::One(&words))?.into_rows()?;
        pair.add_assign(&PolyBatch::stack(&[&words, &PolyBatch::zeros(self.key.device(), &basis, 1)?])?)?;
        let flood = noise::in_slots(&self.params, f64::from(2 * width).exp2() / 3.0, x.scale);
        // A flood beyond the values is a larger bound: it may wrap around.
        let bound = x.bound + f64::from(width + 1).exp2() / x.scale;
        let out = Ciphertext { bound, flood, ..x.with(pair)? };
        out.and_error(noise::in_slots(&self.params, noise::public_variance(n), x.scale)).checked()
    }
}

/// Centred sums of four uniform integers of `bits` bits each, 1..=60: magnitude below 2^(bits + 1).
fn wide_flood(prng: &mut Prng, count: usize, bits: u32) -> Vec<i64> {
    let (mut words, mask) = (Zeroizing::new(vec![0u64; 4 * count]), u64::MAX >> (64 - bits));
    prng.fill_bytes(bytemuck::cast_slice_mut(&mut words));
    let sum = |w: &[u64]| w.iter().map(|w| (w & mask) as i64).sum::<i64>() - 2 * mask as i64;
    words.chunks_exact(4).map(sum).collect()
}

impl Encoder {
    /// An encoder for what a ciphertext holds.
    pub fn for_ciphertext(params: &Params, x: &Ciphertext) -> Result<Self> {
        Self::new(params).with_slots(x.slots)
    }
}
