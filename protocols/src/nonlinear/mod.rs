//! Layers that are not linear, and pooling.
//!
//! | module | what |
//! |---|---|
//! | [`relu`] | max(x, 0) |
//! | [`max_pool`] | the greatest of a window |
//! | [`argmax`] | labels, to the client alone |
//! | [`select`] | d·x for a shared bit d |
//! | `tournament` | comparison and selection of pairs, round by round |
//! | [`full_circuit`] | the first three whole in garbled circuits, as BUNET publishes them |
//! | [`avg_pool`] | sums over windows, local |
//! | [`windows`] | the values of each window side by side |
//! | [`square`] | x^2 / 2^f from square pairs |
//! | [`multiply`] | x·y mod p from Beaver triples |
//! | `open` | opening of masked values |

pub mod argmax;
pub mod avg_pool;
pub mod full_circuit;
pub mod max_pool;
pub mod multiply;
mod open;
pub mod relu;
pub mod select;
pub mod square;
mod tournament;
pub mod windows;

use crate::compare::{Compare, Garbled};
use crate::error::Result;
use crate::peer::Peer;
use crate::share::{Ring, Shares};

/// How ReLU, max pooling and argmax are computed, by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// Only comparisons are garbled; correlated OTs select.
    #[default]
    SignSelect,
    /// Everything is garbled.
    FullCircuit,
}

impl Comparison {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::SignSelect => "sign-select",
            Self::FullCircuit => "full-circuit",
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
        }
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
