//! Calibration: runs the network in real numbers on volumes, takes every tensor's range and chooses the scales.
//!
//! A tensor that is squared or compared gets the largest scale at which its range, doubled `spare_bits` times, fits the
//! width of that operation. Elsewhere the accumulator's 30 bits are shared between the tensor (scale e) and the weights
//! that read it (scale A - e): the weights come first, with all their bits, and the tensor gets the rest, up to
//! [`STREAM_BITS`], as far as the truncation between can go. More tensor bits at the cost of weight bits don't help: the weights are the coarser of the two.

use std::path::PathBuf;

use super::bundle::Bundle;
use super::kernels::{self, Padded};
use super::lower::{Lowered, RealLinear, RealOp};
use super::program::{LinearKind, TensorId};
use super::quantize::{
    ACCUMULATOR_BITS, MAX_LINEAR_SHIFT, MAX_SCALE, MAX_SQUARE_SHIFT, Quantization, SQUARE_INPUT_BITS, STREAM_BITS,
    Scale, accumulator_scale, largest_scale, required_bits, weight_maxima, weight_scale,
};
use crate::error::{Error, Result};
use crate::volume::Volume;

/// Calibrates a bundle in place on volumes of its domain; [`Bundle::save_model`] keeps the result.
///
/// # Errors
/// [`Error::Input`] without volumes or for one that doesn't suit, [`Error::Model`] where weights don't match or a tensor
/// can't have its spare bits.
pub fn calibrate(bundle: &mut Bundle, volumes: &[PathBuf]) -> Result<()> {
    if volumes.is_empty() {
        return Err(Error::Input("calibration: found no volumes, expected at least one".into()));
    }
    let lowered = bundle.lowered()?;
    let mut maxima = vec![0.0f64; lowered.streams.len()];
    for path in volumes {
        let volume = Volume::load(path)?;
        let (input, _) = bundle.preparation.prepare(&volume, bundle.input_shape().dims, path)?;
        let values = run(&lowered, &input);
        for (max, values) in maxima.iter_mut().zip(&values) {
            *max = values.iter().fold(*max, |max, v| max.max(f64::from(v.abs())));
        }
        if let Some(at) = maxima.iter().position(|max| !max.is_finite()) {
            let (path, name) = (path.display(), &lowered.streams[at].name);
            return Err(Error::Input(format!(
                "{path}: tensor {name:?} overflows f32: not a volume of this model's domain"
            )));
        }
    }
    if let Some([low, high]) = bundle.preparation.clamp {
        // The bound holds for every volume.
        maxima[0] = f64::from(low.abs().max(high.abs()));
    }
    let clamped = bundle.preparation.clamp.is_some();
    bundle.quantization = choose(&lowered, &maxima, &bundle.quantization, clamped);
    bundle.program().map(drop)
}

/// All streams of the lowered network in f32.
fn run(lowered: &Lowered, input: &[f32]) -> Vec<Vec<f32>> {
    let mut values = vec![input.to_vec()];
    for step in &lowered.steps {
        let dims = |t: TensorId| lowered.streams[t].dims;
        let value = match &step.op {
            RealOp::Linear(linear) => linear_step(lowered, linear, &values),
            RealOp::Square(t) => values[*t].iter().map(|x| x * x).collect(),
            RealOp::Relu(t) => values[*t].iter().map(|x| x.max(0.0)).collect(),
            RealOp::MaxPool(t, window) => kernels::pool(&values[*t], dims(*t), *window, f32::NEG_INFINITY, f32::max),
            RealOp::AvgPool(t, window) => {
                let share = 1.0 / window.iter().product::<usize>() as f32;
                let sums = kernels::pool(&values[*t], dims(*t), *window, 0.0, |a, b| a + b);
                sums.into_iter().map(|v| v * share).collect()
            }
        };
        values.push(value);
    }
    values
}

