//! A convolution with strides as one without, on the phases of its input.
//!
//! With stride s and p zeros before the first voxel, output z takes tap k from voxel s z + k - p. Taps k = j + s i of
//! one remainder j read only voxels s u + r with r = (j - p) mod s, the *phase* j of the input, and of these
//!
//! ```text
//! u = z + q,   q = i + floor((j - p) / s)
//! ```
//!
//! So a channel is as many channels as there are phases, which is min(s, kernel), with offsets q from -`lead` to
//! `trail`. Nothing is moved for it: where the voxels of a phase lie in the tensor is a matter of strides.
//!
//! A transposed convolution whose kernel is its stride is a 1^3 convolution with an output channel for each tap: its
//! output has phases, in the same way. Where all offsets are 0 the grid plays no part, and is taken as one line.

use crate::linear::op::ConvShape;

/// One dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Axis {
    input: usize,
    output: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    /// From one output voxel to the next in the tensor: more than 1 for a transposed convolution.
    spread: usize,
    lead: usize,
    trail: usize,
}

impl Axis {
    /// None for sizes of 0, as much padding as kernel, and windows that begin behind the input.
    fn new(shape: &ConvShape, d: usize) -> Option<Self> {
        let [input, output, kernel] = [shape.size[d], shape.output[d], shape.kernel[d]];
        let (stride, padding) = (shape.stride[d], shape.padding[d]);
        if [input, output, kernel, stride].contains(&0) || padding >= kernel {
            return None;
        }
        let last = (output - 1).checked_mul(stride)?;
        if last >= input.checked_add(padding)? {
            return None;
        }
        let mut axis = Self { input, output, kernel, stride, padding, spread: 1, lead: 0, trail: 0 };
        // Offsets that meet no voxel from any output are left out.
        axis.lead = padding.div_ceil(stride).min(output - 1);
        axis.trail = ((kernel - 1 - padding) / stride).min(axis.voxels() - 1);
        Some(axis)
    }

    fn phases(&self) -> usize {
        self.stride.min(self.kernel)
    }

    /// The tensor's first voxel of phase `j`.
    fn first(&self, j: usize) -> usize {
        (j + self.padding * (self.stride - 1)) % self.stride
    }

    /// Voxels of phase `j`.
    fn voxels_of(&self, j: usize) -> usize {
        self.input.saturating_sub(self.first(j)).div_ceil(self.stride)
    }

    /// Voxels of the longest phase, the one that begins with the first voxel.
    fn voxels(&self) -> usize {
        self.input.div_ceil(self.stride)
    }

    /// The offset of tap `k`, if it meets a voxel from any output.
    fn offset(&self, k: usize) -> Option<isize> {
        let offset = (k as isize - self.padding as isize).div_euclid(self.stride as isize);
        (-(self.lead as isize)..=self.trail as isize).contains(&offset).then_some(offset)
    }

    /// Taps that meet a voxel.
    fn taps(&self) -> usize {
        (0..self.kernel).filter(|&k| self.offset(k).is_some()).count()
    }
}

/// What is to be encoded: channels with their phases, the output's grid, offsets of taps on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    channels: [usize; 2],
    axes: [Axis; 3],
    taps: usize,
    flat: bool,
}

/// A box of voxels of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Voxels {
    /// The first one on the encoded grid.
    pub at: [usize; 3],
    /// The first one in the tensor.
    pub index: usize,
    /// From one to the next in the tensor, each dimension.
    pub stride: [usize; 3],
    /// How many, each dimension.
    pub len: [usize; 3],
}

/// Channels, their phases and grid as one of a tensor's two sides has them.
struct Side {
    /// Of the tensor.
    size: [usize; 3],
    step: [usize; 3],
    /// Of one channel's phases.
    phases: [usize; 3],
}

/// As three digits, the last the fastest.
fn digits(number: usize, [_, b, c]: [usize; 3]) -> [usize; 3] {
    [number / (b * c), number / c % b, number % c]
}

