//! Ciphertexts, with what is known of them in public: level, scale, bound and predicted error.

use super::noise;
use super::params::Params;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::poly::{PolyBatch, Rows};
use crate::rlwe::wire;

/// c0 and c1 on the first primes of the chain: c0 + c1 s is `scale` times a vector, plus an error.
pub struct Ciphertext {
    pub(crate) pair: PolyBatch<Rows>,
    pub(crate) scale: f64,
    pub(crate) slots: usize,
    /// What no value exceeds.
    pub(crate) bound: f64,
    /// Predicted standard deviation of a slot's error that depends on secrets.
    pub(crate) error: f64,
    /// That of a flood, which depends on none.
    pub(crate) flood: f64,
}

/// What is left of a ciphertext, and how good it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Primes that it is on. A product that is rescaled costs one; at level 1 there is none to give.
    pub level: usize,
    /// What its values are multiplied by.
    pub scale: f64,
    /// log2 of what its values may grow by before they wrap around.
    pub headroom_bits: f64,
    /// Predicted standard deviation of the error of a value.
    pub error: f64,
}

const MAGIC: &[u8; 8] = b"bvckksc1";
/// Magic, digest, level, slots, scale, bound, error, flood.
const HEAD: usize = 8 + 32 + 2 + 4 + 4 * 8;

impl Ciphertext {
    /// Primes that it is on.
    pub fn level(&self) -> usize {
        self.pair.basis().len()
    }

    /// What its values are multiplied by.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Values, which repeat in the n/2 slots.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// What no value exceeds, by the bounds that its sources were given.
    pub fn bound(&self) -> f64 {
        self.bound
    }

    /// Predicted standard deviation of the error of a value.
    pub fn error(&self) -> f64 {
        noise::together(&[self.error, self.flood])
    }

    /// Its polynomials c0 and c1.
    pub fn halves(&self) -> &PolyBatch<Rows> {
        &self.pair
    }

    /// What is left of it.
    pub fn budget(&self) -> Budget {
        let have = self.pair.basis().log2_q() - 1.0;
        let headroom_bits = have - (self.scale * self.bound).log2();
        Budget { level: self.level(), scale: self.scale, headroom_bits, error: self.error() }
    }

    /// A second copy.
    pub fn duplicate(&self) -> Result<Self> {
        self.with(self.pair.duplicate()?)
    }

    /// The same with another bound and predicted error, where more is known of them than operations can tell, or less
    /// is to be said.
    ///
    /// # Errors
    /// [`Error::Parameters`] where values of that bound may wrap around.
    pub fn restated(self, bound: f64, error: f64) -> Result<Self> {
        Self { bound, error, ..self }.checked()
    }

    /// The same with other polynomials.
    pub(crate) fn with(&self, pair: PolyBatch<Rows>) -> Result<Self> {
        let Self { scale, slots, bound, error, flood, .. } = *self;
        Ok(Self { pair, scale, slots, bound, error, flood })
    }

    /// An error where the values may wrap around.
    pub(crate) fn checked(self) -> Result<Self> {
        let Budget { headroom_bits, level, .. } = self.budget();
        if headroom_bits < 0.0 {
            return Err(Error::Parameters(format!(
                "values up to {:.3e} at scale 2^{:.1}: {:.1} bits more than level {level} holds",
                self.bound,
                self.scale.log2(),
                -headroom_bits
            )));
        }
        Ok(self)
    }

    /// Bytes of a ciphertext at a level on the wire.
    ///
    /// # Errors
    /// [`Error::Parameters`] for a level that there is not.
    pub fn wire_len(params: &Params, level: usize) -> Result<usize> {
        Ok(HEAD + wire::packed_rows_len(&params.basis().level(level)?, 2))
    }

    /// Level, slots, scale, bound, error and flood, then the packed points of both halves.
    pub fn to_bytes(&self, params: &Params) -> Result<Vec<u8>> {
        let mut out = MAGIC.to_vec();
        out.extend(params.digest());
        out.extend((self.level() as u16).to_le_bytes());
        out.extend((self.slots as u32).to_le_bytes());
        [self.scale, self.bound, self.error, self.flood].iter().for_each(|x| out.extend(x.to_le_bytes()));
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
        let slots = u32::from_le_bytes(reader.array()?) as usize;
        let basis = params.basis().level(level).map_err(|e| bad(e.to_string()))?;
        if slots == 0 || !params.slots().is_multiple_of(slots) {
            return Err(bad(format!("{slots} slots of {}", params.slots())));
        }
        let mut number = || Ok(f64::from_le_bytes(reader.array()?));
        let [scale, bound, error, flood] = [number()?, number()?, number()?, number()?];
        let fits = |x: f64, least: f64| x.is_finite() && x >= least;
        let positive = f64::MIN_POSITIVE;
        if !fits(scale, positive) || !fits(bound, positive) || !fits(error, 0.0) || !fits(flood, 0.0) {
            return Err(bad(format!("scale {scale}, bound {bound}, error {error}, flood {flood}")));
        }
        let rows = reader.take(wire::packed_rows_len(&basis, 2))?;
        reader.end()?;
        let pair = PolyBatch::upload(device, &basis, &wire::unpack_rows(&basis, 2, rows)?)?;
        Self { pair, scale, slots, bound, error, flood }.checked()
    }

    /// The scale without the last `count` primes.
    pub(crate) fn dropped_scale(&self, count: usize) -> f64 {
        let basis = self.pair.basis();
        (self.level() - count..self.level()).fold(self.scale, |scale, i| scale / basis.modulus(i).value() as f64)
    }

    /// Adds to the predicted error what is independent of it.
    pub(crate) fn and_error(mut self, other: f64) -> Self {
        self.error = noise::together(&[self.error, other]);
        self
    }
}
