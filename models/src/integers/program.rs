//! The network as it is executed: steps on integer tensors, the same for the exact reference and for the
//! secure protocol.
//!
//! A tensor of `channels × dims` holds fixed-point values: real = integer · 2^-`scale_bits`, in the order
//! `[channels, D, H, W]`. Concatenations are gone (a linear step reads several tensors), and so are the
//! coefficients of quadratic activations (folded into the next linear step's weights). Every integer is the
//! public shape of the computation except the weights and biases, which are the server's.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::pieces::Pieces;
use crate::error::{Error, Result};
use crate::network::{Interpolation, LinearKind};
use crate::windows::{MAX_SUM_BITS, SCORE_BITS, Windows};

/// The most elements all tensors may have together (8 GiB of shares, were they all alive).
pub const MAX_TOTAL_ELEMENTS: usize = 1 << 31;

/// The most steps and tensors a network may have.
pub const MAX_STEPS: usize = 4096;

/// The position of a tensor in [`Program::tensors`].
pub type TensorId = usize;

/// The fewest spare bits a tensor must have when a program is built.
pub const MIN_SPARE_BITS: i32 = 1;

/// A tensor's size, scale and range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// The node it belongs to, with a suffix where a node has several.
    pub name: String,
    /// Channels.
    pub channels: usize,
    /// D, H, W.
    pub dims: [usize; 3],
    /// Real value = integer · 2^-scale_bits, but for a power of two of its own that a channel may have inside the
    /// network.
    pub scale_bits: i32,
    /// The largest |integer| seen in calibration.
    pub max_abs: i64,
    /// How often `max_abs` can double within the range, rounded down; negative where it doesn't fit.
    pub spare_bits: i32,
    /// Signed width: every value has |x| < 2^(bits-1), or has overflowed.
    pub bits: u32,
}

impl TensorInfo {
    /// Elements of all channels.
    pub fn elements(&self) -> usize {
        self.channels * self.voxels()
    }

    /// Elements of one channel.
    pub fn voxels(&self) -> usize {
        self.dims.iter().product()
    }

    /// The exclusive bound 2^(bits-1) of |x|.
    pub fn limit(&self) -> i64 {
        1 << (self.bits - 1)
    }
}

/// A network in integers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// All tensors; each but the input is written by exactly one step, before it is read.
    pub tensors: Vec<TensorInfo>,
    /// In order of execution; the last alone is [`Step::Argmax`] or [`Step::Blend`].
    pub steps: Vec<Step>,
    /// The client's prepared and quantised volume.
    pub input: TensorId,
    /// The scores that the last step compares.
    pub logits: TensorId,
    /// Number of labels = channels of `logits`.
    pub classes: usize,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// A convolution or a transposed convolution, then a division by 2^shift.
    Linear(Linear),
    /// out = x^2 / 2^shift for |x| < 2^15.
    Square {
        /// The layer.
        name: String,
        /// Read.
        input: TensorId,
        /// Written.
        output: TensorId,
        /// Truncation of the square.
        shift: u32,
    },
    /// out = max(x, 0).
    Relu {
        /// The layer.
        name: String,
        /// Read.
        input: TensorId,
        /// Written, at the input's scale.
        output: TensorId,
        /// |x| < 2^(bits-1): the width of the ring in which the sign is taken.
        bits: u32,
    },
    /// Maximum over windows, which don't overlap.
    MaxPool {
        /// The layer.
        name: String,
        /// Read.
        input: TensorId,
        /// Written, at the input's scale.
        output: TensorId,
        /// Window along D, H, W; divides the input's dims.
        window: [usize; 3],
        /// |x| < 2^(bits-1).
        bits: u32,
    },
    /// Sum over windows, which don't overlap: the mean at a scale of log2(window volume) more bits where that is a
    /// whole number; else the next linear step's weights take the rest of the division.
    AvgPool {
        /// The layer.
        name: String,
        /// Read.
        input: TensorId,
        /// Written; `scale_bits` exceeds the input's by log2 of the window's volume, rounded down.
        output: TensorId,
        /// Window along D, H, W; divides the input's dims.
        window: [usize; 3],
    },
    /// The label of the largest channel at each voxel, the lowest of a tie, to the client: on a grid of one element the
    /// class.
    Argmax {
        /// The layer.
        name: String,
        /// The scores, [`Program::logits`].
        input: TensorId,
        /// |x| < 2^(bits-1).
        bits: u32,
    },
    /// A function of each element, piece by piece.
    Activation {
        /// The layer.
        name: String,
        /// Read.
        input: TensorId,
        /// Written, at the input's scale.
        output: TensorId,
        /// The function of the input's integers.
        pieces: Pieces,
    },
    /// Minimum over windows, which don't overlap.
    MinPool {
        /// The layer.
        name: String,
        /// Read.
        input: TensorId,
        /// Written, at the input's scale.
        output: TensorId,
        /// Window along D, H, W; divides the input's dims.
        window: [usize; 3],
    },
    /// The same values, each a channel of its own, in the order C, D, H, W: the tensor's own.
    Flatten {
        /// The layer.
        name: String,
        /// Read.
        input: TensorId,
        /// Written, on a grid of one element and at the input's scale.
        output: TensorId,
    },
    /// Channel c·F + p holds, of the output's channel c, the voxels whose place modulo the F = d·h·w factors is p.
    Interleave {
        /// The layer.
        name: String,
        /// Read; its dims are the output's divided by `factor`, rounded up.
        input: TensorId,
        /// Written, at the input's scale.
        output: TensorId,
        /// Along D, H, W.
        factor: [usize; 3],
    },
    /// A grid `factor` times finer along each axis.
    Resize {
        /// The layer.
        name: String,
        /// Read.
        input: TensorId,
        /// Written; `scale_bits` exceeds the input's by [`Interpolation::bits`].
        output: TensorId,
        /// Along D, H, W.
        factor: [usize; 3],
        /// How values are found.
        mode: Interpolation,
    },
    /// All steps before run on each window of a larger input; their scores are summed, weighed by public numbers, and
    /// the label of the largest sum, the lowest of a tie, goes to the client.
    Blend {
        /// The layer.
        name: String,
        /// The scores of a window, [`Program::logits`].
        input: TensorId,
        /// |sum| < 2^(bits-1).
        bits: u32,
        /// The windows.
        windows: Windows,
    },
}

