//! What keys are for: products back to two halves, and automorphisms of ciphertexts.
//!
//! A ciphertext is one batch of two polynomials, c0 and c1, on the first primes of the parameters. A rotation
//! decomposes c1 first and permutes last, so that several rotations of one ciphertext share the decomposition
//! ([`Hoisted`]): phi(d) key = phi(d phi^-1(key)), and keys are made with phi^-1 applied.

use super::eval_keys::EvalKeys;
use super::gadget::{Digits, SwitchingKey, first_half};
use super::params::Params;
use crate::error::{Error, Result};
use crate::poly::{PolyBatch, Rows};

/// A ciphertext, c1 in digits, to be rotated many times.
pub struct Hoisted {
    /// c0 and zero.
    base: PolyBatch<Rows>,
    digits: Digits,
}

impl Hoisted {
    /// Of a ciphertext's two halves.
    pub fn new(params: &Params, pair: &PolyBatch<Rows>) -> Result<Self> {
        if pair.batch() != 2 {
            return Err(Error::Shape(format!("{} polynomials are no ciphertext of two", pair.batch())));
        }
        Ok(Self { base: first_half(pair)?, digits: Digits::new(params, &pair.extract(1..2)?)? })
    }

    /// The ciphertext's primes.
    pub fn level(&self) -> usize {
        self.digits.level()
    }

    /// The image of c0 under x -> x^element, and zero.
    pub fn image_of_base(&self, element: usize) -> Result<PolyBatch<Rows>> {
        self.base.automorphism(element)
    }
}

impl EvalKeys {
    /// The ciphertext a(x^element) of a(x).
    ///
    /// # Errors
    /// [`Error::Parameters`] for an element that there is no key for, or none at this level.
    pub fn automorphism(&self, hoisted: &Hoisted, element: usize) -> Result<PolyBatch<Rows>> {
        let mut sum = self.galois(element)?.product(&hoisted.digits)?.mod_down(hoisted.level())?;
        sum.add_assign(&hoisted.base)?;
        sum.automorphism(element)
    }

    /// The image of c1's part alone, over Q_l P: P times what [`Self::automorphism`] adds to
    /// [`Hoisted::image_of_base`]. Sums of them need one division by P.
    ///
    /// # Errors
    /// Those of [`Self::automorphism`].
    pub fn automorphism_times_p(&self, hoisted: &Hoisted, element: usize) -> Result<PolyBatch<Rows>> {
        self.galois(element)?.product(&hoisted.digits)?.automorphism(element)
    }

    /// P times [`Self::automorphism`], over Q_l P: nothing is divided or rounded yet.
    ///
    /// # Errors
    /// Those of [`Self::automorphism`].
    pub fn whole_automorphism_times_p(&self, hoisted: &Hoisted, element: usize) -> Result<PolyBatch<Rows>> {
        let mut sum = self.galois(element)?.product(&hoisted.digits)?;
        sum.add_scaled(&hoisted.base, &self.params().special_scalars(hoisted.level()))?;
        sum.automorphism(element)
    }

    /// P times the image of (first / P, second), over Q_l P: `first` is over Q_l P already, and divided with the result.
    ///
    /// # Errors
    /// Those of [`Self::automorphism`].
    pub(crate) fn automorphism_of_sum(
        &self,
        first: &PolyBatch<Rows>,
        second: &PolyBatch<Rows>,
        element: usize,
    ) -> Result<PolyBatch<Rows>> {
        let digits = Digits::new(self.params(), second)?;
        let mut sum = self.galois(element)?.product(&digits)?;
        sum.add_assign(&first_half(first)?)?;
        sum.automorphism(element)
    }

    /// The two halves for three, (d0, d1, d2) under (1, s, s^2), divided by the last `dropped` primes in the same rounding
    /// as by P.
    ///
    /// # Errors
    /// [`Error::Parameters`] where there is no such key or no prime is left, [`Error::Shape`] unless there are three.
    pub fn relinearise(&self, tensor: &PolyBatch<Rows>, dropped: usize) -> Result<PolyBatch<Rows>> {
        if tensor.batch() != 3 {
            return Err(Error::Shape(format!("{} polynomials to relinearise, of three", tensor.batch())));
        }
        let digits = Digits::new(self.params(), &tensor.extract(2..3)?)?;
        let key: &SwitchingKey = self.relinearisation()?;
        let (mut sum, first) = (key.product(&digits)?, tensor.extract(0..2)?);
        if dropped == 0 {
            let mut sum = sum.mod_down(digits.level())?;
            sum.add_assign(&first)?;
            return Ok(sum);
        }
        sum.add_scaled(&first, &self.params().special_scalars(digits.level()))?;
        let kept = digits.level().saturating_sub(dropped);
        sum.mod_down(kept)
    }
}

/// The Galois element of a rotation by `step` to the left among n/2 values, 5^step mod 2n.
pub fn rotation_element(n: usize, step: i64) -> usize {
    let (mut power, mut element) = (5usize, 1usize);
    let mut steps = step.rem_euclid(n as i64 / 2);
    while steps != 0 {
        if steps & 1 == 1 {
            element = element * power % (2 * n);
        }
        power = power * power % (2 * n);
        steps >>= 1;
    }
    element
}

/// The Galois element of complex conjugation, and of exchanging the two rows of a batch, -1 mod 2n.
pub fn conjugation_element(n: usize) -> usize {
    2 * n - 1
}
