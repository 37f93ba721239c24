//! Convolution as products in `Z[x]/(x^n + 1)`, in any number of dimensions up to three.
//!
//! The volume is cut into equal *tiles* of outputs. A tile and its halo become a block of V consecutive coefficients,
//! one voxel each; `in_pack` channels follow each other in one polynomial, and one product gives `out_pack` output
//! channels (coefficient packing: Huang et al., "Cheetah", 2022, section 3.2; here in 3D, with shared padding and
//! several outputs a product):
//!
//! ```text
//! input    X = sum x[c][q] x^(c V + addr(q))                                   c < in_pack, q a voxel of the tile
//! weights  W = sum w[o][c][k] x^((o in_pack + in_pack - 1 - c) V - offset(k))  o < out_pack, k a tap
//! output   y[o][p] = coefficient (o in_pack + in_pack - 1) V + addr(p) of W X
//! ```
//!
//! addr is linear in the coordinates, with strides from the *extents* of the block, so tap k of output p finds its voxel
//! at addr(p) + offset(k). Taps are counted from the kernel's centre; exponents below 0 wrap with a sign.
//!
//! **Extents.** In a dimension that several tiles share, the extent is the tile plus a halo of (kernel - 1). In one that
//! a single tile covers, the halo is zero padding, and one margin of (kernel - 1) / 2 zeros serves as the right
//! padding of a row and as the left one of the next row, plane or channel.
//!
//! **Why outputs don't collide.** The coefficient of output (o, p) collects `w[o'][c'][k]` times the coefficient of X at
//! (o - o') in_pack V + c' V + addr(p) + offset(k). For o' = o that is the voxel wanted, or a margin. For other o' it
//! lies outside of the in_pack V coefficients in use, or, where the address falls below 0 by at most the `reach` of the
//! shared margins, in a margin of the block before. Modulo n this holds if out_pack in_pack V is n, or is
//! at most n - reach.

/// A convolution with odd kernel, stride 1 and zero padding that keeps the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Depth, height, width of input and output.
    pub size: [usize; 3],
    /// Depth, height, width of the kernel, each odd.
    pub kernel: [usize; 3],
}

impl ConvShape {
    /// Taps of one channel's kernel.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Positions of one channel.
    pub fn positions(&self) -> usize {
        self.size.iter().product()
    }
}

/// `len` consecutive coefficients and the elements of a tensor they stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First coefficient.
    pub coefficient: usize,
    /// First index into `[channels, depth, height, width]`.
    pub index: usize,
    /// Elements.
    pub len: usize,
}

/// How one convolution is laid out in polynomials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    n: usize,
    shape: ConvShape,
    tile: [usize; 3],
    extent: [usize; 3],
    in_pack: usize,
    out_pack: usize,
}

impl Encoding {
    /// Tiles of `tile` outputs (cut to the volume), `in_pack` channels a polynomial, `out_pack` output channels a product.
    /// None if it does not fit dimension `n`, a size is 0, or a kernel is even or reaches beyond the volume (more than
    /// 2 size - 1): such taps meet no voxel, and fall together with others in one coefficient.
    pub fn new(n: usize, shape: ConvShape, tile: [usize; 3], in_pack: usize, out_pack: usize) -> Option<Self> {
        let counts = [shape.inputs, shape.outputs, in_pack, out_pack];
        if shape.size.iter().chain(&tile).chain(&counts).any(|&x| x == 0) || shape.kernel.iter().any(|k| k % 2 == 0) {
            return None;
        }
        if (0..3).any(|d| shape.kernel[d] / 2 >= shape.size[d]) {
            return None;
        }
        let tile: [usize; 3] = std::array::from_fn(|d| tile[d].min(shape.size[d]));
        let extent = extents(&shape, tile);
        let (in_pack, out_pack) = (in_pack.min(shape.inputs), out_pack.min(shape.outputs));
        let encoding = Self { n, shape, tile, extent, in_pack, out_pack };
        let used = [extent[0], extent[1], extent[2], in_pack, out_pack]
            .iter()
            .try_fold(1usize, |product, &f| product.checked_mul(f).filter(|&p| p <= n))?;
        (used == n || used + encoding.reach() <= n).then_some(encoding)
    }

