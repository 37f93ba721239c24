//! The network in f32, node by node: the reference that quantisation is measured against.

use std::collections::HashMap;

use super::bundle::Bundle;
use super::graph::{BatchNorm, Op, kernel3};
use super::kernels;
use super::program::LinearKind;
use crate::error::Result;

/// What the float network says about one volume.
#[derive(Clone, Debug)]
pub struct FloatRun {
    /// Scores, `[classes, D, H, W]`.
    pub logits: Vec<f32>,
    /// The label of each voxel.
    pub labels: Vec<u8>,
}

/// Runs a bundle's network on a prepared volume, `[channels, D, H, W]`.
///
/// # Errors
/// [`crate::Error::Model`] where weights don't match the graph.
///
/// # Panics
/// If `input` hasn't the input's size.
pub fn run(bundle: &Bundle, input: &[f32]) -> Result<FloatRun> {
    let layout = bundle.layout();
    assert_eq!(input.len(), layout.shapes[0].elements(), "the size of the network's input");
    let mut last_use = HashMap::new();
    for (at, inputs) in layout.inputs.iter().enumerate() {
        last_use.extend(inputs.iter().map(|&i| (i, at)));
    }
    let mut values: Vec<Vec<f32>> = Vec::with_capacity(bundle.graph.nodes.len());
    for at in 0..bundle.graph.nodes.len() - 1 {
        let value = if at == 0 { input.to_vec() } else { node(bundle, at, &values)? };
        values.push(value);
        for &i in layout.inputs[at].iter().filter(|&i| last_use[i] == at) {
            values[i] = Vec::new();
        }
    }
    let scores = *layout.inputs.last().and_then(|i| i.first()).expect("a checked graph ends in an argmax");
    let logits = std::mem::take(&mut values[scores]);
    let labels = kernels::argmax(&logits, layout.shapes[scores].channels);
    Ok(FloatRun { logits, labels })
}

fn node(bundle: &Bundle, at: usize, values: &[Vec<f32>]) -> Result<Vec<f32>> {
    let (layout, node) = (bundle.layout(), &bundle.graph.nodes[at]);
    let (shape, from) = (layout.shapes[at], layout.inputs[at][0]);
    let (input, dims, ci) = (&values[from], layout.shapes[from].dims, layout.shapes[from].channels);
    let vector = |name: &String| bundle.weights().tensor(&node.name, name, &[shape.channels]);
    let planar = usize::from(layout.planar);
    Ok(match &node.op {
        Op::Conv { kernel, weight, bias, batch_norm, out_channels } => {
            let kernel = kernel3(kernel, layout.planar);
            let sizes = [&[*out_channels, ci], &kernel[planar..]].concat();
            let weights = bundle.weights().tensor(&node.name, weight, &sizes)?;
            let out = kernels::linear(LinearKind::conv(kernel), [dims, shape.dims], &[input], &weights, |v| v);
            affine(out, bias, batch_norm, shape.channels, vector)?
        }
        Op::ConvTranspose { weight, bias, batch_norm, out_channels: co } => {
            let factor = layout.pair();
            let taps = factor.iter().product::<usize>();
            let sizes = [&[ci, *co], &factor[planar..]].concat();
            let stored = bundle.weights().tensor(&node.name, weight, &sizes)?;
            let at = |i: usize| (i / taps % ci * co + i / (taps * ci)) * taps + i % taps;
            let weights: Vec<f32> = (0..stored.len()).map(|i| stored[at(i)]).collect();
            let kind = LinearKind::Transposed2 { factor };
            let out = kernels::linear(kind, [dims, shape.dims], &[input], &weights, |v| v);
            affine(out, bias, batch_norm, shape.channels, vector)?
        }
        Op::Square => input.iter().map(|x| x * x).collect(),
        Op::Relu => input.iter().map(|x| x.max(0.0)).collect(),
        Op::Quadratic { a, b, c } => {
            let (a, b, c) = (vector(a)?, vector(b)?, vector(c)?);
            let channels = input.chunks_exact(shape.voxels()).enumerate();
            channels
                .flat_map(|(i, xs)| xs.iter().map(move |x| (i, x)))
                .map(|(i, x)| (a[i] * x + b[i]) * x + c[i])
                .collect()
        }
        Op::AvgPool => {
            let window = layout.pair();
            let share = 1.0 / window.iter().product::<usize>() as f32;
            kernels::pool(input, dims, window, 0.0, |a, b| a + b).into_iter().map(|v| v * share).collect()
        }
        Op::MaxPool => kernels::pool(input, dims, layout.pair(), f32::NEG_INFINITY, f32::max),
        Op::Concat => layout.inputs[at].iter().flat_map(|&i| &values[i]).copied().collect(),
        Op::Input { .. } | Op::Argmax => unreachable!("only the ends of a graph"),
    })
}

/// Adds the bias and applies the normalisation, channel by channel.
fn affine(
    mut out: Vec<f32>,
    bias: &Option<String>,
    norm: &Option<BatchNorm>,
    channels: usize,
    vector: impl Fn(&String) -> Result<Vec<f32>>,
) -> Result<Vec<f32>> {
    let voxels = out.len() / channels;
    if let Some(bias) = bias {
        let bias = vector(bias)?;
        out.chunks_exact_mut(voxels).zip(bias).for_each(|(xs, b)| xs.iter_mut().for_each(|x| *x += b));
    }
    if let Some(BatchNorm { gamma, beta, mean, var, eps }) = norm {
        let (gamma, beta, mean, var) = (vector(gamma)?, vector(beta)?, vector(mean)?, vector(var)?);
        for (c, xs) in out.chunks_exact_mut(voxels).enumerate() {
            let gain = gamma[c] / (var[c] + *eps as f32).sqrt();
            xs.iter_mut().for_each(|x| *x = (*x - mean[c]) * gain + beta[c]);
        }
    }
    Ok(out)
}
