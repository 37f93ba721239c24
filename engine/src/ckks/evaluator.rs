//! What anyone can do with ciphertexts who has the evaluation keys: sums, products, rescaling.
//!
//! Scales are exact: a plaintext brings whatever factor leads to the scale that is wanted. Two styles go together: a
//! product is rescaled at once ([`Evaluator::rescale`]), or left at its scale until the next linear map takes it down
//! ([`Evaluator::linear`](super::linear)).

use super::ciphertext::Ciphertext;
use super::complex::Complex;
use super::encoding::{Encoder, Plaintext};
use super::noise;
use super::params::Params;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::poly::{PolyBatch, Rows};
use crate::rlwe::EvalKeys;

/// How far scales that are added may be apart.
const SCALE_TOLERANCE: f64 = 1.0 / (1u64 << 40) as f64;

/// Computes on ciphertexts.
pub struct Evaluator {
    pub(crate) params: Params,
    pub(crate) device: Device,
    pub(crate) keys: Option<EvalKeys>,
}

/// A product before it is relinearised: three polynomials.
pub struct Tensor {
    three: PolyBatch<Rows>,
    like: Ciphertext,
}

impl Evaluator {
    /// With evaluation keys.
    ///
    /// # Errors
    /// [`Error::Parameters`] for keys of other parameters.
    pub fn new(params: &Params, device: &Device, keys: EvalKeys) -> Result<Self> {
        if keys.params().digest() != params.digest() {
            return Err(Error::Parameters(format!("keys for other parameters than {}", params.describe())));
        }
        Ok(Self { params: params.clone(), device: device.clone(), keys: Some(keys) })
    }

    /// Without: for sums and products with plaintexts.
    pub fn without_keys(params: &Params, device: &Device) -> Self {
        Self { params: params.clone(), device: device.clone(), keys: None }
    }

    /// What it computes for.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Where.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Its keys.
    ///
    /// # Errors
    /// [`Error::Parameters`] where it has none.
    pub fn keys(&self) -> Result<&EvalKeys> {
        self.keys.as_ref().ok_or_else(|| Error::Parameters("an evaluator without keys".to_owned()))
    }

    /// Whether two can be added: of one level, scale and number of slots.
    fn check(a: &Ciphertext, b: &Ciphertext) -> Result<()> {
        if a.level() != b.level() || a.slots != b.slots || (a.scale / b.scale - 1.0).abs() > SCALE_TOLERANCE {
            let each =
                |x: &Ciphertext| format!("level {}, scale 2^{:.6}, {} slots", x.level(), x.scale.log2(), x.slots);
            return Err(Error::Parameters(format!("operands at {} and {}: align them first", each(a), each(b))));
        }
        Ok(())
    }

