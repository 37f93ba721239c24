//! Runs on shares: both parties compute, layer by layer.
//!
//! | module | what |
//! |---|---|
//! | [`public`] | what the client may know of a model, sent by the server and checked by the client |
//! | [`session`] | what a party carries through a run: its peer, keys, plans |
//! | [`preprocess`] | the source of square pairs, or all of them: no input is needed |
//! | [`online`] | the steps of the program, both parties' halves |
//! | `needs` | in which rings each tensor is wanted |
//! | `ways` | the protocols that the steps call |
//! | `windows` | runs in windows, whose scores are blended in shares |
//! | [`hiding`] | how well a run's replies hide the weights |
//! | [`trace`] | checks of every step from both parties' shares, for tests |
//! | [`sample`] | the same at sampled positions, for large runs |
//!
//! The phases are types: [`Session`](session::Session) is set up, [`Session::preprocess`](session::Session::preprocess)
//! gives [`Ready`](preprocess::Ready), and that is spent by its [run](online), so that no mask is used twice.

pub mod hiding;
pub(super) mod needs;
pub mod online;
pub mod preprocess;
pub mod public;
pub mod sample;
pub mod session;
pub mod trace;
mod ways;
mod windows;
