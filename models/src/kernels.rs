//! Plain convolutions and poolings on `[channels, D, H, W]` tensors, for the references and the calibration.
//!
//! One body serves f32 (the float reference) and f64 (the integer reference: sums of integers below 2^53 are
//! exact in f64, and products of f64 are vectorised on every CPU where 64-bit integer ones are not).
//! The input is copied once into a zero-padded buffer; an output plane is then computed in runs of [`LANES`]
//! neighbours held in registers over all taps.

use std::ops::{AddAssign, Mul};

use rayon::prelude::*;

/// Neighbouring outputs that are computed together.
const LANES: usize = 16;

/// A number that convolutions run on.
pub(crate) trait Scalar: Copy + Default + Send + Sync + PartialOrd + AddAssign + Mul<Output = Self> {}
impl Scalar for f32 {}
impl Scalar for f64 {}

/// A zero-padded copy of tensors concatenated along their channels.
pub(crate) struct Padded<T> {
    data: Vec<T>,
    dims: [usize; 3],
    padded: [usize; 3],
    channels: usize,
}

impl<T: Scalar> Padded<T> {
    /// Copies `parts`, each `[channels, D, H, W]` with grid `dims`, with room for a convolution by `kernel`.
    pub(crate) fn new<U: Copy + Sync>(
        parts: &[&[U]],
        dims: [usize; 3],
        kernel: [usize; 3],
        convert: impl Fn(U) -> T + Sync,
    ) -> Self {
        let [d, h, w] = dims;
        let padded = [d + kernel[0] - 1, h + kernel[1] - 1, w + kernel[2] - 1];
        let [pd, ph, pw] = padded;
        let channels = parts.iter().map(|p| p.len() / (d * h * w)).sum::<usize>();
        // The last run of an output plane may read up to LANES past the last value.
        let mut data = vec![T::default(); channels * pd * ph * pw + LANES];
        let rows = parts.iter().flat_map(|p| p.chunks_exact(w));
        for (at, row) in rows.enumerate() {
            let (c, z, y) = (at / (d * h), at / h % d, at % h);
            let to = ((c * pd + z + kernel[0] / 2) * ph + y + kernel[1] / 2) * pw + kernel[2] / 2;
            data[to..to + w].iter_mut().zip(row).for_each(|(t, &v)| *t = convert(v));
        }
        Self { data, dims, padded, channels }
    }
}

/// Convolution with zero padding: `weights` is `[out_channels][in_channels][kernel]`; returns
/// `[out_channels, D, H, W]`. `input` was padded for this `kernel`.
pub(crate) fn conv<T: Scalar>(input: &Padded<T>, weights: &[T], kernel: [usize; 3]) -> Vec<T> {
    let ([d, h, w], [pd, ph, pw]) = (input.dims, input.padded);
    let taps = input.channels * kernel.iter().product::<usize>();
    let out_channels = weights.len() / taps;
    let mut offsets = Vec::with_capacity(taps);
    for c in 0..input.channels {
        for z in 0..kernel[0] {
            for y in 0..kernel[1] {
                offsets.extend((0..kernel[2]).map(|x| ((c * pd + z) * ph + y) * pw + x));
            }
        }
    }
    let mut out = vec![T::default(); out_channels * d * h * w];
    out.par_chunks_mut(h * w).enumerate().for_each(|(plane, out)| {
        let (co, z) = (plane / d, plane % d);
        let weights = &weights[co * taps..(co + 1) * taps];
        let length = (h - 1) * pw + w;
        let mut line = vec![T::default(); length.next_multiple_of(LANES)];
        for (run, line) in line.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            *line = sums(&input.data[z * ph * pw + run * LANES..], &offsets, weights);
        }
        for (row, from) in out.chunks_exact_mut(w).zip(line.chunks(pw)) {
            row.copy_from_slice(&from[..w]);
        }
    });
    out
}

/// sum over taps of weight · data[offset + lane], for [`LANES`] neighbours.
#[inline]
fn sums<T: Scalar>(data: &[T], offsets: &[usize], weights: &[T]) -> [T; LANES] {
    let mut acc = [T::default(); LANES];
    for (&offset, &weight) in offsets.iter().zip(weights) {
        let x: &[T; LANES] = data[offset..].first_chunk().expect("the padded copy ends with LANES spare values");
        for (acc, &x) in acc.iter_mut().zip(x) {
            *acc += weight * x;
        }
    }
    acc
}

/// Transposed convolution whose kernel equals its stride: `weights` is `[out_channels][in_channels][factor]`,
/// `input` was padded for a 1^3 kernel; returns `[out_channels, factor·D, …]`.
pub(crate) fn transposed<T: Scalar>(input: &Padded<T>, weights: &[T], factor: [usize; 3]) -> Vec<T> {
    let [d, h, w] = input.dims;
    let [fd, fh, fw] = factor;
    let (taps, ci) = (fd * fh * fw, input.channels);
    // One 1^3 convolution with an output channel for each pair (output channel, tap).
    let mut by_tap = Vec::with_capacity(weights.len());
    for matrix in weights.chunks_exact(ci * taps) {
        for tap in 0..taps {
            by_tap.extend((0..ci).map(|c| matrix[c * taps + tap]));
        }
    }
    let parts = conv(input, &by_tap, [1, 1, 1]);
    let mut out = vec![T::default(); parts.len()];
    for (part, values) in parts.chunks_exact(d * h * w).enumerate() {
        let (co, tap) = (part / taps, part % taps);
        let (a, b, c) = (tap / (fh * fw), tap / fw % fh, tap % fw);
        for (row, values) in values.chunks_exact(w).enumerate() {
            let (z, y) = (row / h, row % h);
            let to = ((co * d * fd + z * fd + a) * h * fh + y * fh + b) * w * fw + c;
            out[to..].iter_mut().step_by(fw).zip(values).for_each(|(t, &v)| *t = v);
        }
    }
    out
}

