//! A member's state: the round's keys, what it has sent, and what it may send once. Clients and holders are members; what
//! each does is in [`client`](crate::client) and [`holder`](crate::holder).

use std::fmt;
use std::sync::Arc;

use blindvox_engine::Prng;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::audit;
use crate::error::{Error, Result};
use crate::message::{self, Digest, Kind, Place, Ready};
use crate::roster::{MemberId, Roster};
use crate::round::{Means, Round};
use crate::sealing::RoundKey;
use crate::signing::Signer;
use crate::store::Store;

/// The file of the state.
const STATE: &str = "member";
/// The file of the finished Upload.
pub(crate) const UPLOAD: &str = "upload";

/// What is written down before it is sent.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub round: u32,
    pub attempt: u32,
    /// For shares: erased by the write that records the answer.
    pub share_key: Option<RoundKey>,
    /// For answers: erased by the write that records the receipt.
    pub answer_key: Option<RoundKey>,
    pub ready: Vec<u8>,
    pub plan: Vec<u8>,
    pub answered: Option<Answered>,
    pub finished: Option<Finished>,
    /// Of the Upload that the log has last.
    pub logged: Digest,
    /// All rounds so far: written with the state, and then to its own file.
    pub log: String,
}

/// The one answer of a round.
#[derive(Serialize, Deserialize)]
pub(crate) struct Answered {
    pub round: u32,
    pub attempt: u32,
    pub set: Digest,
    pub message: Vec<u8>,
}

/// The end of a round.
#[derive(Serialize, Deserialize)]
pub(crate) struct Finished {
    pub round: u32,
    pub receipt: Vec<u8>,
}

/// A member of a federation.
pub struct Member {
    pub(crate) roster: Arc<Roster>,
    pub(crate) id: MemberId,
    pub(crate) signer: Signer,
    pub(crate) store: Box<dyn Store>,
    pub(crate) means: Means,
    pub(crate) state: State,
    pub(crate) prng: Prng,
    /// The round of the state's Plan, once it was checked.
    checked: Option<Arc<Round>>,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Member({})", self.roster.name(self.id))
    }
}

impl Member {
    /// A member by its key, with what it wrote down.
    ///
    /// # Errors
    /// [`Error::Input`] for a key that the roster doesn't have, and for a state of another form.
    pub fn open(
        roster: &Arc<Roster>,
        signer: Signer,
        store: Box<dyn Store>,
        means: &Means,
        prng: Prng,
    ) -> Result<Self> {
        let id = roster
            .find(&signer.public())
            .ok_or_else(|| Error::Input(format!("the roster has no member with the key {}", signer.public())))?;
        let state = match store.get(STATE)?.map(Zeroizing::new) {
            None => State::default(),
            Some(bytes) => postcard::from_bytes(&bytes)
                .map_err(|_| Error::input(format!("{STATE}: found another form, expected a member's state")))?,
        };
        let (roster, means) = (roster.clone(), means.clone());
        let mut member = Self { roster, id, signer, store, means, state, prng, checked: None };
        audit::keep(&mut *member.store, &member.state.log)?;
        Ok(member)
    }

    /// Who it is.
    pub fn id(&self) -> MemberId {
        self.id
    }

    /// The round and the attempt that it is in; zeros before the first.
    pub fn place(&self) -> (u32, u32) {
        (self.state.round, self.state.attempt)
    }

    pub(crate) fn save(&mut self) -> Result<()> {
        let bytes = postcard::to_allocvec(&self.state).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| Error::input(format!("{STATE}: can't be written down")))?;
        self.store.put(STATE, &bytes)
    }

    /// The log of what this member was shown and has sent, each line signed and hashed with the one before.
    pub fn log(&self) -> &str {
        &self.state.log
    }

    /// Appends a line about the round, saves, and writes the log after that.
    pub(crate) fn save_noted(&mut self, event: &str, fields: &[(&str, Value)]) -> Result<()> {
        let place = [("round", self.state.round.into()), ("attempt", self.state.attempt.into())];
        let who = [("member", self.roster.name(self.id).into())];
        audit::append(&mut self.state.log, &self.signer, event, &[&place[..], &who, fields].concat());
        self.save()?;
        audit::keep(&mut *self.store, &self.state.log)
    }

    /// Takes part in an attempt of a round: its Ready, the same whenever it is asked for.
    ///
    /// # Errors
    /// [`Error::Round`] for a round or an attempt that is over.
    pub fn ready(&mut self, round: u32, attempt: u32) -> Result<Vec<u8>> {
        let here = self.place();
        if self.state.finished.as_ref().is_some_and(|f| f.round >= round) || (round, attempt) < here {
            let (r, a) = here;
            return Err(Error::Round(format!("round {round}, attempt {attempt} is over: this is {r}, attempt {a}")));
        }
        if here == (round, attempt) {
            return Ok(self.state.ready.clone());
        }
        // One answer a round, all attempts together: no key, no answer.
        let answered = self.state.answered.as_ref().is_some_and(|a| a.round == round);
        let holds = self.roster.point(self.id).is_some() && !answered;
        let share_key = holds.then(|| RoundKey::generate(&mut self.prng));
        let answer_key = RoundKey::generate(&mut self.prng);
        let body = Ready { shares: share_key.as_ref().map(RoundKey::public), answers: answer_key.public() };
        let place = Place::unplanned(self.roster.id(), round, attempt);
        let ready = message::seal(&self.signer, (Kind::Ready, place, self.id), &body, &[])?;
        self.store.remove(UPLOAD)?;
        let (answered, finished) = (self.state.answered.take(), self.state.finished.take());
        let (answer_key, plan, log) = (Some(answer_key), Vec::new(), std::mem::take(&mut self.state.log));
        let logged = Digest::default();
        self.state = State { round, attempt, share_key, answer_key, ready, plan, answered, finished, logged, log };
        self.checked = None;
        self.save()?;
        Ok(self.state.ready.clone())
    }

    /// Takes the Plan of the attempt that it is in; another one after that is refused.
    ///
    /// # Errors
    /// [`Error::Message`] for a Plan that is wrong, or doesn't have this member's Ready; [`Error::Round`].
    pub fn plan(&mut self, plan: &[u8]) -> Result<Arc<Round>> {
        if !self.state.plan.is_empty() {
            if self.state.plan != plan {
                return Err(Error::message("a second plan for one attempt of a round"));
            }
            return self.round();
        }
        let round = Arc::new(Round::open(&self.roster, plan, self.place(), &self.means)?);
        if !round.planned.plan.ready.contains(&self.state.ready) {
            return Err(Error::Round("this member is not in the plan: it was ready too late".to_owned()));
        }
        plan.clone_into(&mut self.state.plan);
        let fields = [("plan", round.planned.place.plan), ("base", round.planned.plan.base)];
        self.save_noted("plan", &fields.map(|(name, digest)| (name, audit::digest(&digest))))?;
        self.checked = Some(round.clone());
        Ok(round)
    }

    /// The round that it has the Plan of.
    ///
    /// # Errors
    /// [`Error::Round`] before there is one.
    pub fn round(&self) -> Result<Arc<Round>> {
        if self.state.plan.is_empty() {
            return Err(Error::Round("there is no plan of this round yet".to_owned()));
        }
        match &self.checked {
            Some(round) => Ok(round.clone()),
            None => Ok(Arc::new(Round::open(&self.roster, &self.state.plan, self.place(), &self.means)?)),
        }
    }
}
