//! Classifiers run securely: windows of their own, flattened tensors, dense layers, a mean over the whole grid.

use blindvox_models::testing::{Net, tiny_classifier, tiny_rows, tiny_volume_classifier};

use std::sync::Arc;

use blindvox_engine::Device;
use blindvox_models::{Rounding, Step, plain};
use blindvox_protocols::infer::local::{self, Randomness};
use blindvox_protocols::infer::{Options, sample, trace};
use blindvox_protocols::nonlinear::relu::ReluKind;

#[test]
fn classifiers_give_the_class_of_the_integer_network() {
    let networks = [
        (tiny_classifier(), ["flatten", "square"]),
        (tiny_volume_classifier(), ["max_pool", "relu"]),
        (tiny_rows(), ["conv", "relu"]),
    ];
    for (written, kinds) in networks {
        let (program, input) = written.program();
        assert!(kinds.iter().all(|kind| program.steps.iter().any(|s| s.kind() == *kind)));
        let program = Arc::new(program);
        let reference = plain::run(&program, &input, Rounding::Nearest);
        assert_eq!((reference.labels.len(), reference.overflows().count()), (1, 0));
        for comparison in [ReluKind::SignSelect, ReluKind::FullCircuit] {
            let options = Options { trace: true, samples: 3, comparison, ..Options::new(Device::cpu()) };
            let run =
                local::run(program.clone(), &input, &options, Randomness::FixedForTests(3), &mut ()).expect("a run");
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

#[test]
fn a_stride_is_refused_by_layer_before_anything_runs() {
    let mut net = Net::new(&[8, 8], false, 1);
    net.conv("strided", "in", 1, 2, &[3, 3], false);
    net.with("stride", serde_json::json!([2, 2]));
    net.op("flat", serde_json::json!("flatten"), &["strided"]);
    net.dense("head", "flat", 2 * 16, 2, false);
    let (program, input) = net.write("head", 2, 2).program();
    assert!(program.steps.iter().any(|s| matches!(s, Step::Flatten { .. })));
    assert_eq!(plain::run(&program, &input, Rounding::Nearest).labels.len(), 1);
    let options = Options::new(Device::cpu());
    let refused = local::run(Arc::new(program), &input, &options, Randomness::FixedForTests(3), &mut ()).map(drop);
    let message = refused.expect_err("a stride").to_string();
    assert!(message.contains("layer strided: ") && message.contains("stride [1, 2, 2]"), "{message}");
}
