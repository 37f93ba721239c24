//! A dealer for services on other hosts: whom it lets in, who waits for whom.
//!
//! What it hears is architectures and numbers of rows; it says neither to anybody and writes down neither.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use blindvox_engine::Prng;
use blindvox_net::identity::Pin;
use blindvox_net::transport::tcp::Limits;
use blindvox_net::transport::tls;
use blindvox_net::{Channel, Code, Refusal};
use blindvox_protocols::service::Ticket;
use blindvox_protocols::service::dealer::{Errand, deal_between, errand, ready};
use blindvox_protocols::{Error, Result};

use crate::service::config::Log;
use crate::service::door::{Door, Outside, spawn};
use crate::service::state::line;

/// How long a greeting may take, and the first message after it.
const GREETING: Duration = Duration::from_secs(10);
/// How long a client is waited for.
const COMING: Duration = Duration::from_secs(60);
/// How often who waits looks whether the service is still there.
const LOOK: Duration = Duration::from_millis(200);
/// Connections beside two a session.
const MORE: usize = 16;

/// A dealer.
pub(crate) struct Dealer {
    /// Who it is.
    pub tls: tls::Server,
    /// Its own key.
    pub own: Pin,
    /// Whom it deals for.
    pub services: Vec<Pin>,
    /// Sessions at a time.
    pub sessions: usize,
    /// Bytes that each may take.
    pub memory: u64,
    /// Who is there.
    pub desk: Mutex<Desk>,
}

/// Who is there.
#[derive(Default)]
pub(crate) struct Desk {
    connections: usize,
    sessions: usize,
    waiting: HashMap<Ticket, Waiting>,
}

/// A session that waits for its client.
struct Waiting {
    service: Pin,
    client: Pin,
    hand: SyncSender<Channel>,
}

/// A session's place, given back when it is dropped.
struct Seat<'a>(&'a Dealer, Ticket);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut desk = self.0.desk();
        desk.sessions -= 1;
        desk.waiting.remove(&self.1);
    }
}

fn refused<T>(code: Code, text: impl Into<String>) -> Result<T> {
    Err(Error::Refused(Refusal::new(code, text)))
}

impl Door for Dealer {
    fn tls(&self) -> tls::Server {
        self.tls.clone()
    }

    fn greeting(&self) -> Duration {
        GREETING
    }

    fn outside(&self, who: &str, why: Outside) {
        match why {
            Outside::Crowded => log("greeting", "too many wait to be greeted"),
            Outside::Greeting(e) => log("greeting", &format!("{who}: {e}")),
            Outside::Fault => log("fault", &format!("{who}: a fault of the program ended this greeting")),
        }
    }

    fn enter(self: &Arc<Self>, secured: tls::Secured, who: String) {
        let dealer = self.clone();
        let run = move || {
            let others = {
                let mut desk = dealer.desk();
                desk.connections += 1;
                desk.connections - 1
            };
            match catch_unwind(AssertUnwindSafe(|| dealer.converse(secured, others))) {
                Ok(Ok(())) => {}
                Ok(Err(e)) => log("connection", &format!("{who}: {e}")),
                Err(_) => log("fault", &format!("{who}: a fault of the program ended this connection")),
            }
            dealer.desk().connections -= 1;
        };
        if let Err(e) = spawn("a connection", run) {
            log("connection", &e.to_string());
        }
    }
}

fn log(kind: &str, text: &str) {
    line(Log::Text, kind, text);
}

