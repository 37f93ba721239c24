//! What the aggregator does when: it plans once all are ready, closes once all updates are there, lets members open once the
//! holders have answered, and goes on to the next round with the model that they came to; where somebody stays away, once
//! the time for that is up and enough are there.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::models;
use super::wire::{Reply, Status};
use crate::aggregator::{Aggregator, Stage};
use crate::error::{Error, Result};
use crate::message::{self, Digest, Kind, hash, shown};
use crate::model::Model;
use crate::plan::{Audience, Averaged, Plan};
use crate::roster::{MemberId, Roster};
use crate::store::Store;

/// The file of the state.
const STATE: &str = "course";
/// How long holders are waited for after enough have answered: a wrong answer is found out by one more.
const GRACE: Duration = Duration::from_secs(5);

/// What is written down before a round begins.
#[derive(Clone, Serialize, Deserialize)]
struct State {
    round: u32,
    base: Digest,
    tensors: Vec<Averaged>,
}

/// A run of rounds.
#[derive(Clone, Debug)]
pub struct Run {
    /// How many.
    pub rounds: u32,
    /// The first round's Plan, but for who takes part; scheme, bits and audience are those of all.
    pub plan: Plan,
    /// How long is waited for those who stay away, at each step of a round.
    pub timeout: Duration,
    /// Begin the round anew: another attempt, or the next round where this one's updates are closed.
    pub again: bool,
}

/// The aggregator's side of a run.
pub struct Course {
    aggregator: Aggregator,
    /// Beside the aggregator's own.
    store: Box<dyn Store>,
    run: Run,
    state: State,
    /// When the stage began.
    since: (Stage, Instant),
    /// What members open, once it is let out.
    result: Option<Vec<u8>>,
    /// Counts changes, so that who waits for one knows.
    changes: u64,
}

/// What a member is to do, and what goes with it.
pub type Task = (Reply, Vec<u8>);

impl Course {
    /// A run from the model in `first`, or what is left of it.
    ///
    /// # Errors
    /// [`Error::Input`] for a state of another run, [`Error::Round`] where it can't begin anew; those of the store.
    pub fn open(aggregator: Aggregator, mut store: Box<dyn Store>, run: Run, first: &Model) -> Result<Self> {
        let state = match store.get(STATE)? {
            Some(bytes) => postcard::from_bytes::<State>(&bytes)
                .map_err(|_| Error::input(format!("{STATE}: found another form, expected that of a run")))?,
            None => {
                store.put(models::MODEL, first.bytes())?;
                State { round: 1, base: first.digest(), tensors: run.plan.tensors.clone() }
            }
        };
        if state.round == 1 && state.base != first.digest() {
            let [found, expected] = [first.digest(), state.base].map(|digest| shown(&digest));
            return Err(Error::Input(format!(
                "--model: found {found:.16}, expected {expected:.16}, which the run in --state began with"
            )));
        }
        let since = (Stage::Gathering, Instant::now());
        let again = run.again;
        let mut course = Self { aggregator, store, run, state, since, result: None, changes: 1 };
        course.save()?;
        let (round, _) = course.aggregator.place();
        if again && round == course.state.round {
            match course.aggregator.begin(true) {
                Err(Error::Round(_)) => drop(course.aggregator.begin(false)?),
                begun => drop(begun?),
            }
            (course.state.round, _) = course.aggregator.place();
            course.save()?;
        }
        course.settle()?;
        Ok(course)
    }

    fn save(&mut self) -> Result<()> {
        let bytes = postcard::to_allocvec(&self.state);
        self.store.put(STATE, &bytes.map_err(|_| Error::input(format!("{STATE}: can't be written down")))?)
    }

    /// Begins the round that is written down, if it was not begun.
    fn settle(&mut self) -> Result<()> {
        if !self.is_done() && self.aggregator.place().0 < self.state.round {
            self.aggregator.begin(false)?;
            (self.result, self.since) = (None, (Stage::Gathering, Instant::now()));
        }
        self.changes += 1;
        Ok(())
    }

    /// Whether all rounds are over.
    pub fn is_done(&self) -> bool {
        self.state.round > self.run.rounds
    }

    /// Once all rounds are over: the members who said what the last model is.
    pub fn last(&self) -> Option<Vec<MemberId>> {
        self.is_done().then(|| self.aggregator.receipts().keys().copied().collect())
    }

