//! Layers that are not linear, and pooling.
//!
//! | module | what |
//! |---|---|
//! | [`avg_pool`] | sums over windows, local |
//! | [`square`] | x^2 / 2^f from square pairs |

pub mod avg_pool;
pub mod square;
