//! The shipped bundles on real volumes.

use std::path::{Path, PathBuf};

use blindvox_models::data::dice::dice;
use blindvox_models::data::labels::LabelMap;
use blindvox_models::data::nifti::Volume;
use blindvox_models::plain::float;
use blindvox_models::{Bundle, PlainRun, Program, Rounding, plain};

use crate::{demo_path, model_path, shared_data};

fn bundle(name: &str) -> (Bundle, Program) {
    let bundle = Bundle::load(&model_path(name)).expect("a shipped bundle");
    let program = bundle.program().expect("a calibrated bundle");
    (bundle, program)
}

/// The shipped volumes at 1 mm.
fn images() -> Vec<PathBuf> {
    ["colin27_left", "colin27_right"].map(|name| demo_path(&format!("volumes/images/{name}.nii.gz"))).into()
}

/// The Decathlon's volumes, where they are.
fn decathlon() -> Option<Vec<PathBuf>> {
    let folder = shared_data("hippocampus")?.join("images");
    let files = std::fs::read_dir(folder).expect("the volumes").map(|e| e.expect("an entry").path());
    let mut paths: Vec<PathBuf> = files.collect();
    paths.sort();
    assert_eq!(paths.len(), 8);
    Some(paths)
}

/// The f32 values of a .npy file.
fn npy(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("a reference file");
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[10 + header..].as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

fn disagreements(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).filter(|(a, b)| a != b).count()
}

#[test]
fn preparation_and_float_network_equal_the_training_framework() {
    let Some((volumes, references)) = shared_data("hippocampus").zip(shared_data("models")) else { return };
    let (bundle, program) = bundle("hippo_hybrid");
    let path = volumes.join("images/hippocampus_017.nii.gz");
    let volume = Volume::load(&path).expect("a volume");
    let prepared = bundle.prepare(&program, &volume, &path).expect("a volume of the model's kind");
    let input = npy(&references.join("hippo_hybrid.input.npy"));
    assert_eq!(prepared.real.len(), input.len());
    let worst = prepared.real.iter().zip(&input).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-5, "prepared input differs by {worst}");

    let run = float::run(&bundle.network().expect("weights that match"), &input);
    let logits = npy(&references.join("hippo_hybrid.logits.npy"));
    let size = logits.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let worst = run.logits.iter().zip(&logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("logits differ by {worst} of {size}");
    assert!(worst < 1e-4 * size, "logits differ by {worst} of {size}");
    let voxels = logits.len() / 3;
    for (v, &label) in run.labels.iter().enumerate() {
        let best = |c: usize| logits[c * voxels + v] <= logits[usize::from(label) * voxels + v] + 2.0 * worst;
        assert!((0..3).all(best), "label {label} at {v}");
    }
}

/// Checks a model on every volume: integers against float by Dice, share rounding against the reference by labels.
fn check_on_all_volumes(name: &str, wanted_spare: i32) {
    let Some(paths) = decathlon() else { return };
    let (bundle, program) = bundle(name);
    assert!(program.tensors[1..].iter().all(|t| t.spare_bits >= wanted_spare), "{name} has fewer spare bits");
    let (mut worst_dice, mut worst_rounding) = (0.0f64, 0);
    for path in paths {
        let volume = Volume::load(&path).expect("a shipped volume");
        let prepared = bundle.prepare(&program, &volume, &path).expect("a volume of the model's kind");
        let float = float::run(&bundle.network().expect("weights that match"), &prepared.real);
        let exact = plain::run(&program, &prepared.integers, Rounding::Nearest);
        let shares = plain::run(&program, &prepared.integers, Rounding::Shares(1));
        assert_eq!(exact.overflows().count() + shares.overflows().count(), 0, "{name} on {path:?} overflows");

        let truth = path.with_file_name("../labels").join(path.file_name().expect("a name"));
        let truth = LabelMap::load(&truth).expect("labels");
        let score = |labels: &[u8]| dice(&prepared.placement.restore(labels, &volume).data, &truth.data, 3);
        let (real, integer) = (score(&float.labels), score(&exact.labels));
        assert!(real.iter().all(|d| *d > 0.8), "{name} on {path:?} has Dice {real:?}");
        for (a, b) in real.iter().zip(&integer) {
            worst_dice = worst_dice.max((a - b).abs());
        }
        worst_rounding = worst_rounding.max(disagreements(&exact.labels, &shares.labels));
    }
    let voxels = program.tensors[program.logits].voxels();
    println!("{name}: worst Dice change {worst_dice:.5}, worst rounding disagreement {worst_rounding} of {voxels}");
    assert!(worst_dice <= 0.005, "{name} changes Dice by {worst_dice}");
    assert!(worst_rounding * 1000 <= voxels, "{name}: rounding changes {worst_rounding} of {voxels} labels");
}

