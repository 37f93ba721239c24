//! The aggregator: gathers, adds what it can't read, passes on.
//!
//! Every message that it takes is on the disk before it counts, and what it says once (Plan, Close) is on the disk before it
//! is sent; messages that come again change nothing. Time is others' business: whoever drives it says when to plan and when
//! to close.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;

use blindvox_engine::Prng;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::audit;
use crate::codec::Target;
use crate::error::{Error, Result};
use crate::message::{self, Close, Digest, Kind, Outcome, Place, Ready, Receipt, hash};
use crate::plan::{Audience, Plan, check_ready};
use crate::roster::{AGGREGATOR, MemberId, Roster};
use crate::round::{Means, Opened, Round};
use crate::sealing::RoundKey;
use crate::signing::Signer;
use crate::store::Store;

/// The file of the state.
const STATE: &str = "aggregator";

fn upload_name(member: MemberId) -> String {
    format!("upload-{member}")
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    round: u32,
    attempt: u32,
    ready: BTreeMap<MemberId, Vec<u8>>,
    plan: Vec<u8>,
    answer_key: Option<RoundKey>,
    /// Heads of the Uploads that came.
    uploads: BTreeMap<MemberId, Vec<u8>>,
    /// Whether U is what came, and no more.
    closed: bool,
    answers: BTreeMap<MemberId, Vec<u8>>,
    receipts: BTreeMap<MemberId, Receipt>,
    /// All rounds so far: written with the state, and then to its own file.
    log: String,
}

/// Where a round is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Members say that they take part.
    Gathering,
    /// Updates come.
    Uploading,
    /// Holders answer.
    Answering,
    /// Enough answers are there.
    Answered,
}

/// Who adds.
pub struct Aggregator {
    roster: Arc<Roster>,
    signer: Signer,
    store: Box<dyn Store>,
    means: Means,
    prng: Prng,
    state: State,
    round: Option<Round>,
    /// The sum of what came, made anew after a restart.
    sum: Vec<u8>,
    /// Uploads that are in it.
    summed: Vec<MemberId>,
}

impl fmt::Debug for Aggregator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aggregator(round {}, attempt {})", self.state.round, self.state.attempt)
    }
}

impl Aggregator {
    /// By its key, with what it wrote down.
    ///
    /// # Errors
    /// [`Error::Input`] for another key than the roster's, and for a state of another form.
    pub fn open(
        roster: &Arc<Roster>,
        signer: Signer,
        store: Box<dyn Store>,
        means: &Means,
        prng: Prng,
    ) -> Result<Self> {
        if roster.aggregator.key != signer.public() {
            return Err(Error::Input(format!("the roster's aggregator has another key than {}", signer.public())));
        }
        let state = match store.get(STATE)?.map(Zeroizing::new) {
            None => State::default(),
            Some(bytes) => postcard::from_bytes(&bytes)
                .map_err(|_| Error::input(format!("{STATE}: found another form, expected an aggregator's state")))?,
        };
        let round = match &state.plan[..] {
            [] => None,
            plan => Some(Round::open(roster, plan, (state.round, state.attempt), means)?),
        };
        let (roster, means, sum, summed) = (roster.clone(), means.clone(), Vec::new(), Vec::new());
        let mut aggregator = Self { roster, signer, store, means, prng, state, round, sum, summed };
        aggregator.write_log()?;
        Ok(aggregator)
    }

