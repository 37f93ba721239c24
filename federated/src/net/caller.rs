//! What a member does when: whatever the aggregator says is next, each message from what the member has written down.

use std::thread::sleep;
use std::time::Duration;

use super::models::{self, MODEL};
use super::way::Way;
use super::wire::{self, MOST_MODEL, Reply, Request, Status};
use crate::error::{Error, Result};
use crate::member::Member;
use crate::message::{Digest, Kind, MOST_HEAD, shown};
use crate::model::{Difference, Model};
use crate::plan::Averaged;
use crate::round::Round;
use crate::store::Store;

/// The member's own last model, where the Plan leaves tensors to each member.
const OWN: &str = "own.safetensors";
/// The rounds of the run.
const ROUNDS: &str = "rounds";
/// How long it is until what could not be done is asked for again.
const PAUSE: Duration = Duration::from_millis(500);

/// A member and its way to the aggregator.
pub struct Caller<'a> {
    /// The member.
    pub member: Member,
    /// Beside the member's own.
    pub store: Box<dyn Store>,
    /// Its way.
    pub way: Way,
    /// Hears what happens, a line each.
    pub told: &'a dyn Fn(&str),
    /// What was told last, so that it isn't told again.
    said: String,
    /// What is written down of the rounds of the run.
    rounds: Option<u32>,
}

/// A round to train in.
#[derive(Debug)]
pub struct Training<'b> {
    /// The round, from 1.
    pub round: u32,
    /// Of so many.
    pub rounds: u32,
    /// The model to train.
    pub base: &'b Model,
}

/// What training came to.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The model.
    pub model: Model,
    /// The examples that it was trained on.
    pub examples: u64,
}

/// What a caller does where there is a model to train.
pub trait Trainer {
    /// Trains; none to stop here, with the round as it is.
    ///
    /// # Errors
    /// What training failed by.
    fn train(&mut self, training: &Training<'_>) -> Result<Option<Trained>>;

    /// Whether to stop once the update is taken.
    fn is_once(&self) -> bool {
        false
    }
}

/// How a caller ended.
#[derive(Debug)]
pub enum End {
    /// The trainer stopped it.
    Stopped,
    /// All rounds are over: the last model, with this member's own tensors.
    Done(Model),
}

impl<'a> Caller<'a> {
    /// A member that will call.
    pub fn new(member: Member, store: Box<dyn Store>, way: Way, told: &'a dyn Fn(&str)) -> Self {
        Self { member, store, way, told, said: String::new(), rounds: None }
    }

    /// How the round stands, as the aggregator says.
    ///
    /// # Errors
    /// Those of [`Way::ask`].
    pub fn status(way: &mut Way) -> Result<Status> {
        match way.ask(&Request::Status, &[], &|_| 0)?.0 {
            Reply::Status(status) => Ok(status),
            other => Err(strange(&other)),
        }
    }

    /// Does what is next until the trainer stops it or all rounds are over.
    ///
    /// # Errors
    /// Those of the trainer, of the store and of [`Way::ask`]; [`Error::Message`] for what the round does not allow.
    pub fn run(&mut self, trainer: &mut dyn Trainer) -> Result<End> {
        loop {
            let (reply, bytes) = match self.next() {
                // The aggregator has gone, and so have all rounds.
                Err(Error::Net(blindvox_net::Error::Connection(_))) if self.has_all()? => break,
                next => next?,
            };
            if self.rounds != self.way.rounds() {
                self.rounds = self.way.rounds();
                self.store.put(ROUNDS, &self.rounds.unwrap_or_default().to_le_bytes())?;
            }
            let done = match reply {
                Reply::Wait => Ok(()),
                Reply::Done => break,
                Reply::Ready { place, base } => self.ready(place, &base),
                Reply::Upload { place, .. } => match self.upload(place, &bytes, trainer) {
                    Ok(true) => Ok(()),
                    Ok(false) => return Ok(End::Stopped),
                    Err(e) => Err(e),
                },
                Reply::Answer { .. } => self.member.answer(&bytes).and_then(|answer| self.put(Kind::Answer, &answer)),
                Reply::Open { .. } => self.open(&bytes),
                other => Err(strange(&other)),
            };
            match done {
                // Whether its last word arrived or not, it has all.
                Err(Error::Net(blindvox_net::Error::Connection(_))) if self.has_all()? => break,
                // The round goes on without this member.
                Err(Error::Round(what)) => {
                    self.tell(&what);
                    sleep(PAUSE);
                }
                done => done?,
            }
        }
        let last = models::newest(&*self.store)?.filter(|_| self.has_all().is_ok_and(|all| all));
        let last = last.ok_or_else(|| {
            let (round, _) = self.member.place();
            Error::Round(format!("all rounds are over, and this member was not in the last: it was in round {round}"))
        })?;
        let model = Model::from_bytes(last, MODEL)?;
        match self.member.round() {
            Ok(round) => Ok(End::Done(self.with_own(model, &round.planned.plan.tensors)?)),
            Err(_) => Ok(End::Done(model)),
        }
    }

    /// Says a line, unless it is the last one again.
    fn tell(&mut self, what: &str) {
        if self.said != what {
            (self.told)(what);
            what.clone_into(&mut self.said);
        }
    }