#[test]
fn hybrid_keeps_its_labels_in_integers() {
    check_on_all_volumes("hippo_hybrid", 3);
}

#[test]
fn relu_keeps_its_labels_in_integers() {
    check_on_all_volumes("hippo_relu", 3);
}

#[test]
fn square1_keeps_its_labels_in_integers() {
    check_on_all_volumes("hippo_square1", 3);
}

#[test]
fn quad_keeps_its_labels_in_integers() {
    check_on_all_volumes("hippo_quad", 2);
}

#[test]
fn the_demo_network_has_its_known_cost() {
    let (_, program) = bundle("hippo_hybrid");
    assert_eq!(program.multiply_adds(), 583_925_760);
    let view = program.public_view();
    let json = serde_json::to_string(&view).expect("a program is serialisable");
    assert!(
        json.contains("\"weights\":[]") && !json.contains("\"weights\":[1") && view.steps.len() == program.steps.len()
    );
}

/// Edits of a volume that no scanner makes.
fn outlandish(volume: &Volume) -> Vec<(&'static str, Volume)> {
    let top = volume.data.iter().fold(0.0f64, |m, v| m.max(*v));
    let [ni, nj, nk] = volume.dims;
    let edit = |inside: &dyn Fn([usize; 3]) -> bool| {
        let mut edited = volume.clone();
        for (at, v) in edited.data.iter_mut().enumerate() {
            if inside([at / (nj * nk), at / nk % nj, at % nk]) {
                *v = 10.0 * top;
            }
        }
        edited
    };
    let plane = edit(&|[i, _, _]| i == ni / 2);
    let block = edit(&|p| (0..3).all(|a| p[a].abs_diff([ni, nj, nk][a] / 2) < 6));
    let mut gamma = volume.clone();
    gamma.data.iter_mut().for_each(|v| *v = (*v / top).powi(2) * top);
    vec![("bright plane", plane), ("saturated block", block), ("gamma 2", gamma)]
}

fn run_edits(name: &str, paths: &[PathBuf]) -> Vec<(&'static str, PlainRun)> {
    let (bundle, program) = bundle(name);
    let mut runs = Vec::new();
    for path in paths {
        let volume = Volume::load(path).expect("a shipped volume");
        for (edit, volume) in outlandish(&volume) {
            let prepared = bundle.prepare(&program, &volume, Path::new(edit)).expect("still a volume");
            runs.push((edit, plain::run(&program, &prepared.integers, Rounding::Nearest)));
        }
    }
    runs
}

#[test]
fn hybrid_holds_volumes_out_of_its_domain() {
    // On volumes of its domain: Colin's head with such edits is further out than the scales reach.
    let Some(paths) = decathlon() else { return };
    for (edit, run) in run_edits("hippo_hybrid", &paths[..2]) {
        assert_eq!(run.overflows().collect::<Vec<_>>(), Vec::<&_>::new(), "{edit}");
    }
}

#[test]
fn quad_reports_overflow_out_of_its_domain() {
    let runs = run_edits("hippo_quad", &images());
    let names = |run: &PlainRun| run.overflows().map(|r| r.name.clone()).collect::<Vec<_>>();
    let reported: Vec<_> = runs.iter().filter(|(_, run)| run.overflows().count() > 0).collect();
    reported.iter().for_each(|(edit, run)| println!("{edit}: {:?}", names(run)));
    assert!(!reported.is_empty(), "an outlandish volume takes quad out of its range");
    for range in reported.iter().flat_map(|(_, run)| run.overflows()) {
        assert!(range.max_abs >= range.limit);
    }
}

#[test]
fn every_step_follows_from_the_traced_tensors() {
    let (bundle, program) = bundle("hippo_hybrid");
    let path = &images()[0];
    let volume = Volume::load(path).expect("a shipped volume");
    let prepared = bundle.prepare(&program, &volume, path).expect("a volume of the model's kind");
    let (run, trace) = plain::run_with_trace(&program, &prepared.integers, Rounding::Shares(5));
    assert_eq!(trace[program.input], prepared.integers);
    assert_eq!(trace[program.logits], run.logits);
    for step in &program.steps {
        let Some(output) = step.output() else { continue };
        let inputs: Vec<&[i32]> = step.inputs().iter().map(|&t| &trace[t][..]).collect();
        let (exact, shift) = plain::before_shift(&program, step, &inputs);
        assert_eq!(exact.len(), trace[output].len());
        for (&x, &y) in exact.iter().zip(&trace[output]) {
            assert!(((i64::from(y) << shift) - x).abs() < 1 << shift, "{}: {x} >> {shift} became {y}", step.name());
        }
    }
}
