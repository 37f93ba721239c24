//! A model as it is shipped: a directory with `model.json` and `weights.safetensors`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::graph::{Graph, Layout, Shape};
use super::lower::{self, Lowered};
use super::prepare::{Placement, Preparation, quantize_input};
use super::program::Program;
use super::quantize::{self, Quantization};
use super::weights::{Weights, read_bounded};
use crate::atomic::write_atomic;
use crate::error::{Error, Result};
use crate::volume::Volume;

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
    /// What the client does with its volume.
    pub preparation: Preparation,
    /// The network.
    pub graph: Graph,
    /// Widths and scales.
    pub quantization: Quantization,
}

/// A model with its weights, checked.
pub struct Bundle {
    /// A name for reports.
    pub name: String,
    /// The labels' names.
    pub classes: Vec<String>,
    /// What the client does with its volume.
    pub preparation: Preparation,
    /// The network.
    pub graph: Graph,
    /// Widths and scales.
    pub quantization: Quantization,
    directory: PathBuf,
    layout: Layout,
    weights: Weights,
}

/// A volume ready for the network.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// In real numbers, `[channels, D, H, W]`.
    pub real: Vec<f32>,
    /// In integers of the program's input tensor.
    pub integers: Vec<i32>,
    /// Where the network's grid lies in the volume's.
    pub placement: Placement,
}

impl Model {
    /// Parses and checks the text of `model.json`; `file` is for messages.
    ///
    /// # Errors
    /// [`Error::Model`] naming the file, the field, what was found and what was expected.
    pub fn parse(file: &str, json: &[u8]) -> Result<(Self, Layout)> {
        let model: Model = serde_json::from_slice(json).map_err(|e| Error::Model(format!("{file}: {e}")))?;
        let layout = model.graph.check(file)?;
        let scores = layout.shapes.last().map_or(0, |s| s.channels);
        if model.classes.len() != scores {
            let found = model.classes.len();
            return Err(Error::Model(format!("{file}: classes: found {found} names, expected {scores}")));
        }
        model.preparation.check(file, layout.shapes[0], layout.planar)?;
        model.quantization.check(file)?;
        Ok((model, layout))
    }
}

impl Bundle {
    /// Reads a bundle and checks all but the weights' shapes, which [`Bundle::program`] does.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that can't be read, [`Error::Model`] for one that is wrong.
    pub fn load(directory: &Path) -> Result<Self> {
        let path = directory.join(MODEL_FILE);
        let json = read_bounded(&path, MAX_MODEL_FILE)?;
        let (model, layout) = Model::parse(&path.display().to_string(), &json)?;
        let weights = Weights::load(&directory.join(WEIGHTS_FILE))?;
        Ok(Self::new(directory.to_owned(), model, layout, weights))
    }

    pub(crate) fn new(directory: PathBuf, model: Model, layout: Layout, weights: Weights) -> Self {
        let Model { name, classes, preparation, graph, quantization } = model;
        Self { name, classes, preparation, graph, quantization, directory, layout, weights }
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

    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    pub(crate) fn lowered(&self) -> Result<Lowered> {
        lower::lower(&self.graph, &self.layout, &self.weights)
    }

    /// The network in integers.
    ///
    /// # Errors
    /// [`Error::Model`] where weights are missing or don't match the graph, and where a tensor has no scale or too
    /// few spare bits.
    pub fn program(&self) -> Result<Program> {
        quantize::quantize(&self.lowered()?, &self.quantization, self.preparation.clamp.is_some())
    }

    /// Prepares a volume for `program`, which is this bundle's; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file, if the volume doesn't suit the model.
    pub fn prepare(&self, program: &Program, volume: &Volume, path: &Path) -> Result<Prepared> {
        let (real, placement) = self.preparation.prepare(volume, self.input_shape().dims, path)?;
        let integers = quantize_input(&real, &program.tensors[program.input]);
        Ok(Prepared { real, integers, placement })
    }

    /// Writes `model.json` with the present scales, atomically.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save_model(&self) -> Result<()> {
        let model = Model {
            name: self.name.clone(),
            classes: self.classes.clone(),
            preparation: self.preparation.clone(),
            graph: self.graph.clone(),
            quantization: self.quantization.clone(),
        };
        write_atomic(&self.directory.join(MODEL_FILE), |out| {
            serde_json::to_writer_pretty(&mut *out, &model)?;
            out.write_all(b"\n")
        })
    }
}
