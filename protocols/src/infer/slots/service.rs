//! The service's half: keys of its clients, evaluation, and results that say as little as they can.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use blindvox_engine::ckks::{Ciphertext, Evaluator, PublicKey};
use blindvox_engine::{Device, Prng};

use super::client::{self, KeySet};
use super::model::Model;
use crate::error::{Error, Result};

/// The most key sets that are kept.
const MOST_SETS: usize = 4;

/// One client's keys.
pub struct ClientKeys {
    public: PublicKey,
    evaluator: Evaluator,
}

impl ClientKeys {
    /// Reads a key set for a model.
    ///
    /// # Errors
    /// The engine's, for what is none; [`Error::Protocol`] where a key that the model takes is missing.
    pub fn read(keys: &KeySet, model: &Model, device: &Device) -> Result<Self> {
        let (public, evaluation) = client::read(keys, model.public(), model.params(), device)?;
        Ok(Self { public, evaluator: Evaluator::new(model.params(), device, evaluation)? })
    }
}

/// Key sets by their digests, the last few that came.
#[derive(Default)]
pub struct KeyStore {
    sets: Mutex<Vec<([u8; 32], Arc<ClientKeys>)>>,
}

impl KeyStore {
    /// The set of a digest.
    pub fn get(&self, digest: &[u8; 32]) -> Option<Arc<ClientKeys>> {
        let sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.iter().find(|(known, _)| known == digest).map(|(_, keys)| keys.clone())
    }

    /// Keeps a set.
    pub fn keep(&self, digest: [u8; 32], keys: Arc<ClientKeys>) {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.retain(|(known, _)| *known != digest);
        if sets.len() == MOST_SETS {
            sets.remove(0);
        }
        sets.push((digest, keys));
    }
}

/// Evaluates inputs, and makes of their scores what is sent: each is cut to the first prime, a fresh encryption of zero
/// makes its second half uniform, and uniforms of the preset's width flood the first.
///
/// # Errors
/// [`Error::Protocol`] for another number of ciphertexts than inputs have; the engine's.
pub fn evaluate(
    (model, keys): (&Model, &ClientKeys),
    input: &[Vec<u8>],
    images: usize,
    prng: &mut Prng,
    done: impl FnMut(&str),
) -> Result<Vec<Vec<u8>>> {
    let (public, params) = (model.public(), model.params());
    let device = keys.evaluator.device();
    let input = input.iter().map(|bytes| client::input(public, params, device, bytes)).collect::<Result<Vec<_>>>()?;
    let scores = model.evaluate(&keys.evaluator, input, images, done)?;
    scores.into_iter().map(|x| reply((model, keys), x, prng)).collect()
}

fn reply((model, keys): (&Model, &ClientKeys), x: Ciphertext, prng: &mut Prng) -> Result<Vec<u8>> {
    let ring = &model.public().ring;
    // What is said of the error is the preset's, not what weights make it; a little less, so that rounding up to whole
    // bits gives the preset's width.
    let x = x.restated(model.public().logit_bound, 0.999 * ring.said_error())?;
    let bound = x.bound();
    let x = keys.public.rerandomise(&x, ring.hiding, prng)?;
    Ok(x.restated(bound, ring.said_error())?.to_bytes(model.params())?)
}

/// Models by the names of their presets.
pub struct Models(HashMap<String, Model>);

impl Models {
    /// Of one model or several presets of it.
    pub fn new(models: impl IntoIterator<Item = Model>) -> Self {
        Self(models.into_iter().map(|model| (model.public().preset.clone(), model)).collect())
    }

    /// The one of a preset.
    ///
    /// # Errors
    /// [`Error::Protocol`] for one that there is not.
    pub fn get(&self, preset: &str) -> Result<&Model> {
        let shown: String = preset.chars().filter(|c| !c.is_control()).take(40).collect();
        self.0.get(preset).ok_or_else(|| Error::protocol(format!("no preset {shown:?} is served")))
    }
}
