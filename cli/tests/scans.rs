//! Scans as users have them, given to the program: what it reads, refuses, warns of and says about them.

use blindvox_models::testing as common;

use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use blindvox_models::data::labels::LabelMap;
use blindvox_models::data::nifti::{Affine, Header, Orientation, Volume};
use blindvox_models::format::bundle::{MODEL_FILE, WEIGHTS_FILE};
use common::Written;
use serde_json::{Value, json};
use tempfile::TempDir;

fn run_in(folder: &Path, args: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_blindvox"));
    program.args(args).current_dir(folder).env("XDG_RUNTIME_DIR", std::env::temp_dir());
    program.output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with a calibrated bundle of an 8x8x8 network that doesn't say what its calibration saw (scans unlike that
/// are told, too); its preparation edited.
fn folder(edit: impl FnOnce(&mut Value)) -> TempDir {
    static SHARED: OnceLock<Written> = OnceLock::new();
    let from = SHARED.get_or_init(|| {
        let written = common::tiny();
        written.calibrate();
        written
    });
    let to = tempfile::tempdir().expect("a temporary directory");
    let mut model: Value =
        serde_json::from_slice(&std::fs::read(from.directory.path().join(MODEL_FILE)).expect("a model")).expect("JSON");
    model.as_object_mut().expect("a map").remove("calibration");
    edit(&mut model);
    std::fs::write(to.path().join(MODEL_FILE), model.to_string()).expect("a write");
    std::fs::copy(from.directory.path().join(WEIGHTS_FILE), to.path().join(WEIGHTS_FILE)).expect("a copy");
    to
}

/// A scan whose values depend on the place in the world alone, stored along `axes`.
fn scan(axes: &str, dims: [usize; 3], sides: [f64; 3]) -> Volume {
    let axes: Orientation = axes.parse().expect("an orientation");
    let mut affine = axes.affine(sides);
    // The centre of the grid lies at the origin of the world.
    let centre = affine.apply(dims.map(|d| (d as f64 - 1.0) / 2.0));
    (0..3).for_each(|w| affine.0[w][3] = -centre[w]);
    let value = |v: usize| {
        let at = [v / (dims[1] * dims[2]), v / dims[2] % dims[1], v % dims[2]].map(|v| v as f64);
        let [x, y, z] = affine.apply(at);
        (1.3 * x).sin() * 40.0 + (0.7 * y + 0.2 * z).cos() * 30.0 + x * y - 2.0 * z
    };
    let data = (0..dims.iter().product()).map(value).collect();
    Volume { dims, data, header: Header::on(dims, &affine) }
}

/// Runs `plain` in a folder and asserts its exit code; gives what it says on both outputs.
fn plain(t: &Path, more: &[&str], code: i32) -> (String, String) {
    let args = [&["plain", "-m", ".", "-o", "out.nii.gz"][..], more].concat();
    let output = run_in(t, &args);
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}{errors}");
    (said, errors)
}

fn one_line(message: &str, start: &str, parts: &[&str]) {
    assert_eq!(message.lines().count(), 1, "not one line: {message}");
    assert!(message.starts_with(start), "{message}");
    for part in parts {
        assert!(message.contains(part), "{message:?} doesn't mention {part:?}");
    }
}

fn map(t: &Path) -> LabelMap {
    LabelMap::load(&t.join("out.nii.gz")).expect("a map")
}

