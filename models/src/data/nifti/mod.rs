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
//! | `read`, `write` | volumes from and to files |
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
pub(crate) use write::stage_labels;

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
