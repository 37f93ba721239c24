//! Signed messages: a header, its signature, and what is too large for a header.
//!
//! ```text
//! u32 length | header (postcard) | signature, 64 bytes | attachments
//! ```
//!
//! | # | kind | from -> to | body | attachments |
//! |---|---|---|---|---|
//! | 1 | Ready | member -> aggregator | [`Ready`] | - |
//! | 2 | Plan | aggregator -> members | [`Plan`](crate::plan::Plan) | - |
//! | 3 | Upload | client -> aggregator | [`Upload`] | sealed shares, ciphertexts |
//! | 4 | Close | aggregator -> holder | [`Close`] | sealed shares for the holder, what all holders get |
//! | 5 | Answer | holder -> aggregator | [`Answer`] | the part, encrypted |
//! | 6 | Result | aggregator -> audience | [`Outcome`] | parts, sum |
//! | 7 | Receipt | client -> aggregator | [`Receipt`] | - |
//!
//! A header names its kind, the federation, the round, the attempt and the digest of the Plan (zeros in 1 and 2), and holds
//! the digests of its attachments in its body, so its signature is for all of it. The lengths of attachments follow from the
//! Plan.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::roster::{AGGREGATOR, MemberId, Roster};
use crate::signing::{SIGNATURE, Signer};

/// A hash.
pub type Digest = [u8; 32];

/// The longest header: a Plan of the most members.
const MOST_HEADER: usize = 8 << 20;

/// The longest head of a message: length, header, signature.
pub const MOST_HEAD: usize = 4 + MOST_HEADER + SIGNATURE;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A member takes part in the round.
    Ready,
    /// What the round is.
    Plan,
    /// An update, encrypted.
    Upload,
    /// Which updates are in the sum.
    Close,
    /// A holder's part of what opens the sum.
    Answer,
    /// The sum and the holders' parts.
    Result,
    /// What the new model is.
    Receipt,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Plan => "Plan",
            Self::Upload => "Upload",
            Self::Close => "Close",
            Self::Answer => "Answer",
            Self::Result => "Result",
            Self::Receipt => "Receipt",
        }
    }

    /// Whether the aggregator sends it.
    fn is_aggregators(self) -> bool {
        matches!(self, Self::Plan | Self::Close | Self::Result)
    }
}

/// What a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The roster's id.
    pub federation: Digest,
    /// From 1.
    pub round: u32,
    /// From 1 in every round.
    pub attempt: u32,
    /// Of the Plan; zeros before there is one.
    pub plan: Digest,
}

impl Place {
    /// Before there is a Plan.
    pub fn unplanned(federation: Digest, round: u32, attempt: u32) -> Self {
        Self { federation, round, attempt, plan: Digest::default() }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    kind: Kind,
    place: Place,
    from: MemberId,
    body: Vec<u8>,
}

/// A message that was taken apart, its signature checked.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// What it is.
    pub kind: Kind,
    /// What it belongs to.
    pub place: Place,
    /// Who signed it.
    pub from: MemberId,
    /// Of its header.
    pub digest: Digest,
    /// Header and signature, to be shown to others.
    pub head: &'a [u8],
    /// What follows.
    pub attachments: &'a [u8],
    body: Vec<u8>,
}

/// Message 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The key that shares are sealed to; none of a member that holds nothing in this round.
    pub shares: Option<Vec<u8>>,
    /// The key that answers are sealed to.
    pub answers: Vec<u8>,
}

/// Message 3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Of the ciphertexts.
    pub ciphertexts: Digest,
    /// Of each sealed share, in the order of the Plan's holders.
    pub shares: Vec<Digest>,
}

/// Message 4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// The heads of the Uploads in the sum, by member.
    pub uploads: Vec<Vec<u8>>,
    /// Of what all holders get.
    pub closed: Digest,
}

/// Message 5.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Of the set that it is for, see [`set_digest`].
    pub set: Digest,
    /// The part's key, sealed to each of the audience.
    pub keys: Vec<Vec<u8>>,
    /// Of the encrypted part.
    pub part: Digest,
}

/// Message 6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The heads of the Uploads in the sum, by member.
    pub uploads: Vec<Vec<u8>>,
    /// The heads of the Answers; their parts are attached in this order.
    pub answers: Vec<Vec<u8>>,
    /// Of the sum.
    pub sum: Digest,
}

/// Message 7.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Of the new model's file.
    pub model: Digest,
    /// What the next Plan's clips should be, a tensor each.
    pub clips: Vec<f64>,
}

/// A digest in hexadecimal digits.
pub fn shown(digest: &Digest) -> String {
    blake3::Hash::from(*digest).to_hex().to_string()
}

