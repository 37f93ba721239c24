//! Activations, sums, factors and instance normalisation.

use super::attributes::offence;
use crate::format::graph::{Activation, Function, Op, Slope};
use crate::format::onnx::draft::{Draft, Image, Stop};
use crate::format::onnx::proto::Node;
use crate::format::onnx::tensor::Tensor;

/// A constant as one number a channel of an image, if it broadcasts so.
fn a_channel(tensor: &Tensor, image: &Image) -> Option<Vec<f32>> {
    let (values, channels) = (tensor.floats(), image.channels());
    // From the last axis on: [C, 1, 1, 1] and [1, C, 1, 1, 1] are the same to a grid of three axes.
    let behind = image.grid().len();
    let fits = tensor.dims.iter().rev().enumerate().all(|(at, &d)| d == 1 || (at == behind && d == channels));
    match values.len() {
        1 => Some(vec![values[0]; channels]),
        n if n == channels && fits => Some(values),
        _ => None,
    }
}

pub(super) fn activation(draft: &mut Draft, node: &Node) -> Result<Image, Stop> {
    let image = draft.image(node, 0)?;
    let op = match node.op_type.as_str() {
        "Relu" => Op::Relu,
        "LeakyRelu" => {
            let alpha = node.float("alpha", 0.01);
            let slope = Some(Slope::Number(f64::from(alpha)));
            Op::Activation(Activation { function: Some(Function::LeakyRelu), slope, pieces: None })
        }
        _ => {
            let Some(slopes) = draft.tensor(node, 1).and_then(|t| a_channel(t, &image)) else {
                let found = "found slopes that are no constants a channel".to_owned();
                return Err(offence(node, found, "supported: one slope, or one for each channel"));
            };
            let slope = Some(Slope::Tensor(draft.store(node, "slope", &[slopes.len()], slopes)));
            Op::Activation(Activation { function: Some(Function::Prelu), slope, pieces: None })
        }
    };
    Ok(draft.emit(node.label(), op, &[&image], image.dims.clone()))
}

/// factor·x + offset.
fn scale(draft: &mut Draft, node: &Node, image: &Image, factor: Option<Vec<f32>>, offset: Option<Vec<f32>>) -> Image {
    let mut store = |part: &str, values: Vec<f32>| draft.store(node, part, &[values.len()], values);
    let (factor, offset) = (factor.map(|v| store("factor", v)), offset.map(|v| store("offset", v)));
    draft.emit(node.label(), Op::Scale { factor, offset }, &[image], image.dims.clone())
}

pub(super) fn arithmetic(draft: &mut Draft, node: &Node) -> Result<Image, Stop> {
    let operator = node.op_type.as_str();
    let constant = (0..node.input.len()).find(|&at| draft.tensor(node, at).is_some());
    if let (Some(at), 2) = (constant, node.input.len()) {
        let image = draft.image(node, 1 - at)?;
        let Some(values) = draft.tensor(node, at).and_then(|t| a_channel(t, &image)) else {
            let found = "found a constant that is no number a channel".to_owned();
            return Err(offence(node, found, "supported: one number, or one for each channel"));
        };
        let negative = |values: &[f32]| values.iter().map(|v| -v).collect::<Vec<_>>();
        let ones = || vec![-1.0; image.channels()];
        let (factor, offset) = match (operator, at) {
            ("Add" | "Sum", _) => (None, Some(values)),
            ("Sub", 1) => (None, Some(negative(&values))),
            ("Sub", _) => (Some(ones()), Some(values)),
            ("Mul", _) => (Some(values), None),
            ("Div", 1) => (Some(values.iter().map(|v| 1.0 / v).collect()), None),
            _ => return Err(offence(node, "found a division by a tensor".to_owned(), "supported: by constants")),
        };
        return Ok(scale(draft, node, &image, factor, offset));
    }
    if operator == "Mul" && node.input(0) == node.input(1) {
        let image = draft.image(node, 0)?;
        return Ok(draft.emit(node.label(), Op::Square, &[&image], image.dims.clone()));
    }
    if matches!(operator, "Mul" | "Div") {
        let found = "found two tensors that are computed".to_owned();
        return Err(offence(node, found, "supported: constants, and a tensor with itself; gates have no secure form"));
    }
    let mut images = (0..node.input.len()).map(|at| draft.image(node, at)).collect::<Result<Vec<_>, _>>()?;
    if let Some(other) = images.iter().find(|i| i.dims != images[0].dims) {
        let found = format!("found tensors of {:?} and {:?}", images[0].dims, other.dims);
        return Err(offence(node, found, "supported: equal dimensions"));
    }
    if operator == "Sub" {
        let minus = vec![-1.0; images[1].channels()];
        images[1] = scale(draft, node, &images[1].clone(), Some(minus), None);
    }
    if images.len() < 2 {
        return Ok(images.remove(0));
    }
    let all: Vec<&Image> = images.iter().collect();
    Ok(draft.emit(node.label(), Op::Add, &all, images[0].dims.clone()))
}

pub(super) fn power(draft: &mut Draft, node: &Node) -> Result<Image, Stop> {
    let exponent = draft.tensor(node, 1).map(Tensor::floats);
    if exponent.as_deref() != Some(&[2.0]) {
        return Err(offence(node, format!("found exponent {exponent:?}"), "supported: 2"));
    }
    let image = draft.image(node, 0)?;
    Ok(draft.emit(node.label(), Op::Square, &[&image], image.dims.clone()))
}

pub(super) fn instance_norm(draft: &mut Draft, node: &Node) -> Result<Image, Stop> {
    // A part of a pattern that was named where it began.
    if draft.maker(node, 0) == Some("Reshape") {
        return Err(Stop::Lost);
    }
    // Statistics of a scan are not computed on shares yet.
    if !draft.fold {
        let ways = "supported: BatchNormalization (train with batch norm, as norm=\"batch\" or norm_op BatchNorm3d), or \
                    --instance-norm fold, which puts statistics of the calibration's volumes in the place of the scan's own \
                    and changes labels";
        return Err(offence(node, "found statistics of the scan itself".to_owned(), ways));
    }
    let eps = f64::from(node.float("epsilon", 1e-5));
    let vectors = [1, 2].map(|at| draft.tensor(node, at).map(Tensor::floats));
    let image = draft.image(node, 0)?;
    let channels = image.channels();
    let [Some(gamma), Some(beta)] = vectors else {
        return Err(offence(node, "found computed factors".to_owned(), "supported: constant ones"));
    };
    if gamma.len() != channels || beta.len() != channels {
        let found = format!("found {} factors for {channels} channels", gamma.len());
        return Err(offence(node, found, "supported: one for each channel"));
    }
    let gamma = Some(draft.store(node, "gamma", &[channels], gamma));
    let beta = Some(draft.store(node, "beta", &[channels], beta));
    Ok(draft.emit(node.label(), Op::InstanceNorm { gamma, beta, eps, fold: true }, &[&image], image.dims.clone()))
}
