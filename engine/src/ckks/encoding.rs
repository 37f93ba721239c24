//! Vectors of real or complex numbers to integer polynomials and back, exactly rounded, the same on every machine.

use zeroize::Zeroizing;

use super::complex::Complex;
use super::embedding::Embedding;
use super::params::Params;
use crate::Integers;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::poly::{PolyBatch, Rows};
use crate::ring::Basis;

/// Integer coefficients: one word each where that suffices.
pub(crate) enum Words {
    One(Zeroizing<Vec<i64>>),
    Two(Zeroizing<Vec<i128>>),
}

impl Words {
    pub(crate) fn integers(&self) -> Integers<'_> {
        match self {
            Self::One(words) => Integers::One(words),
            Self::Two(words) => Integers::Two(words),
        }
    }
}

/// A vector as an integer polynomial: the encoding of `scale` times it. Its contents are cleared when dropped.
pub struct Plaintext {
    pub(crate) words: Words,
    pub(crate) scale: f64,
    pub(crate) slots: usize,
    pub(crate) bound: f64,
    /// log2 of what no coefficient exceeds.
    pub(crate) bits: f64,
}

impl Plaintext {
    /// What its values are multiplied by.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Values, which repeat in the n/2 slots.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// What no value exceeds.
    pub fn bound(&self) -> f64 {
        self.bound
    }

    /// Its coefficients.
    pub fn coefficients(&self) -> Zeroizing<Vec<i128>> {
        Zeroizing::new(match &self.words {
            Words::One(words) => words.iter().map(|&x| x.into()).collect(),
            Words::Two(words) => words.to_vec(),
        })
    }

    /// Its points on a basis: one polynomial.
    ///
    /// # Errors
    /// [`Error::Parameters`] where a coefficient passes half the product of the primes.
    pub fn points(&self, device: &Device, basis: &Basis) -> Result<PolyBatch<Rows>> {
        self.fits(basis)?;
        PolyBatch::reduce(device, basis, self.words.integers())?.into_rows()
    }

    pub(crate) fn fits(&self, basis: &Basis) -> Result<()> {
        if self.bits >= basis.log2_q() - 1.0 {
            let (level, have) = (basis.len(), basis.log2_q() - 1.0);
            return Err(Error::Parameters(format!(
                "coefficients of up to {:.1} bits at scale 2^{:.1}: level {level} has {have:.1}",
                self.bits,
                self.scale.log2()
            )));
        }
        Ok(())
    }
}

/// Encodes and decodes vectors for one set of parameters.
pub struct Encoder {
    embedding: Embedding,
    slots: usize,
    bound: f64,
}

impl Encoder {
    /// Vectors of up to n/2 values of absolute value up to the parameters' bound.
    pub fn new(params: &Params) -> Self {
        let embedding = Embedding::new(params.n()).expect("dimensions of parameters are powers of two");
        Self { slots: embedding.slots(), embedding, bound: params.bound() }
    }

    /// Vectors of `slots` values instead, which repeat.
    ///
    /// # Errors
    /// [`Error::Parameters`] unless `slots` divides n/2.
    pub fn with_slots(self, slots: usize) -> Result<Self> {
        if slots == 0 || !self.embedding.slots().is_multiple_of(slots) {
            return Err(Error::Parameters(format!("{slots} slots: must divide {}", self.embedding.slots())));
        }
        Ok(Self { slots, ..self })
    }

    /// Values of absolute value up to `bound` instead. It is public: ciphertexts carry it.
    pub fn with_bound(self, bound: f64) -> Self {
        Self { bound, ..self }
    }

    /// Values of a vector.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Real values, at most as many as slots; the others are 0.
    ///
    /// # Errors
    /// [`Error::Shape`] for too many, [`Error::Parameters`] for values beyond the bound and scales that are not
    /// positive.
    pub fn real(&self, values: &[f64], scale: f64) -> Result<Plaintext> {
        let slots: Zeroizing<Vec<Complex>> = Zeroizing::new(values.iter().map(|&x| x.into()).collect());
        self.encode(&slots, scale, true)
    }

    /// Complex values, at most as many as slots; the others are 0.
    ///
    /// # Errors
    /// Those of [`Self::real`].
    pub fn complex(&self, values: &[Complex], scale: f64) -> Result<Plaintext> {
        self.encode(values, scale, false)
    }

    fn encode(&self, values: &[Complex], scale: f64, real: bool) -> Result<Plaintext> {
        if values.len() > self.slots {
            return Err(Error::Shape(format!("{} values for {} slots", values.len(), self.slots)));
        }
        if !scale.is_finite() || scale <= 0.0 {
            return Err(Error::Parameters(format!("scale {scale}: must be positive and finite")));
        }
        // No coefficient is larger than the largest value, times the scale.
        let bits = (self.bound * scale).log2();
        if bits > 126.0 {
            return Err(Error::Parameters(format!("scale 2^{:.1}: coefficients pass two words", scale.log2())));
        }
        let fits = |z: &Complex| z.is_finite() && z.abs() <= self.bound;
        if let Some(i) = values.iter().position(|z| !fits(z)) {
            return Err(Error::Parameters(format!("value {i} is not finite or beyond the bound {}", self.bound)));
        }
        let half = self.embedding.slots();
        let mut slots = Zeroizing::new(vec![Complex::default(); half]);
        slots.chunks_exact_mut(self.slots).for_each(|part| part[..values.len()].copy_from_slice(values));
        let mut work = Zeroizing::new(vec![Complex::default(); half]);
        self.embedding.inverse(&slots, &mut work);
        let mut coefficients = Zeroizing::new(vec![0.0; 2 * half]);
        let (low, high) = coefficients.split_at_mut(half);
        for ((c, low), high) in work.iter().zip(low).zip(high) {
            (*low, *high) = ((c.re * scale).round_ties_even(), (c.im * scale).round_ties_even());
        }
        if real {
            // Real slots: a_(n - i) = -a_i, exactly.
            coefficients[half] = 0.0;
            (1..half).for_each(|i| coefficients[2 * half - i] = -coefficients[i]);
        }
        // Which words they take follows from the bound, not from the values.
        let words = if bits < 62.0 {
            Words::One(Zeroizing::new(coefficients.iter().map(|&x| x as i64).collect()))
        } else {
            Words::Two(Zeroizing::new(coefficients.iter().map(|&x| x as i128).collect()))
        };
        Ok(Plaintext { words, scale, slots: self.slots, bound: self.bound, bits })
    }

    /// The values of integer coefficients, `scale` times them; copies of a slot are averaged.
    ///
    /// # Panics
    /// Unless there are n coefficients.
    pub fn decode(&self, coefficients: &[f64], scale: f64) -> Zeroizing<Vec<Complex>> {
        let half = self.embedding.slots();
        let (low, high) = coefficients.split_at(half);
        let mut work: Zeroizing<Vec<_>> =
            Zeroizing::new(low.iter().zip(high).map(|(&a, &b)| Complex::new(a, b)).collect());
        let mut slots = Zeroizing::new(vec![Complex::default(); half]);
        self.embedding.forward(&mut work, &mut slots);
        let factor = 1.0 / (scale * (half / self.slots) as f64);
        let mut values = Zeroizing::new(vec![Complex::default(); self.slots]);
        for part in slots.chunks_exact(self.slots) {
            values.iter_mut().zip(part).for_each(|(sum, &z)| *sum += z);
        }
        values.iter_mut().for_each(|z| *z = z.scale(factor));
        values
    }
}
