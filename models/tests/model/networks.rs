//! Networks of other forms, with random weights: the integer program of a graph follows its float reference.

use blindvox_models::data::nifti::Volume;
use blindvox_models::plain::float;
use blindvox_models::{Bundle, LinearKind, Rounding, Step, calibrate, plain};
use serde_json::json;

use crate::common::{Net, Written};

/// Calibrates a network on random volumes and compares integers with floats on another.
pub(crate) fn check(net: Net, scores: &str, classes: usize) -> Vec<Step> {
    let written = net.write(scores, classes, 3);
    let bundle = Bundle::load(written.directory.path()).expect("a well-formed bundle");
    assert!(bundle.program().is_err(), "a bundle without scales has no program");
    let bundle = written.calibrate();

    let program = bundle.program().expect("a calibrated bundle");
    let path = &written.volumes[2];
    let volume = Volume::load(path).expect("its own file");
    let prepared = bundle.prepare(&program, &volume, path).expect("a volume of the right size");
    let float = float::run(&bundle.network().expect("weights that match"), &prepared.real);
    let (run, _) = plain::run_with_trace(&program, &prepared.integers, Rounding::Nearest);
    assert_eq!(run.overflows().count(), 0, "{:?}", run.overflows().collect::<Vec<_>>());
    let unit = 2f64.powi(-program.tensors[program.logits].scale_bits);
    let size = float.logits.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let difference = |(&i, &f): (&i32, &f32)| (f64::from(i) * unit - f64::from(f)).abs();
    let worst = run.logits.iter().zip(&float.logits).map(difference).fold(0.0, f64::max);
    println!("logits differ by {worst:.5} of {size:.3}");
    assert!(worst < 0.01 * f64::from(size), "logits differ by {worst} of {size}");
    assert_eq!(plain::run(&program, &prepared.integers, Rounding::Nearest).labels, run.labels);
    program.steps
}

/// A U-Net whose channel 2 of `c1` is multiplied by `by`, and what reads it divided, so that it is the same function.
fn with_a_scaled_channel(activation: &str, by: f32) -> Written {
    let mut net = Net::new(&[12, 8, 16], false, 11);
    net.conv("c0", "in", [1, 4], &[3, 3, 3], false);
    net.op("a0", json!("relu"), &["c0"]);
    net.conv("c1", "a0", [4, 4], &[3, 3, 3], false);
    net.op("a1", json!(activation), &["c1"]);
    net.op("p1", json!("avg_pool"), &["a1"]);
    net.up("u1", "p1", 4, 2);
    net.op("cat", json!("concat"), &["a1", "u1"]);
    net.conv("head", "cat", [6, 3], &[1, 1, 1], false);
    let read = if activation == "square" { by * by } else { by };
    net.scale("c1.w", 2 * 4 * 27, 4 * 27, 4 * 4 * 27, by);
    net.scale("c1.b", 2, 1, 4, by);
    net.scale("u1.w", 2 * 2 * 8, 2 * 8, 4 * 2 * 8, 1.0 / read);
    net.scale("head.w", 2, 1, 6, 1.0 / read);
    net.write("head", 3, 3)
}

#[test]
fn a_channel_scaled_and_unscaled_is_the_same_network() {
    for activation in ["relu", "square"] {
        let steps = |by| with_a_scaled_channel(activation, by).program().0.steps;
        let plain = steps(1.0);
        for by in [64.0, 256.0, 1024.0, 1.0 / 4096.0] {
            assert!(steps(by) == plain, "{activation}: other integers for a channel times {by}");
        }
        // No power of two: other roundings, no other precision.
        let [(unscaled, voxels), (scaled, _)] = [1.0, 700.0].map(|by| {
            let written = with_a_scaled_channel(activation, by);
            let mut bundle = Bundle::load(written.directory.path()).expect("well formed");
            let all = calibrate(&mut bundle, &written.volumes).expect("a calibration");
            all.iter().fold((0, 0), |(differing, voxels), a| (differing + a.differing, voxels + a.voxels))
        });
        println!("{activation}: {unscaled} and {scaled} of {voxels} labels differ");
        assert!(scaled <= unscaled + voxels / 200, "{activation}: {scaled} of {voxels} labels, {unscaled} unscaled");
    }
}

#[test]
fn a_network_that_integers_cannot_follow_is_told_by_volume_and_layer() {
    let coarse = |weight_bits: u32| {
        let written = with_a_scaled_channel("relu", 1.0);
        let mut bundle = Bundle::load(written.directory.path()).expect("well formed");
        bundle.quantization.weight_bits = weight_bits;
        calibrate(&mut bundle, &written.volumes[..1]).expect("a calibration").remove(0)
    };
    let found = coarse(4);
    let warning = found.warning().expect("4 bits are too few");
    let cause = found.cause.as_ref().expect("a layer");
    assert!(warning.contains("0.nii.gz") && warning.contains(&format!("{:?}", cause.tensor)), "{warning}");
    assert!(cause.channel < 4 && cause.error > 0.01, "{cause:?}");
    let fine = coarse(16);
    assert!(fine.differing < found.differing, "{fine:?} against {found:?}");
}