/// A linear step: accumulator = sum of weight·x + bias (+ bias_map), output = accumulator / 2^shift, rounded.
///
/// |accumulator| < 2^30 unless it overflows, so after the truncation |x| < 2^(30-shift).
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// The layer.
    pub name: String,
    /// Geometry.
    pub kind: LinearKind,
    /// Tensors of equal dims, concatenated along the channels in this order.
    pub inputs: Vec<TensorId>,
    /// Channels of all inputs together.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// `[out_channels][in_channels][kd][kh][kw]` for both kinds; |w| < 2^(weight bits - 1).
    pub weights: Vec<i32>,
    /// Signed width of the weights, which bounds the noise; public.
    pub weight_bits: u32,
    /// One per output channel at the accumulator's scale.
    pub bias: Vec<i32>,
    /// `[out_channels, D, H, W]` at the accumulator's scale, added where constants of a quadratic activation
    /// meet the zero padding (or the taps of a transposed convolution).
    pub bias_map: Option<Vec<i32>>,
    /// Fraction bits that the truncation takes off the accumulator.
    pub shift: u32,
    /// Written.
    pub output: TensorId,
}

/// Says what is public of it: no weight and no bias.
impl fmt::Debug for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, in_channels, out_channels, shift, .. } = self;
        write!(f, "Linear({name}, {kind:?}, {in_channels} to {out_channels} channels, shift {shift}, ..)")
    }
}

impl Step {
    /// The layer's name.
    pub fn name(&self) -> &str {
        match self {
            Step::Linear(linear) => &linear.name,
            Step::Square { name, .. }
            | Step::Relu { name, .. }
            | Step::MaxPool { name, .. }
            | Step::AvgPool { name, .. }
            | Step::Flatten { name, .. }
            | Step::Interleave { name, .. }
            | Step::Resize { name, .. }
            | Step::Activation { name, .. }
            | Step::MinPool { name, .. }
            | Step::Argmax { name, .. }
            | Step::Blend { name, .. } => name,
        }
    }

    /// The kind of layer, for reports.
    pub fn kind(&self) -> &'static str {
        match self {
            Step::Linear(Linear { kind: LinearKind::Conv { .. }, .. }) => "conv",
            Step::Linear(_) => "conv_transpose",
            Step::Square { .. } => "square",
            Step::Relu { .. } => "relu",
            Step::MaxPool { .. } => "max_pool",
            Step::AvgPool { .. } => "avg_pool",
            Step::Flatten { .. } => "flatten",
            Step::Interleave { .. } => "interleave",
            Step::Resize { .. } => "resize",
            Step::Activation { .. } => "activation",
            Step::MinPool { .. } => "min_pool",
            Step::Argmax { .. } => "argmax",
            Step::Blend { .. } => "blend",
        }
    }

    /// The tensors it reads.
    pub fn inputs(&self) -> &[TensorId] {
        match self {
            Step::Linear(linear) => &linear.inputs,
            Step::Square { input, .. }
            | Step::Relu { input, .. }
            | Step::MaxPool { input, .. }
            | Step::AvgPool { input, .. }
            | Step::Flatten { input, .. }
            | Step::Interleave { input, .. }
            | Step::Resize { input, .. }
            | Step::Activation { input, .. }
            | Step::MinPool { input, .. }
            | Step::Argmax { input, .. }
            | Step::Blend { input, .. } => std::slice::from_ref(input),
        }
    }

    /// The tensor it writes; the argmax writes labels instead.
    pub fn output(&self) -> Option<TensorId> {
        match self {
            Step::Linear(linear) => Some(linear.output),
            Step::Square { output, .. }
            | Step::Relu { output, .. }
            | Step::MaxPool { output, .. }
            | Step::AvgPool { output, .. }
            | Step::Flatten { output, .. }
            | Step::Interleave { output, .. }
            | Step::Resize { output, .. }
            | Step::Activation { output, .. }
            | Step::MinPool { output, .. } => Some(*output),
            Step::Argmax { .. } | Step::Blend { .. } => None,
        }
    }
}

