//! The network in real numbers: what a graph and its weights say, with batch normalisation folded into the linear
//! layers.
//!
//! Nothing here knows how it will be computed: a linear layer has its weights as they are, an activation is one node
//! with its coefficients, a skip is a concatenation. Readers lower it to what they compute with: [`crate::integers`] to
//! exact steps on integers.
//!
//! Tensors are `[channels, D, H, W]` in that order, with W fastest; a planar network has D = 1, and what has no grid
//! (the features of a table, a flattened tensor, the scores of a class) has a grid of one element.

mod kind;
mod norms;
mod transposed;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use crate::format::graph::Piece;
pub use kind::LinearKind;
pub use transposed::Transposed;

/// The position of a node in [`Network::nodes`].
pub type NodeId = usize;

/// A network in real numbers.
#[derive(Clone, Debug)]
pub struct Network {
    /// In order of execution: the first is the one [`Op::Input`], the others read earlier ones.
    pub nodes: Vec<Node>,
    /// The node whose channels are the scores of the classes.
    pub scores: NodeId,
    /// What becomes of the scores.
    pub output: Output,
    /// The name that the output has in the graph.
    pub output_name: String,
}

/// The size of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Channels.
    pub channels: usize,
    /// D, H, W; D = 1 in a planar network.
    pub dims: [usize; 3],
}

impl Shape {
    /// Elements of all channels.
    pub fn elements(&self) -> usize {
        self.channels * self.voxels()
    }

    /// Elements of one channel.
    pub fn voxels(&self) -> usize {
        self.dims.iter().product()
    }
}

/// An operation, what it reads and the tensor that it makes.
#[derive(Clone, Debug)]
pub struct Node {
    /// The name that it has in the graph.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// The nodes it reads, in order.
    pub inputs: Vec<NodeId>,
    /// Its tensor.
    pub shape: Shape,
}

/// How values of a finer grid are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Every voxel so many times.
    #[default]
    Nearest,
    /// By straight lines between the centres of voxels, the last ones going on beyond them: twice as fine, three quarters
    /// of a voxel and a quarter of its neighbour.
    Linear,
}

impl Interpolation {
    /// log2 of the whole numbers that the weights of a finer voxel add up to.
    pub fn bits(self, factor: [usize; 3]) -> u32 {
        match self {
            Self::Nearest => 0,
            Self::Linear => factor.iter().map(|&f| if f == 2 { 2 } else { 0 }).sum(),
        }
    }
}

/// What a node computes.
#[derive(Clone, Debug)]
pub enum Op {
    /// What the client has.
    Input,
    /// A weighted sum with a bias.
    Linear(Linear),
    /// A convolution whose output channels hold the phases of a finer grid: channel c·F + p of them is, of channel c,
    /// the voxels whose place modulo the F = d·h·w factors is p. What a transposed convolution is.
    Interleaved(Linear, [usize; 3]),
    /// The same function of each element.
    Activation(Activation),
    /// The mean of each window, side by side; the windows' sizes along D, H, W divide the grid.
    AvgPool([usize; 3]),
    /// The maximum of each window, likewise.
    MaxPool([usize; 3]),
    /// The minimum of each window, likewise.
    MinPool([usize; 3]),
    /// The inputs' channels one after another.
    Concat,
    /// The inputs' sum.
    Add,
    /// factor·x + offset with numbers of its own for each channel.
    Scale(Scale),
    /// A grid so many times finer along D, H, W.
    Resize([usize; 3], Interpolation),
    /// (x - mean)/sqrt(variance + eps) with each channel's own mean and variance, then a factor and an offset.
    InstanceNorm {
        /// What becomes of the normalised values.
        scale: Scale,
        /// Added to the variance.
        eps: f64,
        /// Whether statistics of other volumes may stand for a volume's own.
        fold: bool,
    },
    /// Every element a channel of its own, in the order C, D, H, W.
    Flatten,
}

/// A convolution, a transposed convolution or, on a grid of one element, a dense layer.
#[derive(Clone)]
pub struct Linear {
    /// Geometry.
    pub kind: LinearKind,
    /// `[out_channels][in_channels][kd][kh][kw]` for every kind, normalisation folded in.
    pub weights: Vec<f32>,
    /// One an output channel.
    pub bias: Vec<f64>,
}

/// A factor and an offset a channel.
#[derive(Clone)]
pub struct Scale {
    /// One a channel.
    pub factor: Vec<f64>,
    /// One a channel.
    pub offset: Vec<f64>,
}

impl Scale {
    /// What it does to values normalised by a mean and a variance a channel.
    pub(crate) fn normalised(&self, moments: &[[f64; 2]], eps: f64) -> Self {
        let factor: Vec<f64> = self.factor.iter().zip(moments).map(|(f, [_, var])| f / (var + eps).sqrt()).collect();
        let offset = self.offset.iter().zip(&factor).zip(moments).map(|((o, f), [mean, _])| o - mean * f).collect();
        Self { factor, offset }
    }
}

/// An activation.
#[derive(Clone)]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x, and slope·x for negative x, with a slope of its own for each channel.
    LeakyRelu {
        /// One a channel.
        slopes: Vec<f32>,
    },
    /// x^2.
    Square,
    /// a·x^2 + b·x + c with coefficients of its own for each channel.
    Quadratic {
        /// One a channel.
        a: Vec<f32>,
        /// One a channel.
        b: Vec<f32>,
        /// One a channel.
        c: Vec<f32>,
    },
    /// Polynomials on pieces of the line, the same for all channels.
    Pieces(Vec<Piece>),
}

/// What the client learns of the scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The class of the largest score at each voxel, the lowest of a tie.
    Labels,
    /// The class of the largest score, the lowest of a tie: the grid has one element.
    Class,
    /// The scores themselves.
    Scores,
}

/// Says what is public of it: no weight and no bias.
impl fmt::Debug for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linear({:?}, ..)", self.kind)
    }
}

/// Says what is public of it: no number.
impl fmt::Debug for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scale(..)")
    }
}

/// Says what is public of it: no coefficient.
impl fmt::Debug for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relu => "Relu",
            Self::LeakyRelu { .. } => "LeakyRelu(..)",
            Self::Square => "Square",
            Self::Quadratic { .. } => "Quadratic(..)",
            Self::Pieces(_) => "Pieces(..)",
        })
    }
}

impl Network {
    /// The shape of what the client gives.
    pub fn input(&self) -> Shape {
        self.nodes[0].shape
    }

    /// Number of labels: the channels of the scores.
    pub fn classes(&self) -> usize {
        self.nodes[self.scores].shape.channels
    }
}
