//! From files to a network and its references in the clear: volumes, models, their exact integer execution. No cryptography.
//!
//! | module | what |
//! |---|---|
//! | [`volume`], [`dice`] | scans and label maps in NIfTI files, and their overlap |
//! | [`atomic`] | files that appear whole or not at all |
//! | [`graph`] | the network as JSON: nodes, checks, shapes |
//! | [`weights`] | safetensors |
//! | [`bundle`] | a model's directory: graph, preparation, scales, weights |
//! | [`prepare`] | a volume to the network's input |
//! | [`placement`] | where that lies in the volume; labels back to the volume's grid |
//! | `lower`, `budget` | concatenations and quadratic coefficients folded away, within bounds |
//! | `equalise` | powers of two on channels, so that they share one scale |
//! | [`quantize`] | scales and widths, integer weights |
//! | [`program`] | the integer program that both the reference and the protocol execute |
//! | [`calibrate`](mod@calibrate) | ranges on volumes, choice of scales |
//! | [`calibration`] | what calibration saw, and how a scan compares with it |
//! | [`agreement`] | integer against float labels on a volume |
//! | [`plain`], [`float`] | the references |
//! | `kernels` | convolutions and poolings in the clear |

pub mod agreement;
pub mod atomic;
mod budget;
pub mod bundle;
pub mod calibrate;
pub mod calibration;
pub mod dice;
mod equalise;
pub mod error;
pub mod float;
pub mod graph;
mod kernels;
mod lower;
pub mod placement;
pub mod plain;
pub mod prepare;
pub mod program;
pub mod quantize;
#[cfg(feature = "testing")]
pub mod testing;
pub mod volume;
pub mod weights;

pub use agreement::Agreement;
pub use bundle::{Bundle, Prepared};
pub use calibrate::{calibrate, observe};
pub use calibration::Calibration;
pub use error::{Error, Result};
pub use plain::{PlainRun, RangeReport, Rounding};
pub use program::{Linear, LinearKind, Program, Step, TensorId, TensorInfo};
