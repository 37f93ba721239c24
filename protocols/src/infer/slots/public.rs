//! What a client must know to use a service that computes in slots: everything but weights.

use blindvox_engine::ckks::{Params, Rotations};
use blindvox_engine::rlwe::KeyRequest;
use blindvox_models::levels::Preset;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::linear::slots::Layout;

/// Bytes of the public part at most.
pub const MAX_PUBLIC: usize = 1 << 18;
/// What no prepared value exceeds unless the model clamps.
const UNCLAMPED: f64 = 64.0;

/// The public part of a model: parameters, layouts, rotations, bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Public {
    /// The model's name.
    pub name: String,
    /// The names of its classes.
    pub classes: Vec<String>,
    /// The set of parameters' name.
    pub preset: String,
    /// Ring, primes, scales of input and result, flood.
    pub ring: Ring,
    /// Of the input.
    pub input: Layout,
    /// Of the scores.
    pub output: Layout,
    /// Whether the result's slots repeat it.
    pub repeats: bool,
    /// Rotations and the levels that keys are needed for.
    pub rotations: Vec<(u32, u32)>,
    /// The level of products.
    pub products: u32,
    /// What no score exceeds.
    pub logit_bound: f64,
    /// Lowest and highest input: the client clamps.
    pub clamp: Option<[f32; 2]>,
}

/// Parameters of the scheme.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    /// Dimension.
    pub n: usize,
    /// Widths of the chain's primes.
    pub chain: Vec<u32>,
    /// Of those of key switching.
    pub special: Vec<u32>,
    /// Primes of a digit.
    pub alpha: usize,
    /// log2 of the scale of inputs.
    pub fresh: u32,
    /// log2 of the scale of results.
    pub delta: u32,
    /// Width of the uniforms that flood a result.
    pub flood: u32,
    /// log2 of the flood over the predicted error, at least.
    pub hiding: u32,
}

impl Ring {
    /// Of a preset.
    pub fn of(preset: &Preset) -> Self {
        let Preset { n, chain, special, alpha, delta, flood, hiding, .. } = preset.clone();
        let delta = delta.last().copied().unwrap_or(0);
        Self { n, chain, special, alpha, fresh: preset.fresh().log2() as u32, delta, flood, hiding }
    }

    /// The set.
    ///
    /// # Errors
    /// The engine's, for what is under 128 bits or no set at all.
    pub fn params(&self, bound: f64) -> Result<Params> {
        let [first, others @ ..] = &self.chain[..] else {
            return Err(Error::protocol("a chain of no primes"));
        };
        let builder = Params::builder(self.n).chain(*first, others).special(&self.special).digits(self.alpha);
        let builder = builder.scale(self.fresh).bound(bound);
        let builder = if self.hiding > 0 { builder.flooding(self.hiding) } else { builder };
        Ok(builder.build()?)
    }

    /// The standard deviation of a slot's part of the flood, at the scale of results.
    pub fn flood_in_slots(&self) -> f64 {
        let coefficient = f64::from(self.flood).exp2() / 3f64.sqrt();
        coefficient * (self.n as f64).sqrt() / f64::from(self.delta).exp2()
    }

    /// What a result's error is said to be at most: the flood over what it hides it by.
    pub fn said_error(&self) -> f64 {
        self.flood_in_slots() / f64::from(self.hiding).exp2()
    }
}

/// What no value of an input exceeds that is clamped so.
pub(super) fn input_bound(clamp: Option<[f32; 2]>) -> f64 {
    clamp.map_or(UNCLAMPED, |[low, high]| f64::from(low.abs().max(high.abs()))).max(f64::MIN_POSITIVE)
}

impl Public {
    /// What no value of an input exceeds.
    pub fn input_bound(&self) -> f64 {
        input_bound(self.clamp)
    }

    /// The scheme's parameters.
    ///
    /// # Errors
    /// Those of [`Ring::params`].
    pub fn params(&self) -> Result<Params> {
        self.ring.params(self.input_bound())
    }

    /// The keys that a service needs.
    pub fn keys(&self, params: &Params) -> KeyRequest {
        let all = KeyRequest::new();
        let all = if self.products > 0 { all.relinearisation(self.products as usize) } else { all };
        self.rotations.iter().fold(all, |all, &(rotation, level)| {
            all.and(&Rotations::exact(&[i64::from(rotation)]).request(params, level as usize))
        })
    }

    /// Ciphertexts of an input.
    pub fn inputs(&self) -> usize {
        self.input.columns() * self.input.ciphertexts()
    }

    /// Ciphertexts of a result.
    pub fn results(&self) -> usize {
        self.output.columns() * self.output.ciphertexts()
    }

    /// As it is sent.
    ///
    /// # Errors
    /// [`Error::Model`] for one that is too large.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let bytes = postcard::to_allocvec(self).map_err(|e| Error::Model(format!("the public part: {e}")))?;
        if bytes.len() > MAX_PUBLIC {
            return Err(Error::Model(format!("a public part of {} bytes: at most {MAX_PUBLIC}", bytes.len())));
        }
        Ok(bytes)
    }

    /// Reads what a service sent.
    ///
    /// # Errors
    /// [`Error::Protocol`] naming what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let wrong = |what: String| Error::protocol(format!("the model's public part: {what}"));
        if bytes.len() > MAX_PUBLIC {
            return Err(wrong(format!("{} bytes, at most {MAX_PUBLIC} are expected", bytes.len())));
        }
        let public: Self = postcard::from_bytes(bytes).map_err(|e| wrong(e.to_string()))?;
        public.check().map_err(wrong)?;
        Ok(public)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let ring = &self.ring;
        let widths = ring.chain.iter().chain(&ring.special);
        if !(1024..=32768).contains(&ring.n)
            || !ring.n.is_power_of_two()
            || !(1..=64).contains(&ring.chain.len())
            || !(1..=64).contains(&ring.special.len())
            || !widths.into_iter().all(|bits| (30..=60).contains(bits))
            || !(1..=64).contains(&ring.alpha)
            || !(1..=60).contains(&ring.fresh)
            || !(1..=60).contains(&ring.delta)
            || !(1..=60).contains(&ring.flood)
            || ring.hiding > 60
        {
            return Err(format!("parameters {ring:?}"));
        }
        for layout in [&self.input, &self.output] {
            layout.check().map_err(|e| e.to_string())?;
            if layout.slots != ring.n / 2 {
                return Err(format!("{} slots of a ring of {}", layout.slots, ring.n));
            }
        }
        let levels = 1..=ring.chain.len() as u32;
        let rotation = |&(step, level): &(u32, u32)| (1..ring.n as u32 / 2).contains(&step) && levels.contains(&level);
        if !self.rotations.iter().all(rotation) || self.products > ring.chain.len() as u32 {
            return Err("rotations or products at levels that there are not".to_owned());
        }
        let names = self.classes.iter().chain([&self.name, &self.preset]);
        if names.into_iter().any(|name| name.len() > 200 || name.chars().any(char::is_control)) {
            return Err("names that are too long or have control characters".to_owned());
        }
        let clamp = self.clamp.is_none_or(|[low, high]| low < high && low.abs().max(high.abs()) < 1e6);
        if !(1.0..=65536.0).contains(&self.logit_bound) || !clamp || self.classes.len() != self.output.channels {
            let Self { logit_bound, clamp, .. } = self;
            return Err(format!("logits up to {logit_bound}, clamp {clamp:?}, {} classes", self.classes.len()));
        }
        Ok(())
    }
}
