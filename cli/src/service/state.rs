//! What all connections of a service share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use blindvox_net::channel::Canceller;
use blindvox_net::identity::{Identity, trust};
use blindvox_net::transport::tls;
use blindvox_net::{Code, Refusal};
use blindvox_protocols::{Error, Result};

use super::admission::{Places, gib};
use super::audit::Audit;
use super::clients::Clients;
use super::config::{Config, Log};
use super::metrics::Metrics;
use super::models::{self, Served};
use crate::remote::Peer;

/// How long the end may take once all runs were told.
const END: Duration = Duration::from_secs(10);

/// All that connections share.
pub(crate) struct Service {
    pub config: Config,
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

/// One line of a log, on standard error.
pub(crate) fn line(form: Log, kind: &str, text: &str) {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match form {
        Log::Text => eprintln!("{time} {kind}: {text}"),
        Log::Json => eprintln!("{}", serde_json::json!({ "time": time, "kind": kind, "text": text })),
    }
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
        if let Some(model) = models.iter().find(|m| m.own.memory > config.memory) {
            let (needed, given) = (gib(model.own.memory), gib(config.memory));
            return Err(Error::Input(format!("model {:?}: a run takes about {needed}, memory is {given}", model.name)));
        }
        if let Some(dealer) = &config.dealer {
            Peer::dealer(&dealer.address, &config.identity, &dealer.trust)?;
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

    /// Who this service is at present.
    pub(crate) fn identity(&self) -> tls::Server {
        self.tls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The next run's number.
    pub(crate) fn next_run(&self) -> u64 {
        self.runs.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// One line of the log, on standard error.
    pub(crate) fn log(&self, kind: &str, text: &str) {
        line(self.config.log, kind, text);
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

    fn live(&self) -> MutexGuard<'_, HashMap<u64, Canceller>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a connection as long as it is there.
pub(crate) struct Counted {
    service: Arc<Service>,
    number: u64,
    /// So many there were before it.
    pub others: usize,
}

impl Counted {
    pub(crate) fn begin(service: &Arc<Service>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let others = service.connections.fetch_add(1, Ordering::SeqCst);
        Self { service: service.clone(), number: NUMBER.fetch_add(1, Ordering::Relaxed), others }
    }

    pub(crate) fn service(&self) -> Arc<Service> {
        self.service.clone()
    }

    /// What ends it where the service does.
    pub(crate) fn may_be_ended(&self, canceller: Canceller) {
        self.service.live().insert(self.number, canceller);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.service.live().remove(&self.number);
        self.service.connections.fetch_sub(1, Ordering::SeqCst);
    }
}
