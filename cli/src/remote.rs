//! A way to another host: a client's to a service, either's to a dealer.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use blindvox_engine::garble::GateHash;
use blindvox_models::atomic;
use blindvox_net::Channel;
use blindvox_net::channel::Canceller;
use blindvox_net::identity::{Identity, Pin, Trust};
use blindvox_net::transport::tcp::Limits;
use blindvox_net::transport::tls;
use blindvox_protocols::service::{Accepts, Visit};
use blindvox_protocols::{Error, Result};

use crate::args_hosts::RemoteArgs;
use crate::ui::screen;

/// How often an interrupt is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// How long a service may take to answer, and to greet.
const GREETING: Duration = Duration::from_secs(10);

/// Another host, as this one reaches and knows it.
pub(crate) struct Peer {
    address: String,
    tls: tls::Client,
    /// What names it, and what runs there.
    words: [&'static str; 2],
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
        Ok(Self { address, tls, words: ["--server", "serve"] })
    }

    /// A dealer, of a host with this identity.
    ///
    /// # Errors
    /// [`Error::Identity`] for what they name.
    pub(crate) fn dealer(address: &str, identity: &Path, trust: &str) -> Result<Self> {
        let tls = tls::Client::new(&Identity::load(identity)?, &Trust::parse(trust, None)?)?;
        Ok(Self { address: address.to_owned(), tls, words: ["the dealer", "deal"] })
    }

    /// Connects and makes sure who is there.
    ///
    /// # Errors
    /// [`Error::Connection`], [`Error::Identity`] naming the address.
    pub(crate) fn meet(&self) -> Result<tls::Secured> {
        self.tls.meet(self.connect()?, GREETING).map_err(|e| self.named(e.into()))
    }

    /// Connects and greets.
    ///
    /// # Errors
    /// [`Error::Connection`], [`Error::Identity`] naming the address; [`Error::Refused`].
    pub(crate) fn visit(&self, accepts: Accepts) -> Result<Visit> {
        Ok(self.visit_known(accepts)?.0)
    }

    /// The same, and the service's key.
    ///
    /// # Errors
    /// Those of [`Self::visit`].
    pub(crate) fn visit_known(&self, accepts: Accepts) -> Result<(Visit, Pin)> {
        let secured = self.meet()?;
        let pin = secured.peer;
        Ok((Visit::begin(Channel::tls(secured, Limits::between_hosts())?, accepts)?, pin))
    }

    fn connect(&self) -> Result<TcpStream> {
        let (address, [name, command]) = (&self.address, self.words);
        let failed = |what: String| Error::Connection(format!("connect to {address}: {what}"));
        let all = address.to_socket_addrs().map_err(|e| match e.kind() {
            std::io::ErrorKind::InvalidInput => Error::Input(format!("{name} {address}: expected HOST:PORT")),
            _ => failed(e.to_string()),
        })?;
        let mut last = failed("no such host".to_owned());
        for one in all {
            match TcpStream::connect_timeout(&one, GREETING) {
                Ok(stream) => return Ok(stream),
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
                    last = failed(format!(
                        "connection refused (is `blindvox {command}` running there, and the port open?)"
                    ));
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

/// Tries again where a connection was lost: from the start, with new keys and masks.
///
/// # Errors
/// The last attempt's, and what is no lost connection.
pub(crate) fn retried<T>(retries: u32, mut once: impl FnMut() -> Result<T>) -> Result<T> {
    let attempts = retries.saturating_add(1);
    for attempt in 1.. {
        let result = once();
        let Err(Error::Connection(what)) = result else { return result };
        if attempt >= attempts {
            return Err(Error::Connection(what));
        }
        // 1 s, 4 s, 16 s, and up to half as much more, so that many clients don't come at once.
        let pause = 4f64.powi(attempt as i32 - 1).min(60.0) * (1.0 + jitter() / 2.0);
        screen::warn(&format!(
            "{what}; nothing of this run is used again (attempt {} of {attempts} starts in {pause:.0} s)",
            attempt + 1
        ));
        let until = Instant::now() + Duration::from_secs_f64(pause);
        while Instant::now() < until {
            if atomic::signals().came.load(Ordering::SeqCst) {
                return Err(Error::Cancelled);
            }
            thread::sleep(LOOK);
        }
    }
    unreachable!("the last attempt returns")
}

/// From 0 to 1.
fn jitter() -> f64 {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.subsec_nanos());
    f64::from(nanos % 1000) / 1000.0
}

/// Gives the run up at an interrupt, as long as this lives.
pub(crate) struct Interrupts {
    _alive: Arc<()>,
}

impl Interrupts {
    /// # Errors
    /// [`Error::Thread`].
    pub(crate) fn watch(canceller: Canceller) -> Result<Self> {
        let alive = Arc::new(());
        let weak = Arc::downgrade(&alive);
        let run = move || {
            while weak.strong_count() > 0 {
                if atomic::signals().came.load(Ordering::SeqCst) {
                    return canceller.cancel();
                }
                thread::sleep(LOOK);
            }
        };
        thread::Builder::new().spawn(run).map_err(|source| Error::Thread { what: "interrupts", source })?;
        Ok(Self { _alive: alive })
    }
}