impl Geometry {
    /// A convolution. None where a size is 0, a padding is no less than the kernel, or a window begins behind the
    /// input.
    pub fn conv(shape: &ConvShape) -> Option<Self> {
        let [a, b, c] = [0, 1, 2].map(|d| Axis::new(shape, d));
        let axes = [a?, b?, c?];
        let flat = axes.iter().all(|a| (a.lead, a.trail) == (0, 0));
        let taps = axes.iter().map(Axis::taps).product();
        let channels = [shape.inputs, shape.outputs];
        (!channels.contains(&0)).then_some(Self { channels, axes, taps, flat })
    }

    /// A transposed convolution on `size` with kernel and stride `factor`.
    pub fn transposed(inputs: usize, outputs: usize, size: [usize; 3], factor: [usize; 3]) -> Option<Self> {
        let mut geometry = Self::conv(&ConvShape::same(inputs, outputs, size, [1; 3]))?;
        geometry.axes.iter_mut().zip(factor).for_each(|(axis, factor)| axis.spread = factor);
        (!factor.contains(&0)).then_some(geometry)
    }

    fn each(&self, of: impl Fn(&Axis) -> usize) -> [usize; 3] {
        [of(&self.axes[0]), of(&self.axes[1]), of(&self.axes[2])]
    }

    /// Input channels, each phase one.
    pub fn inputs(&self) -> usize {
        self.channels[0] * self.axes.iter().map(Axis::phases).product::<usize>()
    }

    /// Output channels, each phase one.
    pub fn outputs(&self) -> usize {
        self.channels[1] * self.axes.iter().map(|a| a.spread).product::<usize>()
    }

    /// Weights that meet in one output voxel, at most: taps that meet a voxel, of every channel of the tensor.
    pub fn weights_an_output(&self) -> usize {
        self.taps * self.channels[0]
    }

    /// Whether all offsets are 0.
    pub fn is_pointwise(&self) -> bool {
        self.flat
    }

    fn grid(&self, of: impl Fn(&Axis) -> usize) -> [usize; 3] {
        let grid = self.each(of);
        if self.flat { [1, 1, grid.iter().product()] } else { grid }
    }

    /// Output voxels of a channel, each dimension.
    pub fn size(&self) -> [usize; 3] {
        self.grid(|a| a.output)
    }

    /// Voxels of an input channel that outputs depend on, each dimension.
    pub(super) fn voxels(&self) -> [usize; 3] {
        self.grid(|a| if self.flat { a.output } else { a.voxels().min(a.output + a.trail) })
    }

    /// How far offsets go below 0, each dimension.
    pub(super) fn lead(&self) -> [usize; 3] {
        self.each(|a| a.lead)
    }

    /// How far offsets go above 0, each dimension.
    pub(super) fn trail(&self) -> [usize; 3] {
        self.each(|a| a.trail)
    }

    /// From one voxel of a box to the next on the encoded grid, which has these `strides`.
    pub(super) fn steps(&self, strides: [usize; 3]) -> [usize; 3] {
        let [_, height, width] = self.each(|a| a.output);
        if self.flat { [height * width, width, 1] } else { strides }
    }

    /// Phases of a tensor's channel: input channels that follow each other.
    pub(super) fn phases(&self) -> usize {
        self.each(Axis::phases).iter().product()
    }

    /// The number of the first weight that takes input channel `input` to output channel `output`; that of a tap
    /// follows by adding the tap's.
    pub(super) fn first_weight(&self, output: usize, input: usize) -> usize {
        // A transposed kernel has one tap for each phase of the output, and a convolution one phase.
        let of_output: usize = self.each(|a| a.spread).iter().product();
        let taps = self.each(|a| a.kernel).iter().product::<usize>() * of_output;
        (output / of_output * self.channels[0] + input / self.phases()) * taps + output % of_output
    }

    /// The taps that read phase `phase` of a channel, by their number, and the offset of each.
    pub(super) fn taps(&self, phase: usize) -> impl Iterator<Item = (usize, [isize; 3])> {
        let (kernel, stride) = (self.each(|a| a.kernel), self.each(|a| a.stride));
        let (phase, axes) = (digits(phase, self.each(Axis::phases)), self.axes);
        let along =
            move |d: usize| (phase[d]..kernel[d]).step_by(stride[d]).filter_map(move |k| Some((k, axes[d].offset(k)?)));
        along(0).flat_map(move |(z, qz)| {
            along(1).flat_map(move |(y, qy)| {
                along(2).map(move |(x, qx)| ((z * kernel[1] + y) * kernel[2] + x, [qz, qy, qx]))
            })
        })
    }

