//! Both parties in one process: two threads, each with its own half of everything, joined by a local channel alone.

use std::sync::Arc;
use std::thread;

use blindvox_models::Program;
use blindvox_net::channel::local_pair;

use super::{Client, Observer, Options, Outcome, Server};
use crate::error::{Error, Result};

/// What both parties have at the end.
pub struct LocalOutcome {
    /// The client's.
    pub client: Outcome,
    /// The server's.
    pub server: Outcome,
}

/// Runs a program on the client's prepared, quantised volume. With fixed randomness what each party sends is recorded.
///
/// # Errors
/// The cause of what went wrong first, of either party.
pub fn run(
    program: Arc<Program>,
    input: &[i32],
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<LocalOutcome> {
    let (client_channel, server_channel) = local_pair();
    thread::scope(|scope| {
        let server = thread::Builder::new()
            .spawn_scoped(scope, || Server::new(program, options.clone()).serve(server_channel))
            .map_err(|source| Error::Thread { what: "the service", source })?;
        let client = Client::connect(client_channel, options.clone()).and_then(|client| client.run(input, observer));
        let server = server.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (client, server) {
            (Ok(client), Ok(server)) => Ok(LocalOutcome { client, server }),
            // When one party fails the other only sees the connection close: report the cause.
            (Err(Error::Connection(_)), Err(cause)) | (Err(cause), _) | (Ok(_), Err(cause)) => Err(cause),
        }
    })
}
