//! Channels over sockets.

use std::net::TcpStream;

use super::Channel;
#[cfg(any(test, feature = "testing"))]
use crate::error::Error;
use crate::error::Result;
use crate::transport::tcp::{self, Limits, Wire};
#[cfg(feature = "tls")]
use crate::transport::tls::Secured;

impl Channel {
    /// A channel over a connected socket, with the usual limits: neither secret nor authenticated, for tests.
    ///
    /// # Errors
    /// [`Error::Connection`] for a socket that is broken, [`Error::Thread`].
    #[cfg(any(test, feature = "testing"))]
    pub fn tcp(stream: TcpStream) -> Result<Self> {
        Self::tcp_with(stream, Limits::default())
    }

    /// The same to a peer that is allowed this much.
    ///
    /// # Errors
    /// Those of [`Self::tcp`].
    #[cfg(any(test, feature = "testing"))]
    pub fn tcp_with(stream: TcpStream, limits: Limits) -> Result<Self> {
        let wire = Wire::plain(&stream).map_err(|e| Error::Connection(e.to_string()))?;
        Self::over(stream, wire, limits)
    }

    /// A channel over a secured connection to a peer that is allowed this much. What is derived from it is bound to the
    /// connection, see [`Self::bind_connection`].
    ///
    /// # Errors
    /// [`Error::Connection`] for a socket that is broken, [`Error::Thread`].
    #[cfg(feature = "tls")]
    pub fn tls(secured: Secured, limits: Limits) -> Result<Self> {
        let (stream, wire, exporter) = secured.into_wire()?;
        Ok(Self { exporter: Some(exporter), ..Self::over(stream, wire, limits)? })
    }

    fn over(stream: TcpStream, wire: Wire, limits: Limits) -> Result<Self> {
        let (queues, link) = tcp::connect(stream, wire, limits)?;
        Ok(Self { timeout: limits.wait, patience: limits.total, link: Some(link), ..Self::new(queues) })
    }

    /// Whether what is sent leaves this process.
    pub fn leaves_process(&self) -> bool {
        self.link.is_some()
    }

    /// Waits until the system has all that was sent.
    pub(super) fn flush(&self) -> Result<()> {
        self.link.as_ref().map_or(Ok(()), |link| link.flush(self.timeout))
    }
}
