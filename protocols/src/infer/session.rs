//! What a party carries through a run.
//!
//! | # | from -> to | content | bytes | phase |
//! |---|---|---|---|---|
//! | 1 | client -> server | hello: magic 8, version 3, gate hash 1, choices 1 | 12 | setup |
//! | 2 | server -> client | hello | 12 | setup |
//! | 3 | server -> client | architecture, without weights | its encoding | setup |
//! | 4 | client -> server | public key for convolutions | 16 + packed | setup |
//! | 5 | both | base OTs, and from them both directions and the garbler's | see [`crate::ot`] | setup |
//! | last | both | farewell, see [`Channel::finish`] | 16, not counted | online |

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blindvox_engine::bfv::{Params, PublicKey, SecretKey};
use blindvox_engine::garble::GateHash;
use blindvox_engine::stack::leaving_nothing;
use blindvox_engine::{Device, Prng};
use blindvox_models::{Program, Step};
use blindvox_net::channel::{Channel, Party};

use super::architecture;
use super::preprocess::{PairSupply, Ready};
use crate::error::{Error, Result};
use crate::gc;
use crate::linear::{LinearSpec, Plan, Search};
use crate::nonlinear::relu::ReluKind;
use crate::ot::OtPair;

/// The first bytes of a connection.
const MAGIC: [u8; 8] = *b"blindvox";
/// Changed whenever messages change.
const VERSION: u16 = 3;

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

/// What a party chooses for itself, or both agree on.
#[derive(Clone)]
pub struct Options {
    /// Where the kernels run.
    pub device: Device,
    /// How ReLU and max pooling are computed; both parties must choose alike.
    pub comparison: ReluKind,
    /// When square pairs are made; both parties must choose alike.
    pub pairs: PairSupply,
    /// The hash of garbled gates; parties that choose differently notice it when they meet.
    pub gate_hash: GateHash,
    /// Where gates are computed; each party's own choice.
    pub gate_place: gc::GatePlace,
    /// Keep the shares of every tensor for [`super::trace`]. Only for tests: they are secret.
    pub trace: bool,
    /// Keep the shares around this many voxels of each step for [`super::sample`]; 0 keeps none. Only for tests and benches.
    pub samples: usize,
}

impl Options {
    /// Everything as it should be, on `device`.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            comparison: ReluKind::SignSelect,
            pairs: PairSupply::default(),
            gate_hash: GateHash::default(),
            gate_place: gc::GatePlace::default(),
            trace: false,
            samples: 0,
        }
    }

    /// The hash of gates and where they are computed.
    pub fn garbling(&self) -> gc::Garbling {
        gc::Garbling::new(self.gate_hash, self.gate_place, &self.device)
    }
}

/// The HE key for convolutions, as each party has it.
pub(super) enum ConvKey {
    /// The client decrypts.
    Secret(SecretKey),
    /// The server re-randomises.
    Public(PublicKey),
}

/// A party after setup.
pub struct Session {
    pub(super) party: Party,
    pub(super) channel: Channel,
    pub(super) prng: Prng,
    pub(super) options: Options,
    pub(super) ot: OtPair,
    pub(super) gc: gc::Half,
    pub(super) conv: ConvKey,
    /// The client's has no weights.
    pub(super) program: Arc<Program>,
    /// One for each linear step, in order.
    pub(super) plans: Vec<Plan>,
    pub(super) setup_time: Duration,
}

/// Says who it is and no secret.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?}, {} steps)", self.party, self.program.steps.len())
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

    fn agree(role: Role, mut channel: Channel, mut prng: Prng, options: Options) -> Result<Self> {
        let start = Instant::now();
        let party = role.party();
        if channel.leaves_process() && prng.is_fixed() {
            let what =
                "a generator made from a fixed seed is for tests within one process: nothing made of it is secret";
            return Err(Error::Input(what.to_owned()));
        }
        channel.set_phase("setup");
        greet(party, &options, &mut channel)?;
        let program = match role {
            Role::Server(program) => {
                architecture::check(&program)?;
                let bytes = architecture::encode(&program)?;
                channel.bind(&bytes);
                channel.send(bytes)?;
                program
            }
            Role::Client => {
                let bytes = channel.recv()?;
                channel.bind(&bytes);
                Arc::new(architecture::decode(&bytes)?)
            }
        };
        let plans = plans(&program)?;
        let params = Params::hom_conv();
        let conv = match party {
            Party::Client => {
                let key = SecretKey::generate(&params, &options.device, &mut prng)?;
                channel.send(key.public_key(&mut prng)?.to_bytes())?;
                ConvKey::Secret(key)
            }
            Party::Server => {
                let bytes = channel.recv_exact(PublicKey::wire_len(&params))?;
                ConvKey::Public(PublicKey::from_bytes(&params, &options.device, &bytes)?)
            }
        };
        let mut ot = OtPair::setup(party, &mut channel, &mut prng)?;
        let gc = gc::Half::setup_from(&mut ot, party, &mut channel, &mut prng, options.garbling())?;
        Ok(Self { party, channel, prng, options, ot, gc, conv, program, plans, setup_time: start.elapsed() })
    }

    /// The program, without weights on the client's side.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Makes what one run needs and no input is needed for: the source of its square pairs, or the pairs.
    pub fn preprocess(self) -> Result<Ready> {
        leaving_nothing(|| Ready::new(self))
    }
}

