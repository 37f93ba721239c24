//! Wrong, cut and hostile models: one clear error each, no panic.

use std::path::Path;

use blindvox_models::Error;
use blindvox_models::data::nifti::Volume;
use blindvox_models::format::bundle::{MODEL_FILE, Model, WEIGHTS_FILE};
use blindvox_models::format::weights::Weights;
use blindvox_models::testing::Net;
use blindvox_models::{Bundle, calibrate};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::model_path;

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn model_json() -> Value {
    let text = std::fs::read(model_path("hippo_quad").join(MODEL_FILE)).expect("a shipped model");
    serde_json::from_slice(&text).expect("JSON")
}

/// The message for the shipped model after an edit.
fn refusal(edit: impl FnOnce(&mut Value)) -> String {
    let mut model = model_json();
    edit(&mut model);
    let text = serde_json::to_vec(&model).expect("JSON");
    match Model::parse("model.json", &text) {
        Err(e @ Error::Model(_)) => e.to_string(),
        other => panic!("expected a refusal, found {other:?}"),
    }
}

fn mentions(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{message:?} doesn't mention {part:?}");
    }
}

#[test]
fn graphs_are_refused_by_name_and_field() {
    let nodes = |m: &mut Value, at: usize, to: Value| m["graph"]["nodes"][at] = to;
    let node = |name: &str, op: Value, input: &str| json!({"name": name, "op": op, "inputs": [input]});
    mentions(&refusal(|m| m["graph"]["version"] = json!(3)), &["version", "found 3", "expected 1 to 2"]);
    mentions(&refusal(|m| m["graph"]["nodes"] = json!([])), &["nodes", "found 0"]);
    mentions(
        &refusal(|m| m["graph"]["nodes"][1]["op"]["conv"]["kernel"] = json!([3, 3, 0])),
        &["enc.0.0", "kernel", "[3, 3, 0]", "3 sizes up to 31"],
    );
    mentions(&refusal(|m| m["graph"]["nodes"][1]["op"]["conv"]["kernel"] = json!([3, 3])), &["enc.0.0", "kernel"]);
    mentions(
        &refusal(|m| m["graph"]["nodes"][1]["op"]["conv"]["strides"] = json!([2, 2, 2])),
        &["node \"enc.0.0\"", "strides", "`stride`"],
    );
    let two = refusal(|m| {
        nodes(m, 2, node("enc.0.1", json!({"leaky_relu": {"slope": 0.1}}), "enc.0.0"));
        nodes(m, 4, node("enc.0.3", json!("instance_norm"), "enc.0.2"));
    });
    mentions(&two, &["node \"enc.0.1\"", "leaky_relu", "`relu`", "1 more"]);
    mentions(&refusal(|m| m["name"] = json!("a\u{1b}[2J")), &["name", "control characters"]);
    mentions(&refusal(|m| m["classes"][1] = json!("a\nb")), &["classes", "control characters"]);
    let escape = refusal(|m| m["\u{1b}[2J"] = json!(1));
    assert!(!escape.chars().any(char::is_control), "{escape:?}");
    mentions(
        &refusal(|m| m["graph"]["nodes"][1]["op"]["conv"]["out_channels"] = json!(0)),
        &["enc.0.0", "channels", "found 0"],
    );
    mentions(
        &refusal(|m| m["graph"]["nodes"][1]["op"]["conv"]["out_channels"] = json!(u64::MAX)),
        &["enc.0.0", "channels"],
    );
    mentions(
        &refusal(|m| m["graph"]["nodes"][0]["op"]["input"]["dims"] = json!([1u64 << 40, 1u64 << 40, 1])),
        &["input", "size"],
    );
    mentions(
        &refusal(|m| m["graph"]["nodes"][0]["op"]["input"]["dims"] = json!([34, 48, 32])),
        &["pool.1", "dims", "multiples"],
    );
    mentions(
        &refusal(|m| m["graph"]["nodes"][0]["op"]["input"]["channels"] = json!(2)),
        &["channels", "found 2", "expected 1"],
    );
    mentions(
        &refusal(|m| nodes(m, 2, node("enc.0.1", json!("square"), "dec.0.0"))),
        &["enc.0.1", "dec.0.0", "earlier"],
    );
    mentions(&refusal(|m| nodes(m, 2, node("enc.0.0", json!("square"), "enc.0.0"))), &["enc.0.0", "name"]);
    mentions(&refusal(|m| nodes(m, 2, node("enc.0.1", json!("argmax"), "enc.0.0"))), &["enc.0.1", "argmax", "last"]);
    mentions(&refusal(|m| nodes(m, 2, node("enc.0.1", json!("concat"), "enc.0.0"))), &["enc.0.1", "inputs", "found 1"]);
    mentions(
        &refusal(|m| nodes(m, 2, node("enc.0.1", json!("sigmoid"), "enc.0.0"))),
        &["node \"enc.0.1\"", "sigmoid", "max_pool"],
    );
    mentions(&refusal(|m| m["graph"]["nodes"][3]["inputs"] = json!(["enc.0.0"])), &["enc.0.1", "reads"]);
    mentions(&refusal(|m| m["classes"] = json!(["one"])), &["classes", "found 1", "expected 3"]);
    mentions(&refusal(|m| m["preparation"]["crop"] = json!([4, 4, 5])), &["preparation", "crop", "[32, 48, 32]"]);
    mentions(&refusal(|m| m["preparation"]["crop"] = json!([u64::MAX, 4, 5])), &["preparation", "crop"]);
    mentions(&refusal(|m| m["preparation"]["clamp"] = json!([1, -1])), &["clamp", "[1, -1]"]);
    let prepare = |m: &mut Value, key: &str, to: Value| m["preparation"][key] = to;
    mentions(&refusal(|m| prepare(m, "orientation", json!("RAX"))), &["orientation", "RAX", "RAS"]);
    mentions(&refusal(|m| prepare(m, "spacing", json!([1.0, 1.0]))), &["spacing", "[1.0, 1.0]", "3 sides"]);
    mentions(&refusal(|m| prepare(m, "spacing", json!([1.0, 0.0, 1.0]))), &["spacing", "0.0"]);
    mentions(&refusal(|m| prepare(m, "orientation", json!(null))), &["orientation", "none", "beside spacing"]);
    mentions(&refusal(|m| prepare(m, "spacing", json!(null))), &["spacing", "none", "beside resample"]);
    mentions(&refusal(|m| prepare(m, "resample", json!("cubic"))), &["cubic", "linear", "none"]);
    mentions(&refusal(|m| prepare(m, "labels", json!("none"))), &["none", "linear", "nearest"]);
    mentions(&refusal(|m| prepare(m, "divisor", json!([8, 8, 8]))), &["divisor"]);
    // Each newer key is an error in version 1.
    let older = |m: &mut Value| m["graph"]["version"] = json!(1);
    mentions(&refusal(older), &["preparation.orientation", "version 1", "graph.version 2"]);
    mentions(&refusal(|m| m["quantization"]["weight_bits"] = json!(40)), &["weight_bits", "found 40"]);
    mentions(&refusal(|m| m["quantization"]["tensors"]["input"]["scale_bits"] = json!(100)), &["input", "scale_bits"]);
}

