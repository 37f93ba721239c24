//! From the network to steps on *streams*: the structure of the integer program, still in real numbers.
//!
//! A node's value is *virtual*: each of its channels is coefficient · (a channel of a stream) summed over
//! [`Term`]s, plus a constant. Concatenation appends terms. a·x^2 + b·x + c turns one stream x into two, x and
//! x^2, with coefficients b and a and constant c. The next linear step absorbs them: its columns are scaled by
//! the coefficients, and the constants become a bias, which depends on the position where they meet zero
//! padding. Comparisons need real streams: where a value has coefficients, an identity 1^3 convolution is put in.

use std::collections::{HashMap, HashSet};

use super::program::TensorId;
use crate::budget::Spent;
use crate::error::{Error, Result};
use crate::format::graph::Function;
use crate::network::{self, Activation, Interpolation, LinearKind, Network, Node, Op, Output, Piece, Scale};
use crate::plain::kernels;

/// The most channels for which an identity convolution is put in.
const MAX_IDENTITY: usize = 4096;

/// A tensor that exists at run time.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) channels: usize,
    pub(crate) dims: [usize; 3],
}

/// A linear step in real numbers; the fields are those of [`super::program::Linear`].
#[derive(Clone, Debug)]
pub(crate) struct RealLinear {
    pub(crate) kind: LinearKind,
    pub(crate) inputs: Vec<TensorId>,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) weights: Vec<f32>,
    pub(crate) bias: Vec<f64>,
    pub(crate) bias_map: Option<Vec<f32>>,
}

/// What a step does; see [`super::program::Step`].
#[derive(Clone, Debug)]
pub(crate) enum RealOp {
    Linear(RealLinear),
    Square(TensorId),
    Relu(TensorId),
    /// Polynomials on pieces of the line.
    Pieces(TensorId, Vec<Piece>),
    MaxPool(TensorId, [usize; 3]),
    MinPool(TensorId, [usize; 3]),
    /// Sums over windows, divided by the power of two at or below a window's volume.
    AvgPool(TensorId, [usize; 3]),
    Flatten(TensorId),
    Interleave(TensorId, [usize; 3]),
    /// Of a linear one four times the values along each axis that is twice as fine.
    Resize(TensorId, [usize; 3], Interpolation),
}

impl RealOp {
    /// By how many bits the output's scale exceeds the input's where the step sums without dividing.
    pub(crate) fn more_bits(&self) -> u32 {
        match self {
            RealOp::AvgPool(_, window) => window.iter().product::<usize>().ilog2(),
            RealOp::Resize(_, factor, mode) => mode.bits(*factor),
            _ => 0,
        }
    }
}

/// A step and the stream it writes.
#[derive(Clone, Debug)]
pub(crate) struct RealStep {
    pub(crate) name: String,
    pub(crate) op: RealOp,
    pub(crate) output: TensorId,
}

/// The lowered network: stream 0 is the input, the last node compares `logits`.
#[derive(Clone, Debug)]
pub(crate) struct Lowered {
    pub(crate) streams: Vec<Stream>,
    pub(crate) steps: Vec<RealStep>,
    pub(crate) logits: TensorId,
    pub(crate) argmax: String,
}

/// Channels `first..first + coefficients.len()` of a virtual value get coefficient · stream.
#[derive(Clone, Debug)]
struct Term {
    stream: TensorId,
    first: usize,
    coefficients: Vec<f64>,
}

/// A node's value: terms plus one constant a channel.
#[derive(Clone, Debug)]
struct Virtual {
    terms: Vec<Term>,
    constants: Vec<f64>,
}

impl Virtual {
    fn of(stream: TensorId, channels: usize) -> Self {
        let term = Term { stream, first: 0, coefficients: vec![1.0; channels] };
        Self { terms: vec![term], constants: vec![0.0; channels] }
    }

    /// Channels of all streams that it is made of.
    fn columns(&self) -> usize {
        self.terms.iter().map(|t| t.coefficients.len()).sum()
    }

    /// Whether every channel is exactly a channel of one stream.
    fn is_plain(&self) -> bool {
        self.constants.iter().all(|&c| c == 0.0)
            && self.terms.iter().all(|t| t.coefficients.iter().all(|&c| c == 1.0))
            && self.columns() == self.constants.len()
    }
}

