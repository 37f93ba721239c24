//! The network of BUNET's appendix (table 2) as a program, with random weights.
//!
//! | batch | layers | channels | grid |
//! |---|---|---|---|
//! | 1 to 4 | two convolutions 3^3 with activations; pooling after 1, 2 and 3 | 64, 128, 256, 512 | 1, 1/2, 1/4, 1/8 |
//! | 5 to 7 | transposed convolution 2^3, concatenation, two convolutions 3^3 with activations | 256, 128, 64 | 1/4, 1/2, 1 |
//! | 8, 9 | convolution 3^3, argmax | 3 | 1 |
//!
//! That is 14 + 3 + 1 = 18 linear layers; the paper's text counts 19 convolutions, its table lists these. Its planar
//! form has 3^2 kernels and 2^2 windows.
//!
//! **Numbers.** Weights and biases are random, so labels mean nothing. Weights are uniform and scaled layer by layer so
//! that every linear layer's output has a deviation of about [`RMS`]: with inputs of second moment m_c, sum over inputs
//! and taps of sigma_w^2·m_c = (RMS·2^shift)^2. Before a square, biases of ±2·[`RMS`] hold the operating point: without
//! them a network of squares doubles every relative deviation a layer, and its values would overflow or vanish.

use blindvox_engine::Prng;
use blindvox_models::{Linear, LinearKind, Program, Step, TensorId, TensorInfo};

/// Deviation of a linear layer's output.
const RMS: f64 = 1024.0;
/// Largest magnitude of a weight: half of what [`WEIGHT_BITS`] hold.
const MAX_WEIGHT: f64 = 1023.0;
/// Sums have a deviation of RMS·2^shift, and must stay below 2^30.
const MAX_SHIFT: u32 = 16;
/// Width of the weights, which noise is planned for.
const WEIGHT_BITS: u32 = 12;
/// Truncation of squares.
const SQUARE_SHIFT: u32 = 12;
/// Labels.
const CLASSES: usize = 3;
/// Channels of the batches on the way down.
const CHANNELS: [usize; 4] = [64, 128, 256, 512];

/// What an activation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    /// x^2.
    Square,
    /// max(x, 0) at this width.
    Relu(u32),
}

/// What tells the columns of the paper's table apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// Of the first and the last layer batch.
    pub outer: Activation,
    /// Of the others.
    pub inner: Activation,
    /// Max pooling at this width; averages otherwise.
    pub max_pool: Option<u32>,
    /// Width of the argmax.
    pub argmax_bits: u32,
}

/// The program on a grid, a volume or, with a depth of 1, a plane.
pub(super) fn build(form: Form, grid: [usize; 3], prng: &mut Prng) -> Program {
    let planar = grid[0] == 1;
    let window = if planar { [1, 2, 2] } else { [2; 3] };
    let kernel = if planar { [1, 3, 3] } else { [3; 3] };
    let mut b = Builder { tensors: Vec::new(), moments: Vec::new(), steps: Vec::new(), prng, kernel, window };
    let input = b.tensor("input", 1, grid, RMS * RMS);
    let mut skips = Vec::new();
    let mut x = vec![input];
    for (level, channels) in CHANNELS.into_iter().enumerate() {
        let activation = if level == 0 { form.outer } else { form.inner };
        let y = b.batch(level + 1, &x, channels, activation);
        x = vec![y];
        if level + 1 < CHANNELS.len() {
            skips.push(y);
            x = vec![b.pool(level + 1, y, form.max_pool)];
        }
    }
    for (i, skip) in skips.into_iter().enumerate().rev() {
        let batch = 2 * CHANNELS.len() - 1 - i;
        let kind = LinearKind::Transposed2 { factor: window };
        let up = b.linear(format!("{}.up", batch - 1), kind, &x, CHANNELS[i], Then::Layer);
        let activation = if i == 0 { form.outer } else { form.inner };
        x = vec![b.batch(batch, &[skip, up], CHANNELS[i], activation)];
    }
    // A comparison of 32 bits takes the scores before truncation.
    let then = if form.argmax_bits == 32 { Then::Exact } else { Then::Layer };
    let logits = b.linear("8.conv".into(), LinearKind::conv(kernel), &x, CLASSES, then);
    b.steps.push(Step::Argmax { name: "9.argmax".to_owned(), input: logits, bits: form.argmax_bits });
    let Builder { tensors, steps, .. } = b;
    Program { tensors, steps, input, logits, classes: CLASSES }
}

