//! The one error type of the crate.

use thiserror::Error;

/// What the engine refuses.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter is outside what is supported or secure.
    #[error("parameters: {0}")]
    Parameters(String),
    /// Shapes or lengths of operands do not agree.
    #[error("shape: {0}")]
    Shape(String),
    /// Operands live on different devices, or a buffer belongs to another backend.
    #[error("operands live on different devices: {0}")]
    DeviceMismatch(String),
    /// No usable adapter, or the device was lost or ran out of memory.
    #[error("device: {0}")]
    Device(String),
    /// Bytes that do not decode.
    #[error("decode: {0}")]
    Decode(String),
}

/// Shorthand for this crate's results.
pub type Result<T> = std::result::Result<T, Error>;