    /// Whether this member has ended the last round of all.
    fn has_all(&self) -> Result<bool> {
        let rounds = self.store.get(ROUNDS)?.and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        Ok(self.member.finished().is_some() && rounds == Some(self.member.place().0))
    }

    fn next(&mut self) -> Result<(Reply, Vec<u8>)> {
        let round = self.member.round().ok();
        let most = |reply: &Reply| match reply {
            Reply::Answer { .. } => wire::most(Kind::Close, round.as_deref()),
            Reply::Open { .. } => wire::most(Kind::Result, round.as_deref()),
            _ => MOST_HEAD as u64,
        };
        self.way.ask(&Request::Next, &[], &most)
    }

    /// Hands a message over.
    fn put(&mut self, kind: Kind, bytes: &[u8]) -> Result<()> {
        match self.way.ask(&Request::Put { kind, len: bytes.len() as u64 }, bytes, &|_| 0)?.0 {
            Reply::Taken => Ok(()),
            Reply::Late(what) => Err(Error::Round(what)),
            Reply::Refused(what) => Err(Error::Message(format!("the aggregator refused: {what}"))),
            other => Err(strange(&other)),
        }
    }

    /// Says that this member takes part, once it has the model.
    fn ready(&mut self, (round, attempt): (u32, u32), base: &Digest) -> Result<()> {
        if models::find(&mut *self.store, base)?.is_none() {
            match self.way.ask(&Request::Base { digest: *base }, &[], &|_| MOST_MODEL)? {
                (Reply::Base { .. }, model) if crate::message::hash(&model) == *base => {
                    self.store.put(MODEL, &model)?
                }
                (Reply::Base { .. }, _) => return Err(Error::message("the aggregator's model has another digest")),
                (Reply::Late(what), _) => return Err(Error::Round(what)),
                (other, _) => return Err(strange(&other)),
            }
        }
        let ready = self.member.ready(round, attempt)?;
        self.put(Kind::Ready, &ready)
    }

    fn base(&mut self, round: &Round) -> Result<Model> {
        let digest = round.planned.plan.base;
        let bytes = models::find(&mut *self.store, &digest)?;
        let missing = || Error::Round(format!("{MODEL}: found another model than the plan's, {:.16}", shown(&digest)));
        Model::from_bytes(bytes.ok_or_else(missing)?, MODEL)
    }

    fn with_own(&self, mut model: Model, averaged: &[Averaged]) -> Result<Model> {
        if let Some(own) = self.store.get(OWN)? {
            model.adopt(&Model::from_bytes(own, OWN)?, averaged);
        }
        Ok(model)
    }

    /// Trains where nothing was trained, and sends the update; whether to go on.
    fn upload(&mut self, (r, attempt): (u32, u32), plan: &[u8], trainer: &mut dyn Trainer) -> Result<bool> {
        if self.member.place() != (r, attempt) {
            self.member.ready(r, attempt)?;
        }
        let round = self.member.plan(plan)?;
        let message = match self.member.kept_upload()? {
            Some(kept) => kept,
            None => {
                let (base, tensors) = (self.base(&round)?, &round.planned.plan.tensors);
                let shown = self.with_own(base.clone(), tensors)?;
                let training = Training { round: r, rounds: self.way.rounds().unwrap_or(r), base: &shown };
                let Some(Trained { model, examples }) = trainer.train(&training)? else { return Ok(false) };
                let base = base.planned(tensors)?;
                let whole = model.clone();
                let local = model.planned(tensors)?;
                let update = Difference::new(&base, &local)?;
                let sent = self.member.upload(plan, &base.digest(), &update, examples)?;
                if whole.layout(1.0).len() > tensors.len() {
                    self.store.put(OWN, whole.bytes())?;
                }
                sent.warning.iter().for_each(|what| self.tell(&format!("warning: {what}")));
                sent.message
            }
        };
        self.put(Kind::Upload, &message)?;
        Ok(!trainer.is_once())
    }

    /// Opens the sum, keeps the new model, and says which it is.
    fn open(&mut self, result: &[u8]) -> Result<()> {
        if let Some(receipt) = self.member.finished().map(<[u8]>::to_vec) {
            return self.put(Kind::Receipt, &receipt);
        }
        let round = self.member.round()?;
        let mut model = self.base(&round)?.planned(&round.planned.plan.tensors)?;
        let opened = self.member.open_result(result, &mut model)?;
        opened.warnings.iter().for_each(|what| self.tell(&format!("warning: {what}")));
        models::put_next(&mut *self.store, model.bytes())?;
        let receipt = self.member.receipt(model.digest(), &opened)?;
        let (number, _) = self.member.place();
        self.tell(&format!(
            "round {number}: the average of {} updates, {:.16}",
            opened.uploads,
            shown(&model.digest())
        ));
        self.put(Kind::Receipt, &receipt)
    }
}

fn strange(reply: &Reply) -> Error {
    let what = format!("{reply:?}");
    Error::message(format!("an answer that was not asked for: {}", what.split([' ', '(']).next().unwrap_or_default()))
}

impl std::fmt::Debug for Caller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Caller({:?}, {:?})", self.member, self.way)
    }
}
