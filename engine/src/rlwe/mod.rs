//! RLWE: what the schemes share.
//!
//! | module | what |
//! |---|---|
//! | [`params`] | ring and primes, held to the security table |
//! | [`keys`] | secret and public keys |
//! | [`ciphertext`] | batches of ciphertexts and their seeded form |
//! | [`wire`] | residues as packed bits |

pub mod ciphertext;
pub mod keys;
pub mod params;
pub mod wire;

pub use ciphertext::{Ciphertexts, SeededCiphertexts};
pub use keys::{PublicKey, SecretKey};
pub use params::Params;