/// A copy of a shipped bundle with an edited model.
fn copy_of(name: &str, edit: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let (to, from) = (scratch(), model_path(name));
    let mut model: Value =
        serde_json::from_slice(&std::fs::read(from.join(MODEL_FILE)).expect("a model")).expect("JSON");
    edit(&mut model);
    std::fs::write(to.path().join(MODEL_FILE), serde_json::to_vec(&model).expect("JSON")).expect("a write");
    std::fs::copy(from.join(WEIGHTS_FILE), to.path().join(WEIGHTS_FILE)).expect("a copy");
    to
}

#[test]
fn values_that_vanish_are_refused_by_layer() {
    // A z-score of 8x8 pixels is at most 8; a thirtieth of it, squared again and again, soon is below 2^-40.
    let mut net = Net::new(&[8, 8], false, 1);
    let mut at = "in".to_owned();
    for i in 0..6 {
        net.conv(&format!("conv.{i}"), &at, [1, 1], &[1, 1], false);
        net.scale(&format!("conv.{i}.w"), 0, 1, 1, 0.02);
        net.scale(&format!("conv.{i}.b"), 0, 1, 1, 0.0);
        net.op(&format!("square.{i}"), json!("square"), &[&format!("conv.{i}")]);
        at = format!("square.{i}");
    }
    net.conv("head", &at, [1, 2], &[1, 1], false);
    let message = net.write("head", 2, 2).try_calibrate().err().expect("a refusal").to_string();
    mentions(&message, &["square.", "its values vanish", "expected at most 40"]);
}

