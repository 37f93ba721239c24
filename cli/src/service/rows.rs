//! Rows with a dealer: what a client may have of them, and the way to the dealer.

use std::sync::Arc;
use std::time::Duration;

use blindvox_engine::Prng;
use blindvox_models::Program;
use blindvox_net::{Channel, Code, Refusal};
use blindvox_protocols::cryptmed::plan::{MAX_ROWS, Preset as Way, Reveal, Terms};
use blindvox_protocols::service::{DealtRequest, Ticket, dealer};
use blindvox_protocols::{Error, Result};

use super::client::Guest;
use super::config::Preset;
use super::models::Served;
use crate::remote::Peer;

/// How long the dealer may take for an order.
const ORDER: Duration = Duration::from_secs(10);

fn refused<T>(code: Code, text: impl Into<String>) -> Result<T> {
    Err(Error::Refused(Refusal::new(code, text)))
}

impl Guest<'_> {
    /// The way to the dealer, which must be a third host.
    pub(super) fn dealer(&self) -> Result<Peer> {
        let config = &self.service.config;
        let Some(found) = &config.dealer else {
            return refused(Code::Choices, "this service has no dealer (--preset silent needs none)");
        };
        Peer::dealer(&found.address, &config.identity, &found.trust).or_else(|e| self.failed(&e))
    }

    /// What is wrong with the dealer is this host's affair.
    fn failed<T>(&self, e: &Error) -> Result<T> {
        self.service.log("dealer", &e.to_string());
        refused(Code::Failure, "the service does not reach its dealer; its log says why")
    }

    /// How rows are run, if they may be so.
    pub(super) fn terms(&self, model: &Served, request: &DealtRequest) -> Result<(Arc<Program>, Terms)> {
        let named = |text: &str| format!("model {:?}: {text}", model.name);
        let Some(program) = &model.rows else {
            return refused(Code::Request, named("it takes scans, not rows of a table"));
        };
        let (preset, way) = if request.paper { (Preset::Paper, Way::Paper) } else { (Preset::Dealer, Way::Dealer) };
        if !model.presets.contains(&preset) {
            return refused(Code::Choices, named("not with this preset"));
        }
        if request.scores && !model.reveals_scores() {
            return refused(Code::Choices, named("its owner lets clients have classes alone"));
        }
        let sides = [request.rows, request.batch].map(|n| n as usize);
        if !(1..=MAX_ROWS).contains(&sides[1]) || sides[1] > sides[0] {
            return refused(Code::Request, named("found a batch of no rows or of too many"));
        }
        let reveal = if request.scores { Reveal::Scores } else { Reveal::Labels };
        Ok((program.clone(), Terms { reveal, preset: way }))
    }

    /// The dealer, once it waits for this client.
    pub(super) fn ordered(&self, peer: &Peer) -> Result<(Channel, Ticket)> {
        let secured = peer.meet().or_else(|e| self.failed(&e))?;
        if secured.peer == self.pin {
            return refused(Code::Request, "the dealer has this client's key: it would read the model");
        }
        let limits = self.service.config.limits();
        let mut channel = Channel::tls(secured, limits)?;
        channel.set_timeout(ORDER);
        let mut ticket = Ticket::default();
        Prng::from_os()?.fill_bytes(&mut ticket);
        match dealer::order(&mut channel, ticket, self.pin.bytes()) {
            Ok(()) => {
                channel.set_timeout(limits.wait);
                Ok((channel, ticket))
            }
            // Public facts of the dealer's.
            Err(Error::Refused(refusal)) => Err(Error::Refused(refusal)),
            Err(e) => self.failed(&e),
        }
    }
}
