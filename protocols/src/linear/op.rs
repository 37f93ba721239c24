//! What the linear operations are: each the sparse map that defines it. However one is computed, this is what it must
//! equal.

/// A convolution on `[inputs, D, H, W]`: output z takes tap k from voxel `stride z + k - padding`, which is 0 outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Depth, height, width of the input.
    pub size: [usize; 3],
    /// Depth, height, width of the output; how many zeros follow the last voxel is implied by it.
    pub output: [usize; 3],
    /// Depth, height, width of the kernel.
    pub kernel: [usize; 3],
    /// From one output to the next.
    pub stride: [usize; 3],
    /// Zeros before the first voxel.
    pub padding: [usize; 3],
}

impl ConvShape {
    /// Stride 1 and a padding of half the kernel: an odd one keeps the size.
    pub fn same(inputs: usize, outputs: usize, size: [usize; 3], kernel: [usize; 3]) -> Self {
        Self { inputs, outputs, size, output: size, kernel, stride: [1; 3], padding: kernel.map(|k| k / 2) }
    }

    fn taps(&self) -> usize {
        self.kernel.iter().product()
    }
}

/// A linear map of a tensor, or of several joined, to a tensor. Weights are `[outputs][inputs][taps]` wherever there
/// are any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinearOp {
    /// A convolution.
    Conv(ConvShape),
    /// A transposed one: input z adds to output `stride z + k - padding` by tap k.
    Transposed(ConvShape),
    /// Every input to every output.
    Dense {
        /// Elements of the input.
        inputs: usize,
        /// Elements of the output.
        outputs: usize,
    },
    /// Sums of windows that don't overlap, of each channel: average pooling before its division. Nothing behind the
    /// last whole window counts.
    SumPool {
        /// Channels.
        channels: usize,
        /// Depth, height, width of the input.
        size: [usize; 3],
        /// Depth, height, width of the window.
        window: [usize; 3],
    },
    /// Tensors one after the other, each of so many elements.
    Concatenation(Vec<usize>),
}

/// A term of an output's sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// The input element.
    pub input: usize,
    /// The weight that multiplies it, by its number; none is 1.
    pub weight: Option<usize>,
}

/// As a channel and its voxel.
fn split(element: usize, [d, h, w]: [usize; 3]) -> (usize, [usize; 3]) {
    (element / (d * h * w), [element / (h * w) % d, element / w % h, element % w])
}

fn join(channel: usize, [z, y, x]: [usize; 3], [d, h, w]: [usize; 3]) -> usize {
    ((channel * d + z) * h + y) * w + x
}

/// All places of a box, the last dimension the fastest.
fn each([d, h, w]: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..d).flat_map(move |z| (0..h).flat_map(move |y| (0..w).map(move |x| [z, y, x])))
}

impl LinearOp {
    /// Dimensions of the input.
    pub fn input_shape(&self) -> Vec<usize> {
        match self {
            Self::Conv(c) | Self::Transposed(c) => vec![c.inputs, c.size[0], c.size[1], c.size[2]],
            Self::Dense { inputs, .. } => vec![*inputs],
            Self::SumPool { channels, size: [d, h, w], .. } => vec![*channels, *d, *h, *w],
            Self::Concatenation(parts) => vec![parts.iter().sum()],
        }
    }

    /// Dimensions of the output.
    pub fn output_shape(&self) -> Vec<usize> {
        match self {
            Self::Conv(c) | Self::Transposed(c) => vec![c.outputs, c.output[0], c.output[1], c.output[2]],
            Self::Dense { outputs, .. } => vec![*outputs],
            Self::SumPool { channels, size, window } => {
                [*channels].into_iter().chain((0..3).map(|d| size[d] / window[d])).collect()
            }
            Self::Concatenation(parts) => vec![parts.iter().sum()],
        }
    }

    /// Weights that it takes.
    pub fn weights(&self) -> usize {
        match self {
            Self::Conv(c) | Self::Transposed(c) => c.outputs * c.inputs * c.taps(),
            Self::Dense { inputs, outputs } => inputs * outputs,
            Self::SumPool { .. } | Self::Concatenation(_) => 0,
        }
    }

    /// Calls `visit` with each term of output element `output`.
    pub fn visit(&self, output: usize, mut visit: impl FnMut(Term)) {
        match *self {
            Self::Conv(ref c) => {
                let (o, z) = split(output, c.output);
                c.visit(o, |k, d| (c.stride[d] * z[d] + k).checked_sub(c.padding[d]), visit);
            }
            Self::Transposed(ref c) => {
                let (o, z) = split(output, c.output);
                let voxel = |k: usize, d: usize| {
                    let from = (z[d] + c.padding[d]).checked_sub(k)?;
                    from.is_multiple_of(c.stride[d]).then(|| from / c.stride[d])
                };
                c.visit(o, voxel, visit);
            }
            Self::Dense { inputs, .. } => {
                (0..inputs).for_each(|input| visit(Term { input, weight: Some(output * inputs + input) }));
            }
            Self::SumPool { size, window, .. } => {
                let (c, z) = split(output, std::array::from_fn(|d| size[d] / window[d]));
                for k in each(window) {
                    let voxel = std::array::from_fn(|d| z[d] * window[d] + k[d]);
                    visit(Term { input: join(c, voxel, size), weight: None });
                }
            }
            Self::Concatenation(_) => visit(Term { input: output, weight: None }),
        }
    }

