//! Grids of another spacing about the same centre: which voxels of one make up a voxel of the other.

/// From this many voxels to one on the first grid is smoothed, as else fine detail would come back as coarse noise: by
/// a Gaussian of deviation (voxels to one - 1) / 2, as in scikit-image and MONAI.
const ANTIALIAS: f64 = 1.5;
/// Where that Gaussian ends, in deviations.
const TRUNCATE: f64 = 4.0;

/// For each place along one axis, the places of the other grid that it is made of and how much of each.
pub type Taps = Vec<Vec<(usize, f64)>>;

/// How values between voxels are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// By straight lines between neighbours, of a smoothed grid where the other one is much coarser.
    Linear,
    /// The nearest.
    Nearest,
}

/// One axis of two grids with the same centre.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Voxels of the first grid.
    pub from: usize,
    /// Voxels of the second.
    pub to: usize,
    /// A side of the second grid's voxels in those of the first.
    pub step: f64,
}

impl Scale {
    /// From voxels of side `own` to those of side `wanted`, as many as come nearest to the same length.
    pub fn new(from: usize, own: f64, wanted: f64) -> Self {
        let to = (from as f64 * own / wanted).round().max(1.0);
        // As saturating as it is cast: a size beyond memory is found out by its user.
        Self { from, to: to as usize, step: wanted / own }
    }

    /// The same grid.
    pub fn none(size: usize) -> Self {
        Self { from: size, to: size, step: 1.0 }
    }

    /// True where both grids are one.
    pub fn is_none(&self) -> bool {
        self.from == self.to && self.step == 1.0
    }

    /// From the second grid to the first.
    pub fn back(&self) -> Self {
        Self { from: self.to, to: self.from, step: 1.0 / self.step }
    }

    /// The place in the first grid of a place in the second.
    pub fn place(&self, at: f64) -> f64 {
        (at - (self.to as f64 - 1.0) / 2.0) * self.step + (self.from as f64 - 1.0) / 2.0
    }

    /// What each voxel of the second grid is made of; the parts sum to 1. Beyond the first grid's ends its last voxels
    /// go on.
    pub fn taps(&self, kernel: Kernel) -> Taps {
        (0..self.to).map(|at| self.taps_at(at, kernel)).collect()
    }

    fn taps_at(&self, at: usize, kernel: Kernel) -> Vec<(usize, f64)> {
        let last = self.from - 1;
        let place = self.place(at as f64);
        if self.is_none() || kernel == Kernel::Nearest {
            // Half-way places go to the middle of the grid, so that a grid turned round gives the same.
            let middle = last as f64 / 2.0;
            let nearest = if place > middle { (place - 0.5).ceil() } else { (place + 0.5).floor() };
            return vec![(nearest.clamp(0.0, last as f64) as usize, 1.0)];
        }
        let place = place.clamp(0.0, last as f64);
        let deviation = if self.step > ANTIALIAS { (self.step - 1.0) / 2.0 } else { 0.0 };
        let reach = (TRUNCATE * deviation).ceil();
        let first = (place.floor() - reach).max(0.0) as usize;
        let end = ((place.ceil() + reach) as usize).min(last);
        let smoothed = |distance: f64| match deviation {
            0.0 => f64::from(u8::from(distance == 0.0)),
            deviation => (-0.5 * (distance / deviation).powi(2)).exp(),
        };
        let (low, part) = (place.floor(), place - place.floor());
        let weight = |v: usize| {
            let distance = v as f64 - low;
            (1.0 - part) * smoothed(distance) + part * smoothed(distance - 1.0)
        };
        let taps: Vec<_> = (first..=end).map(|v| (v, weight(v))).filter(|(_, w)| *w > 0.0).collect();
        let sum: f64 = taps.iter().map(|(_, w)| w).sum();
        taps.into_iter().map(|(v, w)| (v, w / sum)).collect()
    }
}

