//! What anyone can do with ciphertexts who has the evaluation keys.

use super::batch::Plaintext;
use super::ciphertext::Ciphertext;
use super::noise;
use super::params::Params;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::poly::{PolyBatch, Rows};
use crate::rlwe::key_switch::{conjugation_element, rotation_element};
use crate::rlwe::{EvalKeys, Hoisted, KeyRequest};

/// Computes on ciphertexts.
pub struct Evaluator {
    params: Params,
    device: Device,
    keys: EvalKeys,
}

/// A product before it is relinearised: three polynomials.
pub struct Tensor {
    three: PolyBatch<Rows>,
    noise: f64,
}

impl KeyRequest {
    /// And for rotations of rows by these steps, to the left.
    pub fn row_rotations(self, params: &Params, steps: &[i64], level: usize) -> Self {
        steps.iter().fold(self, |request, &step| request.galois(rotation_element(params.n(), step), level))
    }

    /// And for the exchange of the two rows.
    pub fn row_exchange(self, params: &Params, level: usize) -> Self {
        self.galois(conjugation_element(params.n()), level)
    }
}

impl Evaluator {
    /// With evaluation keys.
    ///
    /// # Errors
    /// [`Error::Parameters`] for keys of other parameters.
    pub fn new(params: &Params, device: &Device, keys: EvalKeys) -> Result<Self> {
        params.check_keys(&keys)?;
        Ok(Self { params: params.clone(), device: device.clone(), keys })
    }

    /// What it computes for.
    pub fn params(&self) -> &Params {
        &self.params
    }

    fn made(&self, pair: PolyBatch<Rows>, noise: f64) -> Result<Ciphertext> {
        Ciphertext { pair, noise, plain_bits: (self.params.plain() as f64).log2() }.checked()
    }

    fn check(a: &Ciphertext, b: &Ciphertext) -> Result<()> {
        if a.level() != b.level() {
            return Err(Error::Parameters(format!("operands at levels {} and {}", a.level(), b.level())));
        }
        Ok(())
    }

