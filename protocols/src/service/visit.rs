//! A client's side of its connection to a service.

use blindvox_models::{ModelCard, Program};
use blindvox_net::Channel;

use super::Line;
use super::messages::{
    Accepts, Hello, Listed, MAGIC, REPLY, REQUEST, Reply, Request, RunRequest, SHORT, VERSIONS, Welcome, printable,
    recv, send,
};
use crate::error::{Error, Result};
use crate::infer::session::Role;
use crate::infer::{Observer, Options, Outcome, Session, Ways};

/// A client that a service has welcomed.
pub struct Visit {
    pub(super) line: Line,
    accepts: Accepts,
    /// The service's program version, for records.
    pub service: String,
}

/// What a client asks for.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// The model's name at the service; empty where it serves one.
    pub model: &'a str,
    /// What the service said of it.
    pub card: &'a ModelCard,
    /// Prepared as the card says, in its integers.
    pub volume: &'a [i32],
    /// The grid that is labelled, D, H, W; of rows of a table 1, 1 and their number.
    pub grid: [usize; 3],
}

impl Order<'_> {
    fn request(&self) -> Result<RunRequest> {
        let side = |d: usize| u32::try_from(d).map_err(|_| Error::Input(format!("a side of {d} voxels is too long")));
        let [d, h, w] = self.grid;
        let grid = [side(d)?, side(h)?, side(w)?];
        Ok(RunRequest { model: self.model.to_owned(), channels: side(self.card.input.channels)?, grid })
    }

    /// Whether an architecture is one that the card lets expect on this grid.
    fn check(&self, program: &Program) -> Result<()> {
        let (input, card) = (&program.tensors[program.input], self.card);
        if program.grid() != self.grid {
            let (found, expected) = (program.grid(), self.grid);
            return Err(Error::protocol(format!(
                "the architecture labels a grid of {found:?}, asked for was {expected:?}"
            )));
        }
        if (input.channels, input.scale_bits) != (card.input.channels, card.input.scale_bits)
            || program.windows() != card.windows(self.grid)?.as_ref()
        {
            return Err(Error::protocol("the architecture takes another input than the model's card says"));
        }
        let whole = card.gives_class && card.preparation.table.is_none();
        let labels = if whole { 1 } else { self.grid.iter().product() };
        if (program.classes, program.labelled()) != (card.classes.len(), labels) {
            return Err(Error::protocol("the architecture has other classes or labels than the model's card"));
        }
        Ok(())
    }
}

impl Visit {
    /// Greets the service at the other end.
    ///
    /// # Errors
    /// [`Error::Refused`] by the service; [`Error::Protocol`] for an answer that is none; the channel's.
    pub fn begin(mut channel: Channel, accepts: Accepts) -> Result<Self> {
        channel.set_phase("setup");
        let program = env!("CARGO_PKG_VERSION").to_owned();
        let hello = Hello { magic: MAGIC, versions: VERSIONS, features: 0, accepts: accepts.clone(), program };
        send(&mut channel, &hello, SHORT)?;
        let bytes = channel.recv()?;
        let welcome: Welcome = super::messages::decode(&bytes, SHORT, "a welcome")?;
        if !(VERSIONS[0]..=VERSIONS[1]).contains(&welcome.version) {
            let [first, last] = VERSIONS;
            return Err(Error::protocol(format!(
                "the service chose version {}, offered were {first} to {last}",
                welcome.version
            )));
        }
        bind(&mut channel, &hello, &bytes)?;
        Ok(Self { line: Line::Fresh(Box::new(channel)), accepts, service: printable(&welcome.program) })
    }

    pub(super) fn ask(&mut self, request: &Request) -> Result<Reply> {
        let channel = self.line.channel();
        send(channel, request, REQUEST)?;
        recv(channel, REPLY, "a reply")
    }

    /// What is served to this client.
    ///
    /// # Errors
    /// Those of [`Self::begin`].
    pub fn models(&mut self) -> Result<Vec<Listed>> {
        match self.ask(&Request::List)? {
            Reply::Models(models) => Ok(models
                .into_iter()
                .map(|m| Listed { name: printable(&m.name), digest: printable(&m.digest) })
                .collect()),
            other => Err(unexpected("a list of models", &other)),
        }
    }

    /// What this client must know of a model.
    ///
    /// # Errors
    /// Those of [`Self::begin`], and [`Error::Model`] for a card that is wrong.
    pub fn card(&mut self, model: &str) -> Result<ModelCard> {
        match self.ask(&Request::Describe(model.to_owned()))? {
            Reply::Card(json) => Ok(ModelCard::parse(json.as_bytes())?),
            other => Err(unexpected("a card", &other)),
        }
    }

    /// One run on a volume that was prepared as the card says. `queued` hears how many runs come first, as often as that
    /// changes. The connection serves for more runs.
    ///
    /// # Errors
    /// Those of [`Self::begin`] and of [`Client::run`](crate::infer::Client::run).
    pub fn run(
        mut self,
        order: Order<'_>,
        mut options: Options,
        queued: &mut dyn FnMut(u32),
        observer: &mut dyn Observer,
    ) -> Result<(Outcome, Self)> {
        let mut reply = self.ask(&Request::Run(order.request()?))?;
        let choice = loop {
            match reply {
                Reply::Queued(place) => queued(place),
                Reply::Start { choice, .. } => break choice,
                other => return Err(unexpected("a start", &other)),
            }
            reply = recv(self.line.channel(), REPLY, "a reply")?;
        };
        let chosen = choice.ways().filter(|_| self.accepts.allows(&choice));
        (options.gate_hash, options.ways) =
            chosen.ok_or_else(|| Error::protocol("the service chose what this client did not offer"))?;
        let session = match self.line {
            Line::Fresh(channel) => {
                let prng = options.randomness.prng(blindvox_net::Party::Client)?;
                Session::begin(Role::Client, *channel, prng, options)?
            }
            Line::Met(session)
                if (session.options().gate_hash, session.options().ways) == (options.gate_hash, options.ways) =>
            {
                session.again(None)?
            }
            Line::Met(_) => {
                return Err(Error::protocol("the service chose otherwise than for this session's first run"));
            }
        };
        order.check(session.program())?;
        let (outcome, session) = session.preprocess()?.run_client_on(order.volume, observer)?;
        Ok((outcome, Self { line: Line::Met(Box::new(session)), ..self }))
    }

    /// How runs over this connection are made, once one was.
    pub fn ways(&self) -> Option<Ways> {
        match &self.line {
            Line::Fresh(_) => None,
            Line::Met(session) => Some(session.options().ways),
        }
    }

    /// Gives a run up from another thread.
    pub fn canceller(&mut self) -> blindvox_net::channel::Canceller {
        self.line.channel().canceller()
    }

    /// How often the channel had to wait, and what went over it.
    pub fn stats(&mut self) -> &blindvox_net::channel::Stats {
        self.line.channel().stats()
    }
}

pub(super) fn unexpected(expected: &str, found: &Reply) -> Error {
    let found = match found {
        Reply::Models(_) => "a list of models",
        Reply::Card(_) => "a card",
        Reply::Queued(_) => "a place in a queue",
        Reply::Start { .. } => "a start",
        Reply::Dealt { .. } => "a dealer's ticket",
    };
    Error::protocol(format!("the service answered with {found} where {expected} was expected"))
}

/// Both ends bind what they derive to both greetings as they were sent.
pub(super) fn bind(channel: &mut Channel, hello: &Hello, welcome: &[u8]) -> Result<()> {
    channel.bind(&super::messages::encode(hello, SHORT)?);
    channel.bind(welcome);
    Ok(())
}
