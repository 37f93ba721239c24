//! Federated averaging: hospitals train one model together, an aggregator adds updates that it can't read, and any t key
//! holders together open the sum and nothing else.
//!
//! All of a round is bytes in and bytes out: whoever carries the messages, by whatever transport, drives the same parties.
//!
//! | module | what |
//! |---|---|
//! | [`roster`] | who is in a federation: `federation.toml` |
//! | [`signing`], [`sealing`] | keys of members, and of a round |
//! | [`message`] | signed messages, and a table of them |
//! | [`plan`] | what a round is |
//! | [`codec`] | updates as integers, sums as averages |
//! | [`shamir`] | sharing of small integers |
//! | [`scheme`] | how sums are hidden |
//! | [`round`] | a Plan with its scheme: what all parties check and compute alike |
//! | [`member`], [`client`], [`holder`] | a member's state, and what it does as either |
//! | [`aggregator`] | who adds what it can't read |
//! | [`audit`] | the aggregator's log |
//! | [`store`] | where parties keep their state |
//! | [`model`] | models as files |
//! | [`local`] | a whole federation in one process |
//! | `net` | rounds between hosts (feature `net`) |
//! | [`ceremony`] | files of a dealer's keys |
//! | [`demo`] | a network and a table to look at one |
//! | [`error`] | what can go wrong |

pub mod aggregator;
pub mod audit;
pub mod ceremony;
pub mod client;
pub mod codec;
pub mod demo;
pub mod error;
pub mod holder;
pub mod local;
pub mod member;
pub mod message;
pub mod model;
#[cfg(feature = "net")]
pub mod net;
pub mod plan;
pub mod roster;
pub mod round;
pub mod scheme;
pub mod sealing;
pub mod shamir;
pub mod signing;
pub mod store;

pub use error::{Error, Result};
