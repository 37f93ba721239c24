//! The program as a user meets it: what it writes, what it says, and one clear line for every bad input.

use blindvox_models::testing as common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use blindvox_models::bundle::{MODEL_FILE, WEIGHTS_FILE};
use blindvox_models::volume::{Header, LabelMap, Volume};
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

#[test]
fn wrong_models_are_refused() {
    let t = copy();
    let t = t.path();
    refused(t, &segment(t, &["-m", "nowhere"]), 2, &["nowhere/model.json", "No such file"]);
    refused(
        t,
        &segment(t, &["-m", MODEL_FILE]),
        2,
        &["model.json", "found a file", "a directory with model.json and weights.safetensors"],
    );

    let weights = std::fs::read(t.join(WEIGHTS_FILE)).expect("weights");
    for cut in [0, 7, 100, weights.len() - 1] {
        std::fs::write(t.join(WEIGHTS_FILE), &weights[..cut]).expect("a write");
        refused(t, &segment(t, &[]), 2, &[WEIGHTS_FILE, "not a safetensors file"]);
    }
    std::fs::remove_file(t.join(WEIGHTS_FILE)).expect("a file");
    refused(t, &segment(t, &[]), 2, &[WEIGHTS_FILE, "No such file"]);
    std::fs::write(t.join(WEIGHTS_FILE), &weights).expect("a write");

    let model = std::fs::read(t.join(MODEL_FILE)).expect("a model");
    let conv = |m: &mut Value, field: &str, to: Value| m["graph"]["nodes"][1]["op"]["conv"][field] = to;
    for (edit, parts) in [
        (
            Box::new(|m: &mut Value| conv(m, "out_channels", json!(3))) as Box<dyn Fn(&mut Value)>,
            vec!["enc.0", "enc.0.w", "found shape [2, 1, 3, 3, 3]", "expected [3, 1, 3, 3, 3]"],
        ),
        (Box::new(|m| conv(m, "weight", json!("absent"))), vec![WEIGHTS_FILE, "enc.0", "\"absent\"", "found none"]),
        (
            Box::new(|m| m["graph"]["nodes"][0]["op"]["input"]["channels"] = json!(2)),
            vec![MODEL_FILE, "channels", "found 2", "expected 1"],
        ),
        (Box::new(|m| m["classes"] = json!(["a", "b"])), vec![MODEL_FILE, "classes", "found 2", "expected 3"]),
        (Box::new(|m| m["quantization"]["tensors"] = json!({})), vec!["calibrate"]),
        (Box::new(|m| m["graph"]["nodes"][1]["name"] = json!("two\nlines")), vec!["name", "control characters"]),
        (Box::new(|m| *m = json!([1, 2])), vec![MODEL_FILE]),
    ] {
        edit_model(t, edit);
        refused(t, &segment(t, &[]), 2, &parts);
        refused(t, &run_in(t, &["plain", "-m", ".", "-i", "scan.nii.gz", "-o", "out.nii"]), 2, &parts);
        std::fs::write(t.join(MODEL_FILE), &model).expect("a write");
    }
    std::fs::write(t.join(MODEL_FILE), &model[..model.len() / 2]).expect("a write");
    refused(t, &segment(t, &[]), 2, &[MODEL_FILE, "line"]);
}

