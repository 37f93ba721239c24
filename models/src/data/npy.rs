//! Arrays of numpy: real numbers in files of `.npy`, versions 1 to 3.

use std::path::Path;

use crate::error::{Error, Result};
use crate::reading::read_bounded;

/// The largest file that is read.
const MAX_FILE: u64 = 1 << 31;

/// An array of real numbers, the last dimension the fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// Its values.
    pub values: Vec<f32>,
}

impl Array {
    /// Reads a file of little-endian f32 or f64, or of integers of up to 16 bits, the last dimension the fastest.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be read, [`Error::Input`] naming the file, what was found and what was expected.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = read_bounded(path, MAX_FILE)?;
        Self::parse(&bytes).map_err(|what| Error::Input(format!("{}: {what}", path.display())))
    }

    fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        let short = || "found a file that ends early, expected an array of numpy".to_owned();
        let Some(rest) = bytes.strip_prefix(b"\x93NUMPY") else {
            return Err("found another file, expected an array of numpy (.npy)".to_owned());
        };
        let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
        let (length, rest) = if version[0] == 1 {
            let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        } else {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
            (u32::from_le_bytes(*length) as usize, rest)
        };
        let (header, data) = rest.split_at_checked(length).ok_or_else(short)?;
        let header = String::from_utf8_lossy(header).replace(' ', "");
        let after = |key: &str| header.split_once(key).map(|(_, rest)| rest);
        if !after("'fortran_order':").is_some_and(|rest| rest.starts_with("False")) {
            return Err("found an array in Fortran's order, expected C's (numpy.ascontiguousarray)".to_owned());
        }
        let list = after("'shape':(").and_then(|rest| rest.split_once(')')).map_or("", |(list, _)| list);
        let dims: Option<Vec<usize>> = list.split(',').filter(|d| !d.is_empty()).map(|d| d.parse().ok()).collect();
        let kind = after("'descr':'").and_then(|rest| rest.split_once('\'')).map_or("", |(kind, _)| kind);
        let values: Vec<f32> = match kind {
            "<f4" => data.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            "<f8" => data.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
            "<i2" => data.as_chunks::<2>().0.iter().map(|&b| f32::from(i16::from_le_bytes(b))).collect(),
            "<u2" => data.as_chunks::<2>().0.iter().map(|&b| f32::from(u16::from_le_bytes(b))).collect(),
            "|i1" => data.iter().map(|&b| f32::from(b as i8)).collect(),
            "|u1" => data.iter().map(|&b| f32::from(b)).collect(),
            other => {
                let expected = "float32, float64, or integers of 8 or 16 bits";
                return Err(format!("found elements of type {other:?}, expected {expected}"));
            }
        };
        let count = dims.as_ref().and_then(|dims| dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)));
        match dims {
            Some(dims) if count == Some(values.len()) => Ok(Self { dims, values }),
            _ => Err(format!("found {} values, expected those of shape ({list})", values.len())),
        }
    }
}

/// The bytes of a file of labels.
///
/// # Panics
/// Unless there are as many as the dimensions say.
pub fn labels(dims: &[usize], labels: &[u8]) -> Vec<u8> {
    assert_eq!(dims.iter().product::<usize>(), labels.len(), "labels of {dims:?}");
    file("|u1", dims, labels)
}

/// The bytes of a file of real numbers.
///
/// # Panics
/// Unless there are as many as the dimensions say.
pub fn reals(dims: &[usize], values: &[f32]) -> Vec<u8> {
    assert_eq!(dims.iter().product::<usize>(), values.len(), "values of {dims:?}");
    file("<f4", dims, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
}

fn file(kind: &str, dims: &[usize], data: &[u8]) -> Vec<u8> {
    let shape: String = dims.iter().map(|d| format!("{d}, ")).collect();
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    // Data starts at a multiple of 64 bytes, after a line feed.
    header.push_str(&" ".repeat(63 - (10 + header.len()) % 64));
    header.push('\n');
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_that_were_written_come_back() {
        for count in 0..70 {
            let values: Vec<f32> = (0..2 * count).map(|i| i as f32 - 3.5).collect();
            let array = Array::parse(&reals(&[2, count], &values)).unwrap();
            assert_eq!(array, Array { dims: vec![2, count], values });
        }
        let bytes = labels(&[1, 2, 2], &[0, 1, 2, 255]);
        assert_eq!((bytes.len() - 4) % 64, 0);
        let expected = Array { dims: vec![1, 2, 2], values: vec![0.0, 1.0, 2.0, 255.0] };
        assert_eq!(Array::parse(&bytes).unwrap(), expected);
    }

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
    }

    #[test]
    fn arrays_are_read_and_others_named() {
        let data: Vec<u8> = (0..6u8).flat_map(|i| f32::from(i).to_le_bytes()).collect();
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
        let array = Array::parse(&file(header, &data)).unwrap();
        assert_eq!((array.dims, array.values), (vec![2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
        let fault = |header: &str, data: &[u8]| Array::parse(&file(header, data)).unwrap_err();
        let shorts = Array::parse(&file(&header.replace("<f4", "<i2"), &[1, 0, 255, 255, 0, 1, 0, 0, 0, 0, 0, 128]));
        assert_eq!(shorts.unwrap().values, [1.0, -1.0, 256.0, 0.0, 0.0, -32768.0]);
        assert!(fault(header, &data[4..]).contains("found 5 values, expected those of shape (2,3)"));
        assert!(fault(&header.replace("<f4", "<i4"), &data).contains("\"<i4\""));
        assert!(fault(&header.replace("False", "True"), &data).contains("Fortran"));
        assert!(fault(&header.replace("2, 3", "2, x"), &data).contains("shape"));
        assert!(Array::parse(&file(header, &data)[..20]).unwrap_err().contains("ends early"));
        assert!(Array::parse(b"PK").unwrap_err().contains("another file"));
    }
}
