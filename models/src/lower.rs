//! From the graph to steps on *streams*: the structure of the integer program, still in real numbers.
//!
//! A node's value is *virtual*: each of its channels is coefficient · (a channel of a stream) summed over
//! [`Term`]s, plus a constant. Concatenation appends terms. a·x^2 + b·x + c turns one stream x into two, x and
//! x^2, with coefficients b and a and constant c. The next linear step absorbs them: its columns are scaled by
//! the coefficients, and the constants become a bias, which depends on the position where they meet zero
//! padding. Comparisons need real streams: where a value has coefficients, an identity 1^3 convolution is put in.

use std::collections::{HashMap, HashSet};

use super::budget::Spent;
use super::graph::{BatchNorm, Graph, Layout, Node, Op, kernel3};
use super::kernels;
use super::program::{LinearKind, TensorId};
use super::weights::Weights;
use crate::error::{Error, Result};

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
    MaxPool(TensorId, [usize; 3]),
    AvgPool(TensorId, [usize; 3]),
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

/// A linear layer's weights `[co][ci][taps]` and bias, normalisation folded in.
struct Layer {
    kind: LinearKind,
    weights: Vec<f32>,
    bias: Vec<f64>,
}

/// Lowers a checked graph.
///
/// # Errors
/// [`Error::Model`] where weights are missing or don't match.
pub(crate) fn lower(graph: &Graph, layout: &Layout, weights: &Weights) -> Result<Lowered> {
    let mut lowering = Lowering {
        layout,
        weights,
        streams: Vec::new(),
        names: HashSet::new(),
        steps: Vec::new(),
        pooled: HashMap::new(),
        spent: Spent::default(),
    };
    let mut values: Vec<Virtual> = Vec::with_capacity(graph.nodes.len());
    for (at, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<&Virtual> = layout.inputs[at].iter().map(|&i| &values[i]).collect();
        let value = lowering.node(at, node, &inputs)?;
        lowering.spent.value(&node.name, value.terms.len(), value.columns() + value.constants.len())?;
        values.push(value);
    }
    let last = values.last().expect("a checked graph has nodes");
    let argmax = graph.nodes.last().expect("a checked graph has nodes").name.clone();
    let Lowering { streams, steps, .. } = lowering;
    Ok(Lowered { streams, steps, logits: last.terms[0].stream, argmax })
}

struct Lowering<'a> {
    layout: &'a Layout,
    weights: &'a Weights,
    streams: Vec<Stream>,
    /// The streams' names.
    names: HashSet<String>,
    steps: Vec<RealStep>,
    /// Streams already pooled by a node.
    pooled: HashMap<(usize, TensorId), TensorId>,
    spent: Spent,
}

