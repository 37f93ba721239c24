//! One walk over the nodes in their order: constants are computed, all else becomes nodes of the graph, and what can't
//! is noted, so that one message has all of it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::constants::evaluate;
use super::operators;
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

pub(super) struct Walk<'a> {
    pub reader: &'a Reader,
    /// Whether instance normalisations may be folded.
    pub fold: bool,
    /// The graph's nodes.
    pub nodes: Vec<Node>,
    /// The weights, by name: dimensions and values.
    pub tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    pub offences: Vec<Offence>,
    values: HashMap<String, Value>,
    /// How many nodes read a value.
    readers: HashMap<String, usize>,
    /// The operators that read a value.
    behind: HashMap<String, Vec<String>>,
    /// The operator that makes a value.
    makers: HashMap<String, String>,
    names: HashSet<String>,
}

impl<'a> Walk<'a> {
    /// A walk that begins with the input, of `dims` batch, channels and grid.
    pub(super) fn new(reader: &'a Reader, fold: bool, input: &str, dims: &[usize]) -> Self {
        let mut walk = Self {
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
        let image = walk.emit(input, op, &[], dims.to_vec());
        walk.values.insert(input.to_owned(), Value::Image(image));
        walk
    }

    pub(super) fn constant(&mut self, name: &str, tensor: Tensor) {
        self.values.insert(name.to_owned(), Value::Constant(tensor));
    }

    /// Walks over all nodes.
    pub(super) fn walk(&mut self, nodes: &[&proto::Node], output: &str) {
        for node in nodes {
            self.makers.extend(node.output.iter().map(|name| (name.clone(), node.op_type.clone())));
            for input in &node.input {
                *self.readers.entry(input.clone()).or_default() += 1;
                self.behind.entry(input.clone()).or_default().push(node.op_type.clone());
            }
        }
        *self.readers.entry(output.to_owned()).or_default() += 1;
        for node in nodes {
            let value = self.value(node);
            if let Some(name) = node.output.first() {
                self.values.insert(name.clone(), value);
            }
            for name in node.output.iter().skip(1) {
                self.values.insert(name.clone(), Value::Lost);
            }
        }
    }

    fn value(&mut self, node: &proto::Node) -> Value {
        let inputs: Vec<Option<&Value>> =
            (0..node.input.len()).map(|at| node.input(at).and_then(|name| self.values.get(name))).collect();
        let constant = |v: &Option<&'_ Value>| match v {
            Some(Value::Constant(_)) | None => true,
            Some(_) => false,
        };
        if let ("Shape", Some(Some(Value::Image(image)))) = (node.op_type.as_str(), inputs.first()) {
            let dims: Vec<i64> = image.axes.iter().map(|&a| image.dims[a] as i64).collect();
            let end = |name, default| {
                let at = node.int(name, default);
                (if at < 0 { at + dims.len() as i64 } else { at }).clamp(0, dims.len() as i64) as usize
            };
            let (from, to) = (end("start", 0), end("end", dims.len() as i64));
            return Value::Constant(Tensor::ints(dims.get(from..to).unwrap_or_default().to_vec()));
        }
        let missing = (0..node.input.len()).any(|at| node.input(at).is_some() && inputs[at].is_none());
        if inputs.iter().all(constant) && !missing {
            let tensors: Vec<Option<&Tensor>> = inputs
                .iter()
                .map(|v| match v {
                    Some(Value::Constant(tensor)) => Some(tensor),
                    _ => None,
                })
                .collect();
            return match evaluate(node, &tensors, self.reader) {
                Some(tensor) => Value::Constant(tensor),
                None => {
                    let supported =
                        "shapes, slices and sums of constants (simplify the model, for instance with onnxsim)";
                    self.offend(node, "found it on constants", supported);
                    Value::Lost
                }
            };
        }
        match operators::import(self, node) {
            Ok(image) => Value::Image(image),
            Err(Stop::Lost) => Value::Lost,
            Err(Stop::Offence(operator, found, supported)) => {
                let node = node.label().to_owned();
                self.offences.push(Offence { node, operator, found, supported });
                Value::Lost
            }
        }
    }

    fn offend(&mut self, node: &proto::Node, found: &str, supported: &str) {
        self.offences.push(Offence {
            node: node.label().to_owned(),
            operator: node.op_type.clone(),
            found: found.to_owned(),
            supported: supported.to_owned(),
        });
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
