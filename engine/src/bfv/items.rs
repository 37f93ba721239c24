//! What the items of a chain have to themselves.

use std::sync::{Mutex, MutexGuard};

/// The item's rows of small values, as many as were recorded.
pub(super) fn rows<const K: usize>(small: Vec<&mut [i32]>) -> [&mut [i32]; K] {
    small.try_into().unwrap_or_else(|_| unreachable!("as many rows as were recorded"))
}

/// What each item has to itself: rows of outputs, generators.
pub(super) fn parts<T>(parts: impl IntoIterator<Item = T>) -> Vec<Mutex<T>> {
    parts.into_iter().map(Mutex::new).collect()
}

/// An item's own.
pub(super) fn own<T>(part: &Mutex<T>) -> MutexGuard<'_, T> {
    part.lock().unwrap_or_else(|e| e.into_inner())
}
