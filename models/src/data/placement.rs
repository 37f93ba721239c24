//! Where the network's grid lies in a volume's: from the stored voxels to it, and from its labels back to them.
//!
//! The stored grid becomes the model's in up to three steps: its axes are put in the model's order, its voxels are
//! resampled to the model's spacing about the same centre, and the network's grid is cut out of it or padded about it.
//! The way back is the same in reverse; with equal spacing every step moves whole voxels, so it is exact.

use std::borrow::Cow;
use std::ops::Range;

use super::labels::LabelMap;
use crate::data::nifti::Volume;
use crate::data::nifti::geometry::{Affine, Axes};
use crate::data::nifti::resample::{self, Kernel, Scale, Taps};

/// Where the network's grid lies in a volume's.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// From the stored axes to the model's.
    pub(super) axes: Axes,
    /// The volume's grid as stored.
    pub(super) stored: [usize; 3],
    /// From the volume's voxels, axes in the model's order, to the model's.
    pub(super) scales: [Scale; 3],
    /// How labels come back to other voxels.
    pub(super) labels: Kernel,
    /// A planar network's D is the volume's third axis.
    pub(super) planar: bool,
    /// The network's grid.
    pub(super) target: [usize; 3],
    /// The model grid's position of the network's first voxel; negative where zeros come first.
    pub(super) first: [i64; 3],
    /// What the model takes off each end on purpose.
    pub(super) margin: [usize; 3],
    /// The box of the model's grid that the model keeps on purpose, where it isn't all of it.
    pub(super) kept: Option<[Range<usize>; 3]>,
    /// The volume's affine, where it states one.
    pub(super) affine: Option<Affine>,
}

/// What the network saw of a volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The part of the volume, 1 for all of it.
    pub share: f64,
    /// True if more was left out than the model's own margin: the labels are those of a part.
    pub part: bool,
    /// Lowest and highest coordinate of the box: in millimetres right, anterior, superior, or, where the file states no
    /// orientation, in voxels along i, j, k.
    pub bounds: [[f64; 2]; 3],
    /// True if the bounds are millimetres.
    pub millimetres: bool,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (names, unit) = if self.millimetres { (["R", "A", "S"], "mm") } else { (["i", "j", "k"], "voxels") };
        let sides: Vec<_> =
            names.iter().zip(self.bounds).map(|(name, [low, high])| format!("{name} {low:.1} to {high:.1}")).collect();
        write!(f, "{} {unit}, {:.1} % of the volume", sides.join(", "), 100.0 * self.share)
    }
}

impl Placement {
    /// The model's grid: the network's axes, the model's spacing, the whole volume.
    pub(super) fn source(&self) -> [usize; 3] {
        self.to_network(self.scales.map(|s| s.to))
    }

    /// The grid that is labelled.
    pub fn grid(&self) -> [usize; 3] {
        self.target
    }

    /// What is kept of the model's grid.
    pub(super) fn kept(&self) -> [Range<usize>; 3] {
        self.kept.clone().unwrap_or_else(|| self.source().map(|size| 0..size))
    }

    /// The values of what is kept.
    pub(super) fn kept_values(&self, data: &[f64]) -> Vec<f64> {
        let ([_, height, width], [d, h, w]) = (self.source(), self.kept());
        let row = |z: usize, y: usize| &data[(z * height + y) * width..][w.clone()];
        d.flat_map(|z| h.clone().flat_map(move |y| row(z, y))).copied().collect()
    }

    /// Axes of a volume in the order of the network's D, H, W.
    fn to_network<T>(&self, [i, j, k]: [T; 3]) -> [T; 3] {
        if self.planar { [k, i, j] } else { [i, j, k] }
    }

    /// The same back.
    fn to_volume<T>(&self, [d, h, w]: [T; 3]) -> [T; 3] {
        if self.planar { [h, w, d] } else { [d, h, w] }
    }

