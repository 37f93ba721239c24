//! Vectors mod a prime p = 1 mod 2n, one element a slot: products of polynomials are products of vectors.
//!
//! The slots are the values at the 2n-th roots of unity mod p, in the order of [`NttTable`](crate::ring::NttTable).
//! Vectors come from the host and go to it, so they are transformed there, row by row.

use crate::chain::RowTransform;
use crate::error::{Error, Result};
use crate::ring::Modulus;

/// 2^32 - 2^20 + 1, prime and 1 mod 2^20: the plaintext modulus of square pairs.
pub const P: u32 = 4_293_918_721;

/// Encodes for one ring dimension and prime.
pub struct SlotEncoder(RowTransform);

impl SlotEncoder {
    /// For dimension `n` and an NTT prime `plain` below 2^32.
    pub fn new(n: usize, plain: u64) -> Result<Self> {
        if plain >= 1 << 32 {
            return Err(Error::Parameters(format!("slots modulo {plain}: must be below 2^32")));
        }
        Ok(Self(RowTransform::new(n, plain)?))
    }

    /// p.
    pub fn modulus(&self) -> Modulus {
        self.0.modulus()
    }

    /// n slot values to message coefficients, both in `[0, p)`.
    ///
    /// # Panics
    /// If one of the lengths is not n.
    pub fn encode(&self, slots: &[u32], coefficients: &mut [u64]) {
        assert_eq!(slots.len(), coefficients.len());
        coefficients.iter_mut().zip(slots).for_each(|(c, &x)| *c = x.into());
        self.0.inverse(coefficients);
    }

    /// n message coefficients in `[0, p)` to slot values, in place.
    ///
    /// # Panics
    /// If the length is not n.
    pub fn decode(&self, coefficients: &mut [u64]) {
        self.0.forward(coefficients);
    }
}
