//! The search for a layer's layout: the cheapest of all tiles and packings that are balanced and whose noise fits.
//!
//! Of the packings of one tile only the widest can be best: with more output channels a product there are fewer
//! replies, products and weights. So a search looks at every tile, and for each at every number of input channels a
//! polynomial. A peer's architecture decides how many those are; [`Search`] counts them, over all layers of a network,
//! and refuses at [`MAX_CANDIDATES`].

use blindvox_engine::bfv::Params;
use blindvox_engine::bfv::noise::{self, Budget};

use super::encoding::{Encoding, extents};
use super::geometry::Geometry;
use crate::linear::planner::Blocks;

/// Tiles and packings that may be looked at for all layers of a network: some tenths of a second. A layer takes some
/// hundred to some thousand.
pub const MAX_CANDIDATES: usize = 1 << 22;

/// The published bound on the Euclidean norm of all weights that meet in one coefficient of a product: every tap of
/// every input channel at its largest, for each of the packed output channels. Taps have coefficients of their own, as
/// those of a [`Geometry`] reach from one end of its volume to the other at most.
pub fn factor_norm(geometry: &Geometry, weight_bits: u32, out_pack: usize) -> f64 {
    f64::from(weight_bits - 1).exp2() * ((geometry.weights_an_output() * out_pack) as f64).sqrt()
}

/// What is left of the candidates that a network's planning may look at.
#[derive(Debug)]
pub struct Search {
    params: Params,
    left: usize,
}

/// Nothing looked at yet, for [`Params::hom_conv`].
impl Default for Search {
    fn default() -> Self {
        Self { params: Params::hom_conv(), left: MAX_CANDIDATES }
    }
}

impl Search {
    /// Candidates looked at so far.
    pub fn examined(&self) -> usize {
        MAX_CANDIDATES - self.left
    }

    pub(in crate::linear) fn params(&self) -> &Params {
        &self.params
    }

    fn count(&mut self) -> Result<(), String> {
        let Some(left) = self.left.checked_sub(1) else {
            return Err(format!(
                "planning takes more than {MAX_CANDIDATES} layouts to look at for all layers together"
            ));
        };
        self.left = left;
        Ok(())
    }

    /// The cheapest encoding; the first one found of equal ones. An error says what is wrong.
    pub(in crate::linear) fn best(
        &mut self,
        geometry: &Geometry,
        weight_bits: u32,
    ) -> Result<(Encoding, Budget), String> {
        let params = self.params.clone();
        let n = params.n();
        let budget = |out_pack| noise::budget(&params, factor_norm(geometry, weight_bits, out_pack));
        let [depths, heights, widths] = geometry.size().map(|size| balanced(size, n));
        let (in_packs, mut out_packs) = (balanced(geometry.inputs(), n), balanced(geometry.outputs(), n));
        // The noise grows with the packing.
        out_packs.drain(..out_packs.partition_point(|&p| budget(p).is_err()));
        let mut best: Option<(f64, Encoding)> = None;
        for (&d, &h) in depths.iter().flat_map(|d| heights.iter().map(move |h| (d, h))) {
            for &w in &widths {
                self.count()?;
                let volume = extents(geometry, [d, h, w]).iter().try_fold(1usize, |p, &e| p.checked_mul(e));
                let Some(fit) = volume.map(|v| n / v).filter(|f| *f > 0) else { continue };
                for &in_pack in &in_packs[in_packs.partition_point(|&p| p > fit)..] {
                    self.count()?;
                    let widest = out_packs.partition_point(|&p| p > fit / in_pack);
                    let mut fitting = out_packs[widest..].iter();
                    let widest = fitting.find_map(|&p| Encoding::new(n, *geometry, [d, h, w], in_pack, p));
                    // Scalars cost no transforms, so they may beat a wider packing.
                    let scalar = Encoding::new(n, *geometry, [d, h, w], 1, 1).filter(|e| in_pack == 1 && e.is_scalar());
                    for encoding in widest.into_iter().chain(scalar.filter(|_| !out_packs.is_empty())) {
                        let (blocks, least) = (Blocks::new(&encoding), best.as_ref().map_or(f64::INFINITY, |b| b.0));
                        if blocks.least_nanoseconds(&encoding, &params) < least {
                            let cost = blocks.cost(&encoding, &params).nanoseconds();
                            if cost < least {
                                best = Some((cost, encoding));
                            }
                        }
                    }
                }
            }
        }
        match (best, budget(1)) {
            (Some((_, encoding)), _) => {
                let budget = budget(encoding.out_pack()).map_err(|e| e.to_string())?;
                Ok((encoding, budget))
            }
            (None, Err(why)) => Err(why.to_string()),
            (None, Ok(_)) => Err(format!("no tile of {geometry:?} fits n = {n}")),
        }
    }
}