/// What becomes of activations, and with it what kind of run the program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activations {
    /// A leaky ReLU becomes a ReLU and coefficients of the next layer: for comparisons and transfers.
    Folded,
    /// It stays one function, for runs that take any function in one step; those may reveal scores.
    Whole,
}

/// Lowers a network.
///
/// # Errors
/// [`Error::Model`] for scores that are to be revealed, and for what asks for too much.
pub(crate) fn lower(network: &Network, activations: Activations) -> Result<Lowered> {
    let name = &network.output_name;
    if network.output == Output::Scores && activations == Activations::Folded {
        let found = "\"scores\", which is not yet supported on shares";
        return Err(Error::Model(format!("reveal: found {found}, expected \"labels\"")));
    }
    let normed = |n: &&Node| matches!(n.op, Op::InstanceNorm { .. });
    let normed: Vec<_> = network.nodes.iter().filter(normed).map(|n| format!("{:?}", n.name)).collect();
    if let [first, more @ ..] = &normed[..] {
        let and = if more.is_empty() { String::new() } else { format!(" (and {} more nodes)", more.len()) };
        return Err(Error::Model(format!(
            "node {first}{and}: op: found instance_norm, which has no form on shares yet (fold it with `blindvox calibrate`, \
             where the graph says that it may be)"
        )));
    }
    let mut lowering = Lowering {
        streams: Vec::new(),
        names: HashSet::new(),
        steps: Vec::new(),
        done: HashMap::new(),
        spent: Spent::default(),
        whole: activations == Activations::Whole,
    };
    let mut values: Vec<Virtual> = Vec::with_capacity(network.nodes.len());
    for (at, node) in network.nodes.iter().enumerate() {
        let inputs: Vec<&Virtual> = node.inputs.iter().map(|&i| &values[i]).collect();
        let grid = node.inputs.first().map_or(node.shape.dims, |&i| network.nodes[i].shape.dims);
        let value = lowering.node(at, node, &inputs, grid)?;
        lowering.spent.value(&node.name, value.terms.len(), value.columns() + value.constants.len())?;
        values.push(value);
    }
    let logits = lowering.scores(name, &values[network.scores], network.nodes[network.scores].shape.dims)?;
    let Lowering { streams, steps, .. } = lowering;
    Ok(Lowered { streams, steps, logits, argmax: name.clone() })
}

struct Lowering {
    streams: Vec<Stream>,
    /// The streams' names.
    names: HashSet<String>,
    steps: Vec<RealStep>,
    /// Streams already pooled or flattened by a node.
    done: HashMap<(usize, TensorId), TensorId>,
    spent: Spent,
    /// Activations stay whole.
    whole: bool,
}

impl Lowering {
    fn node(&mut self, at: usize, node: &Node, inputs: &[&Virtual], grid: [usize; 3]) -> Result<Virtual> {
        let (channels, dims) = (node.shape.channels, node.shape.dims);
        Ok(match &node.op {
            Op::Input => {
                self.names.insert(node.name.clone());
                self.spent.stream(&node.name, channels, dims)?;
                self.streams.push(Stream { name: node.name.clone(), channels, dims });
                Virtual::of(0, channels)
            }
            Op::Linear(linear) => {
                let stream = self.linear(&node.name, linear, inputs[0], [grid, dims])?;
                Virtual::of(stream, channels)
            }
            Op::Interleaved(linear, factor) => {
                let coarse = std::array::from_fn(|i| dims[i].div_ceil(factor[i]));
                let phases = self.linear(&format!("{}.phases", node.name), linear, inputs[0], [grid, coarse])?;
                let op = RealOp::Interleave(phases, *factor);
                Virtual::of(self.push(node.name.clone(), op, channels, dims)?, channels)
            }
            Op::Activation(Activation::LeakyRelu { slopes }) => match slopes.first() {
                Some(slope) if self.whole && slopes.iter().all(|s| s == slope) => {
                    let pieces = Function::LeakyRelu.pieces(f64::from(*slope)).expect("in pieces");
                    self.pieces(node, inputs[0], &pieces)?
                }
                _ => self.leaky(node, inputs[0], slopes)?,
            },
            Op::Activation(Activation::Square) => self.each_term(node, inputs[0], RealOp::Square)?,
            Op::Activation(Activation::Relu) => self.each_term(node, inputs[0], RealOp::Relu)?,
            Op::Activation(Activation::Pieces(pieces)) => self.pieces(node, inputs[0], pieces)?,
            Op::Activation(Activation::Quadratic { a, b, c }) => self.quadratic(node, inputs[0], [a, b, c])?,
            Op::MaxPool(window) => {
                let value = self.comparable(&node.name, inputs[0], grid)?;
                self.apply(node, &value, |s| RealOp::MaxPool(s, *window))?
            }
            Op::MinPool(window) => {
                let value = self.comparable(&node.name, inputs[0], grid)?;
                self.apply(node, &value, |s| RealOp::MinPool(s, *window))?
            }
            Op::AvgPool(window) => self.avg_pool(at, node, inputs[0], *window)?,
            Op::Flatten => self.flatten(at, node, inputs[0])?,
            Op::Add => Self::sum(inputs),
            Op::Scale(scale) => scaled(inputs[0], scale),
            Op::Resize(factor, mode) => {
                self.each_stream(at, node, inputs[0], |s| (RealOp::Resize(s, *factor, *mode), 1))?
            }
            Op::InstanceNorm { .. } => unreachable!("refused above"),
            Op::Concat => {
                let mut value = Virtual { terms: Vec::new(), constants: Vec::new() };
                for input in inputs {
                    let first = value.constants.len();
                    value.terms.extend(input.terms.iter().map(|t| Term { first: t.first + first, ..t.clone() }));
                    value.constants.extend(&input.constants);
                }
                value
            }
        })
    }

