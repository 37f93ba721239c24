//! The client's side of a model: from a scan to the network's input, and from its labels back to the scan's grid.
//!
//! z-score over the whole volume (mean and population standard deviation), clamp, centre crop or zero pad to `pad_to`,
//! then `crop` voxels off every side. The network's D, H, W are the volume's i, j, k; a planar network's H, W are
//! i, j of a volume with one slice.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::graph::Shape;
use super::program::TensorInfo;
use crate::error::{Error, Result};
use crate::volume::{LabelMap, Volume};

/// How a volume is prepared. Part of a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    /// What makes the intensities comparable.
    pub normalise: Normalise,
    /// Lowest and highest value after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clamp: Option<[f32; 2]>,
    /// The grid to crop or zero pad to about the centre: `[i, j, k]`, or `[i, j]` for a planar network.
    pub pad_to: Vec<usize>,
    /// Voxels then taken off both ends of each axis.
    pub crop: Vec<usize>,
}

/// What makes intensities comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    /// (x - mean) / (population standard deviation), over the whole volume.
    ZScore,
    /// Values as they are.
    None,
}

/// Where the network's grid lies in a volume's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The volume's grid, a planar one as `[1, i, j]`.
    source: [usize; 3],
    /// The network's grid.
    target: [usize; 3],
    /// The volume's position of the network's first voxel; negative where zeros come first.
    first: [i64; 3],
}

/// Three axes from the two of a planar network or the three of another.
fn three(list: &[usize], planar: bool, fill: usize) -> Option<[usize; 3]> {
    match (list, planar) {
        (&[a, b], true) => Some([fill, a, b]),
        (&[a, b, c], false) => Some([a, b, c]),
        _ => None,
    }
}

impl Preparation {
    /// Checks the fields against the network's input.
    ///
    /// # Errors
    /// [`Error::Model`] naming `file`, the field, what was found and what was expected.
    pub fn check(&self, file: &str, input: Shape, planar: bool) -> Result<()> {
        let wrong = |field: &str, found: String, expected: String| {
            Error::Model(format!("{file}: preparation.{field}: found {found}, expected {expected}"))
        };
        if input.channels != 1 {
            return Err(wrong("channels", input.channels.to_string(), "1, as a volume has".into()));
        }
        if let Some([low, high]) = self.clamp
            && !(low.is_finite() && high.is_finite() && low < high)
        {
            return Err(wrong("clamp", format!("[{low}, {high}]"), "[low, high], finite".into()));
        }
        let sizes = three(&self.pad_to, planar, 1).zip(three(&self.crop, planar, 0));
        let target = sizes.map(|(pad, crop)| {
            let side = |a: usize| crop[a].checked_mul(2).and_then(|c| pad[a].checked_sub(c));
            [side(0), side(1), side(2)]
        });
        if target != Some(input.dims.map(Some)) {
            let found = format!("{:?} less twice {:?}", self.pad_to, self.crop);
            return Err(wrong("pad_to, crop", found, format!("the input's {:?}", input.dims)));
        }
        Ok(())
    }

    /// Where the network's grid `target` lies in a volume of `dims`.
    ///
    /// # Errors
    /// [`Error::Input`] naming `path` if the volume has several slices and the network is planar.
    pub fn placement(&self, dims: [usize; 3], target: [usize; 3], path: &Path) -> Result<Placement> {
        let planar = self.pad_to.len() == 2;
        let source = match dims {
            [i, j, 1] if planar => [1, i, j],
            [_, _, k] if planar => {
                let path = path.display();
                return Err(Error::Input(format!("{path}: dim[3]: found {k} slices, expected 1 for a planar model")));
            }
            dims => dims,
        };
        let mismatch = || Error::Model("preparation.pad_to, crop: not as many sizes as the grid has axes".into());
        let pad = three(&self.pad_to, planar, 1).ok_or_else(mismatch)?;
        let crop = three(&self.crop, planar, 0).ok_or_else(mismatch)?;
        let first = [0, 1, 2].map(|a| (source[a] as i64 - pad[a] as i64).div_euclid(2) + crop[a] as i64);
        Ok(Placement { source, target, first })
    }

    /// The network's input in real numbers, `[D, H, W]`, and where it lies; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file, if the volume is constant or has too many slices.
    pub fn prepare(&self, volume: &Volume, target: [usize; 3], path: &Path) -> Result<(Vec<f32>, Placement)> {
        let placement = self.placement(volume.dims, target, path)?;
        let (mean, deviation) = match self.normalise {
            Normalise::None => (0.0, 1.0),
            Normalise::ZScore => moments(&volume.data),
        };
        if !(deviation > 0.0 && deviation.is_finite()) {
            let path = path.display();
            return Err(Error::Input(format!("{path}: voxels: found a constant volume, expected varying values")));
        }
        let [low, high] = self.clamp.unwrap_or([f32::MIN, f32::MAX]);
        let value = |v: f32| (((f64::from(v) - mean) / deviation) as f32).clamp(low, high);
        let mut out = vec![0.0; target.iter().product()];
        placement.rows(|network, source, length| {
            let from = &volume.data[source..source + length];
            out[network..network + length].iter_mut().zip(from).for_each(|(o, &v)| *o = value(v));
        });
        Ok((out, placement))
    }
}

/// Mean and population standard deviation.
fn moments(data: &[f32]) -> (f64, f64) {
    let count = data.len() as f64;
    let mean = data.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let variance = data.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

impl Placement {
    /// Calls `row(network index, volume index, length)` for each run of voxels that both grids have.
    fn rows(&self, mut row: impl FnMut(usize, usize, usize)) {
        let overlap = |a: usize| {
            let from = self.first[a].max(0) as usize;
            let end = (self.first[a] + self.target[a] as i64).clamp(0, self.source[a] as i64) as usize;
            from..end.max(from)
        };
        let network = |at: usize, a: usize| (at as i64 - self.first[a]) as usize;
        let columns = overlap(2);
        if columns.is_empty() {
            return;
        }
        for i in overlap(0) {
            for j in overlap(1) {
                let source = (i * self.source[1] + j) * self.source[2] + columns.start;
                let plane = network(i, 0) * self.target[1] + network(j, 1);
                row(plane * self.target[2] + network(columns.start, 2), source, columns.len());
            }
        }
    }

    /// Labels of the network's grid on the volume's own grid; what the network didn't see is background (0).
    ///
    /// # Panics
    /// If `labels` isn't one per voxel of the network's grid.
    pub fn restore(&self, labels: &[u8], volume: &Volume) -> LabelMap {
        assert_eq!(labels.len(), self.target.iter().product::<usize>(), "a label per voxel of the network's grid");
        let mut data = vec![0; volume.data.len()];
        self.rows(|network, source, length| {
            data[source..source + length].copy_from_slice(&labels[network..network + length]);
        });
        LabelMap { dims: volume.dims, data, header: volume.header.clone() }
    }
}

/// Real values as integers of the input tensor: round(x · 2^scale_bits), saturated to its range.
pub fn quantize_input(values: &[f32], tensor: &TensorInfo) -> Vec<i32> {
    let gain = 2f64.powi(tensor.scale_bits);
    let top = (tensor.limit() - 1) as f64;
    values.iter().map(|&v| (f64::from(v) * gain).round().clamp(-top, top) as i32).collect()
}
