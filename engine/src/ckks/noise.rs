//! The error of ciphertexts as predicted from public quantities, in standard deviations of a slot.
//!
//! A coefficient's error of deviation sigma is one of sigma sqrt(n) / scale in a slot. Errors of sums are added as they
//! are, so that x + x is right, too; those of many different terms are taken for independent.

use super::params::Params;
use crate::ring::sampler::NOISE_SIGMA;
use crate::rlwe::gadget::{rounding_variance, switching_variance};

/// Of a coefficient of a fresh ciphertext, encoding included.
pub(crate) fn fresh_variance() -> f64 {
    NOISE_SIGMA * NOISE_SIGMA + 1.0 / 12.0
}

/// Of a coefficient of an encryption under the public key: e0 + e1 s + v e, and the encoding.
pub(crate) fn public_variance(n: usize) -> f64 {
    NOISE_SIGMA * NOISE_SIGMA * (1.0 + 4.0 / 3.0 * n as f64) + 1.0 / 12.0
}

/// What a coefficient's variance comes to in a slot at a scale: a standard deviation.
pub(crate) fn in_slots(params: &Params, variance: f64, scale: f64) -> f64 {
    (params.n() as f64 * variance).sqrt() / scale
}

/// What a key switch at a level adds to a slot at a scale.
pub(crate) fn switching(params: &Params, level: usize, scale: f64) -> f64 {
    in_slots(params, switching_variance(params, level), scale)
}

/// The same before the division by P, whose rounding comes later.
pub(crate) fn switching_undivided(params: &Params, level: usize, scale: f64) -> f64 {
    in_slots(params, switching_variance(params, level) - rounding_variance(params.n()), scale)
}

/// What a division by primes adds to a slot, at the scale after it.
pub(crate) fn rounding(params: &Params, scale: f64) -> f64 {
    in_slots(params, rounding_variance(params.n()), scale)
}

/// The error of the rounding of a plaintext's coefficients in a slot.
pub(crate) fn encoding(params: &Params, scale: f64) -> f64 {
    in_slots(params, 1.0 / 12.0, scale)
}

/// The root of a sum of squares.
pub(crate) fn together(parts: &[f64]) -> f64 {
    parts.iter().map(|x| x * x).sum::<f64>().sqrt()
}
