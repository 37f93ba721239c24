//! What passes between a service and its clients besides runs. Everything is bounded before it is decoded.

use blindvox_engine::garble::GateHash;
use blindvox_net::Channel;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::infer::presets::{PairSupply, Products, Source, Ways};
use crate::infer::{Comparison, LinkSpeed};

/// The first bytes of a connection.
pub const MAGIC: [u8; 8] = *b"blindvox";
/// The versions that this program speaks, from the first to the last.
pub const VERSIONS: [u16; 2] = [3, 3];
/// The longest name of a model.
pub const MAX_NAME: usize = 256;
/// Bounds of messages 1 and 2, 3, 4.
pub(super) const SHORT: usize = 256;
pub(super) const REQUEST: usize = 4 << 10;
pub(super) const REPLY: usize = 300 << 10;

/// What a client accepts, the best first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepts {
    /// Codes of gate hashes.
    gate_hashes: Vec<u8>,
    /// 0 by sign and selection, 1 by full circuits, 2 by transfers.
    comparisons: Vec<u8>,
    /// What makes transfers: 0 SoftSpoken, 1 silent OT.
    sources: Vec<u8>,
    /// The link, where the client knows it: bits a second and round trip in seconds.
    link: Option<(f64, f64)>,
}

const COMPARISONS: [Comparison; 3] = [Comparison::SignSelect, Comparison::FullCircuit, Comparison::Transfers];
const SOURCES: [Source; 2] = [Source::SoftSpoken, Source::Silent];

fn code(comparison: Comparison) -> u8 {
    COMPARISONS.iter().position(|c| *c == comparison).unwrap_or_default() as u8
}

fn source_code(source: Source) -> u8 {
    SOURCES.iter().position(|s| *s == source).unwrap_or_default() as u8
}

impl Accepts {
    /// One gate hash, and one comparison and source of transfers or, where it is left to the service, what suits the link.
    pub fn new(hash: GateHash, comparison: Option<Comparison>, ot: Option<Source>, link: Option<LinkSpeed>) -> Self {
        let any = [Comparison::SignSelect, Comparison::Transfers];
        Self {
            gate_hashes: vec![hash.code()],
            comparisons: comparison.map_or_else(|| any.map(code).to_vec(), |c| vec![code(c)]),
            sources: ot.map_or_else(|| SOURCES.map(source_code).to_vec(), |source| vec![source_code(source)]),
            link: link.map(|l| (l.bits_per_second, l.round_trip.as_secs_f64())),
        }
    }

    /// What may be chosen: gate hashes.
    pub fn gate_hashes(&self) -> impl Iterator<Item = GateHash> {
        self.gate_hashes.iter().filter_map(|&code| GateHash::from_code(code))
    }

    /// Comparisons.
    pub fn comparisons(&self) -> impl Iterator<Item = Comparison> {
        self.comparisons.iter().filter_map(|&code| COMPARISONS.get(usize::from(code)).copied())
    }

    /// Sources of transfers.
    pub fn sources(&self) -> impl Iterator<Item = Source> {
        self.sources.iter().filter_map(|&code| SOURCES.get(usize::from(code)).copied())
    }

    /// The link as the client knows it.
    pub fn link(&self) -> Option<LinkSpeed> {
        let (bits_per_second, round_trip) = self.link?;
        let sound = (1e3..1e13).contains(&bits_per_second) && (0.0..60.0).contains(&round_trip);
        sound.then(|| LinkSpeed { bits_per_second, round_trip: std::time::Duration::from_secs_f64(round_trip) })
    }

    /// Whether a choice is among what is accepted.
    pub(super) fn allows(&self, choice: &Choice) -> bool {
        self.gate_hashes.contains(&choice.gate_hash)
            && self.comparisons.contains(&choice.comparison)
            && self.sources.contains(&choice.source)
    }
}

/// Message 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub(super) magic: [u8; 8],
    pub(super) versions: [u16; 2],
    /// None are known yet.
    pub(super) features: u32,
    pub(super) accepts: Accepts,
    /// The program's version, for logs.
    pub(super) program: String,
}

