//! Calibration: runs the network in real numbers on volumes, takes every tensor's range and chooses the scales.
//!
//! A tensor that is squared or compared gets the largest scale at which its range, doubled `spare_bits` times, fits the
//! width of that operation. Elsewhere the accumulator's 30 bits are shared between the tensor (scale e) and the weights
//! that read it (scale A - e): the weights come first, with all their bits, and the tensor gets the rest, up to
//! [`STREAM_BITS`], as far as the truncation between can go. More tensor bits at the cost of weight bits don't help:
//! the weights are the coarser of the two. All of that after the channels have been equalised (see `equalise`).

use std::path::PathBuf;

use super::agreement::{Agreement, agreement};
use super::calibration::{Calibration, Input, Level, Norms};
use super::equalise;
use super::lower::{Activations, Lowered, RealOp};
use super::pieces::Pieces;
use super::program::TensorId;
use super::quantize::{accumulator_scale, largest_scale, required_bits, weight_maxima, weight_scale};
use super::scales::{
    ACCUMULATOR_BITS, MAX_BITS, MAX_LINEAR_SHIFT, MAX_SCALE, MAX_SQUARE_SHIFT, Quantization, SQUARE_INPUT_BITS,
    STREAM_BITS, Scale,
};
use super::streams::streams;
use crate::error::{Error, Result};
use crate::format::bundle::Bundle;
use crate::format::graph::VERSION;
use crate::network::{Interpolation, Node, Op};
use crate::plain::float;
use crate::reading::printable;
use crate::windows::SCORE_BITS;

/// The fewest volumes whose statistics may stand for those of others.
const FEWEST_FOLDED: usize = 10;

/// Calibrates a bundle in place on volumes of its domain and compares the integer with the float network on each;
/// [`Bundle::save_model`] keeps the result, as version 2.
///
/// # Errors
/// [`Error::Input`] without volumes or for one that doesn't suit, [`Error::Model`] where weights don't match or a
/// tensor can't have its spare bits.
pub fn calibrate(bundle: &mut Bundle, volumes: &[PathBuf]) -> Result<Vec<Agreement>> {
    if bundle.preparation.sliding().is_some() {
        bundle.quantization.argmax_bits = bundle.quantization.argmax_bits.min(SCORE_BITS);
    }
    let norms = norms(bundle, volumes)?;
    let kind = if bundle.preparation.table.is_some() { Activations::Whole } else { Activations::Folded };
    let lowered = bundle.lowered_for(bundle.input_shape().dims, &norms, kind)?;
    let mut seen = survey(bundle, (&lowered, &norms), volumes)?;
    seen.calibration.norms = norms;
    let bits = equalise::choose(&lowered, &seen.maxima);
    let mut maxima: Vec<f64> = seen.maxima.iter().zip(&bits).map(|(maxima, bits)| largest(maxima, bits)).collect();
    if let Some([low, high]) = bundle.preparation.bounds() {
        // The bound holds for every volume.
        maxima[0] = f64::from(low.abs().max(high.abs()));
    }
    let clamped = bundle.preparation.bounds().is_some();
    let equalised = equalise::equalised(&lowered, &bits)?;
    bundle.quantization = choose(&equalised, &maxima, &bundle.quantization, clamped)?;
    for (stream, bits) in lowered.streams.iter().zip(equalise::own(&lowered, bits)) {
        if let Some(scale) = bundle.quantization.tensors.get_mut(&stream.name) {
            scale.channel_bits = bits;
        }
    }
    keep(bundle, seen.calibration, volumes)
}

/// Writes down what volumes look like, as [`calibrate`] does, and compares the networks on them, but keeps the scales.
///
/// # Errors
/// As [`calibrate`].
pub fn observe(bundle: &mut Bundle, volumes: &[PathBuf]) -> Result<Vec<Agreement>> {
    let norms = bundle.norms().clone();
    let lowered = bundle.lowered_for(bundle.input_shape().dims, &norms, Activations::Folded)?;
    let mut seen = survey(bundle, (&lowered, &norms), volumes)?;
    seen.calibration.norms = norms;
    keep(bundle, seen.calibration, volumes)
}

fn keep(bundle: &mut Bundle, calibration: Calibration, volumes: &[PathBuf]) -> Result<Vec<Agreement>> {
    bundle.calibration = Some(calibration);
    bundle.graph.version = VERSION;
    volumes.iter().map(|path| agreement(bundle, path)).collect()
}

