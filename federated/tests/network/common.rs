//! Parties of a federation, each in a thread of its own, that start again when they are killed.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use blindvox_engine::{Device, Prng};
use blindvox_federated::aggregator::Aggregator;
use blindvox_federated::codec::Target;
use blindvox_federated::local;
use blindvox_federated::member::Member;
use blindvox_federated::message::hash;
use blindvox_federated::model::Model;
use blindvox_federated::net::caller::{Caller, End, Trained, Trainer, Training};
use blindvox_federated::net::course::{Course, Run};
use blindvox_federated::net::server::{self, Host};
use blindvox_federated::net::way::Way;
use blindvox_federated::plan::{Plan, SchemeKind};
use blindvox_federated::roster::{Person, Roster};
use blindvox_federated::round::Means;
use blindvox_federated::scheme::paillier::dealer::insecure_for_tests;
use blindvox_federated::signing::{PublicKey, Signer};
use blindvox_federated::store::{Memory, Store};
use blindvox_federated::{Error, Result};
use blindvox_net::identity::{Identity, keygen};
use blindvox_net::transport::tls;

/// One federation at a time: threads are counted.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When a party dies: at which write of all, and whether that write is done.
#[derive(Default)]
pub(crate) struct Death {
    writes: AtomicUsize,
    at: Option<(usize, bool)>,
}

impl Death {
    pub(crate) fn at(write: usize, after: bool) -> Self {
        Self { writes: AtomicUsize::new(0), at: Some((write, after)) }
    }

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
        let write = self.1.writes.fetch_add(1, Ordering::SeqCst);
        let dies = self.1.at.filter(|(at, _)| *at == write);
        if dies.is_none_or(|(_, after)| after) {
            self.0.put(name, value)?;
        }
        if dies.is_some() { Err(Error::Input("killed".to_owned())) } else { Ok(()) }
    }

    fn remove(&mut self, name: &str) -> Result<()> {
        self.0.remove(name)
    }
}

/// Identities of an aggregator and some members, and what all of them know.
pub(crate) struct Cast {
    pub(crate) roster: Arc<Roster>,
    /// The aggregator's first.
    pub(crate) identities: Vec<Identity>,
    means: Vec<Means>,
    scheme: SchemeKind,
}

pub(crate) fn identity(name: &str) -> Identity {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, keygen(name, 30).unwrap().private.as_bytes()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    Identity::load(&path).unwrap()
}

pub(crate) fn signer(identity: &Identity) -> Signer {
    Signer::from_seed(&identity.ed25519_seed().unwrap())
}

impl Cast {
    /// So many members who all hold, any two of three of them open; `paillier` under a key of 512 bits.
    pub(crate) fn new(members: usize, paillier: bool) -> Self {
        let identities: Vec<Identity> =
            (0..=members).map(|i| identity(&if i == 0 { "sum".to_owned() } else { format!("h{}", i - 1) })).collect();
        let person = |identity: &Identity| Person {
            name: identity.certificate.names().swap_remove(0),
            key: PublicKey(identity.certificate.ed25519().unwrap()),
            holder: false,
        };
        let people = identities[1..].iter().map(person).collect();
        let roster = Arc::new(Roster::new(person(&identities[0]), people, None, 3).unwrap());
        let mut means = vec![Means::new(&Device::cpu()); members + 1];
        let mut scheme = SchemeKind::Rlwe;
        if paillier {
            let mut prng = Prng::from_seed_for_tests([2; 32]);
            let (key, shares) = insecure_for_tests(2, roster.threshold, members, &mut prng).unwrap();
            scheme = SchemeKind::Paillier(hash(&key.to_bytes()));
            let key = Arc::new(key);
            means.iter_mut().for_each(|means| means.dealt = Some(key.clone()));
            means[1..].iter_mut().zip(shares).for_each(|(means, share)| means.share = Some(Arc::new(share)));
        }
        Self { roster, identities, means, scheme }
    }

    pub(crate) fn plain(self) -> Self {
        Self { scheme: SchemeKind::Plain, ..self }
    }
}

/// A model of two tensors.
pub(crate) fn model() -> Model {
    let header = r#"{"w":{"dtype":"F32","shape":[700],"data_offsets":[0,2800]},"b":{"dtype":"F32","shape":[3],"data_offsets":[2800,2812]}}"#;
    let numbers: Vec<u8> = (0..703).flat_map(|i| (i as f32 / 703.0).to_le_bytes()).collect();
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &numbers].concat();
    Model::from_bytes(file, "the first model").unwrap()
}

/// Moves every weight by what the member, the round and the weight's place say.
pub(crate) struct Moves(pub(crate) u32);

