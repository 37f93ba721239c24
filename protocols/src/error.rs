//! The one error type of the crate.

use thiserror::Error;

/// What can go wrong in a protocol, a model or a file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine refused an operation.
    #[error(transparent)]
    Engine(#[from] blindvox_engine::Error),
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
    Refused(blindvox_net::Refusal),
    /// An identity, a certificate or a list of them is not as it should be.
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
    /// A file, flag or field the user gave is wrong.
    #[error("{0}")]
    Input(String),
    /// A model does not fit the parameters; names the layer, what it needs and what there is.
    #[error("model: {0}")]
    Model(String),
    /// Reading or writing a file failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
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

    /// True for what the user can mend: a wrong file, field or flag (exit code 2). A full disk or a broken one is a
    /// failure (exit code 1).
    pub fn is_input(&self) -> bool {
        match self {
            Self::Input(_) | Self::Model(_) | Self::Identity(_) => true,
            Self::Io { source, .. } => blindvox_models::error::mendable(source.kind()),
            _ => false,
        }
    }
}

impl From<blindvox_net::Error> for Error {
    fn from(e: blindvox_net::Error) -> Self {
        match e {
            blindvox_net::Error::Connection(what) => Self::Connection(what),
            blindvox_net::Error::Cancelled => Self::Cancelled,
            blindvox_net::Error::Refused(refusal) => Self::Refused(refusal),
            blindvox_net::Error::Identity(what) => Self::Identity(what),
            blindvox_net::Error::Thread { what, source } => Self::Thread { what, source },
            // What else goes wrong between two parties breaks their protocol.
            blindvox_net::Error::Protocol(what) => Self::Protocol(what),
            e => Self::Protocol(e.to_string()),
        }
    }
}

impl From<blindvox_models::Error> for Error {
    fn from(e: blindvox_models::Error) -> Self {
        match e {
            blindvox_models::Error::Model(what) => Self::Model(what),
            blindvox_models::Error::Io { path, source } => Self::Io { path, source },
            blindvox_models::Error::Input(what) => Self::Input(what),
            e => Self::Input(e.to_string()),
        }
    }
}
