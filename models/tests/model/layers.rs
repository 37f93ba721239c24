//! What version 2 of the graph adds: strides, windows, dense layers and what leads to them, activations by name.

use blindvox_models::format::bundle::{MODEL_FILE, Model};
use blindvox_models::network::Output;
use blindvox_models::plain::float;
use blindvox_models::testing::{Numbers, Written, tiny_classifier, tiny_rows, tiny_volume_classifier};
use blindvox_models::{Bundle, Error, LinearKind, Rounding, Step, plain};
use serde_json::{Value, json};

use crate::common::Net;
use crate::model_path;
use crate::networks::check;

/// The scores of a network in floats, on fixed numbers.
fn scores(net: Net, last: &str, classes: usize) -> Vec<f32> {
    let written = net.write(last, classes, 0);
    let network = Bundle::load(written.directory.path()).expect("well formed").network().expect("weights that match");
    let mut numbers = Numbers(99);
    let input: Vec<f32> = (0..network.input().elements()).map(|_| numbers.draw()).collect();
    float::run(&network, &input).logits
}

#[test]
fn classifiers_in_integers_follow_their_float_networks() {
    for (written, classes) in [(tiny_classifier(), 3), (tiny_volume_classifier(), 2), (tiny_rows(), 3)] {
        let bundle = written.calibrate();
        let network = bundle.network().expect("weights that match");
        assert_eq!((network.output, network.classes()), (Output::Class, classes));
        let program = bundle.program().expect("a calibrated bundle");
        let mut numbers = Numbers(5);
        let real: Vec<f32> = (0..network.input().elements()).map(|_| 2.0 * numbers.draw()).collect();
        let unit = 2f32.powi(program.tensors[program.input].scale_bits);
        let integers: Vec<i32> = real.iter().map(|x| (x * unit).round() as i32).collect();
        let (float, run) = (float::run(&network, &real), plain::run(&program, &integers, Rounding::Nearest));
        let unit = 2f32.powi(-program.tensors[program.logits].scale_bits);
        let size = float.logits.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (integer, real) in run.logits.iter().zip(&float.logits) {
            assert!((*integer as f32 * unit - real).abs() < 0.01 * size, "{:?} for {:?}", run.logits, float.logits);
        }
        assert_eq!((run.labels.len(), float.labels.len(), run.logits.len()), (1, 1, classes));
    }
}

#[test]
fn strided_and_even_convolutions_follow_their_float_network() {
    let mut net = Net::new(&[21, 16], false, 3);
    net.conv("c0", "in", [1, 4], &[5, 5], true);
    net.with("stride", json!([4, 2]));
    net.with("padding", json!([2, 0]));
    net.quadratic("q0", "c0", 4);
    net.conv("c1", "q0", [4, 4], &[2, 4], false);
    net.with("stride", json!([1, 3]));
    net.op("r1", json!("relu"), &["c1"]);
    net.op("flat", json!("flatten"), &["r1"]);
    net.dense("head", "flat", 4 * 7 * 3, 3, false);
    let steps = check(net, "head", 3);
    let kinds: Vec<LinearKind> =
        steps.iter().filter_map(|s| if let Step::Linear(l) = s { Some(l.kind) } else { None }).collect();
    let conv = |kernel, stride, padding| LinearKind::Conv { kernel, stride, padding };
    assert_eq!(
        kinds,
        [conv([1, 5, 5], [1, 4, 2], [0, 2, 0]), conv([1, 2, 4], [1, 1, 3], [0, 1, 2]), LinearKind::conv([1; 3])]
    );
    assert!(matches!(&steps[2], Step::Linear(l) if l.bias_map.is_some()), "constants meet the padding");
}

