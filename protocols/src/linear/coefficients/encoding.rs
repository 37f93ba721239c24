//! Convolution as products in `Z[x]/(x^n + 1)`, in any number of dimensions up to three.
//!
//! The output is cut into equal *tiles*. What a tile depends on becomes a block of V consecutive coefficients, one
//! voxel each; `in_pack` channels follow each other in one polynomial, and one product gives `out_pack` output channels
//! (coefficient packing: Huang et al., "Cheetah", 2022, section 3.2; here in 3D, with strides, shared padding and
//! several outputs a product):
//!
//! ```text
//! input    X = sum x[c][u] x^(c V + addr(u))                                   c < in_pack, u a voxel of the tile
//! weights  W = sum w[o][c][q] x^((o in_pack + in_pack - 1 - c) V - addr(q))    o < out_pack, q the offset of a tap
//! output   y[o][z] = coefficient (o in_pack + in_pack - 1) V + addr(z) of W X
//! ```
//!
//! Channels, voxels and offsets are those of [`Geometry`]: with a stride each phase of the input is a channel, output z
//! takes a tap from voxel z + q, and q is in -lead..=trail. addr is linear in the coordinates, which begin with the
//! block's first voxel, with strides from the *extents* of the block; exponents below 0 wrap with a sign.
//!
//! **Extents.** In a dimension that several tiles share, the extent is the tile plus a halo of lead + trail. In one
//! that a single tile of N outputs covers, outputs depend on the first R voxels, zeros are wanted before and behind
//! them, and one margin of max(lead, N + trail - R) zeros serves as the right padding of a row and as the left one of
//! the next row, plane or channel.
//!
//! **Why outputs don't collide.** The coefficient of output (o, z) collects `w[o'][c'][q]` times the coefficient of X
//! at (o - o') in_pack V + c' V + addr(z) + addr(q). For o' = o that is the voxel wanted, or a margin: in a dimension
//! that tiles share z + q stays within the extent, and else it is at least -lead, in the margin of what comes before,
//! and below N + trail, so below the extent. For other o' it lies outside of the in_pack V coefficients in use, or,
//! where the address falls below 0 by at most the `reach` of the shared margins, in a margin of the block before.
//! Modulo n this holds if out_pack in_pack V is n, or is at most n - reach.

use std::ops::Range;

use blindvox_engine::poly::Run;

use super::geometry::{Geometry, Voxels};

/// How one convolution is laid out in polynomials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    n: usize,
    geometry: Geometry,
    tile: [usize; 3],
    extent: [usize; 3],
    in_pack: usize,
    out_pack: usize,
}

impl Encoding {
    /// Tiles of `tile` outputs (cut to the grid), `in_pack` channels a polynomial, `out_pack` output channels a
    /// product.
    /// None if a size is 0 or it does not fit dimension `n`.
    pub fn new(n: usize, geometry: Geometry, tile: [usize; 3], in_pack: usize, out_pack: usize) -> Option<Self> {
        if tile.contains(&0) || in_pack == 0 || out_pack == 0 {
            return None;
        }
        let size = geometry.size();
        let tile: [usize; 3] = std::array::from_fn(|d| tile[d].min(size[d]));
        let extent = extents(&geometry, tile);
        let (in_pack, out_pack) = (in_pack.min(geometry.inputs()), out_pack.min(geometry.outputs()));
        let encoding = Self { n, geometry, tile, extent, in_pack, out_pack };
        let used = [extent[0], extent[1], extent[2], in_pack, out_pack]
            .iter()
            .try_fold(1usize, |product, &f| product.checked_mul(f).filter(|&p| p <= n))?;
        (used == n || used + encoding.reach() <= n).then_some(encoding)
    }

    /// What is computed.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Coefficients of a polynomial.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Outputs of a tile, each dimension.
    pub fn tile(&self) -> [usize; 3] {
        self.tile
    }

    /// Channels a polynomial.
    pub fn in_pack(&self) -> usize {
        self.in_pack
    }

    /// Output channels a product.
    pub fn out_pack(&self) -> usize {
        self.out_pack
    }

