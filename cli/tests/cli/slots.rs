//! Runs under CKKS: volumes by `segment`, the same by files, and one line for what can't be.

use blindvox_models::Bundle;
use blindvox_models::data::npy::{self, Array};
use common::Net;

use super::*;

/// Squares alone on 8x8x8 voxels, so that shares and slots both compute it: a pooling, a skip, a transposed convolution.
fn squares() -> Written {
    let mut net = Net::new(&[8, 8, 8], false, 21);
    net.conv("enc", "in", [1, 2], &[3, 3, 3], false);
    net.op("enc.square", json!("square"), &["enc"]);
    net.op("pool", json!("avg_pool"), &["enc.square"]);
    net.conv("mid", "pool", [2, 3], &[3, 3, 3], false);
    net.op("mid.square", json!("square"), &["mid"]);
    net.up("up", "mid.square", 3, 2);
    net.op("cat", json!("concat"), &["enc.square", "up"]);
    net.conv("head", "cat", [4, 3], &[1, 1, 1], false);
    let written = net.write("head", 3, 3);
    std::fs::copy(&written.volumes[0], written.directory.path().join("scan.nii.gz")).expect("a copy");
    written
}

/// Calibrated with scales for both systems.
fn both() -> &'static Written {
    static BOTH: OnceLock<Written> = OnceLock::new();
    BOTH.get_or_init(|| {
        let written = squares();
        let output = run_in(written.directory.path(), &["calibrate", "-m", ".", "--ckks", "0.nii.gz", "1.nii.gz"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        for name in ["ckks fast: n = 16384", "ckks balanced: n = 16384"] {
            assert!(text(&output.stdout).contains(name), "{}", text(&output.stdout));
        }
        written
    })
}

/// A copy of it to spoil.
fn own() -> tempfile::TempDir {
    let (from, to) = (both(), scratch());
    for file in [MODEL_FILE, WEIGHTS_FILE, "scan.nii.gz"] {
        std::fs::copy(from.directory.path().join(file), to.path().join(file)).expect("a copy");
    }
    to
}

fn labels(path: &Path) -> Vec<u8> {
    LabelMap::load(path).expect("a map").data
}

fn differing(a: &[u8], b: &[u8]) -> usize {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).filter(|(a, b)| a != b).count()
}

