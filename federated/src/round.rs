//! A Plan with its scheme: what all parties of a round check and compute alike.

use std::fmt;
use std::sync::Arc;

use blindvox_engine::{Device, Prng};
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use zeroize::Zeroizing;

use crate::codec::{Decoder, Target};
use crate::error::{Error, Result};
use crate::message::{self, Answer, Digest, Kind, Message, Outcome, Upload, hash, set_digest};
use crate::plan::{Planned, SchemeKind};
use crate::roster::{MemberId, Roster};
use crate::scheme::dealt::Dealt;
use crate::scheme::paillier::keys::{KeyShare, PublicKey};
use crate::scheme::plain::Plain;
use crate::scheme::rlwe::{Rlwe, Terms};
use crate::scheme::{Lengths, Scheme};
use crate::sealing::{self, OVERHEAD, RoundKey};

/// Bytes that encrypting a part adds.
const TAG: usize = 16;
/// Bytes of a part's key.
const KEY: usize = 32;

/// What this party computes with.
#[derive(Clone)]
pub struct Means {
    /// Where the engine's kernels run.
    pub device: Device,
    /// The dealer's key, where there was a ceremony.
    pub dealt: Option<Arc<PublicKey>>,
    /// This party's share of it, where it is a holder.
    pub share: Option<Arc<KeyShare>>,
}

impl fmt::Debug for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Means({})", self.device.describe())
    }
}

impl Means {
    /// Without a dealer's key.
    pub fn new(device: &Device) -> Self {
        Self { device: device.clone(), dealt: None, share: None }
    }
}

/// A round.
pub struct Round {
    /// Who is in the federation.
    pub roster: Arc<Roster>,
    /// The Plan, checked.
    pub planned: Planned,
    /// How its sums are hidden.
    pub scheme: Box<dyn Scheme>,
}

impl fmt::Debug for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Round({}, attempt {})", self.planned.place.round, self.planned.place.attempt)
    }
}

/// The updates of a sum, their headers checked.
#[derive(Clone, Debug)]
pub struct Set {
    /// By member: the header's digest, and what it says.
    pub uploads: Vec<(MemberId, Digest, Upload)>,
    /// Of all of it.
    pub digest: Digest,
}

/// A sum that was opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// Updates in it.
    pub uploads: usize,
    /// Of the set of updates that it was opened for.
    pub set: Digest,
    /// What the next round's clips should be.
    pub clips: Vec<f64>,
    /// The mean share of clipped entries.
    pub clipped: f64,
    /// Whose answers were of no use, and why.
    pub warnings: Vec<String>,
}

impl Round {
    /// A round by its Plan.
    ///
    /// # Errors
    /// Those of [`Planned::open`] and of the scheme.
    pub fn open(roster: &Arc<Roster>, plan: &[u8], (round, attempt): (u32, u32), means: &Means) -> Result<Self> {
        let planned = Planned::open(roster, plan, round, attempt)?;
        let members = roster.members.len();
        let fields = planned.plan.fields();
        let scheme: Box<dyn Scheme> = match planned.plan.scheme {
            SchemeKind::Plain => Box::new(Plain { fields }),
            SchemeKind::Rlwe => Box::new(Rlwe::new(
                &means.device,
                Terms {
                    uploads: members,
                    width: planned.plan.width(members),
                    fields,
                    threshold: planned.threshold,
                    points: planned.points,
                    seed: planned.seed(),
                },
            )?),
            SchemeKind::Paillier(digest) => {
                let wrong = |what: &str| Error::input(format!("the plan's scheme is paillier: {what}"));
                let key = means.dealt.as_ref().ok_or_else(|| wrong("found no dealer's key here, expected one"))?;
                if hash(&key.to_bytes()) != digest {
                    return Err(wrong("it is for another dealer's key than the one here"));
                }
                if (key.threshold(), key.holders()) != (planned.threshold, planned.points) {
                    return Err(wrong(
                        "the dealer's key is for another threshold or number of holders than the roster's",
                    ));
                }
                let dealt = Dealt::new(key, means.share.as_ref(), planned.plan.width(members), fields)?;
                let place = &planned.place;
                let context = [&place.federation[..], &place.plan, &round.to_le_bytes(), &attempt.to_le_bytes()];
                Box::new(if planned.plan.prove { dealt.proving(context.concat()) } else { dealt })
            }
        };
        Ok(Self { roster: roster.clone(), planned, scheme })
    }

    /// Bytes of a sealed share; 0 where nothing is shared.
    pub fn sealed_share(&self) -> usize {
        match self.scheme.lengths().share {
            0 => 0,
            len => len + OVERHEAD,
        }
    }

