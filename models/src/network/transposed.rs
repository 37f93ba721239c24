//! Transposed convolutions of any kernel and stride as convolutions of stride 1.
//!
//! Output o = s·m + f takes tap k = o + p - s·i of input i, so with j = i - m its phase f takes taps k = f + p - s·j: a
//! convolution at m whose taps are the offsets j. With an output channel for each pair of a channel and a phase, all
//! phases are one convolution on the coarse grid; where the phases lie on the fine grid is a matter of places alone.

use super::LinearKind;

/// The geometry of a transposed convolution along D, H, W: input z adds to output `stride·z + k - padding` by tap k.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transposed {
    /// Sizes.
    pub kernel: [usize; 3],
    /// From one input to the next on the output's grid, above 0.
    pub stride: [usize; 3],
    /// Voxels taken off both ends of the output, fewer than the kernel's size.
    pub padding: [usize; 3],
    /// Voxels added to the far end of the output, fewer than the stride.
    pub output_padding: [usize; 3],
}

impl Transposed {
    /// The output grid; `None` where it would be empty or too large to count.
    pub fn output_dims(&self, input: [usize; 3]) -> Option<[usize; 3]> {
        let along = |i: usize| {
            let all = input[i].checked_sub(1)?.checked_mul(self.stride[i])?.checked_add(self.kernel[i])?;
            (all + self.output_padding[i]).checked_sub(2 * self.padding[i]).filter(|&size| size > 0)
        };
        Some([along(0)?, along(1)?, along(2)?])
    }

    /// The kernel where it is also the stride and nothing is padded: each output then meets one tap of one input.
    pub fn side_by_side(&self) -> Option<[usize; 3]> {
        let plain = self.padding == [0; 3] && self.output_padding == [0; 3] && self.kernel == self.stride;
        plain.then_some(self.kernel)
    }

    /// The convolution that gives all phases, whose grid [`Self::coarse`] is.
    pub fn phases(&self) -> LinearKind {
        let axes = [0, 1, 2].map(|i| self.offsets(i));
        LinearKind::Conv {
            kernel: axes.map(|(first, last)| (last - first + 1) as usize),
            stride: [1; 3],
            padding: axes.map(|(first, _)| -first as usize),
        }
    }

    /// The grid of the phases of an output grid: some of the last phases may lie outside of it.
    pub fn coarse(&self, output: [usize; 3]) -> [usize; 3] {
        std::array::from_fn(|i| output[i].div_ceil(self.stride[i]))
    }

    /// Whether every phase of the output of a grid meets the grid.
    pub fn fits(&self, input: [usize; 3]) -> bool {
        self.output_dims(input).is_some_and(|output| self.phases().fits(input, self.coarse(output)))
    }

    /// The first and the last offset j along an axis: the first is not above 0, the last not below.
    fn offsets(&self, axis: usize) -> (isize, isize) {
        let [k, s, p] = [self.kernel[axis], self.stride[axis], self.padding[axis]].map(|size| size as isize);
        (-(k - 1 - p).div_euclid(s), (s - 1 + p).div_euclid(s))
    }

    /// `[out_channels][in_channels][kernel]` as weights of [`Self::phases`],
    /// `[out_channels·phases][in_channels][taps]`.
    pub fn phase_weights(&self, weights: &[f32], in_channels: usize) -> Vec<f32> {
        let LinearKind::Conv { kernel: taps, .. } = self.phases() else { unreachable!("phases are a convolution") };
        let volume = |sizes: [usize; 3]| sizes.iter().product::<usize>();
        let row = in_channels * volume(self.kernel);
        let mut out = Vec::with_capacity(weights.len() / volume(self.kernel) * volume(self.stride) * volume(taps));
        for row in weights.chunks_exact(row) {
            for phase in 0..volume(self.stride) {
                let phase = place(self.stride, phase);
                for kernel in row.chunks_exact(volume(self.kernel)) {
                    out.extend((0..volume(taps)).map(|tap| {
                        let at = self.tap(phase, place(taps, tap));
                        at.map_or(0.0, |[a, b, c]| kernel[(a * self.kernel[1] + b) * self.kernel[2] + c])
                    }));
                }
            }
        }
        out
    }

