//! `serve`: lets clients run models, until it is told to end.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use blindvox_models::atomic;
use blindvox_protocols::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::args_hosts::ServeArgs;
use crate::input::Done;
use crate::service::admin;
use crate::service::admission::gib;
use crate::service::config::Config;
use crate::service::connections;
use crate::service::state::Service;

/// The `serve` command.
pub(crate) fn run(args: &ServeArgs) -> Result<Done> {
    let config = Config::load(&args.config)?;
    let (admin_at, memory, sessions) = (config.admin, config.memory, config.sessions);
    let service = Arc::new(Service::load(config)?);
    for model in &service.models {
        say!("model {:?}: {}, a run takes about {}", model.name, &model.digest[..16], gib(model.own.memory));
    }
    if args.check {
        say!("{}: all is well; nothing was served", args.config.display());
        return Ok(Done::Whole);
    }
    let thread = |source| Error::Thread { what: "signals", source };
    #[cfg(unix)]
    let mut signals = Signals::new([SIGINT, SIGTERM, signal_hook::consts::SIGHUP]).map_err(thread)?;
    #[cfg(not(unix))]
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(thread)?;
    // From here on a signal is an order, not the end.
    let held = atomic::hold_signals();
    let listener = admin::bind(admin_at)?;
    let admin_at = listener.local_addr().unwrap_or(admin_at);
    let address = connections::start(&service)?;
    let admin = service.clone();
    std::thread::Builder::new()
        .spawn(move || admin::answer(&listener, &admin.metrics, &admin.places))
        .map_err(|source| Error::Thread { what: "admin", source })?;
    say!(
        "serving on {address}, {sessions} runs at a time within {}; health and metrics on http://{admin_at}",
        gib(memory)
    );
    // Whoever waits for this line reads from a pipe.
    let _ = std::io::stdout().flush();
    notify("READY=1");
    for signal in signals.forever() {
        if signal == SIGINT || signal == SIGTERM {
            break;
        }
        notify("RELOADING=1");
        service.reload();
        notify("READY=1");
    }
    notify("STOPPING=1");
    service.log("drain", "nobody is let in any more; runs may end");
    service.drain();
    service.log("drain", "the service ends");
    atomic::signals().came.store(false, Ordering::SeqCst);
    drop(held);
    Ok(Done::Whole)
}

/// Tells the service manager, if there is one that listens.
#[cfg(target_os = "linux")]
fn notify(state: &str) {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    let Ok(path) = std::env::var("NOTIFY_SOCKET") else { return };
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        let _ = socket.send_to_addr(state.as_bytes(), &address);
    }
}

#[cfg(not(target_os = "linux"))]
fn notify(_: &str) {}
