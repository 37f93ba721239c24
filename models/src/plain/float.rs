//! The network in f32, node by node: the reference that quantisation is measured against.

use super::kernels;
use crate::network::{Activation, Network, NodeId, Op};

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
    assert_eq!(input.len(), network.input().elements(), "the size of the network's input");
    let mut last_use = vec![0; network.nodes.len()];
    for (at, node) in network.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|&i| last_use[i] = at);
    }
    let mut values: Vec<Vec<f32>> = Vec::with_capacity(network.nodes.len());
    for (at, node) in network.nodes.iter().enumerate() {
        let value = if let Op::Input = node.op { input.to_vec() } else { value(network, at, &values) };
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
        Op::Linear(linear) => {
            let mut out = kernels::linear(linear.kind, [dims, node.shape.dims], &[input], &linear.weights, |v| v);
            for (xs, &b) in out.chunks_exact_mut(voxels).zip(&linear.bias) {
                xs.iter_mut().for_each(|x| *x += b as f32);
            }
            out
        }
        Op::Activation(Activation::Square) => input.iter().map(|x| x * x).collect(),
        Op::Activation(Activation::Relu) => input.iter().map(|x| x.max(0.0)).collect(),
        Op::Activation(Activation::Quadratic { a, b, c }) => {
            let of = |(i, &x): (usize, &f32)| (a[i / voxels] * x + b[i / voxels]) * x + c[i / voxels];
            input.iter().enumerate().map(of).collect()
        }
        Op::AvgPool(window) => {
            let share = 1.0 / window.iter().product::<usize>() as f32;
            kernels::pool(input, dims, *window, 0.0, |a, b| a + b).into_iter().map(|v| v * share).collect()
        }
        Op::MaxPool(window) => kernels::pool(input, dims, *window, f32::NEG_INFINITY, f32::max),
        Op::Concat => node.inputs.iter().flat_map(|&i| &values[i]).copied().collect(),
        Op::Flatten => input.clone(),
        Op::Input => unreachable!("the first node alone, which reads nothing"),
    }
}