    fn save(&mut self) -> Result<()> {
        let bytes = postcard::to_allocvec(&self.state).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| Error::input(format!("{STATE}: can't be written down")))?;
        self.store.put(STATE, &bytes)
    }

    /// Writes the log's file where it lags behind the state.
    fn write_log(&mut self) -> Result<()> {
        audit::keep(&mut *self.store, &self.state.log)
    }

    /// The log, each line signed and hashed with the one before.
    pub fn log(&self) -> &str {
        &self.state.log
    }

    /// Appends a line about the round.
    fn note(&mut self, event: &str, fields: &[(&str, Value)]) {
        let place = [("round", self.state.round.into()), ("attempt", self.state.attempt.into())];
        audit::append(&mut self.state.log, &self.signer, event, &[&place, fields].concat());
    }

    /// Saves, and writes the log after that.
    fn save_noted(&mut self) -> Result<()> {
        self.save()?;
        self.write_log()
    }

    fn names<'a>(&'a self, ids: impl Iterator<Item = &'a MemberId>) -> Value {
        ids.map(|id| Value::from(self.roster.name(*id))).collect()
    }

    /// The round and the attempt; zeros before the first.
    pub fn place(&self) -> (u32, u32) {
        (self.state.round, self.state.attempt)
    }

    /// Where the round is.
    pub fn stage(&self) -> Stage {
        let State { plan, closed, answers, .. } = &self.state;
        match (plan.is_empty(), closed, answers.len() >= self.roster.threshold) {
            (true, ..) => Stage::Gathering,
            (_, false, _) => Stage::Uploading,
            (_, _, false) => Stage::Answering,
            _ => Stage::Answered,
        }
    }

    /// Begins the next round, or the next attempt of this one.
    ///
    /// # Errors
    /// [`Error::Round`] for another attempt after the updates of this one were closed: one answer may have been given.
    pub fn begin(&mut self, again: bool) -> Result<(u32, u32)> {
        let (round, attempt) = self.place();
        if again && self.state.closed {
            return Err(Error::Round(format!("round {round} was closed: it is answered, or given up for the next")));
        }
        let (round, attempt) = if again && round > 0 { (round, attempt + 1) } else { (round + 1, 1) };
        for member in std::mem::take(&mut self.state.uploads).into_keys() {
            self.store.remove(&upload_name(member))?;
        }
        if self.state.closed && self.state.answers.len() < self.roster.threshold {
            // One answer and t - 1 holders may have opened its sum.
            self.note("given up", &[("answers", self.names(self.state.answers.keys()))]);
        }
        let log = std::mem::take(&mut self.state.log);
        self.state = State { round, attempt, log, ..State::default() };
        (self.round, self.sum, self.summed) = (None, Vec::new(), Vec::new());
        self.save_noted()?;
        Ok((round, attempt))
    }

    /// Takes a Ready.
    ///
    /// # Errors
    /// [`Error::Message`] naming who sent it; [`Error::Round`] once the round is planned.
    pub fn ready(&mut self, bytes: &[u8]) -> Result<MemberId> {
        let message = message::open(&self.roster, bytes)?;
        let (round, attempt) = self.place();
        let place = Place::unplanned(self.roster.id(), round, attempt);
        let body: Ready = message.body(&self.roster, Kind::Ready, &place)?;
        message.attached(&self.roster, &[])?;
        let name = self.roster.name(message.from).to_owned();
        check_ready(&body).map_err(|e| e.of(&name))?;
        match self.state.ready.get(&message.from) {
            Some(before) if before == bytes => return Ok(message.from),
            Some(_) => return Err(Error::message(format!("{name}: Ready: another one for one attempt of a round"))),
            None => {}
        }
        if !self.state.plan.is_empty() {
            return Err(Error::Round(format!("{name}: Ready: the round is planned without this member")));
        }
        self.state.ready.insert(message.from, bytes.to_vec());
        self.save()?;
        Ok(message.from)
    }

    /// Who is ready.
    pub fn who_is_ready(&self) -> impl Iterator<Item = MemberId> {
        self.state.ready.keys().copied()
    }

    /// The Plan, with all who are ready now; the same whenever it is asked for again.
    ///
    /// # Errors
    /// [`Error::Round`] naming who is missing where too few are ready, [`Error::Message`] for a wish that can't be.
    pub fn plan(&mut self, wish: &Plan) -> Result<Vec<u8>> {
        if self.state.plan.is_empty() {
            let mut plan = wish.clone();
            plan.ready = self.state.ready.values().cloned().collect();
            let key = (plan.audience == Audience::Everyone).then(|| RoundKey::generate(&mut self.prng));
            plan.aggregator = key.as_ref().map(RoundKey::public);
            let (round, attempt) = self.place();
            let sealed = plan.seal(&self.roster, &self.signer, round, attempt);
            let (bytes, _) = sealed.map_err(|e| self.missing(e, |state, id| state.ready.contains_key(&id)))?;
            self.round = Some(Round::open(&self.roster, &bytes, (round, attempt), &self.means)?);
            let planned = message::open(&self.roster, &bytes)?.digest;
            (self.state.plan, self.state.answer_key) = (bytes, key);
            let scheme = format!("{:?}", wish.scheme).split('(').next().unwrap_or_default().to_lowercase();
            let fields = [
                ("plan", audit::digest(&planned)),
                ("base", audit::digest(&wish.base)),
                ("scheme", scheme.into()),
                ("bits", wish.bits.into()),
                ("members", self.names(self.state.ready.keys())),
            ];
            self.note("plan", &fields);
            self.save_noted()?;
        }
        Ok(self.state.plan.clone())
    }

    /// An error about too few, with the names of those who are missing.
    fn missing(&self, e: Error, there: impl Fn(&State, MemberId) -> bool) -> Error {
        let Error::Round(what) = e else { return e };
        let ids = 0..self.roster.members.len() as MemberId;
        let names: Vec<&str> = ids.filter(|&id| !there(&self.state, id)).map(|id| self.roster.name(id)).collect();
        Error::Round(format!("round {}: {what}; missing: {}", self.state.round, names.join(", ")))
    }

    /// Who is in the federation.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The Plan's bytes; none before there is one.
    pub fn plan_bytes(&self) -> &[u8] {
        &self.state.plan
    }

    fn planned(&self) -> Result<&Round> {
        self.round.as_ref().ok_or_else(|| Error::Round("there is no plan of this round yet".to_owned()))
    }

    /// The round that is planned.
    ///
    /// # Errors
    /// [`Error::Round`] before there is a Plan.
    pub fn round(&self) -> Result<&Round> {
        self.planned()
    }

    /// Takes an Upload, and adds it to the sum.
    ///
    /// # Errors
    /// [`Error::Message`] naming who sent it; [`Error::Round`] for one that comes too late.
    pub fn upload(&mut self, bytes: &[u8]) -> Result<MemberId> {
        let message = message::open(&self.roster, bytes)?;
        let (_, ciphertexts) = self.planned()?.upload_parts(&message)?;
        let name = self.roster.name(message.from).to_owned();
        match self.state.uploads.get(&message.from) {
            Some(before) if before == message.head => return Ok(message.from),
            Some(_) => return Err(Error::message(format!("{name}: Upload: another one for one plan"))),
            None if self.state.closed => {
                return Err(Error::Round(format!("{name}: Upload: too late, the round's updates are closed")));
            }
            None => {}
        }
        self.catch_up()?;
        self.store.put(&upload_name(message.from), bytes)?;
        let round = self.round.as_ref().ok_or_else(|| Error::Round("no plan".to_owned()))?;
        round.scheme.accumulate(&mut self.sum, ciphertexts).map_err(|e| e.of(&name))?;
        self.summed.push(message.from);
        self.state.uploads.insert(message.from, message.head.to_vec());
        self.save()?;
        Ok(message.from)
    }

    /// Adds what came before a restart.
    fn catch_up(&mut self) -> Result<()> {
        let missing: Vec<MemberId> =
            self.state.uploads.keys().copied().filter(|id| !self.summed.contains(id)).collect();
        for member in missing {
            let bytes = self.kept(member)?;
            let message = message::open(&self.roster, &bytes)?;
            let round = self.round.as_ref().ok_or_else(|| Error::Round("no plan".to_owned()))?;
            let (_, ciphertexts) = round.upload_parts(&message)?;
            round.scheme.accumulate(&mut self.sum, ciphertexts)?;
            self.summed.push(member);
        }
        Ok(())
    }

    fn kept(&self, member: MemberId) -> Result<Vec<u8>> {
        let name = upload_name(member);
        self.store.get(&name)?.ok_or_else(|| Error::input(format!("{name}: found none, expected an update")))
    }

    /// Who has sent an update.
    pub fn who_uploaded(&self) -> impl Iterator<Item = MemberId> {
        self.state.uploads.keys().copied()
    }

    /// Who has answered.
    pub fn who_answered(&self) -> impl Iterator<Item = MemberId> {
        self.state.answers.keys().copied()
    }

    /// The Receipts that came, by member: all of one model.
    pub fn receipts(&self) -> &BTreeMap<MemberId, Receipt> {
        &self.state.receipts
    }

    /// Closes the sum: no more updates are taken. Who is in it is on the disk before anybody is told.
    ///
    /// # Errors
    /// [`Error::Round`] naming who is missing where there are too few.
    pub fn close(&mut self) -> Result<()> {
        let (found, expected) = (self.state.uploads.len(), self.roster.min_clients);
        if found < expected {
            let e = Error::Round(format!("{found} updates, expected {expected} at least"));
            return Err(self.missing(e, |state, id| state.uploads.contains_key(&id)));
        }
        self.catch_up()?;
        if !self.state.closed {
            let set = self.planned()?.set(&self.heads())?;
            let uploads =
                set.uploads.iter().map(|(id, digest, _)| (self.roster.name(*id).to_owned(), audit::digest(digest)));
            let fields = [("set", audit::digest(&set.digest)), ("uploads", Value::Object(uploads.collect()))];
            self.state.closed = true;
            self.note("close", &fields);
        }
        self.save_noted()
    }

    fn heads(&self) -> Vec<Vec<u8>> {
        self.state.uploads.values().cloned().collect()
    }

    /// The holders of the round.
    pub fn holders(&self) -> Vec<MemberId> {
        self.round.iter().flat_map(|r| r.planned.holders.iter().map(|h| h.member)).collect()
    }

    /// The Close for a holder, once the sum is closed.
    ///
    /// # Errors
    /// [`Error::Round`] before that, and for a member that holds nothing.
    pub fn close_for(&mut self, holder: MemberId) -> Result<Vec<u8>> {
        self.catch_up()?;
        let round = self.planned()?;
        let place = round.planned.holders.iter().position(|h| h.member == holder);
        let place = place.filter(|_| self.state.closed);
        let place = place.ok_or_else(|| Error::Round("nothing is closed for this member".to_owned()))?;
        let mut shares = Vec::new();
        for &member in self.state.uploads.keys().filter(|_| round.shares() > 0) {
            let bytes = self.kept(member)?;
            let message = message::open(&self.roster, &bytes)?;
            let (sealed, _) = round.upload_parts(&message)?;
            shares.push(sealed[place].to_vec());
        }
        let closed = round.scheme.close(&self.sum)?;
        let body = Close { uploads: self.heads(), closed: hash(&closed) };
        let mut attachments: Vec<&[u8]> = shares.iter().map(Vec::as_slice).collect();
        attachments.push(&closed);
        message::seal(&self.signer, (Kind::Close, round.planned.place, AGGREGATOR), &body, &attachments)
    }

    fn set(&self) -> Result<Digest> {
        Ok(self.planned()?.set(&self.heads())?.digest)
    }

    /// Takes an Answer.
    ///
    /// # Errors
    /// [`Error::Message`] naming who sent it.
    pub fn answer(&mut self, bytes: &[u8]) -> Result<MemberId> {
        let message = message::open(&self.roster, bytes)?;
        let round = self.planned()?;
        if !self.state.closed {
            return Err(Error::Round(format!("{}: Answer: nothing is closed", self.roster.name(message.from))));
        }
        let body = round.answer(&message, &self.set()?)?;
        message.attached(&self.roster, &[(round.part_len(), body.part)])?;
        if let Entry::Vacant(place) = self.state.answers.entry(message.from) {
            place.insert(bytes.to_vec());
            self.save()?;
        }
        Ok(message.from)
    }

    /// The Result, with all answers that came.
    ///
    /// # Errors
    /// [`Error::Round`] naming who is missing before there are enough.
    pub fn result(&mut self) -> Result<Vec<u8>> {
        if self.stage() != Stage::Answered {
            let (found, expected) = (self.state.answers.len(), self.roster.threshold);
            let e = Error::Round(format!("{found} answers, expected {expected} at least"));
            let holders = self.holders();
            return Err(self.missing(e, |state, id| !holders.contains(&id) || state.answers.contains_key(&id)));
        }
        self.catch_up()?;
        let answers = self.state.answers.values().map(|bytes| message::open(&self.roster, bytes));
        let answers = answers.collect::<Result<Vec<_>>>()?;
        let body = Outcome {
            uploads: self.heads(),
            answers: answers.iter().map(|answer| answer.head.to_vec()).collect(),
            sum: hash(&self.sum),
        };
        let mut attachments: Vec<&[u8]> = answers.iter().map(|answer| answer.attachments).collect();
        attachments.push(&self.sum);
        let place = self.planned()?.planned.place;
        message::seal(&self.signer, (Kind::Result, place, AGGREGATOR), &body, &attachments)
    }

    /// Opens the Result, where the aggregator is of the audience.
    ///
    /// # Errors
    /// [`Error::Round`] where it is not; those of [`Round::open_result`].
    pub fn open_result(&self, result: &[u8], target: &mut dyn Target) -> Result<Opened> {
        let key = self.state.answer_key.as_ref();
        let key = key.ok_or_else(|| Error::Round("the aggregator is not of the audience".to_owned()))?;
        self.planned()?.open_result(result, (AGGREGATOR, key), None, target)
    }

    /// Takes a Receipt: who sent it, and of which model.
    ///
    /// # Errors
    /// [`Error::Round`] where models differ, naming the two members: the run ends. [`Error::Message`].
    pub fn receipt(&mut self, bytes: &[u8]) -> Result<(MemberId, Receipt)> {
        let message = message::open(&self.roster, bytes)?;
        let body: Receipt = message.body(&self.roster, Kind::Receipt, &self.planned()?.planned.place)?;
        if let Some((other, _)) = self.state.receipts.iter().find(|(_, receipt)| **receipt != body) {
            let [a, b] = [*other, message.from].map(|id| self.roster.name(id).to_owned());
            let what = format!("the new models of {a} and {b} differ: the run ends");
            self.note("differ", &[("members", vec![Value::from(a), b.into()].into())]);
            self.save_noted()?;
            return Err(Error::Round(what));
        }
        if !self.state.receipts.contains_key(&message.from) {
            let (member, model) = (Value::from(self.roster.name(message.from)), audit::digest(&body.model));
            self.state.receipts.insert(message.from, body.clone());
            self.note("receipt", &[("member", member), ("model", model)]);
            self.save_noted()?;
        }
        Ok((message.from, body))
    }
}
