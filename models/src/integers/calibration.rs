//! What calibration saw, kept in the bundle: scales hold for volumes like these, and a scan is compared with them.
//!
//! In a secure run nobody can see a value leave its range: whatever is opened is masked. So the client compares its own
//! prepared scan, before the run, with the prepared volumes that the scales were chosen on. The comparison stays with
//! the client: neither a message nor an abort depends on it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The percentiles that are kept.
pub const PERCENTS: [f64; 7] = [0.5, 5.0, 25.0, 50.0, 75.0, 95.0, 99.5];
/// The side of the blocks whose energy is taken, in voxels.
pub const BLOCK: usize = 8;
/// How far a percentile, the mean or the deviation may lie outside of what was seen, as a part of the seen span from
/// the 5th to the 95th percentile.
const SPAN_TOLERANCE: f64 = 0.1;
/// How often the energy of a block may exceed what was seen, or fall short of it.
const ENERGY_TOLERANCE: f64 = 1.25;

/// The lowest and the highest value over the volumes.
pub type Range = [f64; 2];

/// Mean and variance of each channel before an instance normalisation, over all volumes, by its node's name.
pub type Norms = BTreeMap<String, Vec<[f64; 2]>>;

/// What calibration saw. Part of a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The volumes' file names.
    pub volumes: Vec<String>,
    /// The prepared volumes.
    pub input: Input,
    /// By tensor name, in real numbers before any equalisation of channels.
    pub tensors: BTreeMap<String, Level>,
    /// What stands for the statistics that instance normalisations would take of a scan.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub norms: Norms,
}

/// Statistics of prepared volumes, all channels together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// One range for each of [`PERCENTS`].
    pub percentiles: Vec<Range>,
    /// The mean.
    pub mean: Range,
    /// The population standard deviation.
    pub deviation: Range,
    /// Mean squares over blocks of [`BLOCK`] voxels along each axis, those at the far ends smaller.
    pub energy: Energy,
}

/// Of the blocks of a volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Energy {
    /// The smallest.
    pub smallest: Range,
    /// The median.
    pub median: Range,
    /// The largest.
    pub largest: Range,
}

/// How large a tensor's values are, over all volumes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// Root of the mean square.
    pub rms: f64,
    /// The largest |value|.
    pub max_abs: f64,
}

/// One volume's statistics, in the order in which [`Input::ranges`] lists them.
struct Statistics([f64; PERCENTS.len() + 5]);

impl Statistics {
    /// Of `[channels, D, H, W]`.
    fn of(values: &[f32], dims: [usize; 3]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f32::total_cmp);
        let at =
            |sorted: &[f32], percent: f64| f64::from(sorted[((sorted.len() - 1) as f64 * percent / 100.0) as usize]);
        let count = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
        let mut energies = block_energies(values, dims);
        energies.sort_unstable_by(f32::total_cmp);
        let mut all = [0.0; PERCENTS.len() + 5];
        for (slot, percent) in all.iter_mut().zip(PERCENTS) {
            *slot = at(&sorted, percent);
        }
        all[PERCENTS.len()..].copy_from_slice(&[
            mean,
            variance.sqrt(),
            at(&energies, 0.0),
            at(&energies, 50.0),
            at(&energies, 100.0),
        ]);
        Self(all)
    }
}

/// The mean square of each block, all channels together.
fn block_energies(values: &[f32], [d, h, w]: [usize; 3]) -> Vec<f32> {
    let blocks = [d, h, w].map(|n| n.div_ceil(BLOCK));
    let mut sums = vec![(0.0f64, 0u32); blocks.iter().product()];
    for (at, &v) in values.iter().enumerate() {
        let (z, y, x) = (at / (h * w) % d, at / w % h, at % w);
        let block = (z / BLOCK * blocks[1] + y / BLOCK) * blocks[2] + x / BLOCK;
        sums[block].0 += f64::from(v).powi(2);
        sums[block].1 += 1;
    }
    sums.into_iter().map(|(sum, count)| (sum / f64::from(count)) as f32).collect()
}