#[test]
fn flattened_concatenations_keep_coefficients_constants_and_order() {
    let mut net = Net::new(&[4, 6, 2], false, 4);
    net.conv("c0", "in", [1, 2], &[3, 3, 3], false);
    net.quadratic("q0", "c0", 2);
    net.conv("c1", "in", [1, 3], &[1, 1, 1], false);
    net.op("cat", json!("concat"), &["q0", "c1"]);
    net.op("flat", json!("flatten"), &["cat"]);
    net.dense("d0", "flat", 5 * 48, 4, true);
    net.op("r0", json!("relu"), &["flat"]);
    net.dense("d1", "r0", 5 * 48, 4, false);
    net.op("both", json!("concat"), &["d0", "d1"]);
    net.dense("head", "both", 8, 3, false);
    let steps = check(net, "head", 3);
    let flat: Vec<&str> = steps.iter().filter(|s| s.kind() == "flatten").map(Step::name).collect();
    assert_eq!(flat.len(), 3, "{flat:?}: of c0, its square and c1");
}

/// A channel scaled and, behind flattening, unscaled, is the same integers.
#[test]
fn equalisation_goes_through_flattening() {
    let steps = |by: f32| {
        let mut net = Net::new(&[4, 4, 2], false, 6);
        net.conv("c", "in", [1, 3], &[3, 3, 3], false);
        net.op("s", json!("square"), &["c"]);
        net.op("flat", json!("flatten"), &["s"]);
        net.dense("head", "flat", 3 * 32, 2, false);
        net.scale("c.w", 27, 27, 3 * 27, by);
        net.scale("c.b", 1, 1, 3, by);
        net.scale("head.w", 32, 32, 3 * 32, 1.0 / (by * by));
        net.write("head", 2, 3).program().0.steps
    };
    let plain = steps(1.0);
    for by in [64.0, 1.0 / 1024.0] {
        assert!(steps(by) == plain, "other integers for a channel times {by}");
    }
}

/// Both are convolutions by another name: of all of the grid, and with equal weights.
#[test]
fn dense_layers_and_means_are_convolutions() {
    let (dims, channels) = ([3usize, 4, 5], 2);
    let start = |seed: u64| {
        let mut net = Net::new(&dims, false, seed);
        net.conv("c", "in", [1, channels], &[3, 3, 3], false);
        net
    };
    let mut flat = start(1);
    flat.op("flat", json!("flatten"), &["c"]);
    flat.dense("head", "flat", channels * 60, 3, false);
    let mut whole = start(1);
    whole.conv("head", "c", [channels, 3], &dims, false);
    whole.with("padding", json!([0, 0, 0]));
    assert_eq!(scores(flat, "head", 3), scores(whole, "head", 3));

    let mut mean = start(2);
    mean.op("mean", json!("global_avg_pool"), &["c"]);
    mean.dense("head", "mean", channels, 3, false);
    let mut window = start(2);
    window.op("mean", json!({"avg_pool": {"window": dims}}), &["c"]);
    window.conv("head", "mean", [channels, 3], &[1, 1, 1], false);
    assert_eq!(scores(mean, "head", 3), scores(window, "head", 3));
}

#[test]
fn relu_by_name_is_relu() {
    let program = |op: Value| {
        let mut net = Net::new(&[8, 8], false, 8);
        net.conv("c", "in", [1, 3], &[3, 3], false);
        net.op("r", op, &["c"]);
        net.conv("head", "r", [3, 2], &[1, 1], false);
        net.write("head", 2, 2).program().0
    };
    assert_eq!(program(json!("relu")), program(json!({"activation": {"function": "relu"}})));
}

/// Why a small network with this node before its head is refused: at load or when its network is asked for.
fn refusal(version: u32, op: &Value, edit: impl Fn(&mut Value)) -> String {
    let mut net = Net::new(&[6, 8], false, 1);
    net.conv("c", "in", [1, 4], &[3, 3], false);
    net.op("node", op.clone(), &["c"]);
    net.op("mean", json!("global_avg_pool"), &["node"]);
    net.dense("head", "mean", 4, 2, false);
    let Written { directory, .. } = net.write("head", 2, 0);
    let path = directory.path().join(MODEL_FILE);
    let mut model: Value = serde_json::from_slice(&std::fs::read(&path).expect("a model")).expect("JSON");
    model["graph"]["version"] = json!(version);
    edit(&mut model);
    std::fs::write(&path, model.to_string()).expect("a write");
    let refused = Bundle::load(directory.path()).and_then(|bundle| bundle.network().map(drop)).expect_err("a refusal");
    assert!(matches!(refused, Error::Model(_)));
    refused.to_string()
}