fn linear_step(lowered: &Lowered, linear: &RealLinear, values: &[Vec<f32>]) -> Vec<f32> {
    let parts: Vec<&[f32]> = linear.inputs.iter().map(|&t| &values[t][..]).collect();
    let dims = lowered.streams[linear.inputs[0]].dims;
    let mut out = match linear.kind {
        LinearKind::Conv { kernel } => {
            kernels::conv(&Padded::new(&parts, dims, kernel, |v| v), &linear.weights, kernel)
        }
        LinearKind::Transposed2 { factor } => {
            kernels::transposed(&Padded::new(&parts, dims, [1, 1, 1], |v| v), &linear.weights, factor)
        }
    };
    let voxels = out.len() / linear.out_channels;
    for (xs, &b) in out.chunks_exact_mut(voxels).zip(&linear.bias) {
        xs.iter_mut().for_each(|x| *x += b as f32);
    }
    if let Some(map) = &linear.bias_map {
        out.iter_mut().zip(map).for_each(|(x, b)| *x += b);
    }
    out
}

/// Chooses every scale, in the order of the steps.
fn choose(lowered: &Lowered, maxima: &[f64], wanted: &Quantization, clamped: bool) -> Quantization {
    let spare = wanted.spare_bits as i32;
    let required = required_bits(lowered, wanted);
    let fit = |t: TensorId, bits: u32, spare: i32| largest_scale(maxima[t], bits as i32 - 1 - spare);
    // The largest scale for a tensor that linear steps read: its width, or less where the weights need the bits.
    let shared = |t: TensorId, spare: i32| {
        let widest = fit(t, STREAM_BITS, spare);
        readers(lowered, t, 0).iter().map(|r| best_scale(lowered, maxima, wanted, r)).fold(widest, i32::min)
    };
    let mut scales = vec![0; maxima.len()];
    // A clamped input can't exceed its range, so it needs no spare bits.
    let input_spare = if clamped { 0 } else { spare };
    scales[0] = shared(0, input_spare);
    for step in &lowered.steps {
        let t = step.output;
        scales[t] = match &step.op {
            RealOp::Linear(linear) => {
                let accumulator = accumulator_scale(linear, lowered, wanted, maxima[t], |i| scales[i]);
                let scale = required[t].map_or_else(|| shared(t, spare), |bits| fit(t, bits, spare));
                scale.clamp(accumulator - MAX_LINEAR_SHIFT as i32, accumulator)
            }
            RealOp::Square(input) => {
                let widest = (2 * SQUARE_INPUT_BITS).min(STREAM_BITS + 2 * wanted.spare_bits);
                let exact = 2 * scales[*input];
                shared(t, spare).min(fit(t, widest, spare)).clamp(exact - MAX_SQUARE_SHIFT as i32, exact)
            }
            RealOp::Relu(input) | RealOp::MaxPool(input, _) => scales[*input],
            RealOp::AvgPool(input, window) => scales[*input] + window.iter().product::<usize>().ilog2() as i32,
        }
        .clamp(-MAX_SCALE, MAX_SCALE);
    }
    let entry = |t: TensorId| Scale { max_abs: maxima[t], scale_bits: scales[t] };
    let tensors = lowered.streams.iter().enumerate().map(|(t, s)| (s.name.clone(), entry(t))).collect();
    Quantization { tensors, ..wanted.clone() }
}

/// A linear step that reads a tensor, perhaps through average poolings.
struct Reader<'a> {
    linear: &'a RealLinear,
    output: TensorId,
    /// What it reads.
    tensor: TensorId,
    /// Bits that the poolings between add to the scale.
    pooled: u32,
}

fn readers(lowered: &Lowered, tensor: TensorId, pooled: u32) -> Vec<Reader<'_>> {
    let mut found = Vec::new();
    for step in &lowered.steps {
        match &step.op {
            RealOp::Linear(linear) if linear.inputs.contains(&tensor) => {
                found.push(Reader { linear, output: step.output, tensor, pooled });
            }
            RealOp::AvgPool(input, window) if *input == tensor => {
                let log2 = window.iter().product::<usize>().ilog2();
                found.extend(readers(lowered, step.output, pooled + log2));
            }
            _ => {}
        }
    }
    found
}

/// The scale, before the poolings, that leaves the reader's weights all their bits.
fn best_scale(lowered: &Lowered, maxima: &[f64], wanted: &Quantization, reader: &Reader) -> i32 {
    let at = reader.linear.inputs.iter().position(|&t| t == reader.tensor).expect("it reads the tensor");
    let weights = weight_scale(weight_maxima(reader.linear, lowered)[at], wanted.weight_bits);
    let spare = wanted.spare_bits as i32;
    let accumulator = largest_scale(maxima[reader.output], ACCUMULATOR_BITS - spare);
    accumulator - weights - reader.pooled as i32
}
