//! Channels of one tensor share a scale, so a channel whose values are 1000 times smaller than its neighbours' would
//! have 10 bits less. But the float network has a freedom that leaves it as it is: a linear step's output channel may
//! be multiplied by a positive factor g, if what reads it is divided by g: ReLU, max and average pooling hand g on, a
//! square hands on g^2, and the next linear step's columns absorb it. With powers of two that is exact in floating
//! point, and each channel has a scale of its own although the protocol truncates all by the same number of bits.
//!
//! A channel with `b` channel bits holds real · 2^b. The scores keep b = 0: they are compared with one another.
//!
//! The bits are chosen as in data-free quantisation (Nagel et al., ICCV 2019): so that a channel's row in the layer
//! that writes it and its column in the layers that read it are equally large compared with their neighbours'. The
//! range that the channel reached counts as a row, for the tensor has to hold it.

use std::borrow::Cow;

use super::lower::{Lowered, RealLinear, RealOp};
use super::program::TensorId;
use super::scales::Quantization;
use crate::error::{Error, Result};

/// Channel bits lie in `0..=MAX_CHANNEL_BITS`.
pub(crate) const MAX_CHANNEL_BITS: i32 = 24;
/// Layers are balanced against their neighbours so many times.
const SWEEPS: usize = 6;

/// Whether channel bits are possible: the stream is written by a linear step and doesn't lead to the scores but through
/// another linear step.
fn free(lowered: &Lowered) -> Vec<bool> {
    let mut fixed = vec![false; lowered.streams.len()];
    fixed[lowered.logits] = true;
    for step in lowered.steps.iter().rev().filter(|s| !matches!(s.op, RealOp::Linear(_))) {
        // The phases of a channel share what the channel has; thresholds are the same for all channels.
        if let RealOp::Interleave(input, _) | RealOp::Pieces(input, _) = step.op {
            fixed[input] = true;
        }
        if let (true, Some(input)) = (fixed[step.output], handed_on(&step.op)) {
            fixed[input.0] = true;
        }
    }
    let mut free = vec![false; lowered.streams.len()];
    for step in lowered.steps.iter().filter(|s| matches!(s.op, RealOp::Linear(_))) {
        free[step.output] = !fixed[step.output];
    }
    free
}

/// The stream whose channel bits a step hands on, and how often it multiplies them.
fn handed_on(op: &RealOp) -> Option<(TensorId, i32)> {
    match *op {
        RealOp::Linear(_) | RealOp::Interleave(..) | RealOp::Pieces(..) => None,
        RealOp::Square(input) => Some((input, 2)),
        RealOp::Relu(input)
        | RealOp::MaxPool(input, _)
        | RealOp::MinPool(input, _)
        | RealOp::AvgPool(input, _)
        | RealOp::Flatten(input)
        | RealOp::Resize(input, ..) => Some((input, 1)),
    }
}

/// How many channels of `output` are made of each one of `input`: one, but where a tensor is flattened.
fn spread(lowered: &Lowered, input: TensorId, output: TensorId) -> usize {
    lowered.streams[output].channels / lowered.streams[input].channels
}

/// The values of `input`'s channels for those of `output`, which a step makes of them.
fn spread_out<T: Copy>(lowered: &Lowered, input: TensorId, output: TensorId, values: &[T]) -> Vec<T> {
    let times = spread(lowered, input, output);
    values.iter().flat_map(|&v| std::iter::repeat_n(v, times)).collect()
}

/// The channel bits of every stream from those of linear steps; an empty list stands for zeros.
fn propagate(lowered: &Lowered, mut bits: Vec<Vec<i32>>) -> Vec<Vec<i32>> {
    for step in &lowered.steps {
        if let Some((input, times)) = handed_on(&step.op) {
            let handed: Vec<i32> = bits[input].iter().map(|b| b * times).collect();
            bits[step.output] = spread_out(lowered, input, step.output, &handed);
        }
    }
    bits
}

/// The channel bits of every stream, as the bundle has them.
///
/// # Errors
/// [`Error::Model`] that names the layer: bits where none are possible, too many or too few of them, or out of range.
pub(crate) fn channel_bits(lowered: &Lowered, quantization: &Quantization) -> Result<Vec<Vec<i32>>> {
    let free = free(lowered);
    let of = |t: TensorId| {
        let stream = &lowered.streams[t];
        let bits = quantization.tensors.get(&stream.name).map_or(&[][..], |s| &s.channel_bits);
        let wrong = |found: String, expected: String| {
            let name = &stream.name;
            Err(Error::Model(format!("layer {name:?}: channel_bits: found {found}, expected {expected}")))
        };
        if !bits.is_empty() && !free[t] {
            return wrong(format!("{} of them", bits.len()), "none: its channels share a scale".to_owned());
        }
        if !bits.is_empty() && bits.len() != stream.channels {
            return wrong(format!("{} of them", bits.len()), format!("one for each of {} channels", stream.channels));
        }
        match bits.iter().find(|b| !(0..=MAX_CHANNEL_BITS).contains(*b)) {
            Some(b) => wrong(b.to_string(), format!("0 to {MAX_CHANNEL_BITS}")),
            None => Ok(bits.to_vec()),
        }
    };
    let own = (0..lowered.streams.len()).map(of).collect::<Result<_>>()?;
    Ok(propagate(lowered, own))
}

