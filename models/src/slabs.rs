//! Whole passes cut into slabs that overlap, where one would take too much memory: the labels are the same to the bit.
//!
//! A score depends on voxels up to some distance, the network's reach. A slab is run with a halo of at least that on each
//! inner side, whose scores don't count. Slabs begin where all coarser grids have a voxel begin, so that strides and
//! poolings fall as in the whole pass.

use crate::error::Result;
use crate::format::bundle::Bundle;
use crate::integers::program::{Linear, Program, Step};
use crate::network::{Interpolation, LinearKind};
use crate::windows::Windows;

/// Slabs that compute so many times the voxels of the whole are not offered.
const MOST_WORK: usize = 2;

/// What a tensor's voxel is along one axis, in voxels of the input.
#[derive(Clone, Copy)]
struct View {
    /// Its side.
    side: usize,
    /// How far beyond its own sides it looks.
    reach: usize,
}

/// The reach of the scores along an axis, and the least common multiple of all tensors' sides; `None` where a grid isn't
/// cut evenly.
fn reach(program: &Program, axis: usize) -> Option<[usize; 2]> {
    let length = program.tensors[program.input].dims[axis];
    let mut views = vec![View { side: 1, reach: 0 }; program.tensors.len()];
    let mut common = 1;
    for step in &program.steps {
        let Some(output) = step.output() else { continue };
        let inputs = step.inputs().iter().map(|&t| views[t]);
        let input = inputs.reduce(|a, b| View { side: a.side, reach: a.reach.max(b.reach) })?;
        let finer = |factor: usize, neighbours: usize| {
            let side = input.side.is_multiple_of(factor).then(|| input.side / factor)?;
            Some(View { side, reach: input.reach + (neighbours + 1) * input.side - side })
        };
        let view = match step {
            Step::Linear(Linear { kind: LinearKind::Conv { kernel, stride, padding }, .. }) => {
                let after = kernel[axis].saturating_sub(padding[axis] + stride[axis]);
                View { side: input.side * stride[axis], reach: input.reach + input.side * after.max(padding[axis]) }
            }
            Step::Linear(Linear { kind: LinearKind::Transposed2 { factor }, .. })
            | Step::Interleave { factor, .. }
            | Step::Resize { factor, mode: Interpolation::Nearest, .. } => finer(factor[axis], 0)?,
            Step::Resize { factor, mode: Interpolation::Linear, .. } => finer(factor[axis], factor[axis] - 1)?,
            Step::AvgPool { window, .. } | Step::MaxPool { window, .. } | Step::MinPool { window, .. } => {
                View { side: input.side * window[axis], ..input }
            }
            Step::Flatten { .. } => return None,
            _ => input,
        };
        (program.tensors[output].dims[axis] * view.side == length).then_some(())?;
        common = common / gcd(common, view.side) * view.side;
        views[output] = view;
    }
    let scores = views[program.logits];
    (scores.side == 1).then_some([scores.reach, common])
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Bundle {
    /// What runs on a grid in at most `count` slabs along its longest axis, at least two; `None` where the network runs in windows
    /// of its own, where its layers don't allow slabs, or so many would compute more than twice the voxels of one pass.
    ///
    /// # Errors
    /// Those of [`Self::program_for`].
    pub fn program_in_slabs(&self, grid: [usize; 3], count: usize) -> Result<Option<Program>> {
        let whole = self.program_for(grid)?;
        if whole.windows().is_some() || count < 2 {
            return Ok(None);
        }
        let axis = (0..3).fold(0, |longest, a| if grid[a] > grid[longest] { a } else { longest });
        let Some([reach, common]) = reach(&whole, axis) else { return Ok(None) };
        let halo = reach.next_multiple_of(common);
        let inner = grid[axis].saturating_sub(2 * halo);
        if count > inner / common {
            return Ok(None);
        }
        let size = inner.div_ceil(count).next_multiple_of(common) + 2 * halo;
        let windows = Windows::along(axis, grid, size, halo);
        if windows.count() * size > MOST_WORK * grid[axis] {
            return Ok(None);
        }
        self.program_for(windows.size())?.blended(windows).map(Some)
    }
}
