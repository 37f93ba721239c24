//! Bundles from ONNX models, as torch and others export them.
//!
//! | module | what |
//! |---|---|
//! | `proto` | the messages of a file |
//! | `tensor` | constants, in the file or beside it |
//! | `constants` | what is computed of constants alone |
//! | `draft` | the graph in the making |
//! | `walk` | one walk over the nodes, which draws it |
//! | `operators` | what each operator becomes |
//! | `preparation` | what is done with a scan, as far as the model says it |
//! | `report` | what stands in the way, all of it in one message |
//!
//! One output is taken, the first where none is named, and of the nodes those that it needs.

mod constants;
mod draft;
mod operators;
mod preparation;
mod proto;
mod report;
mod tensor;
mod walk;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use prost::Message;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use self::draft::{Draft, Image};
use self::report::{Offence, message};
use self::tensor::Reader;
use super::bundle::{Bundle, Card, MODEL_FILE, Model, WEIGHTS_FILE};
use super::graph::{Graph, MAX_ELEMENTS, MAX_NODES, Node, Op, VERSION};
use super::weights::Weights;
use crate::atomic::{commit_all, stage};
use crate::data::npy::Array;
use crate::data::prepare::Preparation;
use crate::error::{Error, Result};
use crate::integers::scales::Quantization;
use crate::plain::float;
use crate::reading::{printable, read_bounded};

pub use operators::SUPPORTED;

/// The largest model file that is read; weights may lie in files of their own.
const MAX_FILE: u64 = 1 << 31;
/// The most channels of a scan.
const MAX_INPUT_CHANNELS: usize = 64;
/// The versions of ONNX's operators whose meaning is known here.
const OPSETS: std::ops::RangeInclusive<i64> = 11..=23;

/// What an import is told.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A name for reports; the file's where it isn't said.
    pub name: Option<String>,
    /// The classes' names.
    pub classes: Option<Vec<String>>,
    /// The grid, in the place of the one that the model states.
    pub dims: Option<Vec<usize>>,
    /// The output that is the scores.
    pub output: Option<String>,
    /// What the client does with its scan; axes to `RAS`, z-scores, and scans of any size where it isn't said.
    pub preparation: Option<Preparation>,
    /// Whether instance normalisations become such as calibration may fold.
    pub fold: bool,
}

/// A model that was read.
pub struct Imported {
    model: Model,
    weights: Vec<u8>,
    /// What the output had behind the scores.
    last: Option<String>,
    /// What people should know of it, one line each.
    pub notices: Vec<String>,
}

