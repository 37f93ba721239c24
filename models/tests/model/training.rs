//! Folders of trained models: what they say of scans and classes becomes a preparation, and what is not understood is
//! named all at once.

use std::path::Path;

use blindvox_models::format::onnx::{Options, import};
use blindvox_models::format::training::{Training, monai, nnunet};
use serde_json::{Value, json};
use tempfile::TempDir;

fn folder(files: &[(&str, Value)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, content.to_string()).expect("a write");
    }
    folder
}

fn spleen(edit: impl FnOnce(&mut Value)) -> TempDir {
    let mut config = json!({
        "bundle_root": ".",
        "device": "$torch.device('cuda:0')",
        "preprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": "image", "pixdim": "@spacing", "mode": "bilinear"},
            {"_target_": "monai.transforms.ScaleIntensityRanged", "keys": "image", "a_min": -57, "a_max": 164,
                "b_min": 0, "b_max": 1, "clip": true},
            {"_target_": "EnsureTyped", "keys": "image"}]},
        "spacing": [1.5, 1.5, 2.0],
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [8, 12, 8], "sw_batch_size": 4, "overlap": 0.5,
            "mode": "gaussian"},
    });
    edit(&mut config);
    let metadata = json!({"network_data_format": {
        "inputs": {"image": {"num_channels": 1, "channel_def": {"0": "image"}}},
        "outputs": {"pred": {"channel_def": {"0": "background", "1": "left", "2": "right"}}}}});
    folder(&[("configs/inference.json", config), ("configs/metadata.json", metadata)])
}

#[test]
fn a_bundle_of_monai_says_what_its_scans_are() {
    let directory = spleen(|_| ());
    let Training { preparation, classes, notices } = monai::read(directory.path()).expect("a bundle");
    let expected = json!({
        "orientation": "RAS", "spacing": [1.5, 1.5, 2.0], "resample": "linear",
        "normalise": {"range": {"from": [-57.0, 164.0], "to": [0.0, 1.0], "clip": true}},
        "window": {"size": [8, 12, 8], "overlap": 0.5, "blend": "gaussian", "sigma": 0.125, "grid": "monai"}});
    assert_eq!(serde_json::to_value(&preparation).expect("JSON"), expected);
    assert_eq!(preparation.bounds(), Some([0.0, 1.0]));
    assert_eq!(classes.as_deref(), Some(&["background", "left", "right"].map(String::from)[..]));
    assert!(notices.is_empty());
    // It is one that an import takes.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx/monai_unet.onnx");
    let options = Options { preparation: Some(preparation.clone()), classes, ..Options::default() };
    let imported = import(&path, &options).expect("an import");
    assert_eq!(imported.model().preparation, preparation);

    let other = spleen(|config| {
        let transforms = config["preprocessing"]["transforms"].as_array_mut().expect("a list");
        transforms[4] = json!({"_target_": "NormalizeIntensityd", "nonzero": true});
        transforms.insert(2, json!({"_target_": "CropForegroundd", "margin": 3, "source_key": "image"}));
        transforms.push(json!({"_target_": "RandFlipd", "_disabled_": true}));
        config["inferer"] = json!({"_target_": "SimpleInferer"});
    });
    let found = serde_json::to_value(monai::read(other.path()).expect("a bundle").preparation).expect("JSON");
    assert_eq!((&found["normalise"], &found["window"]), (&json!("z_score_nonzero"), &Value::Null));
    assert_eq!(found["crop"], json!({"above": 0.0, "margin": 3}));
}

