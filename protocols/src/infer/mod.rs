//! Secure inference of any program of [`blindvox_models`]: U-Nets of any depth and width, planar or volumetric.
//!
//! | module | what |
//! |---|---|
//! | [`architecture`] | the public part of a model, sent by the server and checked by the client |
//! | [`session`] | what a party carries through a run: channel, randomness, keys, OT |
//! | [`preprocess`] | the source of square pairs, or all of them: no input is needed |
//! | [`online`] | the steps of the program, both parties' halves |
//! | [`presets`] | which protocols a run is made of |
//! | [`estimate`] | what a run will send |
//! | [`hiding`] | how well a run's replies hide the weights |
//! | [`trace`] | checks of every step from both parties' shares, for tests |
//! | [`sample`] | the same at sampled positions, for large runs |
//! | [`local`] | both parties in one process |
//! | [`report`] | costs |
//!
//! The phases are types: [`Session`] is set up, [`Session::preprocess`] gives [`Ready`], and [`Ready`] is spent by
//! [`Ready::run`](online), so that no mask is used twice.

pub mod architecture;
pub mod estimate;
pub mod hiding;
pub mod local;
pub mod online;
pub mod preprocess;
pub mod presets;
pub mod report;
pub mod sample;
pub mod session;
pub mod trace;

pub use estimate::{Estimate, estimate};
pub use online::{Observer, Outcome};
pub use preprocess::Ready;
pub use presets::{Comparison, PairSupply, Products, Ways};
pub use session::{Options, Role, Session};
