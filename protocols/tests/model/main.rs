//! Models from files to labels: the shipped bundles, wrong files, and networks of other forms.

#[path = "../common/mod.rs"]
mod common;
mod demo;
mod files;
mod networks;

use std::path::PathBuf;

/// A path in the repository's `demo` directory.
fn demo_path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../demo").join(relative)
}
