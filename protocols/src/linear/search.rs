//! The search for a layer's layout: the cheapest of all tiles and packings that are balanced and whose noise fits.
//!
//! Of the packings of one tile only the widest can be best: with more output channels a product there are fewer replies, products
//! and weights. So a search looks at every tile, and for each at every number of input channels a polynomial. A peer's architecture decides
//! how many those are; [`Search`] counts them, over all layers of a network, and refuses at [`MAX_CANDIDATES`].

use blindvox_engine::bfv::Params;
use blindvox_engine::bfv::noise::{self, Budget};

use super::encoding::{ConvShape, Encoding, extents};
use super::planner::Layout;

/// Tiles and packings that may be looked at for all layers of a network: some tenths of a second. A layer takes some hundred to some
/// thousand.
pub const MAX_CANDIDATES: usize = 1 << 22;

/// The published bound on the Euclidean norm of all weights that meet in one coefficient of a product: every tap of every
/// input channel at its largest, for each of the packed output channels. Taps have coefficients of their own, as no kernel of an
/// [`Encoding`] reaches beyond its volume.
pub fn factor_norm(shape: &ConvShape, weight_bits: u32, out_pack: usize) -> f64 {
    f64::from(weight_bits - 1).exp2() * ((shape.taps() * shape.inputs * out_pack) as f64).sqrt()
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

    pub(super) fn params(&self) -> &Params {
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

    /// The cheapest layout; the first one found of equal ones. An error says what is wrong.
    pub(super) fn best(&mut self, shape: &ConvShape, weight_bits: u32) -> Result<(Layout, Budget), String> {
        let params = self.params.clone();
        let n = params.n();
        let budget = |out_pack| noise::budget(&params, factor_norm(shape, weight_bits, out_pack));
        let [depths, heights, widths] = shape.size.map(|size| balanced(size, n));
        let (in_packs, mut out_packs) = (balanced(shape.inputs, n), balanced(shape.outputs, n));
        // The noise grows with the packing.
        out_packs.drain(..out_packs.partition_point(|&p| budget(p).is_err()));
        let mut best: Option<(f64, Layout)> = None;
        for (&d, &h) in depths.iter().flat_map(|d| heights.iter().map(move |h| (d, h))) {
            for &w in &widths {
                self.count()?;
                let volume = extents(shape, [d, h, w]).iter().try_fold(1usize, |p, &e| p.checked_mul(e));
                let Some(fit) = volume.map(|v| n / v).filter(|f| *f > 0) else { continue };
                for &in_pack in &in_packs[in_packs.partition_point(|&p| p > fit)..] {
                    self.count()?;
                    let widest = out_packs.partition_point(|&p| p > fit / in_pack);
                    let mut fitting = out_packs[widest..].iter();
                    let widest = fitting.find_map(|&p| Encoding::new(n, *shape, [d, h, w], in_pack, p));
                    // Scalars cost no transforms, so they may beat a wider packing.
                    let scalar = Encoding::new(n, *shape, [d, h, w], 1, 1).filter(|e| in_pack == 1 && e.is_scalar());
                    for encoding in widest.into_iter().chain(scalar.filter(|_| !out_packs.is_empty())) {
                        let layout = Layout::new(encoding);
                        let least = best.as_ref().map_or(f64::INFINITY, |(least, _)| *least);
                        if layout.least_nanoseconds(&params) < least {
                            let cost = layout.cost(&params).nanoseconds();
                            if cost < least {
                                best = Some((cost, layout));
                            }
                        }
                    }
                }
            }
        }
        match (best, budget(1)) {
            (Some((_, layout)), _) => {
                let budget = budget(layout.encoding.out_pack()).map_err(|e| e.to_string())?;
                Ok((layout, budget))
            }
            (None, Err(why)) => Err(why.to_string()),
            (None, Ok(_)) => Err(format!("no tile of {shape:?} fits n = {n}")),
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
    fn exhaustive(shape: &ConvShape, params: &Params, weight_bits: u32) -> Option<Layout> {
        let n = params.n();
        let all = |size| balanced(size, size);
        let mut best: Option<(f64, Layout)> = None;
        for (d, h, w) in all(shape.size[0])
            .into_iter()
            .flat_map(|d| all(shape.size[1]).into_iter().map(move |h| (d, h)))
            .flat_map(|(d, h)| all(shape.size[2]).into_iter().map(move |w| (d, h, w)))
        {
            for (i, o) in
                all(shape.inputs).into_iter().flat_map(|i| all(shape.outputs).into_iter().map(move |o| (i, o)))
            {
                let Some(encoding) = Encoding::new(n, *shape, [d, h, w], i, o) else { continue };
                if noise::budget(params, factor_norm(shape, weight_bits, o)).is_err() {
                    continue;
                }
                let layout = Layout::new(encoding);
                let cost = layout.cost(params).nanoseconds();
                if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                    best = Some((cost, layout));
                }
            }
        }
        best.map(|(_, layout)| layout)
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
            let kernel = std::array::from_fn(|d| (2 * half_kernel[d] + 1).min(2 * size[d] - 1));
            let shape = ConvShape { inputs: channels[0], outputs: channels[1], size, kernel };
            let params = Params::hom_conv();
            let found = Search::default().best(&shape, weight_bits).ok().map(|(layout, _)| layout);
            prop_assert_eq!(found, exhaustive(&shape, &params, weight_bits));
        }

        #[test]
        fn the_norm_bounds_the_heaviest_weights(
            channels in [1usize..4, 1..4],
            size in [1usize..5, 1..5, 1..5],
            half_kernel in [0usize..4, 0..4, 0..4],
            packs in [1usize..4, 1..4],
        ) {
            let kernel = half_kernel.map(|k| 2 * k + 1);
            let shape = ConvShape { inputs: channels[0], outputs: channels[1], size, kernel };
            let Some(e) = Encoding::new(4096, shape, size, packs[0], packs[1]) else {
                prop_assert!((0..3).any(|d| kernel[d] > 2 * size[d] - 1), "{shape:?} fits");
                return Ok(());
            };
            let weights = vec![-(1 << 4); shape.inputs * shape.outputs * shape.taps()];
            for out_group in 0..e.out_groups() {
                let mut square = 0.0;
                for in_group in 0..e.in_groups() {
                    let mut poly = vec![0; 4096];
                    e.encode_weights(&weights, out_group, in_group, &mut poly);
                    square += poly.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>();
                }
                let bound = factor_norm(&shape, 5, e.out_pack());
                prop_assert!(square.sqrt() <= bound * (1.0 + 1e-12), "{} above {bound}", square.sqrt());
                // And it is no larger than need be.
                let full = out_group + 1 < e.out_groups() || shape.outputs.is_multiple_of(e.out_pack());
                prop_assert!(!full || square.sqrt() >= bound * (1.0 - 1e-12));
            }
        }
    }
}