impl Trainer for Moves {
    fn train(&mut self, training: &Training<'_>) -> Result<Option<Trained>> {
        let mut model = training.base.clone();
        for (tensor, len) in [(0, 3), (1, 700)] {
            let step = |i: usize| f64::from(self.0 * 7 + training.round * 3) * (i % 11) as f64 / 512.0 - 0.05;
            let moves: Vec<f64> = (0..len).map(step).collect();
            Target::write(&mut model, tensor, 0, &moves);
        }
        Ok(Some(Trained { model, examples: u64::from(self.0 + 1) * 10 }))
    }
}

/// A federation that runs.
pub(crate) struct Stage {
    pub(crate) cast: Cast,
    pub(crate) rounds: u32,
    pub(crate) timeout: Duration,
    /// Members that call.
    pub(crate) present: Vec<usize>,
    pub(crate) death: Arc<Death>,
    pub(crate) stores: Vec<Memory>,
}

impl Stage {
    pub(crate) fn new(cast: Cast, rounds: u32) -> Self {
        let members = cast.roster.members.len();
        let stores = (0..=members).map(|_| Memory::default()).collect();
        let timeout = Duration::from_secs(60);
        Self { cast, rounds, timeout, present: (0..members).collect(), death: Arc::default(), stores }
    }

    pub(crate) fn plan(&self) -> Plan {
        let first = model();
        local::plan(self.cast.scheme, 16, first.digest(), first.layout(0.5), 100)
    }

    fn store(&self, i: usize) -> Box<dyn Store> {
        Box::new(Mortal(self.stores[i].clone(), self.death.clone()))
    }

    /// A log of a party, the aggregator's first.
    pub(crate) fn log(&self, i: usize) -> String {
        String::from_utf8(self.stores[i].get("audit.jsonl").unwrap().unwrap()).unwrap()
    }

    fn serve(&self, listener: &TcpListener) -> Result<()> {
        let Cast { roster, identities, means, .. } = &self.cast;
        let prng = Prng::from_os()?;
        let aggregator = Aggregator::open(roster, signer(&identities[0]), self.store(0), &means[0], prng)?;
        let run = Run { rounds: self.rounds, plan: self.plan(), timeout: self.timeout, again: false };
        let course = Course::open(aggregator, self.store(0), run, &model())?;
        let (tls, listener) = (tls::Server::new(&identities[0], None)?, listener.try_clone().unwrap());
        server::serve(Host { course, tls, listener, told: &|what| println!("{what}") })
    }

    fn join(&self, i: usize, address: SocketAddr) -> Result<Model> {
        let Cast { roster, identities, means, .. } = &self.cast;
        let (identity, store) = (&identities[i + 1], self.store(i + 1));
        let member = Member::open(roster, signer(identity), store, &means[i + 1], Prng::from_os()?)?;
        let way = Way::new(roster, identity, &address.to_string(), Duration::from_secs(20))?;
        match Caller::new(member, self.store(i + 1), way, &|_| ()).run(&mut Moves(i as u32))? {
            End::Done(model) => Ok(model),
            End::Stopped => panic!("nothing stops it"),
        }
    }

    /// Runs all of it; the members' last models, by those who are present, and how the aggregator ended. Members call by
    /// way of `through` where there is something between.
    pub(crate) fn run(&self, through: impl Fn(SocketAddr) -> SocketAddr) -> (Vec<Result<Model>>, Result<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mortal = |act: &dyn Fn() -> Result<Option<Model>>| loop {
            match act() {
                Err(Error::Input(what)) if what == "killed" => {}
                // Of an aggregator that can't write any more.
                Err(Error::Net(blindvox_net::Error::Refused(why))) if why.text.ends_with("killed") => {}
                ended => break ended,
            }
        };
        thread::scope(|scope| {
            let server = scope.spawn(|| mortal(&|| self.serve(&listener).map(|()| None)));
            let address = through(listener.local_addr().unwrap());
            let join = |&i: &usize| scope.spawn(move || mortal(&|| self.join(i, address).map(Some)));
            let members: Vec<_> = self.present.iter().map(join).collect();
            let models = members.into_iter().map(|m| m.join().unwrap().map(|model| model.expect("a model")));
            let models = models.collect();
            (models, server.join().unwrap().map(drop))
        })
    }

    /// The same where all goes well: the one model that all have.
    pub(crate) fn agreed(&self) -> Model {
        let (models, ended) = self.run(|address| address);
        ended.unwrap();
        let models: Vec<Model> = models.into_iter().map(Result::unwrap).collect();
        assert!(models.iter().all(|m| m.bytes() == models[0].bytes()));
        models[0].clone()
    }
}
