//! What makes the intensities of scans comparable.

use serde::{Deserialize, Serialize};

/// What makes intensities comparable: (x - mean) / deviation, by one rule or another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    /// By the mean and the population standard deviation of the whole volume.
    ZScore,
    /// The same of the voxels that are not 0; those that are stay 0. Since version 2, as all that follows but `None`.
    ZScoreNonzero,
    /// Values as they are.
    None,
    /// The straight line that takes two values to two others, as for Hounsfield units.
    Range {
        /// Low and high value of the scan.
        from: [f64; 2],
        /// What they become.
        to: [f64; 2],
        /// Whether values beyond become these.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        clip: bool,
    },
    /// The straight line that takes two percentiles of the volume to two values.
    Percentiles {
        /// Low and high percentile.
        from: [f64; 2],
        /// What they become.
        to: [f64; 2],
        /// Whether values beyond become these.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        clip: bool,
    },
    /// Clipped, then (x - mean) / deviation, by numbers of the training: nnU-Net's `CTNormalization`.
    Ct {
        /// Lowest and highest value.
        clip: [f64; 2],
        /// The mean.
        mean: f64,
        /// The standard deviation.
        deviation: f64,
    },
}

/// What is done to each value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    /// Values beyond become these first.
    clip: [f64; 2],
    mean: f64,
    deviation: f64,
    /// Whether zeros stay.
    keeps_zero: bool,
}

impl Line {
    fn new(mean: f64, deviation: f64) -> Self {
        Self { clip: [f64::NEG_INFINITY, f64::INFINITY], mean, deviation, keeps_zero: false }
    }

    /// From low and high to low and high.
    fn through([a, b]: [f64; 2], [c, d]: [f64; 2], clip: bool) -> Self {
        let deviation = (b - a) / (d - c);
        let line = Self::new(a - c * deviation, deviation);
        if clip { Self { clip: [a, b], ..line } } else { line }
    }

    /// Whether it rises, all of it finite.
    pub(super) fn is_sound(&self) -> bool {
        self.mean.is_finite() && self.deviation.is_finite() && self.deviation > 0.0
    }

    pub(super) fn apply(&self, value: f64) -> f64 {
        if self.keeps_zero && value == 0.0 {
            return 0.0;
        }
        // No `clamp`, which panics where the ends are not in order.
        (value.max(self.clip[0]).min(self.clip[1]) - self.mean) / self.deviation
    }
}

impl Normalise {
    /// What it makes of the values of a volume.
    pub(super) fn line(self, data: &[f64]) -> Line {
        match self {
            Self::ZScore => {
                let (mean, deviation) = moments(data.iter().copied());
                Line::new(mean, deviation)
            }
            Self::ZScoreNonzero => {
                let (mean, deviation) = moments(data.iter().copied().filter(|v| *v != 0.0));
                Line { keeps_zero: true, ..Line::new(mean, deviation) }
            }
            Self::None => Line::new(0.0, 1.0),
            Self::Range { from, to, clip } => Line::through(from, to, clip),
            Self::Percentiles { from, to, clip } => Line::through(percentiles(data, from), to, clip),
            Self::Ct { clip, mean, deviation } => Line { clip, ..Line::new(mean, deviation) },
        }
    }

    /// Whether its numbers make sense, whatever the volume.
    pub(crate) fn is_sound(self) -> bool {
        let rising = |[low, high]: [f64; 2]| low.is_finite() && high.is_finite() && low < high;
        match self {
            Self::ZScore | Self::ZScoreNonzero | Self::None => true,
            Self::Range { from, to, .. } => rising(from) && rising(to) && self.line(&[]).is_sound(),
            Self::Percentiles { from, to, .. } => {
                rising(from) && rising(to) && from.iter().all(|p| (0.0..=100.0).contains(p))
            }
            Self::Ct { clip, .. } => rising(clip) && self.line(&[]).is_sound(),
        }
    }

    /// The lowest and the highest value that it gives, where that is known before the volume is.
    pub(super) fn bounds(self) -> Option<[f64; 2]> {
        match self {
            Self::Range { to, clip: true, .. } | Self::Percentiles { to, clip: true, .. } => Some(to),
            Self::Ct { clip, mean, deviation } => Some(clip.map(|v| (v - mean) / deviation)),
            _ => None,
        }
    }

    /// Whether version 1 has it.
    pub(super) fn is_old(self) -> bool {
        matches!(self, Self::ZScore | Self::None)
    }
}

/// Mean and population standard deviation.
fn moments(data: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = data.clone().count() as f64;
    let mean = data.clone().sum::<f64>() / count;
    let variance = data.map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

/// Percentiles, between values by straight lines as numpy's.
fn percentiles(data: &[f64], percents: [f64; 2]) -> [f64; 2] {
    let mut sorted = data.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    percents.map(|percent| {
        let place = percent / 100.0 * sorted.len().saturating_sub(1) as f64;
        let (low, part) = (place.floor() as usize, place.fract());
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        if part == 0.0 { at(low) } else { at(low) + part * (at(low + 1) - at(low)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(normalise: Normalise, data: &[f64]) -> Vec<f64> {
        let line = normalise.line(data);
        data.iter().map(|&v| line.apply(v)).collect()
    }

    #[test]
    fn rules_do_what_their_names_say() {
        let data = [0.0, 2.0, 4.0, 0.0, 6.0];
        let deviation = (8.0f64 / 3.0).sqrt();
        assert_eq!(applied(Normalise::ZScoreNonzero, &data), [0.0, -2.0 / deviation, 0.0, 0.0, 2.0 / deviation]);
        let range = |clip| Normalise::Range { from: [1.0, 5.0], to: [-1.0, 1.0], clip };
        assert_eq!(applied(range(false), &data), [-1.5, -0.5, 0.5, -1.5, 1.5]);
        assert_eq!(applied(range(true), &data), [-1.0, -0.5, 0.5, -1.0, 1.0]);
        // numpy.percentile([0, 2, 4, 0, 6], [10, 90]) is [0, 5.2].
        let percentiles = Normalise::Percentiles { from: [10.0, 90.0], to: [0.0, 1.0], clip: true };
        let found = applied(percentiles, &data);
        assert!((found[1] - 2.0 / 5.2).abs() < 1e-12 && found[4] == 1.0 && found[0] == 0.0, "{found:?}");
        let ct = Normalise::Ct { clip: [1.0, 5.0], mean: 3.0, deviation: 2.0 };
        assert_eq!(applied(ct, &data), [-1.0, -0.5, 0.5, -1.0, 1.0]);
        assert!(!Normalise::ZScore.line(&[3.0; 4]).is_sound() && !Normalise::ZScoreNonzero.line(&[0.0; 4]).is_sound());
    }

    #[test]
    fn senseless_numbers_are_noticed() {
        let [up, down] = [[0.0, 1.0], [1.0, 0.0]];
        assert!(Normalise::Percentiles { from: [0.5, 99.5], to: up, clip: false }.is_sound());
        for wrong in [
            Normalise::Range { from: down, to: up, clip: false },
            Normalise::Range { from: up, to: [0.0, f64::INFINITY], clip: false },
            Normalise::Percentiles { from: [0.5, 101.0], to: up, clip: false },
            Normalise::Ct { clip: up, mean: 0.0, deviation: 0.0 },
            Normalise::Ct { clip: down, mean: 0.0, deviation: 1.0 },
            Normalise::Ct { clip: up, mean: f64::NAN, deviation: 1.0 },
        ] {
            assert!(!wrong.is_sound(), "{wrong:?}");
        }
    }
}
