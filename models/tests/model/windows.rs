//! Scans of any size: in one pass over the padded grid, in windows whose scores are blended, of several channels.

use std::path::Path;

use blindvox_models::data::nifti::{Header, Volume};
use blindvox_models::data::scan;
use blindvox_models::format::bundle::MODEL_FILE;
use blindvox_models::format::onnx::{Options, import};
use blindvox_models::integers::program::Step;
use blindvox_models::integers::quantize::quantize_input;
use blindvox_models::plain::float;
use blindvox_models::{Bundle, PlainRun, Rounding, calibrate, plain};
use serde_json::{Value, json};

use crate::common::{Net, Numbers, Written, tiny};
use crate::geometry::same_for;

/// Edits `model.json` before the bundle is read.
fn edit(directory: &Path, edit: impl FnOnce(&mut Value)) {
    let path = directory.join(MODEL_FILE);
    let mut model: Value = serde_json::from_slice(&std::fs::read(&path).expect("a model")).expect("JSON");
    edit(&mut model);
    std::fs::write(path, model.to_string()).expect("a write");
}

/// The small network on 8x8x8 voxels, with other keys in the place of its grid's, calibrated after that.
fn network(keys: Value) -> (Written, Bundle) {
    let written = tiny();
    edit(written.directory.path(), |model| {
        model["preparation"] = json!({"orientation": "RAS", "normalise": "z_score"});
        for (key, value) in keys.as_object().expect("keys") {
            model["preparation"][key] = value.clone();
        }
    });
    let bundle = written.calibrate();
    (written, bundle)
}

fn sliding(overlap: f64, blend: &str) -> Value {
    json!({"window": {"size": [8, 8, 8], "overlap": overlap, "blend": blend}})
}

fn volume(dims: [usize; 3], seed: u64) -> Volume {
    let mut numbers = Numbers(seed << 32);
    let data = (0..dims.iter().product()).map(|_| numbers.draw().into()).collect();
    Volume { dims, data, header: Header::new(dims, 1.0) }
}

fn refusal(keys: Value) -> String {
    let written = tiny();
    edit(written.directory.path(), |model| model["preparation"] = keys);
    Bundle::load(written.directory.path()).map(drop).expect_err("a refusal").to_string()
}

/// One pass over the padded grid is the network on that grid, and every voxel of the scan has a label.
#[test]
fn scans_of_any_size_go_through_whole() {
    let (_written, bundle) = network(json!({"divisor": [4, 4, 4], "window": "whole"}));
    let scan = volume([13, 8, 22], 1);
    let (program, prepared) = bundle.job(std::slice::from_ref(&scan), Path::new("v.nii")).expect("a scan");
    assert_eq!((program.grid(), program.passes(), prepared.placement.grid()), ([16, 8, 24], 1, [16, 8, 24]));
    assert_eq!(prepared.placement.seen().share, 1.0);
    // Half of the padding before, as MONAI has it.
    let row = |d: usize, h: usize| &prepared.real[(d * 8 + h) * 24..][..24];
    assert!(row(0, 0).iter().chain(row(14, 7)).chain(row(15, 0)).all(|v| *v == 0.0));
    assert!(row(1, 0)[1..23].iter().all(|v| *v != 0.0) && row(1, 0)[0] == 0.0 && row(1, 0)[23] == 0.0);
    let run = plain::run(&program, &prepared.integers, Rounding::Nearest);
    assert_eq!((run.labels.len(), run.overflows().count()), (16 * 8 * 24, 0));
    let float = float::run(&bundle.network_for(program.grid()).expect("the grid"), &prepared.real);
    let differing = float.labels.iter().zip(&run.labels).filter(|(a, b)| a != b).count();
    assert!(differing * 50 <= run.labels.len(), "{differing} of {}", run.labels.len());
    // The native grid's program is the same but for sizes.
    let native = bundle.program().expect("a program");
    assert!(native.grid() == [8; 3] && native.steps.len() == program.steps.len());
}

