//! blindvox protocols: secure two-party inference of convolutional networks on medical volumes.
//!
//! | module | what |
//! |---|---|
//! | [`share`] | additive sharing modulo 2^k or a prime |
//! | [`pack`] | residues on the wire |
//! | [`gc`] | garbled circuits, batched and streamed |
//! | [`ot`] | oblivious transfer, correlated and random |
//! | [`truncate`], [`convert`] | rounding and changing the ring of shares |
//! | [`peer`] | what a party computes with |
//! | [`correlations`] | square pairs and triples, made in advance |
//! | [`cryptmed`] | runs with a dealer |
//! | [`compare`] | signs of shared values |
//! | [`select`] | d·x for a shared bit d |
//! | [`linear`] | convolutions by homomorphic encryption |
//! | [`nonlinear`] | squares, pooling |
//! | [`infer`] | both parties' run of a model |
//! | [`service`] | what a service and its clients say around runs |
//! | [`rates`], [`traffic`] | what operations take, and what messages weigh |

pub mod compare;
pub mod convert;
pub mod correlations;
pub mod cryptmed;
pub mod error;
#[cfg(test)]
mod faults;
pub mod gc;
pub mod infer;
pub mod linear;
mod link;
#[cfg(test)]
#[path = "../tests/common/memory.rs"]
mod memory;
pub mod nonlinear;
pub mod ot;
pub mod pack;
pub mod peer;
pub mod rates;
pub mod select;
pub mod service;
pub mod share;
#[cfg(test)]
mod testing;
pub mod traffic;
pub mod truncate;

pub use error::{Error, Result};
