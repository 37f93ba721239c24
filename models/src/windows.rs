//! Windows over a grid that is larger than the network's, and how their scores are weighed: public numbers alone.
//!
//! Scores are summed with integer weights, of which only the ratios at one voxel count: the sums need no division before
//! the largest is found. A weight is the product of one number an axis, rounded to 10 bits and at least 1, so that it is
//! the same on every machine that has the numbers. Rows of the slowest axis to which no later window adds are done: they
//! are compared and leave memory.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The most windows over one grid.
pub const MAX_WINDOWS: usize = 1 << 16;
/// The most windows that a place lies in along an axis.
const MAX_OVER: usize = 32;
/// The longest axis of a grid.
const MAX_SIDE: usize = 1 << 16;
/// Signed width of scores that are blended: with 14 bits of weights their sums have 31.
pub const SCORE_BITS: u32 = 17;
/// The widest sum of weighted scores, signed, that can be compared.
pub const MAX_SUM_BITS: u32 = 31;
/// The largest weight, 10 bits: the smallest is 1, about MONAI's floor of a thousandth.
const TOP: u64 = (1 << 10) - 1;
/// The largest number of an axis.
const UNIT: u64 = u16::MAX as u64;

/// How a bundle says that its network runs in windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sliding {
    /// The window's sides in voxels, which are the network's own: `[i, j, k]` or `[i, j]`.
    pub size: Vec<usize>,
    /// The part of a side that neighbours share, 0 to 0.9.
    #[serde(default = "half")]
    pub overlap: f64,
    /// How a window's scores are weighed.
    #[serde(default)]
    pub blend: Blend,
    /// The Gaussian's deviation as a part of a side.
    #[serde(default = "eighth")]
    pub sigma: f64,
    /// Where windows lie.
    #[serde(default)]
    pub grid: Positions,
}

fn half() -> f64 {
    0.5
}

fn eighth() -> f64 {
    0.125
}

/// How a window's scores are weighed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blend {
    /// By a Gaussian about the window's centre.
    #[default]
    Gaussian,
    /// All alike.
    Constant,
}

/// Where windows lie along an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// At equal steps, the last one moved back to the grid's end.
    #[default]
    Monai,
    /// Spread evenly from end to end.
    Nnunet,
}

impl Sliding {
    /// In words, what is wrong: the field, what was found, what was expected.
    pub(crate) fn fault(&self, native: &[usize]) -> Option<(&'static str, String, String)> {
        let found = |value: f64| value.to_string();
        if self.size != native {
            return Some(("size", format!("{:?}", self.size), format!("the network's own {native:?}")));
        }
        if !(0.0..=0.9).contains(&self.overlap) {
            return Some(("overlap", found(self.overlap), "0 to 0.9".into()));
        }
        (!(0.01..=10.0).contains(&self.sigma)).then(|| ("sigma", found(self.sigma), "0.01 to 10".into()))
    }

    /// First voxels of the windows of `size` along an axis of `length` voxels, no fewer.
    fn starts(&self, size: usize, length: usize) -> Vec<usize> {
        let last = length - size;
        if last == 0 {
            return vec![0];
        }
        match self.grid {
            Positions::Monai => {
                let step = ((size as f64 * (1.0 - self.overlap)) as usize).max(1);
                (0..=last.div_ceil(step)).map(|n| (n * step).min(last)).collect()
            }
            Positions::Nnunet => {
                let steps = (last as f64 / (size as f64 * (1.0 - self.overlap))).ceil().max(1.0);
                let step = last as f64 / steps;
                (0..=steps as usize).map(|n| (step * n as f64).round_ties_even() as usize).collect()
            }
        }
    }

    /// The numbers of an axis.
    fn numbers(&self, size: usize) -> Vec<u16> {
        let centre = (size as f64 - 1.0) / 2.0;
        let deviation = self.sigma * size as f64;
        let number = |at: usize| match self.blend {
            Blend::Gaussian => (UNIT as f64 * (-0.5 * ((at as f64 - centre) / deviation).powi(2)).exp()).round() as u16,
            // Nothing of a product is left but the least weight.
            Blend::Constant => 0,
        };
        (0..size).map(number).collect()
    }