#[test]
fn wrong_volumes_are_refused() {
    let t = copy();
    let t = t.path();
    let whole = std::fs::read(t.join("scan.nii.gz")).expect("a volume");
    refused(t, &segment(t, &["-i", "nowhere.nii.gz"]), 2, &["nowhere.nii.gz", "No such file"]);
    refused(t, &segment(t, &["-i", "."]), 2, &["found a folder"]);
    refused(t, &segment(t, &["-i", MODEL_FILE]), 2, &[MODEL_FILE, "not a NIfTI"]);

    std::fs::write(t.join("scan.nii.gz"), b"").expect("a write");
    refused(t, &segment(t, &[]), 2, &["scan.nii.gz", "header", "not a NIfTI"]);
    for cut in [5, whole.len() / 2, whole.len() - 10] {
        std::fs::write(t.join("scan.nii.gz"), &whole[..cut]).expect("a write");
        refused(t, &segment(t, &[]), 2, &["scan.nii.gz"]);
    }
    std::fs::write(t.join("scan.nii.gz"), &whole).expect("a write");

    let dims = |count: i16, last: i16| [count, 8, 8, 8, last].map(i16::to_le_bytes).concat();
    patched(t, 40, &dims(4, 2));
    refused(t, &segment(t, &["-i", "scan.nii"]), 2, &["scan.nii", "dim[4]", "found 2", "one volume"]);
    patched(t, 42, &0i16.to_le_bytes());
    refused(t, &segment(t, &["-i", "scan.nii"]), 2, &["scan.nii", "dim[1]", "found 0", "empty"]);
    patched(t, 352, &f32::NAN.to_le_bytes());
    refused(t, &segment(t, &["-i", "scan.nii"]), 2, &["scan.nii", "voxel (0, 0, 0)", "NaN"]);
    save(t, [8, 8, 8], |_| 5.0);
    refused(t, &segment(t, &[]), 2, &["scan.nii.gz", "constant"]);
    save(t, [8, 8, 8], |v| v as f32);
    let weights = t.join(WEIGHTS_FILE);
    let message = run_in(t, &["calibrate", "-m", ".", "scan.nii.gz", "nowhere.nii"]);
    refused(t, &message, 2, &["nowhere.nii"]);
    assert!(weights.exists());
}

#[test]
fn wrong_labels_and_outputs_are_refused() {
    let t = copy();
    let t = t.path();
    let grid = |dims: [usize; 3]| {
        let count = dims.iter().product();
        LabelMap { dims, data: vec![1; count], header: Header::new(dims, 1.5) }
    };
    grid([8, 8, 4]).save(&t.join("truth.nii.gz")).expect("a write");
    refused(t, &segment(t, &["--labels", "truth.nii.gz"]), 2, &["truth.nii.gz", "[8, 8, 4]", "[8, 8, 8]"]);
    refused(t, &segment(t, &["--labels", "nowhere.nii"]), 2, &["nowhere.nii"]);
    refused(t, &segment(t, &["--labels", "scan.nii.gz"]), 2, &["scan.nii.gz", "expected integers 0 to 255"]);

    for flag in ["-o", "--report", "--preview"] {
        let name = if flag == "-o" { "--output" } else { flag };
        refused(t, &segment(t, &[flag, "no/such/file.nii"]), 2, &[name, "no/such", "does not exist"]);
        std::fs::create_dir_all(t.join("folder.nii")).expect("a folder");
        refused(t, &segment(t, &[flag, "folder.nii"]), 2, &[name, "folder.nii", "found a folder"]);
    }
    refused(t, &segment(t, &["-o", "out.png"]), 2, &["--output out.png", ".nii or .nii.gz"]);
    // Nothing the user has is overwritten by mistake.
    let scan = std::fs::read(t.join("scan.nii.gz")).expect("a volume");
    refused(t, &segment(t, &["-o", "./scan.nii.gz"]), 2, &["--output", "the file of --input"]);
    refused(t, &segment(t, &["--report", "out.nii.gz"]), 2, &["--report", "the file of --output"]);
    assert_eq!(std::fs::read(t.join("scan.nii.gz")).expect("a volume"), scan);

    // An older result survives a run that fails.
    std::fs::write(t.join("kept.nii.gz"), b"older").expect("a write");
    refused(t, &segment(t, &["-o", "kept.nii.gz", "-i", "nowhere.nii"]), 2, &["nowhere.nii"]);
    assert_eq!(std::fs::read(t.join("kept.nii.gz")).expect("a file"), b"older");
}

