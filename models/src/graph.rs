//! The network as its author wrote it: a JSON list of nodes, checked and given shapes.
//!
//! A value is a tensor `[channels, D, H, W]`; a planar (2D) network has `D = 1` and writes its sizes as
//! `[H, W]`. Nodes stand in an order in which every input precedes its use; the first is the one `input`, the
//! last the one `argmax`. Convolutions have stride 1 and zero padding of half their odd kernel, so they keep
//! the grid; pooling halves it and a transposed convolution doubles it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

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
/// The largest kernel size along an axis.
pub const MAX_KERNEL: usize = 31;

/// A network: nodes in an order in which each one's inputs come before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// The version of the whole `model.json`: 1 to [`VERSION`].
    pub version: u32,
    /// The nodes, `input` first, `argmax` last.
    pub nodes: Vec<Node>,
}

/// One operation and what it reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// A name that no other node has.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// The names of the nodes it reads, in order.
    #[serde(default)]
    pub inputs: Vec<String>,
}

/// What a node computes. Fields of type `String` name tensors of the weights file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// The prepared volume.
    Input {
        /// Channels of the volume.
        channels: usize,
        /// `[D, H, W]`, or `[H, W]` for a planar network.
        dims: Vec<usize>,
    },
    /// Convolution, stride 1, zero padding of half the kernel.
    Conv {
        /// Output channels.
        out_channels: usize,
        /// Odd sizes, as many as the grid has axes.
        kernel: Vec<usize>,
        /// `[out_channels, in_channels, kernel…]`.
        weight: String,
        /// `[out_channels]`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bias: Option<String>,
        /// A normalisation to fold into weight and bias.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        batch_norm: Option<BatchNorm>,
    },
    /// Transposed convolution with kernel 2 and stride 2 along every axis of the grid.
    ConvTranspose {
        /// Output channels.
        out_channels: usize,
        /// `[in_channels, out_channels, 2…]`.
        weight: String,
        /// `[out_channels]`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bias: Option<String>,
        /// A normalisation to fold into weight and bias.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        batch_norm: Option<BatchNorm>,
    },
    /// x^2.
    Square,
    /// max(x, 0).
    Relu,
    /// a·x^2 + b·x + c with coefficients per channel.
    Quadratic {
        /// `[channels]`.
        a: String,
        /// `[channels]`.
        b: String,
        /// `[channels]`.
        c: String,
    },
    /// Mean over windows of 2 along every axis.
    AvgPool,
    /// Maximum over windows of 2 along every axis.
    MaxPool,
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

/// The size of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The window of a pooling and the factor of a transposed convolution.
    pub fn pair(&self) -> [usize; 3] {
        if self.planar { [1, 2, 2] } else { [2, 2, 2] }
    }
}

/// Three sizes from the two or three of a JSON list; `None` where their number doesn't fit.
fn three(list: &[usize], planar: bool) -> Option<[usize; 3]> {
    match (list, planar) {
        (&[h, w], true) => Some([1, h, w]),
        (&[d, h, w], false) => Some([d, h, w]),
        _ => None,
    }
}

/// The kernel sizes of a convolution as three axes. Call on a checked graph.
pub(crate) fn kernel3(kernel: &[usize], planar: bool) -> [usize; 3] {
    three(kernel, planar).expect("a checked graph has kernels of its own number of axes")
}

/// Everything wrong with a node is said in one form.
fn wrong(
    file: &str,
    node: &str,
    field: &str,
    found: impl std::fmt::Display,
    expected: impl std::fmt::Display,
) -> Error {
    Error::Model(format!("{file}: node {node:?}: {field}: found {found}, expected {expected}"))
}