impl Program {
    /// For each tensor, the index of the last step that reads it, after which it can be dropped.
    pub fn last_uses(&self) -> Vec<usize> {
        let mut last = vec![0; self.tensors.len()];
        for (at, step) in self.steps.iter().enumerate() {
            step.inputs().iter().for_each(|&t| last[t] = at);
        }
        last
    }

    /// The windows that the steps run on, where they do.
    pub fn windows(&self) -> Option<&Windows> {
        match self.steps.last() {
            Some(Step::Blend { windows, .. }) => Some(windows),
            _ => None,
        }
    }

    /// How often the steps run, the last excepted.
    pub fn passes(&self) -> usize {
        self.windows().map_or(1, Windows::count)
    }

    /// How often any step runs: all but the last in each pass, the last once for each slab of windows.
    pub fn executions(&self) -> usize {
        let slabs = self.windows().map_or(1, |windows| windows.starts[0].len());
        (self.steps.len() - 1) * self.passes() + slabs
    }

    /// D, H, W of the input that is labelled.
    pub fn grid(&self) -> [usize; 3] {
        self.windows().map_or(self.tensors[self.input].dims, |windows| windows.grid)
    }

    /// How many voxels get a label: one where there is a class for all of the input.
    pub fn labelled(&self) -> usize {
        self.windows().map_or(self.tensors[self.logits].voxels(), |windows| windows.grid.iter().product())
    }

    /// Channels of the input.
    pub fn channels(&self) -> usize {
        self.tensors[self.input].channels
    }

    /// So many inputs side by side, as voxels of a line; `None` where the network's tensors have grids of their own.
    pub fn of_rows(&self, rows: usize) -> Option<Self> {
        let alone = self.tensors.iter().all(|t| t.dims == [1; 3]);
        let widened = || {
            let mut program = self.clone();
            program.tensors.iter_mut().for_each(|t| t.dims = [1, 1, rows]);
            program
        };
        if rows == 1 { Some(self.clone()) } else { alone.then(widened) }
    }

    /// The same network on windows of the input's size.
    ///
    /// # Errors
    /// [`Error::Model`] where sums of its scores would be too wide.
    pub(crate) fn blended(mut self, windows: Windows) -> Result<Self> {
        let bits = self.tensors[self.logits].bits + windows.weight_bits();
        if bits > MAX_SUM_BITS {
            let (found, more) = (self.tensors[self.logits].bits, windows.weight_bits());
            return Err(Error::Model(format!(
                "quantization.argmax_bits: found scores of {found} bits, to which windows add {more}, expected at most \
                 {MAX_SUM_BITS} in all: `blindvox calibrate` makes them {SCORE_BITS}"
            )));
        }
        if let Some(last) = self.steps.last_mut() {
            *last = Step::Blend { name: last.name().to_owned(), input: self.logits, bits, windows };
        }
        Ok(self)
    }

    /// Whether there is one class for all of the input, in the place of a label for each voxel.
    pub fn gives_class(&self) -> bool {
        self.tensors[self.logits].voxels() == 1
    }

    /// Multiply-adds of all linear steps, in all passes, zero padding included.
    pub fn multiply_adds(&self) -> u64 {
        let cost = |linear: &Linear| {
            // Each output of a convolution meets all weights, each input of a transposed one.
            let grid = if matches!(linear.kind, LinearKind::Conv { .. }) { linear.output } else { linear.inputs[0] };
            let voxels = self.tensors[grid].voxels();
            (voxels * linear.kind.volume() * linear.in_channels * linear.out_channels) as u64
        };
        let pass: u64 = self.steps.iter().map(|s| if let Step::Linear(linear) = s { cost(linear) } else { 0 }).sum();
        pass * self.passes() as u64
    }

    /// The program as the client knows it: shapes, scales and shifts, no weights, biases or calibrated ranges.
    pub fn public_view(&self) -> Program {
        let mut view = self.clone();
        for tensor in &mut view.tensors {
            (tensor.max_abs, tensor.spare_bits) = (0, 0);
        }
        for step in &mut view.steps {
            if let Step::Linear(linear) = step {
                linear.weights = Vec::new();
                linear.bias = Vec::new();
                linear.bias_map = None;
            }
        }
        view
    }
}