#[test]
fn wrong_usage_is_one_line() {
    let t = scratch();
    let t = t.path();
    for (args, parts) in [
        (&["segment"][..], &["--model", "--input", "--output", "segment --help"][..]),
        (&["segment", "-m", "."], &["--input", "--output"]),
        (&["plain"], &["--model", "--input"]),
        (&["calibrate", "-m", "."], &["VOLUME"]),
        (&["segmnt"], &["segmnt", "segment"]),
        (&["segment", "--frob"], &["--frob"]),
        (&["segment", "-m", "."], &["--help"]),
        (&["segment", "-m", "a", "-i", "b", "-o", "c", "--backend", "tpu"], &["tpu", "--backend", "cpu", "gpu"]),
        (
            &["segment", "-m", "a", "-i", "b", "-o", "c", "--gate-hash", "md5"],
            &["md5", "--gate-hash", "aes", "chacha12"],
        ),
        (&["segment", "-m", "a", "-i", "b", "-o", "c", "-q", "-v"], &["--quiet", "--verbose"]),
        (&["calibrate", "-m", ".", "v.nii", "--spare-bits", "90"], &["90", "--spare-bits", "1..=8"]),
    ] {
        refused(t, &run_in(t, args), 2, parts);
    }
    for args in [&["--help"][..], &["segment", "--help"], &["--version"], &["doctor"]] {
        let output = run_in(t, args);
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{args:?}: {}", text(&output.stderr));
        assert!(!output.stdout.is_empty());
    }
}

/// The JSON of a report, with every key that others rely on.
fn report(path: &Path) -> Value {
    let report: Value = serde_json::from_slice(&std::fs::read(path).expect("a report")).expect("JSON");
    for part in ["total", "preprocessing", "online"] {
        assert!(report[part]["seconds"].as_f64().is_some_and(|s| s > 0.0), "{part}");
        for key in ["bytes_client_to_server", "bytes_server_to_client", "rounds"] {
            assert!(report[part][key].as_u64().is_some_and(|b| b > 0), "{part}.{key}");
        }
    }
    let sum =
        |key: &str| report["preprocessing"][key].as_u64().unwrap_or(0) + report["online"][key].as_u64().unwrap_or(0);
    for key in ["bytes_client_to_server", "bytes_server_to_client", "rounds"] {
        assert_eq!(report["total"][key], sum(key), "{key}");
    }
    for layer in report["layers"].as_array().expect("layers") {
        assert!(layer["name"].is_string() && layer["kind"].is_string(), "{layer}");
        assert!(layer["seconds"].is_f64() && layer["bytes"].is_u64(), "{layer}");
    }
    assert!(report["backend"].is_string() && report["device"].is_string() && report["parameters"].is_object());
    assert!(report["peak_memory_bytes"].as_u64().is_none_or(|b| b > 1 << 20));
    report
}

/// A run with every file asked for, on a bundle of `classes` labels.
fn everything(written: &Written, classes: usize) {
    let (t, out) = (written.directory.path(), scratch());
    let path = |name: &str| out.path().join(name).display().to_string();
    let scan = written.volumes[0].display().to_string();
    // What the network says in the clear serves as truth.
    let plain = run_in(t, &["plain", "-m", ".", "-i", &scan, "-o", &path("truth.nii.gz")]);
    assert!(plain.status.success(), "{}", text(&plain.stderr));
    assert!(text(&plain.stdout).contains("head"), "{}", text(&plain.stdout));

    let (map, json, png) = (path("map.nii.gz"), path("report.json"), path("preview.png"));
    let truth = path("truth.nii.gz");
    let mut args = vec!["segment", "-m", ".", "-i", &scan, "-o", &map, "--report", &json, "--preview", &png];
    args.extend(["--labels", &truth, "--compare", "-v"]);
    let output = run_in(t, &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stderr.is_empty(), "no bar where there is no terminal: {}", text(&output.stderr));
    let said = text(&output.stdout);
    for part in ["layer", "total", "never saw the scan", "Dice", "labels differ", &map, &json, &png] {
        assert!(said.contains(part), "{part:?} is missing in {said}");
    }

    let (scan, labels) =
        (Volume::load(&written.volumes[0]).expect("a scan"), LabelMap::load(map.as_ref()).expect("a map"));
    assert_eq!((labels.dims, labels.header.affine()), (scan.dims, scan.header.affine()));
    assert!(labels.data.iter().all(|&l| usize::from(l) < classes));
    assert_eq!(std::fs::read(&png).expect("a picture")[..8], *b"\x89PNG\r\n\x1a\n");
    let report = report(json.as_ref());
    assert_eq!(
        (report["backend"].as_str(), report["layers"].as_array().map(Vec::len)),
        (Some("cpu"), Some(layers(t) + 2))
    );
    let compare = &report["compare"];
    assert_eq!(compare["voxels"], labels.data.len());
    // Rounding may move labels where two scores are close; random networks have many such voxels.
    for key in ["label_disagreements_vs_integer", "label_disagreements_vs_float"] {
        assert!(compare[key].as_u64().is_some_and(|n| n * 10 <= labels.data.len() as u64), "{key}: {compare}");
    }
    for key in ["dice_secure", "dice_float"] {
        assert_eq!(compare[key].as_array().map(Vec::len), Some(classes - 1), "{key}");
    }
    let left: Vec<_> = std::fs::read_dir(out.path()).expect("a folder").collect();
    assert_eq!(left.len(), 4, "{left:?}");
}

