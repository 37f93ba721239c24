//! Checks of every step at sampled positions, where a whole [`Trace`](super::trace::Trace) would be too large to keep.
//!
//! For each sampled voxel of a step's output both parties keep their shares of all channels there, of the sums before
//! truncation, and of the input values that these depend on. The check computes the step from those by definition,
//! apart from the kernels of the references. Samples hold secrets and exist for tests and benches alone.

use blindvox_models::{Interpolation, Linear, LinearKind, Program, Step, TensorId};

use super::trace::StepCheck;
use crate::error::{Error, Result};
use crate::share::Ring;

/// One party's shares around the sampled positions of every step.
#[derive(Clone)]
pub struct Samples {
    /// Voxels a step.
    count: usize,
    steps: Vec<Sample>,
}

/// Of one step, a voxel after the other.
#[derive(Clone)]
struct Sample {
    /// `[input channels][window]`, 0 outside of the grid.
    inputs: Vec<u32>,
    input_ring: Ring,
    /// `[output channels]`, linear steps alone.
    sums: Vec<u32>,
    /// `[output channels]`.
    outputs: Vec<u32>,
    output_ring: Ring,
}

impl Samples {
    pub(super) fn new(program: &Program, count: usize) -> Self {
        let none = Sample {
            inputs: Vec::new(),
            input_ring: Ring::FULL,
            sums: Vec::new(),
            outputs: Vec::new(),
            output_ring: Ring::FULL,
        };
        Self { count, steps: vec![none; program.steps.len()] }
    }

    /// Keeps what step `at` is about to read, given all shares of its inputs.
    pub(super) fn read(&mut self, program: &Program, at: usize, shares: &[&[u32]], ring: Ring) {
        let step = &program.steps[at];
        let inputs = &mut self.steps[at].inputs;
        for voxel in voxels(program, at, self.count) {
            let window = Window::of(program, step, voxel);
            for (&tensor, shares) in step.inputs().iter().zip(shares) {
                window.gather(program.tensors[tensor].dims, shares, inputs);
            }
        }
        self.steps[at].input_ring = ring;
    }

    /// Keeps a linear step's sums.
    pub(super) fn summed(&mut self, program: &Program, at: usize, sums: &[u32]) {
        self.steps[at].sums = columns(&voxels(program, at, self.count), grid(program, at), sums);
    }

    /// Keeps what step `at` wrote.
    pub(super) fn wrote(&mut self, program: &Program, at: usize, shares: &[u32], ring: Ring) {
        self.steps[at].outputs = columns(&voxels(program, at, self.count), grid(program, at), shares);
        self.steps[at].output_ring = ring;
    }
}

/// Holds every step, the labels included, to its bound at the sampled positions.
pub fn check(program: &Program, client: &Samples, server: &Samples, labels: &[u8]) -> Result<Vec<StepCheck>> {
    let count = client.count;
    let both = client.steps.iter().zip(&server.steps);
    both.enumerate().map(|(at, (client, server))| check_step(program, at, count, [client, server], labels)).collect()
}

fn check_step(program: &Program, at: usize, count: usize, both: [&Sample; 2], labels: &[u8]) -> Result<StepCheck> {
    let step = &program.steps[at];
    let [client, server] = both;
    let fault = |what: &str| Error::protocol(format!("samples of {}: {what}", step.name()));
    let (sizes, rings) =
        (|s: &Sample| [s.inputs.len(), s.sums.len(), s.outputs.len()], |s: &Sample| (s.input_ring, s.output_ring));
    if sizes(client) != sizes(server) || rings(client) != rings(server) {
        return Err(fault("the parties' shares do not match"));
    }
    let points = voxels(program, at, count);
    let inputs = client.input_ring.open(&client.inputs, &server.inputs);
    let each = inputs.len() / points.len();
    let exact: Vec<i64> =
        points.iter().zip(inputs.chunks(each)).flat_map(|(&v, x)| value(program, step, v, x)).collect();
    let got: Vec<i64> = match step {
        Step::Argmax { .. } => {
            let of = |&v: &usize| labels.get(v).map(|&l| i64::from(l)).ok_or_else(|| fault("no label"));
            points.iter().map(of).collect::<Result<_>>()?
        }
        _ => client.output_ring.open(&client.outputs, &server.outputs),
    };
    if got.len() != exact.len() {
        return Err(fault("not as many outputs as there should be"));
    }
    let (wrong_sums, shift) = match step {
        Step::Linear(linear) => {
            let sums = Ring::FULL.open(&client.sums, &server.sums);
            let wrong = sums.iter().zip(&exact).filter(|(a, b)| a != b).count();
            (wrong + sums.len().abs_diff(exact.len()), linear.shift)
        }
        Step::Square { shift, .. } => (0, *shift),
        _ => (0, 0),
    };
    let unit = f64::from(1u32 << shift);
    let worst = exact.iter().zip(&got).map(|(&e, &g)| (g as f64 - e as f64 / unit).abs()).fold(0.0, f64::max);
    Ok(StepCheck { name: step.name().to_owned(), kind: step.kind(), elements: got.len(), wrong_sums, worst })
}