    /// The volume's values on the model's grid.
    pub(super) fn on_model_grid<'v>(&self, volume: &'v Volume) -> Cow<'v, [f64]> {
        let mut data = Cow::Borrowed(&volume.data[..]);
        if self.axes != Axes::STORED {
            data = Cow::Owned(self.axes.apply(&data, self.stored));
        }
        if !self.scales.iter().all(Scale::is_none) {
            let taps = self.scales.map(|s| s.taps(Kernel::Linear));
            data = Cow::Owned(resample::grid(data.into_owned(), self.scales.map(|s| s.from), &taps));
        }
        data
    }

    /// Along one axis, the positions of the model's grid that the network sees.
    fn overlap(&self, axis: usize) -> std::ops::Range<usize> {
        let Range { start, end } = self.kept()[axis].clone();
        let from = self.first[axis].clamp(start as i64, end as i64) as usize;
        let end = (self.first[axis] + self.target[axis] as i64).clamp(start as i64, end as i64) as usize;
        from..end.max(from)
    }

    /// Calls `row(network index, model grid index, length)` for each run of voxels that both grids have.
    pub(super) fn rows(&self, mut row: impl FnMut(usize, usize, usize)) {
        let network = |at: usize, a: usize| (at as i64 - self.first[a]) as usize;
        let (columns, source) = (self.overlap(2), self.source());
        if columns.is_empty() {
            return;
        }
        for i in self.overlap(0) {
            for j in self.overlap(1) {
                let plane = network(i, 0) * self.target[1] + network(j, 1);
                let from = (i * source[1] + j) * source[2] + columns.start;
                row(plane * self.target[2] + network(columns.start, 2), from, columns.len());
            }
        }
    }

    /// What the network sees of the volume.
    pub fn seen(&self) -> Seen {
        let (source, overlap) = (self.source(), [0, 1, 2].map(|a| self.overlap(a)));
        let share = (0..3).map(|a| overlap[a].len() as f64 / source[a] as f64).product();
        // The margin belongs to the padded grid, which the volume may not fill.
        let kept = self.kept();
        let part = (0..3).any(|a| kept[a].len() > self.target[a] + 2 * self.margin[a]);
        // Corners in the middle of whose voxels indices are whole.
        let edges = self.to_volume([0, 1, 2].map(|a| [overlap[a].start as f64 - 0.5, overlap[a].end as f64 - 0.5]));
        let places = [0, 1, 2].map(|a| edges[a].map(|at| self.scales[a].place(at)));
        let (affine, millimetres) = match self.affine {
            Some(affine) => (self.axes.affine(&affine, self.stored), true),
            None => (Affine([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]), false),
        };
        let mut bounds = [[f64::INFINITY, f64::NEG_INFINITY]; 3];
        for corner in 0..8 {
            let at = affine.apply([0, 1, 2].map(|a| places[a][corner >> a & 1]));
            for (bound, v) in bounds.iter_mut().zip(at) {
                *bound = [bound[0].min(v), bound[1].max(v)];
            }
        }
        Seen { share, part, bounds, millimetres }
    }

    /// Labels of the network's grid on the volume's own grid; what the network didn't see is background (0).
    ///
    /// # Panics
    /// If `labels` isn't one per voxel of the network's grid.
    pub fn restore(&self, labels: &[u8], volume: &Volume) -> LabelMap {
        assert_eq!(labels.len(), self.target.iter().product::<usize>(), "a label per voxel of the network's grid");
        let oriented = if self.scales.iter().all(Scale::is_none) {
            let mut data = vec![0; volume.data.len()];
            self.rows(|network, source, length| {
                data[source..source + length].copy_from_slice(&labels[network..network + length]);
            });
            data
        } else {
            self.resampled(labels)
        };
        let data = self.axes.undo(&oriented, self.stored);
        LabelMap { dims: volume.dims, data, header: volume.header.clone() }
    }

    /// Labels on the volume's voxels, axes in the model's order: each label's share of a voxel is interpolated, one
    /// label at a time, and the largest wins; a tie goes to the lower label.
    fn resampled(&self, labels: &[u8]) -> Vec<u8> {
        /// Shares that are equal but for rounding.
        const TIE: f64 = 1e-9;
        let whole = self.to_network(self.scales.map(|s| s.from));
        let parts = self.to_network([0, 1, 2].map(|a| self.scales[a].back().taps(self.labels)));
        // Only voxels that touch the network's grid: the others stay background.
        let cut = [0, 1, 2].map(|a| self.seen_taps(&parts[a], a));
        let [(start_d, d), (start_h, h), (start_w, w)] = &cut;
        let (starts, taps) = ([*start_d, *start_h, *start_w], [d, h, w].map(Taps::clone));
        let sizes = [0, 1, 2].map(|a| taps[a].len());
        let count: usize = sizes.iter().product();
        let (mut best, mut share, mut rest) = (vec![0u8; count], vec![0.0f64; count], vec![1.0f64; count]);
        let highest = labels.iter().copied().max().unwrap_or(0);
        for label in (1..=highest).filter(|l| labels.contains(l)) {
            let indicator = labels.iter().map(|&l| f64::from(u8::from(l == label))).collect();
            let one = resample::grid(indicator, self.target, &taps);
            for (at, value) in one.into_iter().enumerate() {
                rest[at] -= value;
                if value > share[at] + TIE {
                    (best[at], share[at]) = (label, value);
                }
            }
        }
        let mut out = vec![0; whole.iter().product()];
        for (at, &label) in best.iter().enumerate().filter(|(at, _)| share[*at] > rest[*at] + TIE) {
            let place = [at / (sizes[1] * sizes[2]), at / sizes[2] % sizes[1], at % sizes[2]];
            let [d, h, w] = [0, 1, 2].map(|a| starts[a] + place[a]);
            out[(d * whole[1] + h) * whole[2] + w] = label;
        }
        out
    }

    /// The taps of one axis as positions of the network's grid, without those beyond it, and the first voxel that has
    /// any.
    fn seen_taps(&self, taps: &Taps, axis: usize) -> (usize, Taps) {
        let kept = self.kept()[axis].clone();
        let inside = |at: usize| {
            let place = at as i64 - self.first[axis];
            usize::try_from(place).ok().filter(|p| *p < self.target[axis] && kept.contains(&at))
        };
        let cut = |parts: &Vec<(usize, f64)>| parts.iter().filter_map(|&(at, w)| Some((inside(at)?, w))).collect();
        let all: Vec<Vec<_>> = taps.iter().map(cut).collect();
        let some = |parts: &Vec<(usize, f64)>| !parts.is_empty();
        let start = all.iter().position(some).unwrap_or(0);
        let end = all.iter().rposition(some).map_or(start, |last| last + 1);
        (start, all[start..end].to_vec())
    }
}
