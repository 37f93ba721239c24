//! `audit --roster`: who signed a federation's logs, and whether they agree.

use std::path::{Path, PathBuf};

use blindvox_federated::audit::Log;
use blindvox_federated::roster::Roster;
use blindvox_protocols::{Error, Result};

use super::told;
use crate::input::Done;
use crate::ui::screen::warn;

/// What `audit` does with a roster, after the chains of all logs were checked.
pub(crate) fn run(roster: &Path, paths: &[PathBuf]) -> Result<Done> {
    let roster = Roster::load(roster).map_err(told)?;
    let mut logs: Vec<(&Path, Log)> = Vec::new();
    for path in paths {
        let wrong = |e: blindvox_federated::Error| Error::Input(format!("{}: {e}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let log = Log::read(&roster, &text).map_err(wrong)?;
        log.remarks.iter().for_each(|remark| warn(&format!("{}: {remark}", path.display())));
        say!("{}: all lines signed by {}", path.display(), roster.name(log.of));
        for (before, other) in &logs {
            let common = other.compare(&log, &roster).map_err(wrong)?;
            say!("{} and {} agree in {common} facts", before.display(), path.display());
        }
        logs.push((path, log));
    }
    Ok(Done::Whole)
}