#[test]
fn a_scan_larger_than_the_grid_ends_with_5_and_says_what_was_looked_at() {
    let t = folder(|_| ());
    let t = t.path();
    scan("RAS", [20, 8, 8], [1.0; 3]).save(&t.join("scan.nii")).expect("a write");
    let (_, warning) = plain(t, &["-i", "scan.nii"], 5);
    one_line(
        &warning,
        "warning: scan.nii",
        &["R -4.0 to 4.0", "A -4.0 to 4.0", "mm", "40.0 %", "not labelled", "--crop"],
    );
    assert_eq!(map(t).dims, [20, 8, 8]);
    let (said, warning) = plain(t, &["-i", "scan.nii", "--crop"], 0);
    assert!(warning.is_empty() && said.contains("R -4.0 to 4.0") && said.contains("not labelled"), "{said}{warning}");

    let segment = ["segment", "-m", ".", "-i", "scan.nii", "-o", "out.nii.gz", "-q", "--report", "r.json"];
    let output = run_in(t, &segment);
    assert_eq!(output.status.code(), Some(5));
    one_line(&text(&output.stderr), "warning: scan.nii", &["40.0 %"]);
    let report: Value = serde_json::from_slice(&std::fs::read(t.join("r.json")).expect("a report")).expect("JSON");
    assert_eq!((&report["seen"]["share"], report["warnings"].as_array().map(Vec::len)), (&json!(0.4), Some(1)));
    assert_eq!(report["seen"]["millimetres"][0], json!([-4.0, 4.0]));
    let output = run_in(t, &[&segment[..], &["--crop"]].concat());
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn models_of_version_1_warn_once() {
    let t = folder(|m| {
        m["graph"]["version"] = json!(1);
        m["preparation"].as_object_mut().expect("keys").remove("orientation");
    });
    let t = t.path();
    scan("LPS", [8; 3], [1.0; 3]).save(&t.join("scan.nii")).expect("a write");
    let parts = [MODEL_FILE, "version 1", "voxel order of its files"];
    one_line(&plain(t, &["-i", "scan.nii"], 0).1, "warning: ", &parts);
    let output = run_in(t, &["segment", "-m", ".", "-i", "scan.nii", "-o", "out.nii.gz"]);
    assert!(output.status.success());
    one_line(&text(&output.stderr), "warning: ", &parts);
}

#[test]
fn a_scan_without_orientation_needs_the_users_word() {
    let t = folder(|_| ());
    let t = t.path();
    let path = t.join("scan.nii");
    scan("RAS", [8; 3], [1.0; 3]).save(&path).expect("a write");
    plain(t, &["-i", "scan.nii"], 0);
    let expected = map(t).data;
    std::fs::remove_file(t.join("out.nii.gz")).expect("a file");
    let mut bytes = std::fs::read(&path).expect("a read");
    bytes[254..256].fill(0);
    std::fs::write(&path, bytes).expect("a write");
    one_line(&plain(t, &["-i", "scan.nii"], 2).1, "error: scan.nii", &["orientation", "--assume RAS"]);
    assert!(!t.join("out.nii.gz").exists());
    plain(t, &["-i", "scan.nii", "--assume", "RAS"], 0);
    assert_eq!(map(t).data, expected);
    plain(t, &["-i", "scan.nii", "--assume", "LPS"], 0);
    assert_ne!(map(t).data, expected, "the other way round the scan is another");
    one_line(&plain(t, &["-i", "scan.nii", "--assume", "RRS"], 2).1, "error: ", &["RRS", "--assume", "RAS"]);
}

#[test]
fn voxels_that_are_no_number_are_read_as_the_user_says() {
    let t = folder(|_| ());
    let t = t.path();
    let mut volume = scan("RAS", [8; 3], [1.0; 3]);
    volume.data[..64].fill(-5.0);
    volume.save(&t.join("scan.nii")).expect("a write");
    plain(t, &["-i", "scan.nii"], 0);
    let expected = map(t).data;
    volume.data[..64].fill(f64::NAN);
    volume.save(&t.join("scan.nii")).expect("a write");
    one_line(&plain(t, &["-i", "scan.nii"], 2).1, "error: scan.nii", &["NaN", "--nan 0"]);
    plain(t, &["-i", "scan.nii", "--nan", "-5"], 0);
    assert_eq!(map(t).data, expected);
    one_line(&plain(t, &["-i", "scan.nii", "--nan", "inf"], 2).1, "error: ", &["--nan", "finite"]);
}

#[test]
fn true_labels_are_compared_in_the_world() {
    let t = folder(|_| ());
    let t = t.path();
    let upright = scan("RAS", [8; 3], [1.0; 3]);
    upright.save(&t.join("scan.nii")).expect("a write");
    plain(t, &["-i", "scan.nii"], 0);
    let found = map(t);
    // The same labels stored another way are the same labels.
    let other = scan("SPL", [8; 3], [1.0; 3]);
    let turned = found.onto(&other).expect("the same voxels");
    assert_ne!(turned.data, found.data);
    turned.save(&t.join("turned.nii")).expect("a write");
    let (said, warning) = plain(t, &["-i", "scan.nii", "--labels", "turned.nii"], 0);
    assert!(said.contains("class 1 1.0000, class 2 1.0000") && warning.is_empty(), "{said}{warning}");

    let with = |affine: &Affine, dims: [usize; 3], data: Vec<u8>| {
        LabelMap { dims, data, header: Header::on(dims, affine) }.save(&t.join("truth.nii")).expect("a write");
    };
    let mut affine = upright.header.affine().expect("an sform");
    affine.0[1][3] += 2.0;
    with(&affine, [8; 3], found.data.clone());
    let compare = ["-i", "scan.nii", "--labels", "truth.nii"];
    one_line(&plain(t, &compare, 2).1, "error: truth.nii", &["another grid", "origin 2.00 mm"]);
    let fine = scan("RAS", [16; 3], [0.5; 3]).header.affine().expect("an sform");
    with(&fine, [16; 3], vec![1; 4096]);
    one_line(&plain(t, &compare, 2).1, "error: truth.nii", &["another grid", "spacing 0.5 x 0.5 x 0.5 mm"]);

    // One true value over both labels, whatever it is.
    let upright = upright.header.affine().expect("an sform");
    with(&upright, [8; 3], found.data.iter().map(|&l| 40 * u8::from(l > 0)).collect());
    let (said, warning) = plain(t, &compare, 0);
    assert!(said.contains("1.000 of what was labelled lies inside") && said.contains("union: 1.0000"), "{said}");
    assert!(warning.is_empty(), "{warning}");
    with(&upright, [8; 3], found.data.iter().map(|&l| if l == 2 { 7 } else { l }).collect());
    one_line(&plain(t, &compare, 0).1, "warning: truth.nii", &["values 7", "0 class 0, 1 class 1, 2 class 2"]);
    with(&upright, [8; 3], vec![0; 512]);
    one_line(&plain(t, &compare, 0).1, "warning: truth.nii", &["background alone"]);
}

#[test]
fn series_of_dicom_are_named() {
    let t = folder(|_| ());
    let t = t.path();
    std::fs::create_dir(t.join("series")).expect("a folder");
    for name in ["1.dcm", "series/1"] {
        std::fs::write(t.join(name), [&[0; 128][..], b"DICM", &[0; 400]].concat()).expect("a write");
    }
    for name in ["1.dcm", "series"] {
        one_line(&plain(t, &["-i", name], 2).1, &format!("error: {name}"), &["DICOM", "dcm2niix"]);
    }
}

/// The picture is the same however a scan is stored, and its pixels are as wide as high in millimetres.
#[test]
fn previews_follow_the_body() {
    let t = folder(|_| ());
    let t = t.path();
    let picture = |axes: &str, dims: [usize; 3], sides: [f64; 3]| {
        scan(axes, dims, sides).save(&t.join("scan.nii")).expect("a write");
        let args = ["segment", "-m", ".", "-i", "scan.nii", "-o", "out.nii.gz", "-q", "--crop", "--preview", "p.png"];
        let output = run_in(t, &args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let file = std::io::BufReader::new(std::fs::File::open(t.join("p.png")).expect("a picture"));
        let mut reader = png::Decoder::new(file).read_info().expect("a picture");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        let info = reader.next_frame(&mut pixels).expect("a picture");
        ([info.width, info.height], pixels)
    };
    // Axial 8 x 7 mm, coronal 8 x 6 mm, sagittal 7 x 6 mm, six pixels a millimetre, gaps of eight.
    let (size, upright) = picture("RAS", [8, 7, 2], [1.0, 1.0, 3.0]);
    assert_eq!(size, [48 + 48 + 42 + 4 * 8, 2 * 42 + 3 * 8]);
    for (axes, dims, sides) in [("LPI", [8, 7, 2], [1.0, 1.0, 3.0]), ("SAL", [2, 7, 8], [3.0, 1.0, 1.0])] {
        assert!(picture(axes, dims, sides).1 == upright, "{axes}");
    }
}