impl Hello {
    /// Whether it is one of this program's, whatever versions it names.
    pub fn is_sound(&self) -> bool {
        self.magic == MAGIC
    }
}

/// Message 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    pub(super) version: u16,
    pub(super) features: u32,
    pub(super) program: String,
}

/// What a client wants run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// The served name.
    pub model: String,
    /// Of the prepared scan.
    pub channels: u32,
    /// Its grid, D, H, W.
    pub grid: [u32; 3],
}

/// Rows that a client wants run with a dealer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealtRequest {
    /// The served name.
    pub model: String,
    /// In all.
    pub rows: u32,
    /// Of one run, at most.
    pub batch: u32,
    /// Whether the client wants scores, where it may have them.
    pub scores: bool,
    /// Whether activations are computed as published.
    pub paper: bool,
}

/// What a dealer knows a service and its client by.
pub type Ticket = [u8; 16];

/// Message 3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// What is served to this client?
    List,
    /// What must it know of this model?
    Describe(String),
    /// Run.
    Run(RunRequest),
    /// Run rows with the service's dealer; the connection is for nothing else then.
    Deal(DealtRequest),
}

/// A model that is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The served name.
    pub name: String,
    /// BLAKE3 of the bundle, in hexadecimal digits.
    pub digest: String,
}

/// How a run is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    gate_hash: u8,
    comparison: u8,
    source: u8,
}

impl Choice {
    pub(super) fn new(hash: GateHash, ways: &Ways) -> Self {
        Self { gate_hash: hash.code(), comparison: code(ways.compare), source: source_code(ways.ot) }
    }

    /// As a run's options; `None` for numbers that mean nothing.
    pub(super) fn ways(&self) -> Option<(GateHash, Ways)> {
        let compare = *COMPARISONS.get(usize::from(self.comparison))?;
        let ot = *SOURCES.get(usize::from(self.source))?;
        let products = Products::He(PairSupply::AsUsed);
        Some((GateHash::from_code(self.gate_hash)?, Ways { compare, ot, products, ..Ways::BUNET }))
    }
}

/// Messages 4 and 5.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// All models of this client.
    Models(Vec<Listed>),
    /// A model's card, JSON.
    Card(String),
    /// So many runs come first.
    Queued(u32),
    /// The run begins.
    Start {
        /// Its number in the service's records.
        run: u64,
        /// How it is made.
        choice: Choice,
    },
    /// The run begins with what a dealer gives for this ticket.
    Dealt {
        /// Its number in the service's records.
        run: u64,
        /// For the dealer.
        ticket: Ticket,
    },
}

/// A message's bytes, so many at most.
///
/// # Errors
/// [`Error::Protocol`] for one that is longer.
pub fn encode(message: &impl Serialize, most: usize) -> Result<Vec<u8>> {
    let bytes =
        postcard::to_allocvec(message).map_err(|e| Error::protocol(format!("a message of this party's: {e}")))?;
    if bytes.len() > most {
        return Err(Error::protocol(format!("a message of {} bytes, at most {most} are possible", bytes.len())));
    }
    Ok(bytes)
}

/// What a peer's bytes mean. Nothing larger than they are is allocated.
///
/// # Errors
/// [`Error::Protocol`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8], most: usize, what: &str) -> Result<T> {
    if bytes.len() > most {
        return Err(Error::protocol(format!("{what} of {} bytes, at most {most} are expected", bytes.len())));
    }
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(Error::protocol(format!("{} bytes after {what}", rest.len()))),
        Err(_) => Err(Error::protocol(format!("{what} that does not decode"))),
    }
}

pub(super) fn send(channel: &mut Channel, message: &impl Serialize, most: usize) -> Result<()> {
    Ok(channel.send(encode(message, most)?)?)
}

pub(super) fn recv<T: DeserializeOwned>(channel: &mut Channel, most: usize, what: &str) -> Result<T> {
    decode(&channel.recv()?, most, what)
}

/// A peer's word, fit to be printed.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}