    /// Windows of `size` over a grid.
    ///
    /// # Errors
    /// [`Error::Input`] where there are too many, or the grid is smaller than a window.
    pub fn over(&self, size: [usize; 3], grid: [usize; 3]) -> Result<Windows> {
        if (0..3).any(|a| grid[a] < size[a]) {
            return Err(Error::Input(format!("windows: found a grid of {grid:?}, expected at least {size:?}")));
        }
        let starts = [0, 1, 2].map(|a| self.starts(size[a], grid[a]));
        let windows = Windows { grid, starts, numbers: size.map(|n| self.numbers(n)), halo: [0; 3] };
        match windows.fault() {
            Some(what) => Err(Error::Input(format!("windows: {what}"))),
            None => Ok(windows),
        }
    }
}

/// Windows that cover a grid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// D, H, W of what is labelled.
    pub grid: [usize; 3],
    /// First voxels along each axis, rising from 0; the last window ends with the grid.
    pub starts: [Vec<usize>; 3],
    /// A number for each place of a window along each axis: weights are proportional to their products.
    pub numbers: [Vec<u16>; 3],
    /// Places of a window that are nearer than this to an end of it inside the grid don't count: what they hold depends on
    /// voxels beyond the window.
    pub halo: [usize; 3],
}

impl Windows {
    /// Windows of `size` along one axis of a grid, whole along the others, of which all places beyond a halo count alike.
    /// Call with a size above twice the halo and at most the axis' length.
    pub(crate) fn along(axis: usize, grid: [usize; 3], size: usize, halo: usize) -> Self {
        let (step, last) = (size - 2 * halo, grid[axis] - size);
        let mut starts: [Vec<usize>; 3] = Default::default();
        starts.iter_mut().for_each(|s| s.push(0));
        starts[axis] = (0..=last.div_ceil(step)).map(|n| (n * step).min(last)).collect();
        let side = |a: usize| if a == axis { size } else { grid[a] };
        let numbers = [0, 1, 2].map(|a| vec![0; side(a)]);
        Self { grid, starts, numbers, halo: [0, 1, 2].map(|a| if a == axis { halo } else { 0 }) }
    }

    /// The places that count along an axis of a window whose first voxel lies at `first` there.
    fn counted(&self, axis: usize, first: usize) -> Range<usize> {
        let (size, halo) = (self.numbers[axis].len(), self.halo[axis]);
        let from = if first == 0 { 0 } else { halo };
        from..if first + size == self.grid[axis] { size } else { size - halo }
    }

    /// A window's D, H, W.
    pub fn size(&self) -> [usize; 3] {
        [0, 1, 2].map(|a| self.numbers[a].len())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.starts.iter().map(Vec::len).product()
    }

    /// In words, what is wrong with windows from a peer.
    pub fn fault(&self) -> Option<String> {
        let count = self.starts.iter().try_fold(1usize, |n, s| n.checked_mul(s.len()));
        if !count.is_some_and(|n| (1..=MAX_WINDOWS).contains(&n)) {
            let each: Vec<_> = self.starts.iter().map(|s| s.len().to_string()).collect();
            return Some(format!("found {} windows, expected 1 to {MAX_WINDOWS}", each.join(" x ")));
        }
        for (axis, size) in self.size().into_iter().enumerate() {
            let (starts, length) = (&self.starts[axis], self.grid[axis]);
            let counted = size.saturating_sub(self.halo[axis].saturating_mul(2));
            let joined = starts.windows(2).all(|s| s[0] < s[1] && s[1] <= s[0].saturating_add(counted));
            let few = starts.iter().zip(starts.iter().skip(MAX_OVER)).all(|(a, b)| b.saturating_sub(*a) >= size);
            let ends = starts.last().and_then(|last| last.checked_add(size)) == Some(length);
            if size == 0 || length > MAX_SIDE || starts.first() != Some(&0) || !joined || !few || !ends {
                return Some(format!("those along axis {axis} don't cover {length} voxels"));
            }
        }
        None
    }

