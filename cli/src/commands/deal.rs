//! `deal`: deals correlated randomness for services on other hosts and their clients, until it is told to end.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use blindvox_models::atomic;
use blindvox_net::identity::{Identity, Pin, Trust};
use blindvox_net::transport::tls;
use blindvox_protocols::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::args_hosts::DealArgs;
use crate::dealer::Dealer;
use crate::input::Done;
use crate::service::door;

/// The `deal` command.
pub(crate) fn run(args: &DealArgs) -> Result<Done> {
    let identity = Identity::load(&args.identity)?;
    let own = identity.certificate.pin;
    let services = args.service.iter().map(|peer| service(peer, own)).collect::<Result<Vec<_>>>()?;
    let tls = tls::Server::new(&identity, None)?;
    let (sessions, memory) = (args.sessions as usize, args.memory.0);
    let dealer = Arc::new(Dealer { tls, own, services, sessions, memory, desk: Default::default() });
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|source| Error::Thread { what: "signals", source })?;
    // From here on a signal is an order, not the end.
    let _held = atomic::hold_signals();
    let address = door::open(&dealer, args.listen)?;
    say!("dealing on {address} for {} services, {sessions} sessions at a time", dealer.services.len());
    // Whoever waits for this line reads from a pipe.
    let _ = std::io::stdout().flush();
    signals.forever().next();
    atomic::signals().came.store(false, std::sync::atomic::Ordering::SeqCst);
    Ok(Done::Whole)
}

/// Whom the dealer deals for.
fn service(peer: &str, own: Pin) -> Result<Pin> {
    match Trust::parse(peer, None)? {
        Trust::Pin(pin) if pin != own => Ok(pin),
        Trust::Pin(_) => Err(Error::Input(format!(
            "--service {peer}: found the dealer's own key: a service that deals for itself would read its clients' rows"
        ))),
        Trust::Authority(..) => {
            Err(Error::Input(format!("--service {}: expected a .crt file or a fingerprint", Path::new(peer).display())))
        }
    }
}
