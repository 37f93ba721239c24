//! Which inputs meet which weights in a linear layer.

use serde::{Deserialize, Serialize};

/// The geometry of a linear step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Encoded", into = "Encoded")]
pub enum LinearKind {
    /// `out[z] = sum_k w[k]·in[stride·z + k - padding]`, zero outside.
    Conv {
        /// Sizes along D, H, W.
        kernel: [usize; 3],
        /// From one output to the next along D, H, W.
        stride: [usize; 3],
        /// Zeros before the first voxel along D, H, W, fewer than the kernel's size; how many follow the last one is
        /// implied by the output's dims.
        padding: [usize; 3],
    },
    /// `out[factor·z + k] = w[k]·in[z]` for 0 <= k < factor; the grid grows by `factor`.
    Transposed2 {
        /// `[2, 2, 2]`, or `[1, 2, 2]` in a planar network.
        factor: [usize; 3],
    },
}

/// How a geometry is written: the fields that most convolutions don't use take no bytes there.
#[derive(Serialize, Deserialize)]
enum Encoded {
    Conv { kernel: [usize; 3] },
    Transposed2 { factor: [usize; 3] },
    Strided { kernel: [usize; 3], stride: [usize; 3], padding: [usize; 3] },
}

impl From<LinearKind> for Encoded {
    fn from(kind: LinearKind) -> Self {
        match kind {
            LinearKind::Conv { kernel, .. } if kind == LinearKind::conv(kernel) => Self::Conv { kernel },
            LinearKind::Conv { kernel, stride, padding } => Self::Strided { kernel, stride, padding },
            LinearKind::Transposed2 { factor } => Self::Transposed2 { factor },
        }
    }
}

impl From<Encoded> for LinearKind {
    fn from(encoded: Encoded) -> Self {
        match encoded {
            Encoded::Conv { kernel } => Self::conv(kernel),
            Encoded::Transposed2 { factor } => Self::Transposed2 { factor },
            Encoded::Strided { kernel, stride, padding } => Self::Conv { kernel, stride, padding },
        }
    }
}

impl LinearKind {
    /// A convolution with stride 1 and a padding of half the kernel; an odd one keeps the grid.
    pub const fn conv(kernel: [usize; 3]) -> Self {
        let [d, h, w] = kernel;
        Self::Conv { kernel, stride: [1; 3], padding: [d / 2, h / 2, w / 2] }
    }

    /// Weights for a pair of channels along each axis.
    pub fn taps(&self) -> [usize; 3] {
        match *self {
            LinearKind::Conv { kernel, .. } => kernel,
            LinearKind::Transposed2 { factor } => factor,
        }
    }

    /// Weights for a pair of channels.
    pub fn volume(&self) -> usize {
        self.taps().iter().product()
    }

    /// The output grid of an input grid; of a convolution with as many zeros behind the grid as before it, at most: 0
    /// along an axis where the padded grid is smaller than the kernel.
    pub fn output_dims(&self, dims: [usize; 3]) -> [usize; 3] {
        std::array::from_fn(|i| match *self {
            LinearKind::Conv { kernel, stride, padding } => {
                (dims[i] + 2 * padding[i]).checked_sub(kernel[i]).map_or(0, |free| free / stride[i] + 1)
            }
            LinearKind::Transposed2 { factor } => dims[i] * factor[i],
        })
    }

    /// Whether it takes the grid `input` to the grid `output`: every window of a convolution meets the grid.
    pub fn fits(&self, input: [usize; 3], output: [usize; 3]) -> bool {
        match *self {
            LinearKind::Conv { kernel, stride, padding } => (0..3).all(|i| {
                let last = output[i].checked_sub(1).and_then(|last| last.checked_mul(stride[i]));
                let reach = input[i].checked_add(padding[i]);
                stride[i] > 0 && padding[i] < kernel[i] && last.zip(reach).is_some_and(|(last, reach)| last < reach)
            }),
            LinearKind::Transposed2 { .. } => self.output_dims(input) == output,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometry_takes_a_grid_to_a_grid() {
        let conv = |kernel, stride, padding| LinearKind::Conv { kernel, stride, padding };
        for (kind, input, output) in [
            (LinearKind::conv([3, 1, 5]), [4, 5, 6], [4, 5, 6]),
            (LinearKind::conv([2, 4, 6]), [4, 5, 6], [5, 6, 7]),
            (conv([1, 5, 5], [1, 4, 4], [0, 2, 2]), [1, 112, 112], [1, 28, 28]),
            (conv([2, 2, 2], [2, 2, 2], [0, 0, 0]), [5, 4, 2], [2, 2, 1]),
            (conv([3, 3, 3], [7, 7, 7], [1, 1, 1]), [1, 8, 7], [1, 2, 1]),
            (LinearKind::Transposed2 { factor: [1, 2, 2] }, [1, 3, 4], [1, 6, 8]),
        ] {
            assert_eq!(kind.output_dims(input), output, "{kind:?}");
            assert!(kind.fits(input, output) && !kind.fits(input, [0, 1, 1]) && !kind.fits(input, [9, 200, 200]));
        }
        assert_eq!(conv([5, 1, 1], [1; 3], [0; 3]).output_dims([4, 1, 1]), [0, 1, 1]);
        for wrong in [conv([1; 3], [0; 3], [0; 3]), conv([1; 3], [1; 3], [1, 0, 0]), conv([0; 3], [1; 3], [0; 3])] {
            assert!(!wrong.fits([4; 3], [4; 3]), "{wrong:?}");
        }
    }

    #[test]
    fn a_convolution_that_keeps_the_grid_is_written_as_its_kernel() {
        let bytes = |kind: &LinearKind| serde_json::to_string(kind).expect("JSON");
        assert_eq!(bytes(&LinearKind::conv([3, 1, 5])), r#"{"Conv":{"kernel":[3,1,5]}}"#);
        for kind in [
            LinearKind::conv([3, 1, 5]),
            LinearKind::Conv { kernel: [3; 3], stride: [1, 2, 1], padding: [1; 3] },
            LinearKind::Conv { kernel: [3; 3], stride: [1; 3], padding: [1, 0, 1] },
            LinearKind::Transposed2 { factor: [2; 3] },
        ] {
            assert_eq!(serde_json::from_str::<LinearKind>(&bytes(&kind)).expect("what was written"), kind);
        }
    }
}
