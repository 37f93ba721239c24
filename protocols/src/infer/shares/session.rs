//! What a party carries through a run.
//!
//! | # | from -> to | content | bytes | phase |
//! |---|---|---|---|---|
//! | 1, 2 | both ways | [hellos](crate::infer::hello) | 12 each | setup |
//! | 3 | server -> client | architecture, without weights | its encoding | setup |
//! | 4 | client -> server | public key for convolutions | 16 + packed | setup |
//! | 5 | both | base OTs, and from them both directions, silent or not, and the garbler's unless transfers compare | see [`crate::ot`] | setup |
//! | last | both | farewell, see [`Channel::finish`] | 16, not counted | online |

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blindvox_engine::Prng;
use blindvox_engine::stack::leaving_nothing;
use blindvox_models::{Program, Step};
use blindvox_net::channel::{Channel, Party, Traffic};

use super::public;
use super::ways::{LinearKey, Protocols};
use crate::error::{Error, Result};
use crate::infer::demand;
use crate::infer::hello::greet;
use crate::infer::options::Options;
use crate::infer::presets::Source;
use crate::linear::{LinearSpec, Plan, Search};
use crate::nonlinear::Nonlinear;
use crate::peer::{Link, Peer};

/// What a party brings.
pub enum Role {
    /// Nothing yet: its volume comes online.
    Client,
    /// The model.
    Server(Arc<Program>),
}

impl Role {
    /// Who this is.
    pub fn party(&self) -> Party {
        match self {
            Self::Client => Party::Client,
            Self::Server(_) => Party::Server,
        }
    }
}

/// A party after setup.
pub struct Session {
    pub(super) peer: Peer,
    pub(super) options: Options,
    pub(super) protocols: Protocols,
    /// The client's has no weights.
    pub(super) program: Arc<Program>,
    /// One for each linear step, in order.
    pub(super) plans: Vec<Plan>,
    pub(super) setup_time: Duration,
    /// What had gone over the channel before this run.
    pub(super) before: Traffic,
}

/// Says who it is and no secret.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?}, {} steps)", self.peer.party, self.program.steps.len())
    }
}

impl Session {
    /// Agrees on the architecture and makes keys.
    ///
    /// # Errors
    /// [`Error::Input`] for a generator made from a fixed seed on a connection to another process; what the peer, the
    /// architecture or the device make impossible.
    pub fn setup(role: Role, channel: Channel, prng: Prng, options: Options) -> Result<Self> {
        leaving_nothing(|| Self::agree(role, channel, prng, options))
    }

    /// The same where the parties have agreed already on what [hellos](crate::infer::hello) say.
    ///
    /// # Errors
    /// Those of [`Self::setup`].
    pub fn begin(role: Role, channel: Channel, prng: Prng, options: Options) -> Result<Self> {
        leaving_nothing(|| Self::agreed(role, channel, prng, options))
    }

    /// The next run over the same connection, with the same keys and transfers; the server names its program.
    ///
    /// # Errors
    /// Those of [`Self::setup`].
    pub fn again(mut self, program: Option<Arc<Program>>) -> Result<Self> {
        let start = Instant::now();
        self.before = self.peer.channel.stats().total;
        self.peer.channel.set_phase("setup");
        let role = program.map_or(Role::Client, Role::Server);
        if role.party() != self.peer.party {
            return Err(Error::Input(format!("this session is the {:?}'s", self.peer.party)));
        }
        self.program = architecture(role, &mut self.peer.channel)?;
        self.plans = plans(&self.program)?;
        self.setup_time = start.elapsed();
        Ok(self)
    }

    /// The connection, between runs.
    pub fn channel(&mut self) -> &mut Channel {
        &mut self.peer.channel
    }

    /// What was chosen when the session began.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Where in their streams both directions of transfers are, as sender and as receiver; no number comes twice.
    #[cfg(test)]
    pub(in crate::infer) fn places(&self) -> [[u8; 32]; 2] {
        [self.peer.ot.send.place(), self.peer.ot.recv.place()]
    }

