//! The client's side of a model: from a scan to the network's input.
//!
//! Axes in the model's order, voxels of the model's size, cut to the foreground where the model says so, normalised,
//! clamped, then cropped or zero padded about the centre: to `pad_to` and `crop` voxels off every side, to multiples of
//! `divisor`, or at least to a window. The network's D, H, W are the i, j, k of that grid; a planar network's H, W are i,
//! j of a volume with one slice. [`Placement`] is the way back.

use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::normalise::Line;
pub use super::normalise::Normalise;
pub use super::placement::{Placement, Seen};
use super::table::Table;

use crate::data::nifti::geometry::{Axes, Orientation, sides};
use crate::data::nifti::resample::{Kernel, Scale};
use crate::data::nifti::{MAX_VOXELS, Volume};
use crate::error::{Error, Result};
use crate::network::Shape;
use crate::windows::Sliding;

/// How far a voxel's side may be from the model's, as a part of it, to count as the same.
const SAME_SPACING: f64 = 1e-3;
/// A ratio of sides from which on resampling can't give what the model was trained on.
const FAR_SPACING: f64 = 4.0;
/// The longest name of a channel, in bytes.
const MAX_NAME: usize = 200;
/// Degrees off a right angle from which on the network sees a sheared picture.
const SHEARED: f64 = 1.0;

/// How a volume is prepared. Part of a bundle.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// What makes the intensities comparable; for a network of several channels, `channels` in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalise: Option<Normalise>,
    /// The scan's channels in their order. Since version 2, as all that follow but `crop` as a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<Channel>,
    /// Lowest and highest value after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clamp: Option<[f32; 2]>,
    /// The grid to crop or zero pad to about the centre: `[i, j, k]`, or `[i, j]` for a planar network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pad_to: Vec<usize>,
    /// In the place of `pad_to`: all of the volume is labelled, zero padded to multiples of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub divisor: Vec<usize>,
    /// Beside `divisor` or in its place: how the padded volume goes through the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Voxels then taken off both ends of each axis, or the foreground to which the volume is cut before it is
    /// normalised.
    #[serde(default, skip_serializing_if = "Crop::is_none")]
    pub crop: Crop,
    /// Of a network of rows, in the place of all other keys. Since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Table>,
}

/// One of a scan's channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// What it is, such as `CT` or `FLAIR`.
    pub name: String,
    /// What makes its intensities comparable.
    pub normalise: Normalise,
}

/// How a padded volume goes through the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"whole\" or {size, overlap, blend, sigma, grid}")]
pub enum Window {
    /// In one pass.
    Whole(Whole),
    /// In windows, whose scores are blended.
    Sliding(Sliding),
}

/// The word `whole`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whole {
    /// In one pass.
    Whole,
}

/// What is cut off a volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of voxels an axis or {above, margin}")]
pub enum Crop {
    /// So many voxels at both ends of each axis.
    Ends(Vec<usize>),
    /// All but the box of what is foreground.
    Foreground(Foreground),
}

/// The box of the voxels of which a channel lies above a value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Foreground {
    /// In the scan's own units.
    pub above: f64,
    /// Voxels more on all sides.
    #[serde(default)]
    pub margin: usize,
}

impl Default for Crop {
    fn default() -> Self {
        Self::Ends(Vec::new())
    }
}

impl Crop {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// At both ends of each axis.
    fn ends(&self) -> &[usize] {
        match self {
            Self::Ends(ends) => ends,
            Self::Foreground(_) => &[],
        }
    }

    /// The same, of three axes.
    fn margins(&self, planar: bool) -> Option<[usize; 3]> {
        match self {
            Self::Ends(ends) => three(ends, planar, 0),
            Self::Foreground(_) => Some([0; 3]),
        }
    }

