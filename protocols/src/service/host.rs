//! The service's side of one connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use blindvox_models::Program;
use blindvox_net::{Channel, Code, Party, Refusal};

use super::Line;
use super::dealt::{self, DealtAdmission};
use super::messages::{
    Accepts, Choice, DealtRequest, Hello, Listed, REPLY, REQUEST, Reply, Request, RunRequest, SHORT, VERSIONS, Welcome,
    decode, encode, recv, send,
};
use crate::error::{Error, Result};
use crate::infer::session::Role;
use crate::infer::{Observer, Options, Outcome, Session};

/// A run that may begin. What it holds is given back when it is dropped.
pub struct Admission<P> {
    /// Its number in the service's records.
    pub run: u64,
    /// The model.
    pub program: Arc<Program>,
    /// How it is made: device, gate hash and ways, among what the client accepts.
    pub options: Options,
    /// What is held while it runs.
    pub permit: P,
}

/// What a service does for one client.
pub trait Host {
    /// What is held while a run runs.
    type Permit;

    /// What is served to this client.
    fn models(&self) -> Vec<Listed>;

    /// A model's card, JSON.
    ///
    /// # Errors
    /// A refusal.
    fn card(&self, model: &str) -> std::result::Result<String, Refusal>;

    /// Waits until a run may begin. `queued` is told how many come first, as often as that changes and at least each second;
    /// its errors end the waiting.
    ///
    /// # Errors
    /// A refusal, or what `queued` said.
    fn admit(
        &self,
        request: &RunRequest,
        accepts: &Accepts,
        queued: &mut dyn FnMut(u32) -> Result<()>,
    ) -> Result<Admission<Self::Permit>>;

    /// The same for rows with a dealer, which waits for the client when this returns.
    ///
    /// # Errors
    /// A refusal, as by every service that has no dealer, or what `queued` said.
    fn admit_dealt(
        &self,
        request: &DealtRequest,
        queued: &mut dyn FnMut(u32) -> Result<()>,
    ) -> Result<DealtAdmission<Self::Permit>> {
        let _ = (request, queued);
        Err(Error::Refused(Refusal::new(Code::Choices, "this service has no dealer")))
    }

    /// Watches a run.
    fn observer(&self, run: u64) -> Box<dyn Observer + '_>;

    /// A run has ended, well, with so many bytes sent and received, or not.
    fn ended(&self, permit: Self::Permit, seconds: Duration, outcome: std::result::Result<[u64; 2], &Error>);
}

/// Serves one client until it leaves.
///
/// # Errors
/// What ended the connection before its time; the peer has been told, where it is to know.
pub fn serve<H: Host>(channel: Channel, host: &H) -> Result<()> {
    let canceller = channel.canceller();
    let mut line = Some(Line::Fresh(Box::new(channel)));
    let ended = converse(&mut line, host);
    let told = match &ended {
        Err(Error::Refused(refusal)) => Some(refusal.clone()),
        Err(Error::Protocol(_)) => Some(Refusal::new(Code::Request, "what this client sent is not of the protocol")),
        Err(Error::Connection(_) | Error::Cancelled) | Ok(()) => None,
        // Whatever else fails here is this side's affair, and may be told apart by nobody.
        Err(_) => Some(Refusal::new(Code::Failure, "the service failed; its log says why")),
    };
    if let Some(refusal) = told {
        canceller.refuse(refusal);
    }
    drop(line);
    ended
}