/// Values with one axis of `dims` replaced by what `taps` makes of it.
pub fn along(data: &[f64], dims: [usize; 3], axis: usize, taps: &[Vec<(usize, f64)>]) -> Vec<f64> {
    let inner: usize = dims[axis + 1..].iter().product();
    let mut out = Vec::with_capacity(data.len() / dims[axis] * taps.len());
    for block in data.chunks_exact(dims[axis] * inner) {
        for parts in taps {
            let from = out.len();
            out.resize(from + inner, 0.0);
            for &(at, weight) in parts {
                let row = &block[at * inner..(at + 1) * inner];
                out[from..].iter_mut().zip(row).for_each(|(o, v)| *o += weight * v);
            }
        }
    }
    out
}

/// All three axes, those that shrink most first, so that nothing between is larger than both ends.
pub fn grid(mut data: Vec<f64>, mut dims: [usize; 3], taps: &[Taps; 3]) -> Vec<f64> {
    let mut axes = [0, 1, 2];
    axes.sort_by(|&a, &b| (taps[a].len() * dims[b]).cmp(&(taps[b].len() * dims[a])));
    for axis in axes {
        data = along(&data, dims, axis, &taps[axis]);
        dims[axis] = taps[axis].len();
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_ramps_stay_and_ends_go_on() {
        let ramp: Vec<f64> = (0..40).map(f64::from).collect();
        for wanted in [0.4, 0.5, 0.9, 1.0, 1.3, 1.7, 2.0, 3.0] {
            let scale = Scale::new(40, 1.0, wanted);
            let out = along(&ramp, [1, 1, 40], 2, &scale.taps(Kernel::Linear));
            assert_eq!(out.len(), scale.to);
            for (at, value) in out.iter().enumerate() {
                let place = scale.place(at as f64);
                // Away from the ends a straight line is kept, however much it is smoothed.
                if (6.0..=33.0).contains(&place) {
                    assert!((value - place).abs() < 1e-12, "{wanted}: {value} at {place}");
                }
                assert!((0.0..=39.0).contains(value));
            }
            // Turned round, the same turned round.
            let turned: Vec<f64> = ramp.iter().rev().copied().collect();
            let back = along(&turned, [1, 1, 40], 2, &scale.taps(Kernel::Linear));
            assert!(out.iter().zip(back.iter().rev()).all(|(a, b)| (a - b).abs() < 1e-12));
        }
        assert!(Scale::new(7, 1.0, 1.0).is_none());
    }

    #[test]
    fn fine_detail_is_averaged_away() {
        let stripes: Vec<f64> = (0..24).map(|v| f64::from(v % 2)).collect();
        let out = along(&stripes, [24, 1, 1], 0, &Scale::new(24, 1.0, 3.0).taps(Kernel::Linear));
        assert!(out.iter().all(|v| (v - 0.5).abs() < 0.2), "{out:?}");
    }

    #[test]
    fn axes_are_independent() {
        let dims = [4, 6, 5];
        let data: Vec<f64> = (0..120).map(|v| f64::from(v * v % 17)).collect();
        let taps = [Scale::new(4, 1.0, 0.7), Scale::new(6, 1.0, 2.0), Scale::none(5)].map(|s| s.taps(Kernel::Linear));
        let sizes = [0, 1, 2].map(|a| taps[a].len());
        let out = grid(data.clone(), dims, &taps);
        for a in 0..sizes[0] {
            for b in 0..sizes[1] {
                for c in 0..sizes[2] {
                    let mut sum = 0.0;
                    for &(i, u) in &taps[0][a] {
                        for &(j, v) in &taps[1][b] {
                            sum += taps[2][c].iter().map(|&(k, w)| u * v * w * data[(i * 6 + j) * 5 + k]).sum::<f64>();
                        }
                    }
                    assert!((out[(a * sizes[1] + b) * sizes[2] + c] - sum).abs() < 1e-12);
                }
            }
        }
    }
}
