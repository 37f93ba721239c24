//! The one error type of the crate.

use thiserror::Error;

use crate::refusal::Refusal;

/// What can go wrong between two parties.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer sent something that the protocol does not allow.
    #[error("protocol: {0}")]
    Protocol(String),
    /// The peer went away or stayed silent.
    #[error("connection: {0}")]
    Connection(String),
    /// The run was given up, by this party or its peer.
    #[error("the run was cancelled")]
    Cancelled,
    /// The service refused.
    #[error("refused: {}", .0.text)]
    Refused(Refusal),
    /// An identity, a certificate, a list or what the peer showed of itself is not as it should be.
    #[error("{0}")]
    Identity(String),
    /// The system refused a thread.
    #[error("the system refused a thread for {what}: {source}")]
    Thread {
        /// What it was for.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Shorthand for this crate's results.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A peer's message broke the protocol.
    pub fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol(what.into())
    }
}
