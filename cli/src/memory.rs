//! Runs that keep within so much memory.

use std::sync::Arc;

use blindvox_models::Program;
use blindvox_protocols::infer::session::plans;
use blindvox_protocols::infer::{Ways, memory};
use blindvox_protocols::{Error, Result};

use crate::input::Input;
use crate::size::Size;
use crate::ui::screen;

/// What both parties' halves of a run take.
fn needed(program: &Program, ways: &Ways) -> Result<u64> {
    Ok(memory(program, &plans(program)?, ways).iter().sum())
}

impl Input {
    /// Cuts a run that would take more memory than `limit` into slabs, as few as keep within it.
    ///
    /// # Errors
    /// [`Error::Input`] where no number of slabs does.
    pub(crate) fn keep_within(&mut self, limit: Size, ways: &Ways) -> Result<()> {
        let whole = needed(&self.program, ways)?;
        if whole <= limit.0 {
            return Ok(());
        }
        let (grid, mut least) = (self.program.grid(), whole);
        for count in 2.. {
            let Some(program) = self.bundle.program_in_slabs(grid, count)? else { break };
            let needed = needed(&program, ways)?;
            if needed <= limit.0 {
                self.program = Arc::new(program);
                return Ok(());
            }
            least = least.min(needed);
        }
        let slabs = match least < whole {
            true => format!("{} in slabs", screen::bytes(least)),
            false => "and no less in slabs".to_owned(),
        };
        let [limit, whole] = [limit.0, whole].map(screen::bytes);
        Err(Error::Input(format!(
            "--memory: found {limit}, expected at least what this run takes: {whole} in one pass, {slabs}"
        )))
    }
}
