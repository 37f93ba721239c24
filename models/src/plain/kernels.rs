//! Plain convolutions and poolings on `[channels, D, H, W]` tensors, for the references and the calibration.
//!
//! One body serves f32 (the float reference) and f64 (the integer reference: sums of integers below 2^53 are
//! exact in f64, and products of f64 are vectorised on every CPU where 64-bit integer ones are not).
//! The input is copied once into a zero-padded buffer; an output plane is then computed in runs of [`LANES`]
//! neighbours held in registers over all taps.

use std::ops::{AddAssign, Mul};

use rayon::prelude::*;

use crate::network::{Interpolation, LinearKind};

/// Neighbouring outputs that are computed together.
const LANES: usize = 16;

/// A number that convolutions run on.
pub(crate) trait Scalar: Copy + Default + Send + Sync + PartialOrd + AddAssign + Mul<Output = Self> {}
impl Scalar for f32 {}
impl Scalar for f64 {}

/// A convolution between two grids: `out[z] = sum_k w[k]·in[stride·z + k - padding]`, zero outside.
#[derive(Clone, Copy)]
struct Conv {
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [usize; 3],
    /// D, H, W.
    input: [usize; 3],
    /// D, H, W.
    output: [usize; 3],
}

impl Conv {
    /// A channel for a channel of a grid, place for place.
    fn pointwise(dims: [usize; 3]) -> Self {
        Self { kernel: [1; 3], stride: [1; 3], padding: [0; 3], input: dims, output: dims }
    }

    /// All that the windows read along an axis.
    fn padded(&self) -> [usize; 3] {
        std::array::from_fn(|i| (self.output[i] - 1) * self.stride[i] + self.kernel[i])
    }
}

/// A linear step's sums without biases, `[out_channels, D, H, W]` on the grid `output`, from `parts` concatenated along
/// their channels, each `[channels, D, H, W]` on the grid `input`; `weights` is `[out_channels][in_channels][taps]`.
pub(crate) fn linear<T: Scalar, U: Copy + Sync>(
    kind: LinearKind,
    [input, output]: [[usize; 3]; 2],
    parts: &[&[U]],
    weights: &[T],
    convert: impl Fn(U) -> T + Sync,
) -> Vec<T> {
    match kind {
        LinearKind::Conv { kernel, stride, padding } => {
            conv(Conv { kernel, stride, padding, input, output }, parts, weights, convert)
        }
        LinearKind::Transposed2 { factor } => transposed(parts, input, weights, factor, convert),
    }
}

/// A zero-padded copy of tensors concatenated along their channels, and how many channels that are.
fn padded<T: Scalar, U: Copy + Sync>(geometry: Conv, parts: &[&[U]], convert: impl Fn(U) -> T) -> (Vec<T>, usize) {
    let ([d, h, w], [pd, ph, pw], before) = (geometry.input, geometry.padded(), geometry.padding);
    let channels = parts.iter().map(|p| p.len() / (d * h * w)).sum::<usize>();
    // The last run of an output plane may read up to LANES past the last value.
    let mut data = vec![T::default(); channels * pd * ph * pw + LANES];
    // Strides and small grids of outputs leave the last voxels unread.
    let (read, rows) = (w.min(pw.saturating_sub(before[2])), parts.iter().flat_map(|p| p.chunks_exact(w)));
    for (at, row) in rows.enumerate() {
        let (c, z, y) = (at / (d * h), at / h % d + before[0], at % h + before[1]);
        if z < pd && y < ph {
            let to = ((c * pd + z) * ph + y) * pw + before[2];
            data[to..to + read].iter_mut().zip(row).for_each(|(t, &v)| *t = convert(v));
        }
    }
    (data, channels)
}

