//! The rules of the format, and the shapes that follow from a graph.

use std::collections::HashMap;
use std::fmt::Display;

use super::{
    Graph, Layout, MAX_CHANNELS, MAX_ELEMENTS, MAX_KERNEL, MAX_NAME, MAX_NODES, MAX_WINDOW, Node, Op, VERSION,
};
use crate::error::{Error, Result};
use crate::network::{Interpolation, LinearKind, Shape, Transposed};

/// Everything wrong with a node is said in one form.
fn wrong(file: &str, node: &str, field: &str, found: impl Display, expected: impl Display) -> Error {
    Error::Model(format!("{file}: node {node:?}: {field}: found {found}, expected {expected}"))
}

impl Graph {
    /// Checks every rule of the format and infers all shapes.
    ///
    /// # Errors
    /// [`Error::Model`], one line that names `file`, the node, the field, what was found and what was expected.
    pub fn check(&self, file: &str) -> Result<Layout> {
        if !(1..=VERSION).contains(&self.version) {
            return Err(Error::Model(format!("{file}: version: found {}, expected 1 to {VERSION}", self.version)));
        }
        if !(2..=MAX_NODES).contains(&self.nodes.len()) {
            let found = self.nodes.len();
            return Err(Error::Model(format!("{file}: nodes: found {found}, expected 2 to {MAX_NODES}")));
        }
        let mut layout = Layout { shapes: Vec::new(), inputs: Vec::new(), planar: false };
        let mut by_name = HashMap::new();
        let mut used = vec![false; self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate() {
            let inputs = self.resolve(file, at, &by_name)?;
            inputs.iter().for_each(|&i| used[i] = true);
            if let Op::Input { dims: Some(dims), .. } = &node.op {
                layout.planar = dims.len() == 2;
            }
            if let (1, Some(newer)) = (self.version, node.op.newer()) {
                let found = format!("{newer} in version 1");
                return Err(wrong(file, &node.name, "op", found, "graph.version 2, which has it"));
            }
            let shape = Inference { file, node, layout: &layout, version: self.version }.shape(&inputs)?;
            if shape.channels == 0 || shape.channels > MAX_CHANNELS {
                let expected = format!("1 to {MAX_CHANNELS}");
                return Err(wrong(file, &node.name, "channels", shape.channels, expected));
            }
            let elements = shape.dims.iter().try_fold(shape.channels, |n, &d| n.checked_mul(d));
            if !elements.is_some_and(|n| (1..=MAX_ELEMENTS).contains(&n)) {
                let found = format!("{} channels of {:?}", shape.channels, shape.dims);
                return Err(wrong(file, &node.name, "size", found, format!("1 to {MAX_ELEMENTS} elements")));
            }
            layout.shapes.push(shape);
            layout.inputs.push(inputs);
            by_name.insert(node.name.as_str(), at);
        }
        if let Some(unused) = used[..used.len() - 1].iter().position(|u| !u) {
            return Err(wrong(file, &self.nodes[unused].name, "output", "no reader", "a later node that reads it"));
        }
        Ok(layout)
    }

    /// The positions of a node's inputs, once its name and its place in the list are known to be right.
    fn resolve(&self, file: &str, at: usize, by_name: &HashMap<&str, usize>) -> Result<Vec<usize>> {
        let node = &self.nodes[at];
        let name = &node.name;
        if name.len() > MAX_NAME || name.chars().any(char::is_control) {
            let expected = format!("at most {MAX_NAME} bytes, no control characters");
            return Err(wrong(file, &name.chars().take(40).collect::<String>(), "name", name.len(), expected));
        }
        if name.is_empty() || by_name.contains_key(name.as_str()) {
            return Err(wrong(file, name, "name", format!("{name:?}"), "a name of its own"));
        }
        if matches!(node.op, Op::Input { .. }) != (at == 0) {
            return Err(wrong(file, name, "op", node.op.name(), "one input node, the first"));
        }
        let last = at + 1 == self.nodes.len();
        if matches!(node.op, Op::Argmax) != last {
            return Err(wrong(file, name, "op", node.op.name(), "one argmax node, the last"));
        }
        let (found, expected) = (node.inputs.len(), arity(&node.op));
        if !expected.contains(&found) {
            let (low, high) = (expected.start(), expected.end());
            let text = if low == high { format!("{low}") } else { format!("{low} to {high}") };
            return Err(wrong(file, name, "inputs", found, text));
        }
        let find = |input: &String| {
            let missing = || wrong(file, name, "inputs", format!("{input:?}"), "the name of an earlier node");
            by_name.get(input.as_str()).copied().ok_or_else(missing)
        };
        node.inputs.iter().map(find).collect()
    }
}

/// How many inputs an operation reads.
fn arity(op: &Op) -> std::ops::RangeInclusive<usize> {
    match op {
        Op::Input { .. } => 0..=0,
        Op::Concat | Op::Add => 2..=64,
        _ => 1..=1,
    }
}

/// A node whose shape is wanted.
struct Inference<'a> {
    file: &'a str,
    node: &'a Node,
    /// Of the nodes before it.
    layout: &'a Layout,
    version: u32,
}

