//! A member's way to the aggregator: a connection that is made again when it is lost, and its questions, each asked until it
//! is answered.

use std::net::{TcpStream, ToSocketAddrs};
use std::thread::sleep;
use std::time::{Duration, Instant};

use blindvox_net::Channel;
use blindvox_net::identity::{Identity, Pin, Trust};
use blindvox_net::transport::tcp::Limits;
use blindvox_net::transport::tls;

use super::wire::{self, Hello, Reply, Request, VERSION};
use crate::error::{Error, Result};
use crate::message::Digest;
use crate::roster::Roster;

/// How long the aggregator may take to greet.
const GREETING: Duration = Duration::from_secs(10);
/// How long it is until a lost connection is tried again, at first and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];

/// Where the aggregator is, and who this member is.
pub struct Way {
    address: String,
    tls: tls::Client,
    federation: Digest,
    patience: Duration,
    channel: Option<Channel>,
    /// The rounds of the run, once it was said.
    rounds: Option<u32>,
}

fn lost(what: String) -> Error {
    Error::Net(blindvox_net::Error::Connection(what))
}

/// What follows an answer: how many bytes at most.
pub type Most<'a> = &'a dyn Fn(&Reply) -> u64;

impl Way {
    /// To the aggregator of a roster at HOST:PORT; who doesn't answer is tried for so long.
    ///
    /// # Errors
    /// [`Error::Net`] for an identity that can't be used.
    pub fn new(roster: &Roster, identity: &Identity, address: &str, patience: Duration) -> Result<Self> {
        let trust = Trust::Pin(Pin::of_ed25519(&roster.aggregator.key.0));
        let tls = tls::Client::new(identity, &trust)?;
        Ok(Self { address: address.to_owned(), tls, federation: roster.id(), patience, channel: None, rounds: None })
    }

    /// The rounds of the run, as the aggregator said last.
    pub fn rounds(&self) -> Option<u32> {
        self.rounds
    }

    /// Asks, with what goes with the question, until there is an answer; with it comes what follows it.
    ///
    /// # Errors
    /// [`Error::Net`] where nobody has answered for too long, or this member is sent away; [`Error::Message`].
    pub fn ask(&mut self, request: &Request, with: &[u8], most: Most<'_>) -> Result<(Reply, Vec<u8>)> {
        let (begun, mut pause) = (Instant::now(), PAUSES[0]);
        loop {
            match self.once(request, with, most) {
                Err(e @ Error::Net(blindvox_net::Error::Connection(_) | blindvox_net::Error::Cancelled)) => {
                    self.channel = None;
                    if begun.elapsed() + pause > self.patience {
                        return Err(e);
                    }
                    sleep(pause);
                    pause = (2 * pause).min(PAUSES[1]);
                }
                Err(e) => {
                    self.channel = None;
                    return Err(e);
                }
                answered => return answered,
            }
        }
    }

    fn once(&mut self, request: &Request, with: &[u8], most: Most<'_>) -> Result<(Reply, Vec<u8>)> {
        let mut channel = match self.channel.take() {
            Some(channel) => channel,
            None => self.connect()?,
        };
        wire::say(&mut channel, request)?;
        wire::send(&mut channel, with)?;
        let reply: Reply = wire::hear(&mut channel)?;
        let bytes = match reply {
            Reply::Upload { len, .. } | Reply::Answer { len } | Reply::Open { len } | Reply::Base { len } => {
                wire::receive(&mut channel, len, most(&reply))?
            }
            _ => Vec::new(),
        };
        self.channel = Some(channel);
        Ok((reply, bytes))
    }

    fn connect(&mut self) -> Result<Channel> {
        let address = &self.address;
        let failed = |what: String| lost(format!("connect to {address}: {what}"));
        let all = address.to_socket_addrs().map_err(|e| match e.kind() {
            std::io::ErrorKind::InvalidInput => Error::Input(format!("--server {address}: expected HOST:PORT")),
            _ => failed(e.to_string()),
        })?;
        let mut last = failed("no such host".to_owned());
        for one in all {
            match TcpStream::connect_timeout(&one, GREETING) {
                Ok(stream) => return self.greet(stream),
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
                    last = failed("connection refused (is `blindvox federate serve` running there?)".to_owned());
                }
                Err(e) => last = failed(e.to_string()),
            }
        }
        Err(last)
    }

    fn greet(&mut self, stream: TcpStream) -> Result<Channel> {
        let address = self.address.clone();
        let named = |e: blindvox_net::Error| match e {
            blindvox_net::Error::Identity(what) => blindvox_net::Error::Identity(format!("{address} {what}")),
            e => e,
        };
        stream.set_nodelay(true).map_err(|e| lost(e.to_string()))?;
        let mut channel = Channel::tls(self.tls.meet(stream, GREETING).map_err(named)?, Limits::between_hosts())?;
        wire::say(&mut channel, &Hello { version: VERSION, federation: self.federation })?;
        match wire::hear(&mut channel)? {
            Reply::Welcome { rounds } => self.rounds = Some(rounds),
            _ => return Err(Error::message(format!("{address}: found no greeting, expected one"))),
        }
        Ok(channel)
    }
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Way({})", self.address)
    }
}