    fn foreground(&self) -> Option<Foreground> {
        match self {
            Self::Ends(_) => None,
            Self::Foreground(foreground) => Some(*foreground),
        }
    }
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
        if let Some(table) = &self.table {
            return table.clip;
        }
        let each = || self.rules().map(Normalise::bounds);
        // What is padded is 0.
        let wide = |[low, high]: [f64; 2], [a, b]: [f64; 2]| [low.min(a), high.max(b)];
        let all = each().try_fold([0.0; 2], |range, bounds| bounds.map(|bounds| wide(range, bounds)));
        self.clamp.or_else(|| all.map(|range| range.map(|v| v as f32)))
    }

    /// The rule of each channel.
    fn rules(&self) -> impl Iterator<Item = Normalise> + '_ {
        self.normalise.into_iter().chain(self.channels.iter().map(|c| c.normalise))
    }

    /// How many volumes, or channels of one, are taken.
    pub fn count(&self) -> usize {
        self.channels.len().max(1)
    }

    /// How windows lie, where the network runs in such.
    pub fn sliding(&self) -> Option<&Sliding> {
        match &self.window {
            Some(Window::Sliding(sliding)) => Some(sliding),
            Some(Window::Whole(_)) | None => None,
        }
    }

    /// Whether the network's grid is a scan's own, padded, in the place of one for all.
    pub fn is_of_any_size(&self) -> bool {
        !self.divisor.is_empty() || self.window.is_some()
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
        let alone = Self { table: self.table.clone(), ..Self::default() };
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
        self.check_channels(input.channels, &wrong)?;
        let newer = [
            ("orientation", self.orientation.is_some()),
            ("spacing", self.spacing.is_some()),
            ("resample", self.resample.is_some()),
            ("labels", self.labels.is_some()),
        ];
        let others = [
            ("normalise", self.normalise.is_some_and(|n| !n.is_old())),
            ("channels", !self.channels.is_empty()),
            ("divisor", !self.divisor.is_empty()),
            ("window", self.window.is_some()),
            ("crop", self.crop.foreground().is_some()),
        ];
        if let Some((field, _)) = newer.into_iter().chain(others).find(|(_, given)| *given && version < 2) {
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
        self.check_grid(input, planar, &wrong)
    }

    /// One rule a channel, each sound.
    fn check_channels(&self, channels: usize, wrong: &dyn Fn(&str, String, String) -> Error) -> Result<()> {
        match (self.normalise, self.channels.len()) {
            (Some(_), 0) if channels == 1 => {}
            (Some(_), 0) => {
                let expected = format!("the {channels} that the network's input has, in channels");
                return Err(wrong("normalise", "one for a channel".into(), expected));
            }
            (None, 0) => {
                let expected = "z_score, range, percentiles, ct or none";
                return Err(wrong("normalise", "none of it".into(), expected.into()));
            }
            (Some(_), _) => return Err(wrong("normalise", "it beside channels".into(), "one of both".into())),
            (None, count) if count != channels => {
                return Err(wrong("channels", count.to_string(), format!("{channels}, as the network's input has")));
            }
            (None, _) => {}
        }
        if let Some(rule) = self.rules().find(|rule| !rule.is_sound()) {
            let expected = "from and to or clip, each a low and a high value, finite, and deviations above 0";
            return Err(wrong("normalise", format!("{rule:?}"), expected.into()));
        }
        let bad = |c: &&Channel| c.name.len() > MAX_NAME || c.name.chars().any(char::is_control);
        match self.channels.iter().find(bad) {
            Some(channel) => {
                let shown: String = channel.name.chars().take(40).collect();
                let expected = format!("names of at most {MAX_NAME} bytes, no control characters");
                Err(wrong("channels", format!("{shown:?}"), expected))
            }
            None => Ok(()),
        }
    }

    /// One grid for all that is the network's, or such as it takes.
    fn check_grid(&self, input: Shape, planar: bool, wrong: &dyn Fn(&str, String, String) -> Error) -> Result<()> {
        if let Some(Foreground { above, .. }) = self.crop.foreground().filter(|f| !f.above.is_finite()) {
            return Err(wrong("crop.above", above.to_string(), "a finite value".into()));
        }
        let native = if planar { &input.dims[1..] } else { &input.dims[..] };
        if !self.is_of_any_size() {
            let sizes = three(&self.pad_to, planar, 1).zip(self.crop.margins(planar));
            let target = sizes.map(|(pad, crop)| {
                let side = |a: usize| crop[a].checked_mul(2).and_then(|c| pad[a].checked_sub(c));
                [side(0), side(1), side(2)]
            });
            if target != Some(input.dims.map(Some)) {
                let found = format!("{:?} less twice {:?}", self.pad_to, self.crop.ends());
                return Err(wrong("pad_to, crop", found, format!("the input's {:?}", input.dims)));
            }
            return Ok(());
        }
        if !self.pad_to.is_empty() || !self.crop.ends().is_empty() {
            return Err(wrong("pad_to, crop", "a grid beside divisor or window".into(), "one of both".into()));
        }
        if let Some((field, found, expected)) = self.sliding().and_then(|s| s.fault(native)) {
            return Err(wrong(&format!("window.{field}"), found, expected));
        }
        let fits = |(d, n): (&usize, &usize)| *d > 0 && n.is_multiple_of(*d);
        let every = self.divisor.len() == native.len() && self.divisor.iter().zip(native).all(fits);
        match self.divisor.is_empty() {
            true if self.sliding().is_some() => Ok(()),
            false if every => Ok(()),
            _ => Err(wrong("divisor", format!("{:?}", self.divisor), format!("divisors of the input's {native:?}"))),
        }
    }

    /// Where the grid that is labelled lies in a scan, given the network's own grid; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file, if its axes or its spacing don't suit the model, or if it has several slices
    /// and the network is planar.
    pub fn placement(&self, scan: &[Volume], (native, planar): ([usize; 3], bool), path: &Path) -> Result<Placement> {
        let wrong = |what: String| Error::Input(format!("{}: {what}", path.display()));
        let volume = scan.first().ok_or_else(|| wrong("no channels".into()))?;
        let axes = self.axes(volume).map_err(&wrong)?;
        let scales = self.scales(volume, axes).map_err(&wrong)?;
        let slices = scales[2].from;
        if planar && slices != 1 {
            return Err(wrong(format!("dim[3]: found {slices} slices, expected 1 for a planar model")));
        }
        let labels = match self.labels {
            Some(Labels::Nearest) => Kernel::Nearest,
            Some(Labels::Linear) | None => Kernel::Linear,
        };
        let (stored, affine) = (volume.dims, volume.header.affine());
        let (first, margin, kept) = ([0; 3], [0; 3], None);
        let mut placement =
            Placement { axes, stored, scales, labels, planar, target: native, first, margin, kept, affine };
        if let Some(foreground) = self.crop.foreground() {
            placement.kept = Some(foreground_box(scan, &placement, foreground).ok_or_else(|| {
                wrong(format!("voxels: found none above {}, expected some, to which the scan is cut", foreground.above))
            })?);
        }
        let source = placement.kept();
        let mismatch = || Error::Model("preparation: not as many sizes as the grid has axes".into());
        if self.is_of_any_size() {
            let divisor =
                if self.divisor.is_empty() { [1; 3] } else { three(&self.divisor, planar, 1).ok_or_else(mismatch)? };
            let least = if self.sliding().is_some() { native } else { [1; 3] };
            placement.target = [0, 1, 2].map(|a| source[a].len().max(least[a]).next_multiple_of(divisor[a]));
            // As MONAI and nnU-Net pad: half before, and where that is no whole number one more behind.
            placement.first =
                [0, 1, 2].map(|a| source[a].start as i64 - ((placement.target[a] - source[a].len()) / 2) as i64);
        } else {
            let pad = three(&self.pad_to, planar, 1).ok_or_else(mismatch)?;
            placement.margin = self.crop.margins(planar).ok_or_else(mismatch)?;
            placement.first = [0, 1, 2].map(|a| {
                let middle = (source[a].len() as i64 - pad[a] as i64).div_euclid(2);
                source[a].start as i64 + middle + placement.margin[a] as i64
            });
        }
        if placement.target.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).is_none_or(|n| n > MAX_VOXELS) {
            let found = placement.target;
            return Err(wrong(format!("found a padded grid of {found:?}, expected at most {MAX_VOXELS} voxels")));
        }
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

    /// A scan in real numbers, `[channels, D, H, W]`, on the grid that is labelled, and where that lies; `path` is for
    /// messages.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file, if a channel is constant or missing, or the scan doesn't suit the model.
    pub fn prepare(&self, scan: &[Volume], native: ([usize; 3], bool), path: &Path) -> Result<(Vec<f32>, Placement)> {
        let wrong = |what: String| Error::Input(format!("{}: {what}", path.display()));
        if scan.len() != self.count() {
            let names: Vec<_> = self.channels.iter().map(|c| c.name.as_str()).collect();
            let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
            let (found, expected) = (scan.len(), self.count());
            return Err(wrong(format!("channels: found {found}, expected {expected}{names}")));
        }
        let placement = self.placement(scan, native, path)?;
        let [low, high] = self.clamp.unwrap_or([f32::MIN, f32::MAX]);
        let mut out = Vec::with_capacity(scan.len() * placement.target.iter().product::<usize>());
        for (volume, rule) in scan.iter().zip(self.rules()) {
            let data = placement.on_model_grid(volume);
            let line: Line = match placement.kept {
                Some(_) => rule.line(&placement.kept_values(&data)),
                None => rule.line(&data),
            };
            if !line.is_sound() {
                return Err(wrong("voxels: found a constant volume, expected varying values".into()));
            }
            let from = out.len();
            out.resize(from + placement.target.iter().product::<usize>(), 0.0);
            let channel = &mut out[from..];
            placement.rows(|network, source, length| {
                let values = data[source..source + length].iter();
                let to = channel[network..network + length].iter_mut();
                to.zip(values).for_each(|(o, &v)| *o = (line.apply(v) as f32).clamp(low, high));
            });
        }
        Ok((out, placement))
    }
}

/// The box on the model's grid of the voxels of which a channel lies above a value, wider by a margin.
fn foreground_box(scan: &[Volume], placement: &Placement, foreground: Foreground) -> Option<[Range<usize>; 3]> {
    let [depth, height, width] = placement.source();
    let mut found: Option<[Range<usize>; 3]> = None;
    for volume in scan {
        let data = placement.on_model_grid(volume);
        for (at, _) in data.iter().enumerate().filter(|(_, v)| **v > foreground.above) {
            let place = [at / (height * width), at / width % height, at % width];
            let all = found.get_or_insert_with(|| place.map(|p| p..p + 1));
            for (range, p) in all.iter_mut().zip(place) {
                *range = range.start.min(p)..range.end.max(p + 1);
            }
        }
    }
    let (sizes, margin) = ([depth, height, width], foreground.margin);
    found.map(|all| [0, 1, 2].map(|a| all[a].start.saturating_sub(margin)..(all[a].end + margin).min(sizes[a])))
}
