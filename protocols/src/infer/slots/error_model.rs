//! The error of a run as predicted from weights and parameters, before anything runs.
//!
//! With sigma the standard deviation of a slot's error and x the rms of what a tensor's slots hold:
//!
//! ```text
//! fresh    n (3.24^2 + 1/12) / delta^2
//! linear   sum over terms of w^2 (sigma^2 + switching) + terms x^2 n / (12 omega^2) + rounding
//! square   2 x sigma + sigma^2
//! sum      k sigma^2 and x^2 k^2, over k elements
//! ```
//!
//! It stays with the service: what a client learns is the public width of the flood.

use blindvox_engine::ckks::Params;
use blindvox_engine::rlwe::gadget::{rounding_variance, switching_variance};
use blindvox_models::levels::{Ckks, Preset};

use super::places::Places;
use crate::error::{Error, Result};
use crate::linear::slots::{LinearStep, Lowered, Plan, PlannedLinear, PlannedStep, Step};

/// Variance of a coefficient of a fresh ciphertext: noise and encoding.
const FRESH: f64 = 3.24 * 3.24 + 1.0 / 12.0;

/// A tensor's error and size.
#[derive(Clone, Copy)]
struct Tensor {
    variance: f64,
    rms: f64,
}

/// The predicted standard deviation of a score's error, without a flood.
///
/// # Errors
/// [`Error::Model`] where the bundle does not say how large a tensor is.
pub fn predict(lowered: &Lowered, plan: &Plan, ckks: &Ckks, preset: &Preset, params: &Params) -> Result<f64> {
    let size = |name: &str| {
        let known = ckks.rms.get(name).copied();
        known.ok_or_else(|| Error::Model(format!("ckks: rms: found none of {name:?}: calibrate the model")))
    };
    let n = params.n() as f64;
    let places = Places::new(plan, preset);
    let fresh = n * FRESH / places.scales[0].powi(2);
    let mut tensors = vec![Tensor { variance: fresh, rms: size("input")? }];
    for (step, planned) in lowered.steps.iter().zip(&plan.steps) {
        let made = match (step, planned) {
            (Step::Linear(step), PlannedStep::Linear(planned)) => {
                let variance = linear((params, &places), (step, planned), &tensors);
                let rms = size(&step.name)?;
                if step.square {
                    // The square of what is about Gaussian has three times the square of its mean square.
                    let sigma = variance.sqrt();
                    Tensor { variance: (2.0 * rms * sigma + variance).powi(2), rms: 3f64.sqrt() * rms * rms }
                } else {
                    Tensor { variance, rms }
                }
            }
            (_, PlannedStep::Sum { source, rotations, planes, .. }) => {
                let (x, count) = (tensors[*source], (planes << rotations.len()) as f64);
                Tensor { variance: count * x.variance, rms: count * x.rms }
            }
            (Step::Sum { .. }, PlannedStep::Linear(_)) => unreachable!("a plan has the steps of its network"),
        };
        tensors.push(made);
    }
    Ok(tensors.last().map_or(0.0, |t| t.variance.sqrt()))
}

/// Variance of a layer's output.
fn linear(
    (params, places): (&Params, &Places),
    (step, planned): (&LinearStep, &PlannedLinear),
    tensors: &[Tensor],
) -> f64 {
    let n = params.n() as f64;
    let level = planned.level;
    let copies = planned.fold_count() as f64;
    let outputs = (planned.sparse.outputs * planned.output.columns()) as f64;
    let mut variance = n * rounding_variance(params.n()) / level.target.powi(2);
    let switching = |scale: f64| n * switching_variance(params, level.level) / (scale * scale);
    for (tensor, slabs) in &step.sources {
        let x = tensors[*tensor];
        let scale = places.scales[*tensor];
        let omega = places.omega(params, planned, *tensor);
        let uses = |class: usize| slabs.uses.values().filter(|&&c| c == class).count() as f64;
        let squares: f64 = slabs
            .classes
            .iter()
            .enumerate()
            .map(|(i, class)| uses(i) * class.iter().map(|e| e.weight * e.weight).sum::<f64>())
            .sum();
        let rows = (slabs.elements[0] * slabs.planes[0]) as f64;
        variance += squares / rows * (x.variance + switching(scale));
        // Zeros are rounded, too: every term of an output counts, in every copy that is summed.
        let mine = planned.sparse.rows.iter().flat_map(|row| &row.terms);
        let terms = mine.filter(|t| planned.sources[t.source].tensor == *tensor).count() as f64;
        let terms = terms * planned.output.columns() as f64 / outputs;
        variance += copies * terms * planned.filled(*tensor) * x.rms * x.rms * n / (12.0 * omega * omega);
        // Giant steps and those of folds act at the scale before primes are dropped.
        let giants = planned.counts.giants as f64 / outputs;
        variance += copies * giants * switching(scale * omega);
    }
    variance
}

/// Bits of the uniforms whose flood hides the predicted error as a preset says.
///
/// # Errors
/// Those of [`predict`].
pub(super) fn needed_flood(
    lowered: &Lowered,
    plan: &Plan,
    ckks: &Ckks,
    preset: &Preset,
    params: &Params,
) -> Result<f64> {
    let error = predict(lowered, plan, ckks, preset, params)?;
    let target = plan.linear().last().map_or(1.0, |step| step.level.target);
    let coefficient = (error * target / (params.n() as f64).sqrt()).max(rounding_variance(params.n()).sqrt());
    Ok(coefficient.log2() + f64::from(preset.hiding) + 3f64.sqrt().log2())
}

/// Holds a preset's flood to the predicted error.
///
/// # Errors
/// [`Error::Model`] where the flood hides less than the preset says.
pub(super) fn check(lowered: &Lowered, plan: &Plan, ckks: &Ckks, preset: &Preset, params: &Params) -> Result<()> {
    let needed = needed_flood(lowered, plan, ckks, preset, params)?;
    if needed > f64::from(preset.flood) {
        return Err(Error::Model(format!(
            "ckks: flood: found {} bits, expected {:.0} to hide the predicted error by 2^{}",
            preset.flood,
            needed.ceil(),
            preset.hiding
        )));
    }
    Ok(())
}