    /// Bytes of what is attached to an Upload.
    pub fn upload_len(&self) -> usize {
        self.shares() * self.sealed_share() + self.scheme.lengths().ciphertexts
    }

    /// Sealed shares of an Upload.
    pub fn shares(&self) -> usize {
        if self.scheme.lengths().share == 0 { 0 } else { self.planned.holders.len() }
    }

    /// Bytes of an encrypted part.
    pub fn part_len(&self) -> usize {
        self.scheme.lengths().part + TAG
    }

    /// What an Upload says.
    ///
    /// # Errors
    /// [`Error::Message`] naming who sent it.
    pub fn upload(&self, message: &Message<'_>) -> Result<Upload> {
        let body: Upload = message.body(&self.roster, Kind::Upload, &self.planned.place)?;
        let name = self.roster.name(message.from);
        if !self.planned.ready.iter().any(|(member, _)| *member == message.from) {
            return Err(Error::message(format!("{name}: Upload: the plan does not have this member")));
        }
        if body.shares.len() != self.shares() {
            let (found, expected) = (body.shares.len(), self.shares());
            return Err(Error::message(format!("{name}: Upload: found {found} shares, expected {expected}")));
        }
        Ok(body)
    }

    /// The sealed shares and the ciphertexts of an Upload.
    ///
    /// # Errors
    /// [`Error::Message`] naming who sent it.
    pub fn upload_parts<'a>(&self, message: &Message<'a>) -> Result<(Vec<&'a [u8]>, &'a [u8])> {
        let body = self.upload(message)?;
        let len = self.sealed_share();
        let mut expected: Vec<_> = body.shares.iter().map(|digest| (len, *digest)).collect();
        expected.push((self.scheme.lengths().ciphertexts, body.ciphertexts));
        let mut parts = message.attached(&self.roster, &expected)?;
        let ciphertexts = parts.pop().unwrap_or_default();
        Ok((parts, ciphertexts))
    }

    /// The set that these heads of Uploads make.
    ///
    /// # Errors
    /// [`Error::Message`] for one that isn't signed for this Plan, or twice there; [`Error::Round`] for too few.
    pub fn set(&self, heads: &[Vec<u8>]) -> Result<Set> {
        let mut uploads: Vec<(MemberId, Digest, Upload)> = Vec::new();
        for head in heads {
            let message = message::open(&self.roster, head)?;
            let body = self.upload(&message)?;
            if uploads.last().is_some_and(|(before, ..)| *before >= message.from) {
                return Err(Error::message("the uploads of a sum are not in order"));
            }
            uploads.push((message.from, message.digest, body));
        }
        let (found, expected) = (uploads.len(), self.roster.min_clients);
        if found < expected {
            return Err(Error::Round(format!("{found} updates in the sum, expected {expected} at least")));
        }
        let digests: Vec<Digest> = uploads.iter().map(|(_, digest, _)| *digest).collect();
        Ok(Set { digest: set_digest(&digests), uploads })
    }

    /// What a share is sealed with: whose it is, and for whom.
    pub fn share_data(&self, client: MemberId, holder: MemberId) -> Vec<u8> {
        let place = &self.planned.place;
        let who = [place.round, place.attempt, client.into(), holder.into()];
        let who: Vec<u8> = who.iter().flat_map(|x: &u32| x.to_le_bytes()).collect();
        [b"share", &place.federation[..], &place.plan, &who].concat()
    }

    fn part_data(&self, set: &Digest, holder: MemberId, reader: MemberId) -> Vec<u8> {
        let who = [holder.to_le_bytes(), reader.to_le_bytes()].concat();
        [b"part", &self.planned.place.plan[..], set, &who].concat()
    }

    /// Encrypts a holder's part to the audience: the body of its Answer, and what is attached.
    ///
    /// # Errors
    /// [`Error::Message`] for a member's key that is none.
    pub fn seal_part(&self, holder: MemberId, set: Digest, part: &[u8], prng: &mut Prng) -> Result<(Answer, Vec<u8>)> {
        let key = Zeroizing::new(prng.seed());
        let cipher = ChaCha20Poly1305::new((&*key).into());
        let part = cipher.encrypt(&Nonce::default(), part).map_err(|_| Error::message("a part that is too long"))?;
        let keys = self.planned.audience().map(|(reader, public)| {
            sealing::seal(public, &*key, &self.part_data(&set, holder, reader), prng)
                .map_err(|e| e.of(self.roster.name(reader)))
        });
        let keys = keys.collect::<Result<Vec<_>>>()?;
        Ok((Answer { set, keys, part: hash(&part) }, part))
    }

    /// What an Answer for a set says.
    ///
    /// # Errors
    /// [`Error::Message`] naming who sent it.
    pub fn answer(&self, message: &Message<'_>, set: &Digest) -> Result<Answer> {
        let body: Answer = message.body(&self.roster, Kind::Answer, &self.planned.place)?;
        let wrong = |what: &str| Error::message(format!("{}: Answer: {what}", self.roster.name(message.from)));
        if self.planned.holder(message.from).is_none() {
            return Err(wrong("the plan does not have this holder"));
        }
        if body.set != *set {
            return Err(wrong("it is for another set of updates"));
        }
        let readers = self.planned.audience().count();
        if body.keys.len() != readers || body.keys.iter().any(|key| key.len() != KEY + OVERHEAD) {
            return Err(wrong("its keys are not one for each of the audience"));
        }
        Ok(body)
    }

    fn open_part(
        &self,
        (reader, key): (MemberId, &RoundKey),
        (from, body): (MemberId, &Answer),
        part: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        let wrong = || Error::message("its part can't be opened");
        let place = self.planned.audience().position(|(member, _)| member == reader);
        let sealed = place.and_then(|i| body.keys.get(i)).ok_or_else(wrong)?;
        let key = key.open(sealed, &self.part_data(&body.set, from, reader))?;
        let cipher = ChaCha20Poly1305::new_from_slice(&key).map_err(|_| wrong())?;
        cipher.decrypt(&Nonce::default(), part).map(Zeroizing::new).map_err(|_| wrong())
    }

    /// Opens a Result for one of its readers: the averages go to `target`, which is worth nothing after an error.
    /// `own` is the digest of the reader's Upload, which must be in the sum.
    ///
    /// # Errors
    /// [`Error::Message`] naming what doesn't fit, [`Error::Round`] for too few updates.
    pub fn open_result(
        &self,
        result: &[u8],
        reader: (MemberId, &RoundKey),
        own: Option<Digest>,
        target: &mut dyn Target,
    ) -> Result<Opened> {
        let message = message::open(&self.roster, result)?;
        let body: Outcome = message.body(&self.roster, Kind::Result, &self.planned.place)?;
        let set = self.set(&body.uploads)?;
        if own.is_some_and(|own| !set.uploads.iter().any(|(_, digest, _)| *digest == own)) {
            return Err(Error::Round("this member's update is not in the sum: it came too late".to_owned()));
        }
        let heads = body.answers.iter().map(|head| message::open(&self.roster, head));
        let heads = heads.collect::<Result<Vec<_>>>()?;
        let answers = heads.iter().map(|head| Ok((head.from, self.answer(head, &set.digest)?)));
        let answers = answers.collect::<Result<Vec<_>>>()?;
        let mut expected: Vec<_> = answers.iter().map(|(_, answer)| (self.part_len(), answer.part)).collect();
        expected.push((self.scheme.lengths().ciphertexts, body.sum));
        let attached = message.attached(&self.roster, &expected)?;
        let (sum, sealed) = attached.split_last().ok_or_else(|| Error::message("a Result without a sum"))?;
        let (mut parts, mut warnings) = (Vec::<(usize, Zeroizing<Vec<u8>>)>::new(), Vec::new());
        for (i, ((from, answer), sealed)) in answers.iter().zip(sealed).enumerate() {
            let point = self.roster.point(*from).unwrap_or_default();
            let name = self.roster.name(*from);
            if answers[..i].iter().any(|(other, _)| other == from) {
                return Err(Error::message(format!("{name}: Answer: it is there twice")));
            }
            let part = self.open_part(reader, (*from, answer), sealed);
            match part.and_then(|part| self.scheme.check(sum, point, &part).map(|()| part)) {
                Ok(part) => parts.push((point, part)),
                // It is as if it had not come: others may do.
                Err(e) => warnings.push(e.of(&format!("{name}: Answer")).to_string()),
            }
        }
        let parts: Vec<(usize, &[u8])> = parts.iter().map(|(point, part)| (*point, &part[..])).collect();
        if parts.len() < self.planned.threshold {
            let (found, expected) = (parts.len(), self.planned.threshold);
            let wrong = warnings.iter().map(|what| format!("; {what}")).collect::<String>();
            return Err(Error::Round(format!("{found} answers can be opened, expected {expected} at least{wrong}")));
        }
        let uploads = set.uploads.len();
        let mut decoder = Decoder::new(&self.planned.plan, uploads, target);
        self.scheme.combine(sum, uploads, &parts, &mut |at, row| decoder.take(at, row))?;
        let clipped = decoder.clipped;
        Ok(Opened { uploads, set: set.digest, clips: decoder.finish()?, clipped, warnings })
    }

    /// Bytes of what the scheme sends.
    pub fn lengths(&self) -> Lengths {
        self.scheme.lengths()
    }
}
