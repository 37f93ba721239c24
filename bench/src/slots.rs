//! Networks wholly under CKKS beside what the papers print: CryptoUNets' U-Net, and the convolutional networks of "HE in
//! Medical Imaging" (Imagia).
//!
//! Both parties run in this process. Seconds are those of the service's evaluation, transfers in this process included,
//! of the fastest of the runs; keys are made and sent before. Scores are compared with the float network's: an error of
//! more than a fiftieth of their root mean square ends the table.

use std::error::Error;
use std::path::{Path, PathBuf};

use blindvox_engine::Device;
use blindvox_models::Bundle;
use blindvox_models::data::npy::Array;
use blindvox_models::plain::float;
use blindvox_protocols::infer::Randomness;
use blindvox_protocols::infer::report::peak_memory_bytes;
use blindvox_protocols::infer::slots::{Choice, Model, Models, Outcome, Source, local};
use serde::Serialize;

type Done<T> = Result<T, Box<dyn Error>>;

/// Options of both tables.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Sets of parameters.
    #[arg(long, value_delimiter = ',', default_value = "fast")]
    preset: Vec<String>,
    /// Inputs of a run.
    #[arg(long, default_value_t = 1)]
    inputs: usize,
    /// Runs; the fastest counts.
    #[arg(long, default_value_t = 2)]
    runs: usize,
    /// Also writes the rows to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// A network of a table.
struct Net {
    system: &'static str,
    model: &'static str,
    input: &'static str,
    /// What the paper prints, on two Xeon E5-2650 v4, 24 cores.
    paper_seconds: Option<f64>,
}

/// A row.
#[derive(Serialize)]
struct Row {
    system: &'static str,
    preset: String,
    net: &'static str,
    n: usize,
    inputs: usize,
    threads: usize,
    seconds: f64,
    setup_seconds: f64,
    paper_seconds: Option<f64>,
    keys_bytes: usize,
    input_bytes: usize,
    reply_bytes: usize,
    peak_memory_bytes: Option<u64>,
    max_error: f64,
    label_agreement: f64,
    accuracy: Option<f64>,
    checked: bool,
}

/// CryptoUNets.
pub(crate) fn cryptounets(args: &Args) -> Done<()> {
    println!("CryptoUNets prints no time that is known to us; the network here is a U-Net of its kind, 64x64.");
    let nets = [Net { system: "cryptounets", model: "mni_unet1s", input: "mni_slices", paper_seconds: None }];
    table(&nets, args)
}

/// Imagia.
pub(crate) fn imagia(args: &Args) -> Done<()> {
    println!(
        "Imagia prints 22 and 180 minutes an image, on 24 cores; widths of its layers are not known, ours are 16-32-64."
    );
    let net = |model, minutes: f64| Net {
        system: "imagia",
        model,
        input: "synthetic112",
        paper_seconds: Some(60.0 * minutes),
    };
    table(&[net("pneumonia_cnn2", 22.0), net("pneumonia_cnn3", 180.0)], args)
}

fn demo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo").join(path)
}

fn table(nets: &[Net], args: &Args) -> Done<()> {
    println!(
        "{:<16} {:<9} {:>6} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9} {:>10} {:>8}",
        "net", "preset", "n", "seconds", "setup s", "paper s", "keys MB", "input MB", "reply MB", "max error", "labels"
    );
    let mut rows = Vec::new();
    for net in nets {
        for preset in &args.preset {
            let row = measure(net, preset, args)?;
            let mega = |bytes: usize| bytes as f64 / 1e6;
            println!(
                "{:<16} {:<9} {:>6} {:>8.3} {:>8.2} {:>9} {:>9.1} {:>9.2} {:>9.2} {:>10.2e} {:>7.3}%",
                row.net,
                row.preset,
                row.n,
                row.seconds,
                row.setup_seconds,
                row.paper_seconds.map_or_else(|| "-".to_owned(), |s| format!("{s:.0}")),
                mega(row.keys_bytes),
                mega(row.input_bytes),
                mega(row.reply_bytes),
                row.max_error,
                100.0 * row.label_agreement
            );
            rows.push(row);
        }
    }
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&rows)?)?;
    }
    Ok(())
}

fn measure(net: &Net, preset: &str, args: &Args) -> Done<Row> {
    let bundle = Bundle::load(&demo(&format!("models/{}", net.model)))?;
    let network = bundle.network()?;
    let ckks = bundle.ckks.as_ref().ok_or("a bundle without a ckks section")?;
    let clamp = bundle.preparation.clamp;
    let source = Source { name: &bundle.name, classes: &bundle.classes, network: &network, ckks, clamp };
    let model = Model::new(&source, preset)?;
    let n = model.params().n();
    let models = Models::new([model]);
    let array = Array::load(&demo(&format!("images/{}.npy", net.input)))?;
    let images: Vec<&[f32]> = array.values.chunks(bundle.input_shape().elements()).take(args.inputs).collect();
    let choice = Choice { device: Device::cpu(), randomness: Randomness::System };
    let mut best: Option<(f64, Outcome)> = None;
    for _ in 0..args.runs.max(1) {
        let outcome = local::run(&models, preset, &images, &choice, |_| {})?.client;
        let evaluation = outcome.online.iter().filter(|cost| cost.kind == "online");
        let seconds = evaluation.map(|cost| cost.time.as_secs_f64()).sum();
        if best.as_ref().is_none_or(|(least, _)| seconds < *least) {
            best = Some((seconds, outcome));
        }
    }
    let (seconds, outcome) = best.ok_or("no run")?;
    let (mut max_error, mut squares, mut agree, mut voxels) = (0.0f64, 0.0, 0, 0);
    for (image, scores) in images.iter().zip(&outcome.scores) {
        let float = float::run(&network, image);
        let errors = scores.values.iter().zip(&float.logits).map(|(a, b)| (a - f64::from(*b)).abs());
        max_error = errors.fold(max_error, f64::max);
        squares += float.logits.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / float.logits.len() as f64;
        let each = float.labels.len();
        let best = |v: usize| {
            let score = |c: usize| scores.values[c * each + v];
            (1..bundle.classes.len()).fold(0, |best, c| if score(c) > score(best) { c } else { best })
        };
        agree += float.labels.iter().enumerate().filter(|(v, label)| best(*v) == usize::from(**label)).count();
        voxels += each;
    }
    let rms = (squares / images.len() as f64).sqrt();
    if max_error.is_nan() || max_error > rms / 50.0 {
        return Err(format!("{}, {preset}: scores are off by {max_error}, their rms is {rms}", net.model).into());
    }
    let [keys_bytes, input_bytes, reply_bytes] = outcome.bytes;
    Ok(Row {
        system: net.system,
        preset: preset.to_owned(),
        net: net.model,
        n,
        inputs: images.len(),
        threads: rayon::current_num_threads(),
        seconds,
        setup_seconds: outcome.setup.iter().map(|cost| cost.time.as_secs_f64()).sum(),
        paper_seconds: net.paper_seconds,
        keys_bytes,
        input_bytes,
        reply_bytes,
        peak_memory_bytes: peak_memory_bytes(),
        max_error,
        label_agreement: agree as f64 / voxels as f64,
        accuracy: None,
        checked: true,
    })
}
