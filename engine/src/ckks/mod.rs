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
//! | [`polynomial`] | polynomials in Chebyshev's basis |
//! | [`decrypted`] | values, and the way to publish them |
//! | [`stats`] | statistics of precision |

pub mod ciphertext;
pub mod complex;
pub mod decrypted;
pub mod embedding;
pub mod encoding;
pub mod evaluator;
pub mod keys;
pub mod linear;
pub(crate) mod noise;
pub mod params;
pub mod polynomial;
pub mod rotation;
pub mod stats;

pub use ciphertext::{Budget, Ciphertext};
pub use complex::Complex;
pub use decrypted::{Decrypted, Queries};
pub use encoding::{Encoder, Plaintext};
pub use evaluator::{Evaluator, Tensor};
pub use keys::{PublicKey, SecretKey, Seeded};
pub use linear::{LinearMap, PreparedMap};
pub use params::Params;
pub use polynomial::Polynomial;
pub use rotation::{HoistedCiphertext, Rotations};
pub use stats::{Precision, Spread};
