//! What each operator of a model becomes.

mod attributes;
mod grids;
mod linear;
mod pointwise;

use self::attributes::offence;
use super::draft::{Draft, Image, Stop};
use super::proto::Node;

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
    ("Resize", "resize: nearest by whole factors, linear with half_pixel by 2"),
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
pub(super) fn import(draft: &mut Draft, node: &Node) -> Result<Image, Stop> {
    if !node.domain.is_empty() && node.domain != "ai.onnx" {
        return Err(offence(node, format!("found domain {:?}", node.domain), "operators of ONNX itself"));
    }
    match node.op_type.as_str() {
        "Conv" => linear::conv(draft, node),
        "ConvTranspose" => linear::conv_transpose(draft, node),
        "Gemm" => linear::gemm(draft, node),
        "BatchNormalization" => linear::batch_norm(draft, node),
        "InstanceNormalization" => pointwise::instance_norm(draft, node),
        "Relu" | "LeakyRelu" | "PRelu" => pointwise::activation(draft, node),
        "Add" | "Sub" | "Mul" | "Div" | "Sum" => pointwise::arithmetic(draft, node),
        "Pow" => pointwise::power(draft, node),
        "MaxPool" | "AveragePool" => grids::pool(draft, node),
        "GlobalAveragePool" | "ReduceMean" => grids::mean(draft, node),
        "Concat" => grids::concat(draft, node),
        "Resize" => grids::resize(draft, node),
        "Flatten" | "Reshape" => grids::reshape(draft, node),
        "Pad" => grids::pad(draft, node),
        "Transpose" => grids::transpose(draft, node),
        "Softmax" | "LogSoftmax" | "ArgMax" => grids::last(draft, node),
        "Identity" | "Dropout" => draft.any_image(node, 0),
        "Cast" if matches!(node.int("to", 1), 1 | 10 | 11 | 16) => draft.any_image(node, 0),
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
