//! Scans of one channel or several on one grid, in files of NIfTI or arrays of numpy.

use std::path::{Path, PathBuf};

use super::nifti::{Affine, Axes, Header, MAX_VOXELS, ReadOptions, Volume};
use crate::data::npy::Array;
use crate::error::{Error, Result};

/// Reads a scan: files of a channel or several each (4D), in the channels' order. Where several are wanted and the one
/// file's name ends in `_0000`, those of `_0001` and so on lie beside it, as nnU-Net has them.
///
/// # Errors
/// Those of [`Volume::load_all`], and [`Error::Input`] naming the file, for channels of another grid than the first's.
pub fn load(paths: &[&Path], channels: usize, options: &ReadOptions) -> Result<Vec<Volume>> {
    let all: Vec<PathBuf> = match paths {
        [one] if channels > 1 => numbered(one, channels).unwrap_or_else(|| vec![one.to_path_buf()]),
        _ => paths.iter().map(|p| p.to_path_buf()).collect(),
    };
    let mut scan: Vec<Volume> = Vec::with_capacity(channels);
    for path in &all {
        let volumes = match channels {
            _ if is_array(path) => array(path, options)?,
            _ if options.affine.is_some() => {
                let path = path.display();
                return Err(Error::Input(format!(
                    "--affine: {path} says itself where it lies, expected an array (.npy)"
                )));
            }
            1 => vec![Volume::load_with(path, options)?],
            _ => Volume::load_all(path, options)?,
        };
        for volume in volumes {
            let volume = match scan.first() {
                None => volume,
                Some(first) => like(first, volume).map_err(|what| {
                    let path = path.display();
                    Error::Input(format!("{path}: another grid than the first channel's: found {what}"))
                })?,
            };
            scan.push(volume);
        }
    }
    Ok(scan)
}

/// Whether a file is an array of numpy, by its name.
fn is_array(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "npy")
}

/// An array `[i, j, k]`, or `[channels, i, j, k]`, as volumes.
fn array(path: &Path, options: &ReadOptions) -> Result<Vec<Volume>> {
    let wrong = |what: String| Error::Input(format!("{}: {what}", path.display()));
    let Array { dims, values } = Array::load(path)?;
    let dims: [usize; 3] = match dims[..] {
        [i, j, k] | [_, i, j, k] => [i, j, k],
        _ => return Err(wrong(format!("found an array of {dims:?}, expected [i, j, k] or [channels, i, j, k]"))),
    };
    let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|n| (1..=MAX_VOXELS).contains(n));
    let count = count.ok_or_else(|| wrong(format!("found {dims:?} voxels, expected 1 to {MAX_VOXELS} in all")))?;
    let mut header = options.affine.map_or_else(|| Header::unstated(dims), |affine| Header::on(dims, &affine));
    if let Some(orientation) = options.assume {
        header.assume(orientation);
    }
    let value = |v: &f32| Some(f64::from(*v)).filter(|v| v.is_finite()).or(options.nan.filter(|_| v.is_nan()));
    let volume = |values: &[f32]| {
        let data = values.iter().map(value).collect::<Option<Vec<_>>>();
        let data =
            data.ok_or_else(|| wrong("voxels: found a value that is not finite (--nan 0 reads NaN as 0)".into()))?;
        Ok(Volume { dims, data, header: header.clone() })
    };
    values.chunks_exact(count).map(volume).collect()
}

/// An affine from an array of 4x4 numbers.
///
/// # Errors
/// [`Error::Io`], and [`Error::Input`] naming the file for one that is none.
pub fn affine(path: &Path) -> Result<Affine> {
    let Array { dims, values } = Array::load(path)?;
    let rows = |at: usize| [0, 1, 2, 3].map(|c| f64::from(values[4 * at + c]));
    if dims != [4, 4] || values.iter().any(|v| !v.is_finite()) || rows(3) != [0.0, 0.0, 0.0, 1.0] {
        let expected = "4x4 finite numbers, the last row 0 0 0 1";
        return Err(Error::Input(format!("{}: found an array of {dims:?}, expected {expected}", path.display())));
    }
    Ok(Affine([rows(0), rows(1), rows(2)]))
}

/// The files of a scan that is named by its first.
fn numbered(path: &Path, channels: usize) -> Option<Vec<PathBuf>> {
    let name = path.file_name()?.to_str()?;
    let at = name.find("_0000.")?;
    let (stem, end) = (&name[..at], &name[at + "_0000".len()..]);
    Some((0..channels).map(|c| path.with_file_name(format!("{stem}_{c:04}{end}"))).collect())
}

/// A channel with its voxels in the order of the first.
fn like(first: &Volume, volume: Volume) -> std::result::Result<Volume, String> {
    let axes = match (volume.header.affine(), first.header.affine()) {
        (Some(own), Some(other)) => Axes::onto((&own, volume.dims), (&other, first.dims))?,
        (None, None) if volume.dims == first.dims => Axes::STORED,
        (None, None) => return Err(format!("{:?} voxels, expected {:?}", volume.dims, first.dims)),
        (None, Some(_)) => return Err("no orientation, expected one (--assume RAS, if you are sure)".to_owned()),
        (Some(_), None) => return Err("an orientation, expected none (--assume RAS, if you are sure)".to_owned()),
    };
    let data = axes.apply(&volume.data, volume.dims);
    Ok(Volume { dims: first.dims, data, header: first.header.clone() })
}
