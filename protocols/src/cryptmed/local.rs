//! Client, server and dealer in one process.

use std::sync::Arc;
use std::thread;

use blindvox_engine::Prng;
use blindvox_models::Program;
use blindvox_net::channel::local_pair;

use super::dealer::deal;
use super::plan::Terms;
use super::session::{Cost, Outcome, Session};
use crate::error::{Error, Result};

/// What came of a session in one process.
#[derive(Debug)]
pub struct Local {
    /// The client's outcomes, one a batch.
    pub client: Vec<Outcome>,
    /// The server's.
    pub server: Vec<Outcome>,
    /// What setting up and hiding the model cost, as the server saw it.
    pub start: [Cost; 2],
}

/// Runs batches of rows with client, server and dealer in this process, each a thread.
///
/// # Errors
/// The cause of what went wrong first at any end.
pub fn local(program: &Arc<Program>, terms: Terms, batches: &[Vec<Vec<i32>>], prng: &mut Prng) -> Result<Local> {
    let (client_channel, server_channel) = local_pair();
    let (client_dealer, dealer_client) = local_pair();
    let (server_dealer, dealer_server) = local_pair();
    thread::scope(|scope| {
        let spawn = |what: &'static str| move |source| Error::Thread { what, source };
        let dealer = thread::Builder::new()
            .spawn_scoped(scope, move || deal(dealer_client, dealer_server, prng, u64::MAX))
            .map_err(spawn("the dealer"))?;
        let server = thread::Builder::new()
            .spawn_scoped(scope, || {
                let mut session = Session::serve(program, terms, server_channel, server_dealer)?;
                let mut outcomes = Vec::new();
                while let Some(outcome) = session.answer()? {
                    outcomes.push(outcome);
                }
                Ok((outcomes, [session.setup, session.model]))
            })
            .map_err(spawn("the service"))?;
        let run = || {
            let mut session = Session::connect(client_channel, client_dealer)?;
            let outcomes = batches.iter().map(|rows| session.run(rows)).collect::<Result<Vec<_>>>()?;
            session.finish()?;
            Ok(outcomes)
        };
        let client = run();
        let join = |handle: thread::ScopedJoinHandle<'_, Result<()>>| {
            handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        let server = server.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let dealer = join(dealer);
        match (client, server, dealer) {
            (Ok(client), Ok((server, start)), Ok(())) => Ok(Local { client, server, start }),
            // When one end fails the others only see connections close: report the cause.
            (client, server, dealer) => {
                let errors = [client.err(), server.err(), dealer.err()].into_iter().flatten();
                let (lost, causes): (Vec<_>, Vec<_>) = errors.partition(|e| matches!(e, Error::Connection(_)));
                Err(causes.into_iter().chain(lost).next().expect("one of them failed"))
            }
        }
    })
}
