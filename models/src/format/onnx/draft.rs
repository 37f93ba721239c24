//! The graph in the making: what each name of the model stands for, the nodes and weights so far, and what is in the
//! way.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::proto;
use super::report::Offence;
use super::tensor::{Reader, Tensor};
use crate::format::graph::{MAX_NAME, Node, Op};

/// What a name stands for.
#[derive(Clone)]
pub(super) enum Value {
    Constant(Tensor),
    Image(Image),
    /// Made by a node that can't be imported.
    Lost,
}

/// The output of a node of the graph.
#[derive(Clone)]
pub(super) struct Image {
    /// Its position.
    pub node: usize,
    /// Its dimensions in the order batch, channels, grid; batch and channels alone of what is flattened.
    pub dims: Vec<usize>,
    /// Where each axis of the ONNX value lies in `dims`.
    pub axes: Vec<usize>,
    /// An operator that only the output may have behind it: it changes no label.
    pub last: Option<String>,
}

impl Image {
    pub(super) fn channels(&self) -> usize {
        self.dims[1]
    }

    /// D, H, W or H, W; empty for what is flattened.
    pub(super) fn grid(&self) -> &[usize] {
        &self.dims[2..]
    }

    pub(super) fn is_turned(&self) -> bool {
        !self.axes.iter().copied().eq(0..self.dims.len())
    }
}

/// Why a node gives nothing.
pub(super) enum Stop {
    /// What it reads is lost already.
    Lost,
    /// It has no secure form: the operator or pattern, what was found, what is supported.
    Offence(String, String, String),
}

pub(super) struct Draft<'a> {
    pub reader: &'a Reader,
    /// Whether instance normalisations may be folded.
    pub fold: bool,
    /// The graph's nodes.
    pub nodes: Vec<Node>,
    /// The weights, by name: dimensions and values.
    pub tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    pub offences: Vec<Offence>,
    pub values: HashMap<String, Value>,
    /// How many nodes read a value.
    pub readers: HashMap<String, usize>,
    /// The operators that read a value.
    pub behind: HashMap<String, Vec<String>>,
    /// The operator that makes a value.
    pub makers: HashMap<String, String>,
    names: HashSet<String>,
}

impl<'a> Draft<'a> {
    /// A graph that begins with the input, of `dims` batch, channels and grid.
    pub(super) fn new(reader: &'a Reader, fold: bool, input: &str, dims: &[usize]) -> Self {
        let mut draft = Self {
            reader,
            fold,
            nodes: Vec::new(),
            tensors: BTreeMap::new(),
            offences: Vec::new(),
            values: HashMap::new(),
            readers: HashMap::new(),
            behind: HashMap::new(),
            makers: HashMap::new(),
            names: HashSet::new(),
        };
        let op = Op::Input { channels: Some(dims[1]), dims: Some(dims[2..].to_vec()), features: None };
        let image = draft.emit(input, op, &[], dims.to_vec());
        draft.values.insert(input.to_owned(), Value::Image(image));
        draft
    }

    pub(super) fn constant(&mut self, name: &str, tensor: Tensor) {
        self.values.insert(name.to_owned(), Value::Constant(tensor));
    }

    /// The image that stands for a value, if the walk came to one.
    pub(super) fn image_of(&self, name: &str) -> Option<&Image> {
        match self.values.get(name) {
            Some(Value::Image(image)) => Some(image),
            _ => None,
        }
    }

    /// An input that is an image with its axes in order and nothing final behind it.
    pub(super) fn image(&self, node: &proto::Node, at: usize) -> Result<Image, Stop> {
        let image = self.any_image(node, at)?;
        if let Some(last) = &image.last {
            let supported = "it as the last node, where it changes no label";
            return Err(Stop::Offence(last.clone(), format!("{} behind it", node.op_type), supported.to_owned()));
        }
        if image.is_turned() {
            let found = format!("{} of a transposed tensor", node.op_type);
            return Err(Stop::Offence("Transpose".to_owned(), found, "tensors of batch, channels, grid".to_owned()));
        }
        Ok(image)
    }

    /// An input that is an image, however its axes lie.
    pub(super) fn any_image(&self, node: &proto::Node, at: usize) -> Result<Image, Stop> {
        match node.input(at).and_then(|name| self.values.get(name)) {
            Some(Value::Image(image)) => Ok(image.clone()),
            Some(Value::Lost) => Err(Stop::Lost),
            Some(Value::Constant(_)) | None => {
                let found = format!("input {at} is not computed from the model's input");
                Err(Stop::Offence(node.op_type.clone(), found, "one that is".to_owned()))
            }
        }
    }

    /// An input that is constant, if it is there.
    pub(super) fn tensor(&self, node: &proto::Node, at: usize) -> Option<&Tensor> {
        match node.input(at).and_then(|name| self.values.get(name)) {
            Some(Value::Constant(tensor)) => Some(tensor),
            _ => None,
        }
    }

    /// Whether this node alone reads its input.
    pub(super) fn reads_alone(&self, node: &proto::Node, at: usize) -> bool {
        node.input(at).and_then(|name| self.readers.get(name)) == Some(&1)
    }

    /// Whether every reader of a node's output is of one operator.
    pub(super) fn leads_to(&self, node: &proto::Node, operator: &str) -> bool {
        let behind = node.output.first().and_then(|name| self.behind.get(name));
        behind.is_some_and(|all| all.iter().all(|op| op == operator))
    }

    /// The operator that makes an input.
    pub(super) fn maker(&self, node: &proto::Node, at: usize) -> Option<&str> {
        node.input(at).and_then(|name| self.makers.get(name)).map(String::as_str)
    }

    /// Appends a node; its name is made one of its own.
    pub(super) fn emit(&mut self, name: &str, op: Op, inputs: &[&Image], dims: Vec<usize>) -> Image {
        let name = self.name(name);
        let inputs = inputs.iter().map(|i| self.nodes[i.node].name.clone()).collect();
        self.nodes.push(Node { name, op, inputs });
        Image { node: self.nodes.len() - 1, axes: (0..dims.len()).collect(), dims, last: None }
    }

    /// A name without control characters, short enough, that no other node has.
    fn name(&mut self, wanted: &str) -> String {
        let clean: String = wanted.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
        let mut end = clean.len().min(MAX_NAME - 24);
        while !clean.is_char_boundary(end) {
            end -= 1;
        }
        let base = if end == 0 { "node" } else { &clean[..end] };
        let mut name = base.to_owned();
        let mut number = 2;
        while !self.names.insert(name.clone()) {
            name = format!("{base}_{number}");
            number += 1;
        }
        name
    }

    /// Stores weights under the name of a node that comes next.
    pub(super) fn store(&mut self, node: &proto::Node, part: &str, dims: &[usize], values: Vec<f32>) -> String {
        let base = format!("{}.{part}", node.label());
        let mut name = base.clone();
        let mut number = 2;
        while self.tensors.contains_key(&name) {
            name = format!("{base}_{number}");
            number += 1;
        }
        self.tensors.insert(name.clone(), (dims.to_vec(), values));
        name
    }
}
