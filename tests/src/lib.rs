//! blindvox tests.
