//! What the tables of `blindvox-bench` and its Criterion benches have in common.

pub mod setup;
