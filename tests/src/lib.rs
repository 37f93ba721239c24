//! What the test files share: shipped models and volumes, devices, secure runs.

pub mod targets;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use blindvox_engine::Device;
use blindvox_engine::gpu::{GpuOptions, Word, adapters};
use blindvox_models::data::nifti::Volume;
use blindvox_models::{Bundle, Program};
use blindvox_protocols::infer::local::{self, LocalOutcome};
use blindvox_protocols::infer::session::plans;
use blindvox_protocols::infer::{Estimate, Options, Randomness, Ways, estimate, trace};
use blindvox_protocols::ot::LOCAL_WIDTH;

/// The Decathlon volumes' numbers.
pub const VOLUMES: [&str; 8] = ["017", "034", "051", "064", "067", "091", "105", "166"];

/// A file of the demo folder.
pub fn demo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo").join(path)
}

/// A shipped model, or one for tests.
pub fn bundle(name: &str) -> Bundle {
    let folders = [demo("models"), Path::new(env!("CARGO_MANIFEST_DIR")).join("models")];
    let found = folders.map(|folder| folder.join(name)).into_iter().find(|path| path.is_dir());
    Bundle::load(&found.unwrap_or_else(|| panic!("no model {name}"))).unwrap()
}

/// A shipped volume's scan and its file.
pub fn volume(name: &str) -> (Volume, PathBuf) {
    let path = demo(&format!("volumes/images/{name}.nii.gz"));
    (Volume::load(&path).unwrap(), path)
}

/// The folder of the Decathlon's volumes, which may not be shipped: `BLINDVOX_DATA`, else `shared/data` beside the
/// repository. Without it: a failure under `CI`, elsewhere a loud skip.
pub fn decathlon() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("BLINDVOX_DATA").map_or_else(beside, PathBuf::from).join("hippocampus");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "CI must have the Decathlon's volumes in {}", folder.display());
    eprintln!("SKIPPED: the Decathlon's volumes are not in {} (BLINDVOX_DATA names another place)", folder.display());
    None
}

/// A GPU device for each body of the words that the adapter runs. Without an adapter: a failure under `CI`, elsewhere a
/// loud skip, as in a build without the feature `wgpu`.
pub fn gpu_devices(checked: bool) -> Vec<Device> {
    if cfg!(not(feature = "wgpu")) {
        eprintln!("SKIPPED: built without the feature wgpu");
        return Vec::new();
    }
    let found = adapters();
    let Some(usable) = found.iter().find(|a| a.unusable.is_none()) else {
        let report: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(std::env::var_os("CI").is_none(), "CI must have a usable Vulkan adapter; found {report:?}");
        eprintln!("SKIPPED: no usable Vulkan adapter; found {report:?}");
        return Vec::new();
    };
    let words = if usable.int64 { vec![Word::U64, Word::U32] } else { vec![Word::U32] };
    let open = |word| Device::gpu_with(&GpuOptions { word: Some(word), checked, adapter: None }).unwrap();
    words.into_iter().map(open).collect()
}

/// Runs a program securely with a fixed seed and every share traced.
pub fn secure_run(program: &Arc<Program>, input: &[i32], device: &Device, seed: u64) -> LocalOutcome {
    let mut options = Options::new(device.clone());
    options.trace = true;
    options.randomness = Randomness::FixedForTests(seed);
    let run = local::run(program.clone(), input, &options, &mut ()).unwrap();
    assert_eq!(Estimate::counted(&run.client), estimated(program, &options.ways));
    run
}

/// What a run in one process should send.
pub fn estimated(program: &Program, ways: &Ways) -> Estimate {
    estimate(program, &plans(program).unwrap(), ways, LOCAL_WIDTH).unwrap()
}

/// Holds every step of a traced run to its bound, and the labels to the opened scores; gives the labels.
pub fn check_steps(program: &Program, outcome: &LocalOutcome) -> Vec<u8> {
    let (client, server) = (outcome.client.trace.as_ref().unwrap(), outcome.server.trace.as_ref().unwrap());
    for check in trace::check(program, client, server).unwrap() {
        assert!(check.holds(), "{check:?}");
    }
    let labels = outcome.client.labels.clone().expect("the client learns the labels");
    assert!(outcome.server.labels.is_none(), "the server learns nothing");
    let expected = trace::labels(program, client, server).unwrap();
    let differing = labels.iter().zip(&expected).filter(|(a, b)| a != b).count();
    assert!(labels.len() == expected.len() && differing == 0, "{differing} labels are not the largest score's");
    labels
}
