//! The one error type of the crate.

use thiserror::Error;

/// What can be wrong with a file, a volume or a model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file, flag or field the user gave is wrong.
    #[error("{0}")]
    Input(String),
    /// A model does not fit its own rules; names the layer, what it needs and what there is.
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
    /// True for what the user can mend: a wrong file, field or flag. A full disk or a broken one is a failure.
    pub fn is_input(&self) -> bool {
        match self {
            Self::Input(_) | Self::Model(_) => true,
            Self::Io { source, .. } => mendable(source.kind()),
        }
    }
}

/// Whether a failure with a file is of a kind that the user can mend.
pub fn mendable(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{InvalidFilename, IsADirectory, NotADirectory, NotFound, PermissionDenied};
    matches!(kind, NotFound | PermissionDenied | IsADirectory | NotADirectory | InvalidFilename)
}
