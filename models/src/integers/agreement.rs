//! How well the integer network follows the float network on a volume, and where it leaves it.

use std::path::{Path, PathBuf};

use super::equalise::channel_bits;
use super::lower::Lowered;
use super::program::{Program, TensorId};
use super::quantize::quantize_input;
use super::streams::streams;
use crate::error::Result;
use crate::format::bundle::Bundle;
use crate::plain::{self, Rounding, float};

/// More labels than one in so many must not change.
const ONE_IN: usize = 1000;

/// The labels of one volume in integers against those in real numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    /// The volume.
    pub volume: PathBuf,
    /// Voxels of the network's grid.
    pub voxels: usize,
    /// Labels that differ.
    pub differing: usize,
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
        let Self { volume, voxels, differing, cause } = self;
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
pub fn agreement(bundle: &Bundle, program: &Program, path: &Path) -> Result<Agreement> {
    let (network, inputs) = (bundle.network()?, bundle.inputs(path)?);
    let integers = |input: &[f32]| quantize_input(input, &program.tensors[program.input]);
    let differing = |input: &Vec<f32>| {
        let float = float::run(&network, input).labels;
        let integer = plain::run(program, &integers(input), Rounding::Nearest).labels;
        float.iter().zip(&integer).filter(|(a, b)| a != b).count()
    };
    let each: Vec<usize> = inputs.iter().map(differing).collect();
    let voxels = inputs.len() * program.tensors[program.logits].voxels();
    let mut found = Agreement { volume: path.to_owned(), voxels, differing: each.iter().sum(), cause: None };
    if found.warning().is_some()
        && let Some((_, input)) = each.iter().zip(&inputs).max_by_key(|(differing, _)| **differing)
    {
        let lowered = bundle.lowered()?;
        let real = streams(&lowered, input);
        let (_, trace) = plain::run_with_trace(program, &integers(input), Rounding::Nearest);
        found.cause = cause(&lowered, program, &channel_bits(&lowered, &bundle.quantization)?, &real, &trace);
    }
    Ok(found)
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
