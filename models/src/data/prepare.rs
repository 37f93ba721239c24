//! The client's side of a model: from a scan to the network's input.
//!
//! Axes in the model's order, voxels of the model's size, z-score over the whole volume (mean and population standard
//! deviation), clamp, centre crop or zero pad to `pad_to`, then `crop` voxels off every side. The network's D, H, W are
//! the i, j, k of that grid; a planar network's H, W are i, j of a volume with one slice. [`Placement`] is the way
//! back.

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use super::placement::{Placement, Seen};
use super::table::Table;

use crate::data::nifti::geometry::{Axes, Orientation, sides};
use crate::data::nifti::resample::{Kernel, Scale};
use crate::data::nifti::{MAX_VOXELS, Volume};
use crate::error::{Error, Result};
use crate::network::Shape;

/// How far a voxel's side may be from the model's, as a part of it, to count as the same.
const SAME_SPACING: f64 = 1e-3;
/// A ratio of sides from which on resampling can't give what the model was trained on.
const FAR_SPACING: f64 = 4.0;
/// Degrees off a right angle from which on the network sees a sheared picture.
const SHEARED: f64 = 1.0;

/// How a volume is prepared. Part of a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    /// The way the network's axes run, such as `RAS`; without it they are those that the file has. Since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orientation: Option<Orientation>,
    /// The sides of the network's voxels in millimetres, `[i, j, k]` or `[i, j]`, along the axes of `orientation`;
    /// without it they are those that the file has. Since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spacing: Option<Vec<f64>>,
    /// What is done about a scan of another spacing; `linear` where it isn't said. Since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resample: Option<Resample>,
    /// How labels come back to a scan of another spacing; `linear` where it isn't said. Since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// What makes the intensities comparable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalise: Option<Normalise>,
    /// Lowest and highest value after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clamp: Option<[f32; 2]>,
    /// The grid to crop or zero pad to about the centre: `[i, j, k]`, or `[i, j]` for a planar network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pad_to: Vec<usize>,
    /// Voxels then taken off both ends of each axis.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crop: Vec<usize>,
    /// Of a network of rows, in the place of all other keys. Since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Table>,
}

/// What is done about a scan of another spacing than the model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resample {
    /// Values between voxels by straight lines, over all that a wider voxel covers.
    Linear,
    /// It is refused.
    None,
}

/// How labels come back to a scan of another spacing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// Each label's share of a voxel by straight lines, the largest wins.
    Linear,
    /// The nearest voxel's label.
    Nearest,
}

/// What makes intensities comparable.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    /// (x - mean) / (population standard deviation), over the whole volume.
    ZScore,
    /// Values as they are.
    None,
    /// The straight line that takes two values to two others, as for Hounsfield units. Since version 2.
    Range {
        /// Low and high value of the scan.
        from: [f64; 2],
        /// What they become.
        to: [f64; 2],
    },
}

impl Normalise {
    /// The mean and the deviation that values are normalised by.
    fn line(self, data: &[f64]) -> (f64, f64) {
        match self {
            Self::ZScore => moments(data),
            Self::None => (0.0, 1.0),
            Self::Range { from: [a, b], to: [c, d] } => {
                let deviation = (b - a) / (d - c);
                (a - c * deviation, deviation)
            }
        }
    }

    /// Whether it is a rising line, all of it finite.
    fn is_sound(self) -> bool {
        let Self::Range { from, to } = self else { return true };
        let (mean, deviation) = self.line(&[]);
        from[0] < from[1] && to[0] < to[1] && mean.is_finite() && deviation.is_finite() && deviation > 0.0
    }
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
    /// The lowest and the highest value of an input, where that is bounded.
    pub fn bounds(&self) -> Option<[f32; 2]> {
        self.table.as_ref().map_or(self.clamp, |table| table.clip)
    }