impl Lowering<'_> {
    fn node(&mut self, at: usize, node: &Node, inputs: &[&Virtual]) -> Result<Virtual> {
        let shape = self.layout.shapes[at];
        let grid = |l: &Layout| l.shapes[l.inputs[at][0]].dims;
        let window = self.layout.pair();
        Ok(match &node.op {
            Op::Input { channels, dims: _ } => {
                self.names.insert(node.name.clone());
                self.spent.stream(&node.name, *channels, shape.dims)?;
                self.streams.push(Stream { name: node.name.clone(), channels: *channels, dims: shape.dims });
                Virtual::of(0, *channels)
            }
            Op::Conv { .. } | Op::ConvTranspose { .. } => {
                let layer = self.layer(at, node)?;
                let stream = self.linear(&node.name, layer, inputs[0], grid(self.layout))?;
                Virtual::of(stream, shape.channels)
            }
            Op::Square => self.each_term(node, inputs[0], shape.dims, RealOp::Square)?,
            Op::Relu => self.each_term(node, inputs[0], shape.dims, RealOp::Relu)?,
            Op::MaxPool => {
                let value = self.comparable(node, inputs[0], grid(self.layout))?;
                self.apply(node, &value, shape.dims, |s| RealOp::MaxPool(s, window))?
            }
            Op::AvgPool => self.avg_pool(at, node, inputs[0], window)?,
            Op::Quadratic { a, b, c } => {
                let channels = [shape.channels];
                let [a, b, c] = [a, b, c].map(|name| self.weights.tensor(&node.name, name, &channels));
                self.quadratic(node, inputs[0], shape.dims, [&a?, &b?, &c?])?
            }
            Op::Concat => {
                let mut value = Virtual { terms: Vec::new(), constants: Vec::new() };
                for input in inputs {
                    let first = value.constants.len();
                    value.terms.extend(input.terms.iter().map(|t| Term { first: t.first + first, ..t.clone() }));
                    value.constants.extend(&input.constants);
                }
                value
            }
            Op::Argmax => {
                let value = self.comparable(node, inputs[0], shape.dims)?;
                if value.terms.len() == 1 { value } else { self.materialise(node, &value, shape.dims)? }
            }
        })
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

    /// Reads a linear node's weights in the order `[co][ci][taps]` and folds its normalisation.
    fn layer(&self, at: usize, node: &Node) -> Result<Layer> {
        let planar = self.layout.planar;
        let ci = self.layout.shapes[self.layout.inputs[at][0]].channels;
        let co = self.layout.shapes[at].channels;
        let (kind, weight, bias, norm) = match &node.op {
            Op::Conv { kernel, weight, bias, batch_norm, .. } => {
                (LinearKind::conv(kernel3(kernel, planar)), weight, bias, batch_norm)
            }
            Op::ConvTranspose { weight, bias, batch_norm, .. } => {
                (LinearKind::Transposed2 { factor: self.layout.pair() }, weight, bias, batch_norm)
            }
            other => unreachable!("{} is not linear", other.name()),
        };
        let taps = &kind.taps()[usize::from(planar)..];
        let transposed = matches!(kind, LinearKind::Transposed2 { .. });
        let channels = if transposed { [ci, co] } else { [co, ci] };
        let stored = self.weights.tensor(&node.name, weight, &[&channels[..], taps].concat())?;
        let mut weights = if transposed { swap_channels(&stored, ci, co, kind.volume()) } else { stored };
        let mut bias = match bias {
            Some(name) => self.weights.tensor(&node.name, name, &[co])?.into_iter().map(f64::from).collect(),
            None => vec![0.0; co],
        };
        if let Some(norm) = norm {
            self.fold(&node.name, norm, &mut weights, &mut bias)?;
        }
        Ok(Layer { kind, weights, bias })
    }

    /// gamma·(W·x + bias - mean)/sqrt(var + eps) + beta as one W and bias.
    fn fold(&self, node: &str, norm: &BatchNorm, weights: &mut [f32], bias: &mut [f64]) -> Result<()> {
        let co = bias.len();
        let names = [&norm.gamma, &norm.beta, &norm.mean, &norm.var];
        let [gamma, beta, mean, var] = names.map(|name| self.weights.tensor(node, name, &[co]));
        let (gamma, beta, mean, var) = (gamma?, beta?, mean?, var?);
        for (o, row) in weights.chunks_exact_mut(weights.len() / co).enumerate() {
            let spread = f64::from(var[o]) + norm.eps;
            if !(spread > 0.0 && spread.is_finite()) {
                return Err(Error::Model(format!(
                    "node {node:?}: batch_norm: found var + eps = {spread} in channel {o}, expected more than 0"
                )));
            }
            let gain = f64::from(gamma[o]) / spread.sqrt();
            row.iter_mut().for_each(|w| *w = (f64::from(*w) * gain) as f32);
            bias[o] = (bias[o] - f64::from(mean[o])) * gain + f64::from(beta[o]);
        }
        Ok(())
    }

    /// Emits a linear step that reads the streams of `input` (grid `dims`), absorbing coefficients and constants.
    fn linear(&mut self, name: &str, layer: Layer, input: &Virtual, dims: [usize; 3]) -> Result<TensorId> {
        let Layer { kind, weights, mut bias } = layer;
        let (co, ci, taps) = (bias.len(), input.constants.len(), kind.volume());
        self.spent.weights(name, &[co, input.columns(), taps])?;
        if taps > 1 && input.constants.iter().any(|&c| c != 0.0) {
            self.spent.map(name, co, kind.output_dims(dims), taps)?;
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
        let bias_map = constants_bias(kind, &weights, &input.constants, &mut bias, dims);
        let linear = RealLinear {
            kind,
            inputs: input.terms.iter().map(|t| t.stream).collect(),
            in_channels: input.columns(),
            out_channels: co,
            weights: columns,
            bias,
            bias_map,
        };
        self.push(name.to_owned(), RealOp::Linear(linear), co, kind.output_dims(dims))
    }

    /// The value as one stream, through an identity convolution.
    fn materialise(&mut self, node: &Node, value: &Virtual, dims: [usize; 3]) -> Result<Virtual> {
        let channels = value.constants.len();
        if channels > MAX_IDENTITY {
            return Err(Error::Model(format!(
                "node {:?}: inputs: found {channels} channels that need a layer of their own, expected at most {MAX_IDENTITY}",
                node.name
            )));
        }
        let mut weights = vec![0.0; channels * channels];
        weights.iter_mut().step_by(channels + 1).for_each(|w| *w = 1.0);
        let layer = Layer { kind: LinearKind::conv([1; 3]), weights, bias: vec![0.0; channels] };
        Ok(Virtual::of(self.linear(&format!("{}.input", node.name), layer, value, dims)?, channels))
    }

    /// The value in streams of a width that a comparison or a square accepts: outputs of linear steps, possibly
    /// through ReLU or max pooling.
    fn comparable(&mut self, node: &Node, value: &Virtual, dims: [usize; 3]) -> Result<Virtual> {
        let narrow = |t: &Term| {
            // Stream 0 is the input; each step writes the next.
            let step = t.stream.checked_sub(1).map(|at| &self.steps[at].op);
            matches!(step, Some(RealOp::Linear(_) | RealOp::Relu(_) | RealOp::MaxPool(..)))
        };
        if value.is_plain() && value.terms.iter().all(narrow) {
            Ok(value.clone())
        } else {
            self.materialise(node, value, dims)
        }
    }

    /// One step for each stream of a plain value; their outputs take the streams' places.
    fn apply(
        &mut self,
        node: &Node,
        value: &Virtual,
        dims: [usize; 3],
        op: impl Fn(TensorId) -> RealOp,
    ) -> Result<Virtual> {
        let mut out = value.clone();
        for (i, term) in out.terms.iter_mut().enumerate() {
            let name = if value.terms.len() == 1 { node.name.clone() } else { format!("{}.{i}", node.name) };
            term.stream = self.push(name, op(term.stream), term.coefficients.len(), dims)?;
        }
        Ok(out)
    }

    fn each_term(
        &mut self,
        node: &Node,
        value: &Virtual,
        dims: [usize; 3],
        op: fn(TensorId) -> RealOp,
    ) -> Result<Virtual> {
        let value = self.comparable(node, value, dims)?;
        self.apply(node, &value, dims, op)
    }

    /// a·x^2 + b·x + c: the squares join the streams of x.
    fn quadratic(&mut self, node: &Node, value: &Virtual, dims: [usize; 3], [a, b, c]: [&[f32]; 3]) -> Result<Virtual> {
        let x = self.comparable(node, value, dims)?;
        let squares = self.apply(node, &x, dims, RealOp::Square)?;
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

    /// Pools every stream once; coefficients and constants go through a mean unchanged.
    fn avg_pool(&mut self, at: usize, node: &Node, value: &Virtual, window: [usize; 3]) -> Result<Virtual> {
        let dims = self.layout.shapes[at].dims;
        let mut out = value.clone();
        let mut distinct: Vec<TensorId> = value.terms.iter().map(|t| t.stream).collect();
        distinct.sort_unstable();
        distinct.dedup();
        for term in &mut out.terms {
            let pooled = match self.pooled.get(&(at, term.stream)) {
                Some(&pooled) => pooled,
                None => {
                    let Stream { name, channels, .. } = &self.streams[term.stream];
                    let name = if distinct.len() == 1 { node.name.clone() } else { format!("{}.{name}", node.name) };
                    let channels = *channels;
                    self.push(name, RealOp::AvgPool(term.stream, window), channels, dims)?
                }
            };
            self.pooled.insert((at, term.stream), pooled);
            term.stream = pooled;
        }
        Ok(out)
    }
}

/// `[ci][co][taps]` as `[co][ci][taps]`.
fn swap_channels(weights: &[f32], ci: usize, co: usize, taps: usize) -> Vec<f32> {
    let block = |o: usize, c: usize| &weights[(c * co + o) * taps..][..taps];
    (0..co).flat_map(|o| (0..ci).flat_map(move |c| block(o, c))).copied().collect()
}

/// What constants on the input channels add to the output: into `bias` where that is the same everywhere, else a
/// map `[co, D, H, W]`.
fn constants_bias(
    kind: LinearKind,
    weights: &[f32],
    constants: &[f64],
    bias: &mut [f64],
    dims: [usize; 3],
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
    let ones = vec![1.0f64; dims.iter().product()];
    let map = kernels::linear(kind, [dims, kind.output_dims(dims)], &[&ones], &response, |v| v);
    Some(map.into_iter().map(|v| v as f32).collect())
}
