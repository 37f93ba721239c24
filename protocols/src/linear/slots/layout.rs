//! Where a tensor's elements lie among ciphertexts' slots.
//!
//! A plane of a tensor is a column of ciphertexts of its own. In it element (c, y, x) lies in slot
//! spatial + sub + block:
//!
//! ```text
//! spatial = Y gap GW + X gap        (Y, X) = (y, x) / phase
//! block   = GH GW times the block's number in its ciphertext, of block k / mux^2
//! sub     = k mod mux^2 inside a gap, as (row, column) of mux
//! k       = c phase^2 + (y mod phase) phase + x mod phase
//! ```
//!
//! Pooling leaves gaps, into which channels of later tensors go (multiplexed packing: Lee et al., "Low-complexity deep
//! convolutional neural networks on fully homomorphic encryption", 2022); a first layer with a stride takes its input by
//! phases.

use blindvox_models::network::Shape;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The most ciphertexts of a column.
const MAX_CIPHERTEXTS: usize = 256;
/// The most columns.
const MAX_COLUMNS: usize = 512;

/// A tensor's places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Channels.
    pub channels: usize,
    /// D, H, W.
    pub dims: [usize; 3],
    /// Slots of a ciphertext.
    pub slots: usize,
    /// GH, GW: rows and columns of a block.
    pub grid: [usize; 2],
    /// Slots between neighbours along an axis.
    pub gap: usize,
    /// Channels that share a gap, along an axis.
    pub mux: usize,
    /// Phases along an axis.
    pub phase: usize,
}

/// Where an element of a plane lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The ciphertext in its column.
    pub ciphertext: usize,
    /// Spatial, sub, block: their sum is the slot.
    pub parts: [usize; 3],
}

impl Place {
    /// The slot.
    pub fn slot(&self) -> usize {
        self.parts.iter().sum()
    }
}

impl Layout {
    /// A tensor with `gap` slots between neighbours on a grid, which `mux`^2 channels share.
    ///
    /// # Errors
    /// [`Error::Model`] where it does not fit.
    pub fn new(shape: Shape, slots: usize, grid: [usize; 2], gap: usize, mux: usize) -> Result<Self> {
        let layout = Self { channels: shape.channels, dims: shape.dims, slots, grid, gap, mux, phase: 1 };
        layout.check()?;
        Ok(layout)
    }

    /// A tensor by its phases.
    ///
    /// # Errors
    /// [`Error::Model`] where it does not fit.
    pub fn phases(shape: Shape, slots: usize, grid: [usize; 2], phase: usize) -> Result<Self> {
        let layout = Self { channels: shape.channels, dims: shape.dims, slots, grid, gap: 1, mux: 1, phase };
        layout.check()?;
        Ok(layout)
    }

    /// The same slots after windows of pairs were summed: every `step`-th element of each axis stays.
    ///
    /// # Errors
    /// [`Error::Model`] where it does not fit.
    pub fn every(&self, step: usize, dims: [usize; 3]) -> Result<Self> {
        let layout = Self { gap: self.gap * step, dims, ..self.clone() };
        layout.check()?;
        Ok(layout)
    }

    /// Whether elements have places of their own. Call for what comes from elsewhere.
    ///
    /// # Errors
    /// [`Error::Model`] naming what does not fit.
    pub fn check(&self) -> Result<()> {
        let Self { channels, dims, slots, grid: [gh, gw], gap, mux, phase } = *self;
        let sizes = [channels, dims[0], dims[1], dims[2], slots, gh, gw, gap, mux, phase];
        let within = |axis: usize, grid: usize| {
            let count = dims[axis].div_ceil(phase);
            (count - 1).saturating_mul(gap) + mux <= grid.max(mux)
        };
        let fits = sizes.iter().all(|size| (1..=1 << 20).contains(size))
            && (2..=1 << 15).contains(&slots)
            && [slots, gh, gw].iter().all(|size| size.is_power_of_two())
            && gh * gw <= slots
            && mux <= gap
            && (phase == 1 || mux == 1)
            && within(1, gh)
            && within(2, gw)
            && dims[0] <= MAX_COLUMNS
            && self.blocks().div_ceil(slots / (gh * gw)) <= MAX_CIPHERTEXTS;
        if !fits {
            return Err(Error::Model(format!(
                "a tensor of {channels} channels on {dims:?} does not fit slots: {self:?}"
            )));
        }
        Ok(())
    }

    /// The number of blocks.
    fn blocks(&self) -> usize {
        (self.channels * self.phase * self.phase).div_ceil(self.mux * self.mux)
    }

    /// Ciphertexts of a column.
    pub fn ciphertexts(&self) -> usize {
        self.blocks().div_ceil(self.slots / (self.grid[0] * self.grid[1]))
    }

    /// Columns: planes.
    pub fn columns(&self) -> usize {
        self.dims[0]
    }

    /// Elements of a plane.
    pub fn plane(&self) -> usize {
        self.channels * self.dims[1] * self.dims[2]
    }

