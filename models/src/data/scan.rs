//! Scans of one channel or several on one grid.

use std::path::{Path, PathBuf};

use super::nifti::{Axes, ReadOptions, Volume};
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
