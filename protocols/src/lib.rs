//! blindvox protocols: secure two-party inference of convolutional networks on medical volumes.
//!
//! | module | what |
//! |---|---|
//! | [`channel`], [`transport`] | messages between the two parties, counted |
//! | [`share`] | additive sharing modulo 2^k or a prime |
//! | [`pack`] | residues on the wire |
//! | [`gc`] | garbled circuits, batched and streamed |
//! | [`ot`] | oblivious transfer, correlated and random |
//! | [`truncate`], [`convert`] | rounding and changing the ring of shares |
//! | [`triples`] | square pairs, made in advance |
//! | [`linear`] | convolutions by homomorphic encryption |
//! | [`nonlinear`] | squares, pooling |
//! | [`model`] | graphs, weights, quantisation, the exact integer reference |
//! | [`infer`] | both parties' run of a model |
//! | [`atomic`] | files that appear whole or not at all |
//! | [`volume`], [`dice`] | NIfTI files and the overlap of label maps |

pub mod atomic;
pub mod channel;
pub mod convert;
pub mod dice;
pub mod error;
#[cfg(test)]
mod faults;
pub mod gc;
pub mod infer;
pub mod linear;
#[cfg(test)]
#[path = "../tests/common/memory.rs"]
mod memory;
pub mod model;
pub mod nonlinear;
pub mod ot;
pub mod pack;
pub mod share;
#[cfg(test)]
mod testing;
pub mod transport;
pub mod triples;
pub mod truncate;
pub mod volume;

pub use error::{Error, Result};
