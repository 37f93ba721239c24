//! What a party chooses for itself, or both agree on.

use blindvox_engine::garble::GateHash;
use blindvox_engine::{Device, Prng};
use blindvox_net::channel::Party;

use super::presets::Ways;
use crate::error::Result;
use crate::gc;

/// Where a party's randomness comes from.
#[derive(Clone, Copy, Debug, Default)]
pub enum Randomness {
    /// The operating system.
    #[default]
    System,
    /// Fixed, so that a run repeats bit for bit. **Not secret**: for tests within one process.
    FixedForTests(u64),
    /// The same, and taken by a session between processes too; the connection's own secrets stay out of it.
    #[cfg(any(test, feature = "testing"))]
    FixedAcrossProcesses(u64),
}

impl Randomness {
    /// A party's generator.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn prng(self, party: Party) -> Result<Prng> {
        match self {
            Self::System => Ok(Prng::from_os()?),
            Self::FixedForTests(n) => Ok(fixed(n, party)),
            #[cfg(any(test, feature = "testing"))]
            Self::FixedAcrossProcesses(n) => Ok(fixed(n, party)),
        }
    }

    /// Whether what is made of it may go to another process though it is fixed.
    pub(super) fn may_leave(self) -> bool {
        match self {
            Self::System | Self::FixedForTests(_) => false,
            #[cfg(any(test, feature = "testing"))]
            Self::FixedAcrossProcesses(_) => true,
        }
    }
}

fn fixed(n: u64, party: Party) -> Prng {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&n.to_le_bytes());
    let label = if party == Party::Client { "client" } else { "server" };
    Prng::from_seed_for_tests(seed).fork(label)
}

/// What a party chooses for itself, or both agree on.
#[derive(Clone)]
pub struct Options {
    /// Where the kernels run.
    pub device: Device,
    /// Which protocols the run is made of; both parties must choose alike.
    pub ways: Ways,
    /// The hash of garbled gates; parties that choose differently notice it when they meet.
    pub gate_hash: GateHash,
    /// Where gates are computed; each party's own choice.
    pub gate_place: gc::GatePlace,
    /// Where secrets come from; each party's own choice.
    pub randomness: Randomness,
    /// Keep the shares of every tensor for [`super::trace`]. Only for tests: they are secret.
    pub trace: bool,
    /// Keep the shares around this many voxels of each step for [`super::sample`]; 0 keeps none. Only for tests and
    /// benches; none are kept of a run in windows.
    pub samples: usize,
}

impl Options {
    /// Everything as it should be, on `device`.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            ways: Ways::default(),
            gate_hash: GateHash::default(),
            gate_place: gc::GatePlace::default(),
            randomness: Randomness::default(),
            trace: false,
            samples: 0,
        }
    }

    /// The hash of gates and where they are computed.
    pub fn garbling(&self) -> gc::Garbling {
        gc::Garbling::new(self.gate_hash, self.gate_place, &self.device)
    }
}
