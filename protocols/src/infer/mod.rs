//! Secure inference of any program of [`blindvox_models`]: U-Nets of any depth and width, planar or volumetric.
//!
//! [`Server`] and [`Client`] are the two ends of a run; programs, benches and tests use them. On [shares] both
//! parties compute; in [slots] the service alone does, on what the client encrypted.
//!
//! | module | what |
//! |---|---|
//! | [`options`], [`presets`] | what parties choose; which protocols a run is made of |
//! | [`hello`] | how parties meet |
//! | [`shares`] | the phases of a run on shares, and its steps |
//! | [`slots`] | a run under encryption |
//! | [`mod@estimate`] | what a run will send |
//! | [`mod@flights`] | how many latencies its messages take |
//! | [`forecast`] | what it takes of time, over a link |
//! | [`mod@memory`] | what it takes of memory |
//! | [`choice`] | which comparison suits a link |
//! | [`local`] | both parties in one process |
//! | [`report`] | costs |

pub mod choice;
mod demand;
pub mod estimate;
pub mod flights;
pub mod forecast;
pub mod hello;
pub mod local;
pub mod memory;
pub mod options;
pub mod presets;
pub mod report;
pub mod shares;
pub mod slots;

pub use choice::LinkSpeed;
pub use estimate::{Estimate, estimate};
pub use memory::memory;
pub use options::{Options, Randomness};
pub use presets::{Comparison, PairSupply, Products, Source, Ways};
pub use shares::online::{Observer, Outcome};
pub use shares::preprocess::Ready;
pub use shares::session::{Role, Session};
pub use shares::{sample, session, trace};

use std::sync::Arc;

use blindvox_models::Program;
use blindvox_net::channel::Channel;

use crate::error::Result;

/// The service: a model, and how it is run.
pub struct Server {
    program: Arc<Program>,
    options: Options,
}

impl Server {
    /// Will serve this program.
    pub fn new(program: Arc<Program>, options: Options) -> Self {
        Self { program, options }
    }

    /// One run with the client at the other end.
    ///
    /// # Errors
    /// What the client, the program or the device make impossible; the channel's.
    pub fn serve(&self, channel: Channel) -> Result<Outcome> {
        set_up(Role::Server(self.program.clone()), channel, &self.options)?.preprocess()?.run_server(&mut ())
    }
}

/// A client that has met its service.
pub struct Client {
    session: Session,
}

impl Client {
    /// Meets the service at the other end: they agree on what is run, and make keys.
    ///
    /// # Errors
    /// What the service or the device make impossible; the channel's.
    pub fn connect(channel: Channel, options: Options) -> Result<Self> {
        Ok(Self { session: set_up(Role::Client, channel, &options)? })
    }

    /// What the service runs, without its weights.
    pub fn program(&self) -> &Program {
        self.session.program()
    }

    /// One run on a prepared, quantised volume `[channels, D, H, W]`.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) for a volume of another size; what the service or the device make
    /// impossible; the channel's.
    pub fn run(self, volume: &[i32], observer: &mut dyn Observer) -> Result<Outcome> {
        self.session.preprocess()?.run_client(volume, observer)
    }
}

fn set_up(role: Role, mut channel: Channel, options: &Options) -> Result<Session> {
    if let Randomness::FixedForTests(_) = options.randomness {
        channel.record_transcript();
    }
    let prng = options.randomness.prng(role.party())?;
    Session::setup(role, channel, prng, options.clone())
}