    fn agree(role: Role, mut channel: Channel, prng: Prng, options: Options) -> Result<Self> {
        channel.set_phase("setup");
        refuse_fixed(&channel, &prng, &options)?;
        greet(role.party(), &options, &mut channel)?;
        Self::agreed(role, channel, prng, options)
    }

    fn agreed(role: Role, mut channel: Channel, mut prng: Prng, options: Options) -> Result<Self> {
        let start = Instant::now();
        let party = role.party();
        refuse_fixed(&channel, &prng, &options)?;
        if !prng.is_fixed() {
            channel.bind_connection();
        }
        channel.set_phase("setup");
        let program = architecture(role, &mut channel)?;
        let plans = plans(&program)?;
        let linear = LinearKey::exchange(party, &mut channel, &options.device, &mut prng)?;
        let mut peer = Peer::setup(party, channel, prng)?;
        if options.ways.ot == Source::Silent {
            let Link { party, channel, ot, prng } = &mut peer.link;
            ot.go_silent(*party, channel, prng, demand::sets(&program, &options.ways))?;
        }
        if options.ways.garbles() {
            peer = peer.garbling(options.garbling())?;
        }
        let protocols = Protocols { linear, nonlinear: Nonlinear::new(options.ways.compare) };
        Ok(Self { peer, options, protocols, program, plans, setup_time: start.elapsed(), before: Traffic::default() })
    }

    /// The program, without weights on the client's side.
    pub fn program(&self) -> &Program {
        &self.program
    }
}

/// Nothing that is made of a fixed seed is secret. Tests of two processes, which compare them with one, are built so.
fn refuse_fixed(channel: &Channel, prng: &Prng, options: &Options) -> Result<()> {
    if channel.leaves_process() && prng.is_fixed() && !options.randomness.may_leave() {
        let what = "a generator made from a fixed seed is for tests within one process: nothing made of it is secret";
        return Err(Error::Input(what.to_owned()));
    }
    Ok(())
}

/// The architecture, which the server sends: the server's own program, the client's without weights.
fn architecture(role: Role, channel: &mut Channel) -> Result<Arc<Program>> {
    match role {
        Role::Server(program) => {
            public::check(&program)?;
            let bytes = public::encode(&program)?;
            channel.bind(&bytes);
            channel.send(bytes)?;
            Ok(program)
        }
        Role::Client => {
            let bytes = channel.recv()?;
            channel.bind(&bytes);
            Ok(Arc::new(public::decode(&bytes)?))
        }
    }
}