#[test]
fn scales_and_weights_are_refused_by_layer() {
    let program = |edit: &dyn Fn(&mut Value)| {
        let bundle = copy_of("hippo_hybrid", edit);
        Bundle::load(bundle.path()).expect("well formed").program().expect_err("a refusal").to_string()
    };
    let scale = |m: &mut Value, name: &str, by: i64| {
        let bits = &mut m["quantization"]["tensors"][name]["scale_bits"];
        *bits = json!(bits.as_i64().expect("a number") + by);
    };
    let message = program(&|m| m["quantization"]["tensors"]["enc.1.0"]["max_abs"] = json!(1e3));
    mentions(&message, &["enc.1.0", "spare bits", "needs 1"]);
    mentions(&program(&|m| scale(m, "enc.1.1", 1)), &["enc.1.1", "scale_bits"]);
    mentions(&program(&|m| scale(m, "head", 20)), &["head"]);
    mentions(
        &program(&|m| drop(m["quantization"]["tensors"].as_object_mut().expect("a map").remove("up.0"))),
        &["up.0", "calibrate"],
    );
    mentions(
        &program(&|m| m["graph"]["nodes"][1]["op"]["conv"]["weight"] = json!("enc.9")),
        &["enc.0.0", "\"enc.9\"", "found none", "[8, 1, 3, 3, 3]"],
    );
    mentions(
        &program(&|m| m["graph"]["nodes"][1]["op"]["conv"]["weight"] = json!("head.weight")),
        &["enc.0.0", "[3, 8, 1, 1, 1]", "[8, 1, 3, 3, 3]"],
    );
}

#[test]
fn missing_files_and_no_volumes_are_errors() {
    let at = |e: Error| matches!(e, Error::Io { .. });
    assert!(Bundle::load(Path::new("/nowhere")).map(drop).is_err_and(at));
    assert!(Volume::load(Path::new("/nowhere.nii")).map(drop).is_err_and(at));
    let mut bundle = Bundle::load(&model_path("hippo_relu")).expect("a shipped bundle");
    assert!(matches!(calibrate(&mut bundle, &[]), Err(Error::Input(_))));
}

#[test]
fn a_file_or_another_folder_is_no_bundle() {
    let model = model_path("hippo_relu");
    for file in [model.join(MODEL_FILE), model.join(WEIGHTS_FILE)] {
        let message = Bundle::load(&file).map(drop).expect_err("a file").to_string();
        mentions(&message, &["found a file", "a directory with model.json and weights.safetensors"]);
    }
    let folder = scratch();
    let message = Bundle::load(folder.path()).map(drop).expect_err("an empty folder").to_string();
    mentions(&message, &["a directory without model.json", "expected a bundle"]);
}

#[test]
fn keys_of_version_2_are_errors_in_version_1() {
    let bundle = copy_of("hippo_square1", |_| {});
    let (model, _) =
        Model::parse("m", &std::fs::read(bundle.path().join(MODEL_FILE)).expect("a model")).expect("valid");
    assert!(model.graph.version == 2 && model.calibration.is_some());
    let refused = |edit: &dyn Fn(&mut Value)| {
        let mut value = serde_json::to_value(&model).expect("JSON");
        edit(&mut value);
        Model::parse("m", &serde_json::to_vec(&value).expect("JSON")).map(drop).expect_err("a refusal").to_string()
    };
    let first = |m: &mut Value| {
        m["graph"]["version"] = json!(1);
        m["preparation"] = json!({"normalise": "z_score", "pad_to": [40, 56, 40], "crop": [4, 4, 4]});
        m.as_object_mut().expect("a map").remove("ckks");
    };
    assert!(model.ckks.is_some());
    let slots = refused(&|m| {
        let ckks = m["ckks"].clone();
        first(m);
        m["ckks"] = ckks;
    });
    mentions(&slots, &["version: found 1 with ckks", "expected 2"]);
    mentions(&refused(&|m| m["graph"]["version"] = json!(1)), &["preparation.orientation", "version 1", "version 2"]);
    mentions(&refused(&first), &["version: found 1 with calibration", "expected 2"]);
    let bits = refused(&|m| {
        first(m);
        m.as_object_mut().expect("a map").remove("calibration");
        m["quantization"]["tensors"]["enc.0.0"]["channel_bits"] = json!([0, 1, 0, 0, 0, 0, 0, 0]);
    });
    mentions(&bits, &["found 1 with quantization.tensors.channel_bits", "expected 2"]);
    mentions(&refused(&|m| m["calibration"]["input"]["mean"] = json!([2, 1])), &["calibration.input", "[2, 1]"]);
    mentions(&refused(&|m| m["calibration"]["input"]["percentiles"] = json!([])), &["percentiles", "found 0"]);
    mentions(&refused(&|m| m["calibration"]["more"] = json!(1)), &["unknown field `more`"]);
}

