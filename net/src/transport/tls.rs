//! TLS 1.3 between a frame and its socket, both ends authenticated, without tickets or early data.
//!
//! A connection's state is locked to encrypt or decrypt and never across a system call, so that neither direction waits for
//! the other: [`tcp`](super::tcp)'s reader reads what is sealed and opens it under the lock; the writer alone writes, and with
//! its next frame, a keep-alive at the latest, what TLS has to say of its own (a key update, an alert).

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig,
    ServerConnection,
};
use rustls_pki_types::{CertificateDer, ServerName};

use super::tcp::{Seal, Wire};
use crate::error::{Error, Result};
use crate::identity::Pin;
use crate::identity::checks::provider;
use crate::identity::files::{Certificate, Identity, now};
use crate::identity::trust::{self, AnyClient, Trust};

/// What both ends must offer.
const ALPN: &[u8] = b"blindvox/3";
/// Names what is exported for [`Channel::bind_connection`](crate::Channel::bind_connection).
const EXPORTER: &[u8] = b"EXPORTER-blindvox-3";
/// Bytes that are read from a socket at a time.
const READ: usize = 256 << 10;

fn unusable(identity: &Identity, e: &rustls::Error) -> Error {
    Error::Identity(format!("{}: an identity that can't be used: {e}", identity.path.display()))
}

/// A client's side: who it is and whom it trusts.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Client {
    /// # Errors
    /// [`Error::Identity`] for an identity that can't sign.
    pub fn new(identity: &Identity, trust: &Trust) -> Result<Self> {
        let verifier = trust::of_server(trust, provider().clone())?;
        let builder = ClientConfig::builder_with_provider(provider().clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| unusable(identity, &e))?;
        let mut config = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(|e| unusable(identity, &e))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        let name = match trust {
            Trust::Authority(_, name) => name.clone(),
            Trust::Pin(_) => {
                config.enable_sni = false;
                ServerName::try_from("blindvox.invalid").expect("a DNS name")
            }
        };
        Ok(Self { config: Arc::new(config), name })
    }

    /// Meets the service at the other end of a socket.
    ///
    /// # Errors
    /// [`Error::Identity`] where either side does not take the other for whom it expects, else [`Error::Connection`].
    pub fn meet(&self, stream: TcpStream, timeout: Duration) -> Result<Secured> {
        let connection = ClientConnection::new(self.config.clone(), self.name.clone())
            .map_err(|e| Error::Connection(e.to_string()))?;
        Secured::shake(stream, Connection::Client(connection), timeout, None)
    }
}

/// A service's side: who it is, and which authorities vouch for clients beside those that sign themselves.
#[derive(Clone)]
pub struct Server {
    config: Arc<ServerConfig>,
    authorities: Option<Arc<RootCertStore>>,
}

impl Server {
    /// # Errors
    /// [`Error::Identity`] for an identity that can't sign.
    pub fn new(identity: &Identity, authorities: Option<Arc<RootCertStore>>) -> Result<Self> {
        let verifier = AnyClient { authorities: authorities.clone(), provider: provider().clone() };
        let builder = ServerConfig::builder_with_provider(provider().clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| unusable(identity, &e))?;
        let mut config = builder
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(|e| unusable(identity, &e))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), authorities })
    }

    /// Meets the client at the other end of a socket.
    ///
    /// # Errors
    /// Those of [`Client::meet`].
    pub fn meet(&self, stream: TcpStream, timeout: Duration) -> Result<Secured> {
        let connection = ServerConnection::new(self.config.clone()).map_err(|e| Error::Connection(e.to_string()))?;
        Secured::shake(stream, Connection::Server(connection), timeout, self.authorities.as_deref())
    }
}

/// A connection whose ends know each other.
pub struct Secured {
    stream: TcpStream,
    connection: Connection,
    exporter: [u8; 32],
    /// The peer's key.
    pub peer: Pin,
    /// The peer's DNS names that an authority vouches for.
    pub names: Vec<String>,
}

impl Secured {
    fn shake(
        mut stream: TcpStream,
        mut connection: Connection,
        timeout: Duration,
        authorities: Option<&RootCertStore>,
    ) -> Result<Self> {
        let deadline = Instant::now() + timeout;
        if let Err(e) = handshake(&mut stream, &mut connection, deadline) {
            // The peer is told why, if it still listens.
            let _ = connection.write_tls(&mut stream);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            return Err(e);
        }
        if connection.alpn_protocol() != Some(ALPN) {
            return Err(Error::Connection("the peer speaks TLS, but not blindvox".to_owned()));
        }
        let no_peer = || Error::Identity("the peer presented no certificate".to_owned());
        let chain: Vec<CertificateDer<'static>> = connection.peer_certificates().ok_or_else(no_peer)?.to_vec();
        let own = chain.first().ok_or_else(no_peer)?.clone();
        let peer = Certificate::from_der(own, "the peer")?.pin;
        let names = trust::vouched(&chain, authorities, now()).unwrap_or_default();
        let exporter =
            connection.export_keying_material([0; 32], EXPORTER, None).map_err(|e| Error::Connection(e.to_string()))?;
        // A message of the largest size waits here for a moment.
        connection.set_buffer_limit(None);
        Ok(Self { stream, connection, exporter, peer, names })
    }

