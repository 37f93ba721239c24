//! blindvox protocols: secure two-party inference of convolutional networks on medical volumes.
//!
//! | module | what |
//! |---|---|
//! | [`channel`], [`transport`] | messages between the two parties, counted |
//! | [`share`] | additive sharing modulo 2^k or a prime |

pub mod channel;
pub mod error;
pub mod share;
pub mod transport;

pub use error::{Error, Result};