fn converse<H: Host>(line: &mut Option<Line>, host: &H) -> Result<()> {
    let gone = || Error::Connection("the connection has ended".to_owned());
    let mut accepts = greet(line.as_mut().ok_or_else(gone)?.channel())?;
    loop {
        let channel = line.as_mut().ok_or_else(gone)?.channel();
        channel.set_phase("setup");
        let bytes = match channel.recv() {
            Ok(bytes) => bytes,
            // Who has all that it wanted leaves.
            Err(blindvox_net::Error::Connection(_)) => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        match decode(&bytes, REQUEST, "a request")? {
            Request::List => send(channel, &Reply::Models(host.models()), REPLY)?,
            Request::Describe(model) => {
                let json = host.card(&model).map_err(Error::Refused)?;
                send(channel, &Reply::Card(json), REPLY)?;
            }
            Request::Run(request) => {
                let admission = waited(channel, |queued| host.admit(&request, &accepts, queued))?;
                let session = run(line.take().ok_or_else(gone)?, host, admission)?;
                // Keys and transfers are kept, and so is how they are used.
                let (hash, ways) = (session.options().gate_hash, session.options().ways);
                accepts = Accepts::new(hash, Some(ways.compare), Some(ways.ot), accepts.link());
                *line = Some(Line::Met(Box::new(session)));
            }
            Request::Deal(request) => {
                let admission = waited(channel, |queued| host.admit_dealt(&request, queued))?;
                let Some(Line::Fresh(channel)) = line.take() else {
                    return Err(Error::protocol("rows with a dealer on a connection that has had runs without one"));
                };
                let (start, DealtAdmission { start: with, permit }) = (Instant::now(), admission);
                let result = dealt::answer(*channel, &request, with);
                host.ended(permit, start.elapsed(), result.as_ref().copied());
                return result.map(drop);
            }
        }
    }
}

fn greet(channel: &mut Channel) -> Result<Accepts> {
    channel.set_phase("setup");
    let hello: Hello = recv(channel, SHORT, "a hello")?;
    if !hello.is_sound() {
        return Err(Error::protocol("a hello that is not blindvox's"));
    }
    let ([first, last], [oldest, newest]) = (hello.versions, VERSIONS);
    let version = last.min(newest);
    if version < first.max(oldest) {
        let range =
            |[first, last]: [u16; 2]| if first == last { first.to_string() } else { format!("{first} to {last}") };
        let (client, service) = (range(hello.versions), range(VERSIONS));
        let side = if last < oldest { "here" } else { "there" };
        let text = format!("versions: this program speaks {client}, the service {service}: update blindvox {side}");
        return Err(Error::Refused(Refusal::new(Code::Versions, text)));
    }
    let welcome = Welcome { version, features: 0, program: env!("CARGO_PKG_VERSION").to_owned() };
    let bytes = encode(&welcome, SHORT)?;
    channel.send(bytes.clone())?;
    super::visit::bind(channel, &hello, &bytes)?;
    Ok(hello.accepts)
}

/// Waits for a place; the client hears how many come first.
fn waited<T>(channel: &mut Channel, admit: impl FnOnce(&mut dyn FnMut(u32) -> Result<()>) -> Result<T>) -> Result<T> {
    let mut told = None;
    admit(&mut |place| {
        channel.check()?;
        if told.replace(place) != Some(place) {
            send(channel, &Reply::Queued(place), SHORT)?;
        }
        Ok(())
    })
}

fn run<H: Host>(line: Line, host: &H, admission: Admission<H::Permit>) -> Result<Session> {
    let Admission { run, program, options, permit } = admission;
    let start = Instant::now();
    let result = begun(line, host, run, program, options);
    let bytes = |(outcome, _): &(Outcome, Session)| {
        let costs = || outcome.preparation.iter().chain(&outcome.steps);
        [costs().map(|c| c.traffic.sent).sum(), costs().map(|c| c.traffic.received).sum()]
    };
    host.ended(permit, start.elapsed(), result.as_ref().map(bytes));
    Ok(result?.1)
}

fn begun<H: Host>(
    mut line: Line,
    host: &H,
    run: u64,
    program: Arc<Program>,
    options: Options,
) -> Result<(Outcome, Session)> {
    let choice = Choice::new(options.gate_hash, &options.ways);
    send(line.channel(), &Reply::Start { run, choice }, SHORT)?;
    let session = match line {
        Line::Fresh(channel) => {
            let prng = options.randomness.prng(Party::Server)?;
            Session::begin(Role::Server(program), *channel, prng, options)?
        }
        Line::Met(session) => session.again(Some(program))?,
    };
    session.preprocess()?.run_server_on(&mut *host.observer(run))
}
