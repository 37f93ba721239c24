//! The integer program executed in the clear, exactly: what the secure protocol is compared with.
//!
//! Accumulators are sums of integers below 2^53 in f64, hence exact. A shift by f rounds to nearest (halves up), or, to
//! see what the protocol's rounding does, as the sum of two truncated shares: floor + 1 with probability (x mod
//! 2^f)/2^f. A value beyond its tensor's range is counted and saturated, so the run goes on with bounded numbers; the
//! secure protocol would be wrong there.

use rayon::prelude::*;

use super::kernels;
use crate::integers::program::{Linear, Program, Step, TensorId};
use crate::windows::{self, Windows};

/// How a shift rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To nearest, halves up: the reference.
    Nearest,
    /// As two truncated shares do, with pseudo-random shares from a seed.
    Shares(u64),
}

/// A tensor's range in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeReport {
    /// The tensor.
    pub tensor: TensorId,
    /// Its name.
    pub name: String,
    /// The largest |integer|, before saturation.
    pub max_abs: i64,
    /// The exclusive bound it has to stay under.
    pub limit: i64,
    /// Values that didn't, and were saturated.
    pub overflows: u64,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct PlainRun {
    /// Scores, `[classes, D, H, W]`, at the scale of [`Program::logits`]; in windows the weighted sums of those of all
    /// windows.
    pub logits: Vec<i32>,
    /// The label of each voxel of [`Program::grid`]; on a grid of one element the class.
    pub labels: Vec<u8>,
    /// One entry per tensor.
    pub ranges: Vec<RangeReport>,
}

impl RangeReport {
    /// Takes another run's report of the same tensor in.
    pub fn join(&mut self, other: &Self) {
        self.max_abs = self.max_abs.max(other.max_abs);
        self.overflows += other.overflows;
    }
}

impl PlainRun {
    /// The tensors that left their range.
    pub fn overflows(&self) -> impl Iterator<Item = &RangeReport> {
        self.ranges.iter().filter(|r| r.overflows > 0)
    }
}

/// Runs a program on the integers of its input, `[channels, D, H, W]` of [`Program::grid`].
///
/// # Panics
/// If `input` hasn't the size of the input.
pub fn run(program: &Program, input: &[i32], rounding: Rounding) -> PlainRun {
    match program.windows() {
        None => execute(program, input, rounding, false).0,
        Some(windows) => blended(program, windows, input, rounding),
    }
}

/// As [`run`] in one pass, and keeps the values of all tensors, by [`TensorId`].
///
/// # Panics
/// If `input` hasn't the size of the input tensor.
pub fn run_with_trace(program: &Program, input: &[i32], rounding: Rounding) -> (PlainRun, Vec<Vec<i32>>) {
    execute(program, input, rounding, true)
}

/// Window by window.
fn blended(program: &Program, windows: &Windows, input: &[i32], rounding: Rounding) -> PlainRun {
    let (classes, voxels) = (program.classes, windows.voxels(windows.grid[0]));
    assert_eq!(input.len(), program.channels() * voxels, "the size of the program's input");
    let mut all =
        PlainRun { logits: vec![0; classes * voxels], labels: Vec::with_capacity(voxels), ranges: Vec::new() };
    let (mut ranges, mut pass) = (Vec::<RangeReport>::new(), 0);
    let scores = |patch: Vec<i32>| {
        let rounding = match rounding {
            Rounding::Nearest => Rounding::Nearest,
            Rounding::Shares(seed) => Rounding::Shares(mix(seed ^ pass)),
        };
        pass += 1;
        let run = execute(program, &patch, rounding, false).0;
        if ranges.is_empty() {
            ranges = run.ranges;
        } else {
            ranges.iter_mut().zip(&run.ranges).for_each(|(all, one)| all.join(one));
        }
        run.logits
    };
    // No sum leaves 31 bits, as the program was checked for.
    let add = |sum: &mut i32, weight: u32, score: i32| *sum = sum.wrapping_add(score.wrapping_mul(weight as i32));
    let done = |sums: Vec<i32>| {
        let (from, rows) = (all.labels.len(), sums.len() / classes);
        all.labels.extend(kernels::argmax(&sums, classes));
        let to = all.logits.chunks_exact_mut(voxels).zip(sums.chunks_exact(rows));
        to.for_each(|(to, class)| to[from..from + rows].copy_from_slice(class));
    };
    windows::run(windows, input, (classes, 0), add, scores, done);
    all.ranges = ranges;
    all
}