    /// The weight of a place in a window, 1 to 1023.
    pub fn weight(&self, at: [usize; 3]) -> u32 {
        const ONE: u64 = UNIT * UNIT * UNIT;
        let product: u64 = (0..3).map(|a| u64::from(self.numbers[a][at[a]])).product();
        ((product * TOP + ONE / 2) / ONE).max(1) as u32
    }

    /// Bits of the largest sum of weights at a voxel, rounded up: sums of scores have so many more.
    pub fn weight_bits(&self) -> u32 {
        // A sum of products is at most the product of the axes' sums; rounding adds less than one a window.
        let (mut sums, mut counts) = (1.0, 1.0);
        for (starts, numbers) in self.starts.iter().zip(&self.numbers) {
            let end = starts.last().map_or(0, |last| last + numbers.len());
            let (mut sum, mut count) = (0, 0);
            for (n, &start) in starts.iter().enumerate() {
                for at in start..starts.get(n + 1).copied().unwrap_or(end) {
                    let over = starts[..=n].iter().rev().map(|s| at - s).take_while(|place| *place < numbers.len());
                    let (s, c) = over.fold((0, 0), |(s, c), place| (s + u64::from(numbers[place]), c + 1));
                    (sum, count) = (sum.max(s), count.max(c));
                }
            }
            sums *= sum as f64 / UNIT as f64;
            counts *= f64::from(count);
        }
        // A little more, so that no rounding on the way makes it less.
        ((sums * TOP as f64 + counts) * (1.0 + 1e-9)).log2().ceil().max(0.0) as u32
    }

    /// Rows of slowest axis from `starts[0][at]` on that are done after the windows that begin there.
    pub fn done(&self, at: usize) -> Range<usize> {
        self.starts[0][at]..self.starts[0].get(at + 1).copied().unwrap_or(self.grid[0])
    }

    /// First voxels along H, W of the windows that begin in one row.
    pub fn across(&self) -> impl Iterator<Item = [usize; 2]> + '_ {
        self.starts[1].iter().flat_map(move |&h| self.starts[2].iter().map(move |&w| [h, w]))
    }

    /// Voxels of so many rows.
    pub fn voxels(&self, rows: usize) -> usize {
        rows * self.grid[1] * self.grid[2]
    }

    /// What a window at `first` sees of `[channels, D, H, W]`, run by run of its fastest axis.
    pub fn patch<'v, T>(&self, values: &'v [T], first: [usize; 3]) -> impl Iterator<Item = &'v [T]> + use<'v, T> {
        let ([d, h, w], [_, height, width]) = (self.size(), self.grid);
        let voxels = self.voxels(self.grid[0]);
        let row = move |channel: &'v [T], z: usize, y: usize| {
            &channel[((first[0] + z) * height + first[1] + y) * width + first[2]..][..w]
        };
        let channels = values.chunks_exact(voxels);
        channels.flat_map(move |c| (0..d).flat_map(move |z| (0..h).map(move |y| row(c, z, y))))
    }

    /// Adds the scores `[classes, window]` of the window at `first` to sums `[classes, rows of a window, H, W]`, by
    /// `add(sum, weight, score)`.
    pub fn add<T: Copy>(&self, sums: &mut [T], first: [usize; 3], scores: &[T], add: impl Fn(&mut T, u32, T)) {
        let [d, h, w] = self.size();
        let mut weights = Vec::with_capacity(d * h * w);
        for z in 0..d {
            for y in 0..h {
                weights.extend((0..w).map(|x| self.weight([z, y, x])));
            }
        }
        let held = self.voxels(d);
        let [planes, rows, places] = [0, 1, 2].map(|a| self.counted(a, first[a]));
        for (sums, scores) in sums.chunks_exact_mut(held).zip(scores.chunks_exact(d * h * w)) {
            for (row, (scores, weights)) in scores.chunks_exact(w).zip(weights.chunks_exact(w)).enumerate() {
                let (z, y) = (row / h, row % h);
                if !planes.contains(&z) || !rows.contains(&y) {
                    continue;
                }
                let to = (z * self.grid[1] + first[1] + y) * self.grid[2] + first[2];
                let sums = sums[to + places.start..to + places.end].iter_mut();
                let counted = scores[places.clone()].iter().zip(&weights[places.clone()]);
                sums.zip(counted).for_each(|(sum, (&score, &weight))| add(sum, weight, score));
            }
        }
    }

    /// The first `rows` of sums, `[classes, rows, H, W]`, channel by channel.
    pub fn finished<'s, T>(&self, sums: &'s [T], rows: usize) -> impl Iterator<Item = &'s [T]> + use<'s, T> {
        let (held, done) = (self.voxels(self.size()[0]), self.voxels(rows));
        sums.chunks_exact(held).map(move |class| &class[..done])
    }

    /// Lets go of the first `rows` of sums: the others move up, and `zero` follows.
    pub fn advance<T: Copy>(&self, sums: &mut [T], rows: usize, zero: T) {
        let (held, done) = (self.voxels(self.size()[0]), self.voxels(rows));
        for class in sums.chunks_exact_mut(held) {
            class.copy_within(done.., 0);
            class[held - done..].fill(zero);
        }
    }
}

