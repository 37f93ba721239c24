//! Classifiers run securely: windows of their own, flattened tensors, dense layers, a mean over the whole grid,
//! strides.

use blindvox_models::testing::{Net, Written, tiny_classifier, tiny_rows, tiny_volume_classifier};

use std::sync::Arc;

use blindvox_engine::Device;
use blindvox_models::{Rounding, plain};
use blindvox_protocols::infer::{Comparison, Options, Randomness, Source, Ways, local, sample, trace};
use serde_json::json;

/// Strides that differ, an even kernel, and constants that meet paddings.
fn strided_planes() -> Written {
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
    net.write("head", 3, 3)
}

/// Two layers that halve the grid, and a mean.
fn strided_volumes() -> Written {
    let mut net = Net::new(&[9, 8, 6], false, 4);
    net.conv("c0", "in", [1, 3], &[3, 3, 3], false);
    net.with("stride", json!([2, 2, 2]));
    net.op("s0", json!("square"), &["c0"]);
    net.conv("c1", "s0", [3, 4], &[2, 2, 2], false);
    net.with("stride", json!([2, 2, 2]));
    net.with("padding", json!([0, 0, 0]));
    net.op("s1", json!("square"), &["c1"]);
    net.op("mean", json!("global_avg_pool"), &["s1"]);
    net.dense("head", "mean", 4, 3, false);
    net.write("head", 3, 3)
}

#[test]
fn classifiers_give_the_class_of_the_integer_network() {
    let networks = [
        (tiny_classifier(), ["flatten", "square"]),
        (tiny_volume_classifier(), ["max_pool", "relu"]),
        (tiny_rows(), ["conv", "relu"]),
        (strided_planes(), ["square", "relu"]),
        (strided_volumes(), ["square", "conv"]),
    ];
    for (written, kinds) in networks {
        let (program, input) = written.program();
        assert!(kinds.iter().all(|kind| program.steps.iter().any(|s| s.kind() == *kind)));
        let program = Arc::new(program);
        let reference = plain::run(&program, &input, Rounding::Nearest);
        assert_eq!((reference.labels.len(), reference.overflows().count()), (1, 0));
        let all = [Comparison::SignSelect, Comparison::FullCircuit, Comparison::Transfers];
        for (compare, ot) in all.into_iter().flat_map(|c| [(c, Source::SoftSpoken), (c, Source::Silent)]) {
            let (ways, randomness) = (Ways { compare, ot, ..Ways::default() }, Randomness::FixedForTests(3));
            let options = Options { trace: true, samples: 3, ways, randomness, ..Options::new(Device::cpu()) };
            let run = local::run(program.clone(), &input, &options, &mut ()).expect("a run");
            let labels = run.client.labels.expect("labels");
            assert_eq!(labels, reference.labels);
            assert!(run.server.labels.is_none());
            let (client, server) = (run.client.trace.expect("a trace"), run.server.trace.expect("a trace"));
            let steps = trace::check(&program, &client, &server).expect("shares that match");
            assert!(steps.len() + 1 == program.steps.len() && steps.iter().all(|s| s.holds()), "{steps:?}");
            assert_eq!(labels, trace::labels(&program, &client, &server).expect("scores"));
            let (client, server) = (run.client.samples.expect("samples"), run.server.samples.expect("samples"));
            let steps = sample::check(&program, &client, &server, &labels).expect("samples that match");
            assert!(steps.len() == program.steps.len() && steps.iter().all(|s| s.holds()), "{steps:?}");
        }
    }
}

/// Sums, slopes of both kinds, factors, a transposed convolution whose kernel is not its stride, repeated voxels.
#[test]
fn residual_networks_follow_their_integers() {
    let mut net = Net::new(&[8, 6, 4], false, 5);
    net.conv("down", "in", [1, 3], &[3, 3, 3], true);
    net.with("stride", json!([2, 2, 2]));
    let slopes = net.tensor("slopes", &[3], 0.25, 0.1);
    net.op("prelu", json!({"activation": {"function": "prelu", "slope": slopes}}), &["down"]);
    net.conv("mid", "prelu", [3, 3], &[3, 3, 3], false);
    net.op("sum", json!("add"), &["mid", "prelu"]);
    let factor = net.tensor("factor", &[3], 0.8, 0.1);
    net.op("scale", json!({"scale": {"factor": factor}}), &["sum"]);
    net.op("leaky", json!({"activation": {"function": "leaky_relu", "slope": 0.01}}), &["scale"]);
    let weight = net.tensor("up.w", &[3, 2, 3, 3, 3], 0.0, 0.3);
    let sizes = |n: usize| [n; 3];
    let up = json!({"out_channels": 2, "weight": weight, "kernel": sizes(3), "stride": sizes(2), "padding": sizes(1),
        "output_padding": sizes(1)});
    net.op("up", json!({"conv_transpose": up}), &["leaky"]);
    net.op("up.relu", json!("relu"), &["up"]);
    net.op("copies", json!({"resize": {"factor": [2, 2, 2]}}), &["leaky"]);
    net.op("cat", json!("concat"), &["up.relu", "copies"]);
    net.conv("head", "cat", [5, 3], &[1, 1, 1], false);
    let (program, input) = net.write("head", 3, 3).program();
    let program = Arc::new(program);
    let kinds: Vec<_> = program.steps.iter().map(|s| s.kind()).collect();
    assert!(kinds.contains(&"interleave") && kinds.contains(&"resize"), "{kinds:?}");
    let options =
        Options { trace: true, samples: 5, randomness: Randomness::FixedForTests(3), ..Options::new(Device::cpu()) };
    let run = local::run(program.clone(), &input, &options, &mut ()).expect("a run");
    let labels = run.client.labels.expect("labels");
    let (client, server) = (run.client.trace.expect("a trace"), run.server.trace.expect("a trace"));
    let steps = trace::check(&program, &client, &server).expect("shares that match");
    assert!(steps.len() + 1 == program.steps.len() && steps.iter().all(|s| s.holds()), "{steps:?}");
    assert_eq!(labels, trace::labels(&program, &client, &server).expect("scores"));
    let (client, server) = (run.client.samples.expect("samples"), run.server.samples.expect("samples"));
    let steps = sample::check(&program, &client, &server, &labels).expect("samples that match");
    assert!(steps.iter().all(|s| s.holds()), "{steps:?}");
}
