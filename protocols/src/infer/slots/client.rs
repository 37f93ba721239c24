//! The client's half: keys, encryption, decryption. It is made of the public part alone.

use blindvox_engine::ckks::{Ciphertext, Decrypted, Encoder, Params, PublicKey, Queries, SecretKey, Seeded};
use blindvox_engine::rlwe::EvalKeys;
use blindvox_engine::{Device, Prng};
use zeroize::Zeroizing;

use super::guards;
use super::public::Public;
use crate::error::{Error, Result};

/// Values that may be published under one key.
const QUERIES: u32 = 16;

/// A client's half of a model.
pub struct Client {
    public: Public,
    params: Params,
    device: Device,
    secret: SecretKey,
    queries: Queries,
}

/// What a service computes with: rotations, products, and the key that re-randomises results.
#[derive(Clone)]
pub struct KeySet {
    /// Of rotations and products.
    pub evaluation: Vec<u8>,
    /// The public key.
    pub public: Vec<u8>,
}

/// What a client learnt of one input.
pub struct Scores {
    /// In the order channel, z, y, x.
    pub values: Zeroizing<Vec<f64>>,
    /// In words, why they are not to be trusted.
    pub doubts: Vec<String>,
    /// The largest imaginary part: error alone.
    pub imaginary: f64,
}

impl KeySet {
    /// By which a service keeps it.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.evaluation.len() as u64).to_le_bytes());
        hasher.update(&self.evaluation).update(&self.public);
        *hasher.finalize().as_bytes()
    }
}

impl Client {
    /// With a fresh secret key.
    ///
    /// # Errors
    /// The engine's.
    pub fn new(public: Public, device: &Device, prng: &mut Prng) -> Result<Self> {
        let params = public.params()?;
        let secret = SecretKey::generate(&params, device, prng)?;
        Ok(Self { public, params, device: device.clone(), secret, queries: Queries::new(QUERIES) })
    }

    /// With a secret key from its file.
    ///
    /// # Errors
    /// The engine's, for another model's key.
    pub fn with_secret(public: Public, device: &Device, bytes: &[u8]) -> Result<Self> {
        let params = public.params()?;
        let (secret, queries) = SecretKey::from_secret_bytes(&params, device, bytes)?;
        Ok(Self { public, params, device: device.clone(), secret, queries })
    }

    /// The secret key for its file.
    pub fn secret_bytes(&self) -> Zeroizing<Vec<u8>> {
        self.secret.to_secret_bytes(&self.queries)
    }

    /// What it knows of the model.
    pub fn public(&self) -> &Public {
        &self.public
    }

    /// Keys for the service.
    ///
    /// # Errors
    /// The engine's.
    pub fn keys(&self, prng: &mut Prng) -> Result<KeySet> {
        let evaluation = self.secret.eval_keys(&self.public.keys(&self.params), prng)?;
        Ok(KeySet { evaluation: evaluation.to_bytes()?, public: self.secret.public_key(prng)?.to_bytes() })
    }

    /// Encrypts a prepared input, in the order channel, z, y, x, clamped.
    ///
    /// # Errors
    /// [`Error::Input`] for another size or values that are not numbers.
    pub fn encrypt(&self, input: &[f32], prng: &mut Prng) -> Result<Vec<Vec<u8>>> {
        let layout = &self.public.input;
        let expected = layout.plane() * layout.columns();
        if input.len() != expected || input.iter().any(|x| !x.is_finite()) {
            let found = input.len();
            return Err(Error::Input(format!("found {found} values, expected {expected} finite numbers")));
        }
        let bound = self.public.input_bound();
        let [low, high] = self.public.clamp.map_or([-bound, bound], |c| c.map(f64::from));
        let clamped: Zeroizing<Vec<f64>> =
            Zeroizing::new(input.iter().map(|&x| f64::from(x).clamp(low, high)).collect());
        let encoder = Encoder::new(&self.params);
        let seeded = layout.pack(&clamped).into_iter().map(|slots| {
            let slots = Zeroizing::new(slots);
            let text = encoder.real(&slots, self.params.scale())?;
            Ok(self.secret.encrypt_seeded(&text, prng)?.to_bytes(&self.params))
        });
        seeded.collect()
    }

    /// Decrypts the results of one input.
    ///
    /// # Errors
    /// [`Error::Protocol`] for another number of ciphertexts; the engine's, for what are none of this model.
    pub fn decrypt(&self, results: &[Vec<u8>]) -> Result<Scores> {
        if results.len() != self.public.results() {
            let (found, expected) = (results.len(), self.public.results());
            return Err(Error::protocol(format!("{found} ciphertexts of a result of {expected}")));
        }
        let scale = f64::from(self.public.ring.delta).exp2();
        let decrypted = results.iter().map(|bytes| {
            let x = Ciphertext::from_bytes(&self.params, &self.device, bytes)?;
            if x.level() != 1 || x.scale() != scale || x.slots() != self.params.slots() {
                let (level, bits) = (x.level(), x.scale().log2());
                return Err(Error::protocol(format!("a result at level {level} and scale 2^{bits}")));
            }
            // What the service says of bounds and errors counts for nothing.
            let x = x.restated(self.public.logit_bound, self.public.ring.said_error())?;
            Ok(self.secret.decrypt(&x)?)
        });
        let decrypted: Vec<Decrypted> = decrypted.collect::<Result<_>>()?;
        let slots: Vec<_> = decrypted.iter().map(Decrypted::real).collect();
        let slots: Vec<&[f64]> = slots.iter().map(|s| &s[..]).collect();
        let values = Zeroizing::new(self.public.output.unpack(&slots));
        let doubts = guards::doubts(&self.public, &decrypted, &values);
        let imaginary = decrypted.iter().fold(0.0, |most: f64, d| most.max(d.largest_imaginary()));
        Ok(Scores { values, doubts, imaginary })
    }

    /// Bytes of a result's ciphertext.
    pub(super) fn result_len(&self) -> Result<usize> {
        Ok(Ciphertext::wire_len(&self.params, 1)?)
    }
}

/// Reads a client's keys.
///
/// # Errors
/// The engine's, for what are none; [`Error::Protocol`] where a rotation that a model takes is missing.
pub(super) fn read(keys: &KeySet, public: &Public, params: &Params, device: &Device) -> Result<(PublicKey, EvalKeys)> {
    let evaluation = EvalKeys::from_bytes(params, device, &keys.evaluation)?;
    let (have, want) = (evaluation.request(), public.keys(params));
    let missing = want.elements().iter().find(|(e, level)| have.elements().get(e).is_none_or(|h| h < level));
    if let Some((element, level)) = missing {
        return Err(Error::protocol(format!("no key for x -> x^{element} at level {level}, which the model takes")));
    }
    if have.relinearisation_level() < want.relinearisation_level() {
        return Err(Error::protocol("no key for products, which the model takes"));
    }
    Ok((PublicKey::from_bytes(params, device, &keys.public)?, evaluation))
}

/// Reads an input's ciphertext.
pub(super) fn input(public: &Public, params: &Params, device: &Device, bytes: &[u8]) -> Result<Ciphertext> {
    let x = Seeded::from_bytes(params, bytes)?.expand(params, device)?;
    let scale = f64::from(public.ring.fresh).exp2();
    if x.scale() != scale || x.slots() != params.slots() {
        return Err(Error::protocol(format!("an input of {} slots at scale 2^{}", x.slots(), x.scale().log2())));
    }
    Ok(x.restated(public.input_bound(), 0.0)?)
}
