//! From files to a network and its references in the clear: volumes, models, their exact integer execution. No
//! cryptography.
//!
//! | module | what |
//! |---|---|
//! | [`data`] | scans, label maps, what prepares and compares them |
//! | [`format`](mod@format) | a model's files: graph, weights, bundle |
//! | [`network`] | the network in real numbers that they make |
//! | [`integers`] | that network as an integer program, and how its scales are chosen |
//! | [`levels`] | levels and scales of the network under CKKS |
//! | [`plain`] | both executed in the clear |
//! | [`windows`] | windows over a larger grid, and the blending of their scores |
//! | [`atomic`] | files that appear whole or not at all |
//! | `reading` | files within bounds |
//! | `budget` | what a graph may ask for |

pub mod atomic;
mod budget;
pub mod data;
pub mod error;
pub mod format;
pub mod integers;
pub mod levels;
pub mod network;
pub mod plain;
mod reading;
mod slabs;
#[cfg(feature = "testing")]
pub mod testing;
pub mod windows;

pub use error::{Error, Result};
pub use format::bundle::Bundle;
pub use format::model_card::{ModelCard, Prepared};
pub use format::prepared::Inputs;
pub use integers::agreement::Agreement;
pub use integers::calibrate::{calibrate, observe};
pub use integers::calibration::Calibration;
pub use integers::program::{Linear, Program, Step, TensorId, TensorInfo};
pub use network::{Interpolation, LinearKind, Network};
pub use plain::{PlainRun, RangeReport, Rounding};
