//! What a round is, as the aggregator says it: which model, how numbers are encoded, who takes part.

use blindvox_engine::rlwe::additive::Layout;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::message::{self, Digest, Kind, Place, Ready};
use crate::roster::{AGGREGATOR, MemberId, Roster};
use crate::sealing::PUBLIC;
use crate::signing::Signer;

/// The most tensors of a model.
const MOST_TENSORS: usize = 1 << 16;
/// The most weights of a model: their number fits every count of bytes.
const MOST_WEIGHTS: u64 = 1 << 36;
/// Bits of a sum at most, so that it fits a word of 32.
const MOST_WIDTH: u32 = 31;

/// How sums are hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SchemeKind {
    /// Not at all: the definition that the others are held to.
    Plain,
    /// Additive RLWE encryption under one-time keys.
    Rlwe,
    /// Threshold Paillier under a dealer's key, known by the digest of its public half.
    Paillier(Digest),
}

/// Who opens the average.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audience {
    /// The clients.
    Clients,
    /// They and the aggregator.
    Everyone,
}

/// Noise for differential privacy: the format has a place for it, and there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Privacy {
    /// None.
    None,
}

/// A tensor of floating-point numbers that is averaged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Averaged {
    /// Its name in the model's file.
    pub name: String,
    /// Its elements.
    pub elements: u64,
    /// Updates are held to [-clip, clip].
    pub clip: f64,
}

/// A round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Of the model's file that updates are taken from.
    pub base: Digest,
    /// How sums are hidden.
    pub scheme: SchemeKind,
    /// b: bits of an encoded number.
    pub bits: u32,
    /// n_max: a client's examples count up to so many.
    pub most_examples: u64,
    /// What is averaged, in this order.
    pub tensors: Vec<Averaged>,
    /// Who opens the average.
    pub audience: Audience,
    /// Whether holders prove their answers, which those under a dealer's key can.
    pub prove: bool,
    /// Noise for differential privacy.
    pub privacy: Privacy,
    /// Seconds until uploads, and then answers, are waited for no longer.
    pub timeouts: [u32; 2],
    /// The Ready of all who take part, as they were signed, by member.
    pub ready: Vec<Vec<u8>>,
    /// The key that answers are sealed to for the aggregator, where it is of the audience.
    pub aggregator: Option<Vec<u8>>,
}

/// A Plan that was checked, with what follows from it.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The Plan.
    pub plan: Plan,
    /// What its messages belong to.
    pub place: Place,
    /// Who takes part, with their keys.
    pub ready: Vec<(MemberId, Ready)>,
    /// The points of holders that take part, with the members and the keys that shares are sealed to.
    pub holders: Vec<Holder>,
    /// t.
    pub threshold: usize,
    /// Holders of the federation, whether they take part or not.
    pub points: usize,
}

/// A holder that takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Where its shares are taken, from 1.
    pub point: usize,
    /// Who it is.
    pub member: MemberId,
    /// The key that shares for it are sealed to.
    pub key: Vec<u8>,
}

impl Plan {
    /// Numbers of an upload: the weight, the clipped count, the tensors' elements.
    pub fn fields(&self) -> usize {
        2 + self.tensors.iter().map(|t| t.elements as usize).sum::<usize>()
    }

    /// F: bits of a sum of all members' numbers.
    pub fn width(&self, members: usize) -> u32 {
        self.bits + members.next_power_of_two().ilog2()
    }

    /// Bits b for so many members and so many fields of `rlwe` in a coefficient.
    pub fn widest(members: usize, fields: u32) -> u32 {
        Layout::widest(members, fields) - members.next_power_of_two().ilog2()
    }

    fn check(&self, members: usize) -> Result<()> {
        let wrong = |what: String| Err(Error::message(format!("the plan's {what}")));
        if self.bits < 2 || self.width(members) > MOST_WIDTH {
            let most = MOST_WIDTH - members.next_power_of_two().ilog2();
            return wrong(format!("bits: found {}, expected 2 to {most} for {members} members", self.bits));
        }
        if self.most_examples == 0 || self.most_examples > 1 << (self.bits - 1) {
            let (found, most) = (self.most_examples, 1u64 << (self.bits - 1));
            return wrong(format!(
                "largest count of examples: found {found}, expected 1 to {most} for {} bits",
                self.bits
            ));
        }
        if self.tensors.is_empty() || self.tensors.len() > MOST_TENSORS {
            return wrong(format!("tensors: found {}, expected 1 to {MOST_TENSORS}", self.tensors.len()));
        }
        let mut weights = 0u64;
        for tensor in &self.tensors {
            if !(tensor.clip.is_finite() && tensor.clip > 0.0) {
                return wrong(format!(
                    "tensor {:?}: found a clip of {}, expected one above 0",
                    tensor.name, tensor.clip
                ));
            }
            weights = weights.saturating_add(tensor.elements);
        }
        if weights == 0 || weights > MOST_WEIGHTS {
            return wrong(format!("weights: found {weights}, expected 1 to {MOST_WEIGHTS}"));
        }
        if self.prove && !matches!(self.scheme, SchemeKind::Paillier(_)) {
            return wrong("proofs of answers: found them asked for, expected none: only paillier has them".to_owned());
        }
        let key = self.aggregator.as_ref().map(Vec::len);
        if key != (self.audience == Audience::Everyone).then_some(PUBLIC) {
            return wrong("audience: the aggregator's key does not suit it".to_owned());
        }
        Ok(())
    }