    /// The map by definition, mod 2^32.
    ///
    /// # Panics
    /// For other numbers of weights or inputs than its own.
    pub fn ideal(&self, weights: &[i32], x: &[u32]) -> Vec<u32> {
        let (inputs, outputs) = (self.input_shape().iter().product(), self.output_shape().iter().product());
        assert_eq!((weights.len(), x.len()), (self.weights(), inputs), "weights and inputs of {self:?}");
        let sum = |output: usize| {
            let mut sum = 0u32;
            self.visit(output, |Term { input, weight }| {
                sum = sum.wrapping_add(weight.map_or(1, |w| weights[w] as u32).wrapping_mul(x[input]));
            });
            sum
        };
        (0..outputs).map(sum).collect()
    }
}

impl ConvShape {
    /// The terms of a voxel of output channel `o`, which takes tap `k` of dimension `d` from `voxel(k, d)` where that
    /// exists.
    fn visit(&self, o: usize, voxel: impl Fn(usize, usize) -> Option<usize>, mut visit: impl FnMut(Term)) {
        let [kd, kh, kw] = self.kernel;
        let inside = |k: usize, d: usize| voxel(k, d).filter(|&at| at < self.size[d]);
        for (c, k) in (0..self.inputs).flat_map(|c| each([kd, kh, 1]).map(move |k| (c, k))) {
            let (Some(z), Some(y)) = (inside(k[0], 0), inside(k[1], 1)) else { continue };
            for (kx, x) in (0..kw).filter_map(|kx| Some((kx, inside(kx, 2)?))) {
                let weight = (o * self.inputs + c) * self.taps() + (k[0] * kh + k[1]) * kw + kx;
                visit(Term { input: join(c, [z, y, x], self.size), weight: Some(weight) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(size: [usize; 3], output: [usize; 3], kernel: [usize; 3], stride: usize, padding: usize) -> ConvShape {
        ConvShape { inputs: 1, outputs: 1, size, output, kernel, stride: [1, 1, stride], padding: [0, 0, padding] }
    }

    #[test]
    fn maps_are_what_they_are_written_to_be() {
        let x = [1, 10, 100, 1000, 10_000];
        let line = |output: usize, kernel: usize, stride: usize, padding: usize| {
            conv([1, 1, 5], [1, 1, output], [1, 1, kernel], stride, padding)
        };
        assert_eq!(LinearOp::Conv(line(5, 3, 1, 1)).ideal(&[1, 2, 3], &x), [32, 321, 3210, 32_100, 21_000]);
        assert_eq!(LinearOp::Conv(line(3, 2, 2, 0)).ideal(&[1, 2], &x), [21, 2100, 10_000]);
        assert_eq!(LinearOp::Conv(line(3, 2, 2, 1)).ideal(&[1, 2], &x), [2, 210, 21_000]);
        assert_eq!(LinearOp::Conv(line(2, 4, 3, 3)).ideal(&[1, 2, 3, 4], &x), [4, 4321]);
        let up = conv([1, 1, 2], [1, 1, 5], [1, 1, 3], 2, 0);
        assert_eq!(LinearOp::Transposed(up).ideal(&[1, 2, 3], &[1, 10]), [1, 2, 13, 20, 30]);
        let up = conv([1, 1, 2], [1, 1, 4], [1, 1, 3], 2, 1);
        assert_eq!(LinearOp::Transposed(up).ideal(&[1, 2, 3], &[1, 10]), [2, 13, 20, 30]);
        assert_eq!(LinearOp::Dense { inputs: 2, outputs: 2 }.ideal(&[1, 2, -3, 4], &[10, 100]), [210, 370]);
        let pool = LinearOp::SumPool { channels: 1, size: [1, 2, 5], window: [1, 2, 2] };
        assert_eq!(pool.ideal(&[], &[1, 2, 3, 4, 5, 10, 20, 30, 40, 50]), [33, 77]);
        assert_eq!(pool.output_shape(), [1, 1, 1, 2]);
        assert_eq!(LinearOp::Concatenation(vec![2, 1]).ideal(&[], &[7, 8, 9]), [7, 8, 9]);
    }

    #[test]
    fn channels_and_dimensions_keep_their_order() {
        let shape = ConvShape { inputs: 2, outputs: 2, ..ConvShape::same(2, 2, [2, 2, 2], [2, 1, 1]) };
        let shape = ConvShape { padding: [0; 3], output: [1, 2, 2], ..shape };
        let x: Vec<u32> = (0..16).map(|i| 1 << i).collect();
        let weights = [1, 2, 4, 8, 16, 32, 64, 128];
        let expected = |o: usize, at: usize| -> u32 {
            (0..4).map(|i| weights[4 * o + i] as u32 * x[i / 2 * 8 + i % 2 * 4 + at]).sum()
        };
        let expected: Vec<u32> = (0..8).map(|i| expected(i / 4, i % 4)).collect();
        assert_eq!(LinearOp::Conv(shape).ideal(&weights, &x), expected);
    }
}