#[test]
fn new_operations_are_refused_by_name_and_field() {
    let conv = |field: &str, value: Value| {
        let mut op = json!({"out_channels": 4, "kernel": [3, 3], "weight": "w"});
        op[field] = value;
        json!({ "conv": op })
    };
    let up = |field: &str, value: Value| {
        let mut op = json!({"out_channels": 4, "weight": "w"});
        op[field] = value;
        json!({ "conv_transpose": op })
    };
    let activation = |value: Value| json!({ "activation": value });
    let piece = |lo: Value, hi: Value| json!({"lo": lo, "hi": hi, "a": 0.0, "b": 1.0, "c": 0.0});
    for (op, parts) in [
        (conv("stride", json!([2])), ["stride: found [2]", "2 steps of 1 to 31"]),
        (conv("stride", json!([2, 0])), ["stride: found [2, 0]", "2 steps"]),
        (conv("padding", json!([3, 1])), ["padding: found [3, 1]", "below the kernel's [3, 3]"]),
        (conv("kernel", json!([3, 32])), ["kernel: found [3, 32]", "2 sizes up to 31"]),
        (
            json!({"conv": {"out_channels": 4, "kernel": [9, 9], "padding": [0, 0], "weight": "w"}}),
            ["input dims: found [1, 6, 8]", "holds the kernel"],
        ),
        (json!({"avg_pool": {"window": [3]}}), ["window: found [3]", "for each axis"]),
        (json!({"avg_pool": {"window": [4, 2]}}), ["input dims: found [1, 6, 8]", "multiples of [1, 4, 2]"]),
        (json!({"max_pool": {"window": [0, 2]}}), ["window", "above 0"]),
        (json!({"dense": {"out_features": 4, "weight": "w"}}), ["input dims: found [1, 6, 8]", "flatten"]),
        (
            activation(json!({"function": "prelu", "slope": "s"})),
            ["tensor \"s\" of node \"node\"", "expected shape [4]"],
        ),
        (up("kernel", json!([3])), ["kernel: found", "2 numbers"]),
        (up("stride", json!([0, 2])), ["stride: found [1, 0, 2]", "2 sizes of 1 to 31"]),
        (up("padding", json!([2, 0])), ["padding: found [0, 2, 0]", "fewer than the kernel's sizes"]),
        (up("output_padding", json!([0, 2])), ["output_padding: found [0, 0, 2]", "fewer than the stride's steps"]),
        (up("output_padding", json!([1, 0])), ["input dims: found [1, 6, 8]", "each of whose outputs meets an input"]),
        (json!({"resize": {"factor": [2, 0]}}), ["factor: found [2, 0]", "1 to 31 for each axis"]),
        (json!({"instance_norm": {"eps": 0.0}}), ["eps: found 0", "above 0"]),
        (json!("add"), ["inputs: found 1", "2 to 64"]),
        (activation(json!({"function": "prelu", "slope": 0.1})), ["slope: found 0.1", "tensor for prelu"]),
        (activation(json!({"function": "relu6", "slope": 0.1})), ["slope: found 0.1", "none for relu6"]),
        (activation(json!({"function": "leaky_relu"})), ["slope: found none", "a number for leaky_relu"]),
        (activation(json!({"function": "swish"})), ["unknown variant `swish`", "`relu6`"]),
        (activation(json!({})), ["found neither function nor pieces", "one of them"]),
        (activation(json!({"pieces": []})), ["pieces: found 0", "1 to 64"]),
        (
            activation(json!({"pieces": [piece(json!(null), json!(1.0)), piece(json!(2.0), json!(null))]})),
            ["pieces: found gaps", "no lo"],
        ),
        (
            activation(json!({"pieces": [piece(json!(null), json!(1.0)), piece(json!(0.5), json!(null))]})),
            ["pieces: found gaps", "no lo"],
        ),
    ] {
        let message = refusal(2, &op, |_| {});
        assert!(message.contains("node \"node\"") && parts.iter().all(|p| message.contains(p)), "{message}: {parts:?}");
    }
    // Version 1 has none of it, and no even kernels.
    for (op, name) in [
        (conv("stride", json!([1, 1])), "stride in version 1"),
        (conv("padding", json!([1, 1])), "padding in version 1"),
        (json!({"avg_pool": {"window": [2, 2]}}), "window in version 1"),
        (activation(json!({"function": "relu"})), "activation in version 1"),
        (json!("min_pool"), "min_pool in version 1"),
        (json!("flatten"), "flatten in version 1"),
        (conv("kernel", json!([2, 2])), "2 odd sizes"),
    ] {
        let message = refusal(1, &op, |m| m["preparation"]["orientation"] = json!(null));
        assert!(message.contains("node \"node\"") && message.contains(name), "{message}: {name}");
    }
    let input =
        |fields: Value| refusal(2, &json!("relu"), move |m| m["graph"]["nodes"][0]["op"]["input"] = fields.clone());
    assert!(input(json!({"channels": 1})).contains("node \"in\": fields: found [\"channels\"]"));
    assert!(input(json!({"channels": 1, "dims": [8, 8], "features": 3})).contains("channels and dims, or features"));
    assert!(input(json!({"channels": 1, "dims": [8]})).contains("dims: found [8], expected [D, H, W] or [H, W]"));
    let table = refusal(2, &json!("relu"), |m| {
        m["graph"]["nodes"] = json!([
            {"name": "in", "op": {"input": {"features": 30}}},
            {"name": "head", "op": {"dense": {"out_features": 2, "weight": "head.w"}}, "inputs": ["in"]},
            {"name": "out", "op": "argmax", "inputs": ["head"]},
        ]);
    });
    assert!(table.contains("preparation: found no table, expected one with 30 columns"), "{table}");
    let smaller = refusal(2, &json!("relu"), |m| {
        m["graph"]["nodes"][3]["op"] = json!("avg_pool");
        m["graph"]["nodes"][4]["op"] = json!({"conv": {"out_channels": 2, "kernel": [1, 1], "weight": "head.w"}});
    });
    assert!(
        smaller.contains("node \"out\": input dims: found [1, 3, 4], expected the input's [1, 6, 8] or one"),
        "{smaller}"
    );
}

