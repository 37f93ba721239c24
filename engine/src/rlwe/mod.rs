//! RLWE: what the schemes share.
//!
//! | module | what |
//! |---|---|
//! | [`params`] | ring and primes, held to the security table |
//! | [`keys`] | secret and public keys |
//! | [`gadget`] | digits, and the keys for them |
//! | [`eval_keys`] | sets of keys for automorphisms and products |
//! | [`key_switch`] | automorphisms of ciphertexts, relinearisation |
//! | [`ciphertext`] | batches of ciphertexts and their seeded form |
//! | [`additive`] | sums of values under one-time keys, whose sum opens them |
//! | [`wire`] | residues as packed bits |

#[doc(hidden)]
pub mod additive;
#[cfg(test)]
mod additive_tests;
#[doc(hidden)]
pub mod ciphertext;
#[doc(hidden)]
pub mod eval_keys;
#[doc(hidden)]
pub mod gadget;
#[doc(hidden)]
pub mod key_switch;
#[doc(hidden)]
pub mod keys;
#[doc(hidden)]
pub mod params;
#[doc(hidden)]
pub mod wire;

pub use ciphertext::{Ciphertexts, SeededCiphertexts};
pub use eval_keys::{EvalKeys, KeyRequest};
#[doc(hidden)]
pub use key_switch::Hoisted;
#[doc(hidden)]
pub use keys::{PublicKey, SecretKey};
#[doc(hidden)]
pub use params::Params;