/// The sizes up to `most` of `size` cut into 1, 2, 3, ... parts as equal as can be, the largest first.
fn balanced(size: usize, most: usize) -> Vec<usize> {
    let mut parts = Vec::new();
    let mut part = size.div_ceil(size.div_ceil(most));
    while part > 0 {
        parts.push(part);
        // The smallest number of parts that makes them smaller.
        part = if part == 1 { 0 } else { size.div_ceil(size.div_ceil(part - 1)) };
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::linear::op::{ConvShape, LinearOp};

    #[test]
    fn balanced_parts_are_all_of_them() {
        assert_eq!(balanced(10, 10), [10, 5, 4, 3, 2, 1]);
        assert_eq!(balanced(1, 4096), [1]);
        for (size, most) in (1..100usize).flat_map(|size| [1, 7, 50, 1000].map(|most| (size, most))) {
            let mut expected: Vec<usize> = (1..=size).map(|parts| size.div_ceil(parts)).collect();
            expected.dedup();
            expected.retain(|p| *p <= most);
            assert_eq!(balanced(size, most), expected);
        }
    }

    /// Every candidate, the first of the cheapest ones.
    fn exhaustive(geometry: &Geometry, params: &Params, weight_bits: u32) -> Option<Encoding> {
        let n = params.n();
        let all = |size| balanced(size, size);
        let mut best: Option<(f64, Encoding)> = None;
        let size = geometry.size();
        for (d, h, w) in all(size[0])
            .into_iter()
            .flat_map(|d| all(size[1]).into_iter().map(move |h| (d, h)))
            .flat_map(|(d, h)| all(size[2]).into_iter().map(move |w| (d, h, w)))
        {
            let packs = |i| all(geometry.outputs()).into_iter().map(move |o| (i, o));
            for (i, o) in all(geometry.inputs()).into_iter().flat_map(packs) {
                let Some(encoding) = Encoding::new(n, *geometry, [d, h, w], i, o) else { continue };
                if noise::budget(params, factor_norm(geometry, weight_bits, o)).is_err() {
                    continue;
                }
                let cost = Blocks::new(&encoding).cost(&encoding, params).nanoseconds();
                if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                    best = Some((cost, encoding));
                }
            }
        }
        best.map(|(_, encoding)| encoding)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn nothing_better_is_passed_over(
            channels in [1usize..80, 1..80],
            size in [1usize..24, 1..24, 1..24],
            half_kernel in [0usize..3, 0..3, 0..3],
            weight_bits in 2u32..18,
        ) {
            let kernel = half_kernel.map(|k| 2 * k + 1);
            let geometry = Geometry::conv(&ConvShape::same(channels[0], channels[1], size, kernel)).unwrap();
            let params = Params::hom_conv();
            let found = Search::default().best(&geometry, weight_bits).ok().map(|(encoding, _)| encoding);
            prop_assert_eq!(found, exhaustive(&geometry, &params, weight_bits));
        }

        #[test]
        fn the_norm_bounds_the_heaviest_weights(
            channels in [1usize..4, 1..4],
            size in [1usize..5, 1..5, 1..5],
            window in [(1usize..8, 1usize..4, 0usize..7), (1..8, 1..4, 0..7), (1..8, 1..4, 0..7)],
            packs in [1usize..4, 1..4],
        ) {
            let (kernel, stride) = (window.map(|w| w.0), window.map(|w| w.1));
            let padding = window.map(|(k, _, p)| p.min(k - 1));
            let output = std::array::from_fn(|d| (size[d] + padding[d]).div_ceil(stride[d]));
            let shape = ConvShape { inputs: channels[0], outputs: channels[1], size, output, kernel, stride, padding };
            let geometry = Geometry::conv(&shape).unwrap();
            let e = Encoding::new(8192, geometry, output, packs[0], packs[1]);
            prop_assume!(e.is_some());
            let e = e.unwrap();
            let weights = vec![-(1 << 4); LinearOp::Conv(shape).weights()];
            for out_group in 0..e.out_groups() {
                let mut square = 0.0;
                for in_group in 0..e.in_groups() {
                    let mut poly = vec![0; 8192];
                    e.encode_weights(&weights, out_group, in_group, &mut poly);
                    square += poly.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>();
                }
                let bound = factor_norm(&geometry, 5, e.out_pack());
                prop_assert!(square.sqrt() <= bound * (1.0 + 1e-12), "{} above {bound}", square.sqrt());
                // And it is no larger than need be.
                let full = out_group + 1 < e.out_groups() || shape.outputs.is_multiple_of(e.out_pack());
                prop_assert!(!full || square.sqrt() >= bound * (1.0 - 1e-12));
            }
        }
    }
}