fn execute(program: &Program, input: &[i32], rounding: Rounding, keep: bool) -> (PlainRun, Vec<Vec<i32>>) {
    assert_eq!(input.len(), program.tensors[program.input].elements(), "the size of the program's input");
    let last_uses = program.last_uses();
    let mut values: Vec<Vec<i32>> = vec![Vec::new(); program.tensors.len()];
    let mut ranges = Vec::with_capacity(values.len());
    let exact = input.iter().map(|&v| i64::from(v)).collect();
    values[program.input] = store(program, program.input, exact, &mut ranges);
    let mut labels = Vec::new();
    for (at, step) in program.steps.iter().enumerate() {
        match step.output() {
            Some(output) => {
                let inputs: Vec<&[i32]> = step.inputs().iter().map(|&t| &values[t][..]).collect();
                let (mut exact, shift) = before_shift(program, step, &inputs);
                round(&mut exact, shift, rounding, at);
                values[output] = store(program, output, exact, &mut ranges);
            }
            None => labels = kernels::argmax(&values[program.logits], program.classes),
        }
        for &t in step.inputs().iter().filter(|&&t| !keep && t != program.logits && last_uses[t] == at) {
            values[t] = Vec::new();
        }
    }
    let logits = if keep { values[program.logits].clone() } else { std::mem::take(&mut values[program.logits]) };
    (PlainRun { logits, labels, ranges }, values)
}

/// Saturates the values of a tensor to its range and notes how they fit.
fn store(program: &Program, tensor: TensorId, exact: Vec<i64>, ranges: &mut Vec<RangeReport>) -> Vec<i32> {
    let info = &program.tensors[tensor];
    let limit = info.limit();
    let max_abs = exact.par_iter().map(|v| v.abs()).max().unwrap_or(0);
    let overflows = if max_abs < limit { 0 } else { exact.iter().filter(|v| v.abs() >= limit).count() as u64 };
    ranges.push(RangeReport { tensor, name: info.name.clone(), max_abs, limit, overflows });
    exact.into_par_iter().map(|v| v.clamp(1 - limit, limit - 1) as i32).collect()
}

/// The exact values of a step before its truncation, and the bits that the truncation takes off.
///
/// # Panics
/// For an argmax, which has labels instead, and if `inputs` haven't the sizes of the step's tensors.
pub fn before_shift(program: &Program, step: &Step, inputs: &[&[i32]]) -> (Vec<i64>, u32) {
    let dims = |t: &TensorId| program.tensors[*t].dims;
    let wide = |v: i32| i64::from(v);
    match step {
        Step::Linear(linear) => (accumulators(program, linear, inputs), linear.shift),
        Step::Square { shift, .. } => (inputs[0].par_iter().map(|&x| wide(x) * wide(x)).collect(), *shift),
        Step::Relu { .. } => (inputs[0].par_iter().map(|&x| wide(x.max(0))).collect(), 0),
        Step::MaxPool { input, window, .. } => {
            let maxima = kernels::pool(inputs[0], dims(input), *window, i32::MIN, i32::max);
            (maxima.into_iter().map(wide).collect(), 0)
        }
        Step::MinPool { input, window, .. } => {
            let minima = kernels::pool(inputs[0], dims(input), *window, i32::MAX, i32::min);
            (minima.into_iter().map(wide).collect(), 0)
        }
        Step::Activation { pieces, .. } => (inputs[0].par_iter().map(|&x| pieces.apply(wide(x))).collect(), 0),
        Step::AvgPool { input, window, .. } => {
            let values: Vec<i64> = inputs[0].iter().map(|&v| wide(v)).collect();
            (kernels::pool(&values, dims(input), *window, 0, |a, b| a + b), 0)
        }
        Step::Flatten { .. } => (inputs[0].iter().map(|&v| wide(v)).collect(), 0),
        Step::Interleave { input, output, factor, .. } => {
            let values = kernels::interleave(inputs[0], dims(input), *factor, dims(output));
            (values.into_iter().map(wide).collect(), 0)
        }
        Step::Resize { input, factor, mode, .. } => {
            let values: Vec<i64> = inputs[0].iter().map(|&v| wide(v)).collect();
            (kernels::finer(&values, dims(input), *factor, *mode), 0)
        }
        Step::Argmax { .. } | Step::Blend { .. } => panic!("the last step has labels, not values"),
    }
}

