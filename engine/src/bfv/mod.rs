//! BFV as two-party inference needs it: messages mod t under a secret key, products with small known polynomials, and
//! replies that tell the key's holder the result and nothing else.
//!
//! | module | what |
//! |---|---|
//! | [`params`], [`keys`] | ring, primes and plaintext modulus; keys for them |
//! | [`encoding`] | coefficients mod t to residues and back |
//! | [`slots`] | vectors mod a prime as products of slots |
//! | [`cipher`] | seeded encryption, decryption; values enter and leave by [`Places`](crate::poly::Places) |
//! | [`reply`] | circuit-private replies: re-randomise, mask, switch the modulus, flood |
//! | [`ole`] | oblivious linear evaluation in slots |
//! | [`noise`] | bounds, and noise as measured |
//! | [`levelled`] | BFV as a library: sums, products, rotations |

pub mod cipher;
#[cfg(test)]
mod distance_tests;
pub mod encoding;
mod items;
pub mod keys;
pub mod levelled;
pub mod noise;
pub mod ole;
mod packing;
pub mod params;
pub mod reply;
pub mod slots;

pub use cipher::Encryptor;
pub use encoding::{Decoder, Encoder};
pub use keys::{PublicKey, SecretKey};
pub use ole::{OleReceiver, OleSender};
pub use packing::packed_reply_len;
pub use params::Params;
pub use reply::{Products, Reply, ReplyParams};
pub use slots::SlotEncoder;
