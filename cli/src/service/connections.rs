//! Conversations: each connection has a thread of its own beside the two of its transport. A fault of the program in one ends
//! that one alone.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use blindvox_net::transport::tls;
use blindvox_net::{Channel, Code, Refusal};
use blindvox_protocols::service::serve;
use blindvox_protocols::{Error, Result};

use super::client::{Guest, account};
use super::door::{self, Door, Outside, spawn};
use super::state::{Counted, Service};

/// Connections beside those that run or wait: they ask what is served.
const ASKING: usize = 16;

/// Starts to serve; the address that it listens on.
///
/// # Errors
/// [`Error::Input`] for an address that is taken, [`Error::Thread`].
pub(crate) fn start(service: &Arc<Service>) -> Result<SocketAddr> {
    door::open(service, service.config.listen)
}

impl Door for Service {
    fn tls(&self) -> tls::Server {
        self.identity()
    }

    fn greeting(&self) -> Duration {
        Duration::from_secs(self.config.greeting)
    }

    fn outside(&self, who: &str, why: Outside) {
        match why {
            Outside::Crowded => self.metrics.handshake("crowded"),
            Outside::Greeting(e) => {
                let why = if matches!(e, blindvox_net::Error::Identity(_)) { "identity" } else { "connection" };
                self.metrics.handshake(why);
                self.log("greeting", &format!("{who}: {e}"));
            }
            Outside::Fault => self.metrics.panicked(),
        }
    }

    fn enter(self: &Arc<Self>, secured: tls::Secured, who: String) {
        begin(self, secured, who);
    }
}

fn begin(service: &Arc<Service>, secured: tls::Secured, who: String) {
    let counted = Counted::begin(service);
    let limits = service.config.limits();
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
