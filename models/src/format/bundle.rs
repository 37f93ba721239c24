//! A model as it is shipped: a directory with `model.json` and `weights.safetensors`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::fold;
use super::graph::{Graph, Layout, MAX_NAME, Node, Op};
use super::weights::Weights;
use crate::atomic::write_atomic;
use crate::data::prepare::Preparation;
use crate::error::{Error, Result};
use crate::integers::calibration::Calibration;
use crate::integers::calibration::Norms;
use crate::integers::scales::Quantization;
use crate::levels::Ckks;
use crate::network::{Network, Shape};
use crate::reading::{printable, read_bounded};

/// The file with everything but the weights.
pub const MODEL_FILE: &str = "model.json";
/// The file with the weights.
pub const WEIGHTS_FILE: &str = "weights.safetensors";
/// The largest `model.json` that is read.
pub const MAX_MODEL_FILE: u64 = 1 << 24;

/// The content of `model.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// A name for reports.
    pub name: String,
    /// The labels' names, as many as the scores have channels.
    pub classes: Vec<String>,
    /// What the client may learn; the labels where it isn't said. From version 2 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reveal: Option<Reveal>,
    /// What the client does with its volume.
    pub preparation: Preparation,
    /// The network.
    pub graph: Graph,
    /// Widths and scales.
    pub quantization: Quantization,
    /// How it runs under CKKS; from version 2 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ckks: Option<Ckks>,
    /// What calibration saw; from version 2 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// What its owner says of it; from version 2 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<Card>,
}

/// What a model's owner says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// The licence of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intended_use: Option<String>,
    /// Whether it is another function than the one that was trained, as with folded instance normalisations.
    #[serde(default)]
    pub approximate: bool,
}

/// What a model's owner lets the client learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reveal {
    /// The label of each voxel, or the class.
    Labels,
    /// The scores of all classes, which tell more about the model.
    Scores,
}

/// A model with its weights, checked.
pub struct Bundle {
    /// A name for reports.
    pub name: String,
    /// The labels' names.
    pub classes: Vec<String>,
    /// What the client may learn; the labels where it isn't said.
    pub reveal: Option<Reveal>,
    /// What the client does with its volume.
    pub preparation: Preparation,
    /// The network.
    pub graph: Graph,
    /// Widths and scales.
    pub quantization: Quantization,
    /// How it runs under CKKS.
    pub ckks: Option<Ckks>,
    /// What calibration saw.
    pub calibration: Option<Calibration>,
    /// What its owner says of it.
    pub card: Option<Card>,
    directory: PathBuf,
    layout: Layout,
    weights: Weights,
}

impl Model {
    /// Parses and checks the text of `model.json`; `file` is for messages.
    ///
    /// # Errors
    /// [`Error::Model`] naming the file, the field, what was found and what was expected.
    pub fn parse(file: &str, json: &[u8]) -> Result<(Self, Layout)> {
        let model: Model = serde_json::from_slice(json).map_err(|e| unreadable(file, json, &e))?;
        model.check_names(file)?;
        let layout = model.graph.check(file)?;
        let scores = layout.shapes.last().map_or(0, |s| s.channels);
        if model.classes.len() != scores {
            let found = model.classes.len();
            return Err(Error::Model(format!("{file}: classes: found {found} names, expected {scores}")));
        }
        match model.graph.nodes.first().map(|node| &node.op) {
            Some(Op::Input { features: Some(features), .. }) => model.preparation.check_table(file, *features)?,
            _ => model.preparation.check(file, layout.shapes[0], layout.planar, model.graph.version)?,
        }
        model.check_grid(file, &layout)?;
        model.quantization.check(file)?;
        if let Some(ckks) = &model.ckks {
            ckks.check(file)?;
        }
        if let Some(calibration) = &model.calibration {
            calibration.check(file)?;
        }
        if let (1, Some(key)) = (model.graph.version, model.newer_key()) {
            return Err(Error::Model(format!("{file}: version: found 1 with {key}, expected 2, which has it")));
        }
        Ok((model, layout))
    }

    /// A key in use that version 1 hasn't.
    fn newer_key(&self) -> Option<&'static str> {
        let channels = self.quantization.tensors.values().any(|s| !s.channel_bits.is_empty());
        let keys = [
            (self.ckks.is_some(), "ckks"),
            (self.calibration.is_some(), "calibration"),
            (channels, "quantization.tensors.channel_bits"),
            (self.reveal.is_some(), "reveal"),
            (self.card.is_some(), "card"),
        ];
        keys.into_iter().find_map(|(used, key)| used.then_some(key))
    }

    /// Labels come back to the volume, or there is one for all of it.
    fn check_grid(&self, file: &str, layout: &Layout) -> Result<()> {
        let (input, scores) = (layout.shapes[0].dims, layout.shapes[layout.shapes.len() - 1].dims);
        if scores == input || scores == [1; 3] {
            return Ok(());
        }
        let name = self.graph.nodes.last().map_or("", |node| &node.name);
        Err(Error::Model(format!(
            "{file}: node {name:?}: input dims: found {scores:?}, expected the input's {input:?} or one element"
        )))
    }

    /// What is printed: the model's name and those of its classes.
    fn check_names(&self, file: &str) -> Result<()> {
        check_names(file, &self.name, &self.classes)
    }
}

