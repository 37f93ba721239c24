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
    /// No usable adapter, or a build without GPUs: the CPU is left.
    #[error("device: {0}")]
    NoDevice(String),
    /// More than the device holds at a time: a smaller batch may fit.
    #[error("device: {what}: {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Of what.
        what: String,
        /// Its size.
        bytes: usize,
        /// The most that the device holds.
        limit: usize,
    },
    /// The device was lost, ran out of memory, or does not do what is asked.
    #[error("device: {0}")]
    Device(String),
    /// Bytes that do not decode.
    #[error("decode: {0}")]
    Decode(String),
}

/// Shorthand for this crate's results.
pub type Result<T> = std::result::Result<T, Error>;
