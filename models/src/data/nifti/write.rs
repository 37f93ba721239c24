//! Files written whole or not at all.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::header::INTENT_LABEL;
use super::{Header, Volume};
use crate::atomic::{self, Staged};
use crate::error::Result;

impl Volume {
    /// Writes the volume as 32-bit floats, atomically.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let header = self.header.encode(self.dims, 16, 32, 0);
        let value = match self.header.big_endian() {
            true => |v: f64| (v as f32).to_be_bytes(),
            false => |v: f64| (v as f32).to_le_bytes(),
        };
        stage(path, header, fortran(&self.data, self.dims).flat_map(|&v| value(v)))?.commit()
    }
}

/// Writes labels as bytes on a grid beside `path`, to be put there with others once all are written.
///
/// # Errors
/// [`crate::Error::Io`].
pub(crate) fn stage_labels(path: &Path, header: &Header, dims: [usize; 3], labels: &[u8]) -> Result<Staged> {
    stage(path, header.encode(dims, 2, 8, INTENT_LABEL), fortran(labels, dims).copied())
}

/// The values of a volume with i fastest.
fn fortran<T>(data: &[T], [ni, nj, nk]: [usize; 3]) -> impl Iterator<Item = &T> {
    (0..nk).flat_map(move |k| (0..nj).flat_map(move |j| (0..ni).map(move |i| &data[(i * nj + j) * nk + k])))
}

/// Writes header and voxels, compressed if the name says so.
fn stage(path: &Path, header: Vec<u8>, voxels: impl Iterator<Item = u8>) -> Result<Staged> {
    let content: Vec<u8> = header.into_iter().chain(voxels).collect();
    if path.extension().is_some_and(|e| e == "gz") {
        atomic::stage(path, |out| {
            let mut gz = GzEncoder::new(out, Compression::default());
            gz.write_all(&content)?;
            gz.finish().map(drop)
        })
    } else {
        atomic::stage(path, |out| out.write_all(&content))
    }
}