/// The channel bits that are kept in a bundle: those of linear steps, from which the others follow.
pub(crate) fn own(lowered: &Lowered, mut bits: Vec<Vec<i32>>) -> Vec<Vec<i32>> {
    for step in lowered.steps.iter().filter(|s| handed_on(&s.op).is_some()) {
        bits[step.output] = Vec::new();
    }
    bits
}

/// 2^bits of channel `c` of a stream.
fn gain(bits: &[i32], c: usize) -> f64 {
    bits.get(c).map_or(1.0, |&b| 2f64.powi(b))
}

/// The same network with every stream's channels multiplied by 2^bits.
///
/// # Errors
/// [`Error::Model`] that names the layer if a weight or a bias leaves the range of f32.
pub(crate) fn equalised<'a>(lowered: &'a Lowered, bits: &[Vec<i32>]) -> Result<Cow<'a, Lowered>> {
    if bits.iter().all(Vec::is_empty) {
        return Ok(Cow::Borrowed(lowered));
    }
    let mut lowered = lowered.clone();
    for step in &mut lowered.steps {
        let RealOp::Linear(linear) = &mut step.op else { continue };
        let columns: Vec<f64> = linear
            .inputs
            .iter()
            .flat_map(|&t| (0..lowered.streams[t].channels).map(move |c| 1.0 / gain(&bits[t], c)))
            .collect();
        let taps = linear.kind.volume();
        let rows = linear.weights.chunks_exact_mut(columns.len() * taps);
        for (o, row) in rows.enumerate() {
            let gain = gain(&bits[step.output], o);
            for (block, column) in row.chunks_exact_mut(taps).zip(&columns) {
                block.iter_mut().for_each(|w| *w = (f64::from(*w) * gain * column) as f32);
            }
            linear.bias[o] *= gain;
        }
        if let Some(map) = &mut linear.bias_map {
            let voxels = map.len() / linear.out_channels;
            for (o, values) in map.chunks_exact_mut(voxels).enumerate() {
                let gain = gain(&bits[step.output], o);
                values.iter_mut().for_each(|v| *v = (f64::from(*v) * gain) as f32);
            }
        }
        let map = linear.bias_map.iter().flatten();
        if !linear.weights.iter().chain(map).all(|v| v.is_finite()) {
            return Err(Error::Model(format!("layer {:?}: channel_bits: a weight leaves the range of f32", step.name)));
        }
    }
    Ok(Cow::Owned(lowered))
}

