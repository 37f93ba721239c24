//! The lowered network in f32: the values whose ranges and errors calibration looks at.

use super::lower::{Lowered, RealLinear, RealOp};
use super::program::TensorId;
use crate::plain::kernels;

/// All streams of the lowered network in f32.
pub(crate) fn streams(lowered: &Lowered, input: &[f32]) -> Vec<Vec<f32>> {
    let mut values = vec![input.to_vec()];
    for step in &lowered.steps {
        let dims = |t: TensorId| lowered.streams[t].dims;
        let value = match &step.op {
            RealOp::Linear(linear) => linear_step(linear, [dims(linear.inputs[0]), dims(step.output)], &values),
            RealOp::Square(t) => values[*t].iter().map(|x| x * x).collect(),
            RealOp::Relu(t) => values[*t].iter().map(|x| x.max(0.0)).collect(),
            RealOp::MaxPool(t, window) => kernels::pool(&values[*t], dims(*t), *window, f32::NEG_INFINITY, f32::max),
            RealOp::MinPool(t, window) => kernels::pool(&values[*t], dims(*t), *window, f32::INFINITY, f32::min),
            RealOp::Pieces(t, pieces) => {
                let of =
                    |&x: &f32| pieces.iter().find(|p| p.holds(x.into())).map_or(f32::NAN, |p| p.at(x.into()) as f32);
                values[*t].iter().map(of).collect()
            }
            RealOp::Flatten(t) => values[*t].clone(),
            RealOp::Interleave(t, factor) => kernels::interleave(&values[*t], dims(*t), *factor, dims(step.output)),
            RealOp::Resize(t, factor, mode) => kernels::resized(&values[*t], dims(*t), *factor, *mode),
            RealOp::AvgPool(t, window) => {
                let share = 1.0 / (1u64 << window.iter().product::<usize>().ilog2()) as f32;
                let sums = kernels::pool(&values[*t], dims(*t), *window, 0.0, |a, b| a + b);
                sums.into_iter().map(|v| v * share).collect()
            }
        };
        values.push(value);
    }
    values
}

/// From one grid to another.
fn linear_step(linear: &RealLinear, dims: [[usize; 3]; 2], values: &[Vec<f32>]) -> Vec<f32> {
    let parts: Vec<&[f32]> = linear.inputs.iter().map(|&t| &values[t][..]).collect();
    let mut out = kernels::linear(linear.kind, dims, &parts, &linear.weights, |v| v);
    let voxels = out.len() / linear.out_channels;
    for (xs, &b) in out.chunks_exact_mut(voxels).zip(&linear.bias) {
        xs.iter_mut().for_each(|x| *x += b as f32);
    }
    if let Some(map) = &linear.bias_map {
        out.iter_mut().zip(map).for_each(|(x, b)| *x += b);
    }
    out
}
