//! Exports of public networks: what they become, what is refused and how, and files that are damaged.

use std::path::{Path, PathBuf};

use blindvox_models::data::nifti::{Header, Volume};
use blindvox_models::data::npy::Array;
use blindvox_models::format::onnx::{Imported, Options, SUPPORTED, import};
use blindvox_models::{Bundle, Result, calibrate};

use crate::common::Numbers;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx").join(name)
}

fn imported(name: &str, fold: bool) -> Result<Imported> {
    import(&fixture(&format!("{name}.onnx")), &Options { fold, ..Options::default() })
}

fn refusal(name: &str, fold: bool) -> String {
    imported(name, fold).err().map_or_else(|| panic!("{name} was imported"), |e| e.to_string())
}

/// Both exporters of torch, opsets 11 to 23, weights in the file and beside it.
#[test]
fn exports_give_what_onnxruntime_gives() {
    for (name, fold) in [
        ("monai_unet", false),
        ("monai_unet_script11", false),
        ("monai_unet_script17", false),
        ("monai_unet_23", false),
        ("monai_unet_planar", false),
        ("monai_unet_instance", true),
        ("monai_unet_instance_script", true),
        ("basic_unet", false),
        ("basic_unet_script", false),
        ("nnunet_plain", true),
        ("nnunet_plain_batch", false),
        ("nnunet_resenc", true),
        ("nnunet_resenc_batch", false),
        ("segresnet_batch", false),
        ("odd", false),
        ("odd_script", false),
    ] {
        let model = imported(name, fold).unwrap_or_else(|e| panic!("{name}: {e}"));
        let [input, output] =
            ["in", "out"].map(|part| Array::load(&fixture(&format!("{name}.{part}.npy"))).expect("an array"));
        let difference = model.difference(&input, &output).expect("arrays of the right sizes");
        println!("{name}: {difference:.1e}");
        assert!(difference < 1e-4, "{name}: outputs differ by {difference} of the largest");
        // The comparison can fail.
        let mut other = output.clone();
        other.values[7] += 0.01 * output.values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        assert!(model.difference(&input, &other).expect("sizes") > 5e-3, "{name}");
        assert_eq!(model.model().card.is_some(), fold, "{name}: folded normalisations are an approximation");
    }
}

#[test]
fn all_that_is_in_the_way_is_named_at_once() {
    let text = refusal("bad", false);
    assert!(text.contains("4 of 5 nodes have no secure form"), "{text}");
    for part in [
        "(Conv): found dilations [2, 2, 2]; supported: 1",
        "(Conv): found group 2; supported: 1",
        "(Gelu): found it; supported: Relu, LeakyRelu, PRelu or a square; replace it and fine-tune",
        "\"node_gelu\"",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    for name in ["segresnet", "segresnet_script"] {
        let text = refusal(name, true);
        assert!(text.contains("(GroupNorm: Reshape, InstanceNormalization, Reshape)"), "{text}");
        assert!(!text.contains("(Resize)"), "{text}");
        assert!(!text.contains("(InstanceNormalization)"), "{text}");
    }
    let text = refusal("basic_unet_linear", false);
    assert!(text.contains("4 of") && text.contains("linear with align_corners") && text.contains("deconv"), "{text}");
    for name in ["monai_unet_instance", "nnunet_plain", "nnunet_resenc"] {
        let text = refusal(name, false);
        assert!(text.contains("(InstanceNormalization)") && text.contains("--instance-norm fold"), "{text}");
        assert!(text.contains("train with batch norm"), "{text}");
    }
}

#[test]
fn what_is_said_about_a_model_is_held_to_it() {
    let path = fixture("nnunet_plain_batch.onnx");
    let model = imported("nnunet_plain_batch", false).expect("an import");
    assert!(model.notices.iter().any(|n| n.starts_with("output: took")), "{:?}", model.notices);
    assert!(model.notices.iter().any(|n| n.starts_with("preparation:")), "{:?}", model.notices);
    let error = |options: Options| import(&path, &options).err().expect("a refusal").to_string();
    let classes = |n: usize| Some((0..n).map(|c| c.to_string()).collect());
    assert!(
        error(Options { classes: classes(2), ..Options::default() }).contains("--classes: found 2 names, expected 3")
    );
    assert!(import(&path, &Options { classes: classes(3), ..Options::default() }).is_ok());
    let other = Some("loss".to_owned());
    assert!(
        error(Options { output: other, ..Options::default() }).contains("--scores: found \"loss\", expected one of")
    );
    assert!(
        error(Options { dims: Some(vec![8, 8]), ..Options::default() })
            .contains("--dims: found [8, 8], expected 3 sizes")
    );
    // A grid that the levels don't divide.
    let text = error(Options { dims: Some(vec![4, 8, 6]), ..Options::default() });
    assert!(text.contains("(Concat): found grids of"), "{text}");
    let wider = import(&path, &Options { dims: Some(vec![4, 8, 12]), ..Options::default() }).expect("an import");
    assert_eq!(wider.bundle(Path::new("")).expect("a bundle").input_shape().dims, [4, 8, 12]);
}

/// Random volumes of a grid, in a directory.
fn volumes(directory: &Path, dims: [usize; 3], count: u64) -> Vec<PathBuf> {
    let of = |v: u64| {
        let path = directory.join(format!("{v}.nii.gz"));
        let mut numbers = Numbers(v << 32);
        let data = (0..dims.iter().product()).map(|_| numbers.draw().into()).collect();
        Volume { dims, data, header: Header::new(dims, 1.0) }.save(&path).expect("a write");
        path
    };
    (0..count).map(of).collect()
}

#[test]
fn an_import_calibrates_and_its_integers_follow() {
    for (name, dims) in [("monai_unet", [8, 12, 8]), ("basic_unet", [16, 16, 16]), ("nnunet_resenc_batch", [4, 8, 8])] {
        let directory = tempfile::tempdir().expect("a directory");
        imported(name, false).expect("an import").write(directory.path()).expect("a write");
        let mut bundle = Bundle::load(directory.path()).expect("what was written");
        assert!(bundle.program().is_err(), "an import has no scales yet");
        let volumes = volumes(directory.path(), dims, 3);
        let agreements = calibrate(&mut bundle, &volumes).expect("a calibration");
        let (differing, voxels) = agreements.iter().fold((0, 0), |(d, v), a| (d + a.differing, v + a.voxels));
        println!("{name}: {differing} of {voxels} labels differ");
        assert!(differing * 100 <= voxels, "{name}: {differing} of {voxels} labels differ");
        assert!(agreements.iter().all(|a| a.folding.is_none()));
        bundle.save_model().expect("a write");
        assert!(Bundle::load(directory.path()).expect("what was saved").program().is_ok());
    }
}

#[test]
fn folding_takes_ten_volumes_and_says_what_it_changes() {
    let directory = tempfile::tempdir().expect("a directory");
    imported("monai_unet_instance", true).expect("an import").write(directory.path()).expect("a write");
    let load = || Bundle::load(directory.path()).expect("what was written");
    assert!(load().program().is_err_and(|e| e.to_string().contains("instance_norm")));
    let volumes = volumes(directory.path(), [8, 12, 8], 10);
    let found = calibrate(&mut load(), &volumes[..9]).expect_err("too few").to_string();
    assert!(found.contains("found 9 volumes, expected at least 10"), "{found}");
    let mut bundle = load();
    let agreements = calibrate(&mut bundle, &volumes).expect("a calibration");
    bundle.save_model().expect("a write");
    let again = load();
    assert!(again.program().is_ok() && again.calibration.as_ref().is_some_and(|c| c.norms.len() == 9));
    let [changed, voxels] =
        [0, 1].map(|i| agreements.iter().map(|a| [a.folding.expect("folded"), a.voxels][i]).sum::<usize>());
    println!("folding changes {changed} of {voxels} labels");
    assert!(changed > 0 && changed * 4 < voxels, "{changed} of {voxels}");
}

#[test]
fn the_book_has_every_operator() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/book/importing.md");
    let page = std::fs::read_to_string(page).expect("the page on importing");
    for (operator, _) in SUPPORTED {
        assert!(page.contains(&format!("`{operator}`")), "{operator}");
    }
}

