//! Volumes in NIfTI files (`.nii`, `.nii.gz`, pairs of `.hdr` and `.img`), read with bounds and written atomically.
//!
//! A file is a header, padding or extensions up to `vox_offset`, and the voxels with `i` fastest. In memory the voxels
//! stand with `k` fastest, which is the order `[D, H, W]` = `[i, j, k]` of the networks. Formats:
//! <https://nifti.nimh.nih.gov/nifti-1>, <https://nifti.nimh.nih.gov/nifti-2>.
//!
//! | module | what |
//! |---|---|
//! | [`geometry`] | affines, orientations, one grid's axes as another's |
//! | [`resample`] | grids of another spacing |
//! | `header`, `datatype` | what a file states |
//! | `stream` | bytes of plain and compressed files |
//! | `read`, `write` | volumes and label maps from and to files |
//! | [`foreign`] | files of other formats, by name |

mod datatype;
pub mod foreign;
pub mod geometry;
mod header;
mod read;
pub mod resample;
mod stream;
mod write;

pub use geometry::{Affine, Axes, Orientation};
pub use header::Header;
pub use read::ReadOptions;

/// The most voxels a volume may have.
pub const MAX_VOXELS: usize = 1 << 28;

/// A scan: finite values on a grid.
#[derive(Clone)]
pub struct Volume {
    /// i, j, k.
    pub dims: [usize; 3],
    /// Values with k fastest, slope and intercept applied; as wide as the widest type of a file, so that large numbers
    /// with small differences keep them until they are normalised.
    pub data: Vec<f64>,
    /// Of the file it came from.
    pub header: Header,
}

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
    /// The same labels on `volume`'s grid, whose voxels may be stored in another order.
    ///
    /// # Errors
    /// In words, what differs if the grids don't have the same voxels.
    pub fn onto(&self, volume: &Volume) -> Result<Self, String> {
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
