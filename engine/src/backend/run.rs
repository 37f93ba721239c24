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
}