/// Reads a model.
///
/// # Errors
/// [`Error::Io`] for a file that can't be read; [`Error::Model`] for one that is wrong or has nodes without a secure
/// form: one message names them all.
pub fn import(path: &Path, options: &Options) -> Result<Imported> {
    let file = path.display().to_string();
    let wrong = |what: String| Error::Model(format!("{file}: {}", printable(&what)));
    let model = proto::Model::decode(&*read_bounded(path, MAX_FILE)?)
        .map_err(|e| wrong(format!("found another file, expected an ONNX model ({e})")))?;
    let graph = model.graph.as_ref().ok_or_else(|| wrong("found no graph, expected an ONNX model".to_owned()))?;
    let opset =
        model.opset_import.iter().find(|o| o.domain.is_empty() || o.domain == "ai.onnx").map_or(0, |o| o.version);
    if !OPSETS.contains(&opset) {
        let (low, high) = (OPSETS.start(), OPSETS.end());
        return Err(wrong(format!("opset: found {opset}, expected {low} to {high} (export with opset_version=17)")));
    }
    if graph.node.len() > MAX_NODES {
        return Err(wrong(format!("nodes: found {}, expected at most {MAX_NODES}", graph.node.len())));
    }
    let mut notices = Vec::new();
    let output = output(graph, options, &mut notices).map_err(wrong)?;
    let (input, dims) = input(graph, options).map_err(wrong)?;
    let nodes = needed(graph, output);
    let reader = Reader { folder: path.parent().map_or_else(PathBuf::new, Path::to_owned) };
    let mut draft = Draft::new(&reader, options.fold, input, &dims);
    let read: HashSet<&str> = nodes.iter().flat_map(|n| &n.input).map(String::as_str).collect();
    for tensor in graph.initializer.iter().filter(|t| read.contains(t.name.as_str())) {
        let read = reader.read(tensor).map_err(|what| wrong(format!("tensor {:?}: {what}", tensor.name)))?;
        draft.constant(&tensor.name, read);
    }
    draft.walk(&nodes, output);
    let scores = scores(&mut draft, output);
    if !draft.offences.is_empty() {
        let text = message(&file, nodes.len(), &draft.offences);
        return Err(Error::Model(text.lines().map(printable).collect::<Vec<_>>().join("\n")));
    }
    let scores = scores.ok_or_else(|| wrong(format!("output {output:?}: found nothing that depends on the input")))?;
    let Draft { nodes, tensors, .. } = draft;
    let graph = finished(nodes, &scores);
    let approximate = graph.nodes.iter().any(|n| matches!(n.op, Op::InstanceNorm { .. }));
    if approximate {
        notices.push(
            "instance normalisations will be folded: statistics of the calibration's volumes stand for a scan's own, which \
             changes labels; `blindvox calibrate` shows how many (10 volumes or more)"
                .to_owned(),
        );
    }
    let layout = graph.check(&file)?;
    let preparation = preparation::completed(options.preparation.as_ref(), (&graph, &layout), &mut notices)?;
    let classes = classes(options, scores.channels()).map_err(wrong)?;
    let stem = || printable(&path.file_stem().unwrap_or_default().to_string_lossy());
    let model = Model {
        name: options.name.clone().unwrap_or_else(stem),
        classes,
        reveal: None,
        preparation,
        graph,
        quantization: Quantization::default(),
        ckks: None,
        calibration: None,
        card: approximate.then(|| Card { approximate, ..Card::default() }),
    };
    // All rules of the format, by which a bundle is read.
    let json = serde_json::to_vec(&model).map_err(|e| wrong(e.to_string()))?;
    Model::parse(&file, &json)?;
    let weights = serialised(&tensors).map_err(wrong)?;
    Ok(Imported { model, weights, last: scores.last, notices })
}

/// The output to take.
fn output<'a>(
    graph: &'a proto::Graph,
    options: &Options,
    notices: &mut Vec<String>,
) -> std::result::Result<&'a str, String> {
    let names: Vec<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
    match (&options.output, &names[..]) {
        (_, []) => Err("found no output, expected one".to_owned()),
        (Some(wanted), _) => {
            let found = names.iter().find(|n| *n == wanted).copied();
            found.ok_or_else(|| format!("--scores: found {wanted:?}, expected one of {names:?}"))
        }
        (None, [only]) => Ok(only),
        (None, [first, others @ ..]) => {
            notices
                .push(format!("output: took {first:?}, the first; {others:?} are left out (--scores takes another)"));
            Ok(first)
        }
    }
}

