//! Linear layers on the input under a fresh mask, from W - A once a model.
//!
//! | # | from -> to | content | when |
//! |---|---|---|---|
//! | 0 | S -> C | W - A, A from the server's seed | once a model and session, 4 bytes a weight |
//! | 1 | D -> S | v = A·u - a2, u and a2 from the client's seed | every run, 4 bytes an output |
//! | 2 | C -> S | x_C - u | every run, 4 bytes an input |
//!
//! C: y_C = (W - A)·u + a2 = W·u - v, before its input is known. S: y_S = W·(x_C - u + x_S) + v + bias. W - A is uniform
//! and v hides u, which is never used twice; A may stay.
//!
//! Values lie as \[channel\]\[D, H, W\]\[row\]: rows of a batch side by side.

use blindvox_models::{Linear, LinearKind, Program};
use zeroize::Zeroizing;

use super::gemm::gemm;
use super::streams::Words;
use crate::error::{Error, Result};

/// Columns that are gathered at a time.
const COLUMNS: usize = 4096;

/// A linear map: the geometry of a layer, rows side by side.
#[derive(Clone, Debug)]
pub struct Map {
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [usize; 3],
    input: [usize; 3],
    output: [usize; 3],
    in_channels: usize,
    out_channels: usize,
    rows: usize,
}

impl Map {
    /// Of a layer of a checked program.
    ///
    /// # Errors
    /// [`Error::Model`] for a transposed convolution, which is not there.
    pub fn new(program: &Program, linear: &Linear, rows: usize) -> Result<Self> {
        let LinearKind::Conv { kernel, stride, padding } = linear.kind else {
            let name = &linear.name;
            return Err(Error::Model(format!(
                "layer {name:?}: found a transposed convolution, which has no dealer's form"
            )));
        };
        let (input, output) = (program.tensors[linear.inputs[0]].dims, program.tensors[linear.output].dims);
        let (in_channels, out_channels) = (linear.in_channels, linear.out_channels);
        Ok(Self { kernel, stride, padding, input, output, in_channels, out_channels, rows })
    }

    /// Weights.
    pub fn weights(&self) -> usize {
        self.out_channels * self.depth()
    }

    /// Elements that it reads, of all rows.
    pub fn inputs(&self) -> usize {
        self.in_channels * self.input.iter().product::<usize>() * self.rows
    }

    /// Elements that it writes, of all rows.
    pub fn outputs(&self) -> usize {
        self.out_channels * self.columns()
    }

    /// Elements that it writes for each output channel.
    pub fn columns(&self) -> usize {
        self.output.iter().product::<usize>() * self.rows
    }

    /// Multiply-adds.
    pub fn products(&self) -> usize {
        self.weights() * self.columns()
    }

    fn depth(&self) -> usize {
        self.in_channels * self.kernel.iter().product::<usize>()
    }

    /// weights·x.
    ///
    /// # Panics
    /// If a length doesn't fit.
    pub fn apply(&self, weights: &[u32], x: &[u32]) -> Words {
        assert_eq!([weights.len(), x.len()], [self.weights(), self.inputs()], "the layer's sizes");
        let (m, k, n) = (self.out_channels, self.depth(), self.columns());
        let mut y = Zeroizing::new(vec![0; m * n]);
        if self.kernel == [1; 3] && self.stride == [1; 3] && self.input == self.output {
            gemm(weights, x, &mut y, [m, k, n]);
            return y;
        }
        for first in (0..n).step_by(COLUMNS) {
            let width = COLUMNS.min(n - first);
            let gathered = self.gather(x, first, width);
            let mut part = Zeroizing::new(vec![0; m * width]);
            gemm(weights, &gathered, &mut part, [m, k, width]);
            for (y, part) in y.chunks_exact_mut(n).zip(part.chunks_exact(width)) {
                y[first..first + width].copy_from_slice(part);
            }
        }
        y
    }

    /// For columns from `first` on, the element that each weight meets: \[input channel\]\[tap\]\[column\].
    fn gather(&self, x: &[u32], first: usize, width: usize) -> Words {
        let [_, kh, kw] = self.kernel;
        let [_, oh, ow] = self.output;
        let [_, ih, iw] = self.input;
        let taps = self.kernel.iter().product::<usize>();
        let channel = self.input.iter().product::<usize>() * self.rows;
        let mut out = Zeroizing::new(vec![0; self.depth() * width]);
        for (at, out) in out.chunks_exact_mut(width).enumerate() {
            let (c, tap) = (at / taps, at % taps);
            let tap = [tap / (kh * kw), tap / kw % kh, tap % kw];
            let x = &x[c * channel..(c + 1) * channel];
            let mut next = 0;
            while next < width {
                let (voxel, row) = ((first + next) / self.rows, (first + next) % self.rows);
                let place = [voxel / (oh * ow), voxel / ow % oh, voxel % ow];
                let count = (self.rows - row).min(width - next);
                let inside = |d: usize| {
                    let at = (place[d] * self.stride[d] + tap[d]).checked_sub(self.padding[d]);
                    at.filter(|&at| at < self.input[d])
                };
                if let (Some(z), Some(y), Some(w)) = (inside(0), inside(1), inside(2)) {
                    let from = ((z * ih + y) * iw + w) * self.rows + row;
                    out[next..next + count].copy_from_slice(&x[from..from + count]);
                }
                next += count;
            }
        }
        out
    }

    /// Adds the biases of a layer to the server's share of its output.
    pub fn add_bias(&self, linear: &Linear, y: &mut [u32]) {
        let n = self.columns();
        for (o, y) in y.chunks_exact_mut(n).enumerate() {
            y.iter_mut().for_each(|y| *y = y.wrapping_add(linear.bias[o] as u32));
        }
        if let Some(map) = &linear.bias_map {
            for (y, bias) in y.chunks_exact_mut(self.rows).zip(map) {
                y.iter_mut().for_each(|y| *y = y.wrapping_add(*bias as u32));
            }
        }
    }
}

/// a - b mod 2^32.
pub fn sub(a: &[u32], b: &[u32]) -> Words {
    Zeroizing::new(a.iter().zip(b).map(|(a, b)| a.wrapping_sub(*b)).collect())
}

/// a + b mod 2^32.
pub fn add(a: &[u32], b: &[u32]) -> Words {
    Zeroizing::new(a.iter().zip(b).map(|(a, b)| a.wrapping_add(*b)).collect())
}
