//! Vectors mod a prime p = 1 mod 2n, one element a slot: products of polynomials are products of vectors.
//!
//! The slots are the values at the 2n-th roots of unity mod p, in the order of [`NttTable`](crate::ring::NttTable).

use zeroize::Zeroizing;

use crate::device::Device;
use crate::error::{Error, Result};
use crate::poly::{Ntt, PolyBatch};
use crate::ring::{Basis, Modulus};

/// 2^32 - 2^20 + 1, prime and 1 mod 2^20: the plaintext modulus of square pairs.
pub const P: u32 = 4_293_918_721;

/// Encodes for one ring dimension and prime, on a device.
pub struct SlotEncoder {
    device: Device,
    basis: Basis,
}

impl SlotEncoder {
    /// For dimension `n` and an NTT prime `plain` below 2^32.
    pub fn new(device: &Device, n: usize, plain: u64) -> Result<Self> {
        if plain >= 1 << 32 {
            return Err(Error::Parameters(format!("slots modulo {plain}: must be below 2^32")));
        }
        Ok(Self { device: device.clone(), basis: Basis::new(n, &[plain])? })
    }

    /// The slots' ring: n and p.
    pub(crate) fn basis(&self) -> &Basis {
        &self.basis
    }

    /// p.
    pub(crate) fn modulus(&self) -> Modulus {
        self.basis.modulus(0)
    }

    /// `[batch, n]` slot values to message coefficients, both in `[0, p)`.
    pub fn encode(&self, slots: &[u32]) -> Result<Vec<u32>> {
        let words = Zeroizing::new(slots.iter().map(|&s| u64::from(s)).collect::<Vec<_>>());
        let coefficients = PolyBatch::<Ntt>::upload(&self.device, &self.basis, &words)?.into_coeff()?.download()?;
        let coefficients = Zeroizing::new(coefficients);
        Ok(coefficients.iter().map(|&c| c as u32).collect())
    }

    /// As signed coefficients nearest zero, for the plaintext factor of a product.
    pub fn encode_signed(&self, slots: &[u32]) -> Result<Vec<i32>> {
        let p = self.basis.modulus(0);
        Ok(Zeroizing::new(self.encode(slots)?).iter().map(|&c| p.to_signed(u64::from(c)) as i32).collect())
    }

    /// `[batch, n]` message coefficients to slot values.
    pub fn decode(&self, coefficients: &[u32]) -> Result<Vec<u32>> {
        let words = Zeroizing::new(coefficients.iter().map(|&s| u64::from(s)).collect::<Vec<_>>());
        let slots = PolyBatch::upload(&self.device, &self.basis, &words)?.into_ntt()?.download()?;
        let slots = Zeroizing::new(slots);
        Ok(slots.iter().map(|&c| c as u32).collect())
    }
}
