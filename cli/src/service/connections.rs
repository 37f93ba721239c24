//! Sockets in, conversations, the end.
//!
//! One thread accepts, a few greet, so that slow ones don't hold up others; then each connection has a thread of its own
//! beside the two of its transport. A fault of the program in one ends that one alone.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use blindvox_net::channel::Canceller;
use blindvox_net::identity::{Identity, trust};
use blindvox_net::transport::tcp::Limits;
use blindvox_net::transport::tls;
use blindvox_net::{Channel, Code, Refusal};
use blindvox_protocols::service::serve;
use blindvox_protocols::{Error, Result};

use super::admission::Places;
use super::audit::Audit;
use super::client::{Guest, account};
use super::clients::Clients;
use super::config::{Config, Log};
use super::metrics::Metrics;
use super::models::{self, Served};

/// Threads that greet.
const GREETERS: usize = 4;
/// Sockets that wait to be greeted.
const UNGREETED: usize = 64;
/// Connections beside those that run or wait: they ask what is served.
const ASKING: usize = 16;
/// How long the end may take once all runs were told.
const END: Duration = Duration::from_secs(10);

/// All that connections share.
pub(crate) struct Service {
    config: Config,
    tls: RwLock<tls::Server>,
    pub clients: Clients,
    pub models: Vec<Served>,
    pub places: Arc<Places>,
    pub metrics: Metrics,
    pub audit: Option<Audit>,
    runs: AtomicU64,
    connections: AtomicUsize,
    live: Mutex<HashMap<u64, Canceller>>,
}

fn identity(config: &Config) -> Result<tls::Server> {
    let authorities = config.authorities.as_deref().map(trust::authorities).transpose()?;
    Ok(tls::Server::new(&Identity::load(&config.identity)?, authorities)?)
}

impl Service {
    /// Reads all that the configuration names.
    ///
    /// # Errors
    /// What is wrong with it, naming the file.
    pub(crate) fn load(config: Config) -> Result<Self> {
        let models = models::load(&config.model)?;
        if let Some(model) = models.iter().find(|m| m.memory > config.memory) {
            let (needed, given) = (super::admission::gib(model.memory), super::admission::gib(config.memory));
            return Err(Error::Input(format!("model {:?}: a run takes about {needed}, memory is {given}", model.name)));
        }
        Ok(Self {
            tls: RwLock::new(identity(&config)?),
            clients: Clients::load(&config.clients)?,
            models,
            places: Places::new(config.sessions, config.queue, config.memory),
            metrics: Metrics::default(),
            audit: config.audit.as_deref().map(Audit::open).transpose()?,
            runs: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            live: Mutex::default(),
            config,
        })
    }

    /// The next run's number.
    pub(crate) fn next_run(&self) -> u64 {
        self.runs.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// One line of the log, on standard error.
    pub(crate) fn log(&self, kind: &str, text: &str) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        match self.config.log {
            Log::Text => eprintln!("{time} {kind}: {text}"),
            Log::Json => eprintln!("{}", serde_json::json!({ "time": time, "kind": kind, "text": text })),
        }
    }

    /// Reads identity and clients anew; what is wrong leaves the old ones.
    pub(crate) fn reload(&self) {
        match identity(&self.config) {
            Ok(tls) => *self.tls.write().unwrap_or_else(PoisonError::into_inner) = tls,
            Err(e) => self.log("reload", &e.to_string()),
        }
        match self.clients.reload() {
            Ok(()) => self.log("reload", "clients and identity were read anew"),
            Err(e) => self.log("reload", &e.to_string()),
        }
    }

    /// Lets nobody in any more and waits for runs, as long as the configuration says; then ends them.
    pub(crate) fn drain(&self) {
        self.places.drain();
        if !self.places.emptied(Duration::from_secs(self.config.drain)) {
            self.log("drain", "runs are ended before their time");
        }
        let refusal = Refusal::new(Code::Draining, "the service is about to end; nothing of this run is used again");
        self.live().values().for_each(|canceller| canceller.refuse(refusal.clone()));
        let deadline = Instant::now() + END;
        while self.connections.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn live(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Canceller>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
        let tls = service.tls.read().unwrap_or_else(PoisonError::into_inner).clone();
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

/// Counts a connection as long as it is there.
struct Counted(Arc<Service>, u64);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.live().remove(&self.1);
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

fn begin(service: &Arc<Service>, secured: tls::Secured, who: String) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let count = service.connections.fetch_add(1, Ordering::SeqCst);
    let counted = Counted(service.clone(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let limits = Limits {
        silence: Duration::from_secs(service.config.silence),
        total: service.config.run_limit(),
        wait: service.config.run_limit(),
        ..Limits::between_hosts()
    };
    let run = move || {
        let service = counted.0.clone();
        let conversation = || -> Result<()> {
            let (pin, names) = (secured.peer, secured.names.clone());
            let channel = Channel::tls(secured, limits)?;
            let told = |e: &Error| service.log("clients", &e.to_string());
            let crowded = count >= service.config.sessions + service.config.queue + ASKING;
            let found = if crowded {
                Err(Refusal::new(Code::Busy, "busy: too many connections; try again in about 60 s"))
            } else if service.places.is_draining() {
                Err(Refusal::new(Code::Draining, "the service is about to end; try again later or elsewhere"))
            } else {
                service.clients.find(pin, &names, &told)
            };
            match found {
                Ok(client) => {
                    service.live().insert(counted.1, channel.canceller());
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
