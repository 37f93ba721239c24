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

#[doc(hidden)]
pub mod cipher;
#[cfg(test)]
mod distance_tests;
#[doc(hidden)]
pub mod encoding;
mod items;
#[doc(hidden)]
pub mod keys;
pub mod levelled;
#[doc(hidden)]
pub mod noise;
#[doc(hidden)]
pub mod ole;
mod packing;
#[doc(hidden)]
pub mod params;
#[doc(hidden)]
pub mod reply;
#[doc(hidden)]
pub mod slots;

#[doc(hidden)]
pub use cipher::Encryptor;
#[doc(hidden)]
pub use encoding::{Decoder, Encoder};
pub use keys::{PublicKey, SecretKey};
#[doc(hidden)]
pub use ole::{OleReceiver, OleSender};
#[doc(hidden)]
pub use packing::packed_reply_len;
pub use params::Params;
#[doc(hidden)]
pub use reply::Products;
pub use reply::{Reply, ReplyParams};
#[doc(hidden)]
pub use slots::SlotEncoder;
