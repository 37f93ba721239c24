//! CKKS: approximate arithmetic on encrypted vectors of real and complex numbers, in residues.
//!
//! | module | what |
//! |---|---|
//! | [`params`] | ring, primes, scale, presets |
//! | [`complex`], [`embedding`], [`encoding`] | vectors as integer polynomials |
//! | [`keys`] | encryption, decryption, re-randomisation |
//! | [`ciphertext`] | ciphertexts and what is known of them |
//! | [`evaluator`] | sums, products, rescaling |
//! | [`rotation`] | rotations, conjugation, sums over slots |
//! | [`linear`] | linear maps |
//! | [`sparse`], `sparse_run` | sparse maps between lists of ciphertexts, and their evaluation |
//! | [`polynomial`] | polynomials in Chebyshev's basis |
//! | [`decrypted`] | values, and the way to publish them |
//! | [`stats`] | statistics of precision |

#[doc(hidden)]
pub mod ciphertext;
#[doc(hidden)]
pub mod complex;
#[doc(hidden)]
pub mod decrypted;
#[doc(hidden)]
pub mod embedding;
#[doc(hidden)]
pub mod encoding;
#[doc(hidden)]
pub mod evaluator;
#[doc(hidden)]
pub mod keys;
#[doc(hidden)]
pub mod linear;
pub(crate) mod noise;
#[doc(hidden)]
pub mod params;
#[doc(hidden)]
pub mod polynomial;
#[doc(hidden)]
pub mod rotation;
#[doc(hidden)]
pub mod sparse;
mod sparse_run;
#[doc(hidden)]
pub mod stats;

#[doc(hidden)]
pub use ciphertext::Budget;
pub use ciphertext::Ciphertext;
pub use complex::Complex;
pub use decrypted::Decrypted;
#[doc(hidden)]
pub use decrypted::Queries;
pub use encoding::{Encoder, Plaintext};
pub use evaluator::Evaluator;
#[doc(hidden)]
pub use evaluator::Tensor;
#[doc(hidden)]
pub use keys::Seeded;
pub use keys::{PublicKey, SecretKey};
pub use linear::{LinearMap, PreparedMap};
pub use params::{Builder, Params};
pub use polynomial::Polynomial;
#[doc(hidden)]
pub use rotation::HoistedCiphertext;
pub use rotation::Rotations;
#[doc(hidden)]
pub use sparse::{Mirrored, PreparedSparse, Row, Sparse, Target, Term};
#[doc(hidden)]
pub use stats::{Precision, Spread};