/// Sums of all windows' integer scores with their weights, voxel by voxel, by definition.
#[test]
fn windows_are_blended_by_their_weights() {
    for (keys, dims) in [
        (sliding(0.5, "gaussian"), [13, 8, 22]),
        (sliding(0.25, "constant"), [9, 17, 8]),
        (json!({"window": {"size": [8, 8, 8], "grid": "nnunet", "sigma": 0.25}}), [5, 12, 15]),
    ] {
        let (_written, bundle) = network(keys);
        assert_eq!(bundle.quantization.argmax_bits, 17);
        let scan = volume(dims, 2);
        let (program, prepared) = bundle.job(std::slice::from_ref(&scan), Path::new("v.nii")).expect("a scan");
        let windows = program.windows().expect("windows").clone();
        assert_eq!(windows.grid, dims.map(|d| d.max(8)));
        let Some(Step::Blend { bits, .. }) = program.steps.last() else { panic!("a blend") };
        let [grid_d, grid_h, grid_w] = windows.grid;
        let voxels = grid_d * grid_h * grid_w;
        let (window, mut sums) = (bundle.program().expect("a program"), vec![0i64; 3 * voxels]);
        for &z in &windows.starts[0] {
            for [y, x] in windows.across() {
                let patch: Vec<i32> = windows.patch(&prepared.integers, [z, y, x]).flatten().copied().collect();
                let scores = plain::run_with_trace(&window, &patch, Rounding::Nearest).0.logits;
                for (at, score) in scores.iter().enumerate() {
                    let [c, d, h, w] = [at / 512, at / 64 % 8, at / 8 % 8, at % 8];
                    let to = ((c * grid_d + z + d) * grid_h + y + h) * grid_w + x + w;
                    sums[to] += i64::from(windows.weight([d, h, w])) * i64::from(*score);
                }
            }
        }
        assert!(sums.iter().all(|s| s.abs() < 1 << (bits - 1)) && *bits <= 31, "{bits} bits");
        let run = plain::run(&program, &prepared.integers, Rounding::Nearest);
        assert!(run.logits.iter().zip(&sums).all(|(a, b)| i64::from(*a) == *b));
        let best = |v: usize| (1..3).fold(0, |b, c| if sums[c * voxels + v] > sums[b * voxels + v] { c } else { b });
        assert!(run.labels.iter().enumerate().all(|(v, l)| usize::from(*l) == best(v)));
        assert!((0..3).all(|l| run.labels.contains(&l)), "all labels occur");
        let float = float::run_in(&bundle.network_for(windows.grid).expect("a grid"), Some(&windows), &prepared.real);
        let differing = float.labels.iter().zip(&run.labels).filter(|(a, b)| a != b).count();
        println!("{differing} of {voxels} labels differ from the float network's");
        assert!(differing * 50 <= voxels, "{differing} of {voxels}");
    }
}

/// A whole pass, and the same in so many slabs as there can be: equal scores, but where two slabs both count.
fn slabs_equal_whole(bundle: &Bundle, grid: [usize; 3]) -> usize {
    let whole = bundle.program_for(grid).expect("a grid of the network's");
    let mut numbers = Numbers(31);
    let elements = whole.channels() * grid.iter().product::<usize>();
    let real: Vec<f32> = (0..elements).map(|_| numbers.draw()).collect();
    let input = quantize_input(&real, &whole.tensors[whole.input]);
    let expected = plain::run(&whole, &input, Rounding::Nearest);
    let (classes, voxels) = (whole.classes, expected.labels.len());
    let mut count = 2;
    while let Some(program) = bundle.program_in_slabs(grid, count).expect("a program") {
        assert!(program.grid() == grid && (2..=count).contains(&program.passes()), "{count}");
        let found = plain::run(&program, &input, Rounding::Nearest);
        assert!(found.labels == expected.labels, "{count} slabs of {grid:?}");
        let mut single = 0;
        for v in 0..voxels {
            let score = |run: &PlainRun, c: usize| i64::from(run.logits[c * voxels + v]);
            let times = |n: i64| (0..classes).all(|c| score(&found, c) == n * score(&expected, c));
            let n = (1..=3).find(|&n| times(n)).expect("a multiple of the whole pass's scores");
            single += usize::from(n == 1);
        }
        assert!(single * 2 > voxels, "{single} of {voxels} in one slab");
        count += 1;
    }
    count
}