impl Dealer {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One connection, from its errand on.
    fn converse(&self, secured: tls::Secured, others: usize) -> Result<()> {
        let (peer, limits) = (secured.peer, Limits::between_hosts());
        let mut channel = Channel::tls(secured, limits)?;
        let end = channel.canceller();
        let ended = (|| {
            if others >= 2 * self.sessions + MORE {
                return refused(Code::Busy, "the dealer has too many connections; try again in about 60 s");
            }
            channel.set_timeout(GREETING);
            let errand = errand(&mut channel)?;
            channel.set_timeout(limits.wait);
            match errand {
                Errand::Deal { ticket, client, .. } => self.deal(channel, peer, (ticket, client.into())),
                Errand::Take { ticket, service, .. } => self.hand_over(channel, peer, (ticket, service.into())),
            }
        })();
        match &ended {
            Err(Error::Refused(refusal)) => end.refuse(refusal.clone()),
            Err(Error::Protocol(_)) => end.refuse(Refusal::new(Code::Request, "what this host sent is no errand")),
            _ => {}
        }
        ended
    }

    /// A service's order.
    fn deal(&self, mut channel: Channel, service: Pin, (ticket, client): (Ticket, Pin)) -> Result<()> {
        let (_seat, handed) = self.seat(service, (ticket, client)).inspect_err(|e| tell(&channel, e))?;
        ready(&mut channel)?;
        let to_client = self.awaited(&handed, &channel).inspect_err(|e| tell(&channel, e))?;
        let start = Instant::now();
        log("deal", &format!("begins for service {service}, client {client}"));
        let ended = deal_between(to_client, channel, &mut Prng::from_os()?, self.memory);
        log(
            "deal",
            &format!("ends for service {service}, client {client}, after {:.1} s", start.elapsed().as_secs_f64()),
        );
        ended
    }

    fn seat(&self, service: Pin, (ticket, client): (Ticket, Pin)) -> Result<(Seat<'_>, Receiver<Channel>)> {
        if !self.services.contains(&service) {
            return refused(Code::UnknownClient, format!("this service ({service}) is none that the dealer deals for"));
        }
        if client == self.own || client == service {
            return refused(
                Code::Request,
                "a dealer, a service and its client must be three: one that is two would read all",
            );
        }
        let (hand, handed) = sync_channel(1);
        let mut desk = self.desk();
        if desk.sessions >= self.sessions {
            return refused(Code::Busy, format!("the dealer has {} sessions; try again in about 60 s", self.sessions));
        }
        if desk.waiting.contains_key(&ticket) {
            return refused(Code::Request, "a ticket that is taken");
        }
        desk.waiting.insert(ticket, Waiting { service, client, hand });
        desk.sessions += 1;
        Ok((Seat(self, ticket), handed))
    }

    /// Waits for the client, as long as the service is there.
    fn awaited(&self, handed: &Receiver<Channel>, service: &Channel) -> Result<Channel> {
        let start = Instant::now();
        loop {
            match handed.recv_timeout(LOOK) {
                Ok(channel) => return Ok(channel),
                Err(RecvTimeoutError::Timeout) => service.check()?,
                Err(RecvTimeoutError::Disconnected) => return refused(Code::Failure, "the client is lost"),
            }
            if start.elapsed() > COMING {
                return refused(Code::Request, "the client did not come to the dealer in time");
            }
        }
    }

    /// A client's errand: its channel goes to the session that waits for it.
    fn hand_over(&self, channel: Channel, client: Pin, (ticket, service): (Ticket, Pin)) -> Result<()> {
        let mut desk = self.desk();
        // Only who is waited for takes a ticket away.
        let fits = |waiting: &Waiting| waiting.client == client && waiting.service == service;
        if desk.waiting.get(&ticket).is_some_and(fits)
            && let Some(waiting) = desk.waiting.remove(&ticket)
        {
            // A session that has just ended drops it.
            let _ = waiting.hand.try_send(channel);
            return Ok(());
        }
        drop(desk);
        let unknown =
            refused(Code::UnknownClient, format!("no service has named this client ({client}) to the dealer"));
        unknown.inspect_err(|e| tell(&channel, e))
    }
}

/// A refusal, while the channel is still there.
fn tell(channel: &Channel, e: &Error) {
    if let Error::Refused(refusal) = e {
        channel.canceller().refuse(refusal.clone());
    }
}