/// Plans every linear step from public quantities; an error names the layer that does not fit, or with which the search got too long.
pub fn plans(program: &Program) -> Result<Vec<Plan>> {
    let linear = program.steps.iter().filter_map(|step| match step {
        Step::Linear(linear) => Some(linear),
        _ => None,
    });
    let mut search = Search::default();
    linear.map(|linear| Plan::searched(&LinearSpec::of(program, linear), &mut search)).collect()
}

/// The choices that both parties must make alike, in the hello's last byte: bit 0 how comparisons are made, bit 1 when pairs are.
fn choices(options: &Options) -> u8 {
    let full = options.comparison == ReluKind::FullCircuit;
    u8::from(full) | u8::from(options.pairs == PairSupply::Ahead) << 1
}

/// Exchanges hellos, and holds the peer's to this party's.
fn greet(party: Party, options: &Options, channel: &mut Channel) -> Result<()> {
    let [v0, v1] = VERSION.to_le_bytes();
    let hash = options.gate_hash;
    let hello = [&MAGIC[..], &[v0, v1, hash.code(), choices(options)]].concat();
    let theirs = match party {
        Party::Client => {
            channel.send(hello.clone())?;
            channel.recv_exact(hello.len())?
        }
        Party::Server => {
            let theirs = channel.recv_exact(hello.len())?;
            channel.send(hello.clone())?;
            theirs
        }
    };
    // The client's first, on both sides.
    let (first, second) = if party == Party::Client { (&hello, &theirs) } else { (&theirs, &hello) };
    channel.bind(first);
    channel.bind(second);
    if theirs[..10] != hello[..10] || theirs[11] > 3 {
        return Err(Error::protocol(format!("the peer does not speak blindvox version {VERSION}")));
    }
    if theirs[10] != hello[10] {
        let theirs = match GateHash::from_code(theirs[10]) {
            Some(hash) => hash.to_string(),
            None => format!("number {}, which this version does not know", theirs[10]),
        };
        return Err(Error::protocol(format!("the gate hashes differ: {hash} here, the peer's is {theirs}")));
    }
    let named = [
        ("comparisons are made", ["by sign and selection", "by full circuits"]),
        ("square pairs are made", ["as used", "ahead"]),
    ];
    for (bit, (what, names)) in named.into_iter().enumerate() {
        let [ours, theirs] = [hello[11], theirs[11]].map(|choices| names[usize::from(choices >> bit & 1)]);
        if ours != theirs {
            return Err(Error::protocol(format!("{what} {ours} here, {theirs} by the peer")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::search::MAX_CANDIDATES;
    use blindvox_models::{Linear, LinearKind, TensorInfo};
    use blindvox_net::channel::local_pair;

    /// Somebody who changes what a party reads before the OTs, without its notice, ends up with parties that share no key.
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
            let mut ot = OtPair::setup(party, &mut channel, &mut Prng::from_os().unwrap()).unwrap();
            match party {
                Party::Client => ot.recv.rot(&mut channel, &[0; 10]).unwrap(),
                Party::Server => ot.send.rot(&mut channel, 10).unwrap().iter().map(|pair| pair[0]).collect(),
            }
        }
        assert!(labels([b"this network", b"this network"]));
        assert!(!labels([b"this network", b"that network"]));
    }

    #[test]
    fn parties_that_chose_differently_say_so() {
        let hello = |version: u16, hash, zero| {
            let [v0, v1] = version.to_le_bytes();
            [&MAGIC[..], &[v0, v1, hash, zero]].concat()
        };
        let message = |hash: GateHash, theirs: Vec<u8>| {
            let (mut client, mut server) = local_pair();
            server.send(theirs).unwrap();
            let options = Options { gate_hash: hash, ..Options::new(Device::cpu()) };
            let found = greet(Party::Client, &options, &mut client).map_err(|e| e.to_string());
            (server.recv().unwrap(), found)
        };
        let (aes, same) = message(GateHash::Aes, hello(VERSION, 0, 0));
        assert!(aes == hello(VERSION, 0, 0) && same.is_ok());
        let (chacha, found) = message(GateHash::ChaCha12, aes.clone());
        let found = found.unwrap_err();
        assert!(found.contains("ChaCha12 here") && found.contains("the peer's is AES-128"), "{found}");
        let found = message(GateHash::Aes, chacha).1.unwrap_err();
        assert!(found.contains("AES-128 here") && found.contains("the peer's is ChaCha12"), "{found}");
        assert!(message(GateHash::Aes, hello(VERSION, 9, 0)).1.unwrap_err().contains("number 9"));
        let found = [1, 2].map(|choices| message(GateHash::Aes, hello(VERSION, 0, choices)).1.unwrap_err());
        assert!(
            found[0].contains("comparisons are made by sign and selection here, by full circuits by the peer"),
            "{found:?}"
        );
        assert!(found[1].contains("square pairs are made as used here, ahead by the peer"), "{found:?}");
        let mut magic = hello(VERSION, 0, 0);
        magic[0] ^= 1;
        for other in [hello(VERSION + 1, 0, 0), hello(VERSION, 0, 4), magic] {
            assert!(message(GateHash::Aes, other).1.unwrap_err().contains("does not speak"));
        }
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
        let bytes = architecture::encode(&costly(4000)).unwrap();
        assert!(bytes.len() < 1 << 20, "{} bytes", bytes.len());
        let program = architecture::decode(&bytes).unwrap();
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
