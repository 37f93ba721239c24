//! Statistics of the precision of values against what they should be.

use std::fmt;

use super::complex::Complex;

/// log2 of 1 / |error| over the slots.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The worst slot.
    pub min: f64,
    /// The best.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub median: f64,
    /// The standard deviation.
    pub deviation: f64,
}

/// Bits of precision of real parts, imaginary parts and absolute values, and the errors themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// Of real parts.
    pub real: Spread,
    /// Of imaginary parts.
    pub imaginary: Spread,
    /// Of the error's absolute value.
    pub modulus: Spread,
    /// The largest error.
    pub largest: f64,
    /// The root of the mean of its square.
    pub rms: f64,
}

impl Spread {
    fn new(errors: impl Iterator<Item = f64>) -> Self {
        // An error of zero counts as the least that a double of 1 has.
        let mut bits: Vec<f64> = errors.map(|e| -e.abs().max(f64::EPSILON / 2.0).log2()).collect();
        bits.sort_unstable_by(f64::total_cmp);
        let count = bits.len() as f64;
        let mean = bits.iter().sum::<f64>() / count;
        let deviation = (bits.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / count).sqrt();
        Self { min: bits[0], max: bits[bits.len() - 1], mean, median: bits[bits.len() / 2], deviation }
    }
}

impl Precision {
    /// Of values and as many expected ones, one at least.
    pub(super) fn new(values: &[Complex], expected: &[Complex]) -> Self {
        let errors = || values.iter().zip(expected).map(|(a, b)| *a - *b);
        let squares: f64 = errors().map(|e| e.abs().powi(2)).sum();
        Self {
            real: Spread::new(errors().map(|e| e.re)),
            imaginary: Spread::new(errors().map(|e| e.im)),
            modulus: Spread::new(errors().map(Complex::abs)),
            largest: errors().map(Complex::abs).fold(0.0, f64::max),
            rms: (squares / values.len() as f64).sqrt(),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "bits of precision    min    max   mean median deviation")?;
        for (name, s) in [("real", self.real), ("imaginary", self.imaginary), ("modulus", self.modulus)] {
            let Spread { min, max, mean, median, deviation } = s;
            writeln!(f, "{name:17} {min:6.2} {max:6.2} {mean:6.2} {median:6.2} {deviation:9.2}")?;
        }
        Ok(())
    }
}