    /// The scores as one stream.
    fn scores(&mut self, name: &str, value: &Virtual, dims: [usize; 3]) -> Result<TensorId> {
        let value = self.comparable(name, value, dims)?;
        let value = if value.terms.len() == 1 { value } else { self.materialise(name, &value, dims)? };
        Ok(value.terms[0].stream)
    }

    fn push(&mut self, name: String, op: RealOp, channels: usize, dims: [usize; 3]) -> Result<TensorId> {
        let mut name = name;
        while self.names.contains(&name) {
            name.push('_');
        }
        let output = self.streams.len();
        self.spent.stream(&name, channels, dims)?;
        self.names.insert(name.clone());
        self.streams.push(Stream { name: name.clone(), channels, dims });
        self.steps.push(RealStep { name, op, output });
        Ok(output)
    }

    /// Emits a linear step from the first of two grids to the second that reads the streams of `input`, absorbing
    /// coefficients and constants.
    fn linear(
        &mut self,
        name: &str,
        layer: &network::Linear,
        input: &Virtual,
        grids: [[usize; 3]; 2],
    ) -> Result<TensorId> {
        let network::Linear { kind, weights, bias } = layer;
        let (kind, mut bias) = (*kind, bias.clone());
        let (co, ci, taps) = (bias.len(), input.constants.len(), kind.volume());
        self.spent.weights(name, &[co, input.columns(), taps])?;
        if taps > 1 && input.constants.iter().any(|&c| c != 0.0) {
            self.spent.map(name, co, grids[1], taps)?;
        }
        let mut columns = Vec::new();
        for o in 0..co {
            for term in &input.terms {
                for (j, &coefficient) in term.coefficients.iter().enumerate() {
                    let from = (o * ci + term.first + j) * taps;
                    columns.extend(weights[from..from + taps].iter().map(|&w| (f64::from(w) * coefficient) as f32));
                }
            }
        }
        let bias_map = constants_bias(kind, weights, &input.constants, &mut bias, grids);
        let linear = RealLinear {
            kind,
            inputs: input.terms.iter().map(|t| t.stream).collect(),
            in_channels: input.columns(),
            out_channels: co,
            weights: columns,
            bias,
            bias_map,
        };
        self.push(name.to_owned(), RealOp::Linear(linear), co, grids[1])
    }

    /// The value as one stream, through an identity convolution.
    fn materialise(&mut self, name: &str, value: &Virtual, dims: [usize; 3]) -> Result<Virtual> {
        let channels = value.constants.len();
        if channels > MAX_IDENTITY {
            return Err(Error::Model(format!(
                "node {name:?}: inputs: found {channels} channels that need a layer of their own, expected at most {MAX_IDENTITY}"
            )));
        }
        let mut weights = vec![0.0; channels * channels];
        weights.iter_mut().step_by(channels + 1).for_each(|w| *w = 1.0);
        let layer = network::Linear { kind: LinearKind::conv([1; 3]), weights, bias: vec![0.0; channels] };
        Ok(Virtual::of(self.linear(&format!("{name}.input"), &layer, value, [dims, dims])?, channels))
    }

