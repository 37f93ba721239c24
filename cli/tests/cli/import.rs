//! `import` from a file to labels, its refusals, and what `segment` writes of an imported model's classes.

use std::path::Path;

use blindvox_models::data::labels::LabelMap;
use blindvox_models::data::nifti::{Header, Orientation, Volume};
use blindvox_models::testing::Numbers;
use serde_json::{Value, json};

use crate::{run_in, save, scratch, text};

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/onnx").join(name);
    path.to_str().expect("a path in Unicode").to_owned()
}

#[test]
fn a_model_is_imported_checked_calibrated_and_run() {
    let folder = scratch();
    let run = |args: &[&str]| {
        let output = run_in(folder.path(), args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout) + &text(&output.stderr)
    };
    let [model, input, output] = ["monai_unet.onnx", "monai_unet.in.npy", "monai_unet.out.npy"].map(fixture);
    let classes = ["--classes", "background,left one,right"];
    let said = run(&[&["import", &model, "-o", "m", "--check", &input, &output], &classes[..]].concat());
    assert!(
        said.contains("Check: outputs differ by at most") && said.contains("Next: blindvox calibrate -m m"),
        "{said}"
    );
    assert!(said.contains("preparation: not stated"), "{said}");
    let again = run_in(folder.path(), &["import", &model, "-o", "m"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("--force replaces it"), "{}", text(&again.stderr));
    run(&["import", &model, "-o", "m", "--force", "--classes", "background,left one,right"]);

    let mut numbers = Numbers(5);
    let values: Vec<f32> = (0..8 * 12 * 8).map(|_| numbers.draw()).collect();
    save(folder.path(), [8, 12, 8], |v| values[v]);
    run(&["calibrate", "-m", "m", "scan.nii.gz"]);
    let wanted = ["--statistics", "s.json", "--masks", "masks"];
    run(&[&["segment", "-m", "m", "-i", "scan.nii.gz", "-o", "l.nii.gz"], &wanted[..]].concat());
    let labels = LabelMap::load(&folder.path().join("l.nii.gz")).expect("labels");
    let statistics = std::fs::read(folder.path().join("s.json")).expect("statistics");
    let statistics: Value = serde_json::from_slice(&statistics).expect("JSON");
    for (label, mask) in [(1, "001_left_one.nii.gz"), (2, "002_right.nii.gz")] {
        let mask = LabelMap::load(&folder.path().join("masks").join(mask)).expect("a mask");
        assert!(labels.data.iter().zip(&mask.data).all(|(&l, &m)| m == u8::from(l == label)));
        let found = &statistics["classes"][usize::from(label) - 1];
        let voxels = labels.data.iter().filter(|l| **l == label).count();
        assert_eq!((found["voxels"].as_u64(), found["label"].as_u64()), (Some(voxels as u64), Some(label.into())));
        assert!((found["volume_ml"].as_f64().expect("a volume") - voxels as f64 / 1000.0).abs() < 1e-6);
    }
}

/// The 48 orders and directions of stored axes, as codes.
fn orientations() -> impl Iterator<Item = String> {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let code =
        |order: [usize; 3], turned: usize| order.map(|w| ["RL", "AP", "SI"][w].as_bytes()[turned >> w & 1] as char);
    orders.into_iter().flat_map(move |order| (0..8).map(move |turned| code(order, turned).iter().collect()))
}

/// A secure run gives the same labels in the world however the scan's axes are stored: under one seed, the same bits.
#[test]
fn an_imported_model_labels_the_world_alike_in_all_48_orientations() {
    let folder = scratch();
    let t = folder.path();
    let run = |args: &[&str]| {
        let output = run_in(t, args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
    };
    let transforms = json!([{"_target_": "LoadImaged"}, {"_target_": "Orientationd", "axcodes": "PLI"},
        {"_target_": "NormalizeIntensityd"}]);
    let inferer = json!({"_target_": "SlidingWindowInferer", "roi_size": [8, 8, 8], "overlap": 0.25});
    let config = json!({"preprocessing": {"_target_": "Compose", "transforms": transforms}, "inferer": inferer});
    std::fs::create_dir_all(t.join("zoo/configs")).expect("a folder");
    std::fs::write(t.join("zoo/configs/inference.json"), config.to_string()).expect("a write");
    run(&["import", &fixture("monai_unet_23.onnx"), "-o", "m", "--monai", "zoo"]);

    // Sides of the world: right, anterior, superior. The values are of places there.
    let (sides, mut numbers) = ([13, 8, 7], Numbers(8));
    let values: Vec<f64> = (0..sides.iter().product()).map(|_| f64::from(numbers.draw())).collect();
    let store = |code: &str| {
        let axes: Orientation = code.parse().expect("an orientation");
        let mut affine = axes.affine([1.0; 3]);
        let unit = |s: usize| [0, 1, 2].map(|w| affine.0[w][s]);
        let world: [usize; 3] = [0, 1, 2].map(|s| unit(s).iter().position(|u| *u != 0.0).expect("an axis"));
        let dims = world.map(|w| sides[w]);
        let forward = [0, 1, 2].map(|s| unit(s)[world[s]] > 0.0);
        let mut data = Vec::with_capacity(values.len());
        for v in 0..values.len() {
            let at = [v / (dims[1] * dims[2]), v / dims[2] % dims[1], v % dims[2]];
            let mut place = [0; 3];
            (0..3).for_each(|s| place[world[s]] = if forward[s] { at[s] } else { dims[s] - 1 - at[s] });
            data.push(values[(place[0] * sides[1] + place[1]) * sides[2] + place[2]]);
        }
        // The world's first corner is its origin.
        (0..3).filter(|&s| !forward[s]).for_each(|s| affine.0[world[s]][3] = dims[s] as f64 - 1.0);
        Volume { dims, data, header: Header::on(dims, &affine) }
    };
    let upright = store("RAS");
    upright.save(&t.join("upright.nii")).expect("a write");
    run(&["calibrate", "-m", "m", "upright.nii"]);
    let labelled = |code: &str| {
        store(code).save(&t.join("scan.nii")).expect("a write");
        run(&["segment", "-q", "-m", "m", "-i", "scan.nii", "-o", "l.nii", "--insecure-test-seed", "48"]);
        LabelMap::load(&t.join("l.nii")).expect("labels")
    };
    let expected = labelled("RAS");
    let count = |label| expected.data.iter().filter(|l| **l == label).count();
    assert!([0, 1, 2].map(count).into_iter().all(|n| n * 10 < 9 * values.len()), "{:?}", [0, 1, 2].map(count));
    let mut stored = 0;
    for code in orientations() {
        let found = labelled(&code);
        assert_eq!((found.dims, found.header.affine()), (store(&code).dims, store(&code).header.affine()), "{code}");
        assert!(found.onto(&upright).expect("the same voxels").data == expected.data, "{code}");
        stored += 1;
    }
    assert_eq!(stored, 48);
}

/// A folder of MONAI says what a scan is; one of another size runs in windows, and an array is the same scan.
#[test]
fn a_scan_of_any_size_runs_as_the_training_says() {
    let folder = scratch();
    let t = folder.path();
    let run = |args: &[&str]| {
        let output = run_in(t, args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout) + &text(&output.stderr)
    };
    let transforms = json!([
        {"_target_": "LoadImaged"}, {"_target_": "Orientationd", "axcodes": "LPS"},
        {"_target_": "ScaleIntensityRanged", "a_min": -1, "a_max": 1, "b_min": -1, "b_max": 1, "clip": true}]);
    let inferer =
        json!({"_target_": "SlidingWindowInferer", "roi_size": [8, 12, 8], "overlap": 0.5, "mode": "gaussian"});
    let config = json!({"preprocessing": {"_target_": "Compose", "transforms": transforms}, "inferer": inferer});
    std::fs::create_dir_all(t.join("zoo/configs")).expect("a folder");
    std::fs::write(t.join("zoo/configs/inference.json"), config.to_string()).expect("a write");
    run(&["import", &fixture("monai_unet.onnx"), "-o", "m", "--monai", "zoo"]);

    let dims = [9, 16, 11];
    let mut numbers = Numbers(6);
    let values: Vec<f32> = (0..dims.iter().product()).map(|_| numbers.draw()).collect();
    save(t, dims, |v| values[v]);
    let said = run(&["calibrate", "-m", "m", "scan.nii.gz"]);
    assert!(said.contains("labels differ from the float network's, Dice "), "{said}");
    let wanted = ["--compare", "--report", "r.json", "--preview", "p.png"];
    run(&[&["segment", "-m", "m", "-i", "scan.nii.gz", "-o", "l.nii.gz"], &wanted[..]].concat());
    let labels = LabelMap::load(&t.join("l.nii.gz")).expect("labels");
    assert_eq!(labels.dims, dims);
    let report: Value = serde_json::from_slice(&std::fs::read(t.join("r.json")).expect("a report")).expect("JSON");
    assert_eq!(report["layers"].as_array().and_then(|l| l.last()).expect("layers")["kind"], "blend");
    let compare = &report["compare"];
    assert_eq!((compare["voxels"].as_u64(), report["seen"]["share"].as_f64()), (Some(9 * 16 * 11), Some(1.0)));
    let differing = compare["label_disagreements_vs_float"].as_u64().expect("a count");
    assert!(differing * 50 <= 9 * 16 * 11, "{differing}");

    // The same as an array, with the affine of the file.
    let array = |name: &str, dims: &[usize], values: &[f32]| {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {dims:?}, }}")
            .replace('[', "(")
            .replace(']', ")");
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let length = (header.len() as u16).to_le_bytes();
        std::fs::write(t.join(name), [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &data].concat())
            .expect("a write");
    };
    array("scan.npy", &dims, &values);
    let affine = labels.header.affine().expect("an orientation").0.concat();
    let affine: Vec<f32> = affine.iter().map(|v| *v as f32).chain([0.0, 0.0, 0.0, 1.0]).collect();
    array("affine.npy", &[4, 4], &affine);
    run(&["plain", "-m", "m", "-i", "scan.nii.gz", "-o", "a.nii.gz"]);
    run(&["plain", "-m", "m", "-i", "scan.npy", "--affine", "affine.npy", "-o", "b.nii.gz"]);
    let load = |name: &str| LabelMap::load(&t.join(name)).expect("labels");
    let (a, b) = (load("a.nii.gz"), load("b.nii.gz"));
    assert!(a.data == b.data && a.header.affine() == b.header.affine());
    let refused = |args: &[&str], part: &str| {
        let output = run_in(t, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
    };
    refused(&["plain", "-m", "m", "-i", "scan.npy"], "--assume RAS");
    refused(&["plain", "-m", "m", "-i", "scan.nii.gz", "--affine", "affine.npy"], "says itself where it lies");
    refused(&["plain", "-m", "m", "-i", "scan.nii.gz", "-i", "scan.nii.gz"], "channels: found 2, expected 1");
}

#[test]
fn imports_are_refused_with_all_that_is_in_the_way() {
    let folder = scratch();
    let refused = |args: &[&str], parts: &[&str]| {
        let output = run_in(folder.path(), args);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(parts.iter().all(|p| message.contains(p)), "{message}: {parts:?}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0, "something was left behind");
    };
    let import = |name: &str| fixture(&format!("{name}.onnx"));
    refused(&["import", &import("bad"), "-o", "m"], &["4 of 5 nodes", "dilations", "group 2", "Gelu"]);
    refused(&["import", &import("nnunet_plain"), "-o", "m"], &["InstanceNormalization", "--instance-norm fold"]);
    refused(&["import", "none.onnx", "-o", "m"], &["none.onnx"]);
    refused(&["import", &import("odd")], &["--output"]);
    let [input, output] = ["odd.in.npy", "monai_unet.out.npy"].map(fixture);
    refused(&["import", &import("odd"), "-o", "m", "--check", &input, &output], &["output: found", "expected"]);
    let [input, output] = ["odd.in.npy", "odd_script.out.npy"].map(fixture);
    refused(&["import", &import("odd"), "-o", "m", "--check", &input, &output], &["--check", "differ by"]);
    let listed = run_in(folder.path(), &["import", "--list"]);
    assert!(listed.status.success() && text(&listed.stdout).contains("ConvTranspose"), "{}", text(&listed.stderr));
}