#[test]
fn a_u_net_with_quadratics_normalisation_and_padding() {
    let mut net = Net::new(&[8, 12, 8], false, 7);
    net.conv("c0", "in", [1, 4], &[3, 3, 3], true);
    net.quadratic("q0", "c0", 4);
    net.op("p0", json!("avg_pool"), &["q0"]);
    net.conv("c1", "p0", [4, 6], &[3, 3, 3], true);
    net.quadratic("q1", "c1", 6);
    net.up("u0", "q1", 6, 4);
    net.op("cat", json!("concat"), &["q0", "u0"]);
    net.conv("c2", "cat", [8, 4], &[3, 1, 3], false);
    net.op("s2", json!("square"), &["c2"]);
    net.conv("head", "s2", [4, 3], &[1, 1, 1], false);
    let steps = check(net, "head", 3);
    let maps = steps.iter().filter(|s| matches!(s, Step::Linear(l) if l.bias_map.is_some())).count();
    assert_eq!(maps, 3, "c1, u0 and c2 meet the constants of a quadratic");
    assert!(steps.iter().all(|s| !s.name().ends_with(".input")), "no identity layer is needed");
}

#[test]
fn strides_residuals_leaky_slopes_and_general_transpositions() {
    let mut net = Net::new(&[8, 12, 8], false, 21);
    net.conv("c0", "in", [1, 4], &[3, 3, 3], true);
    net.with("stride", json!([2, 2, 1]));
    net.with("padding", json!([1, 1, 1]));
    let slopes = net.tensor("a0.slope", &[4], 0.2, 0.05);
    net.op("a0", json!({"activation": {"function": "prelu", "slope": slopes}}), &["c0"]);
    net.conv("c1", "a0", [4, 4], &[2, 2, 2], false);
    net.with("padding", json!([0, 0, 0]));
    net.with("stride", json!([2, 2, 2]));
    net.op("a1", json!({"activation": {"function": "leaky_relu", "slope": 0.01}}), &["c1"]);
    net.conv("c2", "a1", [4, 4], &[3, 3, 3], false);
    net.op("sum", json!("add"), &["c2", "a1", "c1"]);
    let [factor, offset] = [("s.f", 0.8), ("s.o", 0.1)].map(|(name, centre)| net.tensor(name, &[4], centre, 0.1));
    net.op("s", json!({"scale": {"factor": factor, "offset": offset}}), &["sum"]);
    net.op("a2", json!({"activation": {"function": "leaky_relu", "slope": 0.1}}), &["s"]);
    net.up("u0", "a2", 4, 3);
    let weight = net.tensor("u0.k3", &[4, 3, 3, 3, 3], 0.0, 0.2);
    let parts = [("weight", json!(weight)), ("kernel", json!([3, 3, 3])), ("stride", json!([2, 2, 2]))];
    let parts = parts.into_iter().chain([("padding", json!([1, 1, 1])), ("output_padding", json!([1, 1, 1]))]);
    parts.for_each(|(field, value)| net.with(field, value));
    net.op("m", json!({"max_pool": {"window": [1, 1, 1]}}), &["u0"]);
    net.op("r", json!({"resize": {"factor": [2, 2, 1]}}), &["m"]);
    net.conv("head", "r", [3, 3], &[1, 1, 1], false);
    let steps = check(net, "head", 3);
    let kinds: Vec<_> = steps.iter().map(Step::kind).collect();
    assert!(kinds.contains(&"interleave") && kinds.contains(&"resize"), "{kinds:?}");
    assert_eq!(kinds.iter().filter(|k| **k == "relu").count(), 3);
    let added: Vec<&str> = steps.iter().map(Step::name).filter(|n| n.ends_with(".input")).collect();
    assert_eq!(added, ["a2.input"], "a sum that is compared becomes a tensor of its own");
}

#[test]
fn a_planar_network_with_max_pooling_and_half_weights() {
    let mut net = Net::new(&[24, 20], true, 7);
    net.conv("c0", "in", [1, 6], &[5, 3], false);
    net.op("r0", json!("relu"), &["c0"]);
    net.op("p0", json!("max_pool"), &["r0"]);
    net.conv("c1", "p0", [6, 8], &[3, 3], true);
    net.op("r1", json!("relu"), &["c1"]);
    net.up("u0", "r1", 8, 6);
    net.op("cat", json!("concat"), &["r0", "u0"]);
    net.op("r2", json!("relu"), &["cat"]);
    net.conv("head", "r2", [12, 4], &[1, 1], false);
    let steps = check(net, "head", 4);
    let planar = |s: &Step| match s {
        Step::Linear(l) => {
            matches!(l.kind, LinearKind::Conv { kernel: [1, ..], .. } | LinearKind::Transposed2 { factor: [1, 2, 2] })
        }
        Step::MaxPool { window, .. } => *window == [1, 2, 2],
        _ => true,
    };
    assert!(steps.iter().all(planar));
    assert_eq!(
        steps.iter().filter(|s| s.kind() == "relu").count(),
        4,
        "the concatenation's parts are rectified one by one"
    );
}

#[test]
fn comparisons_of_folded_values_get_a_layer_of_their_own() {
    let mut net = Net::new(&[4, 8, 4], false, 7);
    net.conv("c0", "in", [1, 3], &[3, 3, 3], false);
    net.quadratic("q0", "c0", 3);
    net.op("r0", json!("relu"), &["q0"]);
    net.op("p0", json!("avg_pool"), &["r0"]);
    net.op("s0", json!("square"), &["p0"]);
    net.op("cat", json!("concat"), &["s0", "p0"]);
    net.op("m0", json!("max_pool"), &["cat"]);
    net.up("u0", "m0", 6, 3);
    net.up("u1", "u0", 3, 2);
    net.quadratic("q1", "u1", 2);
    net.op("all", json!("concat"), &["q1", "q0"]);
    let steps = check(net, "all", 5);
    let added: Vec<&str> = steps.iter().map(Step::name).filter(|n| n.ends_with(".input")).collect();
    assert_eq!(added, ["r0.input", "s0.input", "m0.input", "out.input"]);
}
