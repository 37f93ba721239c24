//! The network as its author wrote it: a JSON list of nodes, checked and given shapes.
//!
//! A value is a tensor `[channels, D, H, W]`; a planar (2D) network has `D = 1` and writes its sizes as
//! `[H, W]`. Nodes stand in an order in which every input precedes its use; the first is the one `input`, the
//! last the one `argmax`. `docs/bundle.md` lists all operations.
//!
//! In version 1 convolutions have stride 1 and zero padding of half their odd kernel, so they keep the grid; pooling
//! halves it and a transposed convolution doubles it. Version 2 adds strides, paddings and windows of any size, dense
//! layers and what leads to them, sums, factors a channel, repeated voxels, and more activations.

mod activation;
mod check;
mod written;

use serde::{Deserialize, Serialize};

pub use activation::{Activation, Function, Piece, Slope};

use crate::network::{Interpolation, LinearKind, Shape, Transposed};

/// The newest version of `model.json` that this crate reads and writes; it reads all from 1 on.
pub const VERSION: u32 = 2;
/// The most nodes a graph may have.
pub const MAX_NODES: usize = 4096;
/// The most channels a tensor may have.
pub const MAX_CHANNELS: usize = 1 << 16;
/// The most elements a tensor (or a weight) may have.
pub const MAX_ELEMENTS: usize = 1 << 28;
/// The longest name of a node, in bytes; layers get it with a short suffix.
pub const MAX_NAME: usize = 200;
/// The largest size of a kernel and the largest stride along an axis.
pub const MAX_KERNEL: usize = 31;
/// The most elements in the window of a maximum or a minimum.
pub const MAX_WINDOW: usize = 512;

/// A network: nodes in an order in which each one's inputs come before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// The version of the whole `model.json`: 1 to [`VERSION`].
    pub version: u32,
    /// The nodes, `input` first, `argmax` last.
    pub nodes: Vec<Node>,
}

impl Graph {
    /// The same network on a grid of other sizes.
    pub(crate) fn on(&self, grid: [usize; 3]) -> Self {
        let mut graph = self.clone();
        if let Some(Node { op: Op::Input { dims: Some(dims), .. }, .. }) = graph.nodes.first_mut() {
            *dims = grid[3 - dims.len().min(3)..].to_vec();
        }
        graph
    }
}

/// One operation and what it reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// A name that no other node has.
    pub name: String,
    /// What it computes.
    #[serde(with = "written")]
    pub op: Op,
    /// The names of the nodes it reads, in order.
    #[serde(default)]
    pub inputs: Vec<String>,
}

