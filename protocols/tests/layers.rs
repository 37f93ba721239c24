//! Classifiers run securely: windows of their own, flattened tensors, dense layers, a mean over the whole grid.

use blindvox_models::testing::{Net, Written, tiny_classifier, tiny_rows, tiny_volume_classifier};

use std::sync::Arc;

use blindvox_engine::Device;
use blindvox_models::{Rounding, plain};
use blindvox_protocols::infer::{Comparison, Options, Randomness, Ways, local, sample, trace};
use serde_json::json;

#[test]
fn classifiers_give_the_class_of_the_integer_network() {
    let networks = [
        (tiny_classifier(), ["flatten", "square"]),
        (tiny_volume_classifier(), ["max_pool", "relu"]),
        (tiny_rows(), ["conv", "relu"]),
        (strided(), ["flatten", "relu"]),
    ];
    for (written, kinds) in networks {
        let (program, input) = written.program();
        assert!(kinds.iter().all(|kind| program.steps.iter().any(|s| s.kind() == *kind)));
        let program = Arc::new(program);
        let reference = plain::run(&program, &input, Rounding::Nearest);
        assert_eq!((reference.labels.len(), reference.overflows().count()), (1, 0));
        for comparison in [Comparison::SignSelect, Comparison::FullCircuit] {
            let (ways, randomness) = (Ways { compare: comparison, ..Ways::default() }, Randomness::FixedForTests(3));
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

/// Strides, an even kernel and paddings of its own, then a dense layer.
fn strided() -> Written {
    let mut net = Net::new(&[9, 8], false, 1);
    net.conv("strided", "in", 1, 2, &[3, 3], false);
    net.with("stride", json!([2, 2]));
    net.op("strided.square", json!("square"), &["strided"]);
    net.conv("even", "strided.square", 2, 3, &[2, 2], false);
    net.with("stride", json!([1, 2]));
    net.with("padding", json!([0, 0]));
    net.op("even.relu", json!("relu"), &["even"]);
    net.op("flat", json!("flatten"), &["even.relu"]);
    net.dense("head", "flat", 3 * 4 * 2, 2, false);
    net.write("head", 2, 2)
}