/// Statistics before the instance normalisations that may be folded, as means over volumes of means and variances.
fn norms(bundle: &Bundle, volumes: &[PathBuf]) -> Result<Norms> {
    let network = bundle.network()?;
    let foldable = |n: &&Node| matches!(n.op, Op::InstanceNorm { fold: true, .. });
    let mut norms: Norms =
        network.nodes.iter().filter(foldable).map(|n| (n.name.clone(), vec![[0.0; 2]; n.shape.channels])).collect();
    if norms.is_empty() {
        return Ok(norms);
    }
    if volumes.len() < FEWEST_FOLDED {
        let found = volumes.len();
        return Err(Error::Input(format!(
            "calibration: found {found} volumes, expected at least {FEWEST_FOLDED} for a network whose instance \
             normalisations are folded"
        )));
    }
    let mut count = 0.0;
    for path in volumes {
        let inputs = bundle.inputs(path)?;
        let (network, passes) = (bundle.network_for(inputs.grid)?, bundle.passes(inputs)?);
        for input in &passes.values {
            count += 1.0;
            float::run_watched(&network, input, |at, input| {
                let Some(sums) = norms.get_mut(&network.nodes[at].name) else { return };
                let voxels = input.len() / sums.len();
                for (sum, values) in sums.iter_mut().zip(input.chunks_exact(voxels)) {
                    let moments = float::moments(values);
                    *sum = [0, 1].map(|i| sum[i] + moments[i]);
                }
            });
        }
    }
    norms.values_mut().flatten().flatten().for_each(|sum| *sum /= count);
    Ok(norms)
}

/// What the float network does on volumes, or rows of tables.
struct Survey {
    /// The largest |value| of each channel of each stream.
    maxima: Vec<Vec<f64>>,
    calibration: Calibration,
}

/// `lowered` is on the network's own grid.
fn survey(bundle: &Bundle, (lowered, norms): (&Lowered, &Norms), volumes: &[PathBuf]) -> Result<Survey> {
    let mut maxima: Vec<Vec<f64>> = lowered.streams.iter().map(|s| vec![0.0; s.channels]).collect();
    let mut squares = vec![0.0f64; lowered.streams.len()];
    let (mut inputs, mut count) = (Vec::new(), 0.0);
    for path in volumes {
        let whole = bundle.inputs(path)?;
        let passes = bundle.passes(whole.clone())?;
        let other = match passes.grid == lowered.streams[0].dims {
            true => None,
            false => Some(bundle.lowered_for(passes.grid, norms, Activations::Folded)?),
        };
        for input in &passes.values {
            widen(&mut maxima, &mut squares, &streams(other.as_ref().unwrap_or(lowered), input));
            count += 1.0;
        }
        inputs.push(whole);
        if let Some(at) = maxima.iter().position(|maxima| maxima.iter().any(|m| !m.is_finite())) {
            let (path, name) = (path.display(), &lowered.streams[at].name);
            return Err(Error::Input(format!("{path}: tensor {name:?} overflows f32: not of this model's domain")));
        }
    }
    let each = inputs.iter().flat_map(|i| i.values.iter().map(|v| (&v[..], i.grid)));
    let Some(input) = Input::of(each) else {
        return Err(Error::Input("calibration: found no volumes, expected at least one".into()));
    };
    let level = |t: TensorId| Level { rms: (squares[t] / count).sqrt(), max_abs: largest(&maxima[t], &[]) };
    let tensors = lowered.streams.iter().enumerate().map(|(t, s)| (s.name.clone(), level(t))).collect();
    let name = |p: &PathBuf| printable(&p.file_name().unwrap_or_default().to_string_lossy());
    let calibration = Calibration { volumes: volumes.iter().map(name).collect(), input, tensors, norms: Norms::new() };
    Ok(Survey { maxima, calibration })
}

/// Takes the streams of one more input into the largest |value| of each channel and the sums of mean squares.
fn widen(maxima: &mut [Vec<f64>], squares: &mut [f64], streams: &[Vec<f32>]) {
    for ((maxima, squares), values) in maxima.iter_mut().zip(squares).zip(streams) {
        let voxels = values.len() / maxima.len();
        for (max, values) in maxima.iter_mut().zip(values.chunks_exact(voxels)) {
            // `max` would pass over what is not a number.
            let all_finite = values.iter().all(|v| v.is_finite());
            let largest = values.iter().fold(0.0f32, |max, v| max.max(v.abs()));
            *max = if all_finite { max.max(f64::from(largest)) } else { f64::INFINITY };
        }
        *squares += values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len() as f64;
    }
}

/// The largest value of all channels, equalised.
fn largest(maxima: &[f64], bits: &[i32]) -> f64 {
    let each = maxima.iter().enumerate().map(|(c, m)| m * 2f64.powi(bits.get(c).copied().unwrap_or(0)));
    each.fold(0.0, f64::max)
}