#[test]
fn one_network_runs_on_shares_and_in_slots() {
    let t = own();
    let path = |name: &str| t.path().join(name);
    let plain = run_in(t.path(), &["plain", "-m", ".", "-i", "scan.nii.gz", "-o", "truth.nii.gz"]);
    assert!(plain.status.success(), "{}", text(&plain.stderr));
    // Flooded scores move more labels: random networks have many voxels whose scores are close.
    for (preset, hides, most) in [("fast", "NOT hidden", 5), ("balanced", "hidden to 2^-20", 25)] {
        let more = ["--system", "ckks", "--preset", preset, "--report", "out.json", "--preview", "out.png"];
        let more = [&more[..], &["--labels", "truth.nii.gz", "--compare", "-v"]].concat();
        let output = segment(t.path(), &more);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        for part in [hides, "Dice", "evaluation", "out.nii.gz", "out.json", "out.png"] {
            assert!(said.contains(part), "{part:?} is missing in {said}");
        }
        let report: Value = serde_json::from_slice(&std::fs::read(path("out.json")).expect("a report")).expect("JSON");
        assert_eq!((&report["system"], &report["preset"]), (&json!("ckks"), &json!(preset)));
        assert!(report["learned"]["client"].is_string() && report["learned"]["server"].is_string(), "{report}");
        let compare = &report["compare"];
        assert_eq!(compare["voxels"], 512);
        assert!(compare["label_disagreements_vs_float"].as_u64().is_some_and(|n| n <= most), "{compare}");
        assert!(compare["largest_score_error"].as_f64().is_some_and(|e| e < 0.1), "{compare}");
        let in_slots = labels(&path("out.nii.gz"));
        assert!(differing(&in_slots, &labels(&path("truth.nii.gz"))) < 26);
        let output = segment(t.path(), &["-o", "shares.nii.gz", "-q"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(differing(&in_slots, &labels(&path("shares.nii.gz"))) < 26);
    }
}

#[test]
fn inputs_unlike_those_of_the_calibration_are_told_and_not_written() {
    let t = own();
    save(t.path(), [8, 8, 8], |v| if v == 100 { 1000.0 } else { (v % 7) as f32 });
    let more = ["--system", "ckks", "--preset", "fast"];
    refused(t.path(), &segment(t.path(), &more), 2, &["scores mean nothing", "--force"]);
    let output = segment(t.path(), &[&more[..], &["--force"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("warning: input 0: not to be trusted"), "{}", text(&output.stderr));
    assert_eq!(labels(&t.path().join("out.nii.gz")).len(), 512);
}

#[test]
fn what_slots_can_not_do_is_one_line() {
    let t = own();
    let t = t.path();
    let model = std::fs::read(t.join(MODEL_FILE)).expect("a model");
    let ckks = |more: &[&str]| segment(t, &[&["--system", "ckks"], more].concat());
    refused(t, &ckks(&["--comparison", "full-circuit"]), 2, &["--comparison", "system ckks"]);
    refused(t, &segment(t, &["--preset", "fast"]), 2, &["--preset", "system bunet"]);
    refused(t, &ckks(&["-i", "nowhere.nii.gz"]), 2, &["nowhere.nii.gz"]);
    refused(t, &ckks(&["-o", "out.npy"]), 2, &["--output"]);
    refused(t, &ckks(&["-o", "scan.nii.gz"]), 2, &["--output", "--input"]);
    for (edit, parts) in [
        (
            Box::new(|m: &mut Value| m["ckks"]["presets"]["fast"]["omega"][1] = json!(30)) as Box<dyn Fn(&mut Value)>,
            vec![MODEL_FILE, "presets.fast", "omega", "found 30"],
        ),
        (Box::new(|m| m["ckks"]["presets"]["fast"]["chain"][1] = json!(70)), vec!["presets.fast", "70 bits"]),
        (Box::new(|m| m["ckks"]["logit_bound"] = json!(3)), vec![MODEL_FILE, "logit_bound", "found 3"]),
        (Box::new(|m| m["ckks"]["rms"] = json!({})), vec!["rms", "calibrate"]),
        (Box::new(|m| drop(m["ckks"]["presets"].as_object_mut().and_then(|p| p.remove("fast")))), vec!["\"fast\""]),
        (Box::new(|m| drop(m.as_object_mut().and_then(|m| m.remove("ckks")))), vec!["found no ckks section"]),
    ] {
        edit_model(t, edit);
        refused(t, &ckks(&["--preset", "fast"]), 2, &parts);
        std::fs::write(t.join(MODEL_FILE), &model).expect("a write");
    }
    let relu = copy();
    let calibrate = run_in(relu.path(), &["calibrate", "-m", ".", "--ckks", "scan.nii.gz"]);
    refused(relu.path(), &calibrate, 2, &["\"pool.max\"", "a maximum or minimum", "ckks"]);
    let demo = |path: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo").join(path).display().to_string();
    let (net, slices) = (demo("models/mni_unet1s"), demo("images/mni_slices.npy"));
    let planar = |more: &[&str]| ckks(&[&["-m", &net, "--preset", "fast"], more].concat());
    refused(t, &planar(&["-i", &slices]), 2, &["--output", ".npy"]);
    refused(t, &planar(&["-i", &slices, "-o", "out.npy", "--preview", "out.png"]), 2, &["--preview"]);
    std::fs::write(t.join("short.npy"), npy::reals(&[1, 1, 64, 63], &[0.0; 64 * 63])).expect("a write");
    refused(t, &planar(&["-i", "short.npy", "-o", "out.npy"]), 2, &["short.npy", "64"]);
    refused(t, &planar(&["-i", MODEL_FILE, "-o", "out.npy"]), 2, &[MODEL_FILE]);
    let cnn = demo("models/pneumonia_cnn2");
    refused(t, &ckks(&["-m", &cnn, "-i", "short.npy", "-o", "out.npy"]), 2, &["classify"]);
    let classify = run_in(t, &["classify", "-m", ".", "-i", "short.npy"]);
    refused(t, &classify, 2, &["labels voxels", "segment"]);
}

#[test]
fn a_round_trip_by_files_needs_no_connection() {
    let t = own();
    let t = t.path();
    let bundle = Bundle::load(t).expect("a bundle");
    let inputs = bundle.inputs(&t.join("scan.nii.gz")).expect("a scan").values;
    std::fs::write(t.join("in.npy"), npy::reals(&[1, 1, 8, 8, 8], &inputs[0])).expect("a write");
    let ckks = |line: &str| run_in(t, &line.split(' ').collect::<Vec<_>>());
    for line in [
        "ckks public -m . --preset fast -o p.bin",
        "ckks keys -p p.bin -s s.key -o k.bin",
        "ckks encrypt -p p.bin -s s.key -i in.npy -o i.bin",
        "ckks evaluate -m . --preset fast -k k.bin -i i.bin -o r.bin",
        "ckks decrypt -p p.bin -s s.key -i r.bin -o scores.npy",
    ] {
        let output = ckks(line);
        assert!(output.status.success() && output.stderr.is_empty(), "{line}: {}", text(&output.stderr));
    }
    let scores = Array::load(&t.join("scores.npy")).expect("scores");
    assert_eq!(scores.dims, [1, 3, 8, 8, 8]);
    let float = blindvox_models::plain::float::run(&bundle.network().expect("a network"), &inputs[0]).logits;
    let worst = scores.values.iter().zip(&float).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(worst < 0.05, "{worst}");
    let bytes = |name: &str| std::fs::read(t.join(name)).expect("a file");
    let (keys, input) = (bytes("k.bin"), bytes("i.bin"));
    std::fs::write(t.join("cut.bin"), &keys[..keys.len() / 2]).expect("a write");
    let mut other = input;
    other[20] ^= 1;
    std::fs::write(t.join("other.bin"), other).expect("a write");
    for (line, parts) in [
        ("ckks keys -p p.bin -s s.key -o out.bin", vec!["s.key", "exists"]),
        ("ckks keys -p k.bin -s out.key -o out.bin", vec!["k.bin", "found a key set"]),
        ("ckks encrypt -p p.bin -s s.key -i scan.nii.gz -o out.bin", vec!["scan.nii.gz"]),
        ("ckks encrypt -p p.bin -s k.bin -i in.npy -o out.bin", vec!["k.bin", "found a key set"]),
        ("ckks evaluate -m . --preset fast -k cut.bin -i i.bin -o out.bin", vec!["cut.bin", "ends early"]),
        ("ckks evaluate -m . --preset fast -k k.bin -i other.bin -o out.bin", vec!["other.bin", "another model"]),
        ("ckks evaluate -m . --preset balanced -k k.bin -i i.bin -o out.bin", vec!["k.bin", "another model or preset"]),
        ("ckks decrypt -p p.bin -s s.key -i i.bin -o out.npy", vec!["i.bin", "found encrypted inputs"]),
    ] {
        refused(t, &ckks(line), 2, &parts);
    }
}
