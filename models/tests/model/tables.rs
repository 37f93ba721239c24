//! Networks of rows: tables as they are stored, wrong ones, and trained networks on real rows.

use std::path::{Path, PathBuf};

use blindvox_models::data::table::labels_as_csv;
use blindvox_models::format::bundle::{MODEL_FILE, WEIGHTS_FILE};
use blindvox_models::integers::quantize::quantize_input;
use blindvox_models::plain::float;
use blindvox_models::testing::tiny_rows;
use blindvox_models::{Bundle, Error, Rounding, calibrate, plain};
use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::shared_data;

/// The rows of a table for the small network, or why there are none.
fn read(folder: &Path, text: &str) -> Result<Vec<Vec<f32>>, String> {
    let path = folder.join("rows.csv");
    std::fs::write(&path, text).expect("a write");
    Bundle::load(folder).expect("well formed").inputs(&path).map(|inputs| inputs.values).map_err(|e| {
        assert!(matches!(e, Error::Input(_)), "{e}");
        e.to_string()
    })
}

fn edit(folder: &Path, edit: impl FnOnce(&mut Value)) {
    let path = folder.join(MODEL_FILE);
    let mut model: Value = serde_json::from_slice(&std::fs::read(&path).expect("a model")).expect("JSON");
    edit(&mut model);
    std::fs::write(path, model.to_string()).expect("a write");
}

#[test]
fn columns_are_found_by_name_and_normalised() {
    let written = tiny_rows();
    let folder = written.directory.path();
    let rows = read(folder, "f6,f5,x,f4,f3,f2,f1,f0\r\n6.5,5.5,text,4.5,3.5, 2.5 ,1.5,\"0.5\"\n9,9,,9,9,9,-9,1e2\n");
    let rows = rows.expect("a table");
    assert_eq!(rows[0], [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0], "(x - 0.5) / 2");
    assert_eq!((rows.len(), rows[1][0], rows[1][1]), (2, 4.0, -4.0), "clipped");
    edit(folder, |m| m["preparation"]["table"]["columns"][3]["missing"] = json!(2.5));
    let rows = read(folder, "f6,f5,f4,f3,f2,f1,f0\n1,1,1,,1,1,1\n").expect("a gap with a rule");
    assert_eq!(rows[0][3], 1.0);
}

#[test]
fn wrong_tables_are_refused_by_row_and_column() {
    let written = tiny_rows();
    let folder = written.directory.path();
    let names = "f0,f1,f2,f3,f4,f5,f6";
    for (text, parts) in [
        ("", vec!["column \"f0\": found none"]),
        ("f0,f1,f2,f3,f4,f5,f7\n1,1,1,1,1,1,1", vec!["column \"f6\": found none, expected one of that name"]),
        ("f0,f1,f2,f3,f4,f5,f6,f6\n1,1,1,1,1,1,1,1", vec!["column \"f6\": found several"]),
        (names, vec!["found no rows"]),
        (&format!("{names}\n1,1,1,1,1,1,1\n1,1,1,1,1,1\n"), vec!["row 2: found 6 cells, expected 7"]),
        (
            &format!("{names}\n1,1,1,1,1,1,1\n1,1,1,one,1,1,1\n"),
            vec!["row 2, column \"f3\": found \"one\"", "finite number"],
        ),
        (&format!("{names}\n1,1,1,1,NaN,1,1\n"), vec!["row 1, column \"f4\": found \"NaN\""]),
        (&format!("{names}\n1,1,1,1,1e999,1,1\n"), vec!["row 1, column \"f4\": found \"1e999\""]),
        (&format!("{names}\n1,1,1,1,,1,1\n"), vec!["row 1, column \"f4\": found nothing"]),
    ] {
        let message = read(folder, text).expect_err("a refusal");
        assert!(message.contains("rows.csv: ") && parts.iter().all(|p| message.contains(p)), "{message}: {parts:?}");
    }
    let missing =
        Bundle::load(folder).expect("well formed").inputs(&folder.join("none.csv")).map(drop).expect_err("no file");
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
}

#[test]
fn wrong_preparations_of_tables_are_refused() {
    let refusal = |change: &dyn Fn(&mut Value)| {
        let written = tiny_rows();
        edit(written.directory.path(), |m| change(m));
        Bundle::load(written.directory.path()).map(drop).expect_err("a refusal").to_string()
    };
    let column = |field: &'static str, value: Value| {
        refusal(&move |m: &mut Value| m["preparation"]["table"]["columns"][2][field] = value.clone())
    };
    for (message, part) in [
        (column("std", json!(0.0)), "std 0"),
        (column("name", json!("f1")), "\"f1\" twice"),
        (column("name", json!("a\nb")), "control characters"),
        (column("missing", json!("drop")), "expected missing to be a number or \"refuse\""),
        (column("deviation", json!(1.0)), "deviation"),
        (refusal(&|m| m["preparation"]["table"]["clip"] = json!([1.0, -1.0])), "table.clip: found [1, -1]"),
        (
            refusal(&|m| m["preparation"]["table"]["columns"] = json!([])),
            "table.columns: found 0, expected one for each of 7",
        ),
        (refusal(&|m| m["preparation"]["crop"] = json!([0])), "keys of volumes beside table"),
        (
            refusal(&|m| m["graph"]["nodes"][0]["op"]["input"] = json!({"channels": 7, "dims": [1, 1, 1]})),
            "preparation.table: found one",
        ),
        (refusal(&|m| m["graph"]["version"] = json!(1)), "features in version 1"),
    ] {
        assert!(message.contains(part), "{message}: {part}");
    }
}

