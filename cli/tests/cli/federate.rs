//! `federate`: averages of files are the same bytes under every scheme, and what is wrong is named.

use std::path::Path;

use crate::{refused, run_in, scratch, text};

/// A model of two tensors, and one that is not averaged.
pub(crate) fn model(folder: &Path, name: &str, weights: [f32; 4], examples: Option<u32>) {
    let metadata = examples.map_or(String::new(), |n| format!("\"__metadata__\":{{\"examples\":\"{n}\"}},"));
    let header = format!(
        "{{{metadata}\"w\":{{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}},\
         \"b\":{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]}},\
         \"steps\":{{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[16,20]}}}}"
    );
    let numbers: Vec<u8> = weights.iter().flat_map(|x| x.to_le_bytes()).collect();
    let parts = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &numbers, &7i32.to_le_bytes()];
    std::fs::write(folder.join(name), parts.concat()).expect("room");
}

/// The last 20 bytes: the tensors.
fn tensors(folder: &Path, name: &str) -> (Vec<f32>, i32) {
    let file = std::fs::read(folder.join(name)).expect("an output");
    let data = &file[file.len() - 20..];
    let words = data[..16].as_chunks::<4>().0;
    (words.iter().map(|b| f32::from_le_bytes(*b)).collect(), i32::from_le_bytes(data[16..].try_into().expect("four")))
}

pub(crate) fn three(folder: &Path) {
    model(folder, "base.st", [0.0, 1.0, 2.0, 0.5], None);
    model(folder, "a.st", [0.25, 1.0, 1.0, 0.5], Some(100));
    model(folder, "b.st", [0.5, 0.5, 2.0, 0.5], Some(50));
    model(folder, "c.st", [-1.0, 1.0, 3.0, 0.5], Some(50));
}

const AVERAGE: [&str; 7] = ["federate", "average", "a.st", "b.st", "c.st", "--base", "base.st"];

#[test]
fn averages_are_the_same_bytes_under_every_scheme() {
    let folder = scratch();
    three(folder.path());
    let average = |scheme: &str| {
        let out = format!("{scheme}.st");
        let output = run_in(folder.path(), &[&AVERAGE[..], &["--scheme", scheme, "-o", &out]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        std::fs::read(folder.path().join(out)).expect("an output")
    };
    let plain = average("plain");
    assert_eq!(average("rlwe"), plain);
    assert_eq!(average("paillier"), plain);
    let (weights, steps) = tensors(folder.path(), "plain.st");
    // Weights 1/2, 1/4, 1/4; what is no float stays.
    for (x, expected) in weights.iter().zip([0.0, 0.875, 1.75, 0.5]) {
        assert!((x - expected).abs() < 1e-6, "{weights:?}");
    }
    assert_eq!(steps, 7);
}

#[test]
fn what_is_wrong_with_models_is_named() {
    let folder = scratch();
    three(folder.path());
    let wrong = |args: &[&str], what: &str| {
        let output = run_in(folder.path(), &[args, &["-o", "out.st"]].concat());
        refused(folder.path(), &output, 2, &[what]);
    };
    wrong(&["federate", "average", "a.st", "b.st"], "member: found 2, expected 3");
    wrong(&["federate", "average", "a.st", "b.st", "base.st"], "base.st: found no metadata \"examples\"");
    wrong(&[&AVERAGE[..], &["--examples", "1,2"]].concat(), "--examples: found 2 counts, expected 3");
    wrong(&[&AVERAGE[..], &["--examples", "1,0,3"]].concat(), "examples: found 0");
    wrong(&[&AVERAGE[..], &["--clip", "0"]].concat(), "--clip: found 0");
    wrong(&[&AVERAGE[..], &["--precision", "40"]].concat(), "--precision: found 40 bits, expected 2 to 29");
    model(folder.path(), "c.st", [f32::NAN, 1.0, 3.0, 0.5], Some(50));
    wrong(&AVERAGE, "tensor \"w\": element 0: found NaN");
    std::fs::write(folder.path().join("c.st"), b"nothing").expect("room");
    wrong(&AVERAGE, "c.st: not a safetensors file");
}

#[test]
fn a_roster_names_certificates() {
    let folder = scratch();
    for name in ["a", "b", "c", "sum"] {
        assert!(run_in(folder.path(), &["keygen", "--name", name]).status.success());
    }
    let roster = |members: &[&str]| {
        let args = [&["federate", "roster"], members, &["--aggregator", "sum.crt", "-o", "federation.toml"]].concat();
        run_in(folder.path(), &args)
    };
    let output = roster(&["a.crt", "b.crt", "c.crt"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains("2 of 3 holders open a sum of 3 updates or more; 0 holders may answer twice")
    );
    let file = std::fs::read_to_string(folder.path().join("federation.toml")).expect("a roster");
    assert!(file.contains("threshold = 2") && file.matches("[[member]]").count() == 3);
    refused(folder.path(), &roster(&["a.crt", "b.crt", "b.crt"]), 2, &["name: found \"b\" twice"]);
    refused(folder.path(), &roster(&["a.crt", "b.crt", "none.crt"]), 2, &["none.crt"]);
}

#[test]
fn excluded_tensors_stay_and_proofs_are_made() {
    let folder = scratch();
    three(folder.path());
    let out = ["-o", "mean.st"];
    let output = run_in(folder.path(), &[&AVERAGE[..], &["--exclude", "b|steps", "--scheme", "plain"], &out].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let plain = tensors(folder.path(), "mean.st").0;
    assert!(plain[3] == 0.5 && text(&output.stdout).contains("of 3 numbers"), "{plain:?}");
    let proven = [&AVERAGE[..], &["--exclude", "b", "--scheme", "paillier", "--prove"], &out].concat();
    let output = run_in(folder.path(), &proven);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(tensors(folder.path(), "mean.st").0, plain);
    let wrong = |args: &[&str], what: &str| {
        let output = run_in(folder.path(), &[&AVERAGE[..], args, &["-o", "out.st"]].concat());
        refused(folder.path(), &output, 2, &[what]);
    };
    wrong(&["--prove"], "--prove: found --scheme rlwe, expected paillier");
    wrong(&["--exclude", "("], "--exclude (: expected a regular expression");
    wrong(&["--exclude", "."], "a.st: found no tensor left to average");
}
