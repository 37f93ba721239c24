//! From a checked graph and its weights to the network.

use super::graph::{self, BatchNorm, Function, Graph, Layout, Slope};
use super::weights::Weights;
use crate::budget::Spent;
use crate::error::{Error, Result};
use crate::network::{Activation, Linear, LinearKind, Network, Node, Op, Output, Scale};

/// Joins a graph, its shapes and its weights; `reveal_scores` where the client may learn them.
///
/// # Errors
/// [`Error::Model`] naming the node: weights that are missing or don't match, and operations that are not supported
/// yet.
pub(super) fn network(graph: &Graph, layout: &Layout, weights: &Weights, reveal_scores: bool) -> Result<Network> {
    let mut builder = Builder { layout, weights, spent: Spent::default() };
    let (last, nodes) = graph.nodes.split_last().expect("a checked graph has nodes");
    let scores = layout.inputs[nodes.len()][0];
    let node = |(at, node): (usize, &graph::Node)| {
        let (inputs, shape) = (layout.inputs[at].clone(), layout.shapes[at]);
        Ok(Node { name: node.name.clone(), op: builder.op(at, node)?, inputs, shape })
    };
    let nodes = nodes.iter().enumerate().map(node).collect::<Result<_>>()?;
    let output = match layout.shapes[scores].dims {
        _ if reveal_scores => Output::Scores,
        [1, 1, 1] => Output::Class,
        _ => Output::Labels,
    };
    Ok(Network { nodes, scores, output, output_name: last.name.clone() })
}

struct Builder<'a> {
    layout: &'a Layout,
    weights: &'a Weights,
    spent: Spent,
}

