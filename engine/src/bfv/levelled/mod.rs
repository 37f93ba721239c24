//! BFV as a library: exact arithmetic on encrypted vectors mod a prime t, sums, products, rotations.
//!
//! | module | what |
//! |---|---|
//! | [`params`] | ring, primes, t, and the primes that products are computed over |
//! | [`batch`] | vectors mod t as products of slots, in two rows |
//! | [`keys`] | encryption, decryption, noise as measured |
//! | [`ciphertext`] | ciphertexts and what is known of their noise |
//! | [`evaluator`] | sums, products, rotations, modulus switching |
//! | [`noise`] | the noise as predicted |
//!
//! A product is that of Halevi, Polyakov and Shoup (2019) with exact integers: both factors are lifted to Q B,
//! multiplied there, t / Q times the product is rounded to B, and lifted back to Q.

#[doc(hidden)]
pub mod batch;
#[doc(hidden)]
pub mod ciphertext;
#[doc(hidden)]
pub mod evaluator;
#[doc(hidden)]
pub mod keys;
#[doc(hidden)]
pub mod noise;
#[doc(hidden)]
pub mod params;

pub use batch::{BatchEncoder, Plaintext};
pub use ciphertext::Ciphertext;
pub use evaluator::Evaluator;
#[doc(hidden)]
pub use evaluator::Tensor;
#[doc(hidden)]
pub use keys::Seeded;
pub use keys::{PublicKey, SecretKey};
pub use params::Params;