    /// a + b.
    ///
    /// # Errors
    /// [`Error::Parameters`] for other levels, scales or numbers of slots, and where the sum may wrap around.
    pub fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        self.combine(a, b, |x, y| x.add_assign(y))
    }

    /// a - b.
    ///
    /// # Errors
    /// Those of [`Self::add`].
    pub fn sub(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        self.combine(a, b, |x, y| x.sub_assign(y))
    }

    fn combine(
        &self,
        a: &Ciphertext,
        b: &Ciphertext,
        f: impl Fn(&mut PolyBatch<Rows>, &PolyBatch<Rows>) -> Result<()>,
    ) -> Result<Ciphertext> {
        Self::check(a, b)?;
        let mut sum = a.duplicate()?;
        f(&mut sum.pair, &b.pair)?;
        sum.bound += b.bound;
        sum.error += b.error;
        sum.flood += b.flood;
        sum.checked()
    }

    /// -a.
    pub fn negate(&self, a: &Ciphertext) -> Result<Ciphertext> {
        let mut out = a.duplicate()?;
        out.pair.negate()?;
        Ok(out)
    }

    /// a + text.
    ///
    /// # Errors
    /// [`Error::Parameters`] for another scale or number of slots.
    pub fn add_plain(&self, a: &Ciphertext, text: &Plaintext) -> Result<Ciphertext> {
        let points = text.points(&self.device, a.pair.basis())?;
        let zero = PolyBatch::zeros(&self.device, a.pair.basis(), 1)?;
        let (pair, error) = (PolyBatch::stack(&[&points, &zero])?, noise::encoding(&self.params, text.scale));
        self.add(a, &Ciphertext { pair, scale: text.scale, slots: text.slots, bound: text.bound, error, flood: 0.0 })
    }

    /// a + c in every slot.
    ///
    /// # Errors
    /// Those of [`Self::add_plain`].
    pub fn add_scalar(&self, a: &Ciphertext, c: f64) -> Result<Ciphertext> {
        self.add_plain(a, &self.constant(c.into(), a.slots, a.scale)?)
    }

    fn constant(&self, c: Complex, slots: usize, scale: f64) -> Result<Plaintext> {
        let bound = c.abs().max(f64::MIN_POSITIVE);
        // Rounding may carry the absolute value a little beyond.
        let encoder = Encoder::new(&self.params).with_bound(bound * 1.000_001).with_slots(slots)?;
        if c.im == 0.0 { encoder.real(&vec![c.re; slots], scale) } else { encoder.complex(&vec![c; slots], scale) }
    }

    /// c a with c rounded to a multiple of 1 / `scale`, by which the ciphertext's grows.
    ///
    /// # Errors
    /// [`Error::Parameters`] where that may wrap around.
    pub fn mul_scalar(&self, a: &Ciphertext, c: f64, scale: f64) -> Result<Ciphertext> {
        let integer = c * scale;
        if !integer.is_finite() || integer.abs() >= 2f64.powi(126) {
            return Err(Error::Parameters(format!("{c} at scale {scale:e}: not an integer of two words")));
        }
        self.times(a, c, integer.round_ties_even() as i128, scale)
    }

    /// c a, which costs no level.
    ///
    /// # Errors
    /// [`Error::Parameters`] where that may wrap around.
    pub fn mul_integer(&self, a: &Ciphertext, c: i64) -> Result<Ciphertext> {
        self.times(a, c as f64, c.into(), 1.0)
    }

    /// Times an integer that stands for `c` at `scale`.
    fn times(&self, a: &Ciphertext, c: f64, integer: i128, scale: f64) -> Result<Ciphertext> {
        let residue = |q: u64| integer.rem_euclid(q.into()) as u64;
        let scalars: Vec<u64> = a.pair.basis().values().into_iter().map(residue).collect();
        let mut out = a.duplicate()?;
        out.pair.mul_scalar(&scalars)?;
        let rounding = (integer as f64 / scale - c).abs();
        out.scale *= scale;
        out.error = c.abs() * a.error + rounding * a.bound;
        out.flood *= c.abs();
        out.bound = (c.abs() * a.bound).max(f64::MIN_POSITIVE);
        out.checked()
    }

    /// a times a vector, value by value, at the product of the scales.
    ///
    /// # Errors
    /// [`Error::Parameters`] for other numbers of slots, and where the product may wrap around.
    pub fn multiply_plain(&self, a: &Ciphertext, text: &Plaintext) -> Result<Ciphertext> {
        if a.slots != text.slots {
            return Err(Error::Parameters(format!("{} slots times {}", a.slots, text.slots)));
        }
        let mut out = a.duplicate()?;
        out.pair.mul_assign(&text.points(&self.device, a.pair.basis())?)?;
        out.scale *= text.scale;
        out.error = noise::together(&[text.bound * a.error, a.bound * noise::encoding(&self.params, text.scale)]);
        out.flood *= text.bound;
        out.bound *= text.bound;
        out.checked()
    }

    /// a b before relinearisation, at the product of the scales.
    ///
    /// # Errors
    /// [`Error::Parameters`] for other levels or numbers of slots, and where the product may wrap around.
    pub fn tensor(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Tensor> {
        if a.level() != b.level() || a.slots != b.slots {
            let each = |x: &Ciphertext| format!("level {}, {} slots", x.level(), x.slots);
            return Err(Error::Parameters(format!("a product of {} and {}: align them first", each(a), each(b))));
        }
        let mut like = a.duplicate()?;
        like.scale *= b.scale;
        like.error = noise::together(&[a.bound * b.error, b.bound * a.error, a.error * b.error]);
        if std::ptr::eq(a, b) {
            like.error = 2.0 * a.bound * a.error + a.error * a.error;
        }
        like.flood = noise::together(&[a.bound * b.flood, b.bound * a.flood, a.flood * b.flood]);
        like.bound *= b.bound;
        Ok(Tensor { three: a.pair.tensor(&b.pair)?, like: like.checked()? })
    }

    /// The same product with two polynomials.
    ///
    /// # Errors
    /// [`Error::Parameters`] without the key for it at this level.
    pub fn relinearise(&self, x: &Tensor) -> Result<Ciphertext> {
        let pair = self.keys()?.relinearise(&x.three, 0)?;
        Ok(x.like.with(pair)?.and_error(noise::switching(&self.params, x.like.level(), x.like.scale)))
    }

    /// [`Self::relinearise`], then [`Self::rescale_by`], in one division and one rounding: faster than both, and no less
    /// exact.
    ///
    /// # Errors
    /// [`Error::Parameters`] without the key for it at this level, and unless a prime is left.
    pub fn relinearise_rescale(&self, x: &Tensor, count: usize) -> Result<Ciphertext> {
        let (like, level) = (&x.like, x.like.level());
        Self::check_dropped(count, level)?;
        let mut out = like.with(self.keys()?.relinearise(&x.three, count)?)?;
        out.scale = like.dropped_scale(count);
        let error = [noise::switching(&self.params, level, like.scale), noise::rounding(&self.params, out.scale)];
        out.and_error(noise::together(&error)).checked()
    }

    /// a b, relinearised, at the product of the scales: rescale it, or let a linear map take it down.
    ///
    /// # Errors
    /// Those of [`Self::tensor`] and [`Self::relinearise`].
    pub fn multiply(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        self.relinearise(&self.tensor(a, b)?)
    }

    /// a b, relinearised and divided by the last prime in one rounding.
    ///
    /// # Errors
    /// Those of [`Self::tensor`] and [`Self::relinearise_rescale`].
    pub fn multiply_rescale(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        self.relinearise_rescale(&self.tensor(a, b)?, 1)
    }

    /// a^2 as [`Self::multiply`].
    ///
    /// # Errors
    /// Those of [`Self::multiply`].
    pub fn square(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.multiply(a, a)
    }

    /// Divides by the last prime: values stay, level and scale fall.
    ///
    /// # Errors
    /// [`Error::Parameters`] at level 1.
    pub fn rescale(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.rescale_by(a, 1)
    }

    /// Divides by the last `count` primes in one rounding.
    ///
    /// # Errors
    /// [`Error::Parameters`] unless a prime is left.
    pub fn rescale_by(&self, a: &Ciphertext, count: usize) -> Result<Ciphertext> {
        Self::check_dropped(count, a.level())?;
        let mut out = a.with(a.pair.mod_down(a.level() - count)?)?;
        out.scale = a.dropped_scale(count);
        let error = noise::rounding(&self.params, out.scale);
        out.and_error(error).checked()
    }

    fn check_dropped(count: usize, level: usize) -> Result<()> {
        if count == 0 || count >= level {
            return Err(Error::Parameters(format!("dropping {count} primes at level {level}")));
        }
        Ok(())
    }

    /// The same values and scale on fewer primes.
    ///
    /// # Errors
    /// [`Error::Parameters`] for a higher level than it has, or none.
    pub fn drop_to(&self, a: &Ciphertext, level: usize) -> Result<Ciphertext> {
        if level > a.level() {
            return Err(Error::Parameters(format!("level {level} of a ciphertext at level {}", a.level())));
        }
        a.with(a.pair.limbs(&a.pair.basis().level(level)?)?.to_batch()?)?.checked()
    }

    /// The same values at a lower level and exactly another scale, by a constant and a rescaling.
    ///
    /// # Errors
    /// [`Error::Parameters`] unless the level is lower, or where the constant would be too small to be exact to 2^-20.
    pub fn to_level_and_scale(&self, a: &Ciphertext, level: usize, scale: f64) -> Result<Ciphertext> {
        if level == 0 || level >= a.level() {
            return Err(Error::Parameters(format!("another scale at level {level} from level {}", a.level())));
        }
        let q = a.pair.basis().modulus(level).value() as f64;
        let factor = scale * q / a.scale;
        if factor < 2f64.powi(20) {
            return Err(Error::Parameters(format!(
                "scale 2^{:.1} from 2^{:.1}: the constant between them has {:.1} bits",
                scale.log2(),
                a.scale.log2(),
                factor.log2()
            )));
        }
        let mut out = self.rescale(&self.mul_scalar(&self.drop_to(a, level + 1)?, 1.0, factor)?)?;
        // Equal but for the rounding of the last operations.
        out.scale = scale;
        Ok(out)
    }

    /// Both at one level and one scale: as they are where they agree, else at the lower level and the scale that is
    /// there, or a level below both.
    ///
    /// # Errors
    /// [`Error::Parameters`] where no level is left for that.
    pub fn align(&self, a: &Ciphertext, b: &Ciphertext) -> Result<(Ciphertext, Ciphertext)> {
        let same = (a.scale / b.scale - 1.0).abs() <= SCALE_TOLERANCE;
        let level = a.level().min(b.level());
        if same {
            return Ok((self.drop_to(a, level)?, self.drop_to(b, level)?));
        }
        if a.level() > b.level() {
            return Ok((self.to_level_and_scale(a, level, b.scale)?, b.duplicate()?));
        }
        if b.level() > a.level() {
            return Ok((a.duplicate()?, self.to_level_and_scale(b, level, a.scale)?));
        }
        if level == 1 {
            return Err(Error::Parameters(format!(
                "scales 2^{:.6} and 2^{:.6} at level 1: no prime is left to align them",
                a.scale.log2(),
                b.scale.log2()
            )));
        }
        let scale = a.scale.max(b.scale);
        Ok((self.to_level_and_scale(a, level - 1, scale)?, self.to_level_and_scale(b, level - 1, scale)?))
    }
}
