//! What networks read and write: scans, labels on them, rows of tables.
//!
//! | module | what |
//! |---|---|
//! | [`nifti`] | volumes and label maps in NIfTI files |
//! | [`labels`] | label maps on other grids |
//! | [`prepare`] | a volume to the network's input |
//! | [`placement`] | where that lies in the volume; labels back to the volume's grid |
//! | [`dice`] | the overlap of labels |
//! | [`table`] | rows of numbers to the network's input |

pub mod dice;
pub mod labels;
pub mod nifti;
pub mod placement;
pub mod prepare;
pub mod table;
