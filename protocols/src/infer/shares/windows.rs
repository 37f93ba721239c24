//! A run in windows: all steps but the last on each window, their scores blended in shares.
//!
//! Weights are public, so each party adds weight · score to its own sums: exact, and without a message. What is opened is
//! one argmax a voxel, of the rows to which no later window adds; then their sums leave memory, of which there are
//! classes · (rows of a window) at a time.

use blindvox_models::windows::Windows;

use super::online::Online;
use crate::error::Result;
use crate::share::{Ring, Shares};

impl Online<'_> {
    /// The labels of the whole grid, if this is the client; `bits` are those of the sums.
    pub(super) fn in_windows(&mut self, windows: &Windows, input: &[u32], bits: u32) -> Result<Option<Vec<u8>>> {
        let (classes, last) = (self.program.classes, self.program.steps.len() - 1);
        let mut sums = Shares::zeros(classes * windows.voxels(windows.size()[0]));
        let mut labels: Option<Vec<u8>> = None;
        for (at, &first) in windows.starts[0].iter().enumerate() {
            for [h, w] in windows.across() {
                let mut patch = Shares::with_capacity(self.program.tensors[self.program.input].elements());
                windows.patch(input, [first, h, w]).for_each(|row| patch.extend_from_slice(row));
                self.pass(patch)?;
                let scores = self.take_scores();
                windows.add(&mut sums, [first, h, w], &scores, |sum, weight, score| {
                    *sum = sum.wrapping_add(score.wrapping_mul(weight));
                });
            }
            let rows = windows.done(at).len();
            let mut done = Shares::with_capacity(classes * windows.voxels(rows));
            windows.finished(&sums, rows).for_each(|class| done.extend_from_slice(class));
            windows.advance(&mut sums, rows, 0);
            let found = self.timed(last, |online| online.argmax(&done, Ring::Pow2(bits)))?;
            if let Some(found) = found {
                labels.get_or_insert_with(|| Vec::with_capacity(windows.voxels(windows.grid[0]))).extend(found);
            }
        }
        Ok(labels)
    }
}
