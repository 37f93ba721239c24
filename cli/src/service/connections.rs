//! Sockets in, conversations, the end.
//!
//! One thread accepts, a few greet, so that slow ones don't hold up others; then each connection has a thread of its own
//! beside the two of its transport. A fault of the program in one ends that one alone.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use blindvox_net::transport::tcp::Limits;
use blindvox_net::transport::tls;
use blindvox_net::{Channel, Code, Refusal};
use blindvox_protocols::service::serve;
use blindvox_protocols::{Error, Result};

use super::client::{Guest, account};
use super::state::{Counted, Service};

/// Threads that greet.
const GREETERS: usize = 4;
/// Sockets that wait to be greeted.
const UNGREETED: usize = 64;
/// Connections beside those that run or wait: they ask what is served.
const ASKING: usize = 16;

/// Starts to serve; the address that it listens on.
///
/// # Errors
/// [`Error::Input`] for an address that is taken, [`Error::Thread`].
pub(crate) fn start(service: &Arc<Service>) -> Result<SocketAddr> {
    let listen = service.config.listen;
    let wrong = |e: std::io::Error| Error::Input(format!("listen {listen}: {e}"));
    let listener = TcpListener::bind(listen).map_err(wrong)?;
    let address = listener.local_addr().map_err(wrong)?;
    let (ungreeted, greet) = sync_channel(UNGREETED);
    let greet = Arc::new(Mutex::new(greet));
    for _ in 0..GREETERS {
        let (service, greet) = (service.clone(), greet.clone());
        spawn("greetings", move || greeter(&service, &greet))?;
    }
    let accepting = service.clone();
    spawn("the listener", move || accept(&accepting, &listener, &ungreeted))?;
    Ok(address)
}

fn spawn(what: &'static str, run: impl FnOnce() + Send + 'static) -> Result<()> {
    thread::Builder::new().spawn(run).map(drop).map_err(|source| Error::Thread { what, source })
}

fn accept(service: &Service, listener: &TcpListener, ungreeted: &SyncSender<TcpStream>) {
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => {
                if let Err(TrySendError::Full(_)) = ungreeted.try_send(stream) {
                    service.metrics.handshake("crowded");
                }
            }
            // Out of descriptors: those in use come back.
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn greeter(service: &Arc<Service>, streams: &Mutex<Receiver<TcpStream>>) {
    loop {
        let next = streams.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(stream) = next else { return };
        let who = stream.peer_addr().map_or_else(|_| "somebody".to_owned(), |a| a.to_string());
        let tls = service.tls();
        let met = catch_unwind(AssertUnwindSafe(|| tls.meet(stream, Duration::from_secs(service.config.greeting))));
        match met {
            Ok(Ok(secured)) => begin(service, secured, who),
            Ok(Err(e)) => {
                let why = if matches!(e, blindvox_net::Error::Identity(_)) { "identity" } else { "connection" };
                service.metrics.handshake(why);
                service.log("greeting", &format!("{who}: {e}"));
            }
            Err(_) => service.metrics.panicked(),
        }
    }
}

fn begin(service: &Arc<Service>, secured: tls::Secured, who: String) {
    let counted = Counted::begin(service);
    let limits = Limits {
        silence: Duration::from_secs(service.config.silence),
        total: service.config.run_limit(),
        wait: service.config.run_limit(),
        ..Limits::between_hosts()
    };
    let run = move || {
        let service = counted.service();
        let conversation = || -> Result<()> {
            let (pin, names) = (secured.peer, secured.names.clone());
            let channel = Channel::tls(secured, limits)?;
            let told = |e: &Error| service.log("clients", &e.to_string());
            let crowded = counted.others >= service.config.sessions + service.config.queue + ASKING;
            let found = if crowded {
                Err(Refusal::new(Code::Busy, "busy: too many connections; try again in about 60 s"))
            } else if service.places.is_draining() {
                Err(Refusal::new(Code::Draining, "the service is about to end; try again later or elsewhere"))
            } else {
                service.clients.find(pin, &names, &told)
            };
            match found {
                Ok(client) => {
                    counted.may_be_ended(channel.canceller());
                    let guest = Guest { service: &service, client, pin };
                    serve(channel, &&guest)
                }
                Err(refusal) => {
                    channel.refuse(refusal.clone());
                    Err(Error::Refused(refusal))
                }
            }
        };
        match catch_unwind(AssertUnwindSafe(conversation)) {
            Ok(ended) => account(&service, &who, &ended),
            Err(_) => {
                service.metrics.panicked();
                service.log("fault", &format!("{who}: a fault of the program ended this connection"));
            }
        }
        drop(counted);
    };
    if let Err(e) = spawn("a connection", run) {
        service.log("connection", &e.to_string());
    }
}
