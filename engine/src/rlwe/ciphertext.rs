//! Batches of ciphertexts (c0, c1): c0 + c1 * s is the encoded message plus noise.

use super::params::Params;
use super::wire;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::poly::{Coeff, Ntt, PolyBatch};
use crate::ring::sampler::PublicSeed;

/// Ciphertexts ready to be multiplied.
pub struct Ciphertexts {
    /// The halves that hold the messages.
    pub c0: PolyBatch<Ntt>,
    /// The halves that multiply the secret key.
    pub c1: PolyBatch<Ntt>,
}

/// Fresh symmetric ciphertexts in half the bytes: c1 is expanded from a public seed.
pub struct SeededCiphertexts {
    seed: PublicSeed,
    c0: PolyBatch<Coeff>,
}

impl SeededCiphertexts {
    /// From the seed and the message halves, which belong to its first polynomials.
    pub fn new(seed: PublicSeed, c0: PolyBatch<Coeff>) -> Self {
        Self { seed, c0 }
    }

    /// Bytes of `batch` ciphertexts on the wire.
    pub fn wire_len(params: &Params, batch: usize) -> usize {
        size_of::<PublicSeed>() + wire::packed_rows_len(params.basis(), batch)
    }

    /// The seed, then the packed residues of c0 in the coefficient domain, `[batch, limbs, n]`.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut out = self.seed.to_vec();
        wire::pack_rows(self.c0.basis(), &self.c0.download()?, &mut out);
        Ok(out)
    }

    /// Reads what [`Self::to_bytes`] wrote; an error for any other length and for unreduced residues.
    pub fn from_bytes(params: &Params, device: &Device, batch: usize, bytes: &[u8]) -> Result<Self> {
        let (seed, rows) = bytes
            .split_first_chunk::<16>()
            .ok_or_else(|| Error::Decode(format!("{} bytes are no seeded ciphertext", bytes.len())))?;
        let words = wire::unpack_rows(params.basis(), batch, rows)?;
        Ok(Self { seed: *seed, c0: PolyBatch::upload(device, params.basis(), &words)? })
    }

    /// The number of ciphertexts.
    pub fn batch(&self) -> usize {
        self.c0.batch()
    }

    /// Expands c1 and transforms c0.
    pub fn expand(self) -> Result<Ciphertexts> {
        let c1 = PolyBatch::uniform(self.c0.device(), self.c0.basis(), &self.seed, 0, self.c0.batch())?;
        Ok(Ciphertexts { c0: self.c0.into_ntt()?, c1 })
    }
}
