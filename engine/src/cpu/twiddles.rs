//! Roots in the order in which the vector transforms read them.
//!
//! Stages whose half length is eight or more have one factor for whole vectors: *uniform*, index m + g for group g of
//! the stage with m groups, as in [`NttTable`]. The last three stages act inside 8x8 transposed blocks of 64 points,
//! where lane j works on points 8j..8j + 8 of the block: they take *lane* vectors, seven a block: one for the stage of
//! half length 4, two for 2 and four for 1, entry j being the factor of lane j.

use super::buffer::{LINE, Line};
use crate::ring::ntt_table::Factor;
use crate::ring::{Modulus, NttTable};

/// The smallest dimension with vector transforms: one 8x8 block.
pub(super) const MIN_N: usize = 64;

/// A uniform factor: value, companion.
pub(super) type Uniform = [u64; 2];

/// Lane vectors of a block, of each of the seven factors.
pub(super) type LaneBlock = [Line; 7];

/// One direction's factors. Lane values and companions are apart: where one follows from the other, only one takes room
/// in cache.
pub(super) struct Twiddles {
    pub(super) uniform: Vec<Uniform>,
    pub(super) lane_values: Vec<LaneBlock>,
    pub(super) lane_companions: Vec<LaneBlock>,
}

impl Twiddles {
    fn new(factors: &[Factor], companion_shift: u32) -> Self {
        let n = factors.len();
        let lanes = |word: fn(Uniform) -> u64| {
            let line = |block: usize, width: usize, k: usize| {
                let factor = |j: usize| factors[n / LINE * width + (block * LINE + j) * width + k];
                Line(std::array::from_fn(|j| word(uniform(factor(j), companion_shift))))
            };
            let slots = [(1, 0), (2, 0), (2, 1), (4, 0), (4, 1), (4, 2), (4, 3)];
            (0..n / MIN_N).map(|block| slots.map(|(width, k)| line(block, width, k))).collect()
        };
        Self {
            uniform: factors[..n / LINE].iter().map(|f| uniform(*f, companion_shift)).collect(),
            lane_values: lanes(|f| f[0]),
            lane_companions: lanes(|f| f[1]),
        }
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.uniform) + size_of_val(&*self.lane_values) + size_of_val(&*self.lane_companions)
    }
}

fn uniform(f: Factor, companion_shift: u32) -> Uniform {
    [f.value, f.shoup >> companion_shift]
}

/// One prime's constants and factors, with companions floor(w * 2^k / q), k = 64 - shift.
pub(super) struct Roots {
    pub(super) n: usize,
    pub(super) modulus: Modulus,
    pub(super) q: u64,
    pub(super) forward: Twiddles,
    pub(super) inverse: Twiddles,
    /// 1/n, and 1/n times the factor of the last inverse stage.
    pub(super) n_inv: Uniform,
    pub(super) n_inv_last: Uniform,
    /// floor(2^(bits + 51) / q), below 2^52.
    pub(super) barrett: u64,
    /// The factors 1, 2^30, 2^52, 2^60 and 2^92.
    pub(super) power: Powers,
    companion_shift: u32,
}

/// Powers of two modulo a prime.
pub(super) struct Powers {
    pub(super) p0: Uniform,
    pub(super) p30: Uniform,
    pub(super) p52: Uniform,
    pub(super) p60: Uniform,
    pub(super) p92: Uniform,
}

impl Roots {
    /// For n of [`MIN_N`] or more.
    pub(super) fn new(table: &NttTable, companion_shift: u32) -> Self {
        let modulus = table.modulus();
        let q = modulus.value();
        let factor = |value| uniform(Factor { value, shoup: modulus.shoup(value) }, companion_shift);
        let power = |k| factor(modulus.reduce_wide(1u128 << k));
        Self {
            n: table.n(),
            modulus,
            q,
            forward: Twiddles::new(table.forward_factors(), companion_shift),
            inverse: Twiddles::new(table.inverse_factors(), companion_shift),
            n_inv: factor(table.n_inv().value),
            n_inv_last: factor(modulus.mul(table.n_inv().value, table.inverse_factors()[1].value)),
            barrett: ((1u128 << (modulus.bits() + 51)) / u128::from(q)) as u64,
            power: Powers { p0: power(0), p30: power(30), p52: power(52), p60: power(60), p92: power(92) },
            companion_shift,
        }
    }

    /// Bytes of all factors.
    pub(super) fn bytes(&self) -> usize {
        [&self.forward, &self.inverse].map(Twiddles::bytes).iter().sum()
    }

    /// Any factor in `[0, q)`.
    pub(super) fn factor(&self, value: u64) -> Uniform {
        uniform(Factor { value, shoup: self.modulus.shoup(value) }, self.companion_shift)
    }
}