#[test]
fn channel_bits_are_refused_by_layer() {
    let program = |tensor: &str, bits: Value| {
        let bundle = copy_of("hippo_square1", |m| m["quantization"]["tensors"][tensor]["channel_bits"] = bits.clone());
        Bundle::load(bundle.path()).expect("well formed").program().map(drop).expect_err("a refusal").to_string()
    };
    mentions(&program("enc.0.0", json!([1, 2])), &["enc.0.0", "found 2 of them", "8 channels"]);
    mentions(&program("enc.0.0", json!([0, 0, 0, 25, 0, 0, 0, 0])), &["enc.0.0", "found 25", "0 to 24"]);
    for tensor in ["enc.0.1", "head", "input"] {
        mentions(&program(tensor, json!([1])), &[tensor, "channel_bits", "expected none"]);
    }
}

#[test]
fn weights_of_wrong_type_or_value_are_refused() {
    let file = |header: &str, data: &[u8]| {
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
        Weights::from_bytes(Path::new("w.safetensors"), bytes)
    };
    let f16 = file(r#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#, &[0x00, 0x3c, 0x00, 0xc0])
        .expect("well formed");
    assert_eq!(f16.tensor("n", "a", &[2]).expect("halves"), [1.0, -2.0]);
    let error = f16.tensor("n", "a", &[2, 1]).expect_err("another shape").to_string();
    mentions(&error, &["w.safetensors", "\"a\"", "\"n\"", "[2]", "[2, 1]"]);
    let long = file(r#"{"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]).expect("well formed");
    mentions(&long.tensor("n", "a", &[1]).expect_err("a type").to_string(), &["I32", "F32, F64, F16 or BF16"]);
    let bf16 = file(r#"{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}"#, &[0x80, 0x3f, 0x20, 0xc0])
        .expect("well formed");
    assert_eq!(bf16.tensor("n", "a", &[2]).expect("brain floats"), [1.0, -2.5]);
    let double = |value: f64| {
        file(r#"{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}"#, &value.to_le_bytes()).expect("well formed")
    };
    assert_eq!(double(-0.1).tensor("n", "a", &[1]).expect("a double"), [-0.1f32]);
    mentions(&double(1e300).tensor("n", "a", &[1]).expect_err("no f32").to_string(), &["inf as f32", "finite"]);
    let nan = file(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &f32::NAN.to_le_bytes())
        .expect("well formed");
    mentions(&nan.tensor("n", "a", &[1]).expect_err("no number").to_string(), &["NaN", "finite"]);
    assert!(file("{", &[]).is_err() && Weights::from_bytes(Path::new("w"), vec![0xff; 16]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Model::parse("model.json", &bytes);
        let _ = Weights::from_bytes(Path::new("w"), bytes.clone());
    }

    /// Scalars of a real model replaced by others: refused or accepted, never a panic.
    #[test]
    fn mutated_models_never_panic(at in 0usize..4000, value in prop_oneof![
        any::<u64>().prop_map(|v| json!(v)), any::<i64>().prop_map(|v| json!(v)), (-9.0f64..9.0).prop_map(|v| json!(v)),
        (0u64..70).prop_map(|v| json!(v)), "[a-z.0-9]{0,8}".prop_map(|v| json!(v)), Just(json!(null)), Just(json!([1, 2, 3])),
        Just(json!("enc.0.0")), Just(json!("argmax")), Just(json!("concat"))]) {
        let mut model = model_json();
        let mut left = at;
        replace(&mut model, &mut left, &value);
        let text = serde_json::to_vec(&model).expect("JSON");
        let _ = Model::parse("model.json", &text);
    }
}

/// Replaces the scalar number `left` in depth-first order.
fn replace(value: &mut Value, left: &mut usize, by: &Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(|v| replace(v, left, by)),
        Value::Object(map) => map.values_mut().for_each(|v| replace(v, left, by)),
        scalar => {
            if *left == 0 {
                *scalar = by.clone();
            }
            *left = left.wrapping_sub(1);
        }
    }
}
