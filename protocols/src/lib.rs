//! blindvox protocols: secure two-party inference of convolutional networks on medical volumes.
//!
//! | module | what |
//! |---|---|
//! | [`channel`], [`transport`] | messages between the two parties, counted |
//! | [`share`] | additive sharing modulo 2^k or a prime |
//! | [`pack`] | residues on the wire |
//! | [`ot`] | oblivious transfer, correlated and random |
//! | [`truncate`] | rounding of shares |
//! | [`triples`] | square pairs, made in advance |
//! | [`nonlinear`] | pooling |

pub mod channel;
pub mod error;
pub mod nonlinear;
pub mod ot;
pub mod pack;
pub mod share;
pub mod transport;
pub mod triples;
pub mod truncate;

pub use error::{Error, Result};