/// The input's name and dimensions, batch and channels first.
fn input<'a>(graph: &'a proto::Graph, options: &Options) -> std::result::Result<(&'a str, Vec<usize>), String> {
    let constant: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let inputs: Vec<_> = graph.input.iter().filter(|i| !constant.contains(i.name.as_str())).collect();
    let [input] = inputs[..] else {
        let names: Vec<_> = inputs.iter().map(|i| &i.name).collect();
        return Err(format!("inputs: found {names:?}, expected one"));
    };
    let tensor = input.kind.as_ref().and_then(|k| k.tensor.as_ref());
    let stated: Vec<i64> =
        tensor.and_then(|t| t.shape.as_ref()).map_or(Vec::new(), |s| s.dim.iter().map(|d| d.value).collect());
    let name = &input.name;
    if !(4..=5).contains(&stated.len()) || stated[0] > 1 {
        return Err(format!(
            "input {name:?}: found dimensions {stated:?}, expected a batch of 1, channels, and a grid in 2D or 3D"
        ));
    }
    let Some(channels) = usize::try_from(stated[1]).ok().filter(|c| (1..=MAX_INPUT_CHANNELS).contains(c)) else {
        let found = stated[1];
        return Err(format!("input {name:?}: found {found} channels, expected 1 to {MAX_INPUT_CHANNELS}"));
    };
    let grid: Option<Vec<usize>> = stated[2..].iter().map(|&d| usize::try_from(d).ok().filter(|&d| d > 0)).collect();
    let fits = |grid: &[usize]| {
        let elements = grid.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        elements.is_some_and(|n| (1..=MAX_ELEMENTS).contains(&n))
    };
    if let Some(large) = options.dims.iter().chain(&grid).find(|g| !fits(g)) {
        return Err(format!("input {name:?}: found a grid of {large:?}, expected 1 to {MAX_ELEMENTS} voxels"));
    }
    match (&options.dims, grid) {
        (Some(dims), _) if dims.len() == stated.len() - 2 && !dims.contains(&0) => {
            Ok((name, [&[1, channels], &dims[..]].concat()))
        }
        (Some(dims), _) => Err(format!("--dims: found {dims:?}, expected {} sizes", stated.len() - 2)),
        (None, Some(grid)) => Ok((name, [&[1, channels], &grid[..]].concat())),
        (None, None) => {
            Err(format!("input {name:?}: found a grid of any size, expected --dims to say the one to run on"))
        }
    }
}

/// The nodes that an output needs, in their order.
fn needed<'a>(graph: &'a proto::Graph, output: &str) -> Vec<&'a proto::Node> {
    let mut wanted = HashSet::from([output]);
    let mut nodes: Vec<&proto::Node> = Vec::new();
    for node in graph.node.iter().rev() {
        if node.output.iter().any(|name| wanted.contains(name.as_str())) {
            wanted.extend(node.input.iter().map(String::as_str));
            nodes.push(node);
        }
    }
    nodes.reverse();
    nodes
}

/// The scores, if the walk came to them.
fn scores(draft: &mut Draft, output: &str) -> Option<Image> {
    let image = draft.image_of(output)?.clone();
    let mut offend = |operator: &str, found: String, supported: &str| {
        let (node, operator) = (output.to_owned(), operator.to_owned());
        draft.offences.push(Offence { node, operator, found, supported: supported.to_owned() });
    };
    if image.is_turned() {
        offend(
            "Transpose",
            "found an output whose channels are not its second axis".to_owned(),
            "supported: batch, channels, grid",
        );
    }
    if !(2..=256).contains(&image.channels()) {
        let ways =
            "supported: 2 to 256 classes that exclude one another, a channel each (not one channel for a sigmoid)";
        offend("output", format!("found {} channels", image.channels()), ways);
    }
    Some(image)
}

/// The graph: what the scores need, and the argmax of them.
fn finished(mut nodes: Vec<Node>, scores: &Image) -> Graph {
    let name = nodes[scores.node].name.clone();
    let mut wanted = HashSet::from([name.clone(), nodes[0].name.clone()]);
    for node in nodes.iter().rev() {
        if wanted.contains(&node.name) {
            wanted.extend(node.inputs.iter().cloned());
        }
    }
    nodes.retain(|n| wanted.contains(&n.name));
    let mut last = "labels".to_owned();
    while nodes.iter().any(|n| n.name == last) {
        last.push('_');
    }
    nodes.push(Node { name: last, op: Op::Argmax, inputs: vec![name] });
    Graph { version: VERSION, nodes }
}

fn classes(options: &Options, channels: usize) -> std::result::Result<Vec<String>, String> {
    match &options.classes {
        Some(names) if names.len() != channels => {
            Err(format!("--classes: found {} names, expected {channels}, as the scores have channels", names.len()))
        }
        Some(names) => Ok(names.clone()),
        None => {
            Ok((0..channels).map(|c| if c == 0 { "background".to_owned() } else { format!("class {c}") }).collect())
        }
    }
}

