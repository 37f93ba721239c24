//! The shipped models on the shipped volumes, secure against the references in the clear.

use std::sync::Arc;

use blindvox_engine::Device;
use blindvox_protocols::dice::dice;
use blindvox_protocols::model::{Rounding, float, plain};
use blindvox_protocols::volume::{LabelMap, Volume};
use blindvox_tests::{VOLUMES, bundle, check_steps, demo, gpu_devices, secure_run, volume};

/// Labels of every volume against the exact integer network, and Dice against the float network.
fn agrees_on_every_volume(model: &str) {
    let bundle = bundle(model);
    let program = Arc::new(bundle.program().unwrap());
    for number in VOLUMES {
        let (scan, path) = volume(number);
        let prepared = bundle.prepare(&program, &scan, &path).unwrap();
        let outcome = secure_run(&program, &prepared.integers, &Device::cpu(), 1);
        let labels = check_steps(&program, &outcome);

        let integer = plain::run(&program, &prepared.integers, Rounding::Nearest);
        assert_eq!(integer.overflows().count(), 0);
        let differing = labels.iter().zip(&integer.labels).filter(|(a, b)| a != b).count();
        assert!(differing * 1000 <= labels.len(), "{model} {number}: {differing} of {} labels differ", labels.len());

        let float = float::run(&bundle, &prepared.real).unwrap();
        let truth = LabelMap::load(&demo(&format!("volumes/labels/hippocampus_{number}.nii.gz"))).unwrap();
        let score = |labels: &[u8]| dice(&prepared.placement.restore(labels, &scan).data, &truth.data, program.classes);
        for (secure, float) in score(&labels).iter().zip(score(&float.labels)) {
            assert!((secure - float).abs() <= 0.005, "{model} {number}: Dice {secure} secure, {float} in floats");
        }
        println!("{model} {number}: {differing} labels differ from the integer network's, Dice {:?}", score(&labels));
    }
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

#[test]
fn relu_everywhere_agrees() {
    let bundle = bundle("hippo_relu");
    let program = Arc::new(bundle.program().unwrap());
    let (scan, path) = volume("034");
    let prepared = bundle.prepare(&program, &scan, &path).unwrap();
    check_steps(&program, &secure_run(&program, &prepared.integers, &Device::cpu(), 2));
}

/// Runs repeat bit for bit, and what goes over the channel does not depend on the backend.
#[test]
fn transcripts_repeat_and_do_not_depend_on_the_backend() {
    for model in ["hippo_hybrid", "hippo_square1"] {
        let bundle = bundle(model);
        let program = Arc::new(bundle.program().unwrap());
        let (scan, path) = volume("166");
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

/// Volumes unlike those that the models were calibrated on.
fn strange_volumes() -> Vec<(&'static str, Volume)> {
    let changed = |change: &dyn Fn(&mut Volume)| {
        let (mut scan, _) = volume("017");
        change(&mut scan);
        scan
    };
    let largest = |scan: &Volume| scan.data.iter().copied().fold(f32::MIN, f32::max);
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
    let bundle = bundle("hippo_hybrid");
    let program = Arc::new(bundle.program().unwrap());
    for (what, scan) in strange_volumes() {
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
    for (_, scan) in strange_volumes() {
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