#[test]
fn scores_are_revealed_by_name_and_not_yet_on_shares() {
    let written = tiny_classifier();
    let path = written.directory.path().join(MODEL_FILE);
    let mut model: Value = serde_json::from_slice(&std::fs::read(&path).expect("a model")).expect("JSON");
    let mut load = |reveal: Value| {
        model["reveal"] = reveal;
        std::fs::write(&path, model.to_string()).expect("a write");
        Bundle::load(written.directory.path())
    };
    let outputs = ["labels", "scores"].map(|reveal| {
        let bundle = load(json!(reveal)).expect("well formed");
        (bundle.network().expect("weights that match").output, bundle.program().expect_err("no scales").to_string())
    });
    assert_eq!(outputs[0].0, Output::Class);
    assert!(outputs[0].1.contains("found no scale"), "{outputs:?}");
    assert_eq!(outputs[1].0, Output::Scores);
    assert!(outputs[1].1.contains("reveal: found \"scores\", which is not yet supported"), "{outputs:?}");
    assert!(
        load(json!("logits")).map(drop).expect_err("no such name").to_string().contains("unknown variant `logits`")
    );
}

/// What is read is written as it was, so that a file of either version stays as it is.
#[test]
fn models_are_written_as_they_were_read() {
    let mut paths: Vec<_> = ["hippo_hybrid", "hippo_relu", "hippo_square1", "hippo_quad"].map(model_path).into();
    let classifiers = [tiny_classifier(), tiny_volume_classifier(), tiny_rows()];
    for written in &classifiers {
        written.calibrate();
        paths.push(written.directory.path().to_owned());
    }
    for path in paths {
        let text = std::fs::read(path.join(MODEL_FILE)).expect("a model");
        let (model, _) = Model::parse("model.json", &text).expect("well formed");
        let again = serde_json::to_vec_pretty(&model).expect("JSON");
        assert!(again == text.trim_ascii_end(), "{}", path.display());
    }
}