/// Folds windows that don't overlap: each output is `fold` over its window's values, from `start`.
pub(crate) fn pool<T: Copy + Send + Sync>(
    input: &[T],
    dims: [usize; 3],
    window: [usize; 3],
    start: T,
    fold: impl Fn(T, T) -> T + Sync,
) -> Vec<T> {
    let [d, h, w] = dims;
    let [a, b, c] = window;
    let mut out = vec![start; input.len() / (a * b * c)];
    out.par_chunks_mut((d / a) * (h / b) * (w / c)).zip(input.par_chunks(d * h * w)).for_each(|(out, input)| {
        for (row, values) in input.chunks_exact(w).enumerate() {
            let to = ((row / h / a) * (h / b) + row % h / b) * (w / c);
            for (x, &v) in values.iter().enumerate() {
                out[to + x / c] = fold(out[to + x / c], v);
            }
        }
    });
    out
}

/// The channel of the largest value at each voxel, the lowest of a tie.
pub(crate) fn argmax<T: Copy + PartialOrd>(scores: &[T], classes: usize) -> Vec<u8> {
    let voxels = scores.len() / classes;
    let best = |v: usize| {
        let larger = |best: usize, c: usize| if scores[c * voxels + v] > scores[best * voxels + v] { c } else { best };
        (1..classes).fold(0, larger) as u8
    };
    (0..voxels).map(best).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Integers in -8..8 that look random.
    fn numbers(n: usize) -> Vec<f64> {
        (0..n as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as f64 - 8.0).collect()
    }

    #[test]
    fn conv_equals_its_definition() {
        for (dims, kernel, ci, co) in
            [([3, 4, 5], [3, 3, 3], 2, 3), ([1, 7, 19], [1, 5, 3], 3, 2), ([2, 2, 1], [1, 1, 1], 4, 2)]
        {
            let [d, h, w] = dims;
            let x = numbers(ci * d * h * w);
            let taps = kernel.iter().product::<usize>();
            let weights = numbers(co * ci * taps);
            let half = (x.len() / ci) * (ci / 2);
            let got = conv(&Padded::new(&[&x[..half], &x[half..]], dims, kernel, |v| v), &weights, kernel);
            for (at, &got) in got.iter().enumerate() {
                let (o, z, y, col) = (at / (d * h * w), at / (h * w) % d, at / w % h, at % w);
                let mut want = 0.0;
                for c in 0..ci {
                    for t in 0..taps {
                        let k = [t / (kernel[1] * kernel[2]), t / kernel[2] % kernel[1], t % kernel[2]];
                        let p = [z + k[0], y + k[1], col + k[2]];
                        let inside = |a: usize| (p[a]).checked_sub(kernel[a] / 2).filter(|&q| q < dims[a]);
                        if let (Some(z), Some(y), Some(x_at)) = (inside(0), inside(1), inside(2)) {
                            want += weights[(o * ci + c) * taps + t] * x[((c * d + z) * h + y) * w + x_at];
                        }
                    }
                }
                assert_eq!(got, want, "at {at} of {dims:?} with kernel {kernel:?}");
            }
        }
    }

    #[test]
    fn transposed_spreads_each_value_over_its_taps() {
        for (dims, factor) in [([2, 3, 4], [2, 2, 2]), ([1, 3, 5], [1, 2, 2])] {
            let ([d, h, w], [fd, fh, fw]) = (dims, factor);
            let (ci, co, taps) = (3, 2, fd * fh * fw);
            let (x, weights) = (numbers(ci * d * h * w), numbers(co * ci * taps));
            let got = transposed(&Padded::new(&[&x], dims, [1, 1, 1], |v| v), &weights, factor);
            assert_eq!(got.len(), co * d * h * w * taps);
            for (at, &got) in got.iter().enumerate() {
                let (oh, ow) = (h * fh, w * fw);
                let (o, z, y, col) = (at / (d * fd * oh * ow), at / (oh * ow) % (d * fd), at / ow % oh, at % ow);
                let tap = ((z % fd) * fh + y % fh) * fw + col % fw;
                let from = ((z / fd) * h + y / fh) * w + col / fw;
                let want: f64 = (0..ci).map(|c| weights[(o * ci + c) * taps + tap] * x[c * d * h * w + from]).sum();
                assert_eq!(got, want);
            }
        }
    }

    #[test]
    fn pools_and_argmax() {
        let x: Vec<i32> = (0..16).collect();
        assert_eq!(
            pool(&x, [2, 2, 4], [2, 2, 2], 0, |a, b| a + b),
            [1 + 4 + 5 + 8 + 9 + 12 + 13, 2 + 3 + 6 + 7 + 10 + 11 + 14 + 15]
        );
        assert_eq!(pool(&x, [1, 4, 4], [1, 2, 2], i32::MIN, i32::max), [5, 7, 13, 15]);
        assert_eq!(argmax(&[1, 5, 3, 1, 5, 4, 0, 6, 4], 3), [0, 2, 1]);
    }
}
