//! Sets of parameters for a calibrated network: what its bundle keeps for runs under CKKS.
//!
//! A square and the layer after it share primes of 48 bits (`fast`) or two of 50 bits (`balanced`); scales follow from
//! them, the ring from the width of all primes, the flood from the predicted error.

use std::collections::BTreeMap;

use blindvox_models::levels::{Ckks, Preset};
use blindvox_models::{Calibration, Network};

use super::error_model::needed_flood;
use super::public::Ring;
use crate::error::{Error, Result};
use crate::linear::slots::{Lowered, Plan, Step, lower};

/// How often the largest score seen fits the bound on scores.
const SPARE: f64 = 1.5;
/// Bits of all primes that a ring holds at 128 bits of security, by its dimension.
const RINGS: [(usize, u32); 3] = [(8192, 214), (16384, 430), (32768, 868)];

/// The section of a bundle, with the presets that its network has room for.
///
/// # Errors
/// [`Error::Model`] for a network that slots can't compute, one whose tensors were not calibrated, and one that no
/// preset has room for.
pub fn section(network: &Network, calibration: &Calibration, clamp: Option<[f32; 2]>) -> Result<Ckks> {
    let lowered = lower(network)?;
    let level = |name: &str| {
        let known = calibration.tensors.get(name);
        known.ok_or_else(|| Error::Model(format!("calibration: found no tensor {name:?}, expected that of a layer")))
    };
    let mut rms = BTreeMap::from([("input".to_owned(), level(&network.nodes[0].name)?.rms)]);
    for step in &lowered.steps {
        if let Step::Linear(step) = step {
            rms.insert(step.name.clone(), level(&step.name)?.rms);
        }
    }
    let largest = level(&network.nodes[network.scores].name)?.max_abs;
    let logit_bound = (SPARE * largest).max(1.0).log2().ceil().exp2();
    let mut ckks = Ckks { logit_bound, rms, presets: BTreeMap::new() };
    let layers = lowered.steps.iter().filter(|step| matches!(step, Step::Linear(_))).count();
    let mut why = format!("found {layers} layers, too many or too few for any ring");
    for (name, preset) in [("fast", fast(layers)), ("balanced", balanced(layers))] {
        let Some(preset) = preset else { continue };
        match flooded(&lowered, &ckks, preset, clamp) {
            Ok(preset) => {
                ckks.presets.insert(name.to_owned(), preset);
            }
            Err(e) => why = e.to_string(),
        }
    }
    if ckks.presets.is_empty() {
        return Err(Error::Model(format!("ckks: no set of parameters has room for this network: {why}")));
    }
    Ok(ckks)
}

/// The smallest ring for primes of so many bits.
fn ring(bits: u32) -> Option<usize> {
    RINGS.iter().find(|(_, most)| bits <= *most).map(|(n, _)| *n)
}

/// One for each layer: the first, those between, the last.
fn each(layers: usize, first: u32, between: u32, last: &[u32]) -> Vec<u32> {
    let between = vec![between; layers - 1 - last.len()];
    [&[first][..], &between, last].concat()
}

fn fast(layers: usize) -> Option<Preset> {
    let chain = [vec![46], vec![48; layers]].concat();
    let special = vec![48; 2];
    let n = ring(chain.iter().chain(&special).sum())?;
    if layers < 2 {
        return None;
    }
    let (delta, omega) = (each(layers, 26, 26, &[34]), each(layers, 28, 22, &[30]));
    Some(Preset { n, chain, special, alpha: 2, delta, omega, flood: 1, hiding: 0 })
}

fn balanced(layers: usize) -> Option<Preset> {
    if layers < 3 {
        return None;
    }
    let chain = vec![50; 2 * layers];
    // As many primes of key switching, up to five, as the smallest ring has room for.
    let (n, count) = RINGS.iter().find_map(|&(n, most)| {
        let rest = most.checked_sub(50 * chain.len() as u32)? / 50;
        (rest > 0).then_some((n, rest.min(5) as usize))
    })?;
    let (delta, omega) = (each(layers, 55, 55, &[50, 40]), each(layers, 45, 45, &[40, 40]));
    Some(Preset { n, chain, special: vec![50; count], alpha: count, delta, omega, flood: 1, hiding: 20 })
}

/// With the flood that hides the predicted error as the preset says.
fn flooded(lowered: &Lowered, ckks: &Ckks, preset: Preset, clamp: Option<[f32; 2]>) -> Result<Preset> {
    let plan = Plan::new(lowered, &preset)?;
    let bound = super::public::input_bound(clamp);
    let params = Ring::of(&preset).params(bound)?;
    let flood = needed_flood(lowered, &plan, ckks, &preset, &params)?.ceil().max(1.0) as u32;
    let preset = Preset { flood, ..preset };
    match preset.fault(ckks.logit_bound) {
        Some(what) => Err(Error::Model(what)),
        None => Ok(preset),
    }
}
