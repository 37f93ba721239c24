//! What is served: bundles, read once, with their cards and what a run of each takes, by grid.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use blindvox_models::format::bundle::{MODEL_FILE, WEIGHTS_FILE};
use blindvox_models::{Bundle, ModelCard, Program};
use blindvox_protocols::infer::session::plans;
use blindvox_protocols::infer::shares::public;
use blindvox_protocols::infer::{Comparison, Ways, memory};
use blindvox_protocols::linear::Plan;
use blindvox_protocols::{Error, Result};

use super::config::{Model, Preset};

/// Programs of other grids than a model's own that are kept.
const KEPT: usize = 4;

/// What runs on one grid.
pub(crate) struct Job {
    pub program: Arc<Program>,
    pub plans: Vec<Plan>,
    /// Bytes that a run takes here.
    pub memory: u64,
    /// Coefficients of a run's replies.
    pub coefficients: u64,
}

impl Job {
    fn new(program: Program) -> Result<Arc<Self>> {
        public::check(&program)?;
        let plans = plans(&program)?;
        let of = |compare| memory(&program, &plans, &Ways { compare, ..Ways::BUNET })[1];
        let memory = [Comparison::SignSelect, Comparison::Transfers].map(of).into_iter().max().unwrap_or_default();
        let once: usize = plans.iter().map(Plan::sent_coefficients).sum();
        let coefficients = (once * program.passes()) as u64;
        Ok(Arc::new(Self { program: Arc::new(program), plans, memory, coefficients }))
    }

    /// D, H, W of what it labels.
    pub(crate) fn grid(&self) -> [usize; 3] {
        self.program.grid()
    }
}

/// A model that is served.
pub(crate) struct Served {
    /// As clients name it.
    pub name: String,
    /// BLAKE3 of its files.
    pub digest: String,
    /// JSON.
    pub card: String,
    /// How runs of it may be made.
    pub presets: Vec<Preset>,
    /// On its own grid.
    pub own: Arc<Job>,
    bundle: Bundle,
    /// Of other grids, the last used last.
    others: Mutex<VecDeque<Arc<Job>>>,
}

impl Served {
    /// Whether grids of scans' own run.
    pub(crate) fn is_of_any_size(&self) -> bool {
        self.bundle.preparation.is_of_any_size()
    }

    /// What runs on a grid. One at a time is planned, so that requests of many don't take all of this machine.
    ///
    /// # Errors
    /// [`Error::Input`], [`Error::Model`] for a grid that the network doesn't take.
    pub(crate) fn job(&self, grid: [usize; 3]) -> Result<Arc<Job>> {
        if grid == self.own.grid() {
            return Ok(self.own.clone());
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let job = match others.iter().position(|job| job.grid() == grid).and_then(|at| others.remove(at)) {
            Some(job) => job,
            None => Job::new(self.bundle.program_for(grid)?)?,
        };
        others.push_back(job.clone());
        if others.len() > KEPT {
            others.pop_front();
        }
        Ok(job)
    }
}

/// BLAKE3 of a bundle's files, in hexadecimal digits.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn digest(bundle: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for file in [MODEL_FILE, WEIGHTS_FILE] {
        let path = bundle.join(file);
        let content = std::fs::read(&path).map_err(|source| Error::Io { path, source })?;
        hasher.update(&(content.len() as u64).to_le_bytes()).update(&content);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Reads what is to be served.
///
/// # Errors
/// [`Error::Input`], [`Error::Model`] naming the model.
pub(crate) fn load(models: &[Model]) -> Result<Vec<Served>> {
    let mut all: Vec<Served> = Vec::new();
    for Model { name, path, presets } in models {
        if all.iter().any(|m| m.name == *name) {
            return Err(Error::Input(format!("model {name:?}: found twice, expected names of their own")));
        }
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            return Err(Error::Input(format!("model {name:?}: expected a name of at most 64 bytes")));
        }
        let bundle = Bundle::load(path)?;
        if bundle.preparation.table.is_some() {
            return Err(Error::Input(format!("model {name:?}: found rows of a table, which are not served yet")));
        }
        let own = Job::new(bundle.program()?)?;
        let digest = digest(path)?;
        let card = serde_json::to_string(&ModelCard::of(&bundle, &own.program, digest.clone()))
            .map_err(|e| Error::Input(e.to_string()))?;
        let (presets, others) = (presets.clone(), Mutex::default());
        all.push(Served { name: name.clone(), digest, card, presets, own, bundle, others });
    }
    Ok(all)
}
