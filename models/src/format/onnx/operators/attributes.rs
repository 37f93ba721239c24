//! Sizes and paddings of a node, within bounds, and how it is refused.

use crate::format::graph::MAX_ELEMENTS;
use crate::format::onnx::draft::Stop;
use crate::format::onnx::proto::Node;

/// The largest kernel, stride or padding that is computed with; a graph has a smaller bound.
const MAX_SIZE: usize = 1 << 16;

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
