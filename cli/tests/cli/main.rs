//! The program as a user meets it: what it writes, what it says, and one clear line for every bad input.

use blindvox_models::testing as common;

mod dealer;
mod federate;
mod federate_hosts;
mod grids;
pub(crate) mod hosts;
mod import;
mod predict;
mod process;
mod refusals;
mod runs;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use blindvox_models::data::labels::LabelMap;
use blindvox_models::data::nifti::{Header, Volume};
use blindvox_models::format::bundle::{MODEL_FILE, WEIGHTS_FILE};
use common::Written;
use serde_json::{Value, json};

/// Whether the program is built with GPUs.
const GPUS: bool = cfg!(feature = "wgpu");

/// The program, to be run in `folder`.
fn program(folder: &Path, args: &[&str]) -> Command {
    // Graphics drivers complain on standard error where this is not set.
    let mut program = Command::new(env!("CARGO_BIN_EXE_blindvox"));
    program.args(args).current_dir(folder).env("XDG_RUNTIME_DIR", std::env::temp_dir());
    program
}

/// Runs the program in `folder`.
fn run_in(folder: &Path, args: &[&str]) -> Output {
    program(folder, args).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The shared calibrated bundle; tests write elsewhere.
fn shared() -> &'static Written {
    static SHARED: OnceLock<Written> = OnceLock::new();
    SHARED.get_or_init(|| {
        let written = common::tiny();
        written.calibrate();
        written
    })
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// A copy of the shared bundle and its last volume (`scan.nii.gz`) to spoil.
fn copy() -> tempfile::TempDir {
    let (from, to) = (shared(), scratch());
    for file in [MODEL_FILE, WEIGHTS_FILE] {
        std::fs::copy(from.directory.path().join(file), to.path().join(file)).expect("a copy");
    }
    std::fs::copy(&from.volumes[0], to.path().join("scan.nii.gz")).expect("a copy");
    to
}

/// Runs `segment` in `folder` with more flags; a flag given in `more` replaces the usual one.
fn segment(folder: &Path, more: &[&str]) -> Output {
    let mut args = vec!["segment"];
    for usual in [["-m", "."], ["-i", "scan.nii.gz"], ["-o", "out.nii.gz"]] {
        if !more.contains(&usual[0]) {
            args.extend(usual);
        }
    }
    args.extend(more);
    run_in(folder, &args)
}

/// Asserts the exit code and one line on standard error with all of `parts`, and that nothing was left behind.
fn refused(folder: &Path, output: &Output, code: i32, parts: &[&str]) {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert_eq!(message.lines().count(), 1, "not one line: {message}");
    assert!(message.starts_with("error: "), "{message}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    for part in parts {
        assert!(message.contains(part), "{message:?} doesn't mention {part:?}");
    }
    let left: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|e| e.expect("an entry").file_name().into_string().expect("a name"))
        .filter(|n| n.starts_with("out") || n.ends_with(".part"))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

fn edit_model(folder: &Path, edit: impl FnOnce(&mut Value)) {
    let path = folder.join(MODEL_FILE);
    let mut model: Value = serde_json::from_slice(&std::fs::read(&path).expect("a model")).expect("JSON");
    edit(&mut model);
    std::fs::write(path, model.to_string()).expect("a write");
}

fn save(folder: &Path, dims: [usize; 3], value: impl Fn(usize) -> f32) {
    let data = (0..dims.iter().product()).map(|v| f64::from(value(v))).collect();
    Volume { dims, data, header: Header::new(dims, 1.0) }.save(&folder.join("scan.nii.gz")).expect("a write");
}

/// Overwrites bytes of an uncompressed copy of the scan, `scan.nii`.
fn patched(folder: &Path, at: usize, bytes: &[u8]) {
    let volume = Volume::load(&folder.join("scan.nii.gz")).expect("its own file");
    let path = folder.join("scan.nii");
    volume.save(&path).expect("a write");
    let mut file = std::fs::read(&path).expect("its own file");
    file[at..at + bytes.len()].copy_from_slice(bytes);
    std::fs::write(path, file).expect("a write");
}
