//! Networks in integers, for runs on shares.
//!
//! | module | what |
//! |---|---|
//! | [`pieces`] | activations piece by piece |
//! | [`program`] | the integer program that both the reference and the protocol execute |
//! | `lower` | from a network to steps on streams: concatenations and coefficients are folded away |
//! | `equalise` | powers of two on channels, so that they share one scale |
//! | [`scales`] | widths and scales, as a bundle keeps them |
//! | [`quantize`] | integer weights from the two |
//! | [`calibrate`](mod@calibrate) | ranges on volumes or rows, choice of scales |
//! | [`calibration`] | what calibration saw, and how a scan compares with it |
//! | `streams` | the lowered network in f32 |
//! | [`agreement`] | integer against float labels on a volume |

pub mod agreement;
pub mod calibrate;
pub mod calibration;
mod equalise;
pub(crate) mod lower;
pub mod pieces;
pub mod program;
pub mod quantize;
pub mod scales;
mod streams;