impl Graph {
    /// Checks every rule of the format and infers all shapes.
    ///
    /// # Errors
    /// [`Error::Model`], one line that names `file`, the node, the field, what was found and what was expected.
    pub fn check(&self, file: &str) -> Result<Layout> {
        if !(1..=VERSION).contains(&self.version) {
            return Err(Error::Model(format!("{file}: version: found {}, expected 1 to {VERSION}", self.version)));
        }
        if !(2..=MAX_NODES).contains(&self.nodes.len()) {
            let found = self.nodes.len();
            return Err(Error::Model(format!("{file}: nodes: found {found}, expected 2 to {MAX_NODES}")));
        }
        let mut layout = Layout { shapes: Vec::new(), inputs: Vec::new(), planar: false };
        let mut by_name = HashMap::new();
        let mut used = vec![false; self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate() {
            let inputs = self.resolve(file, at, &by_name)?;
            inputs.iter().for_each(|&i| used[i] = true);
            if let Op::Input { dims, .. } = &node.op {
                layout.planar = dims.len() == 2;
            }
            let shape = infer(file, node, &inputs, &layout)?;
            if shape.channels == 0 || shape.channels > MAX_CHANNELS {
                let expected = format!("1 to {MAX_CHANNELS}");
                return Err(wrong(file, &node.name, "channels", shape.channels, expected));
            }
            let elements = shape.dims.iter().try_fold(shape.channels, |n, &d| n.checked_mul(d));
            if !elements.is_some_and(|n| (1..=MAX_ELEMENTS).contains(&n)) {
                let found = format!("{} channels of {:?}", shape.channels, shape.dims);
                return Err(wrong(file, &node.name, "size", found, format!("1 to {MAX_ELEMENTS} elements")));
            }
            layout.shapes.push(shape);
            layout.inputs.push(inputs);
            by_name.insert(node.name.as_str(), at);
        }
        if let Some(unused) = used[..used.len() - 1].iter().position(|u| !u) {
            return Err(wrong(file, &self.nodes[unused].name, "output", "no reader", "a later node that reads it"));
        }
        Ok(layout)
    }

    /// The positions of a node's inputs, once its name and its place in the list are known to be right.
    fn resolve(&self, file: &str, at: usize, by_name: &HashMap<&str, usize>) -> Result<Vec<usize>> {
        let node = &self.nodes[at];
        let name = &node.name;
        if name.len() > MAX_NAME || name.chars().any(char::is_control) {
            let expected = format!("at most {MAX_NAME} bytes, no control characters");
            return Err(wrong(file, &name.chars().take(40).collect::<String>(), "name", name.len(), expected));
        }
        if name.is_empty() || by_name.contains_key(name.as_str()) {
            return Err(wrong(file, name, "name", format!("{name:?}"), "a name of its own"));
        }
        if matches!(node.op, Op::Input { .. }) != (at == 0) {
            return Err(wrong(file, name, "op", node.op.name(), "one input node, the first"));
        }
        let last = at + 1 == self.nodes.len();
        if matches!(node.op, Op::Argmax) != last {
            return Err(wrong(file, name, "op", node.op.name(), "one argmax node, the last"));
        }
        let (found, expected) = (node.inputs.len(), node.op.arity());
        if !expected.contains(&found) {
            let (low, high) = (expected.start(), expected.end());
            let text = if low == high { format!("{low}") } else { format!("{low} to {high}") };
            return Err(wrong(file, name, "inputs", found, text));
        }
        let find = |input: &String| {
            let missing = || wrong(file, name, "inputs", format!("{input:?}"), "the name of an earlier node");
            by_name.get(input.as_str()).copied().ok_or_else(missing)
        };
        node.inputs.iter().map(find).collect()
    }
}

impl Op {
    /// The operation's name in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input { .. } => "input",
            Op::Conv { .. } => "conv",
            Op::ConvTranspose { .. } => "conv_transpose",
            Op::Square => "square",
            Op::Relu => "relu",
            Op::Quadratic { .. } => "quadratic",
            Op::AvgPool => "avg_pool",
            Op::MaxPool => "max_pool",
            Op::Concat => "concat",
            Op::Argmax => "argmax",
        }
    }

    /// How many inputs it reads.
    fn arity(&self) -> std::ops::RangeInclusive<usize> {
        match self {
            Op::Input { .. } => 0..=0,
            Op::Concat => 2..=64,
            _ => 1..=1,
        }
    }
}

/// The shape of a node's value from its inputs' shapes.
fn infer(file: &str, node: &Node, inputs: &[usize], layout: &Layout) -> Result<Shape> {
    let input = inputs.first().map(|&i| layout.shapes[i]);
    let [pd, ph, pw] = layout.pair();
    match (&node.op, input) {
        (Op::Input { channels, dims }, _) => {
            let dims = three(dims, dims.len() == 2)
                .ok_or_else(|| wrong(file, &node.name, "dims", format!("{dims:?}"), "[D, H, W] or [H, W]"))?;
            Ok(Shape { channels: *channels, dims })
        }
        (Op::Conv { out_channels, kernel, .. }, Some(s)) => {
            let good = |k: &[usize; 3]| k.iter().all(|k| k % 2 == 1 && *k <= MAX_KERNEL);
            if !three(kernel, layout.planar).is_some_and(|k| good(&k)) {
                let axes = if layout.planar { 2 } else { 3 };
                let expected = format!("{axes} odd sizes up to {MAX_KERNEL}");
                return Err(wrong(file, &node.name, "kernel", format!("{kernel:?}"), expected));
            }
            Ok(Shape { channels: *out_channels, dims: s.dims })
        }
        (Op::ConvTranspose { out_channels, .. }, Some(s)) => {
            let [d, h, w] = s.dims;
            Ok(Shape { channels: *out_channels, dims: [d * pd, h * ph, w * pw] })
        }
        (Op::AvgPool | Op::MaxPool, Some(s)) => {
            let [d, h, w] = s.dims;
            if d % pd + h % ph + w % pw != 0 {
                let expected = format!("multiples of {:?}", [pd, ph, pw]);
                return Err(wrong(file, &node.name, "input dims", format!("{:?}", s.dims), expected));
            }
            Ok(Shape { channels: s.channels, dims: [d / pd, h / ph, w / pw] })
        }
        (Op::Concat, Some(first)) => {
            let mut channels = 0usize;
            for &i in inputs {
                let s = layout.shapes[i];
                if s.dims != first.dims {
                    let found = format!("grids {:?} and {:?}", first.dims, s.dims);
                    return Err(wrong(file, &node.name, "inputs", found, "equal grids"));
                }
                channels += s.channels;
            }
            Ok(Shape { channels, dims: first.dims })
        }
        (Op::Argmax, Some(s)) if s.channels < 2 || s.channels > 256 => {
            Err(wrong(file, &node.name, "input channels", s.channels, "2 to 256 classes"))
        }
        (_, Some(s)) => Ok(s),
        (_, None) => unreachable!("the number of inputs was checked"),
    }
}