#[test]
fn labels_are_written_as_a_table() {
    let text = labels_as_csv(["plain", "with, comma", "with \"quotes\""]);
    assert_eq!(text, b"row,label\n1,plain\n2,\"with, comma\"\n3,\"with \"\"quotes\"\"\"\n");
}

/// A trained network of the data folder as a bundle: dense layers with ReLU between them.
fn trained(file: &Path, columns: &[&str], folder: &Path) -> Vec<usize> {
    let bytes = std::fs::read(file).expect("weights");
    let tensors = SafeTensors::deserialize(&bytes).expect("weights");
    let floats = |name: &str| -> Vec<f32> {
        let data = tensors.tensor(name).expect("a tensor").data();
        data.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
    };
    let (mean, std) = (floats("norm.mean"), floats("norm.std"));
    let named = columns.iter().zip(mean.iter().zip(&std));
    let columns: Vec<Value> =
        named.map(|(name, (mean, std))| json!({"name": name, "mean": mean, "std": std})).collect();
    let mut widths = vec![columns.len()];
    let mut nodes = vec![json!({"name": "in", "op": {"input": {"features": columns.len()}}})];
    let mut last = "in".to_owned();
    for layer in (0..8).filter(|l| tensors.tensor(&format!("fc{l}.weight")).is_ok()) {
        if widths.len() > 1 {
            nodes.push(json!({"name": format!("relu{layer}"), "op": "relu", "inputs": [last]}));
            last = format!("relu{layer}");
        }
        let (weight, bias) = (format!("fc{layer}.weight"), format!("fc{layer}.bias"));
        let width = tensors.tensor(&bias).expect("a bias").shape()[0];
        let op = json!({"dense": {"out_features": width, "weight": weight, "bias": bias}});
        nodes.push(json!({"name": format!("fc{layer}"), "op": op, "inputs": [last]}));
        last = format!("fc{layer}");
        widths.push(width);
    }
    nodes.push(json!({"name": "out", "op": "argmax", "inputs": [last]}));
    let classes: Vec<String> = (0..widths[widths.len() - 1]).map(|c| c.to_string()).collect();
    let model = json!({
        "name": "trained", "classes": classes, "graph": {"version": 2, "nodes": nodes},
        "preparation": {"table": {"columns": columns, "clip": [-8.0, 8.0]}},
        "quantization": {"weight_bits": 12, "relu_bits": 16, "argmax_bits": 24, "spare_bits": 2},
    });
    std::fs::write(folder.join(MODEL_FILE), model.to_string()).expect("a write");
    std::fs::write(folder.join(WEIGHTS_FILE), bytes).expect("a write");
    widths
}

#[test]
fn a_trained_network_gives_its_recorded_scores_and_labels_real_rows() {
    let (Some(weights), Some(table)) = (shared_data("cryptmed"), shared_data("tabular")) else { return };
    let (weights, table): (PathBuf, PathBuf) =
        (weights.join("breast_relu.safetensors"), table.join("breast_cancer_train.csv"));
    let text = std::fs::read_to_string(&table).expect("a table");
    let (names, rows) = text.split_once('\n').expect("rows");
    let names: Vec<&str> = names.trim().split(',').collect();
    let folder = tempfile::tempdir().expect("a directory");
    let widths = trained(&weights, &names[..names.len() - 1], folder.path());
    assert_eq!(widths, [30, 16, 16, 2]);
    let mut bundle = Bundle::load(folder.path()).expect("well formed");
    let network = bundle.network().expect("weights that match");

    // Sixteen recorded rows and their scores, both with 12 fraction bits, the scores by integers.
    let bytes = std::fs::read(&weights).expect("weights");
    let tensors = SafeTensors::deserialize(&bytes).expect("weights");
    let numbers = |name: &str| -> Vec<f32> {
        let tensor = tensors.tensor(name).expect("a tensor");
        let width = tensor.data().len() / tensor.shape().iter().product::<usize>();
        let value = |b: &[u8]| match width {
            2 => f32::from(i16::from_le_bytes([b[0], b[1]])),
            4 => i32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32,
            _ => i64::from_le_bytes(b.try_into().expect("eight bytes")) as f32,
        };
        tensor.data().chunks_exact(width).map(|b| value(b) / 4096.0).collect()
    };
    let (inputs, scores) = (numbers("test.x"), numbers("test.y"));
    assert_eq!((inputs.len(), scores.len()), (16 * 30, 16 * 2));
    for (input, scores) in inputs.chunks_exact(30).zip(scores.chunks_exact(2)) {
        for (found, recorded) in float::run(&network, input).logits.iter().zip(scores) {
            assert!((found - recorded).abs() < 0.02, "{found} for {recorded}");
        }
    }

    let agreement = calibrate(&mut bundle, std::slice::from_ref(&table)).expect("a calibration").remove(0);
    let program = bundle.program().expect("a calibrated bundle");
    let inputs = bundle.inputs(&table).expect("its own table").values;
    let truth = rows.lines().map(|row| row.trim().rsplit(',').next().expect("a label").parse::<u8>().expect("a label"));
    let label = |input: &Vec<f32>| {
        let run = plain::run(&program, &quantize_input(input, &program.tensors[program.input]), Rounding::Nearest);
        assert_eq!(run.overflows().count(), 0);
        run.labels[0]
    };
    let right = inputs.iter().zip(truth).filter(|(input, truth)| label(input) == *truth).count();
    println!("{right} of {} rows right, {} differ from the float network's", inputs.len(), agreement.differing);
    assert!(agreement.voxels == inputs.len() && agreement.differing * 100 <= inputs.len(), "{agreement:?}");
    assert!(right * 100 >= inputs.len() * 95, "{right} of {}", inputs.len());
}
