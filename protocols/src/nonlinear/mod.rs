//! Layers that are not linear, and pooling.
//!
//! | module | what |
//! |---|---|
//! | [`relu`] | max(x, 0) |
//! | [`max_pool`] | the greatest of a window |
//! | [`argmax`] | labels, to the client alone |
//! | `index` | the index of the greatest by selection |
//! | `tournament` | comparison and selection of pairs, round by round |
//! | [`full_circuit`] | the first three whole in garbled circuits, as BUNET publishes them |
//! | [`avg_pool`] | sums over windows, local |
//! | [`grids`] | voxels moved and repeated, local |
//! | [`windows`] | the values of each window side by side |
//! | [`square`] | x^2 / 2^f from square pairs |
//! | [`multiply`] | x·y mod p from Beaver triples |
//! | `open` | opening of masked values |

pub mod argmax;
pub mod avg_pool;
pub mod full_circuit;
pub mod grids;
pub(crate) mod index;
pub mod max_pool;
pub mod multiply;
mod open;
pub mod relu;
pub mod square;
mod tournament;
pub mod windows;

use crate::compare::{Compare, Garbled, Transfers};
use crate::error::Result;
use crate::peer::Peer;
use crate::share::{Ring, Shares};
use crate::traffic::Bytes;

/// How ReLU, max pooling and argmax are computed, by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// Only comparisons are garbled; correlated OTs select.
    #[default]
    SignSelect,
    /// Everything is garbled.
    FullCircuit,
    /// Everything by random transfers.
    Transfers,
}

impl Comparison {
    /// What it is made of, in words.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::SignSelect => "sign by garbled circuit, selection by OT",
            Self::FullCircuit => "full garbled circuit",
            Self::Transfers => "tables, ANDs and selection by OT",
        }
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::SignSelect => "sign-select",
            Self::FullCircuit => "full-circuit",
            Self::Transfers => "transfers",
        }
    }
}

/// The layers that compare.
pub enum Nonlinear {
    /// By comparisons, and selections by transfers.
    Compared(Box<dyn Compare>),
    /// By circuits that do both.
    FullCircuit,
}

impl Nonlinear {
    /// The way of this name.
    pub fn new(comparison: Comparison) -> Self {
        match comparison {
            Comparison::SignSelect => Self::Compared(Box::new(Garbled::default())),
            Comparison::FullCircuit => Self::FullCircuit,
            Comparison::Transfers => Self::Compared(Box::new(Transfers::default())),
        }
    }

    /// Whether ReLU reads the low bits of its shares alone.
    pub(crate) fn reads_low_bits(&self) -> bool {
        matches!(self, Self::Compared(compare) if compare.reads_low_bits())
    }

    /// See [`relu::relu`].
    ///
    /// # Errors
    /// As there.
    pub fn relu(&mut self, peer: &mut Peer, x: &[u32], ring: Ring) -> Result<Shares> {
        match self {
            Self::Compared(compare) => relu::relu(peer, &mut **compare, x, ring),
            Self::FullCircuit => full_circuit::relu(peer, x, ring),
        }
    }

    /// See [`max_pool::max_pool`].
    ///
    /// # Errors
    /// As there.
    pub fn max_pool(&mut self, peer: &mut Peer, windows: &[u32], window: usize, ring: Ring) -> Result<Shares> {
        match self {
            Self::Compared(compare) => max_pool::max_pool(peer, &mut **compare, windows, window, ring),
            Self::FullCircuit => full_circuit::max_pool(peer, windows, window, ring),
        }
    }

    /// Bytes of [`Self::relu`] of `n` values, at a block width of transfers.
    pub fn relu_bytes(&self, n: usize, ring: Ring, width: usize) -> Bytes {
        match self {
            Self::Compared(compare) => relu::bytes(&**compare, n, ring, width),
            Self::FullCircuit => full_circuit::relu_bytes(n, ring, width),
        }
    }

    /// Bytes of [`Self::max_pool`] of \[windows, window\] values.
    pub fn max_pool_bytes(&self, shape: [usize; 2], ring: Ring, width: usize) -> Bytes {
        match self {
            Self::Compared(compare) => max_pool::bytes(&**compare, shape, ring, width),
            Self::FullCircuit => full_circuit::max_pool_bytes(shape, ring, width),
        }
    }

    /// Bytes of [`Self::argmax`] of \[voxels, classes\] values.
    pub fn argmax_bytes(&self, shape: [usize; 2], ring: Ring, width: usize) -> Bytes {
        match self {
            Self::Compared(compare) => argmax::bytes(&**compare, shape, ring, width),
            Self::FullCircuit => full_circuit::argmax_bytes(shape, ring, width),
        }
    }

    /// See [`argmax::argmax`].
    ///
    /// # Errors
    /// As there.
    pub fn argmax(&mut self, peer: &mut Peer, logits: &[u32], classes: usize, ring: Ring) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Compared(compare) => argmax::argmax(peer, &mut **compare, logits, classes, ring),
            Self::FullCircuit => full_circuit::argmax(peer, logits, classes, ring),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ot::LINK_WIDTH;
    use crate::share::P;

    #[test]
    fn bytes_are_what_the_tables_say() {
        let ways = [Comparison::SignSelect, Comparison::FullCircuit].map(Nonlinear::new);
        let n = 3 << 20;
        let each = |what: &dyn Fn(&Nonlinear) -> Bytes, count: usize| {
            ways.each_ref().map(|way| what(way).total() as f64 / count as f64)
        };
        // The checks of transfers take less than a hundredth of all.
        let are = |found: [f64; 2], expected: [f64; 2]| {
            let checks = found.iter().zip(expected).map(|(f, e)| f / e - 1.0);
            assert!(checks.clone().all(|c| (0.0..0.01).contains(&c)), "{found:?} where {expected:?} were expected");
        };
        are(each(&|way| way.relu_bytes(n, Ring::Pow2(16), LINK_WIDTH), n), [560.0, 1512.0]);
        are(each(&|way| way.relu_bytes(n, Ring::Prime(P), LINK_WIDTH), n), [1168.0, 6148.0]);
        are(each(&|way| way.argmax_bytes([n, 3], Ring::Pow2(24), LINK_WIDTH), n), [1792.25, 4832.25]);
        // Of a window of 8: 7 matches of 17 bits, or 8 values of 17 bits, tables, colours, a conversion of 15 bits.
        let ands = crate::gc::arithmetic::max(8, 17).ands() as f64;
        are(
            each(&|way| way.max_pool_bytes([n, 8], Ring::Pow2(16), LINK_WIDTH), n),
            [7.0 * (4.0 * 17.0 + 32.0 * 16.0 + 16.0), 8.0 * 4.0 * 17.0 + 32.0 * ands + 17.0 / 8.0 + 4.0 + 15.0 / 8.0],
        );
    }
}
