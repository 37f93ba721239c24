//! The network in f32, node by node: the reference that quantisation is measured against.

use super::kernels;
use crate::network::{Activation, Linear, Network, NodeId, Op, Scale};
use crate::windows::{self, Windows};

/// What the float network says about one input.
#[derive(Clone, Debug)]
pub struct FloatRun {
    /// Scores, `[classes, D, H, W]`.
    pub logits: Vec<f32>,
    /// The label of each voxel of the scores' grid; on a grid of one element the class.
    pub labels: Vec<u8>,
}

/// Runs a network on a prepared input, `[channels, D, H, W]`.
///
/// # Panics
/// If `input` hasn't the input's size.
pub fn run(network: &Network, input: &[f32]) -> FloatRun {
    run_watched(network, input, |_, _| {})
}

/// Runs a network on a prepared input in one pass, or on each window of a larger one, whose scores are blended.
///
/// # Panics
/// If `input` hasn't the size of the input, or of the windows' grid.
pub fn run_in(network: &Network, windows: Option<&Windows>, input: &[f32]) -> FloatRun {
    let Some(windows) = windows else { return run(network, input) };
    let (classes, voxels) = (network.classes(), windows.voxels(windows.grid[0]));
    assert_eq!(input.len(), network.input().channels * voxels, "the size of the network's input");
    let mut all = FloatRun { logits: vec![0.0; classes * voxels], labels: Vec::with_capacity(voxels) };
    let done = |sums: Vec<f32>| {
        let (from, rows) = (all.labels.len(), sums.len() / classes);
        all.labels.extend(kernels::argmax(&sums, classes));
        let to = all.logits.chunks_exact_mut(voxels).zip(sums.chunks_exact(rows));
        to.for_each(|(to, class)| to[from..from + rows].copy_from_slice(class));
    };
    let add = |sum: &mut f32, weight: u32, score: f32| *sum += weight as f32 * score;
    windows::run(windows, input, (classes, 0.0), add, |patch: Vec<f32>| run(network, &patch).logits, done);
    all
}

/// As [`run`], and shows each node with the values of its first input before it is computed; the input itself excepted.
pub(crate) fn run_watched(network: &Network, input: &[f32], mut watch: impl FnMut(NodeId, &[f32])) -> FloatRun {
    assert_eq!(input.len(), network.input().elements(), "the size of the network's input");
    let mut last_use = vec![0; network.nodes.len()];
    for (at, node) in network.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|&i| last_use[i] = at);
    }
    let mut values: Vec<Vec<f32>> = Vec::with_capacity(network.nodes.len());
    for (at, node) in network.nodes.iter().enumerate() {
        let value = match node.op {
            Op::Input => input.to_vec(),
            _ => {
                watch(at, &values[node.inputs[0]]);
                value(network, at, &values)
            }
        };
        values.push(value);
        for &i in node.inputs.iter().filter(|&&i| last_use[i] == at && i != network.scores) {
            values[i] = Vec::new();
        }
    }
    let logits = std::mem::take(&mut values[network.scores]);
    let labels = kernels::argmax(&logits, network.classes());
    FloatRun { logits, labels }
}

/// A node's value from those of the nodes before it.
fn value(network: &Network, at: NodeId, values: &[Vec<f32>]) -> Vec<f32> {
    let node = &network.nodes[at];
    let (input, dims) = (&values[node.inputs[0]], network.nodes[node.inputs[0]].shape.dims);
    let voxels = node.shape.voxels();
    match &node.op {
        Op::Linear(linear) => self::linear(linear, input, [dims, node.shape.dims]),
        Op::Interleaved(linear, factor) => {
            let coarse = std::array::from_fn(|i| node.shape.dims[i].div_ceil(factor[i]));
            kernels::interleave(&self::linear(linear, input, [dims, coarse]), coarse, *factor, node.shape.dims)
        }
        Op::Activation(Activation::Square) => input.iter().map(|x| x * x).collect(),
        Op::Activation(Activation::Relu) => input.iter().map(|x| x.max(0.0)).collect(),
        Op::Activation(Activation::LeakyRelu { slopes }) => {
            let of = |(i, &x): (usize, &f32)| if x < 0.0 { slopes[i / voxels] * x } else { x };
            input.iter().enumerate().map(of).collect()
        }
        Op::Activation(Activation::Quadratic { a, b, c }) => {
            let of = |(i, &x): (usize, &f32)| (a[i / voxels] * x + b[i / voxels]) * x + c[i / voxels];
            input.iter().enumerate().map(of).collect()
        }
        Op::Activation(Activation::Pieces(pieces)) => {
            let of = |&x: &f32| pieces.iter().find(|p| p.holds(x.into())).map_or(f32::NAN, |p| p.at(x.into()) as f32);
            input.iter().map(of).collect()
        }
        Op::AvgPool(window) => {
            let share = 1.0 / window.iter().product::<usize>() as f32;
            kernels::pool(input, dims, *window, 0.0, |a, b| a + b).into_iter().map(|v| v * share).collect()
        }
        Op::MaxPool(window) => kernels::pool(input, dims, *window, f32::NEG_INFINITY, f32::max),
        Op::MinPool(window) => kernels::pool(input, dims, *window, f32::INFINITY, f32::min),
        Op::Add => {
            let mut sum = input.clone();
            for &other in &node.inputs[1..] {
                sum.iter_mut().zip(&values[other]).for_each(|(sum, x)| *sum += x);
            }
            sum
        }
        Op::Scale(scale) => scaled(input, scale, voxels),
        Op::Resize(factor, mode) => kernels::resized(input, dims, *factor, *mode),
        Op::InstanceNorm { scale, eps, .. } => {
            let own = input.chunks_exact(voxels).map(moments);
            scaled(input, &scale.normalised(&own.collect::<Vec<_>>(), *eps), voxels)
        }
        Op::Concat => node.inputs.iter().flat_map(|&i| &values[i]).copied().collect(),
        Op::Flatten => input.clone(),
        Op::Input => unreachable!("the first node alone, which reads nothing"),
    }
}

/// A weighted sum with its biases from one grid to another.
fn linear(linear: &Linear, input: &[f32], dims: [[usize; 3]; 2]) -> Vec<f32> {
    let mut out = kernels::linear(linear.kind, dims, &[input], &linear.weights, |v| v);
    let voxels = out.len() / linear.bias.len();
    for (xs, &b) in out.chunks_exact_mut(voxels).zip(&linear.bias) {
        xs.iter_mut().for_each(|x| *x += b as f32);
    }
    out
}

fn scaled(input: &[f32], scale: &Scale, voxels: usize) -> Vec<f32> {
    let channels = scale.factor.iter().zip(&scale.offset).zip(input.chunks_exact(voxels));
    channels.flat_map(|((a, b), xs)| xs.iter().map(move |&x| (f64::from(x) * a + b) as f32)).collect()
}

/// Mean and population variance.
pub(crate) fn moments(values: &[f32]) -> [f64; 2] {
    let count = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    [mean, values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count]
}
