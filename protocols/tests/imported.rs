//! Models that a training framework exported, run securely: the labels are their float networks'.

use std::path::Path;
use std::sync::Arc;

use blindvox_engine::Device;
use blindvox_models::data::nifti::{Header, Volume};
use blindvox_models::format::onnx::{Options as Import, import};
use blindvox_models::plain::float;
use blindvox_models::testing::Numbers;
use blindvox_models::{Bundle, calibrate};
use blindvox_protocols::infer::{Options, Randomness, local, trace};

#[test]
fn exported_networks_run_on_shares() {
    for (name, dims) in [
        ("monai_unet", [8, 12, 8]),
        ("nnunet_resenc_batch", [4, 8, 8]),
        ("segresnet_batch", [4, 6, 8]),
        ("basic_unet", [16; 3]),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../models/tests/onnx/{name}.onnx"));
        let directory = tempfile::tempdir().expect("a directory");
        import(&path, &Import::default()).expect("an import").write(directory.path()).expect("a write");
        let mut bundle = Bundle::load(directory.path()).expect("what was written");
        let volumes: Vec<_> = (0..4).map(|v| directory.path().join(format!("{v}.nii.gz"))).collect();
        for (path, seed) in volumes.iter().zip(1..) {
            let mut numbers = Numbers(seed << 32);
            let data = (0..dims.iter().product()).map(|_| numbers.draw().into()).collect();
            Volume { dims, data, header: Header::new(dims, 1.0) }.save(path).expect("a write");
        }
        calibrate(&mut bundle, &volumes[..3]).expect("a calibration");
        let program = Arc::new(bundle.program().expect("a program"));
        let volume = Volume::load(&volumes[3]).expect("its own file");
        let prepared = bundle.prepare(&program, &volume, &volumes[3]).expect("a volume of its grid");

        let options = Options { trace: true, randomness: Randomness::FixedForTests(1), ..Options::new(Device::cpu()) };
        let run = local::run(program.clone(), &prepared.integers, &options, &mut ()).expect("a run");
        let labels = run.client.labels.expect("labels");
        let (client, server) = (run.client.trace.expect("a trace"), run.server.trace.expect("a trace"));
        let steps = trace::check(&program, &client, &server).expect("shares that match");
        assert!(steps.iter().all(|s| s.holds()), "{name}: {steps:?}");

        // Away from ties: where the best score leads by 1 % of the largest.
        let float = float::run(&bundle.network().expect("weights"), &prepared.real);
        let (voxels, classes) = (labels.len(), program.classes);
        let size = float.logits.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let clear = |v: &usize| {
            let mut scores: Vec<f32> = (0..classes).map(|c| float.logits[c * voxels + v]).collect();
            scores.sort_by(|a, b| b.total_cmp(a));
            scores[0] - scores[1] > 0.01 * size
        };
        let clear: Vec<usize> = (0..voxels).filter(clear).collect();
        let differing = clear.iter().filter(|&&v| labels[v] != float.labels[v]).count();
        println!("{name}: {differing} of {} labels differ away from ties, {voxels} in all", clear.len());
        assert!(clear.len() * 2 > voxels && differing * 1000 <= clear.len(), "{name}: {differing} of {}", clear.len());
    }
}