/// Steps of a bundle that are layers of a report.
fn layers(folder: &Path) -> usize {
    blindvox_models::Bundle::load(folder).expect("a bundle").program().expect("a program").steps.len()
}

#[test]
fn a_volume_is_segmented_with_every_output() {
    everything(shared(), 3);
}

#[test]
fn a_slice_is_segmented_with_every_output() {
    let written = common::tiny_planar();
    written.calibrate();
    everything(&written, 2);
}

#[test]
fn other_grids_and_uncompressed_files_work_quietly() {
    let t = copy();
    let t = t.path();
    save(t, [11, 6, 9], |v| (v % 17) as f32);
    let output = segment(t, &["-q", "--crop", "-o", "map.nii", "--insecure-test-seed", "1"]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(text(&output.stderr).lines().all(|l| l.starts_with("warning: ")), "{output:?}");
    assert_eq!(LabelMap::load(&t.join("map.nii")).expect("a map").dims, [11, 6, 9]);
}

/// The scan alone decides: the run goes on, and says so on standard error and in the report.
#[test]
fn a_scan_unlike_the_calibration_is_told() {
    let t = copy();
    let t = t.path();
    save(t, [8, 8, 8], |v| if v == 100 { 50.0 } else { (v % 7) as f32 / 7.0 });
    let output = segment(t, &["-q", "--report", "r.json"]);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&std::fs::read(t.join("r.json")).expect("a report")).expect("JSON");
    let warnings: Vec<&str> = report["warnings"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let ours: Vec<_> = warnings.iter().filter(|w| w.contains("calibrated on")).collect();
    assert!(ours.len() == 1 && ours[0].contains("percentile 95 "), "{warnings:?}");
    let said = text(&output.stderr);
    assert!(said.lines().any(|l| l.strip_prefix("warning: ") == Some(ours[0])), "{said}");
}

#[test]
fn calibration_round_trips() {
    let written = common::tiny();
    let t = written.directory.path();
    let names: Vec<String> = written.volumes.iter().map(|v| v.display().to_string()).collect();
    refused(t, &segment(t, &["-i", &names[0]]), 2, &["calibrate"]);
    let args = [&["calibrate", "-m", ".", "--spare-bits", "2"][..], &[&names[0], &names[1]]].concat();
    let output = run_in(t, &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("mid.relu"), "{}", text(&output.stdout));
    assert_eq!(text(&output.stdout).matches(" of 512 labels differ from the float network's").count(), 2);
    let once = std::fs::read(t.join(MODEL_FILE)).expect("a model");
    assert!(run_in(t, &args).status.success());
    assert_eq!(std::fs::read(t.join(MODEL_FILE)).expect("a model"), once, "a second calibration changes nothing");
    let keep = [&["calibrate", "-m", ".", "--keep-scales"][..], &[&names[0], &names[1]]].concat();
    assert!(run_in(t, &keep).status.success());
    assert_eq!(std::fs::read(t.join(MODEL_FILE)).expect("a model"), once, "nor does a look at the same volumes");
    let scales = |model: &[u8]| serde_json::from_slice::<Value>(model).expect("JSON")["quantization"].clone();
    let keep = [&["calibrate", "-m", ".", "--keep-scales"][..], &[&names[2]]].concat();
    assert!(run_in(t, &keep).status.success());
    let other = std::fs::read(t.join(MODEL_FILE)).expect("a model");
    assert!(other != once && scales(&other) == scales(&once), "other volumes, the same scales");
    let output = segment(t, &["-i", &names[0], "-q"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn the_gpu_gives_the_same_labels_and_messages() {
    let usable = blindvox_engine::gpu::adapters().iter().any(|a| a.unusable.is_none());
    if !usable {
        assert!(std::env::var_os("CI").is_none() || !GPUS, "CI must have a usable Vulkan adapter");
        eprintln!("SKIPPED: no usable Vulkan adapter");
        let t = copy();
        refused(t.path(), &segment(t.path(), &["--backend", "gpu"]), 1, &["device: no ", "use the CPU"]);
        return;
    }
    let t = copy();
    let t = t.path();
    let run = |backend: &str, more: &[&str], garbled: &str| {
        let (map, json) = (format!("{backend}.nii.gz"), format!("{backend}.json"));
        let fixed = ["--backend", backend, "--insecure-test-seed", "5", "-o", &map, "--report", &json];
        let output = segment(t, &[&fixed, more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("WARNING"), "a fixed seed is announced");
        let report = report(&t.join(json));
        assert_eq!(report["backend"], backend);
        let garbling = report["parameters"]["garbling"].as_str().expect("words");
        assert!(garbling.starts_with(garbled), "{garbling}");
        (LabelMap::load(&t.join(map)).expect("a map").data, report["transcript"].clone())
    };
    let aes = run("cpu", &[], "AES-128 on the CPU");
    assert!(aes.1.is_array());
    assert_eq!(run("gpu", &[], "AES-128 on"), aes);
    let chacha = run("cpu", &["--gate-hash", "chacha12"], "ChaCha12 on the CPU");
    assert_ne!(chacha.1, aes.1);
    assert_eq!(run("gpu", &["--gate-hash", "chacha12", "--garble", "cpu"], "ChaCha12 on the CPU"), chacha);
    assert_eq!(run("gpu", &["--gate-hash", "chacha12", "--garble", "device"], "ChaCha12 on"), chacha);
}

/// A reader that leaves early does no harm.
#[test]
fn a_closed_standard_output_is_no_panic() {
    let t: PathBuf = shared().directory.path().to_owned();
    let mut child = Command::new(env!("CARGO_BIN_EXE_blindvox"))
        .args(["plain", "-m", ".", "-i"])
        .arg(&shared().volumes[0])
        .current_dir(t)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the program ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn the_program_names_itself() {
    let t = scratch();
    assert_eq!(text(&run_in(t.path(), &["--version"]).stdout).trim(), concat!("blindvox ", env!("CARGO_PKG_VERSION")));
    let help = text(&run_in(t.path(), &["--help"]).stdout);
    assert!(help.lines().next().is_some_and(|l| l.starts_with("blindvox: ") && l.contains("segment")), "{help}");
}

// Devices.

#[test]
fn adapters_are_chosen_by_name() {
    let t = copy();
    let t = t.path();
    refused(t, &segment(t, &["--adapter", "x"]), 2, &["--adapter x", "--backend cpu", "--backend gpu"]);
    let there = blindvox_engine::gpu::adapters();
    let Some(usable) = there.iter().find(|a| a.unusable.is_none()) else {
        assert!(std::env::var_os("CI").is_none() || !GPUS, "CI must have a usable Vulkan adapter");
        return eprintln!("SKIPPED: no usable Vulkan adapter");
    };
    let none = ["--backend", "gpu", "--adapter", "no such card"];
    refused(t, &segment(t, &none), 2, &["--adapter no such card", &usable.name]);
    let doctor = run_in(t, &["doctor", "--adapter", "no such card"]);
    assert_eq!(doctor.status.code(), Some(2), "{}", text(&doctor.stderr));
    let name = &usable.name[..usable.name.len() / 2].to_uppercase();
    let output = segment(t, &["--backend", "gpu", "--adapter", name, "-o", "map.nii"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // A software device is announced, in one line and before the run.
    let said = text(&output.stderr);
    let doctor = text(&run_in(t, &["doctor", "--adapter", name]).stdout);
    assert!(doctor.contains(&format!("backend gpu : usable, {}", usable.name)), "{doctor}");
    if usable.software {
        assert!(said.starts_with(&format!("warning: {} is a software device", usable.name)), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(doctor.contains(&format!("warning : {} is a software device", usable.name)), "{doctor}");
        let quiet = segment(t, &["--backend", "gpu", "--adapter", name, "-o", "map.nii", "-q"]);
        assert!(quiet.status.success() && quiet.stderr.is_empty(), "{}", text(&quiet.stderr));
    } else {
        assert!(said.is_empty(), "{said}");
    }
}

#[cfg(feature = "wgpu")]
#[test]
fn a_broken_driver_file_is_named() {
    let t = copy();
    let t = t.path();
    let nonsense = t.join("driver.json");
    std::fs::write(&nonsense, "nonsense").expect("a write");
    let args = ["segment", "-m", ".", "-i", "scan.nii.gz", "-o", "out.nii.gz", "--backend", "gpu"];
    for (file, cause) in [(nonsense, "not JSON"), (t.join("absent.json"), "No such file")] {
        let run = |args: &[&str]| {
            let mut program = program(t, args);
            program.env_remove("VK_ICD_FILENAMES").env("VK_DRIVER_FILES", &file).output().expect("the program starts")
        };
        let named = format!("broken driver file: VK_DRIVER_FILES names {}: {cause}", file.display());
        let (refusal, doctor) = (run(&args), text(&run(&["doctor"]).stdout));
        if text(&refusal.stderr).contains("no Vulkan loader") {
            assert!(std::env::var_os("CI").is_none(), "CI must have a Vulkan loader");
            return eprintln!("SKIPPED: no Vulkan loader");
        }
        refused(t, &refusal, 1, &["device: ", &named]);
        assert!(doctor.contains(&format!("backend gpu : not usable, device: {named}")), "{doctor}");
    }
}

// Files.

#[cfg(unix)]
#[test]
fn outputs_are_private_and_an_older_file_keeps_its_mode() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let t = copy();
    let t = t.path();
    let mode = |name: &str| t.join(name).metadata().expect("a file").permissions().mode() & 0o777;
    let args = ["-o", "map.nii.gz", "--report", "r.json", "--preview", "p.png", "-q"];
    let files = ["map.nii.gz", "r.json", "p.png"];
    assert!(segment(t, &args).status.success());
    assert_eq!(files.map(mode), [0o600; 3]);
    for name in files {
        std::fs::set_permissions(t.join(name), PermissionsExt::from_mode(0o640)).expect("a mode");
    }
    assert!(segment(t, &args).status.success());
    assert_eq!(files.map(mode), [0o640; 3]);
    // A link is replaced, not what it leads to.
    std::fs::write(t.join("another"), b"kept").expect("a write");
    symlink("another", t.join("link.nii.gz")).expect("a link");
    assert!(segment(t, &["-o", "link.nii.gz", "-q"]).status.success());
    assert!(!t.join("link.nii.gz").is_symlink() && mode("link.nii.gz") == 0o600);
    assert_eq!(std::fs::read(t.join("another")).expect("a file"), b"kept");
}

/// What `/dev/full` stands for, and what is left of outputs then: nothing.
#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_one_error_and_no_output() {
    let t = copy();
    let t = t.path();
    let usual = ["-m", ".", "-i", "scan.nii.gz", "-o", "out.nii.gz"];
    for command in [&[&["segment", "--report", "out.json"], &usual[..]].concat(), &[&["plain"], &usual[..]].concat()] {
        let full = std::fs::File::create("/dev/full").expect("the device");
        let output = program(t, command).stdout(full).output().expect("the program starts");
        refused(t, &output, 1, &["standard output", "No space left"]);
    }
    for command in [&["doctor"][..], &["--help"], &["calibrate", "-m", ".", "scan.nii.gz"]] {
        let model = std::fs::read(t.join(MODEL_FILE)).expect("a model");
        let full = std::fs::File::create("/dev/full").expect("the device");
        let output = program(t, command).stdout(full).output().expect("the program starts");
        refused(t, &output, 1, &["standard output", "No space left"]);
        assert_eq!(std::fs::read(t.join(MODEL_FILE)).expect("a model"), model);
    }
    refused(t, &segment(t, &["--report", "/dev/full", "-q"]), 1, &["/dev/full", "No space left"]);
}

/// The demo's folder is not left behind by a run that fails.
#[cfg(target_os = "linux")]
#[test]
fn the_demo_leaves_no_folder_where_it_fails() {
    let t = scratch();
    let full = std::fs::File::create("/dev/full").expect("the device");
    let output = program(t.path(), &[]).stdout(full).output().expect("the program starts");
    refused(t.path(), &output, 1, &["standard output", "No space left"]);
}

// The process.

/// A run that waits for its model: everything is set up, nothing written.
#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_nothing() {
    for signal in ["INT", "TERM", "KILL"] {
        let t = copy();
        let t = t.path();
        std::fs::remove_file(t.join(MODEL_FILE)).expect("a file");
        let made = Command::new("mkfifo").arg(t.join(MODEL_FILE)).status().expect("mkfifo");
        assert!(made.success());
        let mut run = program(t, &["segment", "-m", ".", "-i", "scan.nii.gz", "-o", "out.nii.gz"]);
        let run = run.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let run = run.spawn().expect("the program starts");
        // Opens as soon as the program has come to read it.
        let model = std::fs::OpenOptions::new().write(true).open(t.join(MODEL_FILE)).expect("a pipe");
        let sent = Command::new("kill").args([format!("-{signal}"), run.id().to_string()]).status().expect("kill");
        assert!(sent.success());
        let output = run.wait_with_output().expect("an end");
        drop(model);
        assert_eq!(output.status.code(), if signal == "KILL" { None } else { Some(130) }, "{signal}");
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
        let mut left: Vec<_> =
            std::fs::read_dir(t).expect("a folder").map(|e| e.expect("an entry").file_name()).collect();
        left.sort();
        assert_eq!(left, [MODEL_FILE, "scan.nii.gz", WEIGHTS_FILE]);
    }
}

/// Where the system allows few threads or none beside the first, the run does with fewer or says so.
#[cfg(target_os = "linux")]
#[test]
fn a_limit_of_processes_is_no_panic() {
    use std::os::unix::fs::PermissionsExt;

    let id = Command::new("id").arg("-u").output().expect("id");
    if text(&id.stdout).trim() != "0" || Command::new("setpriv").arg("--version").output().is_err() {
        return eprintln!("SKIPPED: only root can become a user without other processes");
    }
    let t = copy();
    let t = t.path();
    for (path, mode) in [(t.to_owned(), 0o777), (t.join("scan.nii.gz"), 0o644)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
    }
    let usable = t.join("blindvox");
    std::fs::copy(env!("CARGO_BIN_EXE_blindvox"), &usable).expect("a copy");
    let segment = ["segment", "-m", ".", "-i", "scan.nii.gz", "-o", "out.nii.gz", "-q"];
    for (limit, args, code) in [
        (1, &["plain", "-m", ".", "-i", "scan.nii.gz"][..], 0),
        (1, &segment, 1),
        (3, &segment, 0),
        (1, &["doctor"], 0),
    ] {
        let user = ["--reuid", "65531", "--regid", "65531", "--clear-groups", "prlimit"];
        let mut limited = Command::new("setpriv");
        limited.args(user).arg(format!("--nproc={limit}")).arg(&usable).args(args);
        let output = limited.current_dir(t).env("XDG_RUNTIME_DIR", t).output().expect("setpriv");
        if code == 0 {
            // A graphics driver may complain of the user's surroundings.
            let said = text(&output.stderr);
            assert!(output.status.success() && !said.contains("panicked"), "{args:?}: {said}");
            let _ = std::fs::remove_file(t.join("out.nii.gz"));
        } else {
            refused(t, &output, code, &["the system refused a thread"]);
        }
    }
}
