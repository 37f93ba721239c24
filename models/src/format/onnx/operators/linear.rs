//! Convolutions, dense layers and the normalisations that are folded into them.

use super::attributes::{bounded, offence, padding, sizes};
use crate::format::graph::{BatchNorm, Op};
use crate::format::onnx::draft::{Draft, Image, Stop};
use crate::format::onnx::proto::Node;

/// The weights of a convolution: their dimensions and values; what the attributes say is checked against them.
fn weights(draft: &Draft, node: &Node) -> Result<(Vec<usize>, Vec<f32>), Stop> {
    let group = node.int("group", 1);
    if group != 1 {
        return Err(offence(node, format!("found group {group}"), "supported: 1; train without groups"));
    }
    if let Some(dilations) = node.ints("dilations").filter(|d| d.iter().any(|&d| d != 1)) {
        let found = format!("found dilations {dilations:?}");
        return Err(offence(node, found, "supported: 1; use a larger kernel or a coarser level"));
    }
    let Some(weight) = draft.tensor(node, 1) else {
        return Err(offence(node, "found computed weights".to_owned(), "supported: constant ones"));
    };
    let axes = weight.dims.len().saturating_sub(2);
    if !(2..=3).contains(&axes) || weight.dims.contains(&0) {
        let found = format!("found weights of dimensions {:?}", weight.dims);
        return Err(offence(node, found, "supported: convolutions in 2D and 3D"));
    }
    if let Some(kernel) = node
        .ints("kernel_shape")
        .filter(|k| !k.iter().eq(weight.dims[2..].iter().map(|&d| d as i64).collect::<Vec<_>>().iter()))
    {
        let found = format!("found kernel_shape {kernel:?} with weights of {:?}", weight.dims);
        return Err(offence(node, found, "supported: the same sizes in both"));
    }
    Ok((weight.dims.clone(), weight.floats()))
}

/// A bias, if there is one.
fn bias(draft: &mut Draft, node: &Node, outputs: usize) -> Result<Option<String>, Stop> {
    if node.input(2).is_none() {
        return Ok(None);
    }
    match draft.tensor(node, 2) {
        Some(bias) if bias.len() == outputs => {
            let values = bias.floats();
            Ok(Some(draft.store(node, "bias", &[outputs], values)))
        }
        _ => Err(offence(
            node,
            "found a computed bias".to_owned(),
            &format!("supported: a constant for {outputs} channels"),
        )),
    }
}

/// The image that a convolution with weights for so many channels and axes reads.
fn input(draft: &Draft, node: &Node, channels: usize, axes: usize) -> Result<Image, Stop> {
    let image = draft.image(node, 0)?;
    if image.channels() != channels || image.grid().len() != axes {
        let found = format!("found an input of {:?} for weights of {channels} channels in {axes}D", image.dims);
        return Err(offence(node, found, "supported: an input that fits the weights"));
    }
    Ok(image)
}

/// A size that a layer gives, if there is one.
fn output(
    node: &Node,
    image: &Image,
    channels: usize,
    size: impl Fn(usize) -> Option<usize>,
) -> Result<Vec<usize>, Stop> {
    let grid = (0..image.grid().len()).map(size).collect::<Option<Vec<_>>>().filter(|grid| !grid.contains(&0));
    let grid = grid.ok_or_else(|| {
        offence(node, format!("found a grid of {:?}", image.grid()), "supported: one that holds the kernel")
    })?;
    bounded(node, [&[1, channels], &grid[..]].concat())
}

pub(super) fn conv(draft: &mut Draft, node: &Node) -> Result<Image, Stop> {
    let (dims, values) = weights(draft, node)?;
    let (kernel, axes) = (dims[2..].to_vec(), dims.len() - 2);
    let (stride, padding) = (sizes(node, "strides", axes, 1)?, padding(node, axes)?);
    if let Some(at) = (0..axes).find(|&i| padding[i] >= kernel[i] || stride[i] == 0) {
        let found = format!("found padding {} and stride {} for a kernel of {}", padding[at], stride[at], kernel[at]);
        return Err(offence(node, found, "supported: a padding below the kernel's size"));
    }
    let image = input(draft, node, dims[1], axes)?;
    let grid = image.grid();
    let size = |i: usize| Some((grid[i] + 2 * padding[i]).checked_sub(kernel[i])? / stride[i] + 1);
    let out = output(node, &image, dims[0], size)?;
    let weight = draft.store(node, "weight", &dims, values);
    let bias = bias(draft, node, dims[0])?;
    let op = Op::Conv {
        out_channels: dims[0],
        kernel,
        stride: Some(stride),
        padding: Some(padding),
        weight,
        bias,
        batch_norm: None,
    };
    Ok(draft.emit(node.label(), op, &[&image], out))
}