/// Tensors as a weights file.
fn serialised(tensors: &BTreeMap<String, (Vec<usize>, Vec<f32>)>) -> std::result::Result<Vec<u8>, String> {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (dims, values))| (name, dims, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    // One after another, for the views borrow the bytes.
    let mut views = Vec::with_capacity(bytes.len());
    for (name, dims, bytes) in &bytes {
        views.push((*name, TensorView::new(Dtype::F32, (*dims).clone(), bytes).map_err(|e| e.to_string())?));
    }
    safetensors::serialize(views, None).map_err(|e| e.to_string())
}

impl Imported {
    /// The model as `model.json` will have it.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The model as if it had been read from `directory`.
    ///
    /// # Errors
    /// [`Error::Model`] where the weights don't fit the graph.
    pub fn bundle(&self, directory: &Path) -> Result<Bundle> {
        let file = directory.join(MODEL_FILE);
        let json = serde_json::to_vec(&self.model).map_err(|e| Error::Model(e.to_string()))?;
        let (model, layout) = Model::parse(&file.display().to_string(), &json)?;
        let weights = Weights::from_bytes(&directory.join(WEIGHTS_FILE), self.weights.clone())?;
        Ok(Bundle::new(directory.to_owned(), model, layout, weights))
    }

    /// The largest difference between the float network's output on an input and the one expected, as a part of the
    /// largest value expected.
    ///
    /// # Errors
    /// [`Error::Input`] for arrays of other sizes; those of [`Self::bundle`].
    pub fn difference(&self, input: &Array, expected: &Array) -> Result<f64> {
        let network = self.bundle(Path::new(""))?.network()?;
        let (wanted, found) = (network.input().elements(), input.values.len());
        if wanted != found {
            let [d, h, w] = network.input().dims;
            return Err(Error::Input(format!(
                "input: found {found} values, expected {wanted} of the grid {d}x{h}x{w}"
            )));
        }
        let run = float::run(&network, &input.values);
        let classes = network.classes();
        let output = match self.last.as_deref() {
            Some("ArgMax") => run.labels.iter().map(|&l| f32::from(l)).collect(),
            Some(last) => softmax(&run.logits, classes, last == "LogSoftmax"),
            None => run.logits,
        };
        if output.len() != expected.values.len() {
            let (found, wanted) = (expected.values.len(), output.len());
            return Err(Error::Input(format!("output: found {found} values, expected {wanted}, as the network gives")));
        }
        let size = expected.values.iter().fold(0.0f32, |max, v| max.max(v.abs())).max(f32::MIN_POSITIVE);
        let each = output.iter().zip(&expected.values).map(|(a, b)| f64::from((a - b).abs()));
        // `max` would pass over what is not a number.
        Ok(each.fold(0.0, |worst, d| if d.is_nan() { f64::INFINITY } else { d.max(worst) }) / f64::from(size))
    }

    /// Writes the bundle into a directory, which is made where it isn't there: both files or none.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, directory: &Path) -> Result<()> {
        std::fs::create_dir_all(directory).map_err(|source| Error::Io { path: directory.to_owned(), source })?;
        let weights = stage(&directory.join(WEIGHTS_FILE), |out| out.write_all(&self.weights))?;
        let model = stage(&directory.join(MODEL_FILE), |out| {
            serde_json::to_writer_pretty(&mut *out, &self.model)?;
            out.write_all(b"\n")
        })?;
        commit_all(vec![weights, model])
    }
}

/// Shares of the classes at each voxel, or their logarithms.
fn softmax(scores: &[f32], classes: usize, logarithms: bool) -> Vec<f32> {
    let voxels = scores.len() / classes;
    let mut out = vec![0.0; scores.len()];
    for v in 0..voxels {
        let of = |c: usize| f64::from(scores[c * voxels + v]);
        let top = (0..classes).map(of).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = (0..classes).map(|c| (of(c) - top).exp()).sum();
        for c in 0..classes {
            let log = of(c) - top - sum.ln();
            out[c * voxels + v] = if logarithms { log } else { log.exp() } as f32;
        }
    }
    out
}