/// The digest of an attachment.
pub fn hash(bytes: &[u8]) -> Digest {
    blake3::hash(bytes).into()
}

/// What is signed: the kind in words, then the header.
fn signed(kind: Kind, header: &[u8]) -> Vec<u8> {
    [b"blindvox federated 1 ", kind.name().as_bytes(), &[0], header].concat()
}

/// The digest of a set of Uploads, by those of their headers in the order of members.
pub fn set_digest(uploads: &[Digest]) -> Digest {
    blake3::derive_key("blindvox 2026 federated set", &uploads.concat())
}

/// Makes a message.
///
/// # Errors
/// [`Error::Message`] for a body that is too long.
pub fn seal<T: Serialize>(
    signer: &Signer,
    what: (Kind, Place, MemberId),
    body: &T,
    attachments: &[&[u8]],
) -> Result<Vec<u8>> {
    let body = postcard::to_allocvec(body).map_err(|e| Error::message(format!("{}: {e}", what.0.name())))?;
    seal_bytes(signer, what, body, attachments)
}

/// Makes a message of a body's bytes, whatever they are.
///
/// # Errors
/// [`Error::Message`] for a body that is too long.
pub fn seal_bytes(
    signer: &Signer,
    (kind, place, from): (Kind, Place, MemberId),
    body: Vec<u8>,
    attachments: &[&[u8]],
) -> Result<Vec<u8>> {
    let long = || Error::message(format!("{} of more than {MOST_HEADER} bytes", kind.name()));
    let header = postcard::to_allocvec(&Header { kind, place, from, body }).map_err(|_| long())?;
    if header.len() > MOST_HEADER {
        return Err(long());
    }
    let signature = signer.sign(&signed(kind, &header));
    let mut out = Vec::with_capacity(4 + header.len() + SIGNATURE + attachments.iter().map(|a| a.len()).sum::<usize>());
    out.extend_from_slice(&(header.len() as u32).to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(&signature);
    attachments.iter().for_each(|a| out.extend_from_slice(a));
    Ok(out)
}

/// Bytes of a message's head (length, header, signature), by its first four bytes.
///
/// # Errors
/// [`Error::Message`] for a head that is longer than any.
pub fn head_len(first: [u8; 4]) -> Result<usize> {
    let len = u32::from_le_bytes(first) as usize;
    if len > MOST_HEADER {
        return Err(Error::message(format!("a header of {len} bytes, at most {MOST_HEADER} are expected")));
    }
    Ok(4 + len + SIGNATURE)
}

/// Takes a message apart and checks its signature.
///
/// # Errors
/// [`Error::Message`] naming who is said to have sent it.
pub fn open<'a>(roster: &Roster, bytes: &'a [u8]) -> Result<Message<'a>> {
    let short = || Error::message(format!("{} bytes are no message", bytes.len()));
    let first = bytes.first_chunk::<4>().ok_or_else(short)?;
    let (head, attachments) = bytes.split_at_checked(head_len(*first)?).ok_or_else(short)?;
    let (header, signature) = head[4..].split_last_chunk::<SIGNATURE>().ok_or_else(short)?;
    let (parsed, rest) =
        postcard::take_from_bytes::<Header>(header).map_err(|_| Error::message("a header that can't be read"))?;
    let Header { kind, place, from, body } = parsed;
    let name = kind.name();
    let person = roster
        .person(from)
        .filter(|_| (from == AGGREGATOR) == kind.is_aggregators())
        .ok_or_else(|| Error::message(format!("{name} of number {from}, who is not to send it")))?;
    let wrong = |what: &str| Error::message(format!("{}: {name}: {what}", person.name));
    if !rest.is_empty() {
        return Err(wrong("bytes after its body"));
    }
    if place.federation != roster.id() {
        return Err(wrong("it belongs to another federation: the rosters differ"));
    }
    if !person.key.verifies(&signed(kind, header), signature) {
        return Err(wrong("its signature is not by the roster's key"));
    }
    Ok(Message { kind, place, from, digest: hash(header), head, attachments, body })
}

impl<'a> Message<'a> {
    /// The bytes of its body.
    pub fn body_bytes(&self) -> &[u8] {
        &self.body
    }