/// A volume for it: what the client prepared and quantised.
pub(super) fn volume(program: &Program, prng: &mut Prng) -> Vec<i32> {
    let bound = RMS * 3f64.sqrt();
    uniform(prng, program.tensors[program.input].elements(), bound)
}

struct Builder<'a> {
    tensors: Vec<TensorInfo>,
    /// Expected squares of the tensors' values, from above.
    moments: Vec<f64>,
    steps: Vec<Step>,
    prng: &'a mut Prng,
    kernel: [usize; 3],
    window: [usize; 3],
}

/// What reads a linear layer's output.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Activation(Activation),
    /// Another layer.
    Layer,
    /// A full argmax, which takes sums as they are.
    Exact,
}

impl Builder<'_> {
    fn tensor(&mut self, name: &str, channels: usize, dims: [usize; 3], moment: f64) -> TensorId {
        let info =
            TensorInfo { name: name.to_owned(), channels, dims, scale_bits: 0, max_abs: 0, spare_bits: 0, bits: 32 };
        self.tensors.push(info);
        self.moments.push(moment);
        self.tensors.len() - 1
    }

    /// A layer batch: two convolutions with activations.
    fn batch(&mut self, batch: usize, x: &[TensorId], channels: usize, activation: Activation) -> TensorId {
        let mut x = x.to_vec();
        for half in 1..=2 {
            let kind = LinearKind::conv(self.kernel);
            let y = self.linear(format!("{batch}.conv{half}"), kind, &x, channels, Then::Activation(activation));
            x = vec![self.activation(format!("{batch}.act{half}"), y, activation)];
        }
        x[0]
    }

    fn linear(
        &mut self,
        name: String,
        kind: LinearKind,
        inputs: &[TensorId],
        out_channels: usize,
        then: Then,
    ) -> TensorId {
        let dims = kind.output_dims(self.tensors[inputs[0]].dims);
        let in_channels = inputs.iter().map(|&t| self.tensors[t].channels).sum();
        // Taps that meet in one output.
        let met = if matches!(kind, LinearKind::Conv { .. }) { kind.volume() } else { 1 };
        let moment: f64 = inputs.iter().map(|&t| (self.tensors[t].channels * met) as f64 * self.moments[t]).sum();
        // A uniform weight below w has deviation w / sqrt(3).
        let gain = moment.sqrt() / 3f64.sqrt() / RMS;
        let shift = ((MAX_WEIGHT * gain).log2().floor().max(0.0) as u32).min(MAX_SHIFT);
        let unit = f64::from(1u32 << shift);
        let weights = uniform(self.prng, out_channels * in_channels * kind.volume(), (unit / gain).min(MAX_WEIGHT));
        let bias = match then {
            Then::Activation(Activation::Square) => {
                uniform(self.prng, out_channels, 1.0).iter().map(|b| (2.0 * RMS * unit) as i32 * (b | 1)).collect()
            }
            _ => uniform(self.prng, out_channels, RMS / 2.0 * unit),
        };
        let (shift, scale) = if then == Then::Exact { (0, unit) } else { (shift, 1.0) };
        let output = self.tensor(&name, out_channels, dims, (RMS * scale).powi(2));
        self.steps.push(Step::Linear(Linear {
            name,
            kind,
            inputs: inputs.to_vec(),
            in_channels,
            out_channels,
            weights,
            weight_bits: WEIGHT_BITS,
            bias,
            bias_map: None,
            shift,
            output,
        }));
        output
    }

    fn activation(&mut self, name: String, input: TensorId, activation: Activation) -> TensorId {
        let TensorInfo { channels, dims, .. } = self.tensors[input];
        let square = RMS * RMS;
        let moment = match activation {
            // (2·RMS ± a Gaussian)^2: B^4 + 6·B^2·s^2 + 3·s^4 at B = 2·s.
            Activation::Square => 43.0 * square * square / f64::from(1u32 << (2 * SQUARE_SHIFT)),
            Activation::Relu(_) => 0.6 * square,
        };
        let output = self.tensor(&name, channels, dims, moment);
        self.steps.push(match activation {
            Activation::Square => Step::Square { name, input, output, shift: SQUARE_SHIFT },
            Activation::Relu(bits) => Step::Relu { name, input, output, bits },
        });
        output
    }

    fn pool(&mut self, batch: usize, input: TensorId, max_bits: Option<u32>) -> TensorId {
        let TensorInfo { channels, dims, .. } = self.tensors[input];
        let window = self.window;
        let dims = std::array::from_fn(|d| dims[d] / window[d]);
        let cells = window.iter().product::<usize>() as f64;
        let name = format!("{batch}.pool");
        // Sums of values that are alike; maxima of up to 8 halves of Gaussians.
        let moment = self.moments[input] * if max_bits.is_some() { 4.0 } else { cells * cells };
        let output = self.tensor(&name, channels, dims, moment);
        self.steps.push(match max_bits {
            Some(bits) => Step::MaxPool { name, input, output, window, bits },
            None => Step::AvgPool { name, input, output, window },
        });
        output
    }
}