#[test]
fn what_is_not_understood_is_named_at_once() {
    let directory = spleen(|config| {
        let transforms = config["preprocessing"]["transforms"].as_array_mut().expect("a list");
        transforms[3]["pixdim"] = json!("$[1, 1, 1]");
        transforms.push(json!({"_target_": "HistogramNormalized"}));
        transforms.push(json!({"_target_": "CropForegroundd", "select_fn": "$lambda x: x > -500"}));
        config["inferer"]["_target_"] = json!("SliceInferer");
    });
    let text = monai::read(directory.path()).expect_err("a refusal").to_string();
    for part in [
        "inference.json",
        "Spacing: pixdim: found an expression \"$[1, 1, 1]\"",
        "the transform \"HistogramNormalize\"",
        "CropForeground: select_fn",
        "inferer: found \"SliceInferer\"",
        "--preparation",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert!(monai::read(Path::new("nowhere")).is_err());
}

fn abdomen(edit: impl FnOnce(&mut Value, &mut Value)) -> TempDir {
    let mut plans = json!({
        "transpose_forward": [1, 0, 2], "image_reader_writer": "SimpleITKIO",
        "configurations": {"3d_fullres": {"spacing": [0.8, 3.0, 0.8], "patch_size": [8, 12, 8],
            "normalization_schemes": ["CTNormalization"], "use_mask_for_norm": [false]}},
        "foreground_intensity_properties_per_channel":
            {"0": {"mean": 100.0, "std": 50.0, "percentile_00_5": -50.0, "percentile_99_5": 250.0}}});
    let mut dataset = json!({"channel_names": {"0": "CT"}, "labels": {"liver": 1, "background": 0, "spleen": 2}});
    edit(&mut plans, &mut dataset);
    folder(&[("plans.json", plans), ("dataset.json", dataset)])
}

#[test]
fn a_model_of_nnunet_says_what_its_scans_are() {
    let directory = abdomen(|_, _| ());
    let Training { preparation, classes, notices } = nnunet::read(directory.path()).expect("a model");
    // Arrays are k, j, i, of which the plans exchange the first two.
    let expected = json!({
        "orientation": "ASR", "spacing": [0.8, 3.0, 0.8], "resample": "linear",
        "normalise": {"ct": {"clip": [-50.0, 250.0], "mean": 100.0, "deviation": 50.0}},
        "window": {"size": [8, 12, 8], "overlap": 0.5, "blend": "gaussian", "sigma": 0.125, "grid": "nnunet"}});
    assert_eq!(serde_json::to_value(&preparation).expect("JSON"), expected);
    assert_eq!(preparation.bounds(), Some([-3.0, 3.0]));
    assert_eq!(classes.as_deref(), Some(&["background", "liver", "spleen"].map(String::from)[..]));
    assert!(notices.iter().any(|n| n.contains("ASR")), "{notices:?}");

    let brain = abdomen(|plans, dataset| {
        plans["image_reader_writer"] = json!("NibabelIOWithReorient");
        plans["configurations"]["3d_fullres"]["normalization_schemes"] =
            json!(["ZScoreNormalization", "ZScoreNormalization"]);
        plans["configurations"]["3d_fullres"]["use_mask_for_norm"] = json!([true, false]);
        dataset["channel_names"] = json!({"0": "FLAIR", "1": "T1"});
    });
    let Training { preparation, notices, .. } = nnunet::read(brain.path()).expect("a model");
    let found = serde_json::to_value(preparation).expect("JSON");
    assert_eq!(found["channels"][0], json!({"name": "FLAIR", "normalise": "z_score_nonzero"}));
    assert_eq!(found["channels"][1], json!({"name": "T1", "normalise": "z_score"}));
    assert!(found["crop"]["above"] == json!(0.0) && notices.len() == 1, "{found}, {notices:?}");

    let refused =
        |edit: &dyn Fn(&mut Value, &mut Value)| nnunet::read(abdomen(edit).path()).expect_err("a refusal").to_string();
    let text = refused(&|_, d| d["labels"]["whole"] = json!([1, 2]));
    assert!(text.contains("labels: whole: found [1,2]: regions"), "{text}");
    let text = refused(&|p, _| p["configurations"]["3d_fullres"]["normalization_schemes"] = json!(["Mine"]));
    assert!(text.contains("found \"Mine\" for channel 0"), "{text}");
    let text = refused(&|p, _| p["configurations"]["3d_fullres"]["patch_size"] = json!([512, 512]));
    assert!(text.contains("patch_size: found [512,512]"), "{text}");
}
