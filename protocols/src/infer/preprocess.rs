//! What is made before the input is known: the source of square pairs, one for each squared value of one run.
//!
//! With [`PairSupply::AsUsed`] the source makes them chunk by chunk, as steps square: a few megabytes are alive at a time.
//! With [`PairSupply::Ahead`] they are all made here, 8 bytes each a party, and the online phase sends less.

use std::fmt;
use std::time::Instant;

use blindvox_models::{Program, Step};
use blindvox_net::channel::Channel;

use super::report::StepCost;
use super::session::Session;
use crate::error::{Error, Result};
use crate::triples::{BeaverTriples, Correlations, HeSource, SquarePairs};

/// When square pairs are made; both parties must choose alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PairSupply {
    /// While the steps that use them run.
    #[default]
    AsUsed,
    /// All of them in preprocessing.
    Ahead,
}

/// Values squared in a run at most where the pairs are made ahead: 4 GiB a party.
pub const MAX_AHEAD: usize = 1 << 29;

/// Where a run's pairs come from.
#[derive(Debug)]
pub(super) enum Pairs {
    /// Nothing is squared.
    None,
    /// They are made as they are used.
    Source(Box<HeSource>),
    /// They are there.
    Stock(SquarePairs),
}

impl Correlations for Pairs {
    fn square_pairs(&mut self, channel: &mut Channel, count: usize) -> Result<SquarePairs> {
        match self {
            Self::None => SquarePairs::default().take(count),
            Self::Source(source) => source.square_pairs(channel, count),
            Self::Stock(pairs) => pairs.square_pairs(channel, count),
        }
    }

    fn triples(&mut self, channel: &mut Channel, count: usize) -> Result<BeaverTriples> {
        match self {
            Self::None => BeaverTriples::default().take(count),
            Self::Source(source) => source.triples(channel, count),
            Self::Stock(pairs) => pairs.triples(channel, count),
        }
    }
}

/// A party that can run once: its one-use material goes with it.
///
/// ```
/// # use blindvox_protocols::{infer::Ready, Result};
/// fn one_run(ready: Ready, scan: &[i32]) -> Result<()> {
///     ready.run_client(scan, &mut ()).map(drop)
/// }
/// ```
///
/// A second run with the same material does not compile:
///
/// ```compile_fail,E0382
/// # use blindvox_protocols::{infer::Ready, Result};
/// fn two_runs(ready: Ready, scan: &[i32]) -> Result<()> {
///     ready.run_client(scan, &mut ()).map(drop)?;
///     ready.run_client(scan, &mut ()).map(drop)
/// }
/// ```
///
/// Nor does a copy of it:
///
/// ```compile_fail,E0599
/// # use blindvox_protocols::infer::Ready;
/// fn copy(ready: &Ready) -> Ready {
///     Ready::clone(ready)
/// }
/// ```
pub struct Ready {
    pub(super) session: Session,
    pub(super) pairs: Pairs,
    pub(super) preparation: Vec<StepCost>,
}

/// Says whose it is and no secret.
impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ready({:?}, {:?})", self.session, self.pairs)
    }
}

/// Values squared in one run.
pub fn squares(program: &Program) -> usize {
    let count = |step: &Step| match step {
        Step::Square { input, .. } => program.tensors[*input].elements(),
        _ => 0,
    };
    program.steps.iter().map(count).sum()
}

impl Ready {
    pub(super) fn new(mut session: Session) -> Result<Self> {
        let setup = session.channel.stats().total;
        let start = Instant::now();
        session.channel.set_phase("preprocessing");
        let count = squares(&session.program);
        let Session { party, channel, prng, options, .. } = &mut session;
        let mut source = || HeSource::setup(*party, channel, &options.device, prng);
        let pairs = match options.pairs {
            _ if count == 0 => Pairs::None,
            PairSupply::AsUsed => Pairs::Source(Box::new(source()?)),
            PairSupply::Ahead if count > MAX_AHEAD => {
                let most = format!("at most {MAX_AHEAD} square pairs can be made ahead");
                return Err(Error::Model(format!("{count} values to square: {most}")));
            }
            PairSupply::Ahead => Pairs::Stock(source()?.square_pairs(channel, count)?),
        };
        let preparation = vec![
            StepCost { name: "setup".to_owned(), kind: "setup", time: session.setup_time, traffic: setup },
            StepCost {
                name: "square pairs".to_owned(),
                kind: "preprocessing",
                time: start.elapsed(),
                traffic: session.channel.stats().total - setup,
            },
        ];
        Ok(Self { session, pairs, preparation })
    }
}
