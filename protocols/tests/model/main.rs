//! Models from files to labels: the shipped bundles, wrong files, and networks of other forms.

#[path = "../common/mod.rs"]
mod common;
mod demo;
mod files;
mod hostile;
mod networks;
mod ranges;

use std::path::PathBuf;

/// A shipped model's directory, or that of a model for tests.
fn model_path(name: &str) -> PathBuf {
    let folders = [demo_path("models"), demo_path("../tests/models")];
    folders.map(|folder| folder.join(name)).into_iter().find(|path| path.is_dir()).expect("a model of that name")
}

/// A path in the repository's `demo` directory.
fn demo_path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../demo").join(relative)
}
