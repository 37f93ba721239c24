//! `predict`: shipped networks on synthetic rows, the same classes from every preset, and what it refuses.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::{refused, run_in, scratch, text};

fn bundle(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/models").join(model)
}

/// Runs `predict` in `folder` on rows there, or on the model's own.
fn predict(folder: &Path, model: &str, rows: Option<&str>, more: &[&str]) -> Output {
    let bundle = bundle(model);
    let rows = rows.map_or_else(|| bundle.join("rows.csv"), PathBuf::from);
    let [bundle, rows] = [bundle, rows].map(|path| path.to_str().expect("a path").to_owned());
    let args = [&["predict", "-m", &bundle, "-i", &rows, "-o", "out.csv"], more].concat();
    run_in(folder, &args)
}

/// The classes that the program wrote.
fn classes(folder: &Path) -> Vec<String> {
    let table = std::fs::read_to_string(folder.join("out.csv")).expect("an output");
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("row,label"));
    let row = |(at, line): (usize, &str)| line.strip_prefix(&format!("{},", at + 1)).expect("a number").to_owned();
    lines.enumerate().map(row).collect()
}

#[test]
fn shipped_networks_give_the_integers_classes_with_a_dealer() {
    for net in ["breast", "diabetes", "liver", "thyroid", "mnist"] {
        for kind in ["relu", "smooth"] {
            let folder = scratch();
            let more = ["--dealer", "local", "--compare", "--report", "out.json", "--batch", "7"];
            let output = predict(folder.path(), &format!("{net}_{kind}"), None, &more);
            assert!(output.status.success(), "{}", text(&output.stderr));
            assert_eq!(classes(folder.path()).len(), 16);
            let report: Value =
                serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).expect("a report"))
                    .expect("JSON");
            assert_eq!(report["compare"]["label_disagreements_vs_integer"], 0, "{report}");
            assert_eq!((&report["preset"], &report["rows"]), (&Value::from("dealer"), &Value::from(16)));
            assert!(report["dealer"]["bytes_from_dealer"].as_u64() > Some(96), "{report}");
        }
    }
}

#[test]
fn presets_give_the_same_classes() {
    let folder = scratch();
    let all = [&["--dealer", "local"][..], &["--dealer", "local", "--preset", "paper"], &[]].map(|more| {
        let output = predict(folder.path(), "breast_relu", None, more);
        assert!(output.status.success(), "{}", text(&output.stderr));
        classes(folder.path())
    });
    assert!(all[0] == all[1] && all[0] == all[2], "{all:?}");
}

#[test]
fn true_classes_and_names_of_rows_are_read_by_column() {
    let folder = scratch();
    let rows = std::fs::read_to_string(bundle("diabetes_relu").join("rows.csv")).expect("rows");
    let with = |(at, line): (usize, &str)| match at {
        0 => format!("patient,{line},outcome"),
        _ => format!("p{at},{line},{}", if at % 2 == 0 { "negative" } else { "1" }),
    };
    let table: Vec<_> = rows.lines().enumerate().map(with).collect();
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, table.join("\n")).expect("a write");
    let more = ["--dealer", "local", "--id", "patient", "--labels", "outcome"];
    let output = predict(folder.path(), "diabetes_relu", path.to_str(), &more);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("Accuracy "), "{}", text(&output.stdout));
    let written = std::fs::read_to_string(folder.path().join("out.csv")).expect("an output");
    assert!(written.starts_with("patient,label\np1,negative\n"), "{written}");
}

#[test]
fn what_can_not_be_is_refused_in_one_line() {
    let folder = scratch();
    let check = |rows: Option<&str>, model: &str, more: &[&str], parts: &[&str]| {
        refused(folder.path(), &predict(folder.path(), model, rows, more), 2, parts);
    };
    check(None, "breast_relu", &["--preset", "dealer"], &["--preset", "--dealer local"]);
    check(None, "breast_relu", &["--preset", "silent", "--dealer", "local"], &["--dealer", "silent"]);
    check(None, "breast_relu", &["--dealer", "host:7"], &["--dealer", "\"host:7\"", "local"]);
    check(None, "breast_relu", &["--dealer", "local", "--scores"], &["--scores", "labels alone"]);
    check(None, "breast_smooth", &[], &["activation", "with a dealer alone"]);
    check(None, "hippo_relu", &["--dealer", "local"], &["scans", "rows of a table"]);
    let path = folder.path().join("rows.csv");
    std::fs::write(
        &path,
        "pregnancies,glucose,blood_pressure,skin_thickness,insulin,bmi,pedigree,age\n1,2,3,4,5,6,x,8\n",
    )
    .expect("a write");
    check(
        path.to_str(),
        "diabetes_relu",
        &["--dealer", "local"],
        &["rows.csv: row 1, column \"pedigree\": found \"x\""],
    );
    check(path.to_str(), "diabetes_relu", &["--dealer", "local", "--id", "name"], &["rows.csv"]);
}
