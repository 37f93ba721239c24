//! What is made before the input is known: the source of square pairs, one for each squared value of one run.
//!
//! With [`PairSupply::AsUsed`] the source makes them chunk by chunk, as steps square: a few megabytes are alive at a
//! time. With [`PairSupply::Ahead`] they are all made here, 8 bytes each a party, and the online phase sends less.

use std::fmt;
use std::time::Instant;

use blindvox_engine::stack::leaving_nothing;
use blindvox_models::{Program, Step};

use super::session::Session;
use crate::correlations::{Correlations, HeSource, Kind};
use crate::error::{Error, Result};
use crate::infer::presets::PairSupply;
use crate::infer::report::StepCost;

/// Values squared in a run at most where the pairs are made ahead: 4 GiB a party.
pub const MAX_AHEAD: usize = 1 << 29;

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
    pub(super) preparation: Vec<StepCost>,
}

/// Says whose it is and no secret.
impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ready({:?}, {:?})", self.session, self.session.peer.source)
    }
}

/// Values squared in one run, in all windows.
pub fn squares(program: &Program) -> usize {
    let count = |step: &Step| match step {
        Step::Square { input, .. } => program.tensors[*input].elements(),
        _ => 0,
    };
    program.passes() * program.steps.iter().map(count).sum::<usize>()
}

/// An error where a run needs what its source does not offer.
fn require(program: &Program, source: &dyn Correlations) -> Result<()> {
    for step in &program.steps {
        if let Step::Square { name, .. } = step
            && !source.offers(Kind::SquarePairs)
        {
            return Err(Error::Model(format!("{name}: {} are needed, the source is {source:?}", Kind::SquarePairs)));
        }
    }
    Ok(())
}

impl Session {
    /// Makes what one run needs and no input is needed for: the source of its square pairs, or the pairs.
    ///
    /// # Errors
    /// What the peer or the device make impossible.
    pub fn preprocess(self) -> Result<Ready> {
        leaving_nothing(|| Ready::new(self))
    }
}

impl Ready {
    fn new(mut session: Session) -> Result<Self> {
        let Session { peer, options, program, before, .. } = &mut session;
        let setup = peer.channel.stats().total - *before;
        let start = Instant::now();
        peer.channel.set_phase("preprocessing");
        let count = squares(program);
        if count > 0 {
            if options.ways.pairs() == PairSupply::Ahead && count > MAX_AHEAD {
                let most = format!("at most {MAX_AHEAD} square pairs can be made ahead");
                return Err(Error::Model(format!("{count} values to square: {most}")));
            }
            peer.source = Box::new(HeSource::setup(peer, &options.device)?);
            if options.ways.pairs() == PairSupply::Ahead {
                peer.source = Box::new(peer.square_pairs(count)?);
            }
        }
        require(program, &*peer.source)?;
        let preparation = vec![
            StepCost { name: "setup".to_owned(), kind: "setup", time: session.setup_time, traffic: setup },
            StepCost {
                name: "square pairs".to_owned(),
                kind: "preprocessing",
                time: start.elapsed(),
                traffic: session.peer.channel.stats().total - session.before - setup,
            },
        ];
        Ok(Self { session, preparation })
    }
}

#[cfg(test)]
mod tests {
    use blindvox_models::testing;

    use super::*;
    use crate::correlations::{Nothing, SquarePairs};

    #[test]
    fn a_source_without_what_is_needed_is_noticed_before_the_run() {
        let program = testing::tiny().program().0;
        assert!(squares(&program) > 0 && require(&program, &SquarePairs::default()).is_ok());
        let text = require(&program, &Nothing).unwrap_err().to_string();
        assert!(text.contains("square pairs are needed, the source is Nothing"), "{text}");
    }
}