/// Any file is read or refused: none panics.
#[test]
fn damaged_files_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("m.onnx");
    for name in ["odd.onnx", "bad.onnx", "odd_script.onnx"] {
        let whole = std::fs::read(fixture(name)).expect("a fixture");
        let mut numbers = Numbers(7);
        let mut below = |n: usize| ((f64::from(numbers.draw()) + 1.0) / 2.0 * n as f64) as usize % n;
        for round in 0..400 {
            let mut bytes = whole.clone();
            match round % 3 {
                0 => bytes.truncate(below(whole.len())),
                1 => (0..4).for_each(|_| bytes[below(whole.len())] = below(256) as u8),
                _ => drop(bytes.drain(below(whole.len())..).take(1 + below(8)).collect::<Vec<_>>()),
            }
            std::fs::write(&path, &bytes).expect("a write");
            if let Err(e) = import(&path, &Options { fold: true, ..Options::default() }) {
                assert!(e.is_input(), "{e}");
            }
        }
    }
    std::fs::write(&path, b"").expect("a write");
    assert!(import(&path, &Options::default()).is_err_and(|e| e.to_string().contains("expected an ONNX model")));
    assert!(import(&directory.path().join("none.onnx"), &Options::default()).is_err());
}

#[test]
fn weights_beside_the_model_are_looked_for_there_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("monai_unet.onnx");
    std::fs::copy(fixture("monai_unet.onnx"), &path).expect("a copy");
    let data = directory.path().join("monai_unet.onnx.data");
    let error = || import(&path, &Options::default()).err().expect("a refusal").to_string();
    assert!(error().contains("monai_unet.onnx.data"), "{}", error());
    std::fs::write(&data, [0; 64]).expect("a write");
    assert!(error().contains("found 64 bytes, expected"), "{}", error());
    std::fs::copy(fixture("monai_unet.onnx.data"), &data).expect("a copy");
    assert!(import(&path, &Options::default()).is_ok());
    // A name of the same length that leads elsewhere.
    let mut bytes = std::fs::read(&path).expect("the copy");
    let name = b"monai_unet.onnx.data";
    for at in 0..bytes.len() - name.len() {
        if bytes[at..].starts_with(name) {
            bytes[at..at + name.len()].copy_from_slice(b"../../../../etc/host");
        }
    }
    std::fs::write(&path, &bytes).expect("a write");
    assert!(error().contains("expected the name of a file beside the model"), "{}", error());
}