    /// Polynomials that hold the channels of one tile.
    pub fn in_groups(&self) -> usize {
        self.geometry.inputs().div_ceil(self.in_pack)
    }

    /// Products of a tile.
    pub fn out_groups(&self) -> usize {
        self.geometry.outputs().div_ceil(self.out_pack)
    }

    /// Tiles of the output.
    pub fn tiles(&self) -> usize {
        self.grid().iter().product()
    }

    /// Weights are constants: all at offset 0, nothing packed.
    pub fn is_scalar(&self) -> bool {
        self.geometry.is_pointwise() && self.in_pack == 1 && self.out_pack == 1
    }

    /// The channels of a group of `pack`, of `all`.
    fn channels(group: usize, pack: usize, all: usize) -> Range<usize> {
        group * pack..((group + 1) * pack).min(all)
    }

    /// Appends the runs of input group `group` of tile `tile`, as those of polynomial `polynomial`; the other
    /// coefficients are 0.
    pub fn input_runs(&self, (tile, group): (usize, usize), polynomial: usize, runs: &mut Vec<Run>) {
        let (origin, lead, trail) = (self.origin(tile), self.geometry.lead(), self.geometry.trail());
        let from = std::array::from_fn(|d| origin[d] as isize - lead[d] as isize);
        let to = std::array::from_fn(|d| origin[d] + self.tile[d] + trail[d]);
        let channels = Self::channels(group, self.in_pack, self.geometry.inputs());
        for (block, channel) in channels.enumerate() {
            let boxes = self.geometry.input_voxels(channel, from, to);
            runs.extend(boxes.into_iter().map(|voxels| self.run(polynomial, block, origin, voxels)));
        }
    }

    /// Appends the runs of the coefficients of a product of tile `tile` that are outputs of group `group`, in the order
    /// in which they are sent, as those of polynomial `polynomial`.
    pub fn output_runs(&self, (tile, group): (usize, usize), polynomial: usize, runs: &mut Vec<Run>) {
        let origin = self.origin(tile);
        let to = std::array::from_fn(|d| origin[d] + self.tile[d]);
        let channels = Self::channels(group, self.out_pack, self.geometry.outputs());
        for (number, channel) in channels.enumerate() {
            let block = number * self.in_pack + self.in_pack - 1;
            let boxes = self.geometry.output_voxels(channel, origin, to);
            runs.extend(boxes.into_iter().map(|voxels| self.run(polynomial, block, origin, voxels)));
        }
    }

    /// A box of voxels in a block, for the tile at `origin`.
    fn run(&self, polynomial: usize, block: usize, origin: [usize; 3], voxels: Voxels) -> Run {
        let (strides, lead) = (self.strides(), self.geometry.lead());
        // The halo comes before the tile where neighbours share the dimension.
        let halo = |d: usize| if self.is_whole(d) { 0 } else { lead[d] };
        let along = |d: usize| (voxels.at[d] + halo(d) - origin[d]) * strides[d];
        Run {
            polynomial,
            place: block * self.volume() + along(0) + along(1) + along(2),
            step: self.geometry.steps(strides),
            index: voxels.index,
            stride: voxels.stride,
            len: voxels.len,
        }
    }

    /// Outputs of group `group` of tile `tile`.
    pub fn output_count(&self, tile: usize, group: usize) -> usize {
        let (origin, size) = (self.origin(tile), self.geometry.size());
        let positions: usize = (0..3).map(|d| self.tile[d].min(size[d] - origin[d])).product();
        positions * Self::channels(group, self.out_pack, self.geometry.outputs()).len()
    }

    /// All (outputs of a reply, number of such replies): tiles at the far ends and the last group are smaller.
    pub fn reply_sizes(&self) -> Vec<(usize, usize)> {
        let parts = |size: usize, part: usize| {
            let count = size.div_ceil(part);
            [(part, count - 1), (size - (count - 1) * part, 1)]
        };
        let mut sizes = parts(self.geometry.outputs(), self.out_pack).to_vec();
        for (size, tile) in self.geometry.size().into_iter().zip(self.tile) {
            let along = parts(size, tile);
            sizes = sizes.iter().flat_map(|(len, times)| along.map(|(l, t)| (len * l, times * t))).collect();
        }
        sizes.retain(|(_, times)| *times > 0);
        sizes
    }

