//! CKKS: approximate arithmetic on encrypted vectors of real and complex numbers, in residues.
//!
//! | module | what |
//! |---|---|
//! | [`params`] | ring, primes, scale, presets |
//! | [`complex`], [`embedding`], [`encoding`] | vectors as integer polynomials |

pub mod complex;
pub mod embedding;
pub mod encoding;
pub mod params;

pub use complex::Complex;
pub use encoding::{Encoder, Plaintext};
pub use params::Params;