/// The grid whose voxels are sampled: the output's; the scores' of an argmax.
fn grid(program: &Program, at: usize) -> [usize; 3] {
    let step = &program.steps[at];
    program.tensors[step.output().unwrap_or(step.inputs()[0])].dims
}

/// The sampled voxels: both ends of the grid and others spread over it by a fixed hash of the step.
fn voxels(program: &Program, at: usize, count: usize) -> Vec<usize> {
    let all: usize = grid(program, at).iter().product();
    let spread = |i: usize| {
        let word = (((at as u64) << 32) ^ i as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((u128::from(word ^ (word >> 29)) * all as u128) >> 64) as usize
    };
    let mut voxels: Vec<usize> = [0, all - 1].into_iter().chain((2..).map(spread)).take(count).collect();
    voxels.sort_unstable();
    voxels.dedup();
    voxels
}

/// All channels at the given voxels, a voxel after the other.
fn columns(voxels: &[usize], grid: [usize; 3], shares: &[u32]) -> Vec<u32> {
    let all = grid.iter().product();
    voxels.iter().flat_map(|&v| shares.chunks_exact(all).map(move |channel| channel[v])).collect()
}

/// The input voxels that an output voxel depends on.
struct Window {
    origin: [isize; 3],
    size: [usize; 3],
}

impl Window {
    fn of(program: &Program, step: &Step, voxel: usize) -> Self {
        let tensor: TensorId = step.output().unwrap_or(step.inputs()[0]);
        let place = place(program.tensors[tensor].dims, voxel).map(|p| p as isize);
        let (origin, size): ([isize; 3], _) = match step {
            Step::Linear(Linear { kind: LinearKind::Conv { kernel, stride, padding }, .. }) => {
                (std::array::from_fn(|d| place[d] * stride[d] as isize - padding[d] as isize), *kernel)
            }
            Step::Linear(Linear { kind: LinearKind::Transposed2 { factor }, .. }) => {
                (std::array::from_fn(|d| place[d] / factor[d] as isize), [1; 3])
            }
            Step::AvgPool { window, .. } | Step::MaxPool { window, .. } => {
                (std::array::from_fn(|d| place[d] * window[d] as isize), *window)
            }
            Step::Flatten { input, .. } => ([0; 3], program.tensors[*input].dims),
            Step::Resize { factor, mode: Interpolation::Linear, .. } => (
                std::array::from_fn(|d| place[d] / factor[d] as isize - (factor[d] as isize - 1)),
                factor.map(|f| 2 * f - 1),
            ),
            Step::Interleave { factor, .. } | Step::Resize { factor, .. } => {
                (std::array::from_fn(|d| place[d] / factor[d] as isize), [1; 3])
            }
            _ => (place, [1; 3]),
        };
        Self { origin, size }
    }

    /// Appends `[channels][window]` of a tensor on grid `dims`.
    fn gather(&self, dims: [usize; 3], shares: &[u32], out: &mut Vec<u32>) {
        let [_, height, width] = dims;
        let inside = |d: usize, k: usize| usize::try_from(self.origin[d] + k as isize).ok().filter(|&p| p < dims[d]);
        for channel in shares.chunks_exact(dims.iter().product()) {
            for tap in 0..self.size.iter().product() {
                let [a, b, c] = place(self.size, tap);
                let at = inside(0, a).zip(inside(1, b)).zip(inside(2, c));
                out.push(at.map_or(0, |((z, y), x)| channel[(z * height + y) * width + x]));
            }
        }
    }
}

fn place([_, height, width]: [usize; 3], at: usize) -> [usize; 3] {
    [at / (height * width), at / width % height, at % width]
}

/// A voxel of a linear resize from its window, 3 voxels wide where the grid is twice as fine and 1 where it stays.
fn between(window: &[i64], place: [usize; 3], factor: [usize; 3], dims: [usize; 3]) -> i64 {
    let size = factor.map(|f| 2 * f - 1);
    // The window's middle, and its neighbour on the nearer side unless the grid ends there.
    let parts = |d: usize| -> [(usize, i64); 2] {
        let (near, upper) = (place[d] / 2, place[d] % 2 == 1);
        let ends = if upper { near + 1 == dims[d] } else { near == 0 };
        match (factor[d], ends, upper) {
            (1, ..) => [(0, 1), (0, 0)],
            (_, true, _) => [(1, 3), (1, 1)],
            (_, false, upper) => [(1, 3), (2 * usize::from(upper), 1)],
        }
    };
    let at = |z: usize, y: usize, x: usize| window[(z * size[1] + y) * size[2] + x];
    let lines = parts(0).into_iter().flat_map(|z| parts(1).map(|y| (z, y)));
    let corners = lines.flat_map(|(z, y)| parts(2).map(|x| (z, y, x)));
    corners.map(|(z, y, x)| z.1 * y.1 * x.1 * at(z.0, y.0, x.0)).sum()
}

/// A step at one voxel by definition, before its truncation: all output channels, or the label.
fn value(program: &Program, step: &Step, voxel: usize, x: &[i64]) -> Vec<i64> {
    match step {
        Step::Linear(linear) => sums(program, linear, voxel, x),
        Step::Square { .. } => x.iter().map(|x| x * x).collect(),
        Step::Relu { .. } => x.iter().map(|&x| x.max(0)).collect(),
        Step::MaxPool { window, .. } => {
            x.chunks(window.iter().product()).filter_map(|w| w.iter().copied().max()).collect()
        }
        Step::Resize { input, output, factor, mode: Interpolation::Linear, .. } => {
            let place = place(program.tensors[*output].dims, voxel);
            let size = factor.map(|f| 2 * f - 1);
            x.chunks(size.iter().product()).map(|w| between(w, place, *factor, program.tensors[*input].dims)).collect()
        }
        Step::Flatten { .. } | Step::Resize { .. } => x.to_vec(),
        Step::MinPool { window, .. } => {
            x.chunks(window.iter().product()).filter_map(|w| w.iter().copied().min()).collect()
        }
        Step::Activation { pieces, .. } => x.iter().map(|&x| pieces.apply(x)).collect(),
        Step::Interleave { output, factor: [fd, fh, fw], .. } => {
            let [z, y, x_at] = place(program.tensors[*output].dims, voxel);
            let phase = (z % fd * fh + y % fh) * fw + x_at % fw;
            x.iter().skip(phase).step_by(fd * fh * fw).copied().collect()
        }
        Step::AvgPool { window, .. } => x.chunks(window.iter().product()).map(|w| w.iter().sum()).collect(),
        // Samples are of runs in one pass.
        Step::Blend { .. } => Vec::new(),
        Step::Argmax { .. } => {
            let best = (1..x.len()).fold(0, |best, c| if x[c] > x[best] { c } else { best });
            vec![best as i64]
        }
    }
}

fn sums(program: &Program, linear: &Linear, voxel: usize, x: &[i64]) -> Vec<i64> {
    let dims = program.tensors[linear.output].dims;
    // Of the taps of a transposed convolution one meets the voxel.
    let (taps, first, met) = match linear.kind {
        LinearKind::Conv { .. } => (linear.kind.volume(), 0, linear.kind.volume()),
        LinearKind::Transposed2 { factor: [fd, fh, fw] } => {
            let [z, y, x] = place(dims, voxel);
            (fd * fh * fw, (z % fd * fh + y % fh) * fw + x % fw, 1)
        }
    };
    let voxels: usize = dims.iter().product();
    let sum = |(o, rows): (usize, &[i32])| {
        let products = rows
            .chunks_exact(taps)
            .zip(x.chunks_exact(met))
            .map(|(w, x)| w[first..].iter().zip(x).map(|(&w, &x)| i64::from(w) * x).sum::<i64>());
        let map = linear.bias_map.as_ref().map_or(0, |map| map[o * voxels + voxel]);
        products.sum::<i64>() + i64::from(linear.bias[o]) + i64::from(map)
    };
    linear.weights.chunks_exact(linear.in_channels * taps).enumerate().map(sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use blindvox_models::TensorInfo;
    use blindvox_models::plain::{Rounding, run_with_trace};

    fn weights(count: usize) -> Vec<i32> {
        (0..count as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as i32 - 32).collect()
    }

    /// Every kind of step, with two inputs to a convolution, a bias map, and a convolution of another padding and
    /// stride.
    fn program() -> Program {
        let (grid, half) = ([4, 2, 6], [2, 1, 3]);
        let shapes = [
            (2, grid),
            (3, grid),
            (3, grid),
            (3, half),
            (2, grid),
            (2, grid),
            (5, grid),
            (5, half),
            (4, [3, 1, 2]),
            (24, [1; 3]),
            (3, [1; 3]),
        ];
        let tensors = shapes.map(|(channels, dims)| TensorInfo {
            name: String::new(),
            channels,
            dims,
            scale_bits: 0,
            max_abs: 0,
            spare_bits: 0,
            bits: 32,
        });
        let linear = |kind: LinearKind, inputs: &[TensorId], output: TensorId, shift: u32| {
            let in_channels = inputs.iter().map(|&t| shapes[t].0).sum();
            let (out_channels, dims) = shapes[output];
            let map = (output == 5).then(|| weights(out_channels * dims.iter().product::<usize>()));
            Step::Linear(Linear {
                name: format!("linear {output}"),
                kind,
                inputs: inputs.to_vec(),
                in_channels,
                out_channels,
                weights: weights(in_channels * out_channels * kind.volume()),
                weight_bits: 8,
                bias: weights(out_channels),
                bias_map: map,
                shift,
                output,
            })
        };
        let name = String::new;
        let strided = LinearKind::Conv { kernel: [2, 1, 3], stride: [1, 1, 2], padding: [1, 0, 1] };
        let (conv, up) = (LinearKind::conv([3, 1, 5]), LinearKind::Transposed2 { factor: [2; 3] });
        let steps = vec![
            linear(conv, &[0], 1, 4),
            Step::Relu { name: name(), input: 1, output: 2, bits: 16 },
            Step::MaxPool { name: name(), input: 2, output: 3, window: [2; 3], bits: 16 },
            linear(up, &[3], 4, 3),
            linear(conv, &[2, 4], 5, 9),
            linear(conv, &[5, 4], 6, 9),
            Step::AvgPool { name: name(), input: 6, output: 7, window: [2; 3] },
            linear(strided, &[7], 8, 0),
            Step::Flatten { name: name(), input: 8, output: 9 },
            linear(LinearKind::conv([1; 3]), &[9], 10, 4),
            Step::Argmax { name: name(), input: 10, bits: 32 },
        ];
        Program { tensors: tensors.to_vec(), steps, input: 0, logits: 10, classes: 3 }
    }

    /// What the parties would keep if one had everything and the other zeros.
    fn samples(program: &Program, values: &[Vec<i32>], count: usize) -> [Samples; 2] {
        [1u32, 0].map(|part| {
            let share = |t: TensorId| values[t].iter().map(|&v| v as u32 * part).collect::<Vec<u32>>();
            let mut samples = Samples::new(program, count);
            for (at, step) in program.steps.iter().enumerate() {
                let inputs: Vec<_> = step.inputs().iter().map(|&t| share(t)).collect();
                let inputs: Vec<&[u32]> = inputs.iter().map(Vec::as_slice).collect();
                samples.read(program, at, &inputs, Ring::FULL);
                if let Step::Linear(_) = step {
                    let values: Vec<&[i32]> = step.inputs().iter().map(|&t| &values[t][..]).collect();
                    let (exact, _) = blindvox_models::plain::before_shift(program, step, &values);
                    samples.summed(program, at, &exact.iter().map(|&v| v as u32 * part).collect::<Vec<_>>());
                }
                if let Some(output) = step.output() {
                    samples.wrote(program, at, &share(output), Ring::FULL);
                }
            }
            samples
        })
    }

    #[test]
    fn definitions_agree_with_the_reference_and_every_fault_shows() {
        let program = program();
        let (run, values) = run_with_trace(&program, &weights(96), Rounding::Shares(1));
        for count in [1, 7, 100] {
            let [client, server] = samples(&program, &values, count);
            let checks = check(&program, &client, &server, &run.labels).unwrap();
            assert!(checks.len() == program.steps.len() && checks.iter().all(StepCheck::holds), "{checks:?}");
            let holds = |client: &Samples, labels: &[u8]| {
                check(&program, client, &server, labels).is_ok_and(|checks| checks.iter().all(StepCheck::holds))
            };
            for at in 0..program.steps.len() {
                let mut wrong = client.clone();
                let sample = &mut wrong.steps[at];
                let spoilt = [&mut sample.sums, &mut sample.outputs].into_iter().find(|s| !s.is_empty());
                spoilt.into_iter().for_each(|s| s[0] = s[0].wrapping_add(3));
                assert_eq!(holds(&wrong, &run.labels), at + 1 == program.steps.len(), "step {at}");
            }
            let mut labels = run.labels.clone();
            labels.iter_mut().for_each(|l| *l ^= 1);
            assert!(!holds(&client, &labels));
        }
    }
}