    /// The value in streams of a width that a comparison or a square accepts: outputs of linear steps, possibly
    /// through ReLU, max pooling or flattening.
    fn comparable(&mut self, name: &str, value: &Virtual, dims: [usize; 3]) -> Result<Virtual> {
        if value.is_plain() && value.terms.iter().all(|t| self.is_narrow(t.stream)) {
            Ok(value.clone())
        } else {
            self.materialise(name, value, dims)
        }
    }

    fn is_narrow(&self, stream: TensorId) -> bool {
        // Stream 0 is the input; each step writes the next.
        match stream.checked_sub(1).map(|at| &self.steps[at].op) {
            Some(
                RealOp::Linear(_) | RealOp::Relu(_) | RealOp::Pieces(..) | RealOp::MaxPool(..) | RealOp::MinPool(..),
            ) => true,
            Some(
                &(RealOp::Flatten(from)
                | RealOp::Interleave(from, _)
                | RealOp::Resize(from, _, Interpolation::Nearest)),
            ) => self.is_narrow(from),
            _ => false,
        }
    }

    /// One step for each stream of a plain value; their outputs take the streams' places.
    fn apply(&mut self, node: &Node, value: &Virtual, op: impl Fn(TensorId) -> RealOp) -> Result<Virtual> {
        let mut out = value.clone();
        for (i, term) in out.terms.iter_mut().enumerate() {
            let name = if value.terms.len() == 1 { node.name.clone() } else { format!("{}.{i}", node.name) };
            term.stream = self.push(name, op(term.stream), term.coefficients.len(), node.shape.dims)?;
        }
        Ok(out)
    }

    fn each_term(&mut self, node: &Node, value: &Virtual, op: fn(TensorId) -> RealOp) -> Result<Virtual> {
        let value = self.comparable(&node.name, value, node.shape.dims)?;
        self.apply(node, &value, op)
    }

    fn pieces(&mut self, node: &Node, value: &Virtual, pieces: &[Piece]) -> Result<Virtual> {
        let value = self.comparable(&node.name, value, node.shape.dims)?;
        self.apply(node, &value, |s| RealOp::Pieces(s, pieces.to_vec()))
    }

    /// relu(x)·(1 - slope) + x·slope: the streams of x join those that are rectified.
    fn leaky(&mut self, node: &Node, value: &Virtual, slopes: &[f32]) -> Result<Virtual> {
        let x = self.comparable(&node.name, value, node.shape.dims)?;
        let rectified = self.apply(node, &x, RealOp::Relu)?;
        let by = |of: fn(f64) -> f64| Scale {
            factor: slopes.iter().map(|&s| of(f64::from(s))).collect(),
            offset: vec![0.0; slopes.len()],
        };
        let parts = [scaled(&rectified, &by(|s| 1.0 - s)), scaled(&x, &by(|s| s))];
        Ok(Self::sum(&[&parts[0], &parts[1]]))
    }

    /// Terms of all values side by side; those of one stream and the same channels become one.
    fn sum(values: &[&Virtual]) -> Virtual {
        let mut out = Virtual { terms: Vec::new(), constants: vec![0.0; values[0].constants.len()] };
        for value in values {
            out.constants.iter_mut().zip(&value.constants).for_each(|(sum, c)| *sum += c);
            for term in &value.terms {
                let same = |t: &&mut Term| {
                    (t.stream, t.first, t.coefficients.len()) == (term.stream, term.first, term.coefficients.len())
                };
                match out.terms.iter_mut().find(same) {
                    Some(t) => t.coefficients.iter_mut().zip(&term.coefficients).for_each(|(sum, c)| *sum += c),
                    None => out.terms.push(term.clone()),
                }
            }
        }
        // A slope of 0 or 1 leaves a part that counts for nothing.
        let counts = |t: &Term| t.coefficients.iter().any(|&c| c != 0.0);
        if out.terms.iter().any(counts) {
            out.terms.retain(counts);
        }
        out
    }

    /// a·x^2 + b·x + c: the squares join the streams of x.
    fn quadratic(&mut self, node: &Node, value: &Virtual, [a, b, c]: [&[f32]; 3]) -> Result<Virtual> {
        let x = self.comparable(&node.name, value, node.shape.dims)?;
        let squares = self.apply(node, &x, RealOp::Square)?;
        let scaled = |value: Virtual, by: &[f32]| {
            let scale = move |mut t: Term| {
                let by = &by[t.first..t.first + t.coefficients.len()];
                t.coefficients = by.iter().map(|&v| f64::from(v)).collect();
                t
            };
            value.terms.into_iter().map(scale).collect::<Vec<_>>()
        };
        let terms = [scaled(squares, a), scaled(x, b)].concat();
        Ok(Virtual { terms, constants: c.iter().map(|&v| f64::from(v)).collect() })
    }