    /// What is computed.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
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
        self.shape.inputs.div_ceil(self.in_pack)
    }

    /// Products of a tile.
    pub fn out_groups(&self) -> usize {
        self.shape.outputs.div_ceil(self.out_pack)
    }

    /// Tiles of the volume.
    pub fn tiles(&self) -> usize {
        self.grid().iter().product()
    }

    /// Weights are scalars: one tap, nothing packed.
    pub fn is_scalar(&self) -> bool {
        self.shape.taps() == 1 && self.in_pack == 1 && self.out_pack == 1
    }

    /// The runs of coefficients that hold input group `group` of tile `tile`; the others are 0.
    pub fn input_runs(&self, tile: usize, group: usize) -> Vec<Run> {
        let origin = self.origin(tile);
        let first = group * self.in_pack;
        let channels = first..(first + self.in_pack).min(self.shape.inputs);
        let range = |d: usize| {
            let (halo, size) = (self.shape.kernel[d] / 2, self.shape.size[d]);
            origin[d].saturating_sub(halo)..(origin[d] + self.tile[d] + halo).min(size)
        };
        self.runs(origin, [0, 1, 2].map(range), channels.map(|c| (c - first, c)))
    }

    /// The runs of coefficients of a product of tile `tile` that are outputs of group `group`, in the order in which
    /// they are sent.
    pub fn output_runs(&self, tile: usize, group: usize) -> Vec<Run> {
        let origin = self.origin(tile);
        let first = group * self.out_pack;
        let channels = first..(first + self.out_pack).min(self.shape.outputs);
        let range = |d: usize| origin[d]..(origin[d] + self.tile[d]).min(self.shape.size[d]);
        let block = |o: usize| (o - first) * self.in_pack + self.in_pack - 1;
        self.runs(origin, [0, 1, 2].map(range), channels.map(|o| (block(o), o)))
    }

    /// Outputs of group `group` of tile `tile`.
    pub fn output_count(&self, tile: usize, group: usize) -> usize {
        let origin = self.origin(tile);
        let positions: usize = (0..3).map(|d| self.tile[d].min(self.shape.size[d] - origin[d])).product();
        positions * self.out_pack.min(self.shape.outputs - group * self.out_pack)
    }

    /// All (outputs of a reply, number of such replies): tiles at the far ends and the last group are smaller.
    pub fn reply_sizes(&self) -> Vec<(usize, usize)> {
        let parts = |size: usize, part: usize| {
            let count = size.div_ceil(part);
            [(part, count - 1), (size - (count - 1) * part, 1)]
        };
        let mut sizes = parts(self.shape.outputs, self.out_pack).to_vec();
        for d in 0..3 {
            let along = parts(self.shape.size[d], self.tile[d]);
            sizes = sizes.iter().flat_map(|(len, times)| along.map(|(l, t)| (len * l, times * t))).collect();
        }
        sizes.retain(|(_, times)| *times > 0);
        sizes
    }

    /// Writes the polynomial that takes input group `in_group` to output group `out_group` into `poly`, all n
    /// coefficients of it. `weights` is `[outputs][inputs][taps]`.
    pub fn encode_weights(&self, weights: &[i32], out_group: usize, in_group: usize, poly: &mut [i32]) {
        poly.fill(0);
        let ConvShape { inputs, outputs, kernel, .. } = self.shape;
        let (volume, taps) = (self.volume() as isize, self.shape.taps());
        let (first_in, first_out) = (in_group * self.in_pack, out_group * self.out_pack);
        for o in first_out..(first_out + self.out_pack).min(outputs) {
            for c in first_in..(first_in + self.in_pack).min(inputs) {
                let block = (o - first_out) * self.in_pack + self.in_pack - 1 - (c - first_in);
                let row = &weights[(o * inputs + c) * taps..][..taps];
                for (tap, &w) in row.iter().enumerate() {
                    let k = [tap / (kernel[1] * kernel[2]), tap / kernel[2] % kernel[1], tap % kernel[2]];
                    let exponent = block as isize * volume - self.offset(k);
                    let wrapped = exponent.rem_euclid(2 * self.n as isize) as usize;
                    let (place, sign) = if wrapped < self.n { (wrapped, 1) } else { (wrapped - self.n, -1) };
                    poly[place] += sign * w;
                }
            }
        }
    }

    /// Coefficients of a channel's block.
    fn volume(&self) -> usize {
        self.extent.iter().product()
    }

    fn strides(&self) -> [usize; 3] {
        [self.extent[1] * self.extent[2], self.extent[2], 1]
    }

    fn grid(&self) -> [usize; 3] {
        std::array::from_fn(|d| self.shape.size[d].div_ceil(self.tile[d]))
    }

    /// One tile covers this dimension.
    fn is_whole(&self, d: usize) -> bool {
        self.tile[d] == self.shape.size[d]
    }

    /// How far below its block an address may fall: the left paddings that are shared with what is before.
    fn reach(&self) -> usize {
        let strides = self.strides();
        (0..3).filter(|&d| self.is_whole(d)).map(|d| self.shape.kernel[d] / 2 * strides[d]).sum()
    }

    /// The first output of a tile.
    fn origin(&self, tile: usize) -> [usize; 3] {
        let [_, rows, columns] = self.grid();
        let at = [tile / (rows * columns), tile / columns % rows, tile % columns];
        std::array::from_fn(|d| at[d] * self.tile[d])
    }

    /// From an output's address to that of tap `k`'s voxel.
    fn offset(&self, k: [usize; 3]) -> isize {
        let strides = self.strides();
        (0..3).map(|d| (k[d] as isize - (self.shape.kernel[d] / 2) as isize) * strides[d] as isize).sum()
    }

    /// Rows of voxels `range` of the given (block, channel) pairs, for the tile at `origin`.
    fn runs(
        &self,
        origin: [usize; 3],
        range: [std::ops::Range<usize>; 3],
        channels: impl Iterator<Item = (usize, usize)>,
    ) -> Vec<Run> {
        let strides = self.strides();
        let [_, height, width] = self.shape.size;
        // The halo comes before the tile where neighbours share the dimension.
        let lead: [usize; 3] = std::array::from_fn(|d| if self.is_whole(d) { 0 } else { self.shape.kernel[d] / 2 });
        let place = |d: usize, at: usize| (at + lead[d] - origin[d]) * strides[d];
        let [zs, ys, xs] = range;
        let mut runs = Vec::new();
        for (block, channel) in channels {
            for z in zs.clone() {
                for y in ys.clone() {
                    runs.push(Run {
                        coefficient: block * self.volume() + place(0, z) + place(1, y) + place(2, xs.start),
                        index: ((channel * self.shape.size[0] + z) * height + y) * width + xs.start,
                        len: xs.len(),
                    });
                }
            }
        }
        runs
    }
}

