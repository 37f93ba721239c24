//! The shipped models on real volumes, secure against the references in the clear.

use std::sync::Arc;

use blindvox_engine::Device;
use blindvox_models::data::dice::{Overlap, dice, overlap};
use blindvox_models::data::labels::LabelMap;
use blindvox_models::data::nifti::Volume;
use blindvox_models::plain::float;
use blindvox_models::{Rounding, plain};
use blindvox_protocols::infer::{Comparison, Estimate, Options, Source, Ways, local};
use blindvox_tests::{VOLUMES, bundle, check_steps, decathlon, demo, estimated, gpu_devices, secure_run, volume};

/// Labels of every volume of the Decathlon against the exact integer network, and Dice against the float network.
fn agrees_on_every_volume(model: &str) {
    let Some(folder) = decathlon() else { return };
    let bundle = bundle(model);
    let program = Arc::new(bundle.program().unwrap());
    for number in VOLUMES {
        let file = format!("hippocampus_{number}.nii.gz");
        let path = folder.join("images").join(&file);
        let scan = Volume::load(&path).unwrap();
        let prepared = bundle.prepare(&program, &scan, &path).unwrap();
        let outcome = secure_run(&program, &prepared.integers, &Device::cpu(), 1);
        let labels = check_steps(&program, &outcome);

        let integer = plain::run(&program, &prepared.integers, Rounding::Nearest);
        assert_eq!(integer.overflows().count(), 0);
        let differing = labels.iter().zip(&integer.labels).filter(|(a, b)| a != b).count();
        assert!(differing * 1000 <= labels.len(), "{model} {number}: {differing} of {} labels differ", labels.len());

        let float = float::run(&bundle.network().unwrap(), &prepared.real);
        let truth = LabelMap::load(&folder.join("labels").join(&file)).unwrap();
        let score = |labels: &[u8]| dice(&prepared.placement.restore(labels, &scan).data, &truth.data, program.classes);
        for (secure, float) in score(&labels).iter().zip(score(&float.labels)) {
            assert!((secure - float).abs() <= 0.005, "{model} {number}: Dice {secure} secure, {float} in floats");
        }
        println!("{model} {number}: {differing} labels differ from the integer network's, Dice {:?}", score(&labels));
    }
}

/// On the shipped head, of another scanner and protocol: the secure labels are those of the networks in the clear, and
/// as much of them lies inside the atlas's hippocampus as `demo/volumes/README.md` says, give or take a hundredth.
fn agrees_on_the_shipped_head(model: &str, expected: [(&str, f64, f64); 2]) {
    let bundle = bundle(model);
    let program = Arc::new(bundle.program().unwrap());
    for (name, inside, union) in expected {
        let (scan, path) = volume(name);
        let prepared = bundle.prepare(&program, &scan, &path).unwrap();
        assert!(prepared.warnings.is_empty(), "{:?}", prepared.warnings);
        let labels = check_steps(&program, &secure_run(&program, &prepared.integers, &Device::cpu(), 1));
        let integer = plain::run(&program, &prepared.integers, Rounding::Nearest);
        assert_eq!(integer.overflows().count(), 0);
        let differing = labels.iter().zip(&integer.labels).filter(|(a, b)| a != b).count();
        assert!(differing * 1000 <= labels.len(), "{model} {name}: {differing} of {} labels differ", labels.len());

        let truth = LabelMap::load(&demo(&format!("volumes/labels/{name}.nii.gz"))).unwrap().onto(&scan).unwrap();
        let map = prepared.placement.restore(&labels, &scan);
        let Overlap::Union(found) = overlap(&map.data, &truth.data, program.classes) else { panic!("one true value") };
        println!("{model} {name}: {differing} labels differ from the integer network's, {found:?}");
        assert!(
            (found.inside - inside).abs() <= 0.01 && (found.dice - union).abs() <= 0.01,
            "{model} {name}: {found:?}"
        );
    }
}

#[test]
fn hybrid_agrees_on_the_shipped_head() {
    agrees_on_the_shipped_head("hippo_hybrid", [("colin27_left", 0.861, 0.601), ("colin27_right", 0.811, 0.589)]);
}

