//! Chains, where a device has a way of its own to run them.

use super::*;
use crate::backend::recorded::{Items, Recorded};

/// What the items come to, and the points that are gathered in the layout of the backend.
pub(crate) type Ran<T, B> = Result<(Vec<T>, Option<B>)>;

/// Chains, where a device has a way of its own to run them.
pub(crate) trait Run: Memory {
    /// Runs a chain item by item. `buffers` are those of the chain's batches, in order. None where whole batches are
    /// better taken step by step.
    fn run<I: Items>(
        &self,
        _chain: &Recorded,
        _buffers: &[&Self::Buffer],
        _batch: usize,
        _items: &I,
    ) -> Option<Ran<I::Output, Self::Buffer>> {
        None
    }

    /// Two polynomials for each row and each job of `sums`. None where matrix products of transformed plaintexts serve
    /// better.
    fn sums_of_mirrored(
        &self,
        _t: &Self::Tables,
        _sums: &MirroredSums<'_>,
        _sources: &[&Self::Buffer],
    ) -> Option<Vec<Self::Buffer>> {
        None
    }
}
