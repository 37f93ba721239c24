//! What members ask and the aggregator answers. Heads are short messages; what is larger follows them in pieces, its length
//! said before and held to what the Plan allows.

use blindvox_net::Channel;
use blindvox_net::channel::CHUNK;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::aggregator::Stage;
use crate::error::{Error, Result};
use crate::message::{Digest, Kind, MOST_HEAD};
use crate::roster::MemberId;
use crate::round::Round;
use crate::sealing::OVERHEAD;

/// Of questions and answers.
pub const VERSION: u16 = 1;
/// The longest head, in bytes: a status of the most members.
const MOST_WORDS: usize = 64 << 10;
/// The largest message that no Plan says the length of: it comes too late, and is read to be told so.
pub const MOST_STRAY: u64 = MOST_HEAD as u64;
/// The largest model, in bytes.
pub const MOST_MODEL: u64 = 1 << 36;

/// The first that a member says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Which questions it knows.
    pub version: u16,
    /// The roster's id.
    pub federation: Digest,
}

/// What a member asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// What there is to do: answered when there is something, or after a while.
    Next,
    /// Take this message, which follows.
    Put {
        /// What it is.
        kind: Kind,
        /// Its bytes.
        len: u64,
    },
    /// Give the model of this digest.
    Base {
        /// Of its file.
        digest: Digest,
    },
    /// How the round stands.
    Status,
}

/// What the aggregator answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Hello`]: the rounds of the run.
    Welcome {
        /// All of them.
        rounds: u32,
    },
    /// Nothing to do yet.
    Wait,
    /// Say that you take part.
    Ready {
        /// The round and the attempt.
        place: (u32, u32),
        /// The model that will be trained.
        base: Digest,
    },
    /// Train and send an update: the Plan follows.
    Upload {
        /// The round and the attempt.
        place: (u32, u32),
        /// The Plan's bytes.
        len: u64,
    },
    /// Answer the Close that follows.
    Answer {
        /// Its bytes.
        len: u64,
    },
    /// Open the Result that follows, and say what came out.
    Open {
        /// Its bytes.
        len: u64,
    },
    /// All rounds are over.
    Done,
    /// The message is kept.
    Taken,
    /// Not any more, or not here: the round goes on without it.
    Late(String),
    /// The message is not what it should be.
    Refused(String),
    /// The model follows.
    Base {
        /// Its bytes.
        len: u64,
    },
    /// How the round stands.
    Status(Status),
}

/// How a round stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The round and the attempt.
    pub place: (u32, u32),
    /// The rounds of the run.
    pub rounds: u32,
    /// Where the round is; none once all are over.
    pub stage: Option<Stage>,
    /// Who is ready, has sent an update, has answered, has said what the new model is.
    pub members: [Vec<MemberId>; 4],
}

/// Sends a head.
///
/// # Errors
/// Those of the channel.
pub fn say<T: Serialize>(channel: &mut Channel, what: &T) -> Result<()> {
    let bytes = postcard::to_allocvec(what).map_err(|e| Error::message(e.to_string()))?;
    Ok(channel.send(bytes)?)
}

/// The next head.
///
/// # Errors
/// [`Error::Message`] for other bytes; those of the channel.
pub fn hear<T: DeserializeOwned>(channel: &mut Channel) -> Result<T> {
    read(&channel.recv()?)
}

/// A head's bytes as what they say.
///
/// # Errors
/// [`Error::Message`] for other bytes.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let wrong = || Error::message(format!("{} bytes that are neither a question nor an answer", bytes.len()));
    if bytes.len() > MOST_WORDS {
        return Err(wrong());
    }
    let (what, rest) = postcard::take_from_bytes(bytes).map_err(|_| wrong())?;
    if rest.is_empty() { Ok(what) } else { Err(wrong()) }
}

/// Sends what follows a head.
///
/// # Errors
/// Those of the channel.
pub fn send(channel: &mut Channel, bytes: &[u8]) -> Result<()> {
    bytes.chunks(CHUNK).try_for_each(|piece| Ok(channel.send(piece.to_vec())?))
}

/// Receives what follows a head. Memory grows with what came, not with what was announced.
///
/// # Errors
/// [`Error::Message`] for more than `most` bytes, or pieces of other lengths; those of the channel.
pub fn receive(channel: &mut Channel, len: u64, most: u64) -> Result<Vec<u8>> {
    if len > most {
        return Err(Error::message(format!("{len} bytes are announced, at most {most} are expected")));
    }
    let (len, mut bytes) = (len as usize, Vec::new());
    while bytes.len() < len {
        bytes.extend_from_slice(&channel.recv_exact(CHUNK.min(len - bytes.len()))?);
    }
    Ok(bytes)
}

/// The most bytes of a message, as the Plan has it where there is one.
pub fn most(kind: Kind, round: Option<&Round>) -> u64 {
    /// A header's fixed fields, with room to spare.
    const FIXED: usize = 1024;
    let len = match (kind, round) {
        (Kind::Ready, _) => FIXED + 2 * crate::sealing::PUBLIC,
        (Kind::Plan, _) => MOST_HEAD,
        (_, None) => 0,
        (Kind::Upload, Some(round)) => FIXED + 32 * round.shares() + round.upload_len(),
        (Kind::Answer, Some(round)) => FIXED + round.planned.audience().count() * (OVERHEAD + 64) + round.part_len(),
        (Kind::Receipt, Some(round)) => FIXED + 8 * round.planned.plan.tensors.len(),
        (Kind::Close, Some(round)) => {
            MOST_HEAD + round.planned.ready.len() * round.sealed_share() + round.lengths().closed
        }
        (Kind::Result, Some(round)) => {
            MOST_HEAD + round.planned.holders.len() * round.part_len() + round.lengths().ciphertexts
        }
    };
    len as u64
}
