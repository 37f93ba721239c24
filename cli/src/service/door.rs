//! Sockets in: one thread accepts, a few greet, so that slow ones don't hold up others.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use blindvox_net::transport::tls;
use blindvox_protocols::{Error, Result};

/// Threads that greet.
const GREETERS: usize = 4;
/// Sockets that wait to be greeted.
const UNGREETED: usize = 64;

/// Why somebody didn't get in.
pub(crate) enum Outside {
    /// Too many wait to be greeted.
    Crowded,
    /// The greeting failed.
    Greeting(blindvox_net::Error),
    /// A fault of the program.
    Fault,
}

/// Whoever lets hosts in.
pub(crate) trait Door: Send + Sync + 'static {
    /// Who this host is at present.
    fn tls(&self) -> tls::Server;

    /// How long a greeting may take.
    fn greeting(&self) -> Duration;

    /// Somebody didn't get in.
    fn outside(&self, who: &str, why: Outside);

    /// Somebody is in: returns soon.
    fn enter(self: &Arc<Self>, secured: tls::Secured, who: String);
}

/// Starts to listen; the address.
///
/// # Errors
/// [`Error::Input`] for an address that is taken, [`Error::Thread`].
pub(crate) fn open<D: Door>(door: &Arc<D>, listen: SocketAddr) -> Result<SocketAddr> {
    let wrong = |e: std::io::Error| Error::Input(format!("listen {listen}: {e}"));
    let listener = TcpListener::bind(listen).map_err(wrong)?;
    let address = listener.local_addr().map_err(wrong)?;
    let (ungreeted, greet) = sync_channel(UNGREETED);
    let greet = Arc::new(Mutex::new(greet));
    for _ in 0..GREETERS {
        let (door, greet) = (door.clone(), greet.clone());
        spawn("greetings", move || greeter(&door, &greet))?;
    }
    let accepting = door.clone();
    spawn("the listener", move || accept(&*accepting, &listener, &ungreeted))?;
    Ok(address)
}

/// A thread that nobody waits for.
///
/// # Errors
/// [`Error::Thread`].
pub(crate) fn spawn(what: &'static str, run: impl FnOnce() + Send + 'static) -> Result<()> {
    thread::Builder::new().spawn(run).map(drop).map_err(|source| Error::Thread { what, source })
}

fn accept(door: &impl Door, listener: &TcpListener, ungreeted: &SyncSender<TcpStream>) {
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => {
                if let Err(TrySendError::Full(_)) = ungreeted.try_send(stream) {
                    door.outside("somebody", Outside::Crowded);
                }
            }
            // Out of descriptors: those in use come back.
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn greeter<D: Door>(door: &Arc<D>, streams: &Mutex<Receiver<TcpStream>>) {
    loop {
        let next = streams.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(stream) = next else { return };
        let who = stream.peer_addr().map_or_else(|_| "somebody".to_owned(), |a| a.to_string());
        let tls = door.tls();
        match catch_unwind(AssertUnwindSafe(|| tls.meet(stream, door.greeting()))) {
            Ok(Ok(secured)) => door.enter(secured, who),
            Ok(Err(e)) => door.outside(&who, Outside::Greeting(e)),
            Err(_) => door.outside(&who, Outside::Fault),
        }
    }
}