    pub(crate) fn into_wire(self) -> Result<(TcpStream, Wire, [u8; 32])> {
        let broken = |e: io::Error| Error::Connection(e.to_string());
        let stream = self.stream.try_clone().map_err(broken)?;
        let mut connection = self.connection;
        // What a peer that speaks first sent right after its greeting may have been read with it.
        let early = connection.process_new_packets().map_err(|e| in_words(&e))?.plaintext_bytes_to_read();
        let mut plain = vec![0; early];
        connection.reader().read_exact(&mut plain).map_err(broken)?;
        let state = Arc::new(Mutex::new(connection));
        let opened = Opened { stream, state: state.clone(), sealed: vec![0; READ], plain, taken: 0 };
        let wire = Wire { opened: Box::new(opened), seal: Some(Box::new(Sealing { state })) };
        Ok((self.stream, wire, self.exporter))
    }
}

fn handshake(stream: &mut TcpStream, connection: &mut Connection, deadline: Instant) -> Result<()> {
    let broken = |e: io::Error| {
        Error::Connection(match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "timed out: the peer did not finish its greeting".to_owned(),
            _ => e.to_string(),
        })
    };
    while connection.is_handshaking() || connection.wants_write() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(broken(ErrorKind::TimedOut.into()));
        }
        stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left))).map_err(broken)?;
        if connection.wants_write() {
            connection.write_tls(stream).map_err(broken)?;
        } else {
            if connection.read_tls(stream).map_err(broken)? == 0 {
                return Err(Error::Connection("the peer closed the connection during the greeting".to_owned()));
            }
            connection.process_new_packets().map_err(|e| in_words(&e))?;
        }
    }
    Ok(())
}

/// What ended a connection, without its kind.
fn words(e: &rustls::Error) -> String {
    match in_words(e) {
        Error::Connection(text) | Error::Identity(text) => text,
        e => e.to_string(),
    }
}

/// What ended a greeting or a connection.
fn in_words(e: &rustls::Error) -> Error {
    let text = match e {
        rustls::Error::General(text) => text.clone(),
        rustls::Error::NoCertificatesPresented => "the peer presented no certificate".to_owned(),
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the peer's certificate has expired (`blindvox keygen` there makes a new one)".to_owned()
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "the peer's certificate is not valid yet (is a clock wrong?)".to_owned(),
        rustls::Error::InvalidCertificate(e) => format!("the peer's certificate is not one to trust: {e}"),
        rustls::Error::PeerIncompatible(e) => {
            return Error::Connection(format!("the peer speaks no TLS 1.3 as expected here ({e:?})"));
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "the peer refused this identity: its certificate has expired (`blindvox keygen` makes a new one)".to_owned()
        }
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateRequired
            | AlertDescription::HandshakeFailure
            | AlertDescription::AccessDenied),
        ) => format!("the peer refused this identity ({alert:?})"),
        e => return Error::Connection(format!("TLS: {e}")),
    };
    Error::Identity(text)
}

fn lock(state: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    state.lock().unwrap_or_else(|e| e.into_inner())
}

/// The reading side.
struct Opened {
    stream: TcpStream,
    state: Arc<Mutex<Connection>>,
    sealed: Vec<u8>,
    plain: Vec<u8>,
    taken: usize,
}

impl Opened {
    /// Waits for bytes of the socket and opens them.
    fn fill(&mut self) -> io::Result<()> {
        let got = loop {
            match self.stream.read(&mut self.sealed) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if got == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.plain.clear();
        self.taken = 0;
        let mut left = &self.sealed[..got];
        let mut connection = lock(&self.state);
        while !left.is_empty() {
            connection.read_tls(&mut left)?;
            let state = connection.process_new_packets().map_err(|e| io::Error::other(words(&e)))?;
            let at = self.plain.len();
            self.plain.resize(at + state.plaintext_bytes_to_read(), 0);
            connection.reader().read_exact(&mut self.plain[at..])?;
            if state.peer_has_closed() && self.plain.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

impl Read for Opened {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.plain.len() {
            self.fill()?;
        }
        let n = out.len().min(self.plain.len() - self.taken);
        out[..n].copy_from_slice(&self.plain[self.taken..][..n]);
        self.taken += n;
        Ok(n)
    }
}

/// The writing side.
struct Sealing {
    state: Arc<Mutex<Connection>>,
}

impl Seal for Sealing {
    fn seal(&mut self, parts: [&[u8]; 2], out: &mut Vec<u8>) -> std::result::Result<(), String> {
        let mut connection = lock(&self.state);
        for part in parts {
            connection.writer().write_all(part).map_err(|e| e.to_string())?;
        }
        drain(&mut connection, out).map_err(|e| e.to_string())
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let mut connection = lock(&self.state);
        connection.send_close_notify();
        // Into memory: nothing fails.
        let _ = drain(&mut connection, out);
    }
}

fn drain(connection: &mut Connection, out: &mut Vec<u8>) -> io::Result<()> {
    while connection.wants_write() {
        connection.write_tls(out)?;
    }
    Ok(())
}