/// Runs `scores` on what each window sees of `[channels, D, H, W]`, and gives the weighted sums of what it returns,
/// `[classes, D, H, W]` and slab by slab of finished rows, to `done`.
pub fn run<V: Copy, T: Copy>(
    windows: &Windows,
    values: &[V],
    (classes, zero): (usize, T),
    add: impl Fn(&mut T, u32, T),
    mut scores: impl FnMut(Vec<V>) -> Vec<T>,
    mut done: impl FnMut(Vec<T>),
) {
    let mut sums = vec![zero; classes * windows.voxels(windows.size()[0])];
    for (at, &first) in windows.starts[0].iter().enumerate() {
        for [h, w] in windows.across() {
            let patch: Vec<V> = windows.patch(values, [first, h, w]).flatten().copied().collect();
            windows.add(&mut sums, [first, h, w], &scores(patch), &add);
        }
        let rows = windows.done(at).len();
        done(windows.finished(&sums, rows).flatten().copied().collect());
        windows.advance(&mut sums, rows, zero);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sliding(overlap: f64, blend: Blend, grid: Positions) -> Sliding {
        Sliding { size: vec![], overlap, blend, sigma: 0.125, grid }
    }

    #[test]
    fn windows_lie_where_monai_and_nnunet_put_them() {
        let monai = |overlap, size, length| sliding(overlap, Blend::Gaussian, Positions::Monai).starts(size, length);
        // dense_patch_slices of MONAI 1.6 with scan_interval = int(size * (1 - overlap)).
        assert_eq!(monai(0.5, 96, 96), [0]);
        assert_eq!(monai(0.5, 96, 256), [0, 48, 96, 144, 160]);
        assert_eq!(monai(0.25, 8, 21), [0, 6, 12, 13]);
        assert_eq!(monai(0.0, 8, 24), [0, 8, 16]);
        // compute_steps_for_sliding_window of nnU-Net 2, whose own example is the first.
        let nnunet = |size, length| sliding(0.5, Blend::Gaussian, Positions::Nnunet).starts(size, length);
        assert_eq!((nnunet(64, 110), nnunet(64, 64), nnunet(30, 64)), (vec![0, 23, 46], vec![0], vec![0, 11, 23, 34]));
    }

    #[test]
    fn weights_have_ten_bits_and_their_sums_keep_the_bound() {
        for (blend, positions, overlap) in [
            (Blend::Gaussian, Positions::Monai, 0.5),
            (Blend::Gaussian, Positions::Nnunet, 0.75),
            (Blend::Constant, Positions::Monai, 0.6),
        ] {
            let plan = sliding(overlap, blend, positions);
            for grid in [[8, 9, 5], [13, 11, 5], [17, 8, 6]] {
                let windows = plan.over([8, 8, 4], grid).expect("a grid that holds a window");
                assert_eq!(windows.fault(), None);
                let mut sums = vec![0u32; grid.iter().product()];
                for &z in &windows.starts[0] {
                    for [y, x] in windows.across() {
                        for at in 0..8 * 8 * 4 {
                            let [d, h, w] = [at / 32, at / 4 % 8, at % 4];
                            let weight = windows.weight([d, h, w]);
                            assert!((1..=1023).contains(&weight));
                            sums[((z + d) * grid[1] + y + h) * grid[2] + x + w] += weight;
                        }
                    }
                }
                let largest = *sums.iter().max().expect("voxels");
                assert!(sums.iter().all(|&s| s > 0) && u64::from(largest) <= 1 << windows.weight_bits());
                assert!(u64::from(largest) * 4 > 1 << windows.weight_bits(), "{largest}, {}", windows.weight_bits());
            }
        }
        // The centre against a corner, as MONAI's map has it.
        let windows = sliding(0.5, Blend::Gaussian, Positions::Monai).over([96; 3], [96; 3]).expect("a window");
        assert_eq!([windows.weight([47, 48, 47]), windows.weight([0; 3])], [1020, 1]);
        let expected = 1023.0 * (-0.5f64 * (20.5f64 / 12.0).powi(2)).exp();
        assert!((f64::from(windows.weight([68, 48, 48])) - expected).abs() < 1.5);
    }

    #[test]
    fn slabs_are_done_in_order_and_sums_are_those_of_all_windows() {
        let windows = sliding(0.5, Blend::Gaussian, Positions::Monai).over([4, 2, 4], [11, 5, 6]).expect("windows");
        let values: Vec<i64> = (0..2 * 11 * 5 * 6).map(|v| v * v % 101).collect();
        // Two classes: the two channels, so that a voxel's sum is its value times the sum of the weights there.
        let mut found = [Vec::new(), Vec::new()];
        let (mut slabs, mut most) = (0, 0);
        run(
            &windows,
            &values,
            (2, 0i64),
            |sum, w, v| *sum += i64::from(w) * v,
            |patch| patch,
            |done| {
                let (a, b) = done.split_at(done.len() / 2);
                found[0].extend_from_slice(a);
                found[1].extend_from_slice(b);
                slabs += 1;
                most = most.max(a.len());
            },
        );
        assert!(slabs == windows.starts[0].len() && most <= windows.voxels(4));
        let mut weights = vec![0i64; 11 * 5 * 6];
        let ones = vec![1i64; 11 * 5 * 6];
        let mut at = 0;
        run(
            &windows,
            &ones,
            (1, 0i64),
            |sum, w, v| *sum += i64::from(w) * v,
            |patch| patch,
            |done| {
                weights[at..at + done.len()].copy_from_slice(&done);
                at += done.len();
            },
        );
        for (v, weight) in weights.iter().enumerate() {
            assert_eq!([found[0][v], found[1][v]], [weight * values[v], weight * values[v + 330]]);
        }
    }

    #[test]
    fn wrong_windows_are_said() {
        let good = sliding(0.5, Blend::Constant, Positions::Monai).over([4; 3], [8; 3]).expect("windows");
        let with = |edit: &dyn Fn(&mut Windows)| {
            let mut windows = good.clone();
            edit(&mut windows);
            windows.fault().expect("a fault")
        };
        assert!(with(&|w| w.starts[1] = vec![0, 5]).contains("axis 1"));
        assert!(with(&|w| w.starts[2] = vec![0, 2, usize::MAX]).contains("axis 2"));
        assert!(with(&|w| w.grid[0] = 9).contains("axis 0"));
        assert!(with(&|w| w.starts[0] = vec![]).contains("0 x 3 x 3 windows"));
        assert!(with(&|w| w.numbers[0] = vec![]).contains("axis 0"));
        assert!(with(&|w| w.starts = [vec![0; 1 << 6], vec![0; 1 << 6], vec![0; 1 << 6]]).contains("expected 1 to"));
        assert!(sliding(0.5, Blend::Constant, Positions::Monai).over([4; 3], [8, 3, 8]).is_err());
    }
}
