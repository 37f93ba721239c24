//! Networks of other forms, with random weights: the integer program of a graph follows its float reference.

use std::path::PathBuf;

use blindvox_protocols::model::bundle::{MODEL_FILE, WEIGHTS_FILE};
use blindvox_protocols::model::{Bundle, LinearKind, Rounding, Step, calibrate, float, plain};
use blindvox_protocols::volume::{Header, Volume};
use half::f16;
use serde_json::{Value, json};

/// Numbers in -1..1 that look random, from a counter.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 += 1;
        let mixed = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// A graph and its weights in the making.
struct Net {
    nodes: Vec<Value>,
    header: serde_json::Map<String, Value>,
    data: Vec<u8>,
    numbers: Numbers,
    planar: bool,
    half: bool,
}

impl Net {
    fn new(dims: &[usize], half: bool) -> Self {
        let input = json!({"name": "in", "op": {"input": {"channels": 1, "dims": dims}}});
        let planar = dims.len() == 2;
        Self { nodes: vec![input], header: Default::default(), data: Vec::new(), numbers: Numbers(7), planar, half }
    }

    /// Random values of deviation about `size` around `centre`.
    fn tensor(&mut self, name: &str, shape: &[usize], centre: f32, size: f32) -> String {
        let from = self.data.len();
        for _ in 0..shape.iter().product::<usize>() {
            let value = centre + 1.7 * size * self.numbers.next();
            match self.half {
                true => self.data.extend(f16::from_f32(value).to_le_bytes()),
                false => self.data.extend(value.to_le_bytes()),
            }
        }
        let dtype = if self.half { "F16" } else { "F32" };
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [from, self.data.len()]});
        self.header.insert(name.into(), entry);
        name.into()
    }

    fn op(&mut self, name: &str, op: Value, inputs: &[&str]) {
        self.nodes.push(json!({"name": name, "op": op, "inputs": inputs}));
    }

    fn conv(&mut self, name: &str, input: &str, ci: usize, co: usize, kernel: &[usize], norm: bool) {
        let size = (ci * kernel.iter().product::<usize>()) as f32;
        let weight = self.tensor(&format!("{name}.w"), &[&[co, ci], kernel].concat(), 0.0, size.powf(-0.5));
        let bias = self.tensor(&format!("{name}.b"), &[co], 0.0, 0.2);
        let mut op = json!({"out_channels": co, "kernel": kernel, "weight": weight, "bias": bias});
        if norm {
            let mut vector = |part: &str, centre| self.tensor(&format!("{name}.{part}"), &[co], centre, 0.2);
            op["batch_norm"] = json!({"gamma": vector("g", 1.0), "beta": vector("be", 0.0), "mean": vector("m", 0.0),
                "var": vector("v", 1.0), "eps": 1e-5});
        }
        self.op(name, json!({"conv": op}), &[input]);
    }

    fn up(&mut self, name: &str, input: &str, ci: usize, co: usize) {
        let taps: &[usize] = if self.planar { &[2, 2] } else { &[2, 2, 2] };
        let weight = self.tensor(&format!("{name}.w"), &[&[ci, co], taps].concat(), 0.0, (ci as f32).powf(-0.5));
        self.op(name, json!({"conv_transpose": {"out_channels": co, "weight": weight}}), &[input]);
    }

    fn quadratic(&mut self, name: &str, input: &str, channels: usize) {
        let [a, b, c] = [("a", 0.3), ("b", 0.8), ("c", 0.6)]
            .map(|(part, centre)| self.tensor(&format!("{name}.{part}"), &[channels], centre, 0.2));
        self.op(name, json!({"quadratic": {"a": a, "b": b, "c": c}}), &[input]);
    }

    /// Writes the bundle, calibrates it on random volumes and compares integers with floats on another.
    fn check(mut self, scores: &str, classes: usize) -> Vec<Step> {
        self.op("out", json!("argmax"), &[scores]);
        let dims: Vec<usize> = serde_json::from_value(self.nodes[0]["op"]["input"]["dims"].clone()).expect("sizes");
        let names: Vec<String> = (0..classes).map(|c| c.to_string()).collect();
        let model = json!({
            "name": "random", "classes": names, "graph": {"version": 1, "nodes": self.nodes},
            "preparation": {"normalise": "z_score", "pad_to": dims, "crop": vec![0; dims.len()]},
            "quantization": {"weight_bits": 12, "relu_bits": 16, "argmax_bits": 24, "spare_bits": 2},
        });
        let directory = tempfile::tempdir().expect("a directory");
        let header = serde_json::to_vec(&self.header).expect("JSON");
        let weights = [&(header.len() as u64).to_le_bytes()[..], &header, &self.data].concat();
        std::fs::write(directory.path().join(MODEL_FILE), model.to_string()).expect("a write");
        std::fs::write(directory.path().join(WEIGHTS_FILE), weights).expect("a write");

        let grid = if self.planar { [dims[0], dims[1], 1] } else { [dims[0], dims[1], dims[2]] };
        let volumes: Vec<PathBuf> = (0..3).map(|v| directory.path().join(format!("{v}.nii.gz"))).collect();
        for path in &volumes {
            let data = (0..grid.iter().product()).map(|_| self.numbers.next()).collect();
            Volume { dims: grid, data, header: Header::new(grid, 1.0) }.save(path).expect("a write");
        }
        let mut bundle = Bundle::load(directory.path()).expect("a well-formed bundle");
        assert!(bundle.program().is_err(), "a bundle without scales has no program");
        calibrate(&mut bundle, &volumes[..2]).expect("a calibration");
        bundle.save_model().expect("a write");
        let bundle = Bundle::load(directory.path()).expect("what was saved");

        let program = bundle.program().expect("a calibrated bundle");
        let volume = Volume::load(&volumes[2]).expect("its own file");
        let prepared = bundle.prepare(&program, &volume, &volumes[2]).expect("a volume of the right size");
        let float = float::run(&bundle, &prepared.real).expect("weights that match");
        let (run, _) = plain::run_with_trace(&program, &prepared.integers, Rounding::Nearest);
        assert_eq!(run.overflows().count(), 0, "{:?}", run.overflows().collect::<Vec<_>>());
        let unit = 2f64.powi(-program.tensors[program.logits].scale_bits);
        let size = float.logits.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let difference = |(&i, &f): (&i32, &f32)| (f64::from(i) * unit - f64::from(f)).abs();
        let worst = run.logits.iter().zip(&float.logits).map(difference).fold(0.0, f64::max);
        println!("logits differ by {worst:.5} of {size:.3}");
        assert!(worst < 0.01 * f64::from(size), "logits differ by {worst} of {size}");
        assert_eq!(plain::run(&program, &prepared.integers, Rounding::Nearest).labels, run.labels);
        program.steps
    }
}

