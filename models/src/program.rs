//! The network as it is executed: steps on integer tensors, the same for the exact reference and for the
//! secure protocol.
//!
//! A tensor of `channels × dims` holds fixed-point values: real = integer · 2^-`scale_bits`, in the order
//! `[channels, D, H, W]`. Concatenations are gone (a linear step reads several tensors), and so are the
//! coefficients of quadratic activations (folded into the next linear step's weights). Every integer is the
//! public shape of the computation except the weights and biases, which are the server's.

use std::fmt;

use serde::{Deserialize, Serialize};

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
    /// Real value = integer · 2^-scale_bits, but for a power of two of its own that a channel may have inside the network.
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
    /// In order of execution; the last is the only [`Step::Argmax`].
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
    /// Sum over windows, which don't overlap; the mean at a scale of log2(window volume) more bits.
    AvgPool {
        /// The layer.
        name: String,
        /// Read.
        input: TensorId,
        /// Written; `scale_bits` exceeds the input's by log2 of the window's volume.
        output: TensorId,
        /// Window along D, H, W; powers of two that divide the input's dims.
        window: [usize; 3],
    },
    /// The label of the largest channel, the lowest of a tie, to the client.
    Argmax {
        /// The layer.
        name: String,
        /// The scores, [`Program::logits`].
        input: TensorId,
        /// |x| < 2^(bits-1).
        bits: u32,
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

/// The geometry of a linear step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Encoded", into = "Encoded")]
pub enum LinearKind {
    /// `out[z] = sum_k w[k]·in[stride·z + k - padding]`, zero outside.
    Conv {
        /// Sizes along D, H, W.
        kernel: [usize; 3],
        /// From one output to the next along D, H, W.
        stride: [usize; 3],
        /// Zeros before the first voxel along D, H, W, fewer than the kernel's size; how many follow the last one is
        /// implied by the output's dims.
        padding: [usize; 3],
    },
    /// `out[factor·z + k] = w[k]·in[z]` for 0 <= k < factor; the grid grows by `factor`.
    Transposed2 {
        /// `[2, 2, 2]`, or `[1, 2, 2]` in a planar network.
        factor: [usize; 3],
    },
}

/// How a geometry is written: the fields that most convolutions don't use take no bytes there.
#[derive(Serialize, Deserialize)]
enum Encoded {
    Conv { kernel: [usize; 3] },
    Transposed2 { factor: [usize; 3] },
    Strided { kernel: [usize; 3], stride: [usize; 3], padding: [usize; 3] },
}

impl From<LinearKind> for Encoded {
    fn from(kind: LinearKind) -> Self {
        match kind {
            LinearKind::Conv { kernel, .. } if kind == LinearKind::conv(kernel) => Self::Conv { kernel },
            LinearKind::Conv { kernel, stride, padding } => Self::Strided { kernel, stride, padding },
            LinearKind::Transposed2 { factor } => Self::Transposed2 { factor },
        }
    }
}

impl From<Encoded> for LinearKind {
    fn from(encoded: Encoded) -> Self {
        match encoded {
            Encoded::Conv { kernel } => Self::conv(kernel),
            Encoded::Transposed2 { factor } => Self::Transposed2 { factor },
            Encoded::Strided { kernel, stride, padding } => Self::Conv { kernel, stride, padding },
        }
    }
}

impl LinearKind {
    /// A convolution with stride 1 and a padding of half the kernel; an odd one keeps the grid.
    pub const fn conv(kernel: [usize; 3]) -> Self {
        let [d, h, w] = kernel;
        Self::Conv { kernel, stride: [1; 3], padding: [d / 2, h / 2, w / 2] }
    }

    /// Weights for a pair of channels along each axis.
    pub fn taps(&self) -> [usize; 3] {
        match *self {
            LinearKind::Conv { kernel, .. } => kernel,
            LinearKind::Transposed2 { factor } => factor,
        }
    }

    /// Weights for a pair of channels.
    pub fn volume(&self) -> usize {
        self.taps().iter().product()
    }

    /// The output grid of an input grid; of a convolution with as many zeros behind the grid as before it, at most: 0 along
    /// an axis where the padded grid is smaller than the kernel.
    pub fn output_dims(&self, dims: [usize; 3]) -> [usize; 3] {
        std::array::from_fn(|i| match *self {
            LinearKind::Conv { kernel, stride, padding } => {
                (dims[i] + 2 * padding[i]).checked_sub(kernel[i]).map_or(0, |free| free / stride[i] + 1)
            }
            LinearKind::Transposed2 { factor } => dims[i] * factor[i],
        })
    }

    /// Whether it takes the grid `input` to the grid `output`: every window of a convolution meets the grid.
    pub fn fits(&self, input: [usize; 3], output: [usize; 3]) -> bool {
        match *self {
            LinearKind::Conv { kernel, stride, padding } => (0..3).all(|i| {
                let last = output[i].checked_sub(1).and_then(|last| last.checked_mul(stride[i]));
                let reach = input[i].checked_add(padding[i]);
                stride[i] > 0 && padding[i] < kernel[i] && last.zip(reach).is_some_and(|(last, reach)| last < reach)
            }),
            LinearKind::Transposed2 { .. } => self.output_dims(input) == output,
        }
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
            | Step::Argmax { name, .. } => name,
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
            Step::Argmax { .. } => "argmax",
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
            | Step::Argmax { input, .. } => std::slice::from_ref(input),
        }
    }

    /// The tensor it writes; the argmax writes labels instead.
    pub fn output(&self) -> Option<TensorId> {
        match self {
            Step::Linear(linear) => Some(linear.output),
            Step::Square { output, .. }
            | Step::Relu { output, .. }
            | Step::MaxPool { output, .. }
            | Step::AvgPool { output, .. } => Some(*output),
            Step::Argmax { .. } => None,
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

    /// Multiply-adds of all linear steps, zero padding included.
    pub fn multiply_adds(&self) -> u64 {
        let cost = |linear: &Linear| {
            // Each output of a convolution meets all weights, each input of a transposed one.
            let grid = if matches!(linear.kind, LinearKind::Conv { .. }) { linear.output } else { linear.inputs[0] };
            let voxels = self.tensors[grid].voxels();
            (voxels * linear.kind.volume() * linear.in_channels * linear.out_channels) as u64
        };
        self.steps.iter().map(|s| if let Step::Linear(linear) = s { cost(linear) } else { 0 }).sum()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometry_takes_a_grid_to_a_grid() {
        let conv = |kernel, stride, padding| LinearKind::Conv { kernel, stride, padding };
        for (kind, input, output) in [
            (LinearKind::conv([3, 1, 5]), [4, 5, 6], [4, 5, 6]),
            (LinearKind::conv([2, 4, 6]), [4, 5, 6], [5, 6, 7]),
            (conv([1, 5, 5], [1, 4, 4], [0, 2, 2]), [1, 112, 112], [1, 28, 28]),
            (conv([2, 2, 2], [2, 2, 2], [0, 0, 0]), [5, 4, 2], [2, 2, 1]),
            (conv([3, 3, 3], [7, 7, 7], [1, 1, 1]), [1, 8, 7], [1, 2, 1]),
            (LinearKind::Transposed2 { factor: [1, 2, 2] }, [1, 3, 4], [1, 6, 8]),
        ] {
            assert_eq!(kind.output_dims(input), output, "{kind:?}");
            assert!(kind.fits(input, output) && !kind.fits(input, [0, 1, 1]) && !kind.fits(input, [9, 200, 200]));
        }
        assert_eq!(conv([5, 1, 1], [1; 3], [0; 3]).output_dims([4, 1, 1]), [0, 1, 1]);
        for wrong in [conv([1; 3], [0; 3], [0; 3]), conv([1; 3], [1; 3], [1, 0, 0]), conv([0; 3], [1; 3], [0; 3])] {
            assert!(!wrong.fits([4; 3], [4; 3]), "{wrong:?}");
        }
    }

    #[test]
    fn a_convolution_that_keeps_the_grid_is_written_as_its_kernel() {
        let bytes = |kind: &LinearKind| serde_json::to_string(kind).expect("JSON");
        assert_eq!(bytes(&LinearKind::conv([3, 1, 5])), r#"{"Conv":{"kernel":[3,1,5]}}"#);
        for kind in [
            LinearKind::conv([3, 1, 5]),
            LinearKind::Conv { kernel: [3; 3], stride: [1, 2, 1], padding: [1; 3] },
            LinearKind::Conv { kernel: [3; 3], stride: [1; 3], padding: [1, 0, 1] },
            LinearKind::Transposed2 { factor: [2; 3] },
        ] {
            assert_eq!(serde_json::from_str::<LinearKind>(&bytes(&kind)).expect("what was written"), kind);
        }
    }
}
