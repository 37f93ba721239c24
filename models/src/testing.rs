//! Small networks with random weights, as bundles in temporary directories.

use std::path::PathBuf;

use crate::data::nifti::{Header, Volume};
use crate::format::bundle::{MODEL_FILE, WEIGHTS_FILE};
use crate::integers::quantize::quantize_input;
use crate::{Bundle, Program, Result, calibrate};
use half::f16;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Numbers in -1..1 that look random, from a counter.
pub struct Numbers(pub u64);

impl Numbers {
    /// The next one.
    pub fn draw(&mut self) -> f32 {
        self.0 += 1;
        let mixed = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// A graph and its weights in the making.
pub struct Net {
    nodes: Vec<Value>,
    header: serde_json::Map<String, Value>,
    data: Vec<u8>,
    numbers: Numbers,
    planar: bool,
    half: bool,
    /// Of a row, where there is no grid.
    features: Option<usize>,
}

impl Net {
    /// A network on a grid `[D, H, W]` or `[H, W]`, with weights in f16 where `half`, random from `seed`.
    pub fn new(dims: &[usize], half: bool, seed: u64) -> Self {
        let input = json!({"name": "in", "op": {"input": {"channels": 1, "dims": dims}}});
        let planar = dims.len() == 2;
        let (header, data, numbers) = (Default::default(), Vec::new(), Numbers(seed));
        Self { nodes: vec![input], header, data, numbers, planar, half, features: None }
    }

    /// A network on rows of a table, with columns `f0`, `f1`, ...
    pub fn of_rows(features: usize, seed: u64) -> Self {
        let input = json!({"name": "in", "op": {"input": {"features": features}}});
        Self { nodes: vec![input], features: Some(features), ..Self::new(&[1, 1, 1], false, seed) }
    }

    /// Random values of deviation about `size` around `centre`.
    pub fn tensor(&mut self, name: &str, shape: &[usize], centre: f32, size: f32) -> String {
        let from = self.data.len();
        for _ in 0..shape.iter().product::<usize>() {
            let value = centre + 1.7 * size * self.numbers.draw();
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

    /// Multiplies `count` values of an f32 tensor, from the first on, in every stretch of `stride`.
    pub fn scale(&mut self, name: &str, first: usize, count: usize, stride: usize, by: f32) {
        let [from, to] = [0, 1].map(|i| self.header[name]["data_offsets"][i].as_u64().expect("an offset") as usize);
        for (at, bytes) in self.data[from..to].as_chunks_mut::<4>().0.iter_mut().enumerate() {
            if (first..first + count).contains(&(at % stride)) {
                *bytes = (by * f32::from_le_bytes(*bytes)).to_le_bytes();
            }
        }
    }

    /// Any node.
    pub fn op(&mut self, name: &str, op: Value, inputs: &[&str]) {
        self.nodes.push(json!({"name": name, "op": op, "inputs": inputs}));
    }

    /// A convolution with bias, of so many input and output channels, and a normalisation where `norm`.
    pub fn conv(&mut self, name: &str, input: &str, [ci, co]: [usize; 2], kernel: &[usize], norm: bool) {
        let size = (ci * kernel.iter().product::<usize>()) as f32;
        let weight = self.tensor(&format!("{name}.w"), &[&[co, ci], kernel].concat(), 0.0, size.powf(-0.5));
        let bias = self.tensor(&format!("{name}.b"), &[co], 0.0, 0.2);
        let mut op = json!({"out_channels": co, "kernel": kernel, "weight": weight, "bias": bias});
        if norm {
            op["batch_norm"] = self.norm(name, co);
        }
        self.op(name, json!({"conv": op}), &[input]);
    }

    fn norm(&mut self, name: &str, channels: usize) -> Value {
        let mut vector = |part: &str, centre| self.tensor(&format!("{name}.{part}"), &[channels], centre, 0.2);
        json!({"gamma": vector("g", 1.0), "beta": vector("be", 0.0), "mean": vector("m", 0.0), "var": vector("v", 1.0),
            "eps": 1e-5})
    }

    /// A transposed convolution.
    pub fn up(&mut self, name: &str, input: &str, ci: usize, co: usize) {
        let taps: &[usize] = if self.planar { &[2, 2] } else { &[2, 2, 2] };
        let weight = self.tensor(&format!("{name}.w"), &[&[ci, co], taps].concat(), 0.0, (ci as f32).powf(-0.5));
        self.op(name, json!({"conv_transpose": {"out_channels": co, "weight": weight}}), &[input]);
    }

    /// A dense layer with bias, and a normalisation where `norm`.
    pub fn dense(&mut self, name: &str, input: &str, ci: usize, co: usize, norm: bool) {
        let weight = self.tensor(&format!("{name}.w"), &[co, ci], 0.0, (ci as f32).powf(-0.5));
        let bias = self.tensor(&format!("{name}.b"), &[co], 0.0, 0.2);
        let mut op = json!({"out_features": co, "weight": weight, "bias": bias});
        if norm {
            op["batch_norm"] = self.norm(name, co);
        }
        self.op(name, json!({"dense": op}), &[input]);
    }

    /// Sets a field of the last node's operation.
    pub fn with(&mut self, field: &str, value: Value) {
        let op =
            self.nodes.last_mut().and_then(|node| node["op"].as_object_mut()).and_then(|op| op.values_mut().next());
        op.expect("an operation with fields")[field] = value;
    }

    /// A quadratic activation with coefficients of its own a channel.
    pub fn quadratic(&mut self, name: &str, input: &str, channels: usize) {
        let [a, b, c] = [("a", 0.3), ("b", 0.8), ("c", 0.6)]
            .map(|(part, centre)| self.tensor(&format!("{name}.{part}"), &[channels], centre, 0.2));
        self.op(name, json!({"quadratic": {"a": a, "b": b, "c": c}}), &[input]);
    }

    /// Forty random rows, columns in the other order and one more between them.
    fn table(&mut self, path: &std::path::Path) -> PathBuf {
        let features = self.features.unwrap_or(0);
        let names: Vec<String> = (0..features).rev().map(|f| format!("f{f}")).collect();
        let mut text = format!("{},note\n", names.join(","));
        for row in 0..40 {
            let values: Vec<String> = (0..features).map(|_| (3.0 * self.numbers.draw()).to_string()).collect();
            text += &format!("{},row {row}\n", values.join(","));
        }
        std::fs::write(path, text).expect("a write");
        path.to_owned()
    }

    /// Writes the bundle, without scales, and `count` random volumes of its grid, or tables.
    pub fn write(mut self, scores: &str, classes: usize, count: usize) -> Written {
        self.op("out", json!("argmax"), &[scores]);
        let dims: Option<Vec<usize>> = serde_json::from_value(self.nodes[0]["op"]["input"]["dims"].clone()).ok();
        let preparation = match (&dims, self.features) {
            (Some(dims), _) => {
                json!({"orientation": "RAS", "normalise": "z_score", "pad_to": dims, "crop": vec![0; dims.len()]})
            }
            (None, features) => {
                let column = |f: usize| json!({"name": format!("f{f}"), "mean": 0.5, "std": 2.0});
                json!({"table": {"columns": (0..features.unwrap_or(0)).map(column).collect::<Vec<_>>(), "clip": [-4.0, 4.0]}})
            }
        };
        let names: Vec<String> = (0..classes).map(|c| format!("class {c}")).collect();
        let model = json!({
            "name": "random", "classes": names, "graph": {"version": 2, "nodes": self.nodes},
            "preparation": preparation,
            "quantization": {"weight_bits": 12, "relu_bits": 16, "argmax_bits": 24, "spare_bits": 2},
        });
        let directory = tempfile::tempdir().expect("a directory");
        let header = serde_json::to_vec(&self.header).expect("JSON");
        let weights = [&(header.len() as u64).to_le_bytes()[..], &header, &self.data].concat();
        std::fs::write(directory.path().join(MODEL_FILE), model.to_string()).expect("a write");
        std::fs::write(directory.path().join(WEIGHTS_FILE), weights).expect("a write");

        let Some(dims) = dims else {
            let tables = (0..count).map(|t| self.table(&directory.path().join(format!("{t}.csv")))).collect();
            return Written { directory, volumes: tables };
        };
        let grid = if self.planar { [dims[0], dims[1], 1] } else { [dims[0], dims[1], dims[2]] };
        let volumes: Vec<PathBuf> = (0..count).map(|v| directory.path().join(format!("{v}.nii.gz"))).collect();
        for path in &volumes {
            let data = (0..grid.iter().product()).map(|_| self.numbers.draw().into()).collect();
            Volume { dims: grid, data, header: Header::new(grid, 1.5) }.save(path).expect("a write");
        }
        Written { directory, volumes }
    }
}

/// A bundle in a directory of its own, and volumes of its grid, or tables.
pub struct Written {
    /// Removed when dropped.
    pub directory: TempDir,
    /// In the same directory.
    pub volumes: Vec<PathBuf>,
}

impl Written {
    /// Calibrates the bundle on all volumes but the last, and saves its scales.
    pub fn calibrate(&self) -> Bundle {
        self.try_calibrate().expect("a calibration")
    }

    /// As [`Self::calibrate`]; [`Error::Model`](crate::Error::Model) for weights that have no scales.
    pub fn try_calibrate(&self) -> Result<Bundle> {
        let mut bundle = Bundle::load(self.directory.path()).expect("a well-formed bundle");
        let known = self.volumes.len().max(2) - 1;
        calibrate(&mut bundle, &self.volumes[..known.min(self.volumes.len())])?;
        bundle.save_model().expect("a write");
        Ok(Bundle::load(self.directory.path()).expect("what was saved"))
    }

    /// The calibrated program and the last volume, or the first row of the last table, as its input.
    pub fn program(&self) -> (Program, Vec<i32>) {
        self.try_program().expect("a calibration")
    }

    /// As [`Self::program`]; [`Error::Model`](crate::Error::Model) for weights that have no scales.
    pub fn try_program(&self) -> Result<(Program, Vec<i32>)> {
        let bundle = self.try_calibrate()?;
        let program = bundle.program().expect("a calibrated bundle");
        let path = self.volumes.last().expect("a volume");
        let inputs = bundle.inputs(path).expect("its own file");
        let integers = quantize_input(&inputs.values[0], &program.tensors[program.input]);
        Ok((program, integers))
    }
}

/// The smallest network with a layer of every kind but a quadratic, on 8x8x8 voxels: 2 channels, 3 labels.
pub fn tiny() -> Written {
    let mut net = Net::new(&[8, 8, 8], false, 3);
    net.conv("enc.0", "in", [1, 2], &[3, 3, 3], false);
    net.op("enc.square", json!("square"), &["enc.0"]);
    net.op("pool.max", json!("max_pool"), &["enc.square"]);
    net.conv("mid.0", "pool.max", [2, 2], &[3, 3, 3], true);
    net.op("mid.relu", json!("relu"), &["mid.0"]);
    net.op("pool.avg", json!("avg_pool"), &["mid.relu"]);
    net.up("up.1", "pool.avg", 2, 2);
    net.op("cat.1", json!("concat"), &["mid.relu", "up.1"]);
    net.up("up.0", "cat.1", 4, 2);
    net.op("cat.0", json!("concat"), &["enc.square", "up.0"]);
    net.conv("head", "cat.0", [4, 3], &[1, 1, 1], false);
    net.write("head", 3, 3)
}

/// The same in the plane, on 16x8 pixels.
pub fn tiny_planar() -> Written {
    let mut net = Net::new(&[16, 8], true, 5);
    net.conv("enc.0", "in", [1, 2], &[3, 3], false);
    net.op("enc.relu", json!("relu"), &["enc.0"]);
    net.op("pool", json!("avg_pool"), &["enc.relu"]);
    net.conv("mid.0", "pool", [2, 2], &[3, 3], true);
    net.op("mid.square", json!("square"), &["mid.0"]);
    net.up("up", "mid.square", 2, 2);
    net.op("cat", json!("concat"), &["enc.relu", "up"]);
    net.conv("head", "cat", [4, 2], &[1, 1], false);
    net.write("head", 2, 3)
}

/// A classifier of planes of 12x8 pixels, 3 classes: windows of their own, flattened, dense layers.
pub fn tiny_classifier() -> Written {
    let mut net = Net::new(&[12, 8], false, 11);
    net.conv("conv", "in", [1, 3], &[3, 3], true);
    net.op("conv.relu", json!("relu"), &["conv"]);
    net.op("pool", json!({"avg_pool": {"window": [3, 2]}}), &["conv.relu"]);
    net.op("flat", json!("flatten"), &["pool"]);
    net.dense("dense.0", "flat", 3 * 4 * 4, 5, true);
    net.op("dense.0.square", json!("square"), &["dense.0"]);
    net.dense("dense.1", "dense.0.square", 5, 3, false);
    net.write("dense.1", 3, 3)
}

/// The same for volumes of 6x8x4 voxels: skips, a mean over the whole grid, whose size is no power of two, and an
/// activation by name.
pub fn tiny_volume_classifier() -> Written {
    let mut net = Net::new(&[6, 8, 4], false, 12);
    net.conv("conv", "in", [1, 2], &[3, 3, 3], false);
    net.op("conv.square", json!("square"), &["conv"]);
    net.op("pool", json!({"max_pool": {"window": [2, 4, 1]}}), &["conv.square"]);
    net.op("pool.relu", json!({"activation": {"function": "relu"}}), &["pool"]);
    net.op("cat", json!("concat"), &["pool.relu", "pool"]);
    net.op("mean", json!("global_avg_pool"), &["cat"]);
    net.op("flat", json!("flatten"), &["pool"]);
    net.op("all", json!("concat"), &["mean", "flat"]);
    net.dense("dense", "all", 4 + 2 * 24, 2, false);
    net.write("dense", 2, 3)
}

/// A classifier of rows of 7 numbers, 3 classes.
pub fn tiny_rows() -> Written {
    let mut net = Net::of_rows(7, 13);
    net.dense("dense.0", "in", 7, 6, true);
    net.op("dense.0.relu", json!("relu"), &["dense.0"]);
    net.dense("dense.1", "dense.0.relu", 6, 3, false);
    net.write("dense.1", 3, 3)
}