    /// The voxels `from` to before `to` of an input channel that exist.
    pub(super) fn input_voxels(&self, channel: usize, from: [isize; 3], to: [usize; 3]) -> Vec<Voxels> {
        let side =
            Side { size: self.each(|a| a.input), step: self.each(|a| a.stride), phases: self.each(Axis::phases) };
        let phase = digits(channel % side.phases.iter().product::<usize>(), side.phases);
        let first = std::array::from_fn(|d| self.axes[d].first(phase[d]));
        if self.flat {
            let has = std::array::from_fn(|d| self.axes[d].voxels_of(phase[d]));
            return self.line(&side, channel, first, has, from[2] as usize..to[2]);
        }
        let at = from.map(|from| from.max(0) as usize);
        let end = |d: usize| to[d].min(self.axes[d].voxels_of(phase[d]));
        let len = std::array::from_fn(|d| end(d).saturating_sub(at[d]));
        side.voxels(channel, first, at, at, len).into_iter().collect()
    }

    /// The voxels `from` to before `to` of an output channel.
    pub(super) fn output_voxels(&self, channel: usize, from: [usize; 3], to: [usize; 3]) -> Vec<Voxels> {
        let (spread, output) = (self.each(|a| a.spread), self.each(|a| a.output));
        let side = Side { size: std::array::from_fn(|d| output[d] * spread[d]), step: spread, phases: spread };
        let first = digits(channel % spread.iter().product::<usize>(), spread);
        if self.flat {
            return self.line(&side, channel, first, output, from[2]..to[2]);
        }
        let len = std::array::from_fn(|d| to[d].min(output[d]) - from[d]);
        side.voxels(channel, first, from, from, len).into_iter().collect()
    }

    /// The part `range` of the output's grid as one line, of which a side has `has` voxels each dimension: in boxes of
    /// lines or planes.
    fn line(
        &self,
        side: &Side,
        channel: usize,
        first: [usize; 3],
        has: [usize; 3],
        range: std::ops::Range<usize>,
    ) -> Vec<Voxels> {
        let grid = self.each(|a| a.output);
        let end = range.end.min(grid.iter().product());
        if side.step == [1; 3] && side.size == grid {
            return side
                .voxels(channel, first, [0, 0, range.start], [0, 0, range.start], [1, 1, end - range.start])
                .into_iter()
                .collect();
        }
        let (mut at, mut boxes) = (range.start, Vec::new());
        while at < end {
            let place = digits(at, grid);
            let (line, plane, left) = (grid[2], grid[1] * grid[2], end - at);
            let len = if place[1] == 0 && place[2] == 0 && left >= plane {
                [left / plane, grid[1], line]
            } else if place[2] == 0 && left >= line {
                [1, (left / line).min(grid[1] - place[1]), line]
            } else {
                [1, 1, left.min(line - place[2])]
            };
            let there = std::array::from_fn(|d| (place[d] + len[d]).min(has[d]).saturating_sub(place[d]));
            boxes.extend(side.voxels(channel, first, [0, 0, at], place, there));
            at += len.iter().product::<usize>();
        }
        boxes
    }
}

impl Side {
    /// The box of `len` voxels from `voxel` of one phase, which begins with the tensor's voxel `first`; None if it is
    /// empty.
    fn voxels(
        &self,
        channel: usize,
        first: [usize; 3],
        at: [usize; 3],
        voxel: [usize; 3],
        len: [usize; 3],
    ) -> Option<Voxels> {
        let channel = channel / self.phases.iter().product::<usize>();
        let along: [usize; 3] = std::array::from_fn(|d| self.step[d] * voxel[d] + first[d]);
        let index = ((channel * self.size[0] + along[0]) * self.size[1] + along[1]) * self.size[2] + along[2];
        let stride = [self.step[0] * self.size[1] * self.size[2], self.step[1] * self.size[2], self.step[2]];
        (!len.contains(&0)).then_some(Voxels { at, len, index, stride })
    }
}
