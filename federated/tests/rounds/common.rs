//! A federation of parties that may be killed and started again from what they wrote down.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use blindvox_engine::{Device, Prng};
use blindvox_federated::aggregator::Aggregator;
use blindvox_federated::local::plan;
use blindvox_federated::member::Member;
use blindvox_federated::plan::{Averaged, Plan, SchemeKind};
use blindvox_federated::roster::{MemberId, Person, Roster};
use blindvox_federated::round::Means;
use blindvox_federated::scheme::paillier::keys::{KeyShare, PublicKey};
use blindvox_federated::signing::Signer;
use blindvox_federated::store::{Memory, Store};
use blindvox_federated::{Error, Result};

pub(crate) const BASE: [u8; 32] = [42; 32];

/// When a party dies: at which write of all, and whether that write is done.
#[derive(Default)]
pub(crate) struct Death {
    writes: AtomicUsize,
    at: AtomicUsize,
    after: AtomicUsize,
}

impl Death {
    pub(crate) fn at(write: usize, after: bool) -> Arc<Self> {
        let death = Self::default();
        death.at.store(write + 1, Ordering::SeqCst);
        death.after.store(after.into(), Ordering::SeqCst);
        Arc::new(death)
    }

    /// Writes so far.
    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }
}

/// Memory whose writer dies once.
struct Mortal(Memory, Arc<Death>);

impl Store for Mortal {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.0.get(name)
    }

    fn put(&mut self, name: &str, value: &[u8]) -> Result<()> {
        let now = self.1.writes.fetch_add(1, Ordering::SeqCst) + 1 == self.1.at.load(Ordering::SeqCst);
        if !now || self.1.after.load(Ordering::SeqCst) == 1 {
            self.0.put(name, value)?;
        }
        if now { Err(Error::Input("killed".to_owned())) } else { Ok(()) }
    }

    fn remove(&mut self, name: &str) -> Result<()> {
        self.0.remove(name)
    }
}

pub(crate) struct Parties {
    pub(crate) roster: Arc<Roster>,
    seeds: Vec<[u8; 32]>,
    stores: Vec<Memory>,
    pub(crate) death: Arc<Death>,
    means: Vec<Means>,
    pub(crate) aggregator: Aggregator,
    pub(crate) members: Vec<Member>,
    restarts: Rc<Cell<u8>>,
}

/// Randomness that differs after every restart.
fn prng(restarts: &Cell<u8>, party: usize) -> Prng {
    restarts.set(restarts.get().wrapping_add(1));
    let mut seed = [restarts.get(); 32];
    seed[0] = party as u8;
    Prng::from_seed_for_tests(seed)
}

impl Parties {
    pub(crate) fn new(members: usize, holders: usize, threshold: usize, death: Arc<Death>) -> Self {
        let means = vec![Means::new(&Device::cpu()); members + 1];
        Self::with(means, holders, threshold, death)
    }

    /// Under a key of the dealer's.
    pub(crate) fn dealt((key, shares): (PublicKey, Vec<KeyShare>), members: usize) -> Self {
        let (holders, threshold) = (key.holders(), key.threshold());
        let everyone = Means { dealt: Some(Arc::new(key)), ..Means::new(&Device::cpu()) };
        let mut means = vec![everyone; members + 1];
        let shares = shares.into_iter().map(|share| Some(Arc::new(share)));
        means[1..].iter_mut().zip(shares).for_each(|(means, share)| means.share = share);
        Self::with(means, holders, threshold, Arc::default())
    }

    fn with(means: Vec<Means>, holders: usize, threshold: usize, death: Arc<Death>) -> Self {
        let members = means.len() - 1;
        let seeds: Vec<[u8; 32]> = (0..=members).map(|i| [i as u8 + 1; 32]).collect();
        let person = |i: usize, name: String, holder| {
            let key = Signer::from_seed(&seeds[i]).public();
            Person { name, key, holder }
        };
        let people = (1..=members).map(|i| person(i, format!("h{}", i - 1), i <= holders)).collect();
        let roster = Roster::new(person(0, "sum".to_owned(), false), people, Some(threshold), 3).unwrap();
        let roster = Arc::new(roster);
        let stores: Vec<Memory> = seeds.iter().map(|_| Memory::default()).collect();
        let restarts = Rc::new(Cell::new(0));
        let store = |i: usize| Box::new(Mortal(stores[i].clone(), death.clone()));
        let aggregator =
            Aggregator::open(&roster, Signer::from_seed(&seeds[0]), store(0), &means[0], prng(&restarts, 0)).unwrap();
        let member = |i: usize| {
            Member::open(&roster, Signer::from_seed(&seeds[i]), store(i), &means[i], prng(&restarts, i)).unwrap()
        };
        let all = (1..=members).map(member).collect();
        Self { roster, seeds, stores, death, means, aggregator, members: all, restarts }
    }

    /// A file of the aggregator's.
    pub(crate) fn kept(&self, name: &str) -> Vec<u8> {
        self.stores[0].get(name).unwrap().unwrap()
    }

    fn store(&self, i: usize) -> Box<dyn Store> {
        Box::new(Mortal(self.stores[i].clone(), self.death.clone()))
    }

