//! Files written whole or not at all.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::header::INTENT_LABEL;
use super::{LabelMap, Volume};
use crate::error::{Error, Result};

impl Volume {
    /// Writes the volume as 32-bit floats, atomically.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let header = self.header.encode(self.dims, 16, 32, 0);
        let value = match self.header.big_endian() {
            true => |v: f64| (v as f32).to_be_bytes(),
            false => |v: f64| (v as f32).to_le_bytes(),
        };
        write_file(path, header, fortran(&self.data, self.dims).flat_map(|&v| value(v)))
    }
}

impl LabelMap {
    /// Writes the label map as bytes on its grid, compressed if the name ends in `.gz`; the file appears whole or
    /// not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let header = self.header.encode(self.dims, 2, 8, INTENT_LABEL);
        write_file(path, header, fortran(&self.data, self.dims).copied())
    }
}

/// The values of a volume with i fastest.
fn fortran<T>(data: &[T], [ni, nj, nk]: [usize; 3]) -> impl Iterator<Item = &T> {
    (0..nk).flat_map(move |k| (0..nj).flat_map(move |j| (0..ni).map(move |i| &data[(i * nj + j) * nk + k])))
}

/// Writes header and voxels, compressed if the name says so.
fn write_file(path: &Path, header: Vec<u8>, voxels: impl Iterator<Item = u8>) -> Result<()> {
    let content: Vec<u8> = header.into_iter().chain(voxels).collect();
    if path.extension().is_some_and(|e| e == "gz") {
        write_atomic(path, |out| {
            let mut gz = GzEncoder::new(out, Compression::default());
            gz.write_all(&content)?;
            gz.finish().map(drop)
        })
    } else {
        write_atomic(path, |out| out.write_all(&content))
    }
}

/// Writes a file beside `path` and renames it, so that `path` is never half written.
///
/// # Errors
/// [`Error::Io`]; the file beside it is removed.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let beside = path.with_file_name(name);
    let attempt = || {
        let mut out = BufWriter::new(File::create(&beside)?);
        write(&mut out)?;
        out.into_inner().map_err(|e| e.into_error())?.sync_all()?;
        std::fs::rename(&beside, path)
    };
    attempt().map_err(|source| {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(&beside);
        Error::Io { path: path.to_owned(), source }
    })
}