    /// The tap of the kernel that a phase takes where its convolution takes tap `tap`, if there is one.
    fn tap(&self, phase: [usize; 3], tap: [usize; 3]) -> Option<[usize; 3]> {
        let along = |i: usize| {
            let offset = tap[i] as isize + self.offsets(i).0;
            let at = (phase[i] + self.padding[i]) as isize - self.stride[i] as isize * offset;
            usize::try_from(at).ok().filter(|&at| at < self.kernel[i])
        };
        Some([along(0)?, along(1)?, along(2)?])
    }
}

/// A place of a box by its number, the last dimension the fastest.
fn place([_, b, c]: [usize; 3], at: usize) -> [usize; 3] {
    [at / (b * c), at / c % b, at % c]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain::kernels;

    /// Integers that look random.
    fn numbers(count: usize) -> Vec<f32> {
        (0..count as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as f32 - 8.0).collect()
    }

    #[test]
    fn phases_interleaved_are_the_definition() {
        let of = |kernel, stride, padding, output_padding| Transposed { kernel, stride, padding, output_padding };
        for (geometry, input, output) in [
            (of([3; 3], [2; 3], [1; 3], [1; 3]), [2, 3, 4], [4, 6, 8]),
            (of([3; 3], [2; 3], [1; 3], [0; 3]), [2, 3, 4], [3, 5, 7]),
            (of([2; 3], [2; 3], [0; 3], [0; 3]), [2, 1, 3], [4, 2, 6]),
            (of([1, 3, 3], [1, 2, 2], [0, 1, 1], [0, 1, 1]), [1, 3, 2], [1, 6, 4]),
            (of([4, 3, 1], [2, 1, 2], [1, 1, 0], [0, 0, 1]), [2, 3, 2], [4, 3, 4]),
            (of([5, 2, 3], [3, 2, 1], [2, 0, 0], [2, 0, 0]), [3, 2, 2], [9, 4, 4]),
        ] {
            assert_eq!(geometry.output_dims(input), Some(output), "{geometry:?}");
            assert!(geometry.fits(input));
            let (ci, co, taps) = (2, 3, geometry.kernel.iter().product::<usize>());
            let voxels = |dims: [usize; 3]| dims.iter().product::<usize>();
            let (x, w) = (numbers(ci * voxels(input)), numbers(co * ci * taps));
            let mut want = vec![0.0f32; co * voxels(output)];
            for (at, &x) in x.iter().enumerate() {
                let (c, z) = (at / voxels(input), place(input, at % voxels(input)));
                for (o, k) in (0..co).flat_map(|o| (0..taps).map(move |k| (o, k))) {
                    let tap = place(geometry.kernel, k);
                    let to = |i: usize| {
                        let to = (geometry.stride[i] * z[i] + tap[i]).checked_sub(geometry.padding[i])?;
                        (to < output[i]).then_some(to)
                    };
                    if let (Some(a), Some(b), Some(d)) = (to(0), to(1), to(2)) {
                        want[o * voxels(output) + (a * output[1] + b) * output[2] + d] +=
                            x * w[(o * ci + c) * taps + k];
                    }
                }
            }
            let coarse = geometry.coarse(output);
            let weights = geometry.phase_weights(&w, ci);
            let parts = kernels::linear(geometry.phases(), [input, coarse], &[&x], &weights, |v| v);
            assert_eq!(kernels::interleave(&parts, coarse, geometry.stride, output), want, "{geometry:?}");
        }
        // Outputs that no input reaches.
        assert!(!of([2; 3], [2; 3], [0; 3], [1; 3]).fits([2; 3]));
        assert_eq!(of([3; 3], [1; 3], [2; 3], [0; 3]).output_dims([2; 3]), None);
    }
}
