//! Models from files to labels: the shipped bundles, volumes as they are stored, wrong files, and networks of other
//! forms.

use blindvox_models::testing as common;
mod demo;
mod files;
mod geometry;
mod hostile;
mod layers;
mod networks;
mod onnx;
mod ranges;
mod tables;
mod training;
mod volumes;
mod windows;

use std::path::{Path, PathBuf};

/// A shipped model's directory, or that of a model for tests.
fn model_path(name: &str) -> PathBuf {
    let folders = [demo_path("models"), demo_path("../tests/models")];
    folders.map(|folder| folder.join(name)).into_iter().find(|path| path.is_dir()).expect("a model of that name")
}

/// A path in the repository's `demo` directory.
fn demo_path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../demo").join(relative)
}

/// A folder of data that may not be shipped: in `BLINDVOX_DATA`, else in `shared/data` beside the repository. Without
/// it: a failure under `CI`, elsewhere a loud skip.
fn shared_data(relative: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let path = std::env::var_os("BLINDVOX_DATA").map_or_else(beside, PathBuf::from).join(relative);
    if path.is_dir() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "CI must have {}", path.display());
    eprintln!("SKIPPED: {} is not there (BLINDVOX_DATA names another place)", path.display());
    None
}
