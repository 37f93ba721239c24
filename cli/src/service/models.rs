//! What is served: bundles, read once, with their cards and what a run of each takes.

use std::path::Path;
use std::sync::Arc;

use blindvox_engine::Device;
use blindvox_models::format::bundle::{MODEL_FILE, WEIGHTS_FILE};
use blindvox_models::{Bundle, ModelCard, Program};
use blindvox_protocols::infer::session::plans;
use blindvox_protocols::infer::shares::public;
use blindvox_protocols::infer::{Options, memory};
use blindvox_protocols::linear::Plan;
use blindvox_protocols::{Error, Result};

use super::config::Model;

/// A model that is served.
pub(crate) struct Served {
    /// As clients name it.
    pub name: String,
    /// BLAKE3 of its files.
    pub digest: String,
    pub program: Arc<Program>,
    pub plans: Vec<Plan>,
    /// JSON.
    pub card: String,
    /// Bytes that a run takes here.
    pub memory: u64,
    /// Coefficients of a run's replies.
    pub coefficients: u64,
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
    for Model { name, path } in models {
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
        let program = Arc::new(bundle.program()?);
        public::check(&program)?;
        let plans = plans(&program)?;
        let digest = digest(path)?;
        let card = serde_json::to_string(&ModelCard::of(&bundle, &program, digest.clone()))
            .map_err(|e| Error::Input(e.to_string()))?;
        let options = Options::new(Device::cpu());
        let [_, memory] = memory(&program, &plans, &options.ways);
        let coefficients = plans.iter().map(|plan: &Plan| plan.sent_coefficients() as u64).sum();
        all.push(Served { name: name.clone(), digest, program, plans, card, memory, coefficients });
    }
    Ok(all)
}
