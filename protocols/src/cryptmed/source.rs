//! Where a party's shares come from: a seed, and for the server a dealer's corrections.
//!
//! | # | from -> to | content | when |
//! |---|---|---|---|
//! | 1 | S -> D | [`super::hello`] | once |
//! | 2 | D -> C, D -> S | its digest; a seed of 16 bytes | once |
//! | 3 | S -> D | number of the run, number of rows | every run |
//! | 4 | D -> S | corrections of each item, in the plan's order | every run |
//!
//! The client's shares are all from its seed. Corrections would give the server's masks and the weights to a client
//! that sees them, so the dealer is a host of its own, joined to each party by a connection that the other can't read,
//! or a thread in the process of both.
//!
//! Runs are numbered; a number is spent when a run starts, also where that fails.

use blindvox_net::channel::Channel;
use zeroize::Zeroizing;

use super::end::{receive, to_bytes, to_words};
use super::hello;
use super::items::{Item, Material};
use super::layer::{Map, sub};
use super::plan::Plan;
use super::streams::{Part, Seed, Streams, Words};
use super::triples::RingTriples;
use super::wraps::{self, Wraps};
use crate::error::{Error, Result};

/// A source of what a run needs; both parties ask alike.
pub trait Source: Send {
    /// A run begins.
    ///
    /// # Errors
    /// The dealer's and the channel's.
    fn begin(&mut self, run: u64, rows: usize) -> Result<()>;

    /// Item number `at`.
    ///
    /// # Errors
    /// The dealer's and the channel's.
    fn item(&mut self, at: usize, item: &Item, plan: &Plan) -> Result<Material>;

    /// The matrix that masks the weights of layer number `layer`: the server's alone.
    fn matrix(&self, layer: usize, weights: usize) -> Words;

    /// Bytes that came from the dealer.
    fn bytes(&self) -> u64;
}

/// The matrix A of a layer, from the server's seed.
pub(super) fn matrix(seed: &Seed, layer: usize, weights: usize) -> Words {
    Streams::new(seed, 0).draw(layer, Part::Factor, weights)
}

/// The client's shares: all from its seed.
pub struct ClientSeed {
    seed: Seed,
    streams: Streams,
    channel: Option<Channel>,
}

impl ClientSeed {
    /// Meets the dealer, which must have seen the same `hello`.
    ///
    /// # Errors
    /// [`Error::Protocol`] where it hasn't; the channel's.
    pub fn meet(mut channel: Channel, hello: &[u8]) -> Result<Self> {
        let seed = met(&mut channel, hello)?;
        Ok(Self { streams: Streams::new(&seed, 0), seed, channel: Some(channel) })
    }

    /// Of a seed.
    pub fn new(seed: Seed) -> Self {
        Self { streams: Streams::new(&seed, 0), seed, channel: None }
    }
}

impl Source for ClientSeed {
    fn begin(&mut self, run: u64, _rows: usize) -> Result<()> {
        self.streams = Streams::new(&self.seed, run);
        Ok(())
    }

    fn item(&mut self, at: usize, item: &Item, plan: &Plan) -> Result<Material> {
        Ok(client_part(at, item, plan, &self.streams))
    }

    fn matrix(&self, _layer: usize, _weights: usize) -> Words {
        unreachable!("the server's")
    }

    fn bytes(&self) -> u64 {
        self.channel.as_ref().map_or(0, |c| c.stats().total.received)
    }
}

fn client_part(at: usize, item: &Item, plan: &Plan, streams: &Streams) -> Material {
    match item {
        Item::Masks(spec, n) => Material::Masks(spec.client(*n, at, streams)),
        Item::Wraps(_, n) => Material::Wraps(Wraps::client(*n, at, streams)),
        Item::RingTriples(n) => Material::RingTriples(RingTriples::client(*n, at, streams)),
        Item::Layer(layer) => {
            let map = map(plan, *layer);
            let [u, a2] = [(Part::Factor, map.inputs()), (Part::Product, map.outputs())];
            Material::Layer(streams.draw(at, u.0, u.1), streams.draw(at, a2.0, a2.1))
        }
    }
}

fn map(plan: &Plan, layer: usize) -> &Map {
    plan.maps().nth(layer).expect("an item of the plan").0
}

/// The server's shares: factors from its seed, the rest corrected by the dealer.
pub struct ServerSeed {
    seed: Seed,
    streams: Streams,
    channel: Channel,
}

impl ServerSeed {
    /// Meets the dealer and tells it the `hello`.
    ///
    /// # Errors
    /// [`Error::Protocol`] where it understood another; the channel's.
    pub fn meet(mut channel: Channel, hello: &[u8]) -> Result<Self> {
        channel.send(hello.to_vec())?;
        let seed = met(&mut channel, hello)?;
        Ok(Self { streams: Streams::new(&seed, 0), seed, channel })
    }
}

impl Source for ServerSeed {
    fn begin(&mut self, run: u64, rows: usize) -> Result<()> {
        self.streams = Streams::new(&self.seed, run);
        let request = [run.to_le_bytes(), (rows as u64).to_le_bytes()].concat();
        Ok(self.channel.send(request)?)
    }

    fn item(&mut self, at: usize, item: &Item, plan: &Plan) -> Result<Material> {
        let message = receive(&mut self.channel, correction_bytes(item, plan))?;
        server_part(at, item, &self.streams, &message)
    }

    fn matrix(&self, layer: usize, weights: usize) -> Words {
        matrix(&self.seed, layer, weights)
    }

    fn bytes(&self) -> u64 {
        self.channel.stats().total.received
    }
}

