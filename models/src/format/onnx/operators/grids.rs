//! Poolings, concatenations and what moves values about.

use super::attributes::{bounded, offence, padding, sizes};
use crate::format::graph::Op;
use crate::format::onnx::constants::{axis, reshaped};
use crate::format::onnx::draft::{Draft, Image, Stop};
use crate::format::onnx::proto::Node;
use crate::format::onnx::tensor::Tensor;
use crate::network::Interpolation;

pub(super) fn pool(draft: &mut Draft, node: &Node) -> Result<Image, Stop> {
    let axes = node.ints("kernel_shape").map_or(0, <[i64]>::len);
    let (window, stride) = (sizes(node, "kernel_shape", axes, 1)?, sizes(node, "strides", axes, 1)?);
    let (padding, dilations) = (padding(node, axes)?, sizes(node, "dilations", axes, 1)?);
    let side_by_side = "supported: windows side by side, without padding";
    if window != stride || padding.iter().any(|&p| p != 0) || dilations.iter().any(|&d| d != 1) {
        let found = format!("found windows of {window:?} every {stride:?}, padding {padding:?}");
        return Err(offence(node, found, side_by_side));
    }
    let image = draft.image(node, 0)?;
    let grid = image.grid();
    if grid.len() != axes || (0..axes).any(|i| window[i] == 0 || grid[i] % window[i] != 0) {
        let found = format!("found windows of {window:?} on a grid of {grid:?}");
        return Err(offence(node, found, "supported: a grid that they divide; choose another with --dims"));
    }
    let dims = [&image.dims[..2], &(0..axes).map(|i| grid[i] / window[i]).collect::<Vec<_>>()].concat();
    let window = Some(window);
    let op = if node.op_type == "MaxPool" { Op::MaxPool { window } } else { Op::AvgPool { window } };
    Ok(draft.emit(node.label(), op, &[&image], dims))
}

pub(super) fn mean(draft: &mut Draft, node: &Node) -> Result<Image, Stop> {
    let given = draft.tensor(node, 1).and_then(Tensor::as_ints).map(<[i64]>::to_vec);
    let image = draft.image(node, 0)?;
    let rank = image.dims.len();
    if node.op_type == "ReduceMean" {
        let given = given.or_else(|| node.ints("axes").map(<[i64]>::to_vec)).unwrap_or_default();
        let mut over = given.iter().filter_map(|&a| axis(a, rank)).collect::<Vec<_>>();
        over.sort_unstable();
        if !over.iter().copied().eq(2..rank) {
            return Err(offence(node, format!("found axes {given:?}"), "supported: all axes of the grid"));
        }
    }
    let dims = if node.int("keepdims", 1) == 0 {
        vec![1, image.channels()]
    } else {
        [&image.dims[..2], &vec![1; rank - 2]].concat()
    };
    Ok(draft.emit(node.label(), Op::GlobalAvgPool, &[&image], dims))
}

