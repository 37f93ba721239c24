//! What networks read and write: scans, labels on them, rows of tables.
//!
//! | module | what |
//! |---|---|
//! | [`nifti`] | volumes and label maps in NIfTI files |
//! | [`labels`] | label maps on other grids |
//! | [`prepare`] | a volume to the network's input |
//! | [`normalise`] | intensities that can be compared |
//! | [`scan`] | channels on one grid |
//! | [`npy`] | arrays of numpy |
//! | [`placement`] | where that lies in the volume; labels back to the volume's grid |
//! | [`dice`] | the overlap of labels |
//! | [`statistics`] | volumes, means and boxes of classes |
//! | [`table`] | rows of numbers to the network's input |

pub mod dice;
pub mod labels;
pub mod nifti;
pub mod normalise;
pub mod npy;
pub mod placement;
pub mod prepare;
pub mod scan;
pub mod statistics;
pub mod table;
