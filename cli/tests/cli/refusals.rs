//! Wrong models, volumes, labels and flags: one clear line, and nothing left behind.

use super::*;

#[test]
fn wrong_models_are_refused() {
    let t = copy();
    let t = t.path();
    refused(t, &segment(t, &["-m", "nowhere"]), 2, &["nowhere/model.json", "No such file"]);
    refused(
        t,
        &segment(t, &["-m", MODEL_FILE]),
        2,
        &["model.json", "found a file", "a directory with model.json and weights.safetensors"],
    );

    let weights = std::fs::read(t.join(WEIGHTS_FILE)).expect("weights");
    for cut in [0, 7, 100, weights.len() - 1] {
        std::fs::write(t.join(WEIGHTS_FILE), &weights[..cut]).expect("a write");
        refused(t, &segment(t, &[]), 2, &[WEIGHTS_FILE, "not a safetensors file"]);
    }
    std::fs::remove_file(t.join(WEIGHTS_FILE)).expect("a file");
    refused(t, &segment(t, &[]), 2, &[WEIGHTS_FILE, "No such file"]);
    std::fs::write(t.join(WEIGHTS_FILE), &weights).expect("a write");

    let model = std::fs::read(t.join(MODEL_FILE)).expect("a model");
    let conv = |m: &mut Value, field: &str, to: Value| m["graph"]["nodes"][1]["op"]["conv"][field] = to;
    for (edit, parts) in [
        (
            Box::new(|m: &mut Value| conv(m, "out_channels", json!(3))) as Box<dyn Fn(&mut Value)>,
            vec!["enc.0", "enc.0.w", "found shape [2, 1, 3, 3, 3]", "expected [3, 1, 3, 3, 3]"],
        ),
        (Box::new(|m| conv(m, "weight", json!("absent"))), vec![WEIGHTS_FILE, "enc.0", "\"absent\"", "found none"]),
        (
            Box::new(|m| m["graph"]["nodes"][0]["op"]["input"]["channels"] = json!(2)),
            vec![MODEL_FILE, "channels", "found 2", "expected 1"],
        ),
        (Box::new(|m| m["classes"] = json!(["a", "b"])), vec![MODEL_FILE, "classes", "found 2", "expected 3"]),
        (Box::new(|m| m["quantization"]["tensors"] = json!({})), vec!["calibrate"]),
        (Box::new(|m| m["graph"]["nodes"][1]["name"] = json!("two\nlines")), vec!["name", "control characters"]),
        (Box::new(|m| *m = json!([1, 2])), vec![MODEL_FILE]),
    ] {
        edit_model(t, edit);
        refused(t, &segment(t, &[]), 2, &parts);
        refused(t, &run_in(t, &["plain", "-m", ".", "-i", "scan.nii.gz", "-o", "out.nii"]), 2, &parts);
        std::fs::write(t.join(MODEL_FILE), &model).expect("a write");
    }
    std::fs::write(t.join(MODEL_FILE), &model[..model.len() / 2]).expect("a write");
    refused(t, &segment(t, &[]), 2, &[MODEL_FILE, "line"]);
}

#[test]
fn wrong_volumes_are_refused() {
    let t = copy();
    let t = t.path();
    let whole = std::fs::read(t.join("scan.nii.gz")).expect("a volume");
    refused(t, &segment(t, &["-i", "nowhere.nii.gz"]), 2, &["nowhere.nii.gz", "No such file"]);
    refused(t, &segment(t, &["-i", "."]), 2, &["found a folder"]);
    refused(t, &segment(t, &["-i", MODEL_FILE]), 2, &[MODEL_FILE, "not a NIfTI"]);

    std::fs::write(t.join("scan.nii.gz"), b"").expect("a write");
    refused(t, &segment(t, &[]), 2, &["scan.nii.gz", "header", "not a NIfTI"]);
    for cut in [5, whole.len() / 2, whole.len() - 10] {
        std::fs::write(t.join("scan.nii.gz"), &whole[..cut]).expect("a write");
        refused(t, &segment(t, &[]), 2, &["scan.nii.gz"]);
    }
    std::fs::write(t.join("scan.nii.gz"), &whole).expect("a write");

    let dims = |count: i16, last: i16| [count, 8, 8, 8, last].map(i16::to_le_bytes).concat();
    patched(t, 40, &dims(4, 2));
    refused(t, &segment(t, &["-i", "scan.nii"]), 2, &["scan.nii", "dim[4]", "found 2", "one volume"]);
    patched(t, 42, &0i16.to_le_bytes());
    refused(t, &segment(t, &["-i", "scan.nii"]), 2, &["scan.nii", "dim[1]", "found 0", "empty"]);
    patched(t, 352, &f32::NAN.to_le_bytes());
    refused(t, &segment(t, &["-i", "scan.nii"]), 2, &["scan.nii", "voxel (0, 0, 0)", "NaN"]);
    save(t, [8, 8, 8], |_| 5.0);
    refused(t, &segment(t, &[]), 2, &["scan.nii.gz", "constant"]);
    save(t, [8, 8, 8], |v| v as f32);
    let weights = t.join(WEIGHTS_FILE);
    let message = run_in(t, &["calibrate", "-m", ".", "scan.nii.gz", "nowhere.nii"]);
    refused(t, &message, 2, &["nowhere.nii"]);
    assert!(weights.exists());
}

