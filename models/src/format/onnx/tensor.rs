//! Constants of a model: in the file itself, or in one beside it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use half::{bf16, f16};

use super::proto;
use crate::format::graph::MAX_ELEMENTS;

/// Numbers with their dimensions, the last the fastest; none are a single number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub dims: Vec<usize>,
    pub data: Data,
}

/// Real numbers, or integers and truth values.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Float(Vec<f32>),
    Int(Vec<i64>),
}

impl Tensor {
    pub(super) fn ints(values: Vec<i64>) -> Self {
        Self { dims: vec![values.len()], data: Data::Int(values) }
    }

    pub(super) fn len(&self) -> usize {
        match &self.data {
            Data::Float(values) => values.len(),
            Data::Int(values) => values.len(),
        }
    }

    /// As real numbers.
    pub(super) fn floats(&self) -> Vec<f32> {
        match &self.data {
            Data::Float(values) => values.clone(),
            Data::Int(values) => values.iter().map(|&v| v as f32).collect(),
        }
    }

    /// As integers, if they are.
    pub(super) fn as_ints(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Int(values) => Some(values),
            Data::Float(_) => None,
        }
    }
}

/// Types of elements by their numbers in `onnx.proto`.
mod kind {
    pub(super) const FLOAT: i32 = 1;
    pub(super) const UINT8: i32 = 2;
    pub(super) const INT8: i32 = 3;
    pub(super) const INT32: i32 = 6;
    pub(super) const INT64: i32 = 7;
    pub(super) const BOOL: i32 = 9;
    pub(super) const FLOAT16: i32 = 10;
    pub(super) const DOUBLE: i32 = 11;
    pub(super) const BFLOAT16: i32 = 16;
}

/// Reads tensors; finds files beside the model.
pub(super) struct Reader {
    pub folder: PathBuf,
}

impl Reader {
    /// A tensor, or in words what is wrong with it: what was found and what was expected.
    pub(super) fn read(&self, tensor: &proto::Tensor) -> Result<Tensor, String> {
        let size = |&d: &i64| usize::try_from(d).ok();
        let dims = tensor.dims.iter().map(size).collect::<Option<Vec<_>>>();
        let count = dims.as_ref().and_then(|dims| dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)));
        let (Some(dims), Some(count)) = (dims, count.filter(|&n| n <= MAX_ELEMENTS)) else {
            return Err(format!("found dimensions {:?}, expected at most {MAX_ELEMENTS} elements", tensor.dims));
        };
        let width = match tensor.data_type {
            kind::UINT8 | kind::INT8 | kind::BOOL => 1,
            kind::FLOAT16 | kind::BFLOAT16 => 2,
            kind::FLOAT | kind::INT32 => 4,
            kind::DOUBLE | kind::INT64 => 8,
            other => return Err(format!("found elements of type {other}, expected float, double, half or integers")),
        };
        let external;
        let bytes = if tensor.data_location == 1 {
            external = self.external(tensor, count * width)?;
            &external
        } else {
            &tensor.raw_data
        };
        let data = if bytes.is_empty() { listed(tensor) } else { raw(tensor.data_type, bytes) };
        let found = match &data {
            Data::Float(values) => values.len(),
            Data::Int(values) => values.len(),
        };
        if found != count || bytes.len() % width != 0 {
            return Err(format!("found {found} elements, expected the {count} of dimensions {dims:?}"));
        }
        Ok(Tensor { dims, data })
    }

    /// The bytes that lie in a file beside the model.
    fn external(&self, tensor: &proto::Tensor, length: usize) -> Result<Vec<u8>, String> {
        let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let number = |key: &str, default: u64| match entry(key).map(str::parse) {
            None => Ok(default),
            Some(Ok(number)) => Ok(number),
            Some(Err(_)) => Err(format!("found {key} {:?}, expected a number", entry(key).unwrap_or_default())),
        };
        let location = entry("location").unwrap_or_default();
        let mut parts = Path::new(location).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(format!("found data in {location:?}, expected the name of a file beside the model"));
        }
        let (offset, stated) = (number("offset", 0)?, number("length", length as u64)?);
        if stated != length as u64 {
            return Err(format!("found {stated} bytes of data, expected {length}"));
        }
        let path = self.folder.join(location);
        let fail = |e: std::io::Error| format!("{}: {e}", path.display());
        let mut file = File::open(&path).map_err(fail)?;
        let size = file.metadata().map_err(fail)?.len();
        if offset.checked_add(stated).is_none_or(|end| end > size) {
            return Err(format!("{}: found {size} bytes, expected {stated} from {offset} on", path.display()));
        }
        let mut bytes = vec![0; length];
        file.seek(SeekFrom::Start(offset)).map_err(fail)?;
        file.read_exact(&mut bytes).map_err(fail)?;
        Ok(bytes)
    }
}

/// Elements in lists of their own.
fn listed(tensor: &proto::Tensor) -> Data {
    let halves = |of: fn(u16) -> f32| Data::Float(tensor.int32_data.iter().map(|&v| of(v as u16)).collect());
    match tensor.data_type {
        kind::FLOAT => Data::Float(tensor.float_data.clone()),
        kind::DOUBLE => Data::Float(tensor.double_data.iter().map(|&v| v as f32).collect()),
        kind::FLOAT16 => halves(|v| f16::from_bits(v).to_f32()),
        kind::BFLOAT16 => halves(|v| bf16::from_bits(v).to_f32()),
        kind::INT64 => Data::Int(tensor.int64_data.clone()),
        _ => Data::Int(tensor.int32_data.iter().map(|&v| v.into()).collect()),
    }
}

/// Elements as bytes.
fn raw(data_type: i32, bytes: &[u8]) -> Data {
    let halves = |of: fn([u8; 2]) -> f32| Data::Float(bytes.as_chunks::<2>().0.iter().map(|&b| of(b)).collect());
    let (fours, eights) = (bytes.as_chunks::<4>().0.iter(), bytes.as_chunks::<8>().0.iter());
    match data_type {
        kind::FLOAT => Data::Float(fours.map(|&b| f32::from_le_bytes(b)).collect()),
        kind::DOUBLE => Data::Float(eights.map(|&b| f64::from_le_bytes(b) as f32).collect()),
        kind::FLOAT16 => halves(|b| f16::from_le_bytes(b).to_f32()),
        kind::BFLOAT16 => halves(|b| bf16::from_le_bytes(b).to_f32()),
        kind::INT64 => Data::Int(eights.map(|&b| i64::from_le_bytes(b)).collect()),
        kind::INT32 => Data::Int(fours.map(|&b| i32::from_le_bytes(b).into()).collect()),
        kind::INT8 => Data::Int(bytes.iter().map(|&b| (b as i8).into()).collect()),
        _ => Data::Int(bytes.iter().map(|&b| b.into()).collect()),
    }
}
