//! A client's way to a service.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use blindvox_engine::garble::GateHash;
use blindvox_net::Channel;
use blindvox_net::identity::{Identity, Trust};
use blindvox_net::transport::tcp::Limits;
use blindvox_net::transport::tls;
use blindvox_protocols::service::{Accepts, Visit};
use blindvox_protocols::{Error, Result};

use crate::args_hosts::RemoteArgs;

/// How long a service may take to answer, and to greet.
const GREETING: Duration = Duration::from_secs(10);

/// A service, as its client reaches and knows it.
pub(crate) struct Peer {
    address: String,
    tls: tls::Client,
}

/// What a client accepts that only asks.
pub(crate) fn anything() -> Accepts {
    Accepts::new(GateHash::default(), None, None, None)
}

impl Peer {
    /// From flags.
    ///
    /// # Errors
    /// [`Error::Input`] for a flag that is missing, [`Error::Identity`] for what they name.
    pub(crate) fn of(args: &RemoteArgs) -> Result<Self> {
        let missing = |flag: &str, what: &str| Error::Input(format!("{flag} is missing: {what}"));
        let address = args.server.clone().ok_or_else(|| missing("--server", "where the service is, HOST:PORT"))?;
        let identity = args
            .identity
            .as_deref()
            .ok_or_else(|| missing("--identity", "who this client is (`blindvox keygen --name NAME`)"))?;
        let trust = args
            .trust
            .as_deref()
            .ok_or_else(|| missing("--trust", "the service's .crt file or fingerprint; ask the service for it"))?;
        let tls = tls::Client::new(&Identity::load(Path::new(identity))?, &Trust::parse(trust, args.name.as_deref())?)?;
        Ok(Self { address, tls })
    }

    /// Connects and greets.
    ///
    /// # Errors
    /// [`Error::Connection`], [`Error::Identity`] naming the address; [`Error::Refused`].
    pub(crate) fn visit(&self, accepts: Accepts) -> Result<Visit> {
        let secured = self.tls.meet(self.connect()?, GREETING).map_err(|e| self.named(e.into()))?;
        Visit::begin(Channel::tls(secured, Limits::between_hosts())?, accepts)
    }

    fn connect(&self) -> Result<TcpStream> {
        let address = &self.address;
        let failed = |what: String| Error::Connection(format!("connect to {address}: {what}"));
        let all = address.to_socket_addrs().map_err(|e| match e.kind() {
            std::io::ErrorKind::InvalidInput => Error::Input(format!("--server {address}: expected HOST:PORT")),
            _ => failed(e.to_string()),
        })?;
        let mut last = failed("no such host".to_owned());
        for one in all {
            match TcpStream::connect_timeout(&one, GREETING) {
                Ok(stream) => return Ok(stream),
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
                    last =
                        failed("connection refused (is `blindvox serve` running there, and the port open?)".to_owned());
                }
                Err(e) if e.kind() == std::io::ErrorKind::TimedOut => {
                    last = failed("timed out (is the host up, and the port open?)".to_owned());
                }
                Err(e) => last = failed(e.to_string()),
            }
        }
        Err(last)
    }

    /// An error of the greeting, with whose it is.
    fn named(&self, e: Error) -> Error {
        match e {
            Error::Identity(what) => Error::Identity(format!("{} {what}", self.address)),
            Error::Connection(what) => Error::Connection(format!("{}: {what}", self.address)),
            e => e,
        }
    }
}
