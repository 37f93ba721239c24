//! What is made before the input is known: square pairs, one for each squared value of one run.

use std::fmt;
use std::time::Instant;

use super::report::StepCost;
use super::session::Session;
use crate::error::Result;
use crate::model::{Program, Step};
use crate::triples::{Correlations, HeSource, SquarePairs};

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
    pub(super) pairs: SquarePairs,
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
        let mut pairs = SquarePairs::default();
        if count > 0 {
            let Session { party, channel, prng, options, .. } = &mut session;
            let mut source = HeSource::setup(*party, channel, &options.device, prng)?;
            pairs = source.square_pairs(channel, count)?;
        }
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
