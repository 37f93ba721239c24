//! Layers that are not linear, and pooling.
//!
//! | module | what |
//! |---|---|
//! | [`avg_pool`] | sums over windows, local |

pub mod avg_pool;
