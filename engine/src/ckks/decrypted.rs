//! What decryption finds: values for the key's holder, and the one way to a value that is passed on.
//!
//! A decrypted value is the result and an error that depends on the secret key. Who learns many of them, and what they
//! should have been, may find the key (Li and Micciancio: "On the security of homomorphic encryption on approximate
//! numbers", 2021). [`Decrypted::publish`] adds noise that drowns the error (Li, Micciancio, Schultz, Sorrell, 2022)
//! and rounds.

use zeroize::Zeroizing;

use super::ciphertext::Ciphertext;
use super::complex::Complex;
use super::encoding::Encoder;
use super::params::Params;
use super::stats::Precision;
use crate::error::{Error, Result};
use crate::prng::Prng;

/// Bits of statistical security of published values.
const STATISTICAL: f64 = 30.0;
/// What the noise of publishing may be of the bound on values at most.
const LARGEST_NOISE: f64 = 0.125;

/// Decrypted values. They are neither printed nor serialised, and are cleared when dropped.
pub struct Decrypted {
    params: Params,
    coefficients: Zeroizing<Vec<f64>>,
    values: Zeroizing<Vec<Complex>>,
    encoder: Encoder,
    scale: f64,
    bound: f64,
    error: f64,
}

/// How many more values may be published under one key.
#[derive(Debug)]
pub struct Queries {
    total: u32,
    left: u32,
}

impl Queries {
    /// In all. The noise of each grows with their number.
    pub fn new(total: u32) -> Self {
        Self { total, left: total }
    }

    /// Of a key's file.
    pub(super) fn with_left(total: u32, left: u32) -> Result<Self> {
        if left > total {
            return Err(Error::Decode(format!("secret key: {left} queries left of {total}")));
        }
        Ok(Self { total, left })
    }

    /// In all, and left.
    pub(super) fn numbers(&self) -> [u32; 2] {
        [self.total, self.left]
    }

    /// So many are left.
    pub fn left(&self) -> u32 {
        self.left
    }
}

impl Decrypted {
    pub(super) fn new(params: &Params, coefficients: Zeroizing<Vec<f64>>, x: &Ciphertext) -> Result<Self> {
        let encoder = Encoder::for_ciphertext(params, x)?;
        let values = encoder.decode(&coefficients, x.scale);
        let (scale, bound, error) = (x.scale, x.bound, x.error);
        Ok(Self { params: params.clone(), coefficients, values, encoder, scale, bound, error })
    }

    /// The values, for the key's holder alone.
    pub fn complex(&self) -> &[Complex] {
        &self.values
    }

    /// Their real parts, for the key's holder alone.
    pub fn real(&self) -> Zeroizing<Vec<f64>> {
        Zeroizing::new(self.values.iter().map(|z| z.re).collect())
    }

    /// The standard deviation, as predicted, of the error that depends on secrets: a server's flood does not.
    pub fn error(&self) -> f64 {
        self.error
    }

    /// The largest imaginary part: of real vectors, error alone.
    pub fn largest_imaginary(&self) -> f64 {
        self.values.iter().fold(0.0, |most, z| most.max(z.im.abs()))
    }

    /// The largest coefficient's absolute value, as a part of the first prime's half.
    pub fn largest_coefficient(&self) -> f64 {
        let half = self.params.basis().modulus(0).value() as f64 / 2.0;
        self.coefficients.iter().fold(0.0, |most: f64, c| most.max(c.abs())) / half
    }

    /// Statistics of the precision, where the values should be known.
    ///
    /// # Errors
    /// [`Error::Shape`] unless as many are expected as there are slots.
    pub fn stats(&self, expected: &[Complex]) -> Result<Precision> {
        if expected.len() != self.values.len() {
            return Err(Error::Shape(format!("{} expected values for {}", expected.len(), self.values.len())));
        }
        Ok(Precision::new(&self.values, expected))
    }

    /// Real values that may be passed on: with Gaussian noise of sqrt(12 queries) 2^15 times the predicted error on the
    /// coefficients, rounded to multiples of 2^-`bits`. It takes one of the key's queries.
    ///
    /// # Errors
    /// [`Error::Parameters`] for parameters without flooding, where no query is left, or where the noise passes an
    /// eighth of the bound on values.
    pub fn publish(&self, bits: u32, queries: &mut Queries, prng: &mut Prng) -> Result<Vec<f64>> {
        if self.params.flooding().is_none() {
            return Err(Error::Parameters(
                "values of parameters without flooding are for the key's holder and can't be published".to_owned(),
            ));
        }
        if queries.left == 0 {
            return Err(Error::Parameters(format!("all {} queries of this key are spent", queries.total)));
        }
        let n = self.params.n() as f64;
        let error = self.error * self.scale / n.sqrt();
        let sigma = (12.0 * f64::from(queries.total)).sqrt() * (STATISTICAL / 2.0).exp2() * error;
        let in_slots = sigma * n.sqrt() / self.scale;
        if in_slots > LARGEST_NOISE * self.bound {
            return Err(Error::Parameters(format!(
                "the noise of publishing, {in_slots:.3e}, passes an eighth of the bound {}",
                self.bound
            )));
        }
        queries.left -= 1;
        let noisy = Zeroizing::new(self.coefficients.iter().map(|c| c + sigma * gaussian(prng)).collect::<Vec<_>>());
        let unit = f64::from(bits).exp2();
        let values = self.encoder.decode(&noisy, self.scale);
        Ok(values.iter().map(|z| (z.re * unit).round_ties_even() / unit).collect())
    }
}

/// A standard Gaussian, by Box and Muller.
fn gaussian(prng: &mut Prng) -> f64 {
    let mut uniform = || ((prng.next_u64() >> 11) as f64 + 0.5) / 2f64.powi(53);
    let (a, b) = (uniform(), uniform());
    (-2.0 * a.ln()).sqrt() * (2.0 * std::f64::consts::PI * b).cos()
}
