//! A model's files.
//!
//! | module | what |
//! |---|---|
//! | [`graph`] | the network as JSON: nodes, checks, shapes |
//! | [`weights`] | safetensors |
//! | `fold` | the two as a [`Network`](crate::Network) |
//! | [`bundle`] | a model's directory: graph, preparation, scales, weights |

pub mod bundle;
mod fold;
pub mod graph;
pub mod weights;