    /// Checks the preparation of rows against their number of features.
    ///
    /// # Errors
    /// [`Error::Model`] naming `file`, the field, what was found and what was expected.
    pub fn check_table(&self, file: &str, features: usize) -> Result<()> {
        let wrong = |found: &str, expected: String| {
            Err(Error::Model(format!("{file}: preparation: found {found}, expected {expected}")))
        };
        let Some(table) = &self.table else {
            return wrong("no table", format!("one with {features} columns, as the input has features"));
        };
        let alone = Self {
            orientation: None,
            spacing: None,
            resample: None,
            labels: None,
            normalise: None,
            clamp: None,
            pad_to: Vec::new(),
            crop: Vec::new(),
            table: self.table.clone(),
        };
        if *self != alone {
            return wrong("keys of volumes beside table", "none".to_owned());
        }
        table.check(file, features)
    }

    /// Checks the fields of volumes against the network's input and the version of `model.json`.
    ///
    /// # Errors
    /// [`Error::Model`] naming `file`, the field, what was found and what was expected.
    pub fn check(&self, file: &str, input: Shape, planar: bool, version: u32) -> Result<()> {
        let wrong = |field: &str, found: String, expected: String| {
            Error::Model(format!("{file}: preparation.{field}: found {found}, expected {expected}"))
        };
        if self.table.is_some() {
            return Err(wrong("table", "one".into(), "none, as the input has channels and dims".into()));
        }
        let Some(normalise) = self.normalise else {
            return Err(wrong("normalise", "none of it".into(), "z_score, range or none".into()));
        };
        if !normalise.is_sound() {
            let expected = "from and to, each a low and a high value, finite";
            return Err(wrong("normalise", format!("{normalise:?}"), expected.into()));
        }
        if input.channels != 1 {
            return Err(wrong("channels", input.channels.to_string(), "1, as a volume has".into()));
        }
        let newer = [
            ("orientation", self.orientation.is_some()),
            ("spacing", self.spacing.is_some()),
            ("resample", self.resample.is_some()),
            ("labels", self.labels.is_some()),
        ];
        let range = ("normalise", matches!(normalise, Normalise::Range { .. }));
        if let Some((field, _)) = newer.into_iter().chain([range]).find(|(_, given)| *given && version < 2) {
            return Err(wrong(field, format!("it in version {version}"), "graph.version 2".into()));
        }
        if let Some((field, _)) = newer[1..].iter().find(|(_, given)| *given && self.orientation.is_none()) {
            return Err(wrong("orientation", "none".into(), format!("three letters such as RAS beside {field}")));
        }
        if let Some((field, _)) = newer[2..].iter().find(|(_, given)| *given && self.spacing.is_none()) {
            return Err(wrong("spacing", "none".into(), format!("the voxels' sides in mm beside {field}")));
        }
        if let Some(spacing) = &self.spacing
            && (spacing.len() != if planar { 2 } else { 3 } || !spacing.iter().all(|s| (1e-3..=1e3).contains(s)))
        {
            let expected = format!("{} sides of 0.001 to 1000 mm", if planar { 2 } else { 3 });
            return Err(wrong("spacing", format!("{spacing:?}"), expected));
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

    /// Where the network's grid `target` lies in a volume; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file, if its axes or its spacing don't suit the model, or if it has several slices
    /// and the network is planar.
    pub fn placement(&self, volume: &Volume, target: [usize; 3], path: &Path) -> Result<Placement> {
        let wrong = |what: String| Error::Input(format!("{}: {what}", path.display()));
        let planar = self.pad_to.len() == 2;
        let axes = self.axes(volume).map_err(&wrong)?;
        let scales = self.scales(volume, axes).map_err(&wrong)?;
        let slices = scales[2].from;
        if planar && slices != 1 {
            return Err(wrong(format!("dim[3]: found {slices} slices, expected 1 for a planar model")));
        }
        let mismatch = || Error::Model("preparation.pad_to, crop: not as many sizes as the grid has axes".into());
        let pad = three(&self.pad_to, planar, 1).ok_or_else(mismatch)?;
        let margin = three(&self.crop, planar, 0).ok_or_else(mismatch)?;
        let labels = match self.labels {
            Some(Labels::Nearest) => Kernel::Nearest,
            Some(Labels::Linear) | None => Kernel::Linear,
        };
        let (stored, affine) = (volume.dims, volume.header.affine());
        let mut placement = Placement { axes, stored, scales, labels, planar, target, first: [0; 3], margin, affine };
        let source = placement.source();
        placement.first = [0, 1, 2].map(|a| (source[a] as i64 - pad[a] as i64).div_euclid(2) + margin[a] as i64);
        Ok(placement)
    }

    /// From the stored axes to the model's.
    fn axes(&self, volume: &Volume) -> std::result::Result<Axes, String> {
        let Some(orientation) = self.orientation else { return Ok(Axes::STORED) };
        let affine = volume.header.affine().ok_or(
            "orientation: found none (sform_code and qform_code are 0), expected one (--assume RAS, if you are sure that its \
             axes run to the right, anterior and superior)",
        )?;
        Axes::to(orientation, &affine)
    }

    /// From the volume's voxels, axes in the model's order, to the model's.
    fn scales(&self, volume: &Volume, axes: Axes) -> std::result::Result<[Scale; 3], String> {
        let dims = axes.dims(volume.dims);
        let mut scales = dims.map(Scale::none);
        let own = axes.order(volume.spacing());
        let wanted = self.spacing.as_deref().unwrap_or_default();
        for (a, &wanted) in wanted.iter().enumerate() {
            if (own[a] / wanted - 1.0).abs() > SAME_SPACING {
                scales[a] = Scale::new(dims[a], own[a], wanted);
            }
        }
        if self.resample == Some(Resample::None) && !scales.iter().all(Scale::is_none) {
            let wanted = wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
            let found = sides(own);
            return Err(format!(
                "spacing: found {found} mm, expected {wanted} mm (this model has scans resampled before)"
            ));
        }
        let count = scales.iter().try_fold(1usize, |n, s| n.checked_mul(s.to));
        if count.is_none_or(|n| n > MAX_VOXELS) {
            let sizes = scales.map(|s| s.to);
            return Err(format!(
                "spacing: {} mm makes {sizes:?} voxels of the model's, expected at most {MAX_VOXELS} in all",
                sides(own)
            ));
        }
        Ok(scales)
    }

    /// In words, what makes a volume's labels doubtful. A scan that can't be labelled rightly is refused elsewhere.
    pub fn doubts(&self, volume: &Volume, placement: &Placement) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.orientation.is_none() {
            return doubts;
        }
        doubts.extend(volume.header.doubts());
        let shear = placement.affine.map_or(0.0, |affine| affine.shear_degrees());
        if shear > SHEARED {
            doubts
                .push(format!("its axes are {shear:.1} degrees off right angles: the network sees a sheared picture"));
        }
        let far = |s: &Scale| s.step > FAR_SPACING || s.step < 1.0 / FAR_SPACING;
        if placement.scales.iter().any(far) {
            let (own, wanted) = (sides(volume.spacing()), self.spacing.as_deref().unwrap_or_default());
            doubts.push(format!("voxels of {own} mm are far from the model's {wanted:?}: outside the model's domain"));
        }
        doubts
    }

    /// The network's input in real numbers, `[D, H, W]`, and where it lies; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file, if the volume is constant or doesn't suit the model.
    pub fn prepare(&self, volume: &Volume, target: [usize; 3], path: &Path) -> Result<(Vec<f32>, Placement)> {
        let placement = self.placement(volume, target, path)?;
        let data = placement.on_model_grid(volume);
        let (mean, deviation) = self.normalise.unwrap_or(Normalise::None).line(&data);
        if !(deviation > 0.0 && deviation.is_finite()) {
            let path = path.display();
            return Err(Error::Input(format!("{path}: voxels: found a constant volume, expected varying values")));
        }
        let [low, high] = self.clamp.unwrap_or([f32::MIN, f32::MAX]);
        let value = |v: f64| (((v - mean) / deviation) as f32).clamp(low, high);
        let mut out = vec![0.0; target.iter().product()];
        placement.rows(|network, source, length| {
            let from = &data[source..source + length];
            out[network..network + length].iter_mut().zip(from).for_each(|(o, &v)| *o = value(v));
        });
        Ok((out, placement))
    }
}

/// Mean and population standard deviation.
fn moments(data: &[f64]) -> (f64, f64) {
    let count = data.len() as f64;
    let mean = data.iter().sum::<f64>() / count;
    let variance = data.iter().map(|&v| (v - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}
