//! What the folder of a trained model says about its scans and classes: how they were prepared, and the windows.
//!
//! | module | what |
//! |---|---|
//! | [`monai`] | a bundle of MONAI: `configs/inference.json`, `configs/metadata.json` |
//! | [`nnunet`] | a model of nnU-Net: `plans.json`, `dataset.json` |
//!
//! Only JSON is read: weights come from ONNX, and nothing in a folder is executed.

pub mod monai;
pub mod nnunet;

use std::path::Path;

use serde_json::Value;

use crate::data::prepare::Preparation;
use crate::error::{Error, Result};
use crate::reading::{printable, read_bounded};

/// The largest file that is read.
const MAX_FILE: u64 = 1 << 24;

/// What a folder says.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// What the client does with its scan.
    pub preparation: Preparation,
    /// The classes' names, where they are said.
    pub classes: Option<Vec<String>>,
    /// What people should know of it, one line each.
    pub notices: Vec<String>,
}

impl Training {
    /// The grid of a window, where the network runs in such.
    pub fn window(&self) -> Option<&[usize]> {
        self.preparation.sliding().map(|sliding| &sliding.size[..])
    }
}

fn json(path: &Path) -> Result<Value> {
    let text = read_bounded(path, MAX_FILE)?;
    serde_json::from_slice(&text).map_err(|e| wrong(path, &e.to_string()))
}

fn wrong(path: &Path, what: &str) -> Error {
    Error::Input(format!("{}: {}", path.display(), printable(what)))
}

/// A list of numbers, or one number as often.
fn numbers(value: &Value, count: usize) -> Option<Vec<f64>> {
    match value {
        Value::Array(list) => list.iter().map(Value::as_f64).collect::<Option<Vec<_>>>(),
        one => one.as_f64().map(|v| vec![v; count]),
    }
}

/// A list of sizes.
fn sizes(value: &Value) -> Option<Vec<usize>> {
    let size = |v: &Value| v.as_u64().and_then(|v| usize::try_from(v).ok()).filter(|v| *v > 0);
    value.as_array()?.iter().map(size).collect()
}

/// Names by their numbers, which are keys: `{"0": "background", ..}`.
fn by_number(value: &Value) -> Option<Vec<String>> {
    let map = value.as_object()?;
    (0..map.len()).map(|n| Some(map.get(&n.to_string())?.as_str()?.to_owned())).collect()
}