#[test]
fn a_u_net_with_quadratics_normalisation_and_padding() {
    let mut net = Net::new(&[8, 12, 8], false);
    net.conv("c0", "in", 1, 4, &[3, 3, 3], true);
    net.quadratic("q0", "c0", 4);
    net.op("p0", json!("avg_pool"), &["q0"]);
    net.conv("c1", "p0", 4, 6, &[3, 3, 3], true);
    net.quadratic("q1", "c1", 6);
    net.up("u0", "q1", 6, 4);
    net.op("cat", json!("concat"), &["q0", "u0"]);
    net.conv("c2", "cat", 8, 4, &[3, 1, 3], false);
    net.op("s2", json!("square"), &["c2"]);
    net.conv("head", "s2", 4, 3, &[1, 1, 1], false);
    let steps = net.check("head", 3);
    let maps = steps.iter().filter(|s| matches!(s, Step::Linear(l) if l.bias_map.is_some())).count();
    assert_eq!(maps, 3, "c1, u0 and c2 meet the constants of a quadratic");
    assert!(steps.iter().all(|s| !s.name().ends_with(".input")), "no identity layer is needed");
}

#[test]
fn a_planar_network_with_max_pooling_and_half_weights() {
    let mut net = Net::new(&[24, 20], true);
    net.conv("c0", "in", 1, 6, &[5, 3], false);
    net.op("r0", json!("relu"), &["c0"]);
    net.op("p0", json!("max_pool"), &["r0"]);
    net.conv("c1", "p0", 6, 8, &[3, 3], true);
    net.op("r1", json!("relu"), &["c1"]);
    net.up("u0", "r1", 8, 6);
    net.op("cat", json!("concat"), &["r0", "u0"]);
    net.op("r2", json!("relu"), &["cat"]);
    net.conv("head", "r2", 12, 4, &[1, 1], false);
    let steps = net.check("head", 4);
    let planar = |s: &Step| match s {
        Step::Linear(l) => {
            matches!(l.kind, LinearKind::Conv { kernel: [1, ..] } | LinearKind::Transposed2 { factor: [1, 2, 2] })
        }
        Step::MaxPool { window, .. } => *window == [1, 2, 2],
        _ => true,
    };
    assert!(steps.iter().all(planar));
    assert_eq!(
        steps.iter().filter(|s| s.kind() == "relu").count(),
        4,
        "the concatenation's parts are rectified one by one"
    );
}

#[test]
fn comparisons_of_folded_values_get_a_layer_of_their_own() {
    let mut net = Net::new(&[4, 8, 4], false);
    net.conv("c0", "in", 1, 3, &[3, 3, 3], false);
    net.quadratic("q0", "c0", 3);
    net.op("r0", json!("relu"), &["q0"]);
    net.op("p0", json!("avg_pool"), &["r0"]);
    net.op("s0", json!("square"), &["p0"]);
    net.op("cat", json!("concat"), &["s0", "p0"]);
    net.op("m0", json!("max_pool"), &["cat"]);
    net.up("u0", "m0", 6, 3);
    net.up("u1", "u0", 3, 2);
    net.quadratic("q1", "u1", 2);
    net.op("all", json!("concat"), &["q1", "q0"]);
    let steps = net.check("all", 5);
    let added: Vec<&str> = steps.iter().map(Step::name).filter(|n| n.ends_with(".input")).collect();
    assert_eq!(added, ["r0.input", "s0.input", "m0.input", "out.input"]);
}