    /// The rounds of the run.
    pub fn rounds(&self) -> u32 {
        self.run.rounds
    }

    /// Counts changes.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Who is in the federation.
    pub fn roster(&self) -> &Roster {
        self.aggregator.roster()
    }

    /// The most bytes of a message of this kind now.
    pub fn most(&self, kind: Kind) -> u64 {
        super::wire::most(kind, self.aggregator.round().ok())
    }

    /// Does what is due; what there is to say of it.
    ///
    /// # Errors
    /// [`Error::Round`] naming who is missing, or whose models differ: the run ends. Those of the store.
    pub fn step(&mut self) -> Result<Option<String>> {
        if self.is_done() {
            return Ok(None);
        }
        let stage = self.aggregator.stage();
        if self.since.0 != stage {
            (self.since, self.changes) = ((stage, Instant::now()), self.changes + 1);
        }
        let late = self.since.1.elapsed() >= self.run.timeout;
        let (round, attempt) = self.aggregator.place();
        let done = match stage {
            Stage::Gathering => {
                let (there, all) = (self.aggregator.who_is_ready().count(), self.roster().members.len());
                if there < all && !late {
                    return Ok(None);
                }
                let State { base, tensors, .. } = self.state.clone();
                self.aggregator.plan(&Plan { base, tensors, ..self.run.plan.clone() })?;
                format!("round {round}, attempt {attempt}: planned with {there} of {all} members")
            }
            Stage::Uploading => {
                let (there, all) =
                    (self.aggregator.who_uploaded().count(), self.aggregator.round()?.planned.ready.len());
                if there < all && !late {
                    return Ok(None);
                }
                self.aggregator.close()?;
                format!("round {round}: closed with {there} of {all} updates")
            }
            Stage::Answering if late => {
                self.aggregator.result()?;
                return Ok(None);
            }
            Stage::Answering => return Ok(None),
            Stage::Answered => return self.answered(late),
        };
        self.changes += 1;
        Ok(Some(done))
    }

    /// What is due once enough answers are there.
    fn answered(&mut self, late: bool) -> Result<Option<String>> {
        let round = self.state.round;
        if self.result.is_none() {
            let (there, all) = (self.aggregator.who_answered().count(), self.aggregator.holders().len());
            if there < all && self.since.1.elapsed() < GRACE.min(self.run.timeout) {
                return Ok(None);
            }
            let result = self.aggregator.result()?;
            self.own(&result)?;
            (self.result, self.changes) = (Some(result), self.changes + 1);
            return Ok(Some(format!("round {round}: {there} of {all} holders have answered")));
        }
        let (receipts, all) = (self.aggregator.receipts(), self.aggregator.who_uploaded().count());
        let there = receipts.len();
        let Some(first) = receipts.values().next().filter(|_| there == all || late) else {
            let what = format!("round {round}: nobody has said what the new model is: expected {all} receipts");
            return if late { Err(Error::Round(what)) } else { Ok(None) };
        };
        let mut tensors = self.aggregator.round()?.planned.plan.tensors.clone();
        tensors.iter_mut().zip(&first.clips).for_each(|(tensor, clip)| tensor.clip = *clip);
        let model = first.model;
        self.state = State { round: round + 1, base: model, tensors };
        self.save()?;
        self.settle()?;
        Ok(Some(format!("round {round}: {there} of {all} members have the new model, {:.16}", shown(&model))))
    }

    /// Opens a Result where the aggregator is of the audience.
    fn own(&mut self, result: &[u8]) -> Result<()> {
        let plan = self.aggregator.round()?.planned.plan.clone();
        if plan.audience != Audience::Everyone {
            return Ok(());
        }
        let base = models::find(&mut *self.store, &plan.base)?;
        let base =
            base.ok_or_else(|| Error::input(format!("{}: found another model than the plan's", models::MODEL)))?;
        let mut model = Model::from_bytes(base, models::MODEL)?.planned(&plan.tensors)?;
        self.aggregator.open_result(result, &mut model)?;
        models::put_next(&mut *self.store, model.bytes())
    }