    /// Signs it: the message, and what follows from it.
    ///
    /// # Errors
    /// Those of [`Planned::open`].
    pub fn seal(&self, roster: &Roster, signer: &Signer, round: u32, attempt: u32) -> Result<(Vec<u8>, Planned)> {
        let place = Place::unplanned(roster.id(), round, attempt);
        let bytes = message::seal(signer, (Kind::Plan, place, AGGREGATOR), self, &[])?;
        let planned = Planned::open(roster, &bytes, round, attempt)?;
        Ok((bytes, planned))
    }
}

impl Planned {
    /// Takes a Plan of this round apart and checks it, and every Ready in it.
    ///
    /// # Errors
    /// [`Error::Message`] naming what is wrong, [`Error::Round`] for too few members or holders.
    pub fn open(roster: &Roster, bytes: &[u8], round: u32, attempt: u32) -> Result<Self> {
        let message = message::open(roster, bytes)?;
        let place = Place::unplanned(roster.id(), round, attempt);
        let plan: Plan = message.body(roster, Kind::Plan, &place)?;
        message.attached(roster, &[])?;
        plan.check(roster.members.len())?;
        let mut ready = Vec::new();
        for bytes in &plan.ready {
            let message = message::open(roster, bytes)?;
            let body: Ready = message.body(roster, Kind::Ready, &place)?;
            check_ready(&body).map_err(|e| e.of(roster.name(message.from)))?;
            if ready.last().is_some_and(|(before, _)| *before >= message.from) {
                return Err(Error::message("the plan's members are not in order"));
            }
            ready.push((message.from, body));
        }
        let holders: Vec<Holder> = ready
            .iter()
            .filter_map(|(member, ready)| {
                let (point, key) = (roster.point(*member)?, ready.shares.clone()?);
                Some(Holder { point, member: *member, key })
            })
            .collect();
        enough(roster, "members take part", ready.len(), roster.min_clients)?;
        enough(roster, "holders take part", holders.len(), roster.threshold)?;
        let (threshold, points) = (roster.threshold, roster.holders().count());
        Ok(Self { plan, place: Place { plan: message.digest, ..place }, ready, holders, threshold, points })
    }

    /// The keys that answers are sealed to, in order, by member.
    pub fn audience(&self) -> impl Iterator<Item = (MemberId, &[u8])> {
        let members = self.ready.iter().map(|(member, ready)| (*member, &ready.answers[..]));
        members.chain(self.plan.aggregator.as_deref().map(|key| (AGGREGATOR, key)))
    }

    /// A holder that takes part.
    pub fn holder(&self, member: MemberId) -> Option<&Holder> {
        self.holders.iter().find(|h| h.member == member)
    }

    /// The 16 bytes that all clients expand the same polynomials from.
    pub fn seed(&self) -> [u8; 16] {
        let Place { federation, round, attempt, .. } = self.place;
        let bytes = [&federation[..], &round.to_le_bytes(), &attempt.to_le_bytes()].concat();
        let hash = blake3::derive_key("blindvox 2026 federated polynomials", &bytes);
        std::array::from_fn(|i| hash[i])
    }
}

fn enough(roster: &Roster, what: &str, found: usize, expected: usize) -> Result<()> {
    if found >= expected {
        return Ok(());
    }
    let of = roster.members.len();
    Err(Error::Round(format!("{found} {what}, expected {expected} at least of the roster's {of} members")))
}

/// Holds a Ready's keys to their length.
pub(crate) fn check_ready(ready: &Ready) -> Result<()> {
    let lengths = ready.shares.iter().chain([&ready.answers]).map(Vec::len);
    match lengths.into_iter().find(|len| *len != PUBLIC) {
        Some(len) => Err(Error::message(format!("a round's key of {len} bytes, expected {PUBLIC}"))),
        None => Ok(()),
    }
}
