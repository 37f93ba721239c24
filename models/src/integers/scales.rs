//! Widths and scales of an integer program, as a bundle keeps them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::program::MIN_SPARE_BITS;
use crate::error::{Error, Result};

/// |accumulator| < 2^30, so that a conversion after the truncation is right.
pub const ACCUMULATOR_BITS: i32 = 30;
/// Squares take |x| < 2^15.
pub const SQUARE_INPUT_BITS: u32 = 16;
/// The widest tensor a scale is chosen for.
pub const STREAM_BITS: u32 = 20;
/// No tensor is wider, so that sums of windows fit and plain accumulators are exact.
pub const MAX_BITS: u32 = 28;
/// The most bits that are taken off an accumulator.
pub const MAX_LINEAR_SHIFT: u32 = 24;
/// The most bits that are taken off a square.
pub const MAX_SQUARE_SHIFT: u32 = 20;
/// Scales lie in `-MAX_SCALE..=MAX_SCALE`.
pub const MAX_SCALE: i32 = 40;

/// Widths, and the calibrated scale of each tensor. Part of a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantization {
    /// Signed width of weights, 4 to 16.
    pub weight_bits: u32,
    /// Signed width of what a ReLU or a max pooling compares, 8 to 20.
    pub relu_bits: u32,
    /// Signed width of the scores, 8 to 24.
    pub argmax_bits: u32,
    /// How often the calibrated maximum may double, as far as the calibration could keep it; 1 to 8.
    pub spare_bits: u32,
    /// By tensor name.
    #[serde(default)]
    pub tensors: BTreeMap<String, Scale>,
}

/// A tensor's calibrated range and scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// The largest |real value · 2^channel_bits| seen.
    pub max_abs: f64,
    /// Integer = real · 2^(scale_bits + channel_bits).
    pub scale_bits: i32,
    /// A number a channel, 0 to 24; none stands for zeros. Only outputs of linear layers have them, and hand them on to
    /// the activations and poolings behind them. From version 2 on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channel_bits: Vec<i32>,
}

impl Default for Quantization {
    fn default() -> Self {
        Self { weight_bits: 12, relu_bits: 16, argmax_bits: 24, spare_bits: 3, tensors: BTreeMap::new() }
    }
}

impl Quantization {
    /// Checks the widths.
    ///
    /// # Errors
    /// [`Error::Model`] naming `file`, the field, what was found and what was expected.
    pub fn check(&self, file: &str) -> Result<()> {
        let fields = [
            ("weight_bits", self.weight_bits, 4..=16),
            ("relu_bits", self.relu_bits, 8..=STREAM_BITS),
            ("argmax_bits", self.argmax_bits, 8..=24),
            ("spare_bits", self.spare_bits, MIN_SPARE_BITS as u32..=8),
        ];
        for (field, found, range) in fields {
            if !range.contains(&found) {
                let (low, high) = (range.start(), range.end());
                return Err(Error::Model(format!(
                    "{file}: quantization.{field}: found {found}, expected {low} to {high}"
                )));
            }
        }
        for (name, scale) in &self.tensors {
            let good = scale.max_abs.is_finite() && scale.max_abs >= 0.0 && scale.scale_bits.abs() <= MAX_SCALE;
            if !good {
                return Err(Error::Model(format!(
                    "{file}: quantization.tensors: {name:?}: found {scale:?}, expected a finite max_abs and scale_bits \
                     within ±{MAX_SCALE}"
                )));
            }
        }
        Ok(())
    }
}