/// Channel bits for every stream from the largest |value| of each of its channels.
pub(crate) fn choose(lowered: &Lowered, maxima: &[Vec<f64>]) -> Vec<Vec<i32>> {
    let free = free(lowered);
    let layers: Vec<Option<Magnitudes>> = lowered.steps.iter().map(|s| Magnitudes::of(lowered, &s.op)).collect();
    // In log2, not rounded yet.
    let mut gains: Vec<Vec<f64>> = lowered.streams.iter().map(|s| vec![0.0; s.channels]).collect();
    let consumers = consumers(lowered);
    for _ in 0..SWEEPS {
        for (at, step) in lowered.steps.iter().enumerate() {
            let t = step.output;
            if let Some((input, times)) = handed_on(&step.op) {
                let handed: Vec<f64> = gains[input].iter().map(|g| g * f64::from(times)).collect();
                gains[t] = spread_out(lowered, input, t, &handed);
            }
            let Some(layer) = layers[at].as_ref().filter(|_| free[t]) else { continue };
            let columns = consumers[t].iter().map(|&Consumer { reader, first, times, spread }| {
                let columns = layers[reader].as_ref().expect("a linear step").columns(lowered, reader, &gains);
                let own = &columns[first..first + lowered.streams[t].channels * spread];
                (own.chunks_exact(spread).map(|c| c.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect(), times)
            });
            let rows = layer.rows(lowered, at, &gains);
            let ranges: Vec<f64> = maxima[t].iter().map(|m| m.log2()).collect();
            gains[t] = balance(&rows, &ranges, &columns.collect::<Vec<(Vec<f64>, i32)>>());
        }
    }
    let rounded = |t: TensorId| if free[t] { whole(&gains[t]) } else { Vec::new() };
    propagate(lowered, (0..lowered.streams.len()).map(rounded).collect())
}

/// log2 of each channel's gain, before any offset that all channels share; `columns` has for each reader the columns'
/// sizes and how often it multiplies the gain.
fn balance(rows: &[f64], ranges: &[f64], columns: &[(Vec<f64>, i32)]) -> Vec<f64> {
    let all = |c: usize| rows[c].is_finite() && ranges[c].is_finite() && columns.iter().all(|k| k.0[c].is_finite());
    let known: Vec<usize> = (0..rows.len()).filter(|&c| all(c)).collect();
    if known.is_empty() || columns.is_empty() {
        return vec![0.0; rows.len()];
    }
    let mean = |values: &[f64]| known.iter().map(|&c| values[c]).sum::<f64>() / known.len() as f64;
    let (row_mean, range_mean) = (mean(rows), mean(ranges));
    let means: Vec<f64> = columns.iter().map(|(values, _)| mean(values)).collect();
    // Zeros are minus infinity here.
    let size = |c: usize| (rows[c] - row_mean).max(ranges[c] - range_mean);
    let of = |c: usize| {
        let readers = columns.iter().zip(&means).filter(|((values, _), _)| values[c].is_finite());
        let each = readers.map(|((values, times), mean)| (values[c] - mean - size(c)) / f64::from(1 + times));
        let (sum, count) = each.fold((0.0, 0), |(sum, count), g| (sum + g, count + 1));
        (size(c).is_finite() && count > 0).then(|| sum / f64::from(count))
    };
    let lowest = known.iter().filter_map(|&c| of(c)).fold(f64::INFINITY, f64::min);
    // A dead channel, or one that nobody reads, must not take the room of the rest.
    let unread = |c: usize| lowest - if size(c).is_finite() { size(c).max(0.0) } else { 0.0 };
    (0..rows.len()).map(|c| of(c).unwrap_or_else(|| unread(c))).collect()
}

/// Whole numbers from 0 on, all zeros as an empty list.
fn whole(gains: &[f64]) -> Vec<i32> {
    // Relative to the largest, so that an offset of all doesn't change how they are rounded.
    let top = gains.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let rounded: Vec<i32> = gains.iter().map(|g| (g - top).round() as i32).collect();
    let lowest = rounded.iter().copied().min().unwrap_or(0).max(-MAX_CHANNEL_BITS);
    let bits: Vec<i32> = rounded.into_iter().map(|b| (b - lowest).max(0)).collect();
    if bits.iter().all(|&b| b == 0) { Vec::new() } else { bits }
}

/// log2 of the largest |weight| of each pair of channels of a linear step, `[out][in]`.
struct Magnitudes {
    values: Vec<f64>,
    in_channels: usize,
}

impl Magnitudes {
    fn of(lowered: &Lowered, op: &RealOp) -> Option<Self> {
        let RealOp::Linear(RealLinear { kind, weights, inputs, .. }) = op else { return None };
        let largest = |block: &[f32]| f64::from(block.iter().fold(0.0f32, |max, w| max.max(w.abs()))).log2();
        let in_channels = inputs.iter().map(|&t| lowered.streams[t].channels).sum();
        Some(Self { values: weights.chunks_exact(kind.volume()).map(largest).collect(), in_channels })
    }

    /// The gains of a step's input channels.
    fn inputs(lowered: &Lowered, step: usize, gains: &[Vec<f64>]) -> Vec<f64> {
        let RealOp::Linear(linear) = &lowered.steps[step].op else { return Vec::new() };
        linear.inputs.iter().flat_map(|&t| gains[t].iter().copied()).collect()
    }

    /// The largest weight of each output channel, with its inputs equalised.
    fn rows(&self, lowered: &Lowered, step: usize, gains: &[Vec<f64>]) -> Vec<f64> {
        let inputs = Self::inputs(lowered, step, gains);
        let row = |row: &[f64]| row.iter().zip(&inputs).map(|(w, g)| w - g).fold(f64::NEG_INFINITY, f64::max);
        self.values.chunks_exact(self.in_channels).map(row).collect()
    }

    /// The largest weight of each input channel, with the outputs equalised.
    fn columns(&self, lowered: &Lowered, step: usize, gains: &[Vec<f64>]) -> Vec<f64> {
        let mut columns = vec![f64::NEG_INFINITY; self.in_channels];
        for (row, gain) in self.values.chunks_exact(self.in_channels).zip(&gains[lowered.steps[step].output]) {
            columns.iter_mut().zip(row).for_each(|(max, w)| *max = max.max(w + gain));
        }
        columns
    }
}

/// A linear step that reads a stream, directly or through what hands its bits on.
#[derive(Clone, Copy)]
struct Consumer {
    reader: usize,
    /// The first of its input channels that is this stream's.
    first: usize,
    /// How often the bits have been multiplied.
    times: i32,
    /// How many of its input channels each channel of the stream has become.
    spread: usize,
}

/// For each stream the linear steps that read it.
fn consumers(lowered: &Lowered) -> Vec<Vec<Consumer>> {
    let mut found: Vec<Vec<Consumer>> = vec![Vec::new(); lowered.streams.len()];
    for (reader, step) in lowered.steps.iter().enumerate() {
        if let RealOp::Linear(linear) = &step.op {
            let mut first = 0;
            for &t in &linear.inputs {
                found[t].push(Consumer { reader, first, times: 1, spread: 1 });
                first += lowered.streams[t].channels;
            }
        }
    }
    for step in lowered.steps.iter().rev() {
        if let Some((input, times)) = handed_on(&step.op) {
            let spread = spread(lowered, input, step.output);
            let through = |c: &Consumer| Consumer { times: c.times * times, spread: c.spread * spread, ..*c };
            let more: Vec<_> = found[step.output].iter().map(through).collect();
            found[input].extend(more);
        }
    }
    found
}
