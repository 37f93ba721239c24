//! blindvox protocols: secure two-party inference of convolutional networks on medical volumes.
//!
//! | module | what |
//! |---|---|
//! | [`share`] | additive sharing modulo 2^k or a prime |
//! | [`pack`] | residues on the wire |
//! | [`gc`] | garbled circuits, batched and streamed |
//! | [`ot`] | oblivious transfer, correlated and random |
//! | [`truncate`], [`convert`] | rounding and changing the ring of shares |
//! | [`triples`] | square pairs, made in advance |
//! | [`linear`] | convolutions by homomorphic encryption |
//! | [`nonlinear`] | squares, pooling |
//! | [`infer`] | both parties' run of a model |

pub mod convert;
pub mod error;
#[cfg(test)]
mod faults;
pub mod gc;
pub mod infer;
pub mod linear;
#[cfg(test)]
#[path = "../tests/common/memory.rs"]
mod memory;
pub mod nonlinear;
pub mod ot;
pub mod pack;
pub mod share;
#[cfg(test)]
mod testing;
pub mod triples;
pub mod truncate;

pub use error::{Error, Result};