/// Convolution with zero padding: `weights` is `[out_channels][in_channels][kernel]`; returns `[out_channels, D, H,
/// W]`.
fn conv<T: Scalar, U: Copy + Sync>(
    geometry: Conv,
    parts: &[&[U]],
    weights: &[T],
    convert: impl Fn(U) -> T + Sync,
) -> Vec<T> {
    let (data, channels) = padded(geometry, parts, convert);
    let Conv { kernel, stride, output: [d, h, w], .. } = geometry;
    let [pd, ph, pw] = geometry.padded();
    let taps = channels * kernel.iter().product::<usize>();
    let out_channels = weights.len() / taps;
    let mut offsets = Vec::with_capacity(taps);
    for c in 0..channels {
        for z in 0..kernel[0] {
            for y in 0..kernel[1] {
                offsets.extend((0..kernel[2]).map(|x| ((c * pd + z) * ph + y) * pw + x));
            }
        }
    }
    // Neighbours in memory are computed together: a plane at once, or, where a stride leaves rows out, row by row.
    let rows = if stride[1] == 1 { h } else { 1 };
    let length = (rows - 1) * pw + (w - 1) * stride[2] + 1;
    let mut out = vec![T::default(); out_channels * d * h * w];
    out.par_chunks_mut(h * w).enumerate().for_each(|(plane, out)| {
        let (co, z) = (plane / d, plane % d);
        let weights = &weights[co * taps..(co + 1) * taps];
        let mut line = vec![T::default(); length.next_multiple_of(LANES)];
        for (at, out) in out.chunks_exact_mut(rows * w).enumerate() {
            let first = (z * stride[0] * ph + at * stride[1]) * pw;
            for (run, line) in line.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                *line = sums(&data[first + run * LANES..], &offsets, weights);
            }
            for (row, from) in out.chunks_exact_mut(w).zip(line.chunks(pw)) {
                row.iter_mut().zip(from.iter().step_by(stride[2])).for_each(|(to, &from)| *to = from);
            }
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

/// Transposed convolution whose kernel equals its stride: `weights` is `[out_channels][in_channels][factor]`; returns
/// `[out_channels, factor·D, …]`.
fn transposed<T: Scalar, U: Copy + Sync>(
    parts: &[&[U]],
    dims: [usize; 3],
    weights: &[T],
    factor: [usize; 3],
    convert: impl Fn(U) -> T + Sync,
) -> Vec<T> {
    let ([d, h, w], [fd, fh, fw]) = (dims, factor);
    let taps = fd * fh * fw;
    let ci = parts.iter().map(|p| p.len() / (d * h * w)).sum::<usize>();
    // One 1^3 convolution with an output channel for each pair (output channel, tap).
    let mut by_tap = Vec::with_capacity(weights.len());
    for matrix in weights.chunks_exact(ci * taps) {
        for tap in 0..taps {
            by_tap.extend((0..ci).map(|c| matrix[c * taps + tap]));
        }
    }
    let parts = conv(Conv::pointwise(dims), parts, &by_tap, convert);
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

/// Channels that hold the phases of a finer grid, put together: of `[channels·F, D, H, W]` channel c·F + p has the
/// voxels of channel c whose places modulo `factor` are p. Phases beyond the grid `output` are left out.
pub(crate) fn interleave<T: Copy + Default>(
    parts: &[T],
    dims: [usize; 3],
    factor: [usize; 3],
    output: [usize; 3],
) -> Vec<T> {
    let ([d, h, w], [fd, fh, fw], [od, oh, ow]) = (dims, factor, output);
    let phases = fd * fh * fw;
    let mut out = vec![T::default(); parts.len() / (phases * d * h * w) * od * oh * ow];
    for (part, values) in parts.chunks_exact(d * h * w).enumerate() {
        let (c, phase) = (part / phases, part % phases);
        let (a, b, c0) = (phase / (fh * fw), phase / fw % fh, phase % fw);
        for (row, values) in values.chunks_exact(w).enumerate() {
            let (z, y) = (row / h * fd + a, row % h * fh + b);
            if z < od && y < oh {
                let to = ((c * od + z) * oh + y) * ow;
                out[to..to + ow].iter_mut().skip(c0).step_by(fw).zip(values).for_each(|(t, &v)| *t = v);
            }
        }
    }
    out
}

/// Every voxel `factor` times along each axis.
pub(crate) fn repeat<T: Copy>(input: &[T], dims: [usize; 3], factor: [usize; 3]) -> Vec<T> {
    let [d, h, w] = dims;
    let mut out = Vec::with_capacity(input.len() * factor.iter().product::<usize>());
    for channel in input.chunks_exact(d * h * w) {
        for z in 0..d * factor[0] {
            for y in 0..h * factor[1] {
                let row = &channel[(z / factor[0] * h + y / factor[1]) * w..][..w];
                out.extend(row.iter().flat_map(|&v| std::iter::repeat_n(v, factor[2])));
            }
        }
    }
    out
}

/// A grid `factor` times finer; of a linear one 4 times the values for each axis that is twice as fine.
pub(crate) fn finer<T: Copy + Default + From<u8> + AddAssign + Mul<Output = T>>(
    input: &[T],
    dims: [usize; 3],
    factor: [usize; 3],
    mode: Interpolation,
) -> Vec<T> {
    if mode == Interpolation::Nearest {
        return repeat(input, dims, factor);
    }
    // What a place along an axis is made of.
    let parts = |axis: usize, at: usize| -> [(usize, u8); 2] {
        let (near, last) = (at / factor[axis], dims[axis] - 1);
        match (factor[axis], at % 2) {
            (1, _) => [(near, 1), (near, 0)],
            (_, 0) => [(near, 3), (near.saturating_sub(1), 1)],
            _ => [(near, 3), (last.min(near + 1), 1)],
        }
    };
    let fine: [usize; 3] = std::array::from_fn(|i| dims[i] * factor[i]);
    let mut out = Vec::with_capacity(input.len() * factor.iter().product::<usize>());
    for channel in input.chunks_exact(dims.iter().product()) {
        for v in 0..fine.iter().product() {
            let [z, y, x] = [v / (fine[1] * fine[2]), v / fine[2] % fine[1], v % fine[2]];
            let mut sum = T::default();
            for (z, a) in parts(0, z) {
                for (y, b) in parts(1, y) {
                    for (x, c) in parts(2, x) {
                        sum += channel[(z * dims[1] + y) * dims[2] + x] * T::from(a * b * c);
                    }
                }
            }
            out.push(sum);
        }
    }
    out
}

/// A grid `factor` times finer, in real numbers.
pub(crate) fn resized(input: &[f32], dims: [usize; 3], factor: [usize; 3], mode: Interpolation) -> Vec<f32> {
    let mut out = finer(input, dims, factor, mode);
    let share = 1.0 / (1u32 << mode.bits(factor)) as f32;
    out.iter_mut().for_each(|v| *v *= share);
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
        let strided = |kernel, stride, padding| LinearKind::Conv { kernel, stride, padding };
        for (dims, kind, ci, co) in [
            ([3, 4, 5], LinearKind::conv([3, 3, 3]), 2, 3),
            ([1, 7, 19], LinearKind::conv([1, 5, 3]), 3, 2),
            ([2, 2, 1], LinearKind::conv([1, 1, 1]), 4, 2),
            ([1, 13, 40], strided([1, 5, 5], [1, 4, 4], [0, 2, 2]), 2, 2),
            ([5, 6, 7], strided([3, 3, 3], [2, 1, 3], [1, 0, 2]), 2, 2),
            ([4, 4, 4], strided([2, 2, 2], [2, 2, 2], [0, 0, 0]), 1, 3),
            ([4, 5, 6], strided([2, 4, 1], [1, 3, 5], [1, 3, 0]), 3, 1),
            ([2, 3, 4], strided([2, 3, 4], [1, 1, 1], [0, 0, 0]), 2, 5),
        ] {
            conv_is_its_definition(dims, kind, kind.output_dims(dims), [ci, co]);
        }
        // The zeros behind the grid follow from the output's dims: none at all, or as many as the kernel takes.
        for output in [[1, 2, 1], [4, 4, 6], [5, 6, 7]] {
            let kind = strided([3, 4, 3], [1, 1, 1], [1, 1, 2]);
            assert!(kind.fits([4, 5, 6], output));
            conv_is_its_definition([4, 5, 6], kind, output, [2, 2]);
        }
    }

    fn conv_is_its_definition(dims: [usize; 3], kind: LinearKind, output: [usize; 3], [ci, co]: [usize; 2]) {
        let LinearKind::Conv { kernel, stride, padding } = kind else { unreachable!("a convolution") };
        let [d, h, w] = dims;
        let x = numbers(ci * d * h * w);
        let taps = kernel.iter().product::<usize>();
        let weights = numbers(co * ci * taps);
        let half = (x.len() / ci) * (ci / 2);
        let got = linear(kind, [dims, output], &[&x[..half], &x[half..]], &weights, |v| v);
        let [od, oh, ow] = output;
        assert_eq!(got.len(), co * od * oh * ow);
        for (at, &got) in got.iter().enumerate() {
            let (o, place) = (at / (od * oh * ow), [at / (oh * ow) % od, at / ow % oh, at % ow]);
            let mut want = 0.0;
            for c in 0..ci {
                for t in 0..taps {
                    let k = [t / (kernel[1] * kernel[2]), t / kernel[2] % kernel[1], t % kernel[2]];
                    let inside =
                        |a: usize| (place[a] * stride[a] + k[a]).checked_sub(padding[a]).filter(|&q| q < dims[a]);
                    if let (Some(z), Some(y), Some(x_at)) = (inside(0), inside(1), inside(2)) {
                        want += weights[(o * ci + c) * taps + t] * x[((c * d + z) * h + y) * w + x_at];
                    }
                }
            }
            assert_eq!(got, want, "at {at} of {dims:?} to {output:?} with {kind:?}");
        }
    }

    #[test]
    fn transposed_spreads_each_value_over_its_taps() {
        for (dims, factor) in [([2, 3, 4], [2, 2, 2]), ([1, 3, 5], [1, 2, 2])] {
            let ([d, h, w], [fd, fh, fw]) = (dims, factor);
            let (ci, co, taps) = (3, 2, fd * fh * fw);
            let (x, weights) = (numbers(ci * d * h * w), numbers(co * ci * taps));
            let kind = LinearKind::Transposed2 { factor };
            let got = linear(kind, [dims, kind.output_dims(dims)], &[&x], &weights, |v| v);
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
    fn voxels_are_interleaved_and_repeated() {
        let phases = [1, 2, 10, 20, 100, 200, 1000, 2000];
        let rows = [1, 10, 2, 20, 100, 1000, 200, 2000];
        assert_eq!(interleave(&phases, [1, 1, 2], [1, 2, 2], [1, 2, 4]), rows);
        assert_eq!(interleave(&phases, [1, 1, 2], [1, 2, 2], [1, 1, 3]), [1, 10, 2]);
        assert_eq!(interleave(&phases, [1, 2, 2], [1, 1, 2], [1, 2, 3]), [1, 100, 2, 10, 1000, 20]);
        assert_eq!(repeat(&[1, 2, 3, 4], [1, 1, 2], [1, 2, 2]), [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4]);
        assert_eq!(repeat(&[1, 2], [2, 1, 1], [2, 1, 1]), [1, 1, 2, 2]);
        let fine = finer(&[0i64, 4, 8, 8], [1, 1, 4], [1, 1, 2], Interpolation::Linear);
        assert_eq!(fine, [0, 4, 12, 20, 28, 32, 32, 32]);
        let fine = finer(&[0i64, 1, 2, 3], [1, 2, 2], [1, 2, 2], Interpolation::Linear);
        assert_eq!(fine, [0, 4, 12, 16, 8, 12, 20, 24, 24, 28, 36, 40, 32, 36, 44, 48]);
        assert_eq!(resized(&[0.0, 1.0], [2, 1, 1], [2, 1, 1], Interpolation::Linear), [0.0, 0.25, 0.75, 1.0]);
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
