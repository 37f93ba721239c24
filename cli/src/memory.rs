//! Sizes in bytes as people write them, and runs that keep within one.

use std::str::FromStr;
use std::sync::Arc;

use blindvox_models::Program;
use blindvox_protocols::infer::session::plans;
use blindvox_protocols::infer::{Ways, memory};
use blindvox_protocols::{Error, Result};

use crate::input::Input;
use crate::ui::screen;

/// `12GiB`, `512MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parts =
            [("GiB", 30), ("MiB", 20)].into_iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
        let bytes = parts.and_then(|(number, shift)| {
            let number: u64 = number.trim().parse().ok()?;
            number.checked_shl(shift).filter(|bytes| bytes >> shift == number && *bytes > 0)
        });
        bytes.map(Self).ok_or_else(|| format!("found {text:?}, expected a size as 12GiB or 512MiB"))
    }
}

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
        let [limit, whole, least] = [limit.0, whole, least].map(screen::bytes);
        let slabs = if least == whole { "which this network can't do in slabs" } else { &format!("{least} in slabs") };
        Err(Error::Input(format!(
            "--memory: found {limit}, expected at least what this run takes: {whole} in one pass, {slabs}"
        )))
    }
}
