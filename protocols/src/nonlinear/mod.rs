//! Layers that are not linear, and pooling.
//!
//! | module | what |
//! |---|---|
//! | [`relu`] | max(x, 0) |
//! | [`max_pool`] | the greatest of a window |
//! | [`argmax`] | labels, to the client alone |
//! | [`select`] | d·x for a shared bit d |
//! | `tournament` | comparison and selection of pairs, round by round |
//! | `words` | how values of either ring enter circuits |
//! | [`avg_pool`] | sums over windows, local |
//! | [`windows`] | the values of each window side by side |
//! | [`square`] | x^2 / 2^f from square pairs |
//! | [`multiply`] | x·y mod p from Beaver triples |
//! | `open` | opening of masked values |

pub mod argmax;
pub mod avg_pool;
pub mod max_pool;
pub mod multiply;
mod open;
pub mod relu;
pub mod select;
pub mod square;
mod tournament;
pub mod windows;
mod words;