    /// Where an element of a plane lies, by its number in the order channel, y, x.
    pub fn place(&self, element: usize) -> Place {
        let Self { dims: [_, h, w], slots, grid: [gh, gw], gap, mux, phase, .. } = *self;
        let (c, y, x) = (element / (h * w), element / w % h, element % w);
        let k = (c * phase + y % phase) * phase + x % phase;
        let (block, sub) = (k / (mux * mux), k % (mux * mux));
        let each = slots / (gh * gw);
        Place {
            ciphertext: block / each,
            parts: [y / phase * gap * gw + x / phase * gap, sub / mux * gw + sub % mux, block % each * gh * gw],
        }
    }

    /// The number of a plane's element in a tensor in the order channel, z, y, x.
    fn in_tensor(&self, element: usize, z: usize) -> usize {
        let voxels = self.dims[1] * self.dims[2];
        (element / voxels * self.dims[0] + z) * voxels + element % voxels
    }

    /// A tensor's slots: by column and ciphertext; 0 where nothing lies.
    ///
    /// # Panics
    /// For another number of elements.
    pub fn pack(&self, tensor: &[f64]) -> Vec<Vec<f64>> {
        assert_eq!(tensor.len(), self.plane() * self.columns(), "elements of the tensor");
        let each = self.ciphertexts();
        let mut out = vec![vec![0.0; self.slots]; self.columns() * each];
        for element in 0..self.plane() {
            let place = self.place(element);
            for z in 0..self.columns() {
                out[z * each + place.ciphertext][place.slot()] = tensor[self.in_tensor(element, z)];
            }
        }
        out
    }

    /// A tensor from its slots.
    ///
    /// # Panics
    /// For another number of ciphertexts.
    pub fn unpack<S: AsRef<[f64]>>(&self, slots: &[S]) -> Vec<f64> {
        let each = self.ciphertexts();
        assert_eq!(slots.len(), self.columns() * each, "ciphertexts of the tensor");
        let mut out = vec![0.0; self.plane() * self.columns()];
        for element in 0..self.plane() {
            let place = self.place(element);
            for z in 0..self.columns() {
                out[self.in_tensor(element, z)] = slots[z * each + place.ciphertext].as_ref()[place.slot()];
            }
        }
        out
    }

    /// Which slots of a column's ciphertexts hold elements.
    pub fn used(&self) -> Vec<Vec<bool>> {
        let mut used = vec![vec![false; self.slots]; self.ciphertexts()];
        for element in 0..self.plane() {
            let place = self.place(element);
            used[place.ciphertext][place.slot()] = true;
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape(channels: usize, dims: [usize; 3]) -> Shape {
        Shape { channels, dims }
    }

    fn there_and_back(layout: &Layout) {
        let tensor: Vec<f64> = (1..=layout.plane() * layout.columns()).map(|i| i as f64).collect();
        let slots = layout.pack(&tensor);
        assert_eq!(layout.unpack(&slots), tensor, "{layout:?}");
        // No two elements share a slot.
        let held = slots.iter().flatten().filter(|&&x| x != 0.0).count();
        assert_eq!(held, tensor.len(), "{layout:?}");
        let used = layout.used().iter().flatten().filter(|&&u| u).count();
        assert_eq!(used * layout.columns(), tensor.len(), "{layout:?}");
    }

    #[test]
    fn channels_go_into_gaps() {
        let layout = Layout::new(shape(5, [1, 2, 2]), 16, [4, 4], 2, 2).unwrap();
        let slots = layout.pack(&(1..=20).map(f64::from).collect::<Vec<_>>());
        assert_eq!(slots[0], [1, 5, 2, 6, 9, 13, 10, 14, 3, 7, 4, 8, 11, 15, 12, 16].map(f64::from));
        assert_eq!(slots[1][..4], [17.0, 0.0, 18.0, 0.0]);
        let by_phase = Layout::phases(shape(1, [1, 3, 4]), 16, [2, 2], 2).unwrap();
        let slots = by_phase.pack(&(1..=12).map(f64::from).collect::<Vec<_>>());
        assert_eq!(slots[0], [1, 3, 9, 11, 2, 4, 10, 12, 5, 7, 0, 0, 6, 8, 0, 0].map(f64::from));
    }

    proptest! {
        #[test]
        fn elements_come_back(c in 1usize..9, d in 1usize..4, h in 1usize..9, w in 1usize..9, g in 0u32..3, plain in any::<bool>()) {
            let gap = 1 << g;
            let grid = [h, w].map(|size| (size * gap).next_power_of_two());
            let mux = if plain { 1 } else { gap };
            there_and_back(&Layout::new(shape(c, [d, h, w]), 1024, grid, gap, mux).unwrap());
            let grid = [h, w].map(|size| size.div_ceil(gap).next_power_of_two());
            there_and_back(&Layout::phases(shape(c, [d, h, w]), 256, grid, gap).unwrap());
        }
    }

    #[test]
    fn tensors_that_do_not_fit_are_refused() {
        let layout = Layout::new(shape(4, [1, 8, 8]), 64, [8, 8], 1, 1).unwrap();
        for wrong in [
            Layout { slots: 60, ..layout.clone() },
            Layout { grid: [4, 8], ..layout.clone() },
            Layout { gap: 2, ..layout.clone() },
            Layout { mux: 2, ..layout.clone() },
            Layout { channels: 1 << 19, ..layout.clone() },
            Layout { phase: 0, ..layout.clone() },
            Layout { dims: [1 << 19, 8, 8], ..layout.clone() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
