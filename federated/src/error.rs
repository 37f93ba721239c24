//! The one error type of the crate.

use std::path::PathBuf;

use thiserror::Error;

/// What can go wrong in a federation.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file, flag or field the user gave is wrong.
    #[error("{0}")]
    Input(String),
    /// A message is not what the round allows; names whose it is.
    #[error("{0}")]
    Message(String),
    /// A round can't go on; names who is missing.
    #[error("{0}")]
    Round(String),
    /// The engine refused an operation.
    #[error(transparent)]
    Engine(#[from] blindvox_engine::Error),
    /// The connection to another party is not as it should be.
    #[cfg(feature = "net")]
    #[error(transparent)]
    Net(#[from] blindvox_net::Error),
    /// Reading or writing a file failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Shorthand for this crate's results.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What the user can mend.
    pub fn input(what: impl Into<String>) -> Self {
        Self::Input(what.into())
    }

    /// A message that the round does not allow.
    pub fn message(what: impl Into<String>) -> Self {
        Self::Message(what.into())
    }

    /// The same error, with whose it is in front.
    #[must_use]
    pub fn of(self, who: &str) -> Self {
        match self {
            Self::Message(what) => Self::Message(format!("{who}: {what}")),
            Self::Engine(e) => Self::Message(format!("{who}: {e}")),
            other => other,
        }
    }
}

impl From<blindvox_models::Error> for Error {
    fn from(e: blindvox_models::Error) -> Self {
        match e {
            blindvox_models::Error::Io { path, source } => Self::Io { path, source },
            e => Self::Input(e.to_string()),
        }
    }
}
