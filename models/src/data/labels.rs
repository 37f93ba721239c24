//! Labels on a volume's grid, in NIfTI files.

use std::path::Path;

use super::nifti::{Axes, Header, ReadOptions, Volume, stage_labels};
use crate::atomic::Staged;
use crate::error::{Error, Result};

/// A label for each voxel of a grid.
#[derive(Clone)]
pub struct LabelMap {
    /// i, j, k.
    pub dims: [usize; 3],
    /// Labels with k fastest.
    pub data: Vec<u8>,
    /// Of the volume it belongs to.
    pub header: Header,
}

impl LabelMap {
    /// Reads a label map: a NIfTI volume of integers from 0 to 255.
    ///
    /// # Errors
    /// Those of [`Volume::load`], and [`Error::Input`] for a value that isn't a label.
    pub fn load(path: &Path) -> Result<Self> {
        Self::load_with(path, &ReadOptions::default())
    }

    /// [`LabelMap::load`] with answers to what the file may leave open.
    ///
    /// # Errors
    /// Those of [`LabelMap::load`].
    pub fn load_with(path: &Path, options: &ReadOptions) -> Result<Self> {
        let Volume { dims, data, header } = Volume::load_with(path, options)?;
        if let Some(v) = data.iter().find(|v| v.fract() != 0.0 || !(0.0..=255.0).contains(*v)) {
            return Err(Error::Input(format!("{}: labels: found {v}, expected integers 0 to 255", path.display())));
        }
        Ok(Self { dims, data: data.into_iter().map(|v| v as u8).collect(), header })
    }

    /// Writes the label map as bytes on its grid, compressed if the name ends in `.gz`; the file appears whole or
    /// not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        self.stage(path)?.commit()
    }

    /// Writes the label map beside `path`, to be put there with others once all are written.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn stage(&self, path: &Path) -> Result<Staged> {
        stage_labels(path, &self.header, self.dims, &self.data)
    }

    /// The same labels on `volume`'s grid, whose voxels may be stored in another order.
    ///
    /// # Errors
    /// In words, what differs if the grids don't have the same voxels.
    pub fn onto(&self, volume: &Volume) -> std::result::Result<Self, String> {
        let axes = match (self.header.affine(), volume.header.affine()) {
            (Some(own), Some(other)) => Axes::onto((&own, self.dims), (&other, volume.dims))?,
            (None, None) if self.dims == volume.dims => Axes::STORED,
            (None, None) => return Err(format!("labels of {:?} voxels, the volume has {:?}", self.dims, volume.dims)),
            (None, _) => return Err("no orientation, the volume has one (--assume RAS, if you are sure)".to_owned()),
            (_, None) => return Err("an orientation, the volume has none (--assume RAS, if you are sure)".to_owned()),
        };
        let data = axes.apply(&self.data, self.dims);
        Ok(Self { dims: volume.dims, data, header: volume.header.clone() })
    }
}
