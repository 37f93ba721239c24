//! Both parties in one process: two threads, each with its own half of everything, joined by a local channel alone.

use std::sync::Arc;
use std::thread;

use blindvox_engine::Prng;
use blindvox_models::Program;
use blindvox_net::channel::{Channel, local_pair};

use super::online::{Observer, Outcome};
use super::session::{Options, Role, Session};
use crate::error::{Error, Result};

/// Randomness of a local run.
#[derive(Clone, Copy, Debug)]
pub enum Randomness {
    /// From the operating system.
    System,
    /// Fixed, so that a run repeats bit for bit. **Not secret**: for tests.
    FixedForTests(u64),
}

impl Randomness {
    fn prng(self, label: &str) -> Result<Prng> {
        match self {
            Self::System => Ok(Prng::from_os()?),
            Self::FixedForTests(n) => {
                let mut seed = [0; 32];
                seed[..8].copy_from_slice(&n.to_le_bytes());
                Ok(Prng::from_seed_for_tests(seed).fork(label))
            }
        }
    }
}

/// What both parties have at the end.
pub struct LocalOutcome {
    /// The client's.
    pub client: Outcome,
    /// The server's.
    pub server: Outcome,
}

/// Runs a program on the client's prepared, quantised volume.
pub fn run(
    program: Arc<Program>,
    input: &[i32],
    options: &Options,
    randomness: Randomness,
    observer: &mut dyn Observer,
) -> Result<LocalOutcome> {
    let (mut client_channel, mut server_channel) = local_pair();
    if matches!(randomness, Randomness::FixedForTests(_)) {
        client_channel.record_transcript();
        server_channel.record_transcript();
    }
    thread::scope(|scope| {
        let server = thread::Builder::new()
            .spawn_scoped(scope, || serve(program, server_channel, options, randomness))
            .map_err(|source| Error::Thread { what: "the service", source })?;
        let client = consult(input, client_channel, options, randomness, observer);
        let server = server.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (client, server) {
            (Ok(client), Ok(server)) => Ok(LocalOutcome { client, server }),
            // When one party fails the other only sees the connection close: report the cause.
            (Err(Error::Connection(_)), Err(cause)) | (Err(cause), _) | (Ok(_), Err(cause)) => Err(cause),
        }
    })
}

fn serve(program: Arc<Program>, channel: Channel, options: &Options, randomness: Randomness) -> Result<Outcome> {
    Session::setup(Role::Server(program), channel, randomness.prng("server")?, options.clone())?
        .preprocess()?
        .run_server(&mut ())
}

fn consult(
    input: &[i32],
    channel: Channel,
    options: &Options,
    randomness: Randomness,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    Session::setup(Role::Client, channel, randomness.prng("client")?, options.clone())?
        .preprocess()?
        .run_client(input, observer)
}