#[test]
fn relu_agrees_on_the_shipped_head() {
    agrees_on_the_shipped_head("hippo_relu", [("colin27_left", 0.869, 0.614), ("colin27_right", 0.799, 0.591)]);
}

#[test]
fn hybrid_agrees_on_every_volume() {
    agrees_on_every_volume("hippo_hybrid");
}

#[test]
fn square1_agrees_on_every_volume() {
    agrees_on_every_volume("hippo_square1");
}

#[test]
fn quad_agrees_on_every_volume() {
    agrees_on_every_volume("hippo_quad");
}

/// Runs repeat bit for bit, and what goes over the channel does not depend on the backend.
#[test]
fn transcripts_repeat_and_do_not_depend_on_the_backend() {
    for model in ["hippo_hybrid", "hippo_square1"] {
        let bundle = bundle(model);
        let program = Arc::new(bundle.program().unwrap());
        let (scan, path) = volume("mni152_left");
        let prepared = bundle.prepare(&program, &scan, &path).unwrap();
        let run = |device: &Device, seed| {
            let outcome = secure_run(&program, &prepared.integers, device, seed);
            (check_steps(&program, &outcome), [outcome.client.transcript.unwrap(), outcome.server.transcript.unwrap()])
        };
        let (labels, transcript) = run(&Device::cpu(), 7);
        let again = run(&Device::cpu(), 7);
        assert!(again.0 == labels && again.1 == transcript, "{model}: a second run differs");
        assert_ne!(run(&Device::cpu(), 8).1, transcript);
        for device in gpu_devices(false).iter().take(1) {
            let on_gpu = run(device, 7);
            assert!(on_gpu.0 == labels && on_gpu.1 == transcript, "{model}: {device:?} differs");
        }
    }
}

/// Also with whole circuits; every other run of this file is held to its estimate too.
#[test]
fn runs_send_what_was_estimated() {
    for model in ["hippo_hybrid", "hippo_quad", "hippo_relu", "hippo_square1"] {
        let program = Arc::new(bundle(model).program().unwrap());
        let input = vec![1; program.tensors[program.input].elements()];
        let mut totals = vec![];
        for ways in [Ways::BUNET, Ways::BUNET_PUBLISHED] {
            let options = Options { ways, ..Options::new(Device::cpu()) };
            let run = local::run(program.clone(), &input, &options, &mut ()).unwrap();
            let expected = estimated(&program, &ways);
            assert_eq!(Estimate::counted(&run.client), expected, "{model}, {ways:?}");
            println!("{model}, {}: {:?} in all", ways.compare.name(), expected.total());
            totals.push(expected.total().total());
        }
        assert!(totals[0] < totals[1], "{model}: {totals:?}");
    }
}

/// Every shipped model by every comparison and source: every step keeps its bound, and by transfers on silent OT a run
/// keeps to its bytes.
#[test]
fn every_comparison_and_source_agrees() {
    let compares = [Comparison::SignSelect, Comparison::FullCircuit, Comparison::Transfers];
    let all = compares.into_iter().flat_map(|compare| [(compare, Source::SoftSpoken), (compare, Source::Silent)]);
    for (model, most) in [("hippo_relu", 160_000_000), ("hippo_hybrid", 200_000_000), ("hippo_square1", 400_000_000)] {
        let bundle = bundle(model);
        let program = Arc::new(bundle.program().unwrap());
        let (scan, path) = volume("mni152_left");
        let prepared = bundle.prepare(&program, &scan, &path).unwrap();
        let integer = plain::run(&program, &prepared.integers, Rounding::Nearest);
        for (compare, ot) in all.clone() {
            let ways = Ways { compare, ot, ..Ways::default() };
            let options = Options { ways, trace: true, ..Options::new(Device::cpu()) };
            let run = local::run(program.clone(), &prepared.integers, &options, &mut ()).unwrap();
            let labels = check_steps(&program, &run);
            let differing = labels.iter().zip(&integer.labels).filter(|(a, b)| a != b).count();
            assert!(differing * 1000 <= labels.len(), "{model}, {ways:?}: {differing} of {} differ", labels.len());
            let (counted, expected) = (Estimate::counted(&run.client), estimated(&program, &ways));
            let what = format!("{model}, {}, {}", compare.name(), ot.name());
            println!("{what}: {:?}, estimated {:?}", counted.total(), expected.total());
            match ot {
                Source::SoftSpoken => assert_eq!(counted, expected, "{what}"),
                Source::Silent => {
                    let [counted, expected] = [counted, expected].map(|e| e.total().total() as f64);
                    let within = if compare == Comparison::Transfers { 0.98..1.02 } else { 0.5..1.0 };
                    assert!(within.contains(&(counted / expected)), "{what}: {counted} of {expected}");
                    assert!(compare != Comparison::Transfers || counted <= f64::from(most), "{what}: {counted}");
                }
            }
        }
    }
}