/// Chooses every scale, in the order of the steps; [`Error::Model`] for a step whose scale would have to be larger than
/// any: its values are so small, mostly after squares of squares, that the integers could not hold them.
fn choose(lowered: &Lowered, maxima: &[f64], wanted: &Quantization, clamped: bool) -> Result<Quantization> {
    let spare = wanted.spare_bits as i32;
    let required = required_bits(lowered, wanted);
    let readers = readers(lowered);
    let fit = |t: TensorId, bits: u32, spare: i32| largest_scale(maxima[t], bits as i32 - 1 - spare);
    let pools = pools(lowered);
    // The largest scale for a tensor that linear steps read: its width, or less where the weights need the bits, or
    // where the sums of a pooling would have too many.
    let shared = |t: TensorId, spare: i32| {
        let widest = fit(t, STREAM_BITS, spare);
        let pools = pools[t].iter().map(|&(pooled, log2)| fit(pooled, MAX_BITS, spare) - log2 as i32);
        readers[t].iter().map(|r| best_scale(maxima, wanted, r)).chain(pools).fold(widest, i32::min)
    };
    let mut scales = vec![0; maxima.len()];
    // A clamped input can't exceed its range, so it needs no spare bits.
    let input_spare = if clamped { 0 } else { spare };
    scales[0] = shared(0, input_spare);
    for step in &lowered.steps {
        let t = step.output;
        let within = |least: i32, scale: i32, most: i32| match least {
            ..=MAX_SCALE => Ok(scale.clamp(least, most)),
            _ => Err(Error::Model(format!(
                "layer {:?}: its values vanish: at most {:.1e}, which would need a scale of {least} bits or more, \
                 expected at most {MAX_SCALE}",
                step.name, maxima[t]
            ))),
        };
        scales[t] = match &step.op {
            RealOp::Linear(linear) => {
                let accumulator = accumulator_scale(linear, lowered, wanted, maxima[t], |i| scales[i]);
                let scale = required[t].map_or_else(|| shared(t, spare), |bits| fit(t, bits, spare));
                let scale = within(accumulator - MAX_LINEAR_SHIFT as i32, scale, accumulator)?;
                let read = lowered.steps.iter().filter_map(|s| match &s.op {
                    RealOp::Pieces(input, real) if *input == t => Some(real),
                    _ => None,
                });
                read.fold(scale, |scale, real| {
                    Pieces::largest_scale(real, scale, 2f64.powi(ACCUMULATOR_BITS - accumulator))
                })
            }
            RealOp::Square(input) => {
                let widest = (2 * SQUARE_INPUT_BITS).min(STREAM_BITS + 2 * wanted.spare_bits);
                let exact = 2 * scales[*input];
                within(exact - MAX_SQUARE_SHIFT as i32, shared(t, spare).min(fit(t, widest, spare)), exact)?
            }
            RealOp::Relu(input)
            | RealOp::Pieces(input, _)
            | RealOp::MaxPool(input, _)
            | RealOp::MinPool(input, _)
            | RealOp::Flatten(input)
            | RealOp::Interleave(input, _)
            | RealOp::Resize(input, ..)
            | RealOp::AvgPool(input, _) => scales[*input] + step.op.more_bits() as i32,
        }
        .clamp(-MAX_SCALE, MAX_SCALE);
    }
    let entry = |t: TensorId| Scale { max_abs: maxima[t], scale_bits: scales[t], channel_bits: Vec::new() };
    let tensors = lowered.streams.iter().enumerate().map(|(t, s)| (s.name.clone(), entry(t))).collect();
    Ok(Quantization { tensors, ..wanted.clone() })
}

/// A linear step that reads a tensor, perhaps through average poolings, on a finer grid or flattened.
#[derive(Clone)]
struct Reader {
    /// What it writes.
    output: TensorId,
    /// The largest |weight| that meets the tensor.
    weight: f64,
    /// Bits that the sums between add to the scale.
    pooled: u32,
}

/// The readers of each stream.
fn readers(lowered: &Lowered) -> Vec<Vec<Reader>> {
    let mut found: Vec<Vec<Reader>> = vec![Vec::new(); lowered.streams.len()];
    for step in lowered.steps.iter().rev() {
        match &step.op {
            RealOp::Linear(linear) => {
                for (&t, weight) in linear.inputs.iter().zip(weight_maxima(linear, lowered)) {
                    found[t].push(Reader { output: step.output, weight, pooled: 0 });
                }
            }
            RealOp::Flatten(input)
            | RealOp::Interleave(input, _)
            | RealOp::Resize(input, ..)
            | RealOp::AvgPool(input, _) => {
                let through = found[step.output].clone().into_iter();
                found[*input].extend(through.map(|r| Reader { pooled: r.pooled + step.op.more_bits(), ..r }));
            }
            _ => {}
        }
    }
    found
}

/// The average poolings and linear resizes that read each stream: what they write, and the bits that they add to the scale.
fn pools(lowered: &Lowered) -> Vec<Vec<(TensorId, u32)>> {
    let mut found = vec![Vec::new(); lowered.streams.len()];
    for step in &lowered.steps {
        if let RealOp::AvgPool(input, _) | RealOp::Resize(input, _, Interpolation::Linear) = step.op {
            found[input].push((step.output, step.op.more_bits()));
        }
    }
    found
}

/// The scale, before the poolings, that leaves the reader's weights all their bits.
fn best_scale(maxima: &[f64], wanted: &Quantization, reader: &Reader) -> i32 {
    let weights = weight_scale(reader.weight, wanted.weight_bits);
    let accumulator = largest_scale(maxima[reader.output], ACCUMULATOR_BITS - wanted.spare_bits as i32);
    accumulator - weights - reader.pooled as i32
}
