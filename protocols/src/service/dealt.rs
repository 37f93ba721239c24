//! Runs of rows with a dealer, between a service and its client.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use blindvox_models::{ModelCard, Program};
use blindvox_net::Channel;
use blindvox_net::channel::Canceller;

use super::Line;
use super::messages::{DealtRequest, REPLY, Reply, Request, SHORT, Ticket, recv, send};
use super::visit::{Visit, unexpected};
use crate::cryptmed::memory::memory;
use crate::cryptmed::outcome::{Cost, Outcome};
use crate::cryptmed::plan::{Plan, Preset, Reveal, Terms};
use crate::cryptmed::session::{Session, pass_on};
use crate::error::{Error, Result};

/// Memory that a service's architecture may take of its client.
const MOST: u64 = 32 << 30;
/// How often who waits for the dealer looks whether the client is still there.
const LOOK: Duration = Duration::from_millis(20);

/// Rows with a dealer that a service lets in.
pub struct DealtAdmission<P> {
    /// What begins.
    pub start: Start,
    /// What is held while it runs, and given back when it is dropped.
    pub permit: P,
}

/// What a service begins rows with.
pub struct Start {
    /// Its number in the service's records.
    pub run: u64,
    /// The model.
    pub program: Arc<Program>,
    /// As the client asked.
    pub terms: Terms,
    /// The dealer, which waits for the client.
    pub dealer: Channel,
    /// What it knows the client by.
    pub ticket: Ticket,
}

/// What a client asks for.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// The model's name at the service; empty where it serves one.
    pub model: &'a str,
    /// What the service said of it.
    pub card: &'a ModelCard,
    /// In its integers, a list a row.
    pub rows: &'a [Vec<i32>],
    /// Rows at once.
    pub batch: usize,
    /// What the client learns, and how.
    pub terms: Terms,
}

/// What a client has of its rows.
#[derive(Debug)]
pub struct Dealt {
    /// One a batch.
    pub outcomes: Vec<Outcome>,
    /// What setting up and hiding the model cost.
    pub start: [Cost; 2],
    /// Bytes from the dealer.
    pub from_dealer: u64,
}

impl Rows<'_> {
    fn request(&self) -> Result<DealtRequest> {
        let count = |n: usize| u32::try_from(n).map_err(|_| Error::Input(format!("{n} rows are too many")));
        let (rows, batch) = (count(self.rows.len())?, count(self.batch.min(self.rows.len()))?);
        let Terms { reveal, preset } = self.terms;
        let (scores, paper) = (reveal == Reveal::Scores, preset == Preset::Paper);
        Ok(DealtRequest { model: self.model.to_owned(), rows, batch, scores, paper })
    }

    /// Whether a session is one that the card and the request let expect.
    fn check(&self, session: &Session) -> Result<()> {
        let (program, card) = (session.program(), self.card);
        if session.terms() != self.terms {
            return Err(Error::protocol("the service runs rows otherwise than this client asked for"));
        }
        let input = &program.tensors[program.input];
        if (input.channels, input.dims, input.scale_bits)
            != (card.input.channels, card.input.dims, card.input.scale_bits)
        {
            return Err(Error::protocol("the architecture takes another input than the model's card says"));
        }
        if (program.classes, program.labelled()) != (card.classes.len(), 1) {
            return Err(Error::protocol("the architecture has other classes than the model's card"));
        }
        let batch = self.batch.clamp(1, self.rows.len().max(1));
        let [needed, ..] = memory(&Plan::new(&Arc::new(program.clone()), batch, self.terms)?);
        if needed > MOST {
            let [needed, most] = [needed, MOST].map(|bytes| bytes >> 30);
            return Err(Error::Input(format!(
                "{batch} rows at once of the service's architecture need about {needed} GiB here, at most {most} are taken"
            )));
        }
        Ok(())
    }
}

impl Visit {
    /// Runs rows with the service's dealer, to which `dealer` connects for a ticket. `queued` hears how many runs come first.
    ///
    /// # Errors
    /// [`Error::Refused`] by the service or the dealer; [`Error::Protocol`]; the channels'.
    pub fn deal(
        mut self,
        rows: Rows<'_>,
        queued: &mut dyn FnMut(u32),
        dealer: impl FnOnce(Ticket) -> Result<Channel>,
    ) -> Result<Dealt> {
        let mut reply = self.ask(&Request::Deal(rows.request()?))?;
        let ticket = loop {
            match reply {
                Reply::Queued(place) => queued(place),
                Reply::Dealt { ticket, .. } => break ticket,
                other => return Err(unexpected("a dealer's ticket", &other)),
            }
            reply = recv(self.line.channel(), REPLY, "a reply")?;
        };
        let Line::Fresh(channel) = self.line else {
            return Err(Error::protocol("rows with a dealer on a connection that has had runs without one"));
        };
        let mut session = Session::connect(*channel, dealer(ticket)?)?;
        rows.check(&session)?;
        let batches = rows.rows.chunks(rows.batch.max(1));
        let outcomes = batches.map(|batch| session.run(batch)).collect::<Result<Vec<_>>>()?;
        let (start, from_dealer) = ([session.setup, session.model], session.dealt());
        session.finish()?;
        Ok(Dealt { outcomes, start, from_dealer })
    }
}

/// Waits for the dealer no longer than the client is there: it is for its sake.
fn watched<T>([client, dealer]: [&Canceller; 2], wait: impl FnOnce() -> Result<T>) -> Result<T> {
    // Dropped when the waiting is over, whatever ended it.
    let (waiting, over) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while over.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                if client.has_ended() {
                    return dealer.cancel();
                }
            }
        });
        let waited = wait();
        drop(waiting);
        match waited {
            Err(Error::Cancelled) => Err(Error::Connection("the client left before the dealer had dealt".to_owned())),
            waited => waited,
        }
    })
}

/// All runs of a session; what each phase cost.
fn runs(session: &mut Session, request: &DealtRequest) -> Result<Vec<Cost>> {
    let mut left = request.rows as usize;
    let mut costs = vec![session.setup, session.model];
    while let Some(outcome) = session.answer_within(left.min(request.batch as usize))? {
        left = left.saturating_sub(outcome.rows);
        costs.extend([outcome.preprocessing, outcome.online]);
    }
    Ok(costs)
}

/// The service's part, from the ticket on; bytes sent and received.
pub(super) fn answer(mut channel: Channel, request: &DealtRequest, start: Start) -> Result<[u64; 2]> {
    let Start { run, program, terms, dealer, ticket } = start;
    send(&mut channel, &Reply::Dealt { run, ticket }, SHORT)?;
    let client = channel.canceller();
    let mut session = watched([&client, &dealer.canceller()], || Session::serve(&program, terms, channel, dealer))?;
    let costs = runs(&mut session, request).inspect_err(|e| pass_on(&client, e))?;
    let sum = |of: fn(&Cost) -> u64| costs.iter().map(of).sum();
    Ok([sum(|cost| cost.traffic.sent), sum(|cost| cost.traffic.received)])
}
