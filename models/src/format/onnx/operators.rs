//! What each operator of a model becomes.

mod grids;
mod linear;
mod pointwise;

use super::proto::Node;
use super::walk::{Image, Stop, Walk};
use crate::format::graph::MAX_ELEMENTS;

/// The largest kernel, stride or padding that is computed with; a graph has a smaller bound.
const MAX_SIZE: usize = 1 << 16;

/// The operators that are imported, and what becomes of each.
pub const SUPPORTED: [(&str, &str); 33] = [
    ("Conv", "conv: groups 1, dilations 1, the same padding at both ends"),
    ("ConvTranspose", "conv_transpose: groups 1, dilations 1, the same padding at both ends"),
    ("Gemm", "dense"),
    ("BatchNormalization", "folded into the linear layer before it, else scale"),
    ("InstanceNormalization", "instance_norm, with --instance-norm fold"),
    ("Relu", "relu"),
    ("LeakyRelu", "activation leaky_relu"),
    ("PRelu", "activation prelu: a slope, or one a channel"),
    ("Add", "add of two tensors, scale with a number or one a channel"),
    ("Sub", "as Add"),
    ("Sum", "add"),
    ("Mul", "square of a tensor with itself, scale with a number or one a channel"),
    ("Div", "scale by a number or one a channel"),
    ("Pow", "square: exponent 2"),
    ("MaxPool", "max_pool: windows side by side that divide the grid"),
    ("AveragePool", "avg_pool: windows side by side that divide the grid"),
    ("GlobalAveragePool", "global_avg_pool"),
    ("ReduceMean", "global_avg_pool: over all of the grid"),
    ("Concat", "concat of channels"),
    ("Resize", "resize: nearest, by whole factors"),
    ("Flatten", "flatten: of all but the batch"),
    ("Reshape", "flatten, or nothing where it changes nothing"),
    ("Pad", "nothing: zero wide"),
    ("Transpose", "nothing, around a last Softmax"),
    ("Identity", "nothing"),
    ("Dropout", "nothing"),
    ("Cast", "nothing, to a type of real numbers"),
    ("Softmax", "nothing, as the last node"),
    ("LogSoftmax", "nothing, as the last node"),
    ("ArgMax", "nothing, as the last node: argmax is"),
    ("Constant", "computed"),
    ("Shape", "computed, with what computes on shapes"),
    ("ConstantOfShape", "computed"),
];

/// Turns a node that reads an image into nodes of the graph.
pub(super) fn import(walk: &mut Walk, node: &Node) -> Result<Image, Stop> {
    if !node.domain.is_empty() && node.domain != "ai.onnx" {
        return Err(offence(node, format!("found domain {:?}", node.domain), "operators of ONNX itself"));
    }
    match node.op_type.as_str() {
        "Conv" => linear::conv(walk, node),
        "ConvTranspose" => linear::conv_transpose(walk, node),
        "Gemm" => linear::gemm(walk, node),
        "BatchNormalization" => linear::batch_norm(walk, node),
        "InstanceNormalization" => pointwise::instance_norm(walk, node),
        "Relu" | "LeakyRelu" | "PRelu" => pointwise::activation(walk, node),
        "Add" | "Sub" | "Mul" | "Div" | "Sum" => pointwise::arithmetic(walk, node),
        "Pow" => pointwise::power(walk, node),
        "MaxPool" | "AveragePool" => grids::pool(walk, node),
        "GlobalAveragePool" | "ReduceMean" => grids::mean(walk, node),
        "Concat" => grids::concat(walk, node),
        "Resize" => grids::resize(walk, node),
        "Flatten" | "Reshape" => grids::reshape(walk, node),
        "Pad" => grids::pad(walk, node),
        "Transpose" => grids::transpose(walk, node),
        "Softmax" | "LogSoftmax" | "ArgMax" => grids::last(walk, node),
        "Identity" | "Dropout" => walk.any_image(node, 0),
        "Cast" if matches!(node.int("to", 1), 1 | 10 | 11 | 16) => walk.any_image(node, 0),
        other => Err(offence(node, "found it".to_owned(), way_out(other))),
    }
}

/// What to do about an operator without a form.
fn way_out(operator: &str) -> &'static str {
    match operator {
        "Gelu" | "Erf" | "Elu" | "Selu" | "Celu" | "HardSwish" | "Mish" | "Softplus" | "Swish" | "HardSigmoid"
        | "Tanh" | "Clip" => "supported: Relu, LeakyRelu, PRelu or a square; replace it and fine-tune",
        "Sigmoid" => {
            "supported: Relu, LeakyRelu, PRelu inside; at the end classes that exclude one another (a softmax)"
        }
        "GroupNormalization" | "LayerNormalization" | "RMSNormalization" => {
            "supported: BatchNormalization; train with batch norm"
        }
        "QuantizeLinear" | "DequantizeLinear" | "QLinearConv" | "ConvInteger" | "DynamicQuantizeLinear" => {
            "supported: models in real numbers; export the float model, blindvox quantises by calibration"
        }
        "MatMul" | "Einsum" | "Attention" => "supported: convolutions and Gemm; attention has no secure form",
        _ => "supported: the operators of `blindvox import --list`",
    }
}

pub(super) fn offence(node: &Node, found: String, supported: &str) -> Stop {
    Stop::Offence(node.op_type.clone(), found, supported.to_owned())
}

/// Dimensions of a tensor that a graph may have.
pub(super) fn bounded(node: &Node, dims: Vec<usize>) -> Result<Vec<usize>, Stop> {
    let elements = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if elements.is_some_and(|n| (1..=MAX_ELEMENTS).contains(&n)) {
        return Ok(dims);
    }
    Err(offence(node, format!("found an output of {dims:?}"), &format!("supported: at most {MAX_ELEMENTS} elements")))
}

/// A list of sizes, one an axis of the grid, or `default` for all.
pub(super) fn sizes(node: &Node, name: &str, axes: usize, default: usize) -> Result<Vec<usize>, Stop> {
    let Some(list) = node.ints(name) else { return Ok(vec![default; axes]) };
    let size = |v: i64| usize::try_from(v).ok().filter(|&v| v <= MAX_SIZE);
    let sizes = list.iter().map(|&v| size(v)).collect::<Option<Vec<_>>>();
    sizes
        .filter(|sizes| sizes.len() == axes)
        .ok_or_else(|| offence(node, format!("found {name} {list:?}"), &format!("supported: {axes} sizes")))
}

/// The padding of each axis, if both of its ends have the same.
pub(super) fn padding(node: &Node, axes: usize) -> Result<Vec<usize>, Stop> {
    let auto = node.text("auto_pad", "NOTSET");
    if !matches!(auto, "NOTSET" | "VALID" | "") {
        return Err(offence(node, format!("found auto_pad {auto}"), "supported: explicit pads; export with them"));
    }
    let pads = if auto == "VALID" { vec![0; 2 * axes] } else { sizes(node, "pads", 2 * axes, 0)? };
    let (before, after) = pads.split_at(axes);
    if before != after {
        let found = format!("found pads {before:?} before and {after:?} behind");
        return Err(offence(node, found, "supported: the same at both ends"));
    }
    Ok(before.to_vec())
}
