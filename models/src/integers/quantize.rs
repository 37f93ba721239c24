//! From real numbers to integers: builds the [`Program`] from a lowered network and its scales.
//!
//! A tensor with scale e holds round(x · 2^e), x after the equalisation of its channels (see `equalise`). A linear
//! step's accumulator has scale A, so the weights that read a tensor of scale e have scale A - e: parts of different
//! scales meet in one accumulator. A is the largest for which the calibrated output keeps the wanted spare bits below
//! 2^30 and every weight fits its width. The truncation takes A - e' bits off, where e' is the output's scale.

use super::equalise::{channel_bits, equalised};
use super::lower::{Lowered, RealLinear, RealOp, RealStep, Stream};
use super::pieces::Pieces;
use super::program::{Linear, MIN_SPARE_BITS, Program, Step, TensorId, TensorInfo};
use super::scales::{
    ACCUMULATOR_BITS, MAX_BITS, MAX_LINEAR_SHIFT, MAX_SCALE, MAX_SQUARE_SHIFT, Quantization, SQUARE_INPUT_BITS,
    STREAM_BITS, Scale,
};
use crate::error::{Error, Result};
use crate::network::Interpolation;

/// The largest sum of |weight| of an output channel: times 2^(MAX_BITS-1) it stays below 2^53.
const MAX_WEIGHT_SUM: u64 = 1 << 26;

/// The most bits that are taken off an accumulator on the way into a polynomial: beyond 16 a square mod 2^32 of what
/// wraps would not vanish.
const MAX_SQUARED_SHIFT: u32 = 16;

/// The largest scale at which `max_abs` stays below 2^bits.
pub(crate) fn largest_scale(max_abs: f64, bits: i32) -> i32 {
    // Dead tensors get the range of a tiny one.
    let scale = f64::from(bits) - max_abs.max(2f64.powi(-20)).log2();
    ((scale.ceil() as i32) - 1).clamp(-MAX_SCALE, MAX_SCALE)
}

/// The largest scale at which weights up to `max_abs` fit a signed width.
pub(crate) fn weight_scale(max_abs: f64, weight_bits: u32) -> i32 {
    // A weight is rounded to nearest and must stay at or under 2^(bits-1) - 1.
    let top = 2f64.powi(weight_bits as i32 - 1) - 0.51;
    (top / max_abs.max(2f64.powi(-30))).log2().floor() as i32
}

/// The largest |weight| of each input part of a linear step.
pub(crate) fn weight_maxima(linear: &RealLinear, lowered: &Lowered) -> Vec<f64> {
    let taps = linear.kind.volume();
    let mut first = 0;
    let part = |&stream: &TensorId| {
        let width = lowered.streams[stream].channels * taps;
        let rows = linear.weights.chunks_exact(linear.in_channels * taps);
        let values = rows.flat_map(|row| &row[first..first + width]);
        let max = values.fold(0.0f32, |max, w| max.max(w.abs()));
        first += width;
        f64::from(max)
    };
    linear.inputs.iter().map(part).collect()
}

/// The scale of a linear step's accumulator, from its output's calibrated maximum and its inputs' scales.
pub(crate) fn accumulator_scale(
    linear: &RealLinear,
    lowered: &Lowered,
    quantization: &Quantization,
    output_max: f64,
    scale_of: impl Fn(TensorId) -> i32,
) -> i32 {
    let spare = quantization.spare_bits as i32;
    let limit = largest_scale(output_max, ACCUMULATOR_BITS - spare);
    let maxima = weight_maxima(linear, lowered);
    let parts = linear.inputs.iter().zip(maxima);
    parts.map(|(&t, max)| scale_of(t) + weight_scale(max, quantization.weight_bits)).fold(limit, i32::min)
}

/// The widths that the readers of each stream ask for; `None` where only linear steps and poolings read it.
pub(crate) fn required_bits(lowered: &Lowered, quantization: &Quantization) -> Vec<Option<u32>> {
    let mut bits: Vec<Option<u32>> = vec![None; lowered.streams.len()];
    let narrow = |slot: &mut Option<u32>, to: u32| *slot = Some(slot.map_or(to, |b| b.min(to)));
    narrow(&mut bits[lowered.logits], quantization.argmax_bits);
    for step in lowered.steps.iter().rev() {
        match step.op {
            RealOp::Square(input) => narrow(&mut bits[input], SQUARE_INPUT_BITS),
            RealOp::Relu(input) | RealOp::MaxPool(input, _) | RealOp::MinPool(input, _) => {
                let to = bits[step.output].unwrap_or(STREAM_BITS).min(quantization.relu_bits);
                narrow(&mut bits[input], to);
            }
            RealOp::Flatten(input)
            | RealOp::Interleave(input, _)
            | RealOp::Resize(input, _, Interpolation::Nearest) => {
                bits[step.output].into_iter().for_each(|to| narrow(&mut bits[input], to));
            }
            RealOp::Linear(_) | RealOp::AvgPool(..) | RealOp::Resize(..) | RealOp::Pieces(..) => {}
        }
    }
    bits
}

