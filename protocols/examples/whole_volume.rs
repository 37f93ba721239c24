//! A narrow 3D U-Net (4, 8 and 16 channels, one convolution a block, random weights) on a whole volume in one pass, both
//! parties in this process: time, bytes and memory, with every step held to its definition at sampled voxels.
//!
//!     cargo run --release -p blindvox-protocols --example whole_volume -- 256

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use blindvox_engine::Device;
use blindvox_models::format::bundle::MODEL_FILE;
use blindvox_models::integers::quantize::quantize_input;
use blindvox_models::testing::{Net, Numbers, Written};
use blindvox_protocols::infer::report::{StepCost, peak_memory_bytes};
use blindvox_protocols::infer::{Observer, Options, local, sample};
use serde_json::{Value, json};

/// Voxels of each step whose shares are opened and recomputed.
const SAMPLES: usize = 200;

/// Says what is done.
struct Told;

impl Observer for Told {
    fn end(&mut self, cost: &StepCost) {
        let bytes = cost.traffic.sent + cost.traffic.received;
        println!(
            "{:<10} {:<14} {:>8.1} s {:>8.2} GB",
            cost.name,
            cost.kind,
            cost.time.as_secs_f64(),
            bytes as f64 / 1e9
        );
    }
}

fn block(net: &mut Net, name: &str, input: &str, [ci, co]: [usize; 2]) {
    let conv = format!("{name}.conv");
    net.conv(&conv, input, [ci, co], &[3, 3, 3], true);
    net.op(name, json!("relu"), &[&conv]);
}

fn network() -> Written {
    let mut net = Net::new(&[32, 32, 32], false, 7);
    block(&mut net, "enc.0", "in", [1, 4]);
    net.op("pool.0", json!("avg_pool"), &["enc.0"]);
    block(&mut net, "enc.1", "pool.0", [4, 8]);
    net.op("pool.1", json!("avg_pool"), &["enc.1"]);
    block(&mut net, "mid", "pool.1", [8, 16]);
    net.up("up.1", "mid", 16, 8);
    net.op("cat.1", json!("concat"), &["enc.1", "up.1"]);
    block(&mut net, "dec.1", "cat.1", [16, 8]);
    net.up("up.0", "dec.1", 8, 4);
    net.op("cat.0", json!("concat"), &["enc.0", "up.0"]);
    block(&mut net, "dec.0", "cat.0", [8, 4]);
    net.conv("head", "dec.0", [4, 3], &[1, 1, 1], false);
    net.write("head", 3, 2)
}

fn main() -> Result<(), Box<dyn Error>> {
    let side: usize = std::env::args().nth(1).as_deref().unwrap_or("64").parse()?;
    let written = network();
    let path = written.directory.path().join(MODEL_FILE);
    let mut model: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    model["preparation"] = json!({"orientation": "RAS", "normalise": "z_score", "divisor": [4, 4, 4]});
    std::fs::write(&path, model.to_string())?;
    let program = Arc::new(written.calibrate().program_for([side; 3])?);
    let mut numbers = Numbers(3);
    let values: Vec<f32> = (0..side.pow(3)).map(|_| 1.7 * numbers.draw()).collect();
    let input = quantize_input(&values, &program.tensors[program.input]);
    drop(values);

    let options = Options { samples: SAMPLES, ..Options::new(Device::cpu()) };
    let start = Instant::now();
    let run = local::run(program.clone(), &input, &options, &mut Told)?;
    let seconds = start.elapsed().as_secs_f64();
    let (Some(labels), Some(client), Some(server)) = (run.client.labels, run.client.samples, run.server.samples) else {
        return Err("no labels or samples".into());
    };
    let checks = sample::check(&program, &client, &server, &labels)?;
    let wrong: Vec<_> = checks.iter().filter(|c| !c.holds()).map(|c| &c.name).collect();
    let total: u64 = run.client.steps.iter().map(|s| s.traffic.sent + s.traffic.received).sum();
    let memory = peak_memory_bytes().map_or(f64::NAN, |b| b as f64 / f64::from(1 << 30));
    println!(
        "{side}^3 voxels, {} multiply-adds: {seconds:.0} s, {:.1} GB online, {memory:.2} GiB at the peak for both parties",
        program.multiply_adds(),
        total as f64 / 1e9
    );
    println!(
        "{} steps at {SAMPLES} voxels each against their definitions: {} wrong {wrong:?}",
        checks.len(),
        wrong.len()
    );
    if wrong.is_empty() { Ok(()) } else { Err("a step is wrong".into()) }
}
