//! blindvox engine: batched lattice and garbling kernels on a CPU and a GPU backend.

pub mod error;
pub mod prng;

pub use error::{Error, Result};
pub use prng::Prng;