/// Bytes of an item's correction.
pub fn correction_bytes(item: &Item, plan: &Plan) -> usize {
    match item {
        Item::Masks(spec, n) => spec.bytes(*n),
        Item::Wraps(shift, n) => wraps::dealt_bytes(*n, *shift),
        Item::RingTriples(n) => 4 * n,
        Item::Layer(layer) => 4 * map(plan, *layer).outputs(),
    }
}

fn server_part(at: usize, item: &Item, streams: &Streams, message: &[u8]) -> Result<Material> {
    Ok(match item {
        Item::Masks(spec, n) => Material::Masks(spec.server(*n, at, streams, message)?),
        Item::Wraps(shift, n) => Material::Wraps(Wraps::server(*n, *shift, at, streams, message)?),
        Item::RingTriples(n) => Material::RingTriples(RingTriples::server(*n, at, streams, message)?),
        Item::Layer(_) => Material::Layer(Zeroizing::new(to_words(message)?), Words::default()),
    })
}

/// An item's correction, from both parties' seeds.
pub(super) fn correction(
    at: usize,
    item: &Item,
    plan: &Plan,
    [client, server]: [&Streams; 2],
    matrices: &[Words],
) -> Vec<u8> {
    match item {
        Item::Masks(spec, n) => spec.deal(*n, at, client, server),
        Item::Wraps(shift, n) => Wraps::deal(*n, *shift, at, client, server),
        Item::RingTriples(n) => RingTriples::deal(*n, at, client, server),
        Item::Layer(layer) => {
            let map = map(plan, *layer);
            let u = client.draw(at, Part::Factor, map.inputs());
            let a2 = client.draw(at, Part::Product, map.outputs());
            to_bytes(&sub(&map.apply(&matrices[*layer], &u), &a2))
        }
    }
}

/// A party's part of an item without a layer.
#[cfg(test)]
pub(crate) fn part_for_tests(at: usize, item: &Item, streams: &Streams, message: Option<&[u8]>) -> Material {
    match (message, item) {
        (Some(message), _) => server_part(at, item, streams, message).expect("the dealer's"),
        (None, Item::Masks(spec, n)) => Material::Masks(spec.client(*n, at, streams)),
        (None, Item::Wraps(_, n)) => Material::Wraps(Wraps::client(*n, at, streams)),
        (None, Item::RingTriples(n)) => Material::RingTriples(RingTriples::client(*n, at, streams)),
        (None, Item::Layer(_)) => unreachable!("not of a layer"),
    }
}

/// The dealer's message for an item without a layer.
#[cfg(test)]
pub(crate) fn correction_for_tests(at: usize, item: &Item, [client, server]: &[Streams; 2]) -> Vec<u8> {
    match item {
        Item::Masks(spec, n) => spec.deal(*n, at, client, server),
        Item::Wraps(shift, n) => Wraps::deal(*n, *shift, at, client, server),
        Item::RingTriples(n) => RingTriples::deal(*n, at, client, server),
        Item::Layer(_) => unreachable!("not of a layer"),
    }
}

/// A party's seed, once the dealer's digest is right.
fn met(channel: &mut Channel, hello: &[u8]) -> Result<Seed> {
    let theirs = channel.recv_exact(32)?;
    if theirs != hello::digest(hello) {
        return Err(Error::protocol("the dealer deals for another architecture than this one"));
    }
    let bytes = Zeroizing::new(channel.recv_exact(16)?);
    let mut seed = Zeroizing::new([0; 16]);
    seed.copy_from_slice(&bytes);
    Ok(seed)
}

/// Both parties' copies of a dealer that each could play alone: **for tests**, each could work out the other's shares.
#[cfg(any(test, feature = "testing"))]
pub struct Played {
    seeds: [Seed; 2],
    streams: [Streams; 2],
    /// The server's once more: as the server itself draws.
    own: Streams,
    server: bool,
    matrices: Vec<Words>,
}

#[cfg(any(test, feature = "testing"))]
impl Played {
    /// One party's copy.
    pub fn for_tests(party: blindvox_net::channel::Party, seed: u8) -> Self {
        let seeds = [Zeroizing::new([seed; 16]), Zeroizing::new([!seed; 16])];
        let streams = seeds.each_ref().map(|seed| Streams::new(seed, 0));
        let own = Streams::new(&seeds[1], 0);
        Self { seeds, streams, own, server: party == blindvox_net::channel::Party::Server, matrices: Vec::new() }
    }
}

#[cfg(any(test, feature = "testing"))]
impl Source for Played {
    fn begin(&mut self, run: u64, _rows: usize) -> Result<()> {
        self.streams = self.seeds.each_ref().map(|seed| Streams::new(seed, run));
        self.own = Streams::new(&self.seeds[1], run);
        Ok(())
    }

    fn item(&mut self, at: usize, item: &Item, plan: &Plan) -> Result<Material> {
        if !self.server {
            return Ok(client_part(at, item, plan, &self.streams[0]));
        }
        if self.matrices.is_empty() {
            let of = |(layer, (map, _)): (usize, (&Map, _))| matrix(&self.seeds[1], layer, map.weights());
            self.matrices = plan.maps().enumerate().map(of).collect();
        }
        let [client, server] = &self.streams;
        let message = correction(at, item, plan, [client, server], &self.matrices);
        server_part(at, item, &self.own, &message)
    }

    fn matrix(&self, layer: usize, weights: usize) -> Words {
        matrix(&self.seeds[1], layer, weights)
    }

    fn bytes(&self) -> u64 {
        0
    }
}