#[test]
fn wrong_labels_and_outputs_are_refused() {
    let t = copy();
    let t = t.path();
    let grid = |dims: [usize; 3]| {
        let count = dims.iter().product();
        LabelMap { dims, data: vec![1; count], header: Header::new(dims, 1.5) }
    };
    grid([8, 8, 4]).save(&t.join("truth.nii.gz")).expect("a write");
    refused(t, &segment(t, &["--labels", "truth.nii.gz"]), 2, &["truth.nii.gz", "[8, 8, 4]", "[8, 8, 8]"]);
    refused(t, &segment(t, &["--labels", "nowhere.nii"]), 2, &["nowhere.nii"]);
    refused(t, &segment(t, &["--labels", "scan.nii.gz"]), 2, &["scan.nii.gz", "expected integers 0 to 255"]);

    for flag in ["-o", "--report", "--preview"] {
        let name = if flag == "-o" { "--output" } else { flag };
        refused(t, &segment(t, &[flag, "no/such/file.nii"]), 2, &[name, "no/such", "does not exist"]);
        std::fs::create_dir_all(t.join("folder.nii")).expect("a folder");
        refused(t, &segment(t, &[flag, "folder.nii"]), 2, &[name, "folder.nii", "found a folder"]);
    }
    refused(t, &segment(t, &["-o", "out.png"]), 2, &["--output out.png", ".nii or .nii.gz"]);
    // Nothing the user has is overwritten by mistake.
    let scan = std::fs::read(t.join("scan.nii.gz")).expect("a volume");
    refused(t, &segment(t, &["-o", "./scan.nii.gz"]), 2, &["--output", "the file of --input"]);
    refused(t, &segment(t, &["--report", "out.nii.gz"]), 2, &["--report", "the file of --output"]);
    assert_eq!(std::fs::read(t.join("scan.nii.gz")).expect("a volume"), scan);

    // An older result survives a run that fails.
    std::fs::write(t.join("kept.nii.gz"), b"older").expect("a write");
    refused(t, &segment(t, &["-o", "kept.nii.gz", "-i", "nowhere.nii"]), 2, &["nowhere.nii"]);
    assert_eq!(std::fs::read(t.join("kept.nii.gz")).expect("a file"), b"older");
}

#[test]
fn wrong_usage_is_one_line() {
    let t = scratch();
    let t = t.path();
    for (args, parts) in [
        (&["segment"][..], &["--model", "--input", "--output", "segment --help"][..]),
        (&["segment", "-m", "."], &["--input", "--output"]),
        (&["plain"], &["--model", "--input"]),
        (&["calibrate", "-m", "."], &["VOLUME"]),
        (&["segmnt"], &["segmnt", "segment"]),
        (&["segment", "--frob"], &["--frob"]),
        (&["segment", "-m", "."], &["--help"]),
        (&["segment", "-m", "a", "-i", "b", "-o", "c", "--backend", "tpu"], &["tpu", "--backend", "cpu", "gpu"]),
        (
            &["segment", "-m", "a", "-i", "b", "-o", "c", "--gate-hash", "md5"],
            &["md5", "--gate-hash", "aes", "chacha12"],
        ),
        (&["segment", "-m", "a", "-i", "b", "-o", "c", "-q", "-v"], &["--quiet", "--verbose"]),
        (&["calibrate", "-m", ".", "v.nii", "--spare-bits", "90"], &["90", "--spare-bits", "1..=8"]),
    ] {
        refused(t, &run_in(t, args), 2, parts);
    }
    for args in [&["--help"][..], &["segment", "--help"], &["--version"], &["doctor"]] {
        let output = run_in(t, args);
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{args:?}: {}", text(&output.stderr));
        assert!(!output.stdout.is_empty());
    }
}
