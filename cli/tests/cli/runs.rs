//! What commands write and say.

use super::*;

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

/// One class for all of a scan: `plain` says it, and there is no map to write or to compare.
#[test]
fn a_class_is_said() {
    let written = common::tiny_volume_classifier();
    written.calibrate();
    let t = written.directory.path();
    let scan = written.volumes[2].display().to_string();
    let bundle = blindvox_models::Bundle::load(t).expect("a bundle");
    let (program, volume) = (bundle.program().expect("a program"), Volume::load(&written.volumes[2]).expect("a scan"));
    let prepared = bundle.prepare(&program, &volume, &written.volumes[2]).expect("a scan of its grid");
    let class = blindvox_models::plain::run(&program, &prepared.integers, blindvox_models::Rounding::Nearest).labels[0];
    let output = run_in(t, &["plain", "-m", ".", "-i", &scan]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.lines().any(|l| l == format!("Class: {class} class {class}")), "{said}");
    refused(t, &run_in(t, &["plain", "-m", ".", "-i", &scan, "-o", "out.nii.gz"]), 2, &["--output", "one class"]);
    refused(t, &run_in(t, &["plain", "-m", ".", "-i", &scan, "--labels", &scan]), 2, &["labels"]);
    refused(t, &segment(t, &["-i", &scan]), 2, &["one class", "blindvox plain"]);
}

/// Rows of a table go through `calibrate` and `plain`; what is for volumes is refused.
#[test]
fn rows_are_labelled() {
    let written = common::tiny_rows();
    let t = written.directory.path();
    let tables: Vec<String> = written.volumes.iter().map(|v| v.display().to_string()).collect();
    let output = run_in(t, &["calibrate", "-m", ".", &tables[0], &tables[1]]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).matches(" of 40 labels differ from the float network's").count(), 2);
    let output = run_in(t, &["plain", "-m", ".", "-i", &tables[2], "-o", "labels.csv"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let labels = std::fs::read_to_string(t.join("labels.csv")).expect("labels");
    let lines: Vec<&str> = labels.lines().collect();
    assert_eq!((lines[0], lines.len()), ("row,label", 41));
    let said = text(&output.stdout);
    for class in 0..3 {
        let count = lines.iter().filter(|l| l.ends_with(&format!(",class {class}"))).count();
        assert!(said.lines().any(|l| l == format!("Class: {class} class {class}: {count} of 40 rows")), "{said}");
    }
    let plain = |more: &[&str]| run_in(t, &[&["plain", "-m", ".", "-i", &tables[2]], more].concat());
    refused(t, &plain(&["-o", "out.nii.gz"]), 2, &["--output", ".csv"]);
    refused(t, &plain(&["--labels", &tables[0]]), 2, &["--labels", "is for volumes"]);
    refused(t, &plain(&["--nan", "0"]), 2, &["--nan", "is for volumes"]);
    refused(t, &segment(t, &["-i", &tables[2]]), 2, &["rows of a table", "blindvox plain"]);
    std::fs::write(t.join("wrong.csv"), "f0\n1\n").expect("a write");
    refused(t, &run_in(t, &["plain", "-m", ".", "-i", "wrong.csv"]), 2, &["wrong.csv", "column \"f1\""]);
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