    /// Its body, if it is of this kind and belongs there.
    ///
    /// # Errors
    /// [`Error::Message`] naming who sent it, what was found and what was expected.
    pub fn body<T: DeserializeOwned>(&self, roster: &Roster, kind: Kind, place: &Place) -> Result<T> {
        let wrong = |what: String| Error::message(format!("{}: {}: {what}", roster.name(self.from), self.kind.name()));
        if self.kind != kind {
            return Err(wrong(format!("expected {}", kind.name())));
        }
        let (found, expected) = ((self.place.round, self.place.attempt), (place.round, place.attempt));
        if found != expected {
            let [(a, b), (c, d)] = [found, expected];
            return Err(wrong(format!("found round {a}, attempt {b}, expected round {c}, attempt {d}")));
        }
        if self.place != *place {
            return Err(wrong("it belongs to another plan".to_owned()));
        }
        let (body, rest) =
            postcard::take_from_bytes(&self.body).map_err(|_| wrong("a body that can't be read".into()))?;
        if rest.is_empty() { Ok(body) } else { Err(wrong("bytes after its body".into())) }
    }

    /// Attachments of these lengths and digests.
    ///
    /// # Errors
    /// [`Error::Message`] naming who sent it and what it is.
    pub fn attached(&self, roster: &Roster, expected: &[(usize, Digest)]) -> Result<Vec<&'a [u8]>> {
        let wrong = |what: String| Error::message(format!("{}: {}: {what}", roster.name(self.from), self.kind.name()));
        let all: usize = expected.iter().map(|(len, _)| len).sum();
        if self.attachments.len() != all {
            return Err(wrong(format!("{} bytes are attached, expected {all}", self.attachments.len())));
        }
        let mut rest = self.attachments;
        let parts = expected.iter().enumerate().map(|(i, (len, digest))| {
            let (part, tail) = rest.split_at(*len);
            rest = tail;
            if hash(part) == *digest { Ok(part) } else { Err(wrong(format!("attachment {i} has another digest"))) }
        });
        parts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::Person;

    fn roster(signer: &Signer) -> Roster {
        let person = |name: &str, key| Person { name: name.to_owned(), key, holder: false };
        let other = |i: u8| Signer::from_seed(&[i; 32]).public();
        let members = vec![person("a", signer.public()), person("b", other(2)), person("c", other(3))];
        Roster::new(person("sum", other(9)), members, None, 3).unwrap()
    }

    #[test]
    fn messages_open_as_what_they_are_alone() {
        let signer = Signer::from_seed(&[1; 32]);
        let roster = roster(&signer);
        let place = Place { plan: [7; 32], ..Place::unplanned(roster.id(), 3, 1) };
        let body = Upload { ciphertexts: hash(b"xyz"), shares: vec![hash(b"s")] };
        let bytes = seal(&signer, (Kind::Upload, place, 0), &body, &[b"s", b"xyz"]).unwrap();
        let message = open(&roster, &bytes).unwrap();
        assert_eq!(message.body::<Upload>(&roster, Kind::Upload, &place).unwrap(), body);
        let lengths = [(1, body.shares[0]), (3, body.ciphertexts)];
        assert_eq!(message.attached(&roster, &lengths).unwrap(), [&b"s"[..], b"xyz"]);
        assert!(message.attached(&roster, &lengths[1..]).unwrap_err().to_string().starts_with("a: Upload"));
        assert!(message.attached(&roster, &[(1, body.shares[0]), (3, [0; 32])]).is_err());
        for (kind, place) in [
            (Kind::Ready, place),
            (Kind::Upload, Place { round: 4, ..place }),
            (Kind::Upload, Place { attempt: 2, ..place }),
            (Kind::Upload, Place { plan: [8; 32], ..place }),
        ] {
            assert!(message.body::<Upload>(&roster, kind, &place).is_err());
        }
        assert!(message.body::<Close>(&roster, Kind::Upload, &place).is_err());
        let head = message.head.len();
        for at in 0..head {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            assert!(open(&roster, &changed).is_err(), "byte {at}");
        }
        (0..head).for_each(|len| assert!(open(&roster, &bytes[..len]).is_err()));
    }

    #[test]
    fn nobody_signs_for_another() {
        let signer = Signer::from_seed(&[1; 32]);
        let roster = roster(&signer);
        let place = Place::unplanned(roster.id(), 1, 1);
        let receipt = Receipt { model: [1; 32], clips: vec![1.0] };
        let sent =
            |kind, place, from| open(&roster, &seal(&signer, (kind, place, from), &receipt, &[]).unwrap()).is_ok();
        assert!(
            sent(Kind::Receipt, place, 0) && !sent(Kind::Receipt, place, 1) && !sent(Kind::Receipt, place, AGGREGATOR)
        );
        assert!(!sent(Kind::Plan, place, 0) && !sent(Kind::Receipt, place, 17));
        assert!(!sent(Kind::Receipt, Place { federation: [0; 32], ..place }, 0));
    }
}
