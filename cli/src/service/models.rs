//! What is served: bundles, read once, with their cards and what a run of each takes, by grid.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use blindvox_models::format::bundle::{MODEL_FILE, Reveal, WEIGHTS_FILE};
use blindvox_models::{Bundle, ModelCard, Program};
use blindvox_protocols::cryptmed::memory::memory as dealt_memory;
use blindvox_protocols::cryptmed::plan::{MAX_ROWS, Plan as DealtPlan, Terms};
use blindvox_protocols::infer::session::plans;
use blindvox_protocols::infer::shares::public;
use blindvox_protocols::infer::{Ways, choice, memory};
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
        public::runs_without_dealer(&program)?;
        let plans = plans(&program)?;
        let memory = choice::all(Ways::BUNET).map(|ways| memory(&program, &plans, &ways)[1]).max().unwrap_or_default();
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
    /// Of rows: what runs with a dealer.
    pub rows: Option<Arc<Program>>,
    bundle: Bundle,
    /// Of other grids, the last used last.
    others: Mutex<VecDeque<Arc<Job>>>,
}

impl Served {
    /// Whether other grids than its own run: of scans, or lines of rows side by side.
    pub(crate) fn takes(&self, grid: [usize; 3]) -> bool {
        let side_by_side = || matches!(grid, [1, 1, 1..=MAX_ROWS]) && self.own.program.of_rows(2).is_some();
        match &self.rows {
            Some(_) => side_by_side(),
            None => self.bundle.preparation.is_of_any_size(),
        }
    }

    /// Whether clients may have its scores.
    pub(crate) fn reveals_scores(&self) -> bool {
        self.bundle.reveal == Some(Reveal::Scores)
    }

    /// Whether it runs with a dealer alone.
    ///
    /// # Errors
    /// Why.
    pub(crate) fn runs_without_dealer(&self) -> Result<()> {
        public::runs_without_dealer(&self.own.program)
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
            None => Job::new(self.program_for(grid)?)?,
        };
        others.push_back(job.clone());
        if others.len() > KEPT {
            others.pop_front();
        }
        Ok(job)
    }
}

impl Served {
    fn program_for(&self, grid: [usize; 3]) -> Result<Program> {
        if self.rows.is_none() {
            return Ok(self.bundle.program_for(grid)?);
        }
        let program = self.own.program.of_rows(grid[2]).filter(|program| program.grid() == grid);
        program.ok_or_else(|| Error::Input(format!("a grid of {grid:?} for rows of a table")))
    }
}

/// What of a network of rows runs, without a dealer if it can, and with one.
fn of_rows(bundle: &Bundle) -> Result<(Arc<Job>, Arc<Program>)> {
    let dealt = Arc::new(bundle.whole_program()?);
    public::check(&dealt)?;
    let [_, memory, _] = dealt_memory(&DealtPlan::new(&dealt, 1, Terms::LABELS)?);
    let program = bundle.program()?;
    let own = match public::runs_without_dealer(&program) {
        Ok(()) => Job::new(program)?,
        Err(_) => Arc::new(Job { program: Arc::new(program), plans: Vec::new(), memory, coefficients: 0 }),
    };
    Ok((own, dealt))
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
        let (own, rows) = match bundle.preparation.table {
            Some(_) => of_rows(&bundle).map(|(own, rows)| (own, Some(rows)))?,
            None => (Job::new(bundle.program()?)?, None),
        };
        let digest = digest(path)?;
        let card = serde_json::to_string(&ModelCard::of(&bundle, &own.program, digest.clone()))
            .map_err(|e| Error::Input(e.to_string()))?;
        let (presets, others) = (presets.clone(), Mutex::default());
        all.push(Served { name: name.clone(), digest, card, presets, own, rows, bundle, others });
    }
    Ok(all)
}