/// Slabs have the halo that every kind of layer needs, along any axis.
#[test]
fn slabs_give_the_labels_of_one_pass() {
    let (_written, bundle) = network(json!({"divisor": [4, 4, 4], "window": "whole"}));
    assert!(slabs_equal_whole(&bundle, [8, 8, 96]) > 2 && slabs_equal_whole(&bundle, [96, 8, 8]) > 2);
    // Grids too short for two, and networks in windows.
    assert!(bundle.program_in_slabs([8, 8, 16], 2).expect("no fault").is_none());
    let (_written, windows) = network(sliding(0.5, "gaussian"));
    assert!(windows.program_in_slabs([8, 8, 96], 2).expect("no fault").is_none());
    for (name, grid) in
        [("monai_unet_23", [8, 176, 8]), ("nnunet_plain_batch", [4, 144, 8]), ("segresnet_batch", [4, 6, 144])]
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/onnx/{name}.onnx"));
        let directory = tempfile::tempdir().expect("a directory");
        import(&path, &Options::default()).expect("an import").write(directory.path()).expect("a write");
        let mut bundle = Bundle::load(directory.path()).expect("what was written");
        let scan = directory.path().join("v.nii.gz");
        volume([8, 12, 8], 3).save(&scan).expect("a write");
        calibrate(&mut bundle, &[scan]).expect("a calibration");
        assert!(slabs_equal_whole(&bundle, grid) > 2, "{name}");
    }
}

