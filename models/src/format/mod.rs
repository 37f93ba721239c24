//! A model's files.
//!
//! | module | what |
//! |---|---|
//! | [`graph`] | the network as JSON: nodes, checks, shapes |
//! | [`weights`] | safetensors |
//! | `fold` | the two as a [`Network`](crate::Network) |
//! | [`bundle`] | a model's directory: graph, preparation, scales, weights |
//! | [`prepared`] | a bundle brought to a scan |
//! | [`model_card`] | what a client knows of a model before a run |
//! | [`onnx`] | a bundle from a model that a training framework exported |
//! | [`training`] | what the folder of a trained model says |

pub mod bundle;
mod fold;
pub mod graph;
pub mod model_card;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod prepared;
pub mod training;
pub mod weights;