/// Plans every linear step from public quantities; an error names the layer that does not fit, or with which the search
/// got too long.
pub fn plans(program: &Program) -> Result<Vec<Plan>> {
    let linear = program.steps.iter().filter_map(|step| match step {
        Step::Linear(linear) => Some(linear),
        _ => None,
    });
    public::runs_without_dealer(program)?;
    let mut search = Search::default();
    linear.map(|linear| Plan::searched(&LinearSpec::of(program, linear), &mut search)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::search::MAX_CANDIDATES;
    use blindvox_engine::Device;
    use blindvox_models::{Linear, LinearKind, TensorInfo, testing};
    use blindvox_net::channel::local_pair;

    /// Somebody who changes what a party reads before the OTs, without its notice, ends up with parties that share no
    /// key.
    #[test]
    fn what_was_agreed_on_is_part_of_every_key() {
        let labels = |seen: [&[u8]; 2]| {
            let (client, server) = local_pair();
            let [receiver, sender] = std::thread::scope(|scope| {
                let there = scope.spawn(move || keys(Party::Server, server, seen[1]));
                [keys(Party::Client, client, seen[0]), there.join().unwrap()]
            });
            receiver == sender
        };
        fn keys(party: Party, mut channel: Channel, seen: &[u8]) -> Vec<u128> {
            channel.bind(seen);
            let Link { mut channel, mut ot, .. } = Link::setup(party, channel, Prng::from_os().unwrap()).unwrap();
            match party {
                Party::Client => ot.recv.rot(&mut channel, &[0; 10]).unwrap(),
                Party::Server => ot.send.rot(&mut channel, 10).unwrap().iter().map(|pair| pair[0]).collect(),
            }
        }
        assert!(labels([b"this network", b"this network"]));
        assert!(!labels([b"this network", b"that network"]));
    }

    /// Runs over one session take new transfers and new circuits each.
    #[test]
    fn no_counter_repeats_over_runs_of_a_session() {
        let (program, input) = testing::tiny().program();
        let program = Arc::new(program);
        let (client, server) = blindvox_net::transport::local::pair();
        let options = || Options::new(Device::cpu());
        let runs = |role: &dyn Fn() -> Role, channel| {
            let prng = Prng::from_os().unwrap();
            let mut session = Session::begin(role(), channel, prng, options()).unwrap();
            let mut places = vec![session.places()];
            for run in 0..3 {
                if run > 0 {
                    let program = match role() {
                        Role::Client => None,
                        Role::Server(program) => Some(program),
                    };
                    session = session.again(program).unwrap();
                }
                let ready = session.preprocess().unwrap();
                session = match role() {
                    Role::Client => ready.run_client_on(&input, &mut ()).unwrap().1,
                    Role::Server(_) => ready.run_server_on(&mut ()).unwrap().1,
                };
                places.push(session.places());
            }
            places
        };
        let [ours, theirs] = std::thread::scope(|scope| {
            let there = scope.spawn(|| runs(&|| Role::Server(program.clone()), Channel::new(server)));
            [runs(&|| Role::Client, Channel::new(client)), there.join().unwrap()]
        });
        // One party's place as the sender is the other's as the receiver, after each run.
        let turned: Vec<_> = theirs.iter().map(|[send, recv]| [*recv, *send]).collect();
        assert_eq!(ours, turned);
        let all: std::collections::HashSet<_> = ours.iter().flatten().collect();
        assert_eq!(all.len(), 8);
    }

    /// The widest layers that fit 4096 of them: a small message that asks for hours of planning.
    fn costly(layers: usize) -> Program {
        let tensor = TensorInfo {
            name: String::new(),
            channels: 256,
            dims: [8, 16, 16],
            scale_bits: 0,
            max_abs: 1,
            spare_bits: 1,
            bits: 16,
        };
        let conv = |at: usize| {
            Step::Linear(Linear {
                name: String::new(),
                kind: LinearKind::conv([1, 1, 3]),
                inputs: vec![at],
                in_channels: 256,
                out_channels: 256,
                weights: vec![],
                weight_bits: 2,
                bias: vec![],
                bias_map: None,
                shift: 1,
                output: at + 1,
            })
        };
        let mut steps: Vec<Step> = (0..layers).map(conv).collect();
        steps.push(Step::Argmax { name: String::new(), input: layers, bits: 16 });
        Program { tensors: vec![tensor; layers + 1], steps, input: 0, logits: layers, classes: 256 }
    }

    #[test]
    fn planning_is_bounded_by_a_count() {
        let bytes = public::encode(&costly(4000)).unwrap();
        assert!(bytes.len() < 1 << 20, "{} bytes", bytes.len());
        let program = public::decode(&bytes).unwrap();
        let text = plans(&program).unwrap_err().to_string();
        assert!(text.contains(&format!("more than {MAX_CANDIDATES} layouts")), "{text}");
        // The count is of all layers together: one of these is a small part of it.
        let mut search = Search::default();
        let Step::Linear(one) = &program.steps[0] else { panic!("a convolution first") };
        let spec = LinearSpec::of(&program, one);
        Plan::searched(&spec, &mut search).unwrap();
        let each = search.examined();
        assert!((1..MAX_CANDIDATES / 100).contains(&each), "{each}");
        while Plan::searched(&spec, &mut search).is_ok() {}
        assert_eq!(search.examined(), MAX_CANDIDATES);
    }
}