#[test]
fn windows_and_imports_give_the_same_labels_in_all_orders_of_axes() {
    let (_written, bundle) = network(sliding(0.5, "gaussian"));
    same_for(&bundle, [9, 6, 12], [1.0, 1.5, 0.8]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx/monai_unet.onnx");
    let directory = tempfile::tempdir().expect("a directory");
    import(&path, &Options::default()).expect("an import").write(directory.path()).expect("a write");
    let mut bundle = Bundle::load(directory.path()).expect("what was written");
    assert_eq!(bundle.preparation.divisor, [4, 4, 4], "an import takes scans of any size");
    let scan = directory.path().join("v.nii.gz");
    volume([10, 13, 7], 3).save(&scan).expect("a write");
    calibrate(&mut bundle, &[scan]).expect("a calibration");
    same_for(&bundle, [9, 6, 14], [1.0, 1.5, 0.8]);
}

/// A network of two channels, one of which is clipped and divided by numbers of its training.
#[test]
fn channels_come_in_one_file_or_several() {
    let mut net = Net::new(&[8, 8, 8], false, 9);
    net.conv("a", "in", [2, 3], &[3, 3, 3], false);
    net.op("r", json!("relu"), &["a"]);
    net.conv("head", "r", [3, 2], &[1, 1, 1], false);
    let written = net.write("head", 2, 0);
    let t = written.directory.path();
    let rules = [json!("z_score"), json!({"ct": {"clip": [-0.5, 0.5], "mean": 0.1, "deviation": 0.2}})];
    edit(t, |model| {
        model["graph"]["nodes"][0]["op"]["input"]["channels"] = json!(2);
        let channel = |n: usize| json!({"name": format!("part {n}"), "normalise": rules[n]});
        model["preparation"] =
            json!({"orientation": "RAS", "divisor": [1, 1, 1], "channels": [channel(0), channel(1)]});
    });
    let dims = [5, 6, 7];
    let [first, second] = [volume(dims, 4), volume(dims, 5)];
    first.save(&t.join("scan_0000.nii")).expect("a write");
    second.save(&t.join("scan_0001.nii")).expect("a write");
    // The same as one file of four dimensions, the channels one after another.
    let (one, two) = (std::fs::read(t.join("scan_0000.nii")).expect("a file"), std::fs::read(t.join("scan_0001.nii")));
    let mut both = [&one[..], &two.expect("a file")[352..]].concat();
    both[40..50].copy_from_slice(&[4, 0, 5, 0, 6, 0, 7, 0, 2, 0]);
    std::fs::write(t.join("both.nii"), both).expect("a write");
    let load = |names: &[&str]| {
        let paths: Vec<_> = names.iter().map(|n| t.join(n)).collect();
        scan::load(&paths.iter().map(|p| p.as_path()).collect::<Vec<_>>(), 2, &Default::default())
    };
    let bundle = Bundle::load(t).expect("a bundle");
    let named = [t.join("scan_0000.nii")];
    let mut calibrated = Bundle::load(t).expect("a bundle");
    assert_eq!(calibrate(&mut calibrated, &named).expect("a calibration")[0].voxels, 5 * 6 * 7);
    let prepared = |names: &[&str]| {
        let scan = load(names).expect("a scan");
        calibrated.job(&scan, Path::new(names[0])).map(|(program, prepared)| (program.channels(), prepared.real))
    };
    let (channels, real) = prepared(&["both.nii"]).expect("channels");
    assert_eq!((channels, real.len()), (2, 2 * 5 * 6 * 7));
    for names in [&["scan_0000.nii"][..], &["scan_0000.nii", "scan_0001.nii"]] {
        assert_eq!(prepared(names).expect("channels").1, real);
    }
    for (found, value) in real[210..].iter().zip(&second.data) {
        let value = f64::from(*value as f32);
        assert!((f64::from(*found) - (value.clamp(-0.5, 0.5) - 0.1) / 0.2).abs() < 1e-5);
    }
    let text = prepared(&["scan_0001.nii"]).expect_err("one channel").to_string();
    assert!(text.contains("channels: found 1, expected 2 (part 0, part 1)"), "{text}");
    volume([5, 6, 8], 5).save(&t.join("other.nii")).expect("a write");
    let text = load(&["scan_0001.nii", "other.nii"]).map(drop).expect_err("two grids").to_string();
    assert!(text.contains("other.nii") && text.contains("another grid"), "{text}");
    drop(bundle);
}

#[test]
fn wrong_grids_are_refused_by_field() {
    let with = |keys: Value| {
        let mut all = json!({"orientation": "RAS", "normalise": "z_score"});
        keys.as_object().expect("keys").iter().for_each(|(k, v)| all[k] = v.clone());
        refusal(all)
    };
    for (keys, parts) in [
        (json!({"divisor": [3, 4, 4]}), ["divisor", "[3, 4, 4]", "divisors of"]),
        (json!({"divisor": [4, 4]}), ["divisor", "[4, 4]", "divisors of"]),
        (json!({"divisor": [4, 4, 0]}), ["divisor", "[4, 4, 0]", "divisors of"]),
        (json!({"divisor": [4, 4, 4], "pad_to": [8, 8, 8]}), ["pad_to, crop", "beside divisor", "one of both"]),
        (json!({"window": "whole"}), ["divisor", "[]", "divisors of"]),
        (json!({"window": "half"}), ["whole", "overlap", "model.json"]),
        (json!({"window": {"size": [8, 8, 4]}}), ["window.size", "[8, 8, 4]", "network's own [8, 8, 8]"]),
        (json!({"window": {"size": [8, 8, 8], "overlap": 0.95}}), ["window.overlap", "0.95", "0 to 0.9"]),
        (json!({"window": {"size": [8, 8, 8], "sigma": 0.0}}), ["window.sigma", "0", "0.01 to 10"]),
        (json!({"divisor": [4, 4, 4], "crop": {"margin": 3}}), ["crop", "above", "model.json"]),
        (json!({}), ["pad_to, crop", "[]", "input's [8, 8, 8]"]),
    ] {
        let text = with(keys.clone());
        assert!(parts.iter().all(|p| text.contains(p)), "{keys}: {text}");
    }
    let text = refusal(json!({"orientation": "RAS", "divisor": [4, 4, 4]}));
    assert!(text.contains("normalise: found none of it"), "{text}");
    let channel = json!({"name": "a", "normalise": "z_score"});
    let text = refusal(json!({"orientation": "RAS", "divisor": [4, 4, 4], "channels": [channel, channel]}));
    assert!(text.contains("channels: found 2, expected 1"), "{text}");
    // Scales of a calibration without windows leave no room for their weights.
    let written = tiny();
    written.calibrate();
    edit(written.directory.path(), |m| {
        m["preparation"] = json!({"orientation": "RAS", "normalise": "z_score", "window": {"size": [8, 8, 8]}});
    });
    let text = Bundle::load(written.directory.path()).expect("well formed").program().expect_err("wide").to_string();
    assert!(text.contains("quantization.argmax_bits") && text.contains("blindvox calibrate"), "{text}");
}
