//! blindvox protocols.