pub(super) fn concat(draft: &mut Draft, node: &Node) -> Result<Image, Stop> {
    let images = (0..node.input.len()).map(|at| draft.image(node, at)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = images.first() else { return Err(Stop::Lost) };
    if axis(node.int("axis", 1), first.dims.len()) != Some(1) {
        let found = format!("found axis {}", node.int("axis", 1));
        return Err(offence(node, found, "supported: 1, the channels"));
    }
    if let Some(other) = images.iter().find(|i| i.grid() != first.grid()) {
        let found = format!("found grids of {:?} and {:?}", first.grid(), other.grid());
        return Err(offence(node, found, "supported: equal grids; choose sizes that all levels divide with --dims"));
    }
    let dims = bounded(node, [&[1, images.iter().map(Image::channels).sum()], first.grid()].concat())?;
    if images.len() == 1 {
        return Ok(first.clone());
    }
    Ok(draft.emit(node.label(), Op::Concat, &images.iter().collect::<Vec<_>>(), dims))
}

pub(super) fn resize(draft: &mut Draft, node: &Node) -> Result<Image, Stop> {
    let mode = node.text("mode", "nearest");
    let place = node.text("coordinate_transformation_mode", "half_pixel");
    let nearest = node.text("nearest_mode", "round_prefer_floor");
    let kind = match (mode, place) {
        ("nearest", "asymmetric") if nearest == "floor" => Some(Interpolation::Nearest),
        ("nearest", "half_pixel" | "pytorch_half_pixel" | "half_pixel_symmetric") if nearest.starts_with("round") => {
            Some(Interpolation::Nearest)
        }
        ("linear", "half_pixel" | "pytorch_half_pixel" | "half_pixel_symmetric") if node.int("antialias", 0) == 0 => {
            Some(Interpolation::Linear)
        }
        _ => None,
    };
    let Some(kind) = kind else {
        let found = format!("found {mode} with {place}");
        let ways = "supported: nearest by whole factors, linear with half_pixel (align_corners=False) by 2, or a transposed \
                    convolution (upsample=\"deconv\"); fine-tune with one";
        return Err(offence(node, found, ways));
    };
    let image = draft.image(node, 0)?;
    let scales = draft.tensor(node, 2).map(Tensor::floats).filter(|s| !s.is_empty());
    let wanted = draft.tensor(node, 3).and_then(Tensor::as_ints);
    let factor = |at: usize| match (&scales, wanted) {
        (Some(scales), _) => {
            scales.get(at).filter(|s| **s >= 1.0 && s.fract() == 0.0 && **s < 64.0).map(|&s| s as usize)
        }
        (None, Some(sizes)) => {
            let size = usize::try_from(*sizes.get(at)?).ok()?;
            (size >= image.dims[at] && size % image.dims[at] == 0).then(|| size / image.dims[at])
        }
        _ => None,
    };
    let factors = (0..image.dims.len()).map(factor).collect::<Option<Vec<_>>>().filter(|f| f[..2] == [1, 1]);
    let factors = factors.filter(|f| kind == Interpolation::Nearest || f.iter().all(|&f| f <= 2));
    let Some(factors) = factors else {
        let found = format!("found scales {scales:?}, sizes {wanted:?} for {:?}", image.dims);
        return Err(offence(node, found, "supported: whole factors of the grid, 2 where it is linear"));
    };
    let dims = bounded(node, image.dims.iter().zip(&factors).map(|(d, f)| d.saturating_mul(*f)).collect())?;
    Ok(draft.emit(node.label(), Op::Resize { factor: factors[2..].to_vec(), mode: kind }, &[&image], dims))
}

/// A reshape that flattens or changes nothing.
pub(super) fn reshape(draft: &mut Draft, node: &Node) -> Result<Image, Stop> {
    if node.op_type == "Reshape" && draft.leads_to(node, "InstanceNormalization") {
        let found = "found statistics of groups of channels of the scan itself".to_owned();
        let ways = "supported: BatchNormalization; train with batch norm (SegResNet: norm=\"batch\")";
        return Err(Stop::Offence(
            "GroupNorm: Reshape, InstanceNormalization, Reshape".to_owned(),
            found,
            ways.to_owned(),
        ));
    }
    let image = draft.image(node, 0)?;
    let features = image.dims[1..].iter().product::<usize>();
    let wanted = match (node.op_type.as_str(), draft.tensor(node, 1).and_then(Tensor::as_ints)) {
        ("Flatten", _) if axis(node.int("axis", 1), image.dims.len()) == Some(1) => Some(vec![1, features]),
        ("Reshape", Some(wanted)) => reshaped(&image.dims, wanted),
        _ => None,
    };
    match wanted {
        Some(dims) if dims == image.dims => Ok(image),
        Some(dims) if dims == [1, features] => Ok(draft.emit(node.label(), Op::Flatten, &[&image], dims)),
        other => {
            let found = format!("found {:?} to {other:?}", image.dims);
            Err(offence(node, found, "supported: flattening of all but the batch"))
        }
    }
}

pub(super) fn pad(draft: &mut Draft, node: &Node) -> Result<Image, Stop> {
    let pads = draft.tensor(node, 1).and_then(Tensor::as_ints).or_else(|| node.ints("pads")).map(<[i64]>::to_vec);
    let image = draft.any_image(node, 0)?;
    match pads {
        Some(pads) if pads.iter().all(|&p| p == 0) => Ok(image),
        other => {
            let ways = "supported: none; pad in the convolution behind it, or choose sizes that need none with --dims";
            Err(offence(node, format!("found pads {:?}", other.unwrap_or_default()), ways))
        }
    }
}

pub(super) fn transpose(draft: &mut Draft, node: &Node) -> Result<Image, Stop> {
    let mut image = draft.any_image(node, 0)?;
    let rank = image.axes.len();
    let perm = match node.ints("perm") {
        Some(perm) => perm.iter().map(|&p| usize::try_from(p).ok().filter(|&p| p < rank)).collect::<Option<Vec<_>>>(),
        None => Some((0..rank).rev().collect()),
    };
    let Some(perm) = perm.filter(|p| p.len() == rank) else {
        return Err(offence(node, format!("found perm {:?}", node.ints("perm")), "supported: one for each axis"));
    };
    image.axes = perm.iter().map(|&p| image.axes[p]).collect();
    Ok(image)
}

/// A softmax or an argmax of the channels, which the labels don't depend on.
pub(super) fn last(draft: &mut Draft, node: &Node) -> Result<Image, Stop> {
    let mut image = draft.any_image(node, 0)?;
    let default = if node.op_type == "ArgMax" { 0 } else { -1 };
    let along = axis(node.int("axis", default), image.axes.len()).and_then(|a| image.axes.get(a).copied());
    if along != Some(1) {
        return Err(offence(node, format!("found axis {}", node.int("axis", default)), "supported: the channels"));
    }
    image.last = Some(node.op_type.clone());
    if node.op_type == "ArgMax" {
        image.axes = (0..image.dims.len()).collect();
    }
    Ok(image)
}