    /// Pools every stream once; coefficients and constants go through a mean unchanged, but for the part of the
    /// division that is no power of two, which the coefficients take.
    fn avg_pool(&mut self, at: usize, node: &Node, value: &Virtual, window: [usize; 3]) -> Result<Virtual> {
        let volume = window.iter().product::<usize>();
        let rest = (1usize << volume.ilog2()) as f64 / volume as f64;
        let mut out = self.each_stream(at, node, value, |s| (RealOp::AvgPool(s, window), 1))?;
        out.terms.iter_mut().flat_map(|t| &mut t.coefficients).for_each(|c| *c *= rest);
        Ok(out)
    }

    /// Flattens every stream once; each channel's coefficient and constant are those of all its elements.
    fn flatten(&mut self, at: usize, node: &Node, value: &Virtual) -> Result<Virtual> {
        let voxels = node.shape.channels / value.constants.len();
        let mut out = self.each_stream(at, node, value, |s| (RealOp::Flatten(s), voxels))?;
        let repeated = |values: &[f64]| values.iter().flat_map(|&v| std::iter::repeat_n(v, voxels)).collect();
        for term in &mut out.terms {
            (term.first, term.coefficients) = (term.first * voxels, repeated(&term.coefficients));
        }
        out.constants = repeated(&out.constants);
        Ok(out)
    }

    /// One step for each distinct stream of a value, with so many output channels for each channel of the stream; their
    /// outputs take the streams' places.
    fn each_stream(
        &mut self,
        at: usize,
        node: &Node,
        value: &Virtual,
        op: impl Fn(TensorId) -> (RealOp, usize),
    ) -> Result<Virtual> {
        let mut out = value.clone();
        let mut distinct: Vec<TensorId> = value.terms.iter().map(|t| t.stream).collect();
        distinct.sort_unstable();
        distinct.dedup();
        for term in &mut out.terms {
            let written = match self.done.get(&(at, term.stream)) {
                Some(&written) => written,
                None => {
                    let Stream { name, channels, .. } = &self.streams[term.stream];
                    let name = if distinct.len() == 1 { node.name.clone() } else { format!("{}.{name}", node.name) };
                    let (op, times) = op(term.stream);
                    let channels = *channels * times;
                    self.push(name, op, channels, node.shape.dims)?
                }
            };
            self.done.insert((at, term.stream), written);
            term.stream = written;
        }
        Ok(out)
    }
}

/// factor·x + offset.
fn scaled(value: &Virtual, scale: &Scale) -> Virtual {
    let mut out = value.clone();
    for term in &mut out.terms {
        let factors = &scale.factor[term.first..];
        term.coefficients.iter_mut().zip(factors).for_each(|(c, f)| *c *= f);
    }
    let both = scale.factor.iter().zip(&scale.offset);
    out.constants.iter_mut().zip(both).for_each(|(c, (factor, offset))| *c = *c * factor + offset);
    out
}

/// What constants on the input channels add to the output: into `bias` where that is the same everywhere, else a
/// map `[co, D, H, W]`.
fn constants_bias(
    kind: LinearKind,
    weights: &[f32],
    constants: &[f64],
    bias: &mut [f64],
    grids: [[usize; 3]; 2],
) -> Option<Vec<f32>> {
    if constants.iter().all(|&c| c == 0.0) {
        return None;
    }
    let (taps, ci) = (kind.volume(), constants.len());
    // The layer as if it had one input channel that is 1 everywhere.
    let mut response = vec![0.0f64; bias.len() * taps];
    for (at, &w) in weights.iter().enumerate() {
        let (o, c, t) = (at / (ci * taps), at / taps % ci, at % taps);
        response[o * taps + t] += f64::from(w) * constants[c];
    }
    if taps == 1 {
        bias.iter_mut().zip(response).for_each(|(b, r)| *b += r);
        return None;
    }
    let ones = vec![1.0f64; grids[0].iter().product()];
    let map = kernels::linear(kind, grids, &[&ones], &response, |v| v);
    Some(map.into_iter().map(|v| v as f32).collect())
}
