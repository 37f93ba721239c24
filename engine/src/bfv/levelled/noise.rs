//! Noise as predicted from public quantities: bounds on its values at the roots of unity, which bound its coefficients.
//!
//! A polynomial of n independent coefficients of variance V has values of at most 6 sqrt(n V), but for 2^-50 of them or
//! so; values multiply where polynomials do (Gentry, Halevi, Smart, 2012).

use super::params::Params;
use crate::ring::Basis;
use crate::ring::sampler::NOISE_SIGMA;

/// Standard deviations in a bound.
const DEVIATIONS: f64 = 6.0;

/// Of n independent coefficients of a variance.
fn independent(params: &Params, variance: f64) -> f64 {
    DEVIATIONS * (params.n() as f64 * variance).sqrt()
}

fn secret(params: &Params) -> f64 {
    independent(params, 2.0 / 3.0)
}

/// Of round(Q m / t) against Q m / t, whatever m is.
fn encoding(params: &Params) -> f64 {
    params.n() as f64 / 2.0
}

/// Of messages, whatever they are.
pub(super) fn message(params: &Params) -> f64 {
    params.n() as f64 * params.plain() as f64 / 2.0
}

/// Of fresh ciphertexts.
pub(super) fn fresh(params: &Params) -> f64 {
    independent(params, NOISE_SIGMA * NOISE_SIGMA) + encoding(params)
}

/// Of ciphertexts under the public key.
pub(super) fn public(params: &Params) -> f64 {
    let e = independent(params, NOISE_SIGMA * NOISE_SIGMA);
    e * (1.0 + 2.0 * secret(params)) + encoding(params)
}

/// Of a plaintext that is added.
pub(super) fn added(params: &Params) -> f64 {
    encoding(params)
}

/// Of the rounding of both halves.
pub(super) fn rounding(params: &Params) -> f64 {
    independent(params, 1.0 / 12.0) * (1.0 + secret(params))
}

/// What a key switch adds.
pub(super) fn switching(params: &Params, level: usize) -> f64 {
    let special = params.special().map_or(0.0, Basis::log2_q);
    let digits = params.basis().level(level).map(|basis| basis.digits(params.digit())).unwrap_or_default();
    let e = independent(params, NOISE_SIGMA * NOISE_SIGMA);
    let digit = |d: &Basis| independent(params, 1.0 / 12.0) * e * (d.log2_q() - special).exp2();
    digits.iter().map(digit).sum::<f64>() + rounding(params)
}

/// Of a product of ciphertexts with noise a and b before relinearisation: m e' + m' e + t (k e' + k' e) + t e e' / Q, k
/// being what c0 + c1 s passes Q by, and the rounding of three polynomials.
pub(super) fn product(params: &Params, log2_q: f64, a: f64, b: f64) -> f64 {
    let (t, s) = (params.plain() as f64, secret(params));
    let wraps = independent(params, 1.0 / 12.0) * (1.0 + s) + 1.0;
    // The encodings' rounding is in a and b.
    let both = (message(params) + t * wraps) * (a + b) + t * a * b / log2_q.exp2();
    both + independent(params, 1.0 / 12.0) * (1.0 + s + s * s)
}
