//! What a party carries through a run.
//!
//! | # | from -> to | content | bytes | phase |
//! |---|---|---|---|---|
//! | 1 | client -> server | hello: magic 8, version 2, gate hash 1, choices 1 | 12 | setup |
//! | 2 | server -> client | hello | 12 | setup |
//! | 3 | server -> client | architecture, without weights | its encoding | setup |
//! | 4 | client -> server | public key for convolutions | 16 + packed | setup |
//! | 5 | both | base OTs, both directions and the garbler's | see [`crate::ot`], [`crate::gc`] | setup |

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blindvox_engine::bfv::{Params, PublicKey, SecretKey};
use blindvox_engine::garble::GateHash;
use blindvox_engine::{Device, Prng};

use super::architecture;
use super::preprocess::{PairSupply, Ready};
use crate::channel::{Channel, Party};
use crate::error::{Error, Result};
use crate::gc;
use crate::linear::{LinearPlan, LinearSpec};
use crate::model::{Program, Step};
use crate::nonlinear::relu::ReluKind;
use crate::ot::OtPair;

/// The first bytes of a connection.
const MAGIC: [u8; 8] = *b"blindvox";
/// Changed whenever messages change.
const VERSION: u16 = 2;

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
    pub(super) plans: Vec<LinearPlan>,
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
    pub fn setup(role: Role, mut channel: Channel, mut prng: Prng, options: Options) -> Result<Self> {
        let start = Instant::now();
        let party = role.party();
        channel.set_phase("setup");
        greet(party, &options, &mut channel)?;
        let program = match role {
            Role::Server(program) => {
                architecture::check(&program)?;
                channel.send(architecture::encode(&program)?)?;
                program
            }
            Role::Client => Arc::new(architecture::decode(&channel.recv()?)?),
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
        let ot = OtPair::setup(party, &mut channel, &mut prng)?;
        let gc = gc::Half::setup_with(party, &mut channel, &mut prng, options.garbling())?;
        Ok(Self { party, channel, prng, options, ot, gc, conv, program, plans, setup_time: start.elapsed() })
    }

    /// The program, without weights on the client's side.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Makes what one run needs and no input is needed for: the source of its square pairs, or the pairs.
    pub fn preprocess(self) -> Result<Ready> {
        Ready::new(self)
    }
}

/// Plans every linear step from public quantities; an error names the layer that does not fit.
pub fn plans(program: &Program) -> Result<Vec<LinearPlan>> {
    let linear = program.steps.iter().filter_map(|step| match step {
        Step::Linear(linear) => Some(linear),
        _ => None,
    });
    linear.map(|linear| LinearPlan::new(&LinearSpec::of(program, linear))).collect()
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
    use crate::channel::local_pair;

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
}
