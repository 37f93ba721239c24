//! Roots in the order in which the vector transforms read them.
//!
//! Stages whose half length is eight or more have one factor for whole vectors: *uniform*, index m + g for group g of
//! the stage with m groups, as in [`NttTable`]. The last three stages act inside 8x8 transposed blocks of 64 points,
//! where lane j works on points 8j..8j + 8 of the block: they take *lane* vectors, seven a block: one for the stage of
//! half length 4, two for 2 and four for 1, entry j being the factor of lane j.

use super::buffer::{LINE, Line};
use crate::ring::NttTable;
use crate::ring::ntt_table::Factor;

/// The smallest dimension with vector transforms: one 8x8 block.
pub(super) const MIN_N: usize = 64;

/// A uniform factor: value, companion, high half of the companion, 0.
pub(super) type Uniform = [u64; 4];

/// Lane vectors of a block: for each of the seven factors its values and its companions.
pub(super) type LaneBlock = [Line; 14];

/// One direction's factors.
pub(super) struct Twiddles {
    pub(super) uniform: Vec<Uniform>,
    pub(super) lanes: Vec<LaneBlock>,
}

impl Twiddles {
    fn new(factors: &[Factor], companion_shift: u32) -> Self {
        let n = factors.len();
        let uniform = factors[..n / LINE].iter().map(|f| uniform(*f, companion_shift)).collect();
        let lanes = (0..n / MIN_N)
            .map(|block| {
                let mut lines = [Line([0; LINE]); 14];
                let mut slot = 0;
                for width in [1, 2, 4] {
                    for k in 0..width {
                        for j in 0..LINE {
                            let f = factors[n / LINE * width + (block * LINE + j) * width + k];
                            lines[slot].0[j] = f.value;
                            lines[slot + 1].0[j] = f.shoup >> companion_shift;
                        }
                        slot += 2;
                    }
                }
                lines
            })
            .collect();
        Self { uniform, lanes }
    }
}

fn uniform(f: Factor, companion_shift: u32) -> Uniform {
    let companion = f.shoup >> companion_shift;
    [f.value, companion, companion >> 32, 0]
}

/// Both directions for one prime, with companions floor(w * 2^k / q), k = 64 - shift.
pub(super) struct Roots {
    pub(super) n: usize,
    pub(super) q: u64,
    pub(super) forward: Twiddles,
    pub(super) inverse: Twiddles,
    /// 1/n, and 1/n times the factor of the last inverse stage.
    pub(super) n_inv: Uniform,
    pub(super) n_inv_last: Uniform,
}

impl Roots {
    /// For n of [`MIN_N`] or more.
    pub(super) fn new(table: &NttTable, companion_shift: u32) -> Self {
        let q = table.modulus();
        let last = q.mul(table.n_inv().value, table.inverse_factors()[1].value);
        Self {
            n: table.n(),
            q: q.value(),
            forward: Twiddles::new(table.forward_factors(), companion_shift),
            inverse: Twiddles::new(table.inverse_factors(), companion_shift),
            n_inv: uniform(table.n_inv(), companion_shift),
            n_inv_last: uniform(Factor { value: last, shoup: q.shoup(last) }, companion_shift),
        }
    }
}
