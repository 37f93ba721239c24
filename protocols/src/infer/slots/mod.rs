//! Runs in slots: the service computes alone, on what the client encrypted under CKKS.
//!
//! | # | from -> to | content | bytes (unet1s, fast) | phase |
//! |---|---|---|---|---|
//! | 1 | client -> server | hello: magic 8, inputs 4, the preset's name | <= 44 | setup |
//! | 2 | server -> client | [`Public`]: chain, layouts, rotations and levels, clamp, bounds, classes | some kB | setup |
//! | 3 | client -> server | digest of the key set 32; server -> client: whether it is known 1 | 33 | setup |
//! | 4 | client -> server | unless it is known, lengths 16 and the key set; server -> client: taken 1 | 121 MB | setup |
//! | 5 | client -> server | inputs, seeded | 0.69 MB each | online |
//! | 6 | server -> client | results, re-randomised and flooded | 0.38 MB each | online |
//!
//! The client is made of the public part alone: it holds no weights and no plaintexts of them. The service keeps nothing
//! but key sets, by their digests. What the client finds out about a result ([`guards`]) stays with it.
//!
//! | module | what |
//! |---|---|
//! | [`public`] | what a client must know |
//! | [`model`] | a service's model, and its evaluation |
//! | `places` | scales and levels of tensors |
//! | [`error_model`], [`choose`] | the error of a run, predicted; parameters that suit a calibrated network |
//! | [`client`], [`service`] | both halves |
//! | [`files`] | what goes by files |
//! | [`guards`] | what makes a result doubtful |
//! | [`session`], [`local`] | both halves over a channel, and in one process |

pub mod choose;
pub mod client;
pub mod error_model;
pub mod files;
pub mod guards;
pub mod local;
pub mod model;
mod places;
pub mod public;
pub mod service;
pub mod session;

pub use client::{Client, KeySet, Scores};
pub use model::{Model, Source};
pub use public::Public;
pub use service::{ClientKeys, KeyStore, Models};
pub use session::{Choice, Outcome, Visit};