    /// a + b.
    ///
    /// # Errors
    /// [`Error::Parameters`] for other levels, and where noise may be too large.
    pub fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        Self::check(a, b)?;
        let mut pair = a.pair.duplicate()?;
        pair.add_assign(&b.pair)?;
        self.made(pair, a.noise + b.noise)
    }

    /// a - b.
    ///
    /// # Errors
    /// Those of [`Self::add`].
    pub fn sub(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        Self::check(a, b)?;
        let mut pair = a.pair.duplicate()?;
        pair.sub_assign(&b.pair)?;
        self.made(pair, a.noise + b.noise)
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
    /// [`Error::Parameters`] where noise may be too large.
    pub fn add_plain(&self, a: &Ciphertext, text: &Plaintext) -> Result<Ciphertext> {
        let basis = a.pair.basis();
        let message = text.summand(&self.params, &self.device, basis)?;
        let mut pair = a.pair.duplicate()?;
        pair.add_assign(&PolyBatch::stack(&[&message, &PolyBatch::zeros(&self.device, basis, 1)?])?)?;
        self.made(pair, a.noise + noise::added(&self.params))
    }

    /// a times text.
    ///
    /// # Errors
    /// [`Error::Parameters`] where noise may be too large.
    pub fn multiply_plain(&self, a: &Ciphertext, text: &Plaintext) -> Result<Ciphertext> {
        let mut pair = a.pair.duplicate()?;
        pair.mul_assign(&text.factor(&self.params, &self.device, a.pair.basis())?)?;
        self.made(pair, a.noise * noise::message(&self.params))
    }

    /// a b before relinearisation.
    ///
    /// # Errors
    /// [`Error::Parameters`] for other levels.
    pub fn tensor(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Tensor> {
        Self::check(a, b)?;
        let (basis, level) = (a.pair.basis(), a.level());
        let wide = self.params.product_basis(level)?;
        // B first: the division by Q leaves it.
        let all = wide.joined(basis)?;
        let lift = |x: &Ciphertext| x.pair.mod_up(&all, level);
        let c = lift(a)?;
        let mut three = if std::ptr::eq(a, b) { c.tensor(&c)? } else { c.tensor(&lift(b)?)? };
        let t = self.params.plain();
        three.mul_scalar(&all.primes().iter().map(|q| q.modulus().reduce(t)).collect::<Vec<_>>())?;
        let three = three.into_coeff()?.mod_down(wide.len())?.mod_up(basis)?.into_rows()?;
        Ok(Tensor { three, noise: noise::product(&self.params, basis.log2_q(), a.noise, b.noise) })
    }

    /// The same product with two polynomials.
    ///
    /// # Errors
    /// [`Error::Parameters`] without the key for it at this level, and where noise may be too large.
    pub fn relinearise(&self, x: &Tensor) -> Result<Ciphertext> {
        let level = x.three.basis().len();
        self.made(self.keys.relinearise(&x.three, 0)?, x.noise + noise::switching(&self.params, level))
    }

    /// a b, relinearised.
    ///
    /// # Errors
    /// Those of [`Self::tensor`] and [`Self::relinearise`].
    pub fn multiply(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        self.relinearise(&self.tensor(a, b)?)
    }

    /// a^2, relinearised.
    ///
    /// # Errors
    /// Those of [`Self::multiply`].
    pub fn square(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.multiply(a, a)
    }

    /// In both rows, value i of the result is value i + `step`, counted around.
    ///
    /// # Errors
    /// [`Error::Parameters`] without a key for exactly this rotation at this level, and where noise may be too large.
    pub fn rotate_rows(&self, a: &Ciphertext, step: i64) -> Result<Ciphertext> {
        let mut out = self.rotate_rows_many(a, &[step])?;
        Ok(out.remove(0))
    }

    /// [`Self::rotate_rows`] by each step, decomposed once.
    ///
    /// # Errors
    /// Those of [`Self::rotate_rows`].
    pub fn rotate_rows_many(&self, a: &Ciphertext, steps: &[i64]) -> Result<Vec<Ciphertext>> {
        let hoisted = Hoisted::new(&self.params, &a.pair)?;
        let rotate = |&step: &i64| {
            let why = |e: Error| Error::Parameters(format!("rotation by {step} at level {}: {e}", a.level()));
            match rotation_element(self.params.n(), step) {
                1 => a.duplicate(),
                element => self.switched(a, self.keys.automorphism(&hoisted, element).map_err(why)?),
            }
        };
        steps.iter().map(rotate).collect()
    }

    /// The two rows exchanged.
    ///
    /// # Errors
    /// [`Error::Parameters`] without the key for it at this level, and where noise may be too large.
    pub fn exchange_rows(&self, a: &Ciphertext) -> Result<Ciphertext> {
        let hoisted = Hoisted::new(&self.params, &a.pair)?;
        let why = |e: Error| Error::Parameters(format!("exchange of rows at level {}: {e}", a.level()));
        let element = conjugation_element(self.params.n());
        self.switched(a, self.keys.automorphism(&hoisted, element).map_err(why)?)
    }

    fn switched(&self, a: &Ciphertext, pair: PolyBatch<Rows>) -> Result<Ciphertext> {
        self.made(pair, a.noise + noise::switching(&self.params, a.level()))
    }

    /// The same message on fewer primes: smaller, and faster to compute with.
    ///
    /// # Errors
    /// [`Error::Parameters`] unless the level is lower, and where the noise of rounding may be too large there.
    pub fn switch_to(&self, a: &Ciphertext, level: usize) -> Result<Ciphertext> {
        if level == 0 || level >= a.level() {
            return Err(Error::Parameters(format!("level {level} of a ciphertext at level {}", a.level())));
        }
        let dropped = a.pair.basis().range(level..a.level())?.log2_q();
        self.made(a.pair.mod_down(level)?, a.noise / dropped.exp2() + noise::rounding(&self.params))
    }
}
