//! Both parties in one process: two threads, each with its own half of everything, joined by a local channel alone.

use std::thread;

use blindvox_net::channel::local_pair;

use super::service::{KeyStore, Models};
use super::session::{Choice, Outcome, Served, Visit, serve};
use crate::error::{Error, Result};

/// What both parties have at the end.
pub struct LocalOutcome {
    /// The client's.
    pub client: Outcome,
    /// The service's.
    pub service: Served,
}

/// Runs a model on the client's prepared inputs. `done` hears of each layer.
///
/// # Errors
/// The cause of what went wrong first, of either party.
pub fn run(
    models: &Models,
    preset: &str,
    images: &[&[f32]],
    choice: &Choice,
    done: impl FnMut(&str) + Send,
) -> Result<LocalOutcome> {
    let (client, service) = local_pair();
    let store = KeyStore::default();
    thread::scope(|scope| {
        let service = thread::Builder::new()
            .spawn_scoped(scope, || serve(service, models, &store, choice, done))
            .map_err(|source| Error::Thread { what: "the service", source })?;
        let client = Visit::new(client, choice, preset, images.len()).and_then(|visit| visit.run(images));
        let service = service.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (client, service) {
            (Ok(client), Ok(service)) => Ok(LocalOutcome { client, service }),
            // When one party fails the other only sees the connection close: report the cause.
            (Err(Error::Connection(_)), Err(cause)) | (Err(cause), _) | (Ok(_), Err(cause)) => Err(cause),
        }
    })
}
