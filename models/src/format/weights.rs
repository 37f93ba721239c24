//! Weights from a safetensors file: F32, F64, F16 or BF16 tensors, taken by name and checked against the graph.

use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::Metadata;
use safetensors::{Dtype, SafeTensors};

use crate::error::{Error, Result};
use crate::reading::{printable, read_bounded};

/// The largest weights file that is read.
pub const MAX_WEIGHTS_FILE: u64 = 1 << 31;

/// The bytes of a weights file, known to be well formed.
pub struct Weights {
    path: PathBuf,
    bytes: Vec<u8>,
    metadata: Metadata,
    /// Where the tensors' bytes begin.
    start: usize,
}

impl Weights {
    /// Reads a weights file.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be read, [`Error::Model`] if it isn't a safetensors file.
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_bytes(path, read_bounded(path, MAX_WEIGHTS_FILE)?)
    }

    /// Takes the bytes of a weights file; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Model`] if the bytes aren't a safetensors file.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| {
            let found = printable(&e.to_string());
            Error::Model(format!("{}: not a safetensors file: {found}", path.display()))
        })?;
        Ok(Self { path: path.to_owned(), bytes, metadata, start: header + size_of::<u64>() })
    }

    /// The tensor `name` as f32, in row-major order.
    ///
    /// # Errors
    /// [`Error::Model`] that names the file, the node that wants it and the tensor, if it is missing, has another
    /// shape or type, or holds a value that isn't finite.
    pub fn tensor(&self, node: &str, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let wrong =
            |what: String| Error::Model(format!("{}: tensor {name:?} of node {node:?}: {what}", self.path.display()));
        let missing = || wrong(format!("found none, expected shape {shape:?}"));
        let info = self.metadata.info(name).ok_or_else(missing)?;
        if info.shape != shape {
            return Err(wrong(format!("found shape {:?}, expected {shape:?}", info.shape)));
        }
        let (from, to) = info.data_offsets;
        let data = self.bytes.get(self.start + from..self.start + to).ok_or_else(missing)?;
        let values: Vec<f32> = match info.dtype {
            Dtype::F32 => data.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            Dtype::F16 => data.as_chunks::<2>().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
            Dtype::BF16 => data.as_chunks::<2>().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
            // What is too large for f32 becomes infinite, and is refused below.
            Dtype::F64 => data.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
            other => return Err(wrong(format!("found type {other:?}, expected F32, F64, F16 or BF16"))),
        };
        match values.iter().find(|v| !v.is_finite()) {
            Some(v) => Err(wrong(format!("found {v} as f32, expected finite values"))),
            None => Ok(values),
        }
    }
}
