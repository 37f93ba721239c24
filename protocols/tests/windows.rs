//! Runs in windows: what is opened is the argmax of the blended scores, and nothing else.

use std::path::Path;
use std::sync::Arc;

use blindvox_engine::Device;
use blindvox_models::data::nifti::{Header, Volume};
use blindvox_models::format::bundle::MODEL_FILE;
use blindvox_models::testing::{Numbers, tiny};
use blindvox_models::{Rounding, plain};
use blindvox_protocols::infer::session::plans;
use blindvox_protocols::infer::{Comparison, Estimate, Options, Randomness, Ways, estimate, local, trace};
use blindvox_protocols::ot::LOCAL_WIDTH;
use serde_json::{Value, json};

/// A calibrated network in windows of 8x8x8 and a scan of another size.
fn job(overlap: f64, dims: [usize; 3]) -> (Arc<blindvox_models::Program>, Vec<i32>) {
    let written = tiny();
    let path = written.directory.path().join(MODEL_FILE);
    let mut model: Value = serde_json::from_slice(&std::fs::read(&path).expect("a model")).expect("JSON");
    model["preparation"] = json!({
        "orientation": "RAS", "normalise": "z_score", "window": {"size": [8, 8, 8], "overlap": overlap},
    });
    std::fs::write(path, model.to_string()).expect("a write");
    let bundle = written.calibrate();
    let mut numbers = Numbers(21);
    let data = (0..dims.iter().product()).map(|_| numbers.draw().into()).collect();
    let volume = Volume { dims, data, header: Header::new(dims, 1.0) };
    let (program, prepared) = bundle.job(&[volume], Path::new("v.nii")).expect("a scan");
    (Arc::new(program), prepared.integers)
}

#[test]
fn blended_labels_are_those_of_the_shares_and_near_the_ideal() {
    for (compare, overlap, dims) in [
        (Comparison::SignSelect, 0.5, [13, 8, 12]),
        (Comparison::FullCircuit, 0.25, [8, 14, 9]),
        (Comparison::Transfers, 0.5, [12, 9, 8]),
    ] {
        let (program, input) = job(overlap, dims);
        let windows = program.windows().expect("windows").count();
        assert!(windows > 3);
        let (ways, randomness) = (Ways { compare, ..Ways::default() }, Randomness::FixedForTests(5));
        let options = Options { trace: true, ways, randomness, ..Options::new(Device::cpu()) };
        let run = local::run(program.clone(), &input, &options, &mut ()).expect("a run");
        let expected = estimate(&program, &plans(&program).expect("plans"), &options.ways, LOCAL_WIDTH);
        assert_eq!(Estimate::counted(&run.client), expected.expect("an estimate"), "{compare:?}");
        let labels = run.client.labels.expect("labels");
        assert!(run.server.labels.is_none());
        let (client, server) = (run.client.trace.expect("a trace"), run.server.trace.expect("a trace"));
        let steps = trace::check(&program, &client, &server).expect("shares that match");
        assert_eq!(steps.len(), windows * (program.steps.len() - 1));
        assert!(steps.iter().all(|s| s.holds()), "{steps:?}");
        // Exactly what the shared scores of all windows call for.
        assert_eq!(labels, trace::labels(&program, &client, &server).expect("scores"), "{compare:?}");
        let ideal = plain::run(&program, &input, Rounding::Nearest);
        assert_eq!(ideal.overflows().count(), 0);
        let differing = labels.iter().zip(&ideal.labels).filter(|(a, b)| a != b).count();
        println!("{compare:?}: {differing} of {} labels differ from the ideal", labels.len());
        assert!(labels.len() == ideal.labels.len() && differing * 50 <= labels.len(), "{differing}");
        // The comparison can fail: other windows' labels differ more.
        let others = ideal.labels.iter().rev().zip(&labels).filter(|(a, b)| a != b).count();
        assert!(others * 10 > labels.len(), "{others}");
    }
}
