//! blindvox bench.
