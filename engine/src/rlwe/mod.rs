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
//! | [`wire`] | residues as packed bits |

pub mod ciphertext;
pub mod eval_keys;
pub mod gadget;
pub mod key_switch;
pub mod keys;
pub mod params;
pub mod wire;

pub use ciphertext::{Ciphertexts, SeededCiphertexts};
pub use eval_keys::{EvalKeys, KeyRequest};
pub use key_switch::Hoisted;
pub use keys::{PublicKey, SecretKey};
pub use params::Params;
