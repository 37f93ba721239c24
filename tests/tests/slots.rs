//! Networks wholly under CKKS against the same networks in the clear.

use std::path::Path;
use std::sync::Arc;

use blindvox_engine::ckks::{Evaluator, Seeded};
use blindvox_engine::rlwe::EvalKeys;
use blindvox_engine::{Device, Prng};
use blindvox_models::Bundle;
use blindvox_models::data::dice::dice;
use blindvox_models::data::labels::LabelMap;
use blindvox_models::data::nifti::Volume;
use blindvox_models::data::npy::Array;
use blindvox_models::plain::float;
use blindvox_protocols::infer::Randomness;
use blindvox_protocols::infer::slots::{Choice, Client, Model, Models, Public, Source, error_model, local};
use blindvox_protocols::linear::slots::{Plan, clear, lower};
use blindvox_tests::{bundle, demo, gpu_devices};

fn array(path: &str) -> Array {
    Array::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

fn images(name: &str) -> Vec<Vec<f32>> {
    let array = Array::load(&demo(&format!("images/{name}.npy"))).unwrap();
    let each = array.values.len() / array.dims[0];
    array.values.chunks(each).map(<[f32]>::to_vec).collect()
}

fn model(bundle: &Bundle, preset: &str) -> Model {
    let (network, ckks) = (bundle.network().unwrap(), bundle.ckks.as_ref().unwrap());
    let source = Source {
        name: &bundle.name,
        classes: &bundle.classes,
        network: &network,
        ckks,
        clamp: bundle.preparation.clamp,
    };
    Model::new(&source, preset).unwrap()
}

fn plan(bundle: &Bundle, preset: &str) -> (blindvox_protocols::linear::slots::Lowered, Plan) {
    let lowered = lower(&bundle.network().unwrap()).unwrap();
    let plan = Plan::new(&lowered, bundle.ckks.as_ref().unwrap().preset("m", preset).unwrap()).unwrap();
    (lowered, plan)
}

/// Rotations of sources and of sums, terms, keys: those of the design at most.
#[test]
fn plans_take_no_more_than_they_were_designed_to() {
    for (name, preset, most) in [
        ("pneumonia_cnn2", "fast", [46, 35 + 11, 1187, 45]),
        ("pneumonia_cnn2", "balanced", [74, 29 + 12, 1123, 62]),
        ("pneumonia_cnn3", "fast", [137, 52 + 12, 2601, 123]),
        ("mni_unet1s", "fast", [179, 73, 2904, 50]),
    ] {
        let (_, plan) = plan(&bundle(name), preset);
        let counts = plan.counts();
        let sums: usize = plan
            .steps
            .iter()
            .map(|step| match step {
                blindvox_protocols::linear::slots::PlannedStep::Sum { rotations, output, .. } => {
                    rotations.len() * output.ciphertexts()
                }
                _ => 0,
            })
            .sum();
        println!("{name} {preset}: {counts:?}, {} keys, {sums} rotations of windows", plan.rotations().0.len());
        let found = [counts.babies, counts.giants, counts.terms, plan.rotations().0.len()];
        assert!(
            found.iter().zip(&most).all(|(found, most)| found <= most),
            "{name} {preset}: {found:?}, at most {most:?}"
        );
    }
}

#[test]
fn plans_in_the_clear_are_their_networks() {
    for (name, preset, input) in [
        ("pneumonia_cnn2", "fast", "synthetic112"),
        ("pneumonia_cnn3", "fast", "synthetic112"),
        ("mni_unet1s", "fast", "mni_slices"),
    ] {
        let bundle = bundle(name);
        let (lowered, plan) = plan(&bundle, preset);
        let image = &images(input)[0];
        let expected = float::run(&bundle.network().unwrap(), image).logits;
        let x: Vec<f64> = image.iter().map(|&x| x.into()).collect();
        let slots = clear::run((&lowered, &plan), plan.input.pack(&x), &clear::exactly, |_, _| {});
        let found = plan.output().unpack(&slots);
        let worst = found.iter().zip(&expected).fold(0.0, |most: f64, (a, b)| most.max((a - f64::from(*b)).abs()));
        assert!(worst < 1e-3, "{name}: {worst}");
    }
}

/// Largest error and the part of labels that agree, over the first `count` images.
fn secure(name: &str, preset: &str, (input, count): (&str, usize), device: Device) -> (f64, f64, [u8; 32]) {
    let bundle = bundle(name);
    let models = Models::new([model(&bundle, preset)]);
    let all = images(input);
    let some: Vec<&[f32]> = all[..count].iter().map(Vec::as_slice).collect();
    let choice = Choice { device, randomness: Randomness::FixedForTests(7) };
    let outcome = local::run(&models, preset, &some, &choice, |_| {}).unwrap();
    let logits = array(&format!("tests/references/{name}.logits.npy"));
    let each = logits.values.len() / logits.dims[0];
    let classes = bundle.classes.len();
    let (mut worst, mut agree, mut labels) = (0.0f64, 0, 0);
    for (scores, expected) in outcome.client.scores.iter().zip(logits.values.chunks(each)) {
        assert_eq!(scores.doubts, Vec::<String>::new(), "{name} {preset}");
        assert_eq!(scores.values.len(), each);
        worst = scores.values.iter().zip(expected).fold(worst, |most, (a, b)| most.max((a - f64::from(*b)).abs()));
        let voxels = each / classes;
        let label = |of: &dyn Fn(usize) -> f64| {
            (0..voxels)
                .map(|v| (0..classes).max_by(|&a, &b| of(a * voxels + v).total_cmp(&of(b * voxels + v))))
                .collect::<Vec<_>>()
        };
        let (found, wanted) = (label(&|i| scores.values[i]), label(&|i| f64::from(expected[i])));
        agree += found.iter().zip(&wanted).filter(|(a, b)| a == b).count();
        labels += voxels;
    }
    println!("{name} {preset}: worst {worst:.2e}, {agree} of {labels} labels, bytes {:?}", outcome.client.bytes);
    (worst, agree as f64 / labels as f64, outcome.service.transcript.unwrap())
}

#[test]
fn cnn2_is_right_under_encryption() {
    let (worst, agree, _) = secure("pneumonia_cnn2", "fast", ("synthetic112", 1), Device::cpu());
    assert!(worst < 2e-2 && agree == 1.0, "{worst} {agree}");
}

#[test]
fn cnn3_is_right_under_encryption() {
    let (worst, agree, _) = secure("pneumonia_cnn3", "fast", ("synthetic112", 1), Device::cpu());
    assert!(worst < 5e-2 && agree == 1.0, "{worst} {agree}");
}

#[test]
fn a_u_net_is_right_under_encryption() {
    let (worst, agree, _) = secure("mni_unet1s", "fast", ("mni_slices", 1), Device::cpu());
    assert!(worst < 5e-2 && agree > 0.9999, "{worst} {agree}");
}

/// Errors without a flood, as predicted from weights and parameters.
#[test]
fn errors_are_as_predicted() {
    let (name, input) = ("pneumonia_cnn2", "synthetic112");
    {
        let bundle = bundle(name);
        let (lowered, plan) = plan(&bundle, "fast");
        let ckks = bundle.ckks.as_ref().unwrap();
        let model = model(&bundle, "fast");
        let preset = ckks.preset("m", "fast").unwrap();
        let predicted = error_model::predict(&lowered, &plan, ckks, preset, model.params()).unwrap();
        let (device, mut prng) = (Device::cpu(), Prng::from_seed_for_tests([9; 32]));
        // The client has what a service sends.
        let public = Public::from_bytes(&model.public().to_bytes().unwrap()).unwrap();
        let client = Client::new(public, &device, &mut prng).unwrap();
        let keys = client.keys(&mut prng).unwrap();
        let evaluation = EvalKeys::from_bytes(model.params(), &device, &keys.evaluation).unwrap();
        let evaluator = Evaluator::new(model.params(), &device, evaluation).unwrap();
        let image = &images(input)[0];
        let sent = client.encrypt(image, &mut prng).unwrap();
        let x = sent
            .iter()
            .map(|bytes| Seeded::from_bytes(model.params(), bytes).unwrap().expand(model.params(), &device).unwrap());
        let results = model.evaluate(&evaluator, x.collect(), 1, |_| {}).unwrap();
        let results: Vec<_> = results.iter().map(|x| x.to_bytes(model.params()).unwrap()).collect();
        let found = client.decrypt(&results).unwrap();
        let expected = float::run(&bundle.network().unwrap(), image).logits;
        let squares: f64 = found.values.iter().zip(&expected).map(|(a, b)| (a - f64::from(*b)).powi(2)).sum();
        let rms = (squares / expected.len() as f64).sqrt();
        println!("{name}: rms error {rms:.2e}, predicted {predicted:.2e}, imaginary {:.2e}", found.imaginary);
        let coefficient = predicted * f64::from(model.public().ring.delta).exp2() / (model.params().n() as f64).sqrt();
        println!("{name}: predicted 2^{:.2} a coefficient", coefficient.log2());
        assert!(predicted < 8.0 * rms && rms < 2.0 * predicted, "{name}: rms {rms:.2e}, predicted {predicted:.2e}");
    }
}

/// What is computed does not depend on the weights: a network of zeros has the plan of any other.
#[test]
fn terms_come_from_shapes_and_not_from_weights() {
    let bundle = bundle("pneumonia_cnn2");
    let mut network = bundle.network().unwrap();
    let preset = bundle.ckks.as_ref().unwrap().preset("m", "fast").unwrap();
    let shapes = |network: &blindvox_models::Network| {
        let plan = Plan::new(&lower(network).unwrap(), preset).unwrap();
        plan.linear().map(|step| step.sparse.clone()).collect::<Vec<_>>()
    };
    let dense = shapes(&network);
    for node in &mut network.nodes {
        if let blindvox_models::network::Op::Linear(linear) = &mut node.op {
            linear.weights.fill(0.0);
            linear.bias.fill(0.0);
        }
    }
    assert_eq!(dense, shapes(&network));
}

/// The same bytes on a GPU.
#[test]
fn backends_give_the_same_results() {
    let Some(gpu) = gpu_devices(true).into_iter().next() else { return };
    let on = |device| secure("pneumonia_cnn2", "fast", ("synthetic112", 1), device).2;
    assert_eq!(on(Device::cpu()), on(gpu));
}

#[test]
fn flooded_scores_are_right() {
    let (worst, agree, _) = secure("pneumonia_cnn2", "balanced", ("synthetic112", 1), Device::cpu());
    assert!(worst < 0.2 && agree == 1.0, "{worst} {agree}");
}

/// The largest error of a score of a volume, labels that differ from the float network's with their margins, and both
/// label maps.
fn in_slots(bundle: &Bundle, real: &[f32]) -> (f64, Vec<f64>, [Vec<u8>; 2]) {
    let models = Models::new([model(bundle, "fast")]);
    let choice = Choice { device: Device::cpu(), randomness: Randomness::FixedForTests(7) };
    let outcome = local::run(&models, "fast", &[real], &choice, |_| {}).unwrap();
    let scores = &outcome.client.scores[0];
    assert_eq!(scores.doubts, Vec::<String>::new());
    let float = float::run(&bundle.network().unwrap(), real);
    let errors = scores.values.iter().zip(&float.logits).map(|(a, b)| (a - f64::from(*b)).abs());
    let worst = errors.fold(0.0, f64::max);
    let (classes, voxels) = (bundle.classes.len(), float.labels.len());
    let best = |v: usize| {
        let score = |c: usize| scores.values[c * voxels + v];
        (1..classes).fold(0, |best, c| if score(c) > score(best) { c } else { best }) as u8
    };
    let labels: Vec<u8> = (0..voxels).map(best).collect();
    let score = |c: u8, v: usize| f64::from(float.logits[usize::from(c) * voxels + v]);
    let differing = (0..voxels).filter(|&v| labels[v] != float.labels[v]);
    let margins = differing.map(|v| score(float.labels[v], v) - score(labels[v], v)).collect();
    (worst, margins, [labels, float.labels])
}

/// Runs that take minutes are made where they are asked for.
fn long() -> bool {
    let asked = std::env::var_os("BLINDVOX_LONG").is_some();
    if !asked {
        eprintln!("SKIPPED: BLINDVOX_LONG is not set");
    }
    asked
}

/// A network of volumes: planes are columns, whose plaintexts are shared.
#[test]
fn a_plan_of_volumes_in_the_clear_is_its_network() {
    let bundle = bundle("hippo_square1");
    let (lowered, plan) = plan(&bundle, "fast");
    let counts = plan.counts();
    println!("hippo_square1 fast: {counts:?}, {} keys", plan.rotations().0.len());
    assert!(counts.terms <= 88_736 && counts.babies + counts.giants <= 3_800 && counts.plaintexts <= 6_872);
    let (scan, path) = blindvox_tests::volume("colin27_left");
    let prepared = bundle.prepare(&Arc::new(bundle.program().unwrap()), &scan, &path).unwrap();
    let expected = float::run(&bundle.network().unwrap(), &prepared.real).logits;
    let x: Vec<f64> = prepared.real.iter().map(|&x| x.into()).collect();
    let slots = clear::run((&lowered, &plan), plan.input.pack(&x), &clear::exactly, |_, _| {});
    let found = plan.output().unpack(&slots);
    let worst = found.iter().zip(&expected).fold(0.0, |most: f64, (a, b)| most.max((a - f64::from(*b)).abs()));
    assert!(worst < 1e-3, "{worst}");
}

/// A U-Net of volumes wholly under encryption: labels are the float network's but where two scores are closer than
/// errors.
#[test]
fn a_volume_is_right_under_encryption() {
    if !long() {
        return;
    }
    let bundle = bundle("hippo_square1");
    let (scan, path) = blindvox_tests::volume("colin27_left");
    let prepared = bundle.prepare(&Arc::new(bundle.program().unwrap()), &scan, &path).unwrap();
    let (worst, margins, _) = in_slots(&bundle, &prepared.real);
    println!("hippo_square1 colin27_left: worst {worst:.2e}, margins of labels that differ {margins:?}");
    assert!(worst < 0.2 && margins.len() < 50 && margins.iter().all(|m| *m < 2.0 * worst), "{worst} {margins:?}");
}

/// Dice of the float network and of the run under encryption, on real volumes.
#[test]
fn dice_under_encryption_is_the_float_networks() {
    let Some(folder) = blindvox_tests::decathlon().filter(|_| long()) else { return };
    let bundle = bundle("hippo_square1");
    let program = Arc::new(bundle.program().unwrap());
    for number in blindvox_tests::VOLUMES {
        let path = folder.join("images").join(format!("hippocampus_{number}.nii.gz"));
        let scan = Volume::load(&path).unwrap();
        let prepared = bundle.prepare(&program, &scan, &path).unwrap();
        let (worst, margins, labels) = in_slots(&bundle, &prepared.real);
        let truth = LabelMap::load(&folder.join("labels").join(path.file_name().unwrap())).unwrap();
        let score = |labels: &[u8]| dice(&prepared.placement.restore(labels, &scan).data, &truth.data, 3);
        let [secure, float] = labels.map(|labels| score(&labels));
        println!("hippo_square1 {number}: worst {worst:.2e}, {} labels differ, Dice {secure:?}", margins.len());
        assert!(margins.iter().all(|m| *m < 2.0 * worst), "{number}: {margins:?}");
        assert!(secure.iter().zip(&float).all(|(a, b)| (a - b).abs() < 0.002), "{number}: {secure:?} {float:?}");
    }
}