    pub(crate) fn restart_aggregator(&mut self) {
        let (signer, prng) = (Signer::from_seed(&self.seeds[0]), prng(&self.restarts, 0));
        self.aggregator = Aggregator::open(&self.roster, signer, self.store(0), &self.means[0], prng).unwrap();
    }

    pub(crate) fn restart_member(&mut self, id: usize) {
        let (signer, prng) = (Signer::from_seed(&self.seeds[id + 1]), prng(&self.restarts, id + 1));
        self.members[id] = Member::open(&self.roster, signer, self.store(id + 1), &self.means[id + 1], prng).unwrap();
    }

    /// What the aggregator does, again after its death.
    pub(crate) fn aggregated<T>(&mut self, mut act: impl FnMut(&mut Aggregator) -> Result<T>) -> Result<T> {
        match act(&mut self.aggregator) {
            Err(Error::Input(what)) if what == "killed" => {
                self.restart_aggregator();
                act(&mut self.aggregator)
            }
            done => done,
        }
    }

    /// What a member does, again after its death.
    pub(crate) fn by<T>(&mut self, id: usize, mut act: impl FnMut(&mut Member) -> Result<T>) -> Result<T> {
        match act(&mut self.members[id]) {
            Err(Error::Input(what)) if what == "killed" => {
                self.restart_member(id);
                act(&mut self.members[id])
            }
            done => done,
        }
    }
}

/// What a round is made of.
pub(crate) struct Script {
    pub(crate) plan: Plan,
    /// Tensors of each member's update.
    pub(crate) updates: Vec<Vec<Vec<f64>>>,
    pub(crate) examples: Vec<u64>,
    /// Who doesn't upload, and who doesn't answer.
    pub(crate) late: Vec<usize>,
    pub(crate) silent: Vec<MemberId>,
}

impl Script {
    /// Random tensors, counts and clips.
    pub(crate) fn random(scheme: SchemeKind, bits: u32, members: usize, elements: &[usize], prng: &mut Prng) -> Self {
        let mut below = |n: u64| prng.next_u64() % n;
        let most = 1 + below(1 << (bits - 1).min(20));
        let tensors: Vec<Averaged> = elements
            .iter()
            .enumerate()
            .map(|(i, &elements)| Averaged {
                name: format!("t{i}"),
                elements: elements as u64,
                clip: f64::exp2(below(12) as f64 - 9.0),
            })
            .collect();
        let updates = (0..members).map(|_| {
            let value = |clip: f64, r: u64| match r % 50 {
                0 => clip,
                1 => -clip,
                2 => 3.0 * clip,
                _ => clip * ((r >> 8) as f64 / (1u64 << 55) as f64 - 1.0),
            };
            tensors.iter().map(|t| (0..t.elements).map(|_| value(t.clip, below(u64::MAX))).collect()).collect()
        });
        let updates = updates.collect();
        let examples = (0..members).map(|_| 1 + below(most)).collect();
        let plan = plan(scheme, bits, BASE, tensors, most);
        Self { plan, updates, examples, late: Vec::new(), silent: Vec::new() }
    }

    /// Runs the round and gives what each client that was in the sum opened.
    pub(crate) fn run(&self, parties: &mut Parties) -> Result<Vec<Vec<Vec<f64>>>> {
        let (round, attempt) = parties.aggregated(|a| if a.place() == (1, 1) { Ok((1, 1)) } else { a.begin(false) })?;
        for id in 0..parties.members.len() {
            let ready = parties.by(id, |m| m.ready(round, attempt))?;
            parties.aggregated(|a| a.ready(&ready))?;
        }
        let plan = parties.aggregated(|a| a.plan(&self.plan))?;
        for (id, (update, examples)) in self.updates.iter().zip(&self.examples).enumerate() {
            parties.by(id, |m| m.plan(&plan))?;
            if self.late.contains(&id) {
                continue;
            }
            let sent = parties.by(id, |m| m.upload(&plan, &BASE, update, *examples))?;
            assert_eq!(parties.by(id, |m| m.upload(&plan, &BASE, update, *examples))?.message, sent.message);
            parties.aggregated(|a| a.upload(&sent.message))?;
        }
        parties.aggregated(Aggregator::close)?;
        for holder in parties.aggregator.holders() {
            if self.silent.contains(&holder) {
                continue;
            }
            let close = parties.aggregated(|a| a.close_for(holder))?;
            let answer = parties.by(usize::from(holder), |m| m.answer(&close))?;
            assert_eq!(parties.by(usize::from(holder), |m| m.answer(&close))?, answer);
            parties.aggregated(|a| a.answer(&answer))?;
        }
        let result = parties.aggregated(Aggregator::result)?;
        let mut models = Vec::new();
        for id in (0..self.updates.len()).filter(|id| !self.late.contains(id)) {
            let mut averages: Vec<Vec<f64>> = self.updates[id].iter().map(|t| vec![f64::NAN; t.len()]).collect();
            let opened = parties.by(id, |m| m.open_result(&result, &mut averages))?;
            let digest = blake3::hash(&postcard::to_allocvec(&averages).unwrap()).into();
            let receipt = parties.by(id, |m| m.receipt(digest, &opened))?;
            parties.aggregated(|a| a.receipt(&receipt))?;
            models.push(averages);
        }
        Ok(models)
    }
}
