//! Ways to carry a [`Channel`](crate::channel::Channel)'s messages.
//!
//! | module | what |
//! |---|---|
//! | [`queue`] | a queue bounded in bytes, the only thing a channel waits on |
//! | [`local`] | both parties in one process: buffers are handed over, not copied |
//! | [`frame`] | what messages look like on a wire, and what else passes there |
//! | `tcp` | frames over a socket, one thread a direction (feature `sockets`) |
//! | `tls` | what makes such a connection secret, and its ends known (feature `tls`) |
//! | [`pace`] | how slowly a peer may read |
//! | [`recycle`] | buffers that serve again |

pub mod frame;
pub mod local;
pub mod pace;
pub mod queue;
pub mod recycle;
#[cfg(feature = "sockets")]
pub mod tcp;
#[cfg(feature = "tls")]
pub mod tls;

use std::time::Duration;

/// Bulk data is split into messages of at most this many bytes.
pub const CHUNK: usize = 4 << 20;
/// The largest message taken from a peer.
pub const MAX_MESSAGE: usize = CHUNK + 4096;
/// How long a party waits for its peer before it gives up.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