pub(super) fn conv_transpose(draft: &mut Draft, node: &Node) -> Result<Image, Stop> {
    let (dims, values) = weights(draft, node)?;
    let (kernel, axes) = (dims[2..].to_vec(), dims.len() - 2);
    let (stride, padding) = (sizes(node, "strides", axes, 1)?, padding(node, axes)?);
    let output_padding = sizes(node, "output_padding", axes, 0)?;
    if let Some(shape) = node.ints("output_shape") {
        let found = format!("found output_shape {shape:?}");
        return Err(offence(node, found, "supported: pads and output_padding; export with them"));
    }
    let fits = |i: usize| padding[i] < kernel[i] && output_padding[i] < stride[i];
    if let Some(at) = (0..axes).find(|&i| !fits(i)) {
        let found = format!(
            "found padding {}, output_padding {}, stride {} for a kernel of {}",
            padding[at], output_padding[at], stride[at], kernel[at]
        );
        return Err(offence(
            node,
            found,
            "supported: a padding below the kernel's size, an output_padding below the stride",
        ));
    }
    let image = input(draft, node, dims[0], axes)?;
    let grid = image.grid();
    let size = |i: usize| ((grid[i] - 1) * stride[i] + kernel[i] + output_padding[i]).checked_sub(2 * padding[i]);
    let out = output(node, &image, dims[1], size)?;
    let weight = draft.store(node, "weight", &dims, values);
    let bias = bias(draft, node, dims[1])?;
    let op = Op::ConvTranspose {
        out_channels: dims[1],
        kernel: Some(kernel),
        stride: Some(stride),
        padding: Some(padding),
        output_padding: Some(output_padding),
        weight,
        bias,
        batch_norm: None,
    };
    Ok(draft.emit(node.label(), op, &[&image], out))
}

pub(super) fn gemm(draft: &mut Draft, node: &Node) -> Result<Image, Stop> {
    let factors = [("alpha", node.float("alpha", 1.0)), ("beta", node.float("beta", 1.0))];
    if let Some((name, value)) = factors.into_iter().find(|&(_, v)| v != 1.0) {
        return Err(offence(node, format!("found {name} {value}"), "supported: 1"));
    }
    if node.int("transA", 0) != 0 {
        return Err(offence(node, "found transA".to_owned(), "supported: 0"));
    }
    let weight = draft.tensor(node, 1).filter(|w| w.dims.len() == 2);
    let Some((rows, columns, values)) = weight.map(|w| (w.dims[0], w.dims[1], w.floats())) else {
        return Err(offence(node, "found no constant matrix".to_owned(), "supported: constant weights"));
    };
    let (outputs, inputs, values) = if node.int("transB", 0) != 0 {
        (rows, columns, values)
    } else {
        let turned = (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c)).map(|at| values[at]).collect();
        (columns, rows, turned)
    };
    let image = draft.image(node, 0)?;
    if image.dims != [1, inputs] {
        let found = format!("found an input of {:?}", image.dims);
        return Err(offence(node, found, &format!("supported: {inputs} features, flattened")));
    }
    let weight = draft.store(node, "weight", &[outputs, inputs], values);
    let bias = bias(draft, node, outputs)?;
    let op = Op::Dense { out_features: outputs, weight, bias, batch_norm: None };
    Ok(draft.emit(node.label(), op, &[&image], vec![1, outputs]))
}

pub(super) fn batch_norm(draft: &mut Draft, node: &Node) -> Result<Image, Stop> {
    if node.int("training_mode", 0) != 0 {
        let found = "found training_mode".to_owned();
        return Err(offence(node, found, "supported: statistics of the training; export in eval mode"));
    }
    let eps = node.float("epsilon", 1e-5);
    let vectors = (1..5).map(|at| draft.tensor(node, at).map(|t| t.floats())).collect::<Option<Vec<_>>>();
    let image = draft.image(node, 0)?;
    let channels = image.channels();
    let Some(vectors) = vectors.filter(|all| all.iter().all(|v| v.len() == channels)) else {
        let found = "found statistics that are no constants a channel".to_owned();
        return Err(offence(node, found, "supported: one of each for every channel"));
    };
    let alone = draft.reads_alone(node, 0);
    let free = match &draft.nodes[image.node].op {
        Op::Conv { batch_norm, .. } | Op::ConvTranspose { batch_norm, .. } | Op::Dense { batch_norm, .. } => {
            batch_norm.is_none() && alone && f64::from(eps) > 0.0
        }
        _ => false,
    };
    if !free {
        let of = |c: usize| {
            let factor = f64::from(vectors[0][c]) / (f64::from(vectors[3][c]) + f64::from(eps)).sqrt();
            (factor as f32, (f64::from(vectors[1][c]) - f64::from(vectors[2][c]) * factor) as f32)
        };
        let (factor, offset): (Vec<f32>, Vec<f32>) = (0..channels).map(of).unzip();
        let factor = Some(draft.store(node, "factor", &[channels], factor));
        let offset = Some(draft.store(node, "offset", &[channels], offset));
        return Ok(draft.emit(node.label(), Op::Scale { factor, offset }, &[&image], image.dims.clone()));
    }
    let mut names =
        ["gamma", "beta", "mean", "var"].iter().zip(vectors).map(|(part, v)| draft.store(node, part, &[channels], v));
    let [gamma, beta, mean, var] = [(); 4].map(|()| names.next().expect("four vectors"));
    drop(names);
    let folded = Some(BatchNorm { gamma, beta, mean, var, eps: f64::from(eps) });
    match &mut draft.nodes[image.node].op {
        Op::Conv { batch_norm, .. } | Op::ConvTranspose { batch_norm, .. } | Op::Dense { batch_norm, .. } => {
            *batch_norm = folded;
        }
        _ => unreachable!("a linear layer, as seen above"),
    }
    Ok(image)
}