/// The exact accumulators of a linear step, biases included, `[out_channels, D, H, W]`.
///
/// # Panics
/// If `inputs` haven't the sizes of the step's tensors.
pub fn accumulators(program: &Program, linear: &Linear, inputs: &[&[i32]]) -> Vec<i64> {
    for (values, &t) in inputs.iter().zip(&linear.inputs) {
        assert_eq!(values.len(), program.tensors[t].elements(), "the size of {}", program.tensors[t].name);
    }
    let dims = program.tensors[linear.inputs[0]].dims;
    let weights: Vec<f64> = linear.weights.iter().map(|&w| f64::from(w)).collect();
    let grids = [dims, program.tensors[linear.output].dims];
    let sums = kernels::linear(linear.kind, grids, inputs, &weights, f64::from);
    let voxels = sums.len() / linear.out_channels;
    let offset = |i: usize| {
        let map = linear.bias_map.as_ref().map_or(0, |map| map[i]);
        i64::from(linear.bias[i / voxels]) + i64::from(map)
    };
    sums.into_par_iter().enumerate().map(|(i, sum)| sum as i64 + offset(i)).collect()
}

/// Divides by 2^shift in place.
fn round(values: &mut [i64], shift: u32, rounding: Rounding, step: usize) {
    if shift == 0 {
        return;
    }
    let low = (1i64 << shift) - 1;
    match rounding {
        Rounding::Nearest => values.par_iter_mut().for_each(|v| *v = (*v + (1 << (shift - 1))) >> shift),
        // With a share whose low bits are r, floor + ceiling of the two parts is floor + [r < x mod 2^shift].
        Rounding::Shares(seed) => values.par_iter_mut().enumerate().for_each(|(i, v)| {
            let share = mix(mix(seed ^ ((step as u64) << 48)).wrapping_add(i as u64)) as i64 & low;
            *v = (*v >> shift) + i64::from(share < (*v & low));
        }),
    }
}

/// The finaliser of SplitMix64: a pseudo-random word from a counter, for experiments only.
fn mix(word: u64) -> u64 {
    let a = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let b = (a ^ (a >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let c = (b ^ (b >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    c ^ (c >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_rounding_is_unbiased_and_within_one_unit() {
        let exact: Vec<i64> = (-4000..4000).collect();
        let mut sum = 0i64;
        for seed in 0..50 {
            let mut rounded = exact.clone();
            round(&mut rounded, 4, Rounding::Shares(seed), 3);
            for (&x, &r) in exact.iter().zip(&rounded) {
                assert!((r * 16 - x).abs() < 16 && (x % 16 != 0 || r * 16 == x), "{x} became {r}");
                sum += r * 16 - x;
            }
        }
        // 400 000 errors of a deviation under 8: their mean is 0 within 0.1 (8 deviations).
        assert!((sum as f64 / 400_000.0).abs() < 0.1, "bias {sum}");
    }

    #[test]
    fn nearest_rounds_halves_up() {
        let mut values = vec![-8, -7, -6, -2, 1, 2, 3, 6];
        round(&mut values, 2, Rounding::Nearest, 0);
        assert_eq!(values, [-2, -2, -1, 0, 0, 1, 1, 2]);
    }
}