impl Builder<'_> {
    fn op(&mut self, at: usize, node: &graph::Node) -> Result<Op> {
        let channels = [self.layout.shapes[at].channels];
        let vector = |name| self.weights.tensor(&node.name, name, &channels);
        Ok(match &node.op {
            graph::Op::Input { .. } => Op::Input,
            graph::Op::Conv { weight, bias, batch_norm, .. } | graph::Op::Dense { weight, bias, batch_norm, .. } => {
                Op::Linear(self.linear((at, node), self.layout.kind(&node.op), weight, bias, batch_norm)?)
            }
            graph::Op::ConvTranspose { weight, bias, batch_norm, .. } => {
                let geometry = self.layout.transposed(&node.op);
                // The taps that weights are stored with, whatever becomes of them.
                let kind = LinearKind::Transposed2 { factor: geometry.kernel };
                let linear = self.linear((at, node), kind, weight, bias, batch_norm)?;
                if geometry.side_by_side().is_some_and(|kernel| kernel.iter().all(|k| matches!(k, 1 | 2))) {
                    return Ok(Op::Linear(linear));
                }
                let ci = self.layout.shapes[self.layout.inputs[at][0]].channels;
                let phases = geometry.stride.iter().product::<usize>();
                let kind = geometry.phases();
                self.spent.weights(&node.name, &[linear.bias.len(), phases, ci, kind.volume()])?;
                let weights = geometry.phase_weights(&linear.weights, ci);
                let bias = linear.bias.iter().flat_map(|&b| std::iter::repeat_n(b, phases)).collect();
                Op::Interleaved(Linear { kind, weights, bias }, geometry.stride)
            }
            graph::Op::Square => Op::Activation(Activation::Square),
            graph::Op::Relu => Op::Activation(Activation::Relu),
            graph::Op::Quadratic { a, b, c } => {
                Op::Activation(Activation::Quadratic { a: vector(a)?, b: vector(b)?, c: vector(c)? })
            }
            graph::Op::Activation(activation) => {
                Op::Activation(self.activation(activation, &node.name, channels[0])?)
            }
            graph::Op::AvgPool { .. } | graph::Op::GlobalAvgPool => Op::AvgPool(self.layout.window(at, &node.op)),
            graph::Op::MaxPool { .. } => Op::MaxPool(self.layout.window(at, &node.op)),
            graph::Op::MinPool { .. } => Op::MinPool(self.layout.window(at, &node.op)),
            graph::Op::Add => Op::Add,
            graph::Op::Scale { factor, offset } => Op::Scale(self.scale(&node.name, factor, offset, channels[0])?),
            graph::Op::Resize { factor, mode } => Op::Resize(self.layout.repeats(factor), *mode),
            graph::Op::InstanceNorm { gamma, beta, eps, fold } => {
                let scale = self.scale(&node.name, gamma, beta, channels[0])?;
                Op::InstanceNorm { scale, eps: *eps, fold: *fold }
            }
            graph::Op::Concat => Op::Concat,
            graph::Op::Flatten => Op::Flatten,
            graph::Op::Argmax => unreachable!("the last node"),
        })
    }

    /// A linear node's weights in the order `[co][ci][taps]`, normalisation folded in.
    fn linear(
        &mut self,
        (at, node): (usize, &graph::Node),
        kind: LinearKind,
        weight: &str,
        bias: &Option<String>,
        norm: &Option<BatchNorm>,
    ) -> Result<Linear> {
        let ci = self.layout.shapes[self.layout.inputs[at][0]].channels;
        let co = self.layout.shapes[at].channels;
        self.spent.weights(&node.name, &[co, ci, kind.volume()])?;
        let taps = match &node.op {
            graph::Op::Dense { .. } => Vec::new(),
            _ => kind.taps()[usize::from(self.layout.planar)..].to_vec(),
        };
        let transposed = matches!(kind, LinearKind::Transposed2 { .. });
        let channels = if transposed { [ci, co] } else { [co, ci] };
        let stored = self.weights.tensor(&node.name, weight, &[&channels[..], &taps].concat())?;
        let mut weights = if transposed { swap_channels(&stored, ci, co, kind.volume()) } else { stored };
        let mut bias = match bias {
            Some(name) => self.weights.tensor(&node.name, name, &[co])?.into_iter().map(f64::from).collect(),
            None => vec![0.0; co],
        };
        if let Some(norm) = norm {
            self.fold(&node.name, norm, &mut weights, &mut bias)?;
        }
        Ok(Linear { kind, weights, bias })
    }

    /// An activation, if it can be computed.
    fn activation(&self, activation: &graph::Activation, node: &str, channels: usize) -> Result<Activation> {
        let slopes = match (activation.function, &activation.slope) {
            (Some(Function::Relu), _) => return Ok(Activation::Relu),
            (Some(Function::LeakyRelu), Some(Slope::Number(slope))) => vec![*slope as f32; channels],
            (Some(Function::Prelu), Some(Slope::Tensor(name))) => self.weights.tensor(node, name, &[channels])?,
            (Some(other), _) => {
                let pieces = other.pieces(0.0).ok_or_else(|| unsupported(node, "function", &other.name()))?;
                return Ok(Activation::Pieces(pieces));
            }
            (None, _) => return Ok(Activation::Pieces(activation.pieces.clone().unwrap_or_default())),
        };
        match slopes.iter().find(|s| !s.is_finite()) {
            Some(slope) => Err(Error::Model(format!("node {node:?}: slope: found {slope}, expected a finite number"))),
            None => Ok(Activation::LeakyRelu { slopes }),
        }
    }

    fn scale(&self, node: &str, factor: &Option<String>, offset: &Option<String>, channels: usize) -> Result<Scale> {
        let vector = |name: &Option<String>, default: f64| match name {
            Some(name) => Ok(self.weights.tensor(node, name, &[channels])?.into_iter().map(f64::from).collect()),
            None => Ok(vec![default; channels]),
        };
        Ok(Scale { factor: vector(factor, 1.0)?, offset: vector(offset, 0.0)? })
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
}

/// What the format has and no part of this crate computes yet.
fn unsupported(node: &str, field: &str, found: &str) -> Error {
    Error::Model(format!("node {node:?}: {field}: found {found}, which is not yet supported"))
}

/// `[ci][co][taps]` as `[co][ci][taps]`.
fn swap_channels(weights: &[f32], ci: usize, co: usize, taps: usize) -> Vec<f32> {
    let block = |o: usize, c: usize| &weights[(c * co + o) * taps..][..taps];
    (0..co).flat_map(|o| (0..ci).flat_map(move |c| block(o, c))).copied().collect()
}
