//! blindvox engine.
