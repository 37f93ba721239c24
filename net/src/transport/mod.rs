//! Ways to carry a [`Channel`](crate::channel::Channel)'s messages.
//!
//! | module | what |
//! |---|---|
//! | [`queue`] | a queue bounded in bytes, the only thing a channel waits on |
//! | [`local`] | both parties in one process: buffers are handed over, not copied |
//! | [`tcp`] | length-framed messages over a socket, one thread a direction |
//! | [`pace`] | how slowly a peer may read |
//! | [`recycle`] | buffers that serve again |

pub mod local;
pub mod pace;
pub mod queue;
pub mod recycle;
pub mod tcp;