/// A volume changed so that it is unlike those that the models were calibrated on.
fn strange_volumes(scan: &Volume) -> Vec<(&'static str, Volume)> {
    let changed = |change: &dyn Fn(&mut Volume)| {
        let mut scan = scan.clone();
        change(&mut scan);
        scan
    };
    let largest = |scan: &Volume| scan.data.iter().copied().fold(f64::MIN, f64::max);
    let plane = changed(&|scan| {
        let bright = 4.0 * largest(scan);
        let [_, j, k] = scan.dims;
        scan.data[10 * j * k..11 * j * k].fill(bright);
    });
    let block = changed(&|scan| {
        let bright = largest(scan);
        let [i, j, k] = scan.dims;
        for (x, y) in (0..i / 2).flat_map(|x| (0..j / 2).map(move |y| (x, y))) {
            scan.data[(x * j + y) * k..][..k / 2].fill(bright);
        }
    });
    let gamma = changed(&|scan| {
        let top = largest(scan);
        scan.data.iter_mut().for_each(|v| *v = top * (v.max(0.0) / top).powi(2));
    });
    vec![("a bright plane", plane), ("a saturated block", block), ("gamma 2", gamma)]
}

#[test]
fn strange_volumes_run_on_hybrid_without_overflow() {
    let Some(folder) = decathlon() else { return };
    let scan = Volume::load(&folder.join("images/hippocampus_017.nii.gz")).unwrap();
    let bundle = bundle("hippo_hybrid");
    let program = Arc::new(bundle.program().unwrap());
    for (what, scan) in strange_volumes(&scan) {
        let prepared = bundle.prepare(&program, &scan, "strange".as_ref()).unwrap();
        let integer = plain::run(&program, &prepared.integers, Rounding::Nearest);
        assert_eq!(integer.overflows().count(), 0, "{what}");
        let labels = check_steps(&program, &secure_run(&program, &prepared.integers, &Device::cpu(), 3));
        let differing = labels.iter().zip(&integer.labels).filter(|(a, b)| a != b).count();
        assert!(differing * 1000 <= labels.len(), "{what}: {differing}");
    }
}

/// On quad the secure result of such a volume may be wrong; it must end, and the overflow must be seen in the clear.
#[test]
fn overflow_on_quad_is_reported_and_harmless_to_the_run() {
    let bundle = bundle("hippo_quad");
    let program = Arc::new(bundle.program().unwrap());
    let mut overflowed = 0;
    for (_, scan) in strange_volumes(&volume("colin27_left").0) {
        let prepared = bundle.prepare(&program, &scan, "strange".as_ref()).unwrap();
        let integer = plain::run(&program, &prepared.integers, Rounding::Nearest);
        if integer.overflows().count() > 0 {
            overflowed += 1;
            // Values that left their range make labels meaningless, but they stay labels.
            let labels = secure_run(&program, &prepared.integers, &Device::cpu(), 4).client.labels.unwrap();
            assert!(labels.len() == integer.labels.len() && labels.iter().all(|&l| usize::from(l) < program.classes));
        }
    }
    assert!(overflowed > 0, "none of the strange volumes left quad's range");
}