/// Integers uniform in [-bound, bound].
fn uniform(prng: &mut Prng, count: usize, bound: f64) -> Vec<i32> {
    let bound = bound as i64;
    let width = (2 * bound + 1) as u64;
    let drawn: Vec<u32> = prng.fill(count);
    drawn.into_iter().map(|d| ((u64::from(d) * width) >> 32) as i32 - bound as i32).collect()
}

#[cfg(test)]
mod tests {
    use blindvox_models::plain::{Rounding, run_with_trace};

    use super::*;

    const FORMS: [Form; 3] = [
        Form { outer: Activation::Square, inner: Activation::Square, max_pool: None, argmax_bits: 16 },
        Form { outer: Activation::Square, inner: Activation::Relu(16), max_pool: None, argmax_bits: 16 },
        Form { outer: Activation::Relu(32), inner: Activation::Relu(32), max_pool: Some(32), argmax_bits: 32 },
    ];

    fn program(form: Form, grid: [usize; 3]) -> Program {
        build(form, grid, &mut Prng::from_seed_for_tests([7; 32]))
    }

    #[test]
    fn counts_are_those_of_the_table() {
        let program = program(FORMS[0], [64; 3]);
        let count = |kind: &str| program.steps.iter().filter(|s| s.kind() == kind).count();
        assert_eq!((count("conv"), count("conv_transpose"), count("square")), (15, 3, 14));
        assert_eq!((count("avg_pool"), count("argmax")), (3, 1));
        let squares: usize = program
            .steps
            .iter()
            .filter(|s| s.kind() == "square")
            .map(|s| program.tensors[s.inputs()[0]].elements())
            .sum();
        assert_eq!(squares, 88_604_672);
        assert_eq!(program.multiply_adds() / 1_000_000_000, 224);
    }

    #[test]
    fn values_stay_in_the_ranges_of_the_protocols() {
        for (form, grid) in FORMS.into_iter().flat_map(|f| [(f, [8, 8, 16]), (f, [1, 24, 16])]) {
            let program = program(form, grid);
            let input = volume(&program, &mut Prng::from_seed_for_tests([8; 32]));
            let (_, values) = run_with_trace(&program, &input, Rounding::Nearest);
            let largest = |t: TensorId| values[t].iter().map(|v| v.unsigned_abs()).max().unwrap();
            for step in &program.steps {
                let limit = match step {
                    Step::Linear(l) => 1u64 << (30 - l.shift),
                    Step::Square { .. } => 1 << 15,
                    Step::Relu { bits, .. } | Step::MaxPool { bits, .. } | Step::Argmax { bits, .. } => 1 << (bits - 1),
                    Step::Blend { .. } => unreachable!("these networks run in one pass"),
                    _ => 1 << 31,
                };
                let read = if let Step::Linear(l) = step { l.output } else { step.inputs()[0] };
                let largest = u64::from(largest(read));
                assert!(largest < limit, "{form:?}: {}: {largest} >= {limit}", step.name());
                assert!(largest > 16, "{form:?}: {}: {largest} vanishes", step.name());
            }
        }
    }
}