/// Real values as integers of the input tensor: round(x · 2^scale_bits), saturated to its range.
pub fn quantize_input(values: &[f32], tensor: &TensorInfo) -> Vec<i32> {
    let gain = 2f64.powi(tensor.scale_bits);
    let top = (tensor.limit() - 1) as f64;
    values.iter().map(|&v| (f64::from(v) * gain).round().clamp(-top, top) as i32).collect()
}

/// Builds the integer program; `clamped` says that the input can't exceed its `max_abs`.
///
/// # Errors
/// [`Error::Model`] that names the layer: a tensor without a scale, a scale that the step can't produce, or too few
/// spare bits (what it has and what it needs).
pub(crate) fn quantize(lowered: &Lowered, quantization: &Quantization, clamped: bool) -> Result<Program> {
    let lowered = &*equalised(lowered, &channel_bits(lowered, quantization)?)?;
    let scales: Vec<&Scale> = lowered
        .streams
        .iter()
        .map(|stream| {
            let missing = || {
                Error::Model(format!(
                    "tensor {:?}: quantization.tensors: found no scale, expected one (run `blindvox calibrate`)",
                    stream.name
                ))
            };
            quantization.tensors.get(&stream.name).ok_or_else(missing)
        })
        .collect::<Result<_>>()?;
    let required = required_bits(lowered, quantization);
    let mut builder = Builder { lowered, quantization, scales, required, tensors: Vec::new() };
    builder.tensors.push(builder.tensor(0, STREAM_BITS, !clamped)?);
    let mut steps = Vec::with_capacity(lowered.steps.len() + 1);
    for step in &lowered.steps {
        let step = builder.step(&step.name, &step.op, step.output)?;
        steps.push(step);
    }
    let Builder { tensors, .. } = builder;
    let logits = &tensors[lowered.logits];
    steps.push(Step::Argmax { name: lowered.argmax.clone(), input: lowered.logits, bits: logits.bits });
    let classes = logits.channels;
    Ok(Program { tensors, steps, input: 0, logits: lowered.logits, classes })
}

struct Builder<'a> {
    lowered: &'a Lowered,
    quantization: &'a Quantization,
    scales: Vec<&'a Scale>,
    required: Vec<Option<u32>>,
    /// Built so far; streams are numbered in the order of the steps.
    tensors: Vec<TensorInfo>,
}