/// What a node computes. Fields of type `String` name tensors of the weights file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// What the client has prepared: `channels` and `dims` of a volume, or `features` of a row.
    Input {
        /// Channels of the volume.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channels: Option<usize>,
        /// `[D, H, W]`, or `[H, W]` for a planar network.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dims: Option<Vec<usize>>,
        /// Numbers of a row, each a channel on a grid of one element. Since version 2.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        features: Option<usize>,
    },
    /// Convolution with zero padding: `out[z] = sum_k w[k]·in[stride·z + k - padding]`.
    Conv {
        /// Output channels.
        out_channels: usize,
        /// As many sizes as the grid has axes; odd in version 1.
        kernel: Vec<usize>,
        /// Steps along the axes; 1 where they aren't said. Since version 2.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stride: Option<Vec<usize>>,
        /// Zeros before and after the grid along the axes, fewer than the kernel's size; half the kernel, rounded down,
        /// where they aren't said. Since version 2.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        padding: Option<Vec<usize>>,
        /// `[out_channels, in_channels, kernel…]`.
        weight: String,
        /// `[out_channels]`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bias: Option<String>,
        /// A normalisation to fold into weight and bias.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        batch_norm: Option<BatchNorm>,
    },
    /// Transposed convolution: input z adds to output `stride·z + k - padding` by tap k.
    ConvTranspose {
        /// Output channels.
        out_channels: usize,
        /// Sizes along the axes; 2 where they aren't said. Since version 2, as the three that follow.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kernel: Option<Vec<usize>>,
        /// Steps along the axes; 2 where they aren't said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stride: Option<Vec<usize>>,
        /// Voxels taken off both ends of the axes; 0 where they aren't said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        padding: Option<Vec<usize>>,
        /// Voxels added to the far ends, fewer than the stride; 0 where they aren't said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output_padding: Option<Vec<usize>>,
        /// `[in_channels, out_channels, kernel…]`.
        weight: String,
        /// `[out_channels]`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bias: Option<String>,
        /// A normalisation to fold into weight and bias.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        batch_norm: Option<BatchNorm>,
    },
    /// A weighted sum of all features: of a grid of one element. Since version 2.
    Dense {
        /// Output channels.
        out_features: usize,
        /// `[out_features, in_features]`.
        weight: String,
        /// `[out_features]`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bias: Option<String>,
        /// A normalisation to fold into weight and bias.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        batch_norm: Option<BatchNorm>,
    },
    /// Every element a feature of its own, in the order C, D, H, W. Since version 2.
    Flatten,
    /// x^2.
    Square,
    /// max(x, 0).
    Relu,
    /// A function by its name or piece by piece. Since version 2.
    Activation(Activation),
    /// a·x^2 + b·x + c with coefficients per channel.
    Quadratic {
        /// `[channels]`.
        a: String,
        /// `[channels]`.
        b: String,
        /// `[channels]`.
        c: String,
    },
    /// Mean over windows side by side.
    AvgPool {
        /// Sizes along the axes, which divide the grid; 2 where they aren't said. Since version 2.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<Vec<usize>>,
    },
    /// Maximum over windows side by side.
    MaxPool {
        /// Sizes along the axes, which divide the grid; 2 where they aren't said. Since version 2.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<Vec<usize>>,
    },
    /// Minimum over windows side by side. Since version 2.
    MinPool {
        /// Sizes along the axes, which divide the grid; 2 where they aren't said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<Vec<usize>>,
    },
    /// Mean over the whole grid. Since version 2.
    GlobalAvgPool,
    /// The inputs' sum, element by element. Since version 2.
    Add,
    /// factor·x + offset with numbers of its own for each channel. Since version 2.
    Scale {
        /// `[channels]`; 1 where it isn't said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        factor: Option<String>,
        /// `[channels]`; 0 where it isn't said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offset: Option<String>,
    },
    /// A grid so many times finer along each axis. Since version 2.
    Resize {
        /// As many as the grid has axes; 1 or 2 where it is linear.
        factor: Vec<usize>,
        /// How values are found; the nearest where it isn't said.
        #[serde(default, skip_serializing_if = "is_nearest")]
        mode: Interpolation,
    },
    /// gamma·(x - mean)/sqrt(variance + eps) + beta with the mean and the variance of each channel of this very tensor.
    /// Since version 2.
    InstanceNorm {
        /// `[channels]`; 1 where it isn't said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gamma: Option<String>,
        /// `[channels]`; 0 where it isn't said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        beta: Option<String>,
        /// Added to the variance, above 0.
        eps: f64,
        /// Whether calibration may put the means and variances of its volumes in the place of a scan's own, which is an
        /// approximation.
        #[serde(default)]
        fold: bool,
    },
    /// The inputs' channels one after another.
    Concat,
    /// The label of the largest channel, the lowest label of a tie; the output.
    Argmax,
}

/// Batch normalisation of a linear layer's output: gamma·(y - mean)/sqrt(var + eps) + beta.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm {
    /// `[out_channels]`.
    pub gamma: String,
    /// `[out_channels]`.
    pub beta: String,
    /// `[out_channels]`.
    pub mean: String,
    /// `[out_channels]`.
    pub var: String,
    /// Added to the variance, above 0.
    pub eps: f64,
}

/// What [`Graph::check`] found out about a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The shape of each node's value (of the scores that it compares for `argmax`).
    pub shapes: Vec<Shape>,
    /// The positions of each node's inputs.
    pub inputs: Vec<Vec<usize>>,
    /// Whether the network is 2D.
    pub planar: bool,
}

impl Layout {
    /// The window of a pooling and the factor of a transposed convolution where none is said.
    pub fn pair(&self) -> [usize; 3] {
        if self.planar { [1, 2, 2] } else { [2, 2, 2] }
    }

    /// The geometry of a linear operation. Call with one of a checked graph.
    pub(crate) fn kind(&self, op: &Op) -> LinearKind {
        match op {
            Op::Conv { kernel, stride, padding, .. } => self
                .conv(kernel, stride.as_deref(), padding.as_deref())
                .expect("a checked graph has sizes for each axis"),
            Op::Dense { .. } => LinearKind::conv([1; 3]),
            other => unreachable!("{} is not linear", other.name()),
        }
    }

    /// A convolution's geometry; `None` where a list hasn't as many sizes as there are axes.
    fn conv(&self, kernel: &[usize], stride: Option<&[usize]>, padding: Option<&[usize]>) -> Option<LinearKind> {
        let kernel = self.three(kernel, 1)?;
        let stride = stride.map_or(Some([1; 3]), |list| self.three(list, 1))?;
        let padding = padding.map_or(Some(kernel.map(|k| k / 2)), |list| self.three(list, 0))?;
        Some(LinearKind::Conv { kernel, stride, padding })
    }