/// The same of any model.
pub(super) fn check_names(file: &str, name: &String, classes: &[String]) -> Result<()> {
    let names = std::iter::once(("name", name)).chain(classes.iter().map(|c| ("classes", c)));
    for (field, name) in names {
        if name.len() > MAX_NAME || name.chars().any(char::is_control) {
            let shown: String = name.chars().take(40).collect();
            return Err(Error::Model(format!(
                "{file}: {field}: found {shown:?}, expected at most {MAX_NAME} bytes, no control characters"
            )));
        }
    }
    Ok(())
}

/// Why `model.json` can't be read: by node where a node is at fault, as it is most often.
fn unreadable(file: &str, json: &[u8], error: &serde_json::Error) -> Error {
    let nodes = serde_json::from_slice(json)
        .ok()
        .and_then(|mut value: serde_json::Value| value.get_mut("graph")?.get_mut("nodes").map(serde_json::Value::take));
    let faults: Vec<String> = nodes
        .as_ref()
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
        .filter_map(|(at, node)| {
            let fault = Node::deserialize(node).err()?;
            let name =
                node.get("name").and_then(serde_json::Value::as_str).map_or_else(|| format!("#{at}"), str::to_owned);
            Some(format!("node {:?}: {fault}", name.chars().take(MAX_NAME).collect::<String>()))
        })
        .collect();
    let text = match faults.split_first() {
        None => error.to_string(),
        Some((first, [])) => first.clone(),
        Some((first, more)) => format!("{first} (and {} more nodes)", more.len()),
    };
    Error::Model(format!("{file}: {}", printable(&text)))
}

impl Bundle {
    /// Reads a bundle and checks all but the weights' shapes, which [`Bundle::program`] does.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that can't be read, [`Error::Model`] for one that is wrong.
    pub fn load(directory: &Path) -> Result<Self> {
        let path = directory.join(MODEL_FILE);
        let wrong = |found: &str| {
            let shown = directory.display();
            Error::Model(format!(
                "{shown}: found {found}, expected a bundle: a directory with {MODEL_FILE} and {WEIGHTS_FILE}"
            ))
        };
        if directory.is_file() {
            return Err(wrong("a file"));
        }
        if directory.is_dir() && !path.exists() {
            return Err(wrong(&format!("a directory without {MODEL_FILE}")));
        }
        let json = read_bounded(&path, MAX_MODEL_FILE)?;
        let (model, layout) = Model::parse(&path.display().to_string(), &json)?;
        let weights = Weights::load(&directory.join(WEIGHTS_FILE))?;
        Ok(Self::new(directory.to_owned(), model, layout, weights))
    }

    pub(crate) fn new(directory: PathBuf, model: Model, layout: Layout, weights: Weights) -> Self {
        let Model { name, classes, reveal, preparation, graph, quantization, ckks, calibration, card } = model;
        Self {
            name,
            classes,
            reveal,
            preparation,
            graph,
            quantization,
            ckks,
            calibration,
            card,
            directory,
            layout,
            weights,
        }
    }

    /// The directory it was read from.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Shapes of the graph's nodes.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The network's input.
    pub fn input_shape(&self) -> Shape {
        self.layout.shapes[0]
    }

    /// The network in real numbers.
    ///
    /// # Errors
    /// [`Error::Model`] where weights are missing or don't match the graph, and for operations that are not supported
    /// yet.
    pub fn network(&self) -> Result<Network> {
        fold::network(&self.graph, &self.layout, &self.weights, self.reveals_scores())
    }

    /// The network that runs: instance normalisations have the statistics of the calibration in the place of their own.
    ///
    /// # Errors
    /// As [`Self::network`], and [`Error::Model`] for statistics that don't fit.
    pub fn folded_network(&self) -> Result<Network> {
        self.network()?.folded(self.norms())
    }

    /// The statistics that are folded, none before a calibration.
    pub(crate) fn norms(&self) -> &Norms {
        static NONE: Norms = Norms::new();
        self.calibration.as_ref().map_or(&NONE, |c| &c.norms)
    }

    /// Tensors by name.
    pub(super) fn weights(&self) -> &Weights {
        &self.weights
    }

    pub(super) fn reveals_scores(&self) -> bool {
        self.reveal == Some(Reveal::Scores)
    }

    /// Writes `model.json` with the present scales, atomically.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save_model(&self) -> Result<()> {
        let model = Model {
            name: self.name.clone(),
            classes: self.classes.clone(),
            reveal: self.reveal,
            preparation: self.preparation.clone(),
            graph: self.graph.clone(),
            quantization: self.quantization.clone(),
            ckks: self.ckks.clone(),
            calibration: self.calibration.clone(),
            card: self.card.clone(),
        };
        write_atomic(&self.directory.join(MODEL_FILE), |out| {
            serde_json::to_writer_pretty(&mut *out, &model)?;
            out.write_all(b"\n")
        })
    }
}
