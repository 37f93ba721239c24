//! How well the integer network follows the float network on a volume, and where it leaves it.

use std::path::{Path, PathBuf};

use super::equalise::channel_bits;
use super::lower::{Activations, Lowered};
use super::program::{Program, TensorId};
use super::quantize::quantize_input;
use super::streams::streams;
use crate::data::dice::dice;
use crate::error::Result;
use crate::format::bundle::Bundle;
use crate::format::prepared::Inputs;
use crate::network::Network;
use crate::plain::{self, Rounding, float};

/// More labels than one in so many must not change.
const ONE_IN: usize = 1000;

/// The labels of one volume in integers against those in real numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    /// The volume.
    pub volume: PathBuf,
    /// Voxels of the grid that is labelled.
    pub voxels: usize,
    /// Labels that differ.
    pub differing: usize,
    /// Dice of the integers' labels against the float network's, of each class from 1 on; none where there is one class
    /// for all of an input.
    pub dice: Vec<f64>,
    /// Of these networks in real numbers, labels that folding instance normalisations changes, where there are such.
    pub folding: Option<usize>,
    /// The layer that adds the largest error, where more than 0.1 % differ.
    pub cause: Option<Cause>,
}

/// A layer that loses precision.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// Its tensor's name.
    pub tensor: String,
    /// Root of the mean square of the error, as a part of the values'.
    pub error: f64,
    /// The channel whose own values have the largest error.
    pub channel: usize,
    /// That error, as a part of the channel's values.
    pub channel_error: f64,
}

impl Agreement {
    /// A sentence for people, if more than 0.1 % of the labels differ.
    pub fn warning(&self) -> Option<String> {
        let Self { volume, voxels, differing, cause, .. } = self;
        if differing * ONE_IN <= *voxels {
            return None;
        }
        let percent = 100.0 * *differing as f64 / *voxels as f64;
        let lost = |c: &Cause| {
            let Cause { tensor, error, channel, channel_error } = c;
            format!(
                "; most precision is lost in layer {tensor:?} (error {:.2} %), there in channel {channel} ({:.2} %)",
                100.0 * error,
                100.0 * channel_error
            )
        };
        Some(format!(
            "{}: {percent:.2} % of the labels differ between the integer and the float network, expected at most 0.1 %{}",
            volume.display(),
            cause.as_ref().map_or_else(String::new, lost)
        ))
    }
}

/// Compares the networks on a volume, or on all rows of a table.
///
/// # Errors
/// [`crate::Error::Input`] for a file that doesn't suit, [`crate::Error::Model`] where weights don't match.
pub fn agreement(bundle: &Bundle, path: &Path) -> Result<Agreement> {
    let Inputs { grid, values } = bundle.inputs(path)?;
    let (network, program) = (bundle.network_for(grid)?, bundle.program_for(grid)?);
    let windows = program.windows();
    let labels = |network: &Network, input: &Vec<f32>| float::run_in(network, windows, input).labels;
    let integers = |input: &[f32]| quantize_input(input, &program.tensors[program.input]);
    let folded = match bundle.norms().is_empty() {
        true => None,
        false => Some(bundle.folded_network_for(grid)?),
    };
    let differing = |a: &[u8], b: &[u8]| a.iter().zip(b).filter(|(a, b)| a != b).count();
    let (mut each, mut folding, mut overlap) = (Vec::with_capacity(values.len()), 0, Vec::new());
    for input in &values {
        let float = labels(&network, input);
        let integer = plain::run(&program, &integers(input), Rounding::Nearest).labels;
        each.push(differing(&float, &integer));
        folding += folded.as_ref().map_or(0, |folded| differing(&float, &labels(folded, input)));
        if !program.gives_class() {
            overlap = dice(&integer, &float, program.classes);
        }
    }
    let voxels = values.len() * if program.gives_class() { 1 } else { program.grid().iter().product() };
    let mut found = Agreement {
        volume: path.to_owned(),
        voxels,
        differing: each.iter().sum(),
        dice: overlap,
        folding: folded.map(|_| folding),
        cause: None,
    };
    if found.warning().is_some() {
        let worst = each.iter().enumerate().max_by_key(|(_, differing)| **differing).map_or(0, |(at, _)| at);
        found.cause = cause_in(bundle, path, worst)?;
    }
    Ok(found)
}

/// The layer that loses most in one pass: of an input, or of the window in the middle.
fn cause_in(bundle: &Bundle, path: &Path, worst: usize) -> Result<Option<Cause>> {
    let passes = bundle.passes(bundle.inputs(path)?)?;
    let at = if bundle.preparation.sliding().is_some() { passes.values.len() / 2 } else { worst };
    let lowered = bundle.lowered_for(passes.grid, bundle.norms(), Activations::Folded)?;
    let program = bundle.program_for(passes.grid)?;
    let input = &passes.values[at];
    let real = streams(&lowered, input);
    let integers = quantize_input(input, &program.tensors[program.input]);
    let (_, trace) = plain::run_with_trace(&program, &integers, Rounding::Nearest);
    Ok(cause(&lowered, &program, &channel_bits(&lowered, &bundle.quantization)?, &real, &trace))
}

/// The step whose output's relative error exceeds its inputs' most.
fn cause(
    lowered: &Lowered,
    program: &Program,
    bits: &[Vec<i32>],
    real: &[Vec<f32>],
    trace: &[Vec<i32>],
) -> Option<Cause> {
    // Mean squares of the error and of the values, a channel.
    let channels = |t: TensorId| -> Vec<(f64, f64)> {
        let info = &program.tensors[t];
        let each = real[t].chunks_exact(info.voxels()).zip(trace[t].chunks_exact(info.voxels())).enumerate();
        each.map(|(c, (real, integers))| {
            let unit = 2f64.powi(-info.scale_bits - bits[t].get(c).copied().unwrap_or(0));
            let squares = real.iter().zip(integers).map(|(&r, &i)| {
                let (r, i) = (f64::from(r), f64::from(i) * unit);
                ((r - i).powi(2), r.powi(2))
            });
            squares.fold((0.0, 0.0), |(error, size), (e, s)| (error + e, size + s))
        })
        .collect()
    };
    let relative = |(error, size): (f64, f64)| if size > 0.0 { error / size } else { 0.0 };
    // Channels count alike, whatever their size: the next layer may weigh a small one heavily.
    let of = |t: TensorId| {
        let all = channels(t);
        all.iter().map(|&c| relative(c)).sum::<f64>() / all.len() as f64
    };
    let errors: Vec<f64> = (0..lowered.streams.len()).map(of).collect();
    let added = |at: usize| {
        let inputs = program.steps[at].inputs().iter().map(|&t| errors[t]).fold(0.0, f64::max);
        errors[lowered.steps[at].output] - inputs
    };
    let step = (0..lowered.steps.len()).max_by(|&a, &b| added(a).total_cmp(&added(b)))?;
    let tensor = lowered.steps[step].output;
    let each: Vec<f64> = channels(tensor).into_iter().map(relative).collect();
    let channel = (0..each.len()).max_by(|&a, &b| each[a].total_cmp(&each[b]))?;
    Some(Cause {
        tensor: lowered.streams[tensor].name.clone(),
        error: errors[tensor].sqrt(),
        channel,
        channel_error: each[channel].sqrt(),
    })
}