impl Inference<'_> {
    /// The shape of the node's value from its inputs' shapes.
    fn shape(&self, inputs: &[usize]) -> Result<Shape> {
        let shape = |&i: &usize| self.layout.shapes[i];
        let Some(first) = inputs.first().map(shape) else { return self.input() };
        let one = |channels| Shape { channels, dims: [1; 3] };
        match &self.node.op {
            Op::Conv { out_channels, kernel, stride, padding, .. } => {
                let kind = self.conv(kernel, stride.as_deref(), padding.as_deref())?;
                self.convolved(kind, first.dims, *out_channels)
            }
            Op::ConvTranspose { out_channels, kernel, stride, padding, output_padding, .. } => {
                let lists = [kernel, stride, padding, output_padding].map(Option::as_deref);
                self.transposed(lists, first.dims, *out_channels)
            }
            Op::Dense { out_features, .. } if first.dims == [1; 3] => Ok(one(*out_features)),
            Op::Dense { .. } => Err(self.wrong(
                "input dims",
                format!("{:?}", first.dims),
                "one element (flatten or global_avg_pool before)",
            )),
            Op::Flatten => Ok(one(first.elements())),
            Op::GlobalAvgPool => Ok(one(first.channels)),
            Op::AvgPool { window } => self.pooled(first, window.as_deref(), MAX_ELEMENTS),
            Op::MaxPool { window } | Op::MinPool { window } => self.pooled(first, window.as_deref(), MAX_WINDOW),
            Op::Activation(activation) => match activation.fault() {
                Some((field, found, expected)) => Err(self.wrong(field, found, expected)),
                None => Ok(first),
            },
            Op::Add => match inputs.iter().map(shape).find(|other| *other != first) {
                Some(other) => {
                    let found =
                        [first, other].map(|s| format!("{} channels of {:?}", s.channels, s.dims)).join(" and ");
                    Err(self.wrong("inputs", found, "equal shapes"))
                }
                None => Ok(first),
            },
            Op::Resize { factor, mode } => {
                let most = if *mode == Interpolation::Linear { 2 } else { MAX_KERNEL };
                let good = |f: &[usize; 3]| f.iter().all(|f| (1..=most).contains(f));
                let wrong = || {
                    let expected = format!("a number of 1 to {most} for each axis");
                    self.wrong("factor", format!("{factor:?}"), expected)
                };
                let factor = self.layout.three(factor, 1).filter(good).ok_or_else(wrong)?;
                Ok(Shape { dims: std::array::from_fn(|i| first.dims[i].saturating_mul(factor[i])), ..first })
            }
            Op::InstanceNorm { eps, .. } if !(*eps > 0.0 && eps.is_finite()) => {
                Err(self.wrong("eps", eps, "a finite number above 0"))
            }
            Op::Concat => {
                let grids: Vec<_> = inputs.iter().map(|i| shape(i).dims).collect();
                if let Some(other) = grids.iter().find(|dims| **dims != first.dims) {
                    return Err(self.wrong("inputs", format!("grids {:?} and {other:?}", first.dims), "equal grids"));
                }
                Ok(Shape { channels: inputs.iter().map(|i| shape(i).channels).sum(), dims: first.dims })
            }
            Op::Argmax if !(2..=256).contains(&first.channels) => {
                Err(self.wrong("input channels", first.channels, "2 to 256 classes"))
            }
            Op::Square | Op::Relu | Op::Quadratic { .. } | Op::Scale { .. } | Op::InstanceNorm { .. } | Op::Argmax => {
                Ok(first)
            }
            Op::Input { .. } => unreachable!("an input reads nothing"),
        }
    }

    fn input(&self) -> Result<Shape> {
        let Op::Input { channels, dims, features } = &self.node.op else {
            unreachable!("the number of inputs was checked")
        };
        match (channels, dims, features) {
            (Some(channels), Some(sizes), None) => {
                let expected = "[D, H, W] or [H, W]";
                let wrong = || self.wrong("dims", format!("{sizes:?}"), expected);
                Ok(Shape { channels: *channels, dims: self.layout.three(sizes, 1).ok_or_else(wrong)? })
            }
            (None, None, Some(features)) => Ok(Shape { channels: *features, dims: [1; 3] }),
            _ => {
                let given =
                    [("channels", channels.is_some()), ("dims", dims.is_some()), ("features", features.is_some())];
                let found: Vec<_> = given.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
                Err(self.wrong("fields", format!("{found:?}"), "channels and dims, or features"))
            }
        }
    }

    /// A convolution's geometry within its bounds.
    fn conv(&self, kernel: &[usize], stride: Option<&[usize]>, padding: Option<&[usize]>) -> Result<LinearKind> {
        let (axes, odd) = (if self.layout.planar { 2 } else { 3 }, if self.version == 1 { "odd " } else { "" });
        let good = |k: &usize| (1..=MAX_KERNEL).contains(k) && (self.version > 1 || k % 2 == 1);
        if kernel.len() != axes || !kernel.iter().all(good) {
            let expected = format!("{axes} {odd}sizes up to {MAX_KERNEL}");
            return Err(self.wrong("kernel", format!("{kernel:?}"), expected));
        }
        if let Some(stride) = stride.filter(|s| s.len() != axes || !s.iter().all(|s| (1..=MAX_KERNEL).contains(s))) {
            let expected = format!("{axes} steps of 1 to {MAX_KERNEL}");
            return Err(self.wrong("stride", format!("{stride:?}"), expected));
        }
        if let Some(padding) = padding.filter(|p| p.len() != axes || p.iter().zip(kernel).any(|(p, k)| p >= k)) {
            let expected = format!("{axes} numbers below the kernel's {kernel:?}");
            return Err(self.wrong("padding", format!("{padding:?}"), expected));
        }
        Ok(self.layout.conv(kernel, stride, padding).expect("lists of as many sizes as there are axes"))
    }

    fn convolved(&self, kind: LinearKind, input: [usize; 3], channels: usize) -> Result<Shape> {
        let dims = kind.output_dims(input);
        if dims.contains(&0) {
            let expected = "a grid that holds the kernel, padding included";
            return Err(self.wrong("input dims", format!("{input:?}"), expected));
        }
        Ok(Shape { channels, dims })
    }

    /// A transposed convolution's output within its bounds.
    fn transposed(&self, lists: [Option<&[usize]>; 4], input: [usize; 3], channels: usize) -> Result<Shape> {
        let axes = if self.layout.planar { 2 } else { 3 };
        let names = ["kernel", "stride", "padding", "output_padding"];
        if let Some((name, list)) = names.iter().zip(lists).find_map(|(n, l)| Some((n, l.filter(|l| l.len() != axes)?)))
        {
            return Err(self.wrong(name, format!("{list:?}"), format!("{axes} numbers")));
        }
        let Some(geometry) = self.layout.transposition(lists) else { unreachable!("the lengths were checked") };
        let Transposed { kernel, stride, padding, output_padding } = geometry;
        let each = |field: &str, list: [usize; 3], good: &dyn Fn(usize) -> bool, expected: &str| {
            if (0..3).all(good) { Ok(()) } else { Err(self.wrong(field, format!("{list:?}"), expected)) }
        };
        let sizes = format!("{axes} sizes of 1 to {MAX_KERNEL}");
        each("kernel", kernel, &|i| (1..=MAX_KERNEL).contains(&kernel[i]), &sizes)?;
        each("stride", stride, &|i| (1..=MAX_KERNEL).contains(&stride[i]), &sizes)?;
        each("padding", padding, &|i| padding[i] < kernel[i], "fewer than the kernel's sizes")?;
        each("output_padding", output_padding, &|i| output_padding[i] < stride[i], "fewer than the stride's steps")?;
        match geometry.output_dims(input) {
            Some(dims) if geometry.fits(input) => Ok(Shape { channels, dims }),
            _ => Err(self.wrong("input dims", format!("{input:?}"), "a grid each of whose outputs meets an input")),
        }
    }

    /// A tensor after windows of at most so many elements.
    fn pooled(&self, input: Shape, window: Option<&[usize]>, most: usize) -> Result<Shape> {
        let window = self.layout.sized(window).filter(|w| !w.contains(&0)).ok_or_else(|| {
            self.wrong("window", format!("{:?}", window.unwrap_or_default()), "a size above 0 for each axis")
        })?;
        if (0..3).any(|i| !input.dims[i].is_multiple_of(window[i])) {
            let expected = format!("multiples of {window:?}");
            return Err(self.wrong("input dims", format!("{:?}", input.dims), expected));
        }
        // A window that divides its grid is no larger.
        if window.iter().product::<usize>() > most {
            return Err(self.wrong("window", format!("{window:?}"), format!("at most {most} elements")));
        }
        Ok(Shape { channels: input.channels, dims: std::array::from_fn(|i| input.dims[i] / window[i]) })
    }

    fn wrong(&self, field: &str, found: impl Display, expected: impl Display) -> Error {
        wrong(self.file, &self.node.name, field, found, expected)
    }
}