impl Input {
    /// Of one volume or more, each `[channels, D, H, W]` with its D, H, W; `None` without any.
    pub fn of<'a>(volumes: impl IntoIterator<Item = (&'a [f32], [usize; 3])>) -> Option<Self> {
        let all: Vec<Statistics> = volumes.into_iter().map(|(v, dims)| Statistics::of(v, dims)).collect();
        all.first()?;
        let range = |i: usize| {
            let each = all.iter().map(|s| s.0[i]);
            [each.clone().fold(f64::INFINITY, f64::min), each.fold(f64::NEG_INFINITY, f64::max)]
        };
        let n = PERCENTS.len();
        Some(Self {
            percentiles: (0..n).map(range).collect(),
            mean: range(n),
            deviation: range(n + 1),
            energy: Energy { smallest: range(n + 2), median: range(n + 3), largest: range(n + 4) },
        })
    }

    /// Name, range and tolerated range of each statistic but the smallest energy, which says little.
    fn ranges(&self) -> Vec<(usize, String, Range, Range)> {
        let n = PERCENTS.len();
        let [.., [_, high], _] = self.percentiles[..] else { return Vec::new() };
        let slack = SPAN_TOLERANCE * (high - self.percentiles[1][0]);
        let near = |[low, high]: Range| [low - slack, high + slack];
        let times = |[low, high]: Range| [low / ENERGY_TOLERANCE, high * ENERGY_TOLERANCE];
        let mut all = Vec::with_capacity(n + 4);
        for (i, (percent, &range)) in PERCENTS.iter().zip(&self.percentiles).enumerate() {
            all.push((i, format!("percentile {percent}"), range, near(range)));
        }
        all.push((n, "mean".to_owned(), self.mean, near(self.mean)));
        all.push((n + 1, "standard deviation".to_owned(), self.deviation, near(self.deviation)));
        for (i, name, range) in [(n + 3, "median", self.energy.median), (n + 4, "largest", self.energy.largest)] {
            all.push((i, format!("{name} block energy"), range, times(range)));
        }
        all
    }

    /// How a prepared volume `[channels, D, H, W]` differs from what was seen: a phrase for each statistic that lies
    /// clearly outside.
    pub fn differences(&self, values: &[f32], dims: [usize; 3]) -> Vec<String> {
        let found = Statistics::of(values, dims);
        let outside = |(i, name, [low, high], [least, most]): (usize, String, Range, Range)| {
            let value = found.0[i];
            (!(least..=most).contains(&value)).then(|| format!("{name} {value:.2}, seen {low:.2} to {high:.2}"))
        };
        self.ranges().into_iter().filter_map(outside).collect()
    }
}

impl Calibration {
    /// Checks the section.
    ///
    /// # Errors
    /// [`Error::Model`] naming `file`, the field, what was found and what was expected.
    pub fn check(&self, file: &str) -> Result<()> {
        let wrong = |field: &str, found: String, expected: &str| {
            Err(Error::Model(format!("{file}: calibration.{field}: found {found}, expected {expected}")))
        };
        let names =
            self.volumes.iter().map(|name| ("volumes", name)).chain(self.tensors.keys().map(|k| ("tensors", k)));
        for (field, name) in names {
            if name.chars().any(char::is_control) {
                return wrong(
                    field,
                    format!("{:?}", name.chars().take(40).collect::<String>()),
                    "no control characters",
                );
            }
        }
        let input = &self.input;
        if input.percentiles.len() != PERCENTS.len() {
            let found = input.percentiles.len().to_string();
            return wrong("input.percentiles", found, &format!("a range for each of {PERCENTS:?}"));
        }
        let Energy { smallest, median, largest } = input.energy;
        let ranges = input.percentiles.iter().copied().chain([input.mean, input.deviation, smallest, median, largest]);
        for [low, high] in ranges {
            if !(low.is_finite() && high.is_finite() && low <= high) {
                return wrong("input", format!("[{low}, {high}]"), "[lowest, highest], finite");
            }
        }
        for (name, &Level { rms, max_abs }) in &self.tensors {
            if !(rms.is_finite() && max_abs.is_finite() && rms >= 0.0 && max_abs >= 0.0) {
                return wrong(&format!("tensors.{name}"), format!("{rms}, {max_abs}"), "finite sizes");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of mean 0 and deviation near 0.58 that look random.
    fn noise(count: usize, gain: f32) -> Vec<f32> {
        let number = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1 << 23) as f32 - 1.0;
        (0..count as u64).map(|i| gain * number(i + 1)).collect()
    }

    #[test]
    fn what_was_seen_is_no_difference_and_more_of_it_is() {
        let dims = [8, 12, 20];
        let seen = [noise(1920, 1.0), noise(1920, 1.1)];
        let input = Input::of(seen.iter().map(|v| (&v[..], dims))).expect("volumes");
        assert!(seen.iter().all(|v| input.differences(v, dims).is_empty()));
        assert!(input.differences(&noise(1920, 1.05), dims).is_empty());
        let louder = input.differences(&noise(1920, 2.0), dims);
        assert!(louder.iter().any(|d| d.starts_with("percentile 99.5 ")), "{louder:?}");
        assert!(louder.iter().any(|d| d.starts_with("largest block energy")), "{louder:?}");
        assert!(!input.differences(&noise(1920, 0.2), dims).is_empty(), "a faint volume");
        // One bright block moves no percentile but the last, yet its energy is seen.
        let mut block = noise(1920, 1.0);
        for (z, y) in (0..8).flat_map(|z| (0..4).map(move |y| (z, y))) {
            block[(z * 12 + 8 + y) * 20 + 16..][..4].fill(2.0);
        }
        assert!(input.differences(&block, dims).iter().any(|d| d.starts_with("largest block energy")));
    }

    #[test]
    fn blocks_at_the_ends_are_means_of_their_own_voxels() {
        let mut values = vec![1.0f32; 3 * 9 * 8];
        values[8 * 8..9 * 8].fill(3.0);
        assert_eq!(block_energies(&values, [3, 9, 8]), [1.0, (9.0 + 1.0 + 1.0) / 3.0]);
    }
}
