//! Ciphertexts, with a bound on their noise.

use super::params::Params;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::poly::{PolyBatch, Rows};
use crate::rlwe::wire;

/// c0 and c1 on the first primes: c0 + c1 s is Q m / t and noise.
pub struct Ciphertext {
    pub(super) pair: PolyBatch<Rows>,
    /// No coefficient's noise is larger.
    pub(super) noise: f64,
    /// log2 of t.
    pub(super) plain_bits: f64,
}

const MAGIC: &[u8; 8] = b"bvbfvct1";
/// Magic, digest, level, noise.
const HEAD: usize = 8 + 32 + 2 + 8;

impl Ciphertext {
    /// Primes that it is on.
    pub fn level(&self) -> usize {
        self.pair.basis().len()
    }

    /// Bits of noise that are left at least: log2 of Q / 2t over the noise's bound. Decryption is right above 0.
    pub fn budget(&self) -> f64 {
        self.pair.basis().log2_q() - 1.0 - self.plain_bits - self.noise.log2()
    }

    /// Its polynomials c0 and c1.
    pub fn halves(&self) -> &PolyBatch<Rows> {
        &self.pair
    }

    /// A second copy.
    pub fn duplicate(&self) -> Result<Self> {
        Ok(Self { pair: self.pair.duplicate()?, noise: self.noise, plain_bits: self.plain_bits })
    }

    /// An error where decryption may be wrong.
    pub(super) fn checked(self) -> Result<Self> {
        let budget = self.budget();
        // Not a number, either.
        if budget > 0.0 {
            return Ok(self);
        }
        let level = self.level();
        Err(Error::Parameters(format!("noise passes what level {level} corrects by {:.1} bits", -budget)))
    }

    /// Bytes of a ciphertext at a level on the wire.
    ///
    /// # Errors
    /// [`Error::Parameters`] for a level that there is not.
    pub fn wire_len(params: &Params, level: usize) -> Result<usize> {
        Ok(HEAD + wire::packed_rows_len(&params.basis().level(level)?, 2))
    }

    /// The parameters' digest, level and noise, then the packed points of both halves.
    pub fn to_bytes(&self, params: &Params) -> Result<Vec<u8>> {
        let mut out = MAGIC.to_vec();
        out.extend(params.digest());
        out.extend((self.level() as u16).to_le_bytes());
        out.extend(self.noise.to_le_bytes());
        wire::pack_rows(self.pair.basis(), &self.pair.download()?, &mut out);
        Ok(out)
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Decode`] for anything else, other parameters' ciphertexts included; nothing is allocated before the
    /// length is known to be right.
    pub fn from_bytes(params: &Params, device: &Device, bytes: &[u8]) -> Result<Self> {
        let bad = |what: String| Error::Decode(format!("ciphertext: {what}"));
        let mut reader = wire::Reader::new(bytes);
        if reader.array()? != *MAGIC {
            return Err(bad("not written by this version".to_owned()));
        }
        if reader.array()? != params.digest() {
            return Err(bad(format!("for other parameters than {}", params.describe())));
        }
        let level = usize::from(u16::from_le_bytes(reader.array()?));
        let noise = f64::from_le_bytes(reader.array()?);
        let basis = params.basis().level(level).map_err(|e| bad(e.to_string()))?;
        if !noise.is_finite() || noise < 1.0 {
            return Err(bad(format!("noise {noise}")));
        }
        let rows = reader.take(wire::packed_rows_len(&basis, 2))?;
        reader.end()?;
        let pair = PolyBatch::upload(device, &basis, &wire::unpack_rows(&basis, 2, rows)?)?;
        Self { pair, noise, plain_bits: (params.plain() as f64).log2() }.checked()
    }
}