impl Builder<'_> {
    /// A tensor of at most `bits` and of what its readers take; `checked` demands spare bits.
    fn tensor(&self, id: TensorId, bits: u32, checked: bool) -> Result<TensorInfo> {
        let (stream, &Scale { max_abs, scale_bits, .. }) = (&self.lowered.streams[id], self.scales[id]);
        let bits = self.required[id].unwrap_or(bits).min(bits).min(MAX_BITS);
        let spare_bits = largest_scale(max_abs, bits as i32 - 1) - scale_bits;
        let needed = if checked { MIN_SPARE_BITS } else { 0 };
        if spare_bits < needed {
            return Err(Error::Model(format!(
                "layer {:?}: has {spare_bits} spare bits ({max_abs} at scale {scale_bits} in {bits} bits), needs {needed}",
                stream.name
            )));
        }
        let max_abs = (max_abs * 2f64.powi(scale_bits)).ceil() as i64;
        let Stream { name, channels, dims } = stream.clone();
        Ok(TensorInfo { name, channels, dims, scale_bits, max_abs, spare_bits, bits })
    }

    /// `from - to` as a number of bits to take off, at most `most`.
    fn shift(name: &str, from: i32, to: i32, most: u32) -> Result<u32> {
        let shift = u32::try_from(from - to).ok().filter(|&s| s <= most);
        shift.ok_or_else(|| {
            let least = from - most as i32;
            Error::Model(format!("layer {name:?}: scale_bits: found {to}, expected {least} to {from}"))
        })
    }

    fn step(&mut self, name: &str, op: &RealOp, output: TensorId) -> Result<Step> {
        let name = name.to_owned();
        let scale = self.scales[output].scale_bits;
        let (step, bits) = match *op {
            RealOp::Linear(ref linear) => {
                let linear = self.linear(&name, linear, output)?;
                let bits = ACCUMULATOR_BITS as u32 + 1 - linear.shift;
                (Step::Linear(linear), bits)
            }
            RealOp::Square(input) => {
                let shift = Self::shift(&name, 2 * self.tensors[input].scale_bits, scale, MAX_SQUARE_SHIFT)?;
                (Step::Square { name, input, output, shift }, 2 * SQUARE_INPUT_BITS - 1 - shift)
            }
            RealOp::Relu(input) => {
                let bits = self.same_scale(&name, input, output, 0)?;
                (Step::Relu { name, input, output, bits }, bits)
            }
            RealOp::MaxPool(input, window) => {
                let bits = self.same_scale(&name, input, output, 0)?;
                (Step::MaxPool { name, input, output, window, bits }, bits)
            }
            RealOp::MinPool(input, window) => {
                let bits = self.same_scale(&name, input, output, 0)?;
                (Step::MinPool { name, input, output, window }, bits)
            }
            RealOp::Pieces(input, ref real) => {
                let bits = self.same_scale(&name, input, output, 0)?;
                let info = &self.tensors[input];
                let pieces = Pieces::new(&name, real, info.scale_bits, info.limit())?;
                (
                    Step::Activation { name, input, output, pieces },
                    bits.max(info.scale_bits.max(0) as u32 + 5).min(MAX_BITS),
                )
            }
            RealOp::AvgPool(input, window) => {
                let volume = window.iter().product::<usize>();
                let bits = self.same_scale(&name, input, output, op.more_bits())?;
                let bits = bits + volume.next_power_of_two().ilog2();
                (Step::AvgPool { name, input, output, window }, bits)
            }
            RealOp::Flatten(input) => {
                let bits = self.same_scale(&name, input, output, 0)?;
                (Step::Flatten { name, input, output }, bits)
            }
            RealOp::Interleave(input, factor) => {
                let bits = self.same_scale(&name, input, output, 0)?;
                (Step::Interleave { name, input, output, factor }, bits)
            }
            RealOp::Resize(input, factor, mode) => {
                let more = op.more_bits();
                let bits = self.same_scale(&name, input, output, more)? + more;
                (Step::Resize { name, input, output, factor, mode }, bits)
            }
        };
        self.tensors.push(self.tensor(output, bits, true)?);
        Ok(step)
    }

    /// The input's bits, once the output's scale is known to be `more` than the input's.
    fn same_scale(&self, name: &str, input: TensorId, output: TensorId, more: u32) -> Result<u32> {
        let expected = self.tensors[input].scale_bits + more as i32;
        let found = self.scales[output].scale_bits;
        if found != expected {
            return Err(Error::Model(format!("layer {name:?}: scale_bits: found {found}, expected {expected}")));
        }
        Ok(self.tensors[input].bits)
    }

    fn linear(&self, name: &str, linear: &RealLinear, output: TensorId) -> Result<Linear> {
        let &Scale { max_abs, scale_bits, .. } = self.scales[output];
        let scale_of = |t: TensorId| self.tensors[t].scale_bits;
        let scale = accumulator_scale(linear, self.lowered, self.quantization, max_abs, scale_of);
        let in_pieces = |s: &RealStep| matches!(s.op, RealOp::Pieces(input, _) if input == output);
        let most = if self.lowered.steps.iter().any(in_pieces) { MAX_SQUARED_SHIFT } else { MAX_LINEAR_SHIFT };
        let scale = if most < MAX_LINEAR_SHIFT { scale.min(scale_bits + most as i32) } else { scale };
        let shift = Self::shift(name, scale, scale_bits, most)?;
        let top = 2f64.powi(self.quantization.weight_bits as i32 - 1) - 1.0;
        let taps = linear.kind.volume();
        let mut gains = Vec::with_capacity(linear.in_channels * taps);
        for &t in &linear.inputs {
            let gain = 2f64.powi(scale - scale_of(t));
            gains.extend(std::iter::repeat_n(gain, self.tensors[t].channels * taps));
        }
        let quantized = |(&w, &gain): (&f32, &f64)| (f64::from(w) * gain).round().clamp(-top, top) as i32;
        let rows = linear.weights.chunks_exact(gains.len());
        let weights: Vec<i32> = rows.flat_map(|row| row.iter().zip(&gains).map(quantized)).collect();
        let sum = |row: &[i32]| row.iter().map(|w| u64::from(w.unsigned_abs())).sum::<u64>();
        let largest = weights.chunks_exact(gains.len()).map(sum).max().unwrap_or(0);
        if largest >= MAX_WEIGHT_SUM {
            let found = format!("a sum of integer weights of {largest}, expected less than {MAX_WEIGHT_SUM}");
            return Err(Error::Model(format!("layer {name:?}: weight: found {found}")));
        }
        let offset = |value: f64| {
            let integer = (value * 2f64.powi(scale)).round();
            let fits = integer.abs() < 2f64.powi(ACCUMULATOR_BITS);
            fits.then_some(integer as i32).ok_or_else(|| {
                Error::Model(format!(
                    "layer {name:?}: bias: found {value}, expected less than 2^{}",
                    ACCUMULATOR_BITS - scale
                ))
            })
        };
        let bias = linear.bias.iter().map(|&b| offset(b)).collect::<Result<_>>()?;
        let map = |map: &Vec<f32>| map.iter().map(|&b| offset(f64::from(b))).collect::<Result<Vec<_>>>();
        Ok(Linear {
            name: name.to_owned(),
            kind: linear.kind,
            inputs: linear.inputs.clone(),
            in_channels: linear.in_channels,
            out_channels: linear.out_channels,
            weights,
            weight_bits: self.quantization.weight_bits,
            bias,
            bias_map: linear.bias_map.as_ref().map(map).transpose()?,
            shift,
            output,
        })
    }
}