/// Voxels of a block, each dimension: the tile and its halo, or the whole size and one margin.
pub(super) fn extents(shape: &ConvShape, tile: [usize; 3]) -> [usize; 3] {
    std::array::from_fn(|d| {
        let halo = shape.kernel[d] - 1;
        tile[d] + if tile[d] == shape.size[d] { halo / 2 } else { halo }
    })
}

/// The convolution by definition, mod 2^32: `weights` `[outputs][inputs][taps]`, `x` `[inputs, depth, height, width]`.
pub fn ideal(shape: &ConvShape, weights: &[i32], x: &[u32]) -> Vec<u32> {
    let ConvShape { inputs, outputs, size: [depth, height, width], kernel } = *shape;
    let taps = shape.taps();
    let mut y = vec![0u32; outputs * shape.positions()];
    for (row, sums) in y.chunks_exact_mut(width).enumerate() {
        let (o, z, h) = (row / (depth * height), row / height % depth, row % height);
        for (c, tap) in (0..inputs * taps).map(|i| (i / taps, i % taps)) {
            let w = weights[(o * inputs + c) * taps + tap] as u32;
            let k = [tap / (kernel[1] * kernel[2]), tap / kernel[2] % kernel[1], tap % kernel[2]];
            let (z, h) = (z + k[0], h + k[1]);
            let (Some(z), Some(h)) = (z.checked_sub(kernel[0] / 2), h.checked_sub(kernel[1] / 2)) else { continue };
            if z >= depth || h >= height {
                continue;
            }
            let line = &x[((c * depth + z) * height + h) * width..][..width];
            // sums[i] += w * line[i + k - centre] where that exists.
            let (k, centre) = (k[2], kernel[2] / 2);
            let first = centre.saturating_sub(k);
            let end = (width + centre).saturating_sub(k).min(width);
            for i in first..end {
                sums[i] = sums[i].wrapping_add(w.wrapping_mul(line[i + k - centre]));
            }
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition without any shortcut, to hold [`ideal`] to.
    fn by_index(shape: &ConvShape, weights: &[i32], x: &[u32]) -> Vec<u32> {
        let [d, h, w] = shape.size.map(|s| s as isize);
        let [kd, kh, kw] = shape.kernel.map(|k| k as isize);
        let mut y = Vec::new();
        for o in 0..shape.outputs as isize {
            for (z, r, c) in (0..d * h * w).map(|i| (i / (h * w), i / w % h, i % w)) {
                let mut sum = 0u32;
                for i in 0..shape.inputs as isize {
                    for (a, b, e) in (0..kd * kh * kw).map(|t| (t / (kh * kw), t / kw % kh, t % kw)) {
                        let (z, r, c) = (z + a - kd / 2, r + b - kh / 2, c + e - kw / 2);
                        if (0..d).contains(&z) && (0..h).contains(&r) && (0..w).contains(&c) {
                            let weight =
                                weights[((((o * shape.inputs as isize + i) * kd + a) * kh + b) * kw + e) as usize];
                            let voxel = x[(((i * d + z) * h + r) * w + c) as usize];
                            sum = sum.wrapping_add((weight as u32).wrapping_mul(voxel));
                        }
                    }
                }
                y.push(sum);
            }
        }
        y
    }

    /// All products in the clear, mod 2^32.
    fn by_products(e: &Encoding, weights: &[i32], x: &[u32]) -> Vec<u32> {
        let n = e.n;
        let mut y = vec![0; e.shape.outputs * e.shape.positions()];
        let mut poly = vec![0; n];
        let mut written = vec![0; y.len()];
        for (tile, out_group) in (0..e.tiles() * e.out_groups()).map(|i| (i / e.out_groups(), i % e.out_groups())) {
            let mut product = vec![0u32; n];
            for in_group in 0..e.in_groups() {
                let mut input = vec![0u32; n];
                for run in e.input_runs(tile, in_group) {
                    input[run.coefficient..][..run.len].copy_from_slice(&x[run.index..][..run.len]);
                }
                e.encode_weights(weights, out_group, in_group, &mut poly);
                for (i, &w) in poly.iter().enumerate().filter(|(_, w)| **w != 0) {
                    for (j, &v) in input.iter().enumerate() {
                        let term = (w as u32).wrapping_mul(v);
                        let slot = &mut product[(i + j) % n];
                        *slot = if i + j < n { slot.wrapping_add(term) } else { slot.wrapping_sub(term) };
                    }
                }
            }
            let runs = e.output_runs(tile, out_group);
            assert_eq!(runs.iter().map(|r| r.len).sum::<usize>(), e.output_count(tile, out_group));
            for run in runs {
                y[run.index..][..run.len].copy_from_slice(&product[run.coefficient..][..run.len]);
                written[run.index..][..run.len].iter_mut().for_each(|w| *w += 1);
            }
        }
        let counted: usize = e.reply_sizes().iter().map(|(len, times)| len * times).sum();
        assert_eq!(counted, y.len());
        assert!(written.iter().all(|&w| w == 1), "every output once");
        y
    }

    fn values(count: usize, seed: u64) -> Vec<u32> {
        (0..count as u64).map(|i| ((seed ^ i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 27) as u32).collect()
    }

    fn check(e: &Encoding, seed: u64) {
        let shape = e.shape;
        let x = values(shape.inputs * shape.positions(), seed);
        let weights: Vec<i32> =
            values(shape.outputs * shape.inputs * shape.taps(), !seed).iter().map(|&w| w as i32 >> 20).collect();
        let expected = by_index(&shape, &weights, &x);
        assert_eq!(ideal(&shape, &weights, &x), expected);
        assert_eq!(by_products(e, &weights, &x), expected, "{e:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn products_are_convolutions(
            channels in [1usize..6, 1..6],
            size in [1usize..7, 1..8, 1..9],
            half_kernel in [0usize..3, 0..3, 0..3],
            tile in [1usize..8, 1..9, 1..10],
            packs in [1usize..5, 1..5],
            spare in 0usize..2,
            seed: u64,
        ) {
            let kernel = half_kernel.map(|k| 2 * k + 1);
            let shape = ConvShape { inputs: channels[0], outputs: channels[1], size, kernel };
            // The smallest n that holds it, so that blocks come close to wrapping.
            let fit = (2..16).filter_map(|log| Encoding::new(1 << log, shape, tile, packs[0], packs[1])).nth(spare);
            let Some(e) = fit else { return Ok(()) };
            prop_assume!(e.n <= 2048);
            check(&e, seed);
        }
    }

    #[test]
    fn blocks_that_fill_n_exactly_or_fall_short_by_less_than_the_reach() {
        // 7 + 1 margin a row, 3 + 1 rows: 32 coefficients; 4 x 2 blocks fill 256 exactly.
        let shape = ConvShape { inputs: 5, outputs: 3, size: [1, 3, 7], kernel: [1, 3, 3] };
        check(&Encoding::new(256, shape, shape.size, 4, 2).unwrap(), 1);
        // Rows of 6 + 1: 28 coefficients, and 2 x 2 blocks leave 16, more than the reach of 8.
        let shape = ConvShape { size: [1, 3, 6], ..shape };
        check(&Encoding::new(128, shape, shape.size, 2, 2).unwrap(), 2);
        // 5 rows of 11 + 1 leave 4 of 64, less than the reach of 13.
        let shape = ConvShape { size: [1, 4, 11], ..shape };
        assert!(Encoding::new(64, shape, shape.size, 1, 1).is_none());
    }

    #[test]
    fn what_cannot_be_encoded_is_none() {
        let shape = ConvShape { inputs: 1, outputs: 1, size: [4, 4, 4], kernel: [3, 3, 3] };
        assert!(Encoding::new(64, shape, [4, 4, 4], 1, 1).is_none());
        assert!(Encoding::new(4096, ConvShape { kernel: [2, 3, 3], ..shape }, [4, 4, 4], 1, 1).is_none());
        assert!(Encoding::new(4096, shape, [0, 4, 4], 1, 1).is_none());
        assert!(Encoding::new(4096, ConvShape { inputs: 0, ..shape }, [4, 4, 4], 1, 1).is_none());
        let huge = ConvShape { size: [usize::MAX / 2; 3], ..shape };
        assert!(Encoding::new(4096, huge, huge.size, 1, 1).is_none());
    }
}