    /// What a member is to do now.
    ///
    /// # Errors
    /// Those of the aggregator.
    pub fn task(&mut self, who: MemberId) -> Result<Option<Task>> {
        if self.is_done() {
            return Ok(Some((Reply::Done, Vec::new())));
        }
        let place = self.aggregator.place();
        let is = |mut all: Box<dyn Iterator<Item = MemberId> + '_>| all.any(|id| id == who);
        let aggregator = &self.aggregator;
        let uploaded = is(Box::new(aggregator.who_uploaded()));
        let to_answer = aggregator.holders().contains(&who) && !is(Box::new(aggregator.who_answered()));
        let len = |bytes: &Vec<u8>| bytes.len() as u64;
        Ok(match aggregator.stage() {
            Stage::Gathering if is(Box::new(aggregator.who_is_ready())) => None,
            Stage::Gathering => Some((Reply::Ready { place, base: self.state.base }, Vec::new())),
            Stage::Uploading => {
                let planned = aggregator.round()?.planned.ready.iter().any(|(id, _)| *id == who);
                let plan = aggregator.plan_bytes().to_vec();
                (planned && !uploaded).then(|| (Reply::Upload { place, len: len(&plan) }, plan))
            }
            Stage::Answering | Stage::Answered if self.result.is_none() => {
                if !to_answer {
                    return Ok(None);
                }
                let close = self.aggregator.close_for(who)?;
                Some((Reply::Answer { len: len(&close) }, close))
            }
            _ => {
                let opened = self.aggregator.receipts().contains_key(&who);
                let result = self.result.as_ref().filter(|_| uploaded && !opened);
                result.map(|result| (Reply::Open { len: len(result) }, result.clone()))
            }
        })
    }

    /// Takes a message of a member: what it is told.
    ///
    /// # Errors
    /// What ends the run: different models, and those of the store.
    pub fn put(&mut self, who: MemberId, kind: Kind, bytes: &[u8]) -> Result<Reply> {
        let name = self.roster().name(who).to_owned();
        let here = self.aggregator.place();
        let taken = match message::open(self.roster(), bytes) {
            Err(e) => Err(e),
            Ok(message) if message.from != who => Err(Error::message(format!("{name}: a message of another member's"))),
            Ok(message) if (message.place.round, message.place.attempt) != here => {
                let (round, attempt) = here;
                Err(Error::Round(format!("{name}: too late, this is round {round}, attempt {attempt}")))
            }
            Ok(_) => match kind {
                Kind::Ready => self.aggregator.ready(bytes),
                Kind::Upload => self.aggregator.upload(bytes),
                Kind::Answer => self.aggregator.answer(bytes),
                Kind::Receipt => match self.aggregator.receipt(bytes) {
                    // Models differ: nothing is averaged any more.
                    Err(Error::Round(what)) if self.aggregator.round().is_ok() => return Err(Error::Round(what)),
                    taken => taken.map(|(id, _)| id),
                },
                _ => Err(Error::message(format!("{name}: a message that the aggregator sends"))),
            },
        };
        self.changes += 1;
        match taken {
            Ok(_) => Ok(Reply::Taken),
            Err(Error::Round(what)) => Ok(Reply::Late(what)),
            Err(Error::Message(what)) => Ok(Reply::Refused(what)),
            Err(e) => Err(e),
        }
    }

    /// The model of a digest, if it is here.
    ///
    /// # Errors
    /// Those of the store.
    pub fn base(&mut self, digest: &Digest) -> Result<Task> {
        Ok(match models::newest(&*self.store)?.filter(|bytes| hash(bytes) == *digest) {
            Some(model) => (Reply::Base { len: model.len() as u64 }, model),
            None => {
                let round = self.state.round;
                let what = format!(
                    "the aggregator can't read the model of round {round}, {:.16}: copy {} from another member's --state",
                    shown(digest),
                    models::MODEL
                );
                (Reply::Late(what), Vec::new())
            }
        })
    }

    /// How the round stands.
    pub fn status(&self) -> Status {
        let aggregator = &self.aggregator;
        let stage = (!self.is_done()).then(|| aggregator.stage());
        let members = [
            aggregator.who_is_ready().collect(),
            aggregator.who_uploaded().collect(),
            aggregator.who_answered().collect(),
            aggregator.receipts().keys().copied().collect(),
        ];
        Status { place: aggregator.place(), rounds: self.run.rounds, stage, members }
    }
}

impl std::fmt::Debug for Course {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Course(round {} of {})", self.state.round, self.run.rounds)
    }
}