    /// The geometry of a transposed convolution. Call with one of a checked graph.
    pub(crate) fn transposed(&self, op: &Op) -> Transposed {
        let Op::ConvTranspose { kernel, stride, padding, output_padding, .. } = op else {
            unreachable!("{} is no transposed convolution", op.name())
        };
        self.transposition([kernel, stride, padding, output_padding].map(Option::as_deref))
            .expect("a checked graph has sizes for each axis")
    }

    /// From kernel, stride, padding and output padding; `None` where a list hasn't as many sizes as there are axes.
    fn transposition(&self, [kernel, stride, padding, output_padding]: [Option<&[usize]>; 4]) -> Option<Transposed> {
        let sized = |list: Option<&[usize]>, default, fill| list.map_or(Some(default), |list| self.three(list, fill));
        Some(Transposed {
            kernel: sized(kernel, self.pair(), 1)?,
            stride: sized(stride, self.pair(), 1)?,
            padding: sized(padding, [0; 3], 0)?,
            output_padding: sized(output_padding, [0; 3], 0)?,
        })
    }

    /// How often each voxel comes. Call with the operation of a checked graph.
    pub(crate) fn repeats(&self, factor: &[usize]) -> [usize; 3] {
        self.three(factor, 1).expect("a checked graph has sizes for each axis")
    }

    /// The window of the pooling at this position. Call with one of a checked graph.
    pub(crate) fn window(&self, at: usize, op: &Op) -> [usize; 3] {
        match op {
            Op::AvgPool { window } | Op::MaxPool { window } | Op::MinPool { window } => {
                self.sized(window.as_deref()).expect("a checked graph has sizes for each axis")
            }
            Op::GlobalAvgPool => self.shapes[self.inputs[at][0]].dims,
            other => unreachable!("{} has no window", other.name()),
        }
    }

    /// A window by its sizes, if there is one for each axis.
    fn sized(&self, window: Option<&[usize]>) -> Option<[usize; 3]> {
        window.map_or(Some(self.pair()), |sizes| self.three(sizes, 1))
    }

    /// Three sizes from the two or three of a JSON list, `fill` along D for a planar network; `None` where their number
    /// doesn't fit.
    fn three(&self, list: &[usize], fill: usize) -> Option<[usize; 3]> {
        match (list, self.planar) {
            (&[h, w], true) => Some([fill, h, w]),
            (&[d, h, w], false) => Some([d, h, w]),
            _ => None,
        }
    }
}

fn is_nearest(mode: &Interpolation) -> bool {
    *mode == Interpolation::Nearest
}

impl Op {
    /// The operation's name in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input { .. } => "input",
            Op::Conv { .. } => "conv",
            Op::ConvTranspose { .. } => "conv_transpose",
            Op::Dense { .. } => "dense",
            Op::Flatten => "flatten",
            Op::Square => "square",
            Op::Relu => "relu",
            Op::Activation(_) => "activation",
            Op::Quadratic { .. } => "quadratic",
            Op::AvgPool { .. } => "avg_pool",
            Op::MaxPool { .. } => "max_pool",
            Op::MinPool { .. } => "min_pool",
            Op::GlobalAvgPool => "global_avg_pool",
            Op::Add => "add",
            Op::Scale { .. } => "scale",
            Op::Resize { .. } => "resize",
            Op::InstanceNorm { .. } => "instance_norm",
            Op::Concat => "concat",
            Op::Argmax => "argmax",
        }
    }

    /// What version 1 hasn't of it.
    fn newer(&self) -> Option<&'static str> {
        match self {
            Op::Input { features: Some(_), .. } => Some("features"),
            Op::Conv { stride: Some(_), .. } => Some("stride"),
            Op::Conv { padding: Some(_), .. } => Some("padding"),
            Op::ConvTranspose { kernel: Some(_), .. } => Some("kernel"),
            Op::ConvTranspose { stride: Some(_), .. } => Some("stride"),
            Op::ConvTranspose { padding: Some(_), .. } => Some("padding"),
            Op::ConvTranspose { output_padding: Some(_), .. } => Some("output_padding"),
            Op::AvgPool { window: Some(_) } | Op::MaxPool { window: Some(_) } => Some("window"),
            Op::Dense { .. }
            | Op::Flatten
            | Op::Activation(_)
            | Op::MinPool { .. }
            | Op::GlobalAvgPool
            | Op::Add
            | Op::Scale { .. }
            | Op::Resize { .. }
            | Op::InstanceNorm { .. } => Some(self.name()),
            _ => None,
        }
    }
}