    /// Writes the polynomial that takes input group `in_group` to output group `out_group` into `poly`, all n
    /// coefficients of it.
    pub fn encode_weights(&self, weights: &[i32], out_group: usize, in_group: usize, poly: &mut [i32]) {
        poly.fill(0);
        let (volume, mask) = (self.volume() as isize, 2 * self.n - 1);
        let taps = self.tap_places();
        let outputs = Self::channels(out_group, self.out_pack, self.geometry.outputs());
        for (number, o) in outputs.enumerate() {
            let inputs = Self::channels(in_group, self.in_pack, self.geometry.inputs());
            for (place, c) in inputs.enumerate() {
                let block = (number * self.in_pack + self.in_pack - 1 - place) as isize;
                let weights = &weights[self.geometry.first_weight(o, c)..];
                for &(tap, offset) in &taps[c % taps.len()] {
                    // n is a power of two: exponents below 0 wrap with a sign.
                    let wrapped = (block * volume - offset) as usize & mask;
                    let (place, sign) = if wrapped < self.n { (wrapped, 1) } else { (wrapped - self.n, -1) };
                    poly[place] += sign * weights[tap];
                }
            }
        }
    }

    /// For each phase of a channel the taps that read it, by number, and how far each lies from its output in a block.
    fn tap_places(&self) -> Vec<Vec<(usize, isize)>> {
        let strides = self.strides().map(|s| s as isize);
        let place = |q: [isize; 3]| q[0] * strides[0] + q[1] * strides[1] + q[2] * strides[2];
        let of_phase = |phase| self.geometry.taps(phase).map(|(tap, q)| (tap, place(q))).collect();
        (0..self.geometry.phases()).map(of_phase).collect()
    }

    /// The constants that take all inputs to the output groups `rows`, where weights are that.
    pub fn constants(&self, weights: &[i32], rows: Range<usize>) -> impl Iterator<Item = i32> {
        let pairs = rows.flat_map(|o| (0..self.geometry.inputs()).map(move |c| (o, c)));
        let phases = self.geometry.phases();
        pairs.map(move |(o, c)| {
            let first = self.geometry.first_weight(o, c);
            self.geometry.taps(c % phases).map(|(tap, _)| weights[first + tap]).sum()
        })
    }

    /// Coefficients of a channel's block.
    fn volume(&self) -> usize {
        self.extent.iter().product()
    }

    fn strides(&self) -> [usize; 3] {
        [self.extent[1] * self.extent[2], self.extent[2], 1]
    }

    fn grid(&self) -> [usize; 3] {
        let size = self.geometry.size();
        std::array::from_fn(|d| size[d].div_ceil(self.tile[d]))
    }

    /// One tile covers this dimension.
    fn is_whole(&self, d: usize) -> bool {
        self.tile[d] == self.geometry.size()[d]
    }

    /// How far below its block an address may fall: the left paddings that are shared with what is before.
    fn reach(&self) -> usize {
        let (strides, lead) = (self.strides(), self.geometry.lead());
        (0..3).filter(|&d| self.is_whole(d)).map(|d| lead[d] * strides[d]).sum()
    }

    /// The first output of a tile.
    fn origin(&self, tile: usize) -> [usize; 3] {
        let [_, rows, columns] = self.grid();
        let at = [tile / (rows * columns), tile / columns % rows, tile % columns];
        std::array::from_fn(|d| at[d] * self.tile[d])
    }
}

/// Voxels of a block, each dimension: the tile and its halo, or all that outputs depend on and one margin.
pub(super) fn extents(geometry: &Geometry, tile: [usize; 3]) -> [usize; 3] {
    let (size, lead, trail, voxels) = (geometry.size(), geometry.lead(), geometry.trail(), geometry.voxels());
    std::array::from_fn(|d| {
        if tile[d] == size[d] {
            voxels[d] + lead[d].max(size[d] + trail[d] - voxels[d])
        } else {
            tile[d] + lead[d] + trail[d]
        }
    })
}

#[cfg(test)]
#[path = "encoding_tests.rs"]
mod tests;
