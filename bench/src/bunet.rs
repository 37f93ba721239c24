//! BUNET's own table: the network of its appendix, four presets, both parties as two threads of this process.
//!
//! A time is that of the client from its first message to the labels, with keys, base OTs and square pairs made on the
//! way. Every layer is held to what it should compute from its own inputs, with both parties' shares at hand.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use blindvox_engine::{Device, Prng};
use blindvox_models::Program;
use blindvox_protocols::gc::GatePlace;
use blindvox_protocols::infer::local::{self, LocalOutcome};
use blindvox_protocols::infer::report::{LayerReport, StepCost, Total, peak_memory_bytes};
use blindvox_protocols::infer::{Comparison, Observer, Options, Source, sample, trace};
use serde::Serialize;

mod bound;
mod figure;
mod network;

use network::{Activation, Form};

use crate::process;

/// Options of the table.
#[derive(clap::Args)]
pub struct Args {
    /// Whose grid: 64^3 of HVSMR or 200^2 of EM.
    #[arg(long, value_enum, default_value_t = Dataset::Hvsmr)]
    dataset: Dataset,
    /// Which column.
    #[arg(long, value_enum, default_value_t = Choice::All)]
    preset: Choice,
    /// Length of the grid's sides against the paper's, rounded to multiples of 8; channels stay.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// How values are compared; by circuits, as the column has it, unless given.
    #[arg(long, value_enum)]
    comparison: Option<ComparisonChoice>,
    /// What makes oblivious transfers.
    #[arg(long, value_enum, default_value_t)]
    ot: OtChoice,
    /// Where the kernels run.
    #[arg(long, value_enum, default_value_t = BackendChoice::Cpu)]
    backend: BackendChoice,
    /// Where gates are garbled and evaluated.
    #[arg(long, value_enum, default_value_t)]
    garble: GarbleChoice,
    /// Also writes the rows to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draws the time by protocol, as the paper's figure 2.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Prints every layer.
    #[arg(long)]
    layers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Dataset {
    Hvsmr,
    Em,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum BackendChoice {
    Cpu,
    Gpu,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ComparisonChoice {
    SignSelect,
    FullCircuit,
    Transfers,
}

impl From<ComparisonChoice> for Comparison {
    fn from(choice: ComparisonChoice) -> Self {
        match choice {
            ComparisonChoice::SignSelect => Self::SignSelect,
            ComparisonChoice::FullCircuit => Self::FullCircuit,
            ComparisonChoice::Transfers => Self::Transfers,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum OtChoice {
    #[default]
    Softspoken,
    Silent,
}

impl From<OtChoice> for Source {
    fn from(choice: OtChoice) -> Self {
        match choice {
            OtChoice::Softspoken => Self::SoftSpoken,
            OtChoice::Silent => Self::Silent,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum GarbleChoice {
    /// Where it is faster.
    #[default]
    Auto,
    /// On the CPU.
    Cpu,
    /// On the backend's device, also a software one.
    Device,
}

impl From<GarbleChoice> for GatePlace {
    fn from(choice: GarbleChoice) -> Self {
        match choice {
            GarbleChoice::Auto => Self::Auto,
            GarbleChoice::Cpu => Self::Cpu,
            GarbleChoice::Device => Self::Device,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Choice {
    Baseline32,
    Relu16,
    Hybrid,
    Square,
    All,
}

/// A column of the paper's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Preset {
    /// ReLU as one circuit of 32 bits and max pooling.
    Baseline32,
    /// ReLU of 16 bits and average pooling.
    Relu16,
    /// Squares in the first and the last layer batch, ReLU elsewhere.
    Hybrid,
    /// Squares.
    Square,
}

impl Preset {
    const ALL: [Self; 4] = [Self::Baseline32, Self::Relu16, Self::Hybrid, Self::Square];

    fn name(self) -> &'static str {
        match self {
            Self::Baseline32 => "baseline32",
            Self::Relu16 => "relu16",
            Self::Hybrid => "hybrid",
            Self::Square => "square",
        }
    }

    fn form(self, dataset: Dataset) -> Form {
        let relu = |bits| Form {
            outer: Activation::Relu(bits),
            inner: Activation::Relu(bits),
            max_pool: None,
            argmax_bits: 16,
        };
        match self {
            Self::Baseline32 => Form { max_pool: Some(32), argmax_bits: 32, ..relu(32) },
            Self::Relu16 => relu(16),
            // The paper's widths: 20 bits on volumes, 16 on planes.
            Self::Hybrid => Form { outer: Activation::Square, ..relu(if dataset == Dataset::Hvsmr { 20 } else { 16 }) },
            Self::Square => Form { inner: Activation::Square, outer: Activation::Square, ..relu(16) },
        }
    }

    fn comparison(self) -> Comparison {
        if self == Self::Baseline32 { Comparison::FullCircuit } else { Comparison::SignSelect }
    }

    /// Seconds on one thread of the paper's machine.
    fn paper_seconds(self, dataset: Dataset) -> f64 {
        match (dataset, self) {
            (Dataset::Hvsmr, Self::Baseline32) => 42616.0,
            (Dataset::Hvsmr, Self::Relu16) => 14205.0,
            (Dataset::Hvsmr, Self::Hybrid) => 3054.2,
            (Dataset::Hvsmr, Self::Square) => 1118.2,
            (Dataset::Em, Self::Baseline32) => 8838.1,
            (Dataset::Em, Self::Relu16) => 2968.6,
            (Dataset::Em, Self::Hybrid) => 1077.9,
            (Dataset::Em, Self::Square) => 227.16,
        }
    }
}

impl Choice {
    fn presets(self) -> Vec<Preset> {
        match self {
            Self::Baseline32 => vec![Preset::Baseline32],
            Self::Relu16 => vec![Preset::Relu16],
            Self::Hybrid => vec![Preset::Hybrid],
            Self::Square => vec![Preset::Square],
            Self::All => Preset::ALL.to_vec(),
        }
    }
}

/// The grid at a scale: sides halve three times on the way down.
fn grid(dataset: Dataset, scale: f64) -> Result<[usize; 3], String> {
    if !(scale > 0.0 && scale <= 1.0) {
        return Err(format!("--scale {scale}: expected a fraction above 0 and at most 1"));
    }
    let side = |full: f64| ((full * scale / 8.0).round() as usize).max(1) * 8;
    Ok(match dataset {
        Dataset::Hvsmr => [side(64.0); 3],
        Dataset::Em => [1, side(200.0), side(200.0)],
    })
}

#[derive(Serialize)]
struct Layer {
    #[serde(flatten)]
    cost: LayerReport,
    bound_seconds: f64,
}

#[derive(Serialize)]
struct Row {
    dataset: Dataset,
    preset: Preset,
    scale: f64,
    grid: [usize; 3],
    backend: &'static str,
    device: String,
    comparison: &'static str,
    ot: &'static str,
    /// The hash of garbled gates, and where it runs.
    garbling: String,
    seconds: f64,
    bound_seconds: f64,
    paper_seconds: f64,
    bytes_client_to_server: u64,
    bytes_server_to_client: u64,
    rounds: u64,
    peak_memory_bytes: u64,
    /// Time on processors, all threads of both parties.
    cpu_seconds: f64,
    /// That over time and processors.
    utilisation: f64,
    checked_values: usize,
    /// Whether that is all values.
    traced: bool,
    by_protocol: BTreeMap<&'static str, f64>,
    layers: Vec<Layer>,
}

/// The bars of the paper's figure 2, and what comes before them. Square pairs are made as they are used, within SecAct.
fn protocol(kind: &str) -> &'static str {
    match kind {
        "conv" | "conv_transpose" => "HomConv",
        "square" | "relu" => "SecAct",
        "avg_pool" | "max_pool" => "SecPool",
        "argmax" => "SecArgmax",
        _ => "Setup",
    }
}

/// The order of the bars.
const PROTOCOLS: [&str; 5] = ["SecAct", "SecPool", "HomConv", "SecArgmax", "Setup"];

/// Prints layers as they are done, against their bounds in seconds.
struct Progress {
    shown: bool,
    bounds: HashMap<String, f64>,
}

impl Observer for Progress {
    fn end(&mut self, cost: &StepCost) {
        if self.shown {
            let (sent, received) = (cost.traffic.sent as f64 / 1e6, cost.traffic.received as f64 / 1e6);
            let seconds = cost.time.as_secs_f64();
            let over = match self.bounds.get(&cost.name) {
                Some(bound) if *bound > 0.0 => format!("{:>6.2} x the bound", seconds / bound),
                _ => String::new(),
            };
            eprintln!(
                "  {:<12} {:<14} {seconds:>9.3} s {sent:>10.1} MB up {received:>10.1} MB down {over}",
                cost.name, cost.kind
            );
        }
    }
}

/// Voxels of each layer that are checked, with all channels.
const SAMPLES: usize = 24;
/// Up to this many elements of all tensors every value is checked, from a trace that holds them all.
const TRACED: usize = 1 << 24;

fn elements(program: &Program) -> usize {
    program.tensors.iter().map(|t| t.elements()).sum()
}

fn measure(preset: Preset, args: &Args, device: &Device) -> Result<Row, Box<dyn Error>> {
    let grid = grid(args.dataset, args.scale)?;
    // The model and the volume are nobody's secret: fixed seeds make runs alike.
    let mut prng = Prng::from_seed_for_tests([preset as u8; 32]);
    let program = Arc::new(network::build(preset.form(args.dataset), grid, &mut prng));
    let input = network::volume(&program, &mut prng);
    let mut options = Options::new(device.clone());
    options.ways.compare = args.comparison.map_or_else(|| preset.comparison(), Comparison::from);
    options.ways.ot = args.ot.into();
    options.gate_place = args.garble.into();
    options.samples = SAMPLES;
    options.trace = elements(&program) <= TRACED;

    process::reset_peak_memory();
    let (start, busy) = (Instant::now(), process::cpu_seconds());
    let bounds = bound::seconds(&program, options.ways.compare)?;
    let mut observer = Progress { shown: args.layers, bounds };
    let outcome = local::run(program.clone(), &input, &options, &mut observer)?;
    let (seconds, busy) = (start.elapsed().as_secs_f64(), process::cpu_seconds() - busy);
    let peak = peak_memory_bytes().unwrap_or(0);
    let checked = check(&program, &outcome)?;

    let costs: Vec<&StepCost> = outcome.client.preparation.iter().chain(&outcome.client.steps).collect();
    let total = Total::of_client(costs.iter().copied());
    let bounds = observer.bounds;
    let layers: Vec<Layer> = costs
        .iter()
        .map(|cost| Layer {
            cost: LayerReport::of_client(cost),
            bound_seconds: bounds.get(&cost.name).copied().unwrap_or(0.0),
        })
        .collect();
    let mut by_protocol: BTreeMap<&str, f64> = PROTOCOLS.into_iter().map(|p| (p, 0.0)).collect();
    for layer in &layers {
        *by_protocol.entry(protocol(layer.cost.kind)).or_default() += layer.cost.seconds;
    }
    Ok(Row {
        dataset: args.dataset,
        preset,
        scale: args.scale,
        grid,
        backend: if args.backend == BackendChoice::Cpu { "cpu" } else { "gpu" },
        device: device.describe(),
        comparison: options.ways.compare.name(),
        ot: options.ways.ot.name(),
        garbling: options.garbling().to_string(),
        seconds,
        bound_seconds: layers.iter().map(|l| l.bound_seconds).sum(),
        paper_seconds: preset.paper_seconds(args.dataset),
        bytes_client_to_server: total.bytes_client_to_server,
        bytes_server_to_client: total.bytes_server_to_client,
        rounds: total.rounds,
        peak_memory_bytes: peak,
        cpu_seconds: busy,
        utilisation: busy / (seconds * process::cores() as f64),
        checked_values: checked,
        traced: outcome.client.trace.is_some(),
        by_protocol,
        layers,
    })
}

/// Holds every step to its bound; gives the number of values checked.
fn check(program: &Program, outcome: &LocalOutcome) -> Result<usize, Box<dyn Error>> {
    let labels = outcome.client.labels.as_ref().ok_or("the client has no labels")?;
    let (client, server) = (&outcome.client, &outcome.server);
    let (Some(samples), Some(others)) = (&client.samples, &server.samples) else {
        return Err("the run was not sampled".into());
    };
    let mut checks = sample::check(program, samples, others, labels)?;
    if let (Some(trace), Some(other)) = (&client.trace, &server.trace) {
        checks = [checks, trace::check(program, trace, other)?].concat();
        if *labels != trace::labels(program, trace, other)? {
            return Err("labels are not those of the scores".into());
        }
    }
    match checks.iter().find(|check| !check.holds()) {
        Some(wrong) => Err(format!("a wrong result: {wrong:?}").into()),
        None => Ok(checks.iter().map(|c| c.elements).sum()),
    }
}

/// Prints the table.
pub fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let device = match args.backend {
        BackendChoice::Cpu => Device::cpu(),
        BackendChoice::Gpu => Device::gpu()?,
    };
    let [d, h, w] = grid(args.dataset, args.scale)?;
    let full = grid(args.dataset, 1.0)?;
    println!(
        "BUNET's network, {}x{}x{} of its {}x{}x{} voxels, 64 to 512 channels",
        d, h, w, full[0], full[1], full[2]
    );
    println!("weights and volume are random: only time, memory and traffic mean anything");
    println!("both parties in this process, {} cores, {}", process::cores(), device.describe());
    let scaled = [d, h, w] != full;
    if scaled {
        let part = (d * h * w) as f64 / full.iter().product::<usize>() as f64;
        println!("the paper's seconds are for the full grid; this one has {part:.5} of its voxels");
    }
    println!();
    println!(
        "{:<11} {:>9} {:>9} {:>9} {:>9} {:>10} {:>10} {:>8} {:>9} {:>8} {:>5}",
        "preset", "paper s", "ours s", "ratio", "bound s", "up MB", "down MB", "rounds", "peak MiB", "cpu s", "busy"
    );
    let mut rows = Vec::new();
    for preset in args.preset.presets() {
        let row = measure(preset, &args, &device)?;
        let ratio = if scaled { "-".to_owned() } else { format!("{:.1}", row.paper_seconds / row.seconds) };
        println!(
            "{:<11} {:>9.1} {:>9.2} {ratio:>9} {:>9.2} {:>10.1} {:>10.1} {:>8} {:>9} {:>8.2} {:>4.0}%",
            preset.name(),
            row.paper_seconds,
            row.seconds,
            row.bound_seconds,
            row.bytes_client_to_server as f64 / 1e6,
            row.bytes_server_to_client as f64 / 1e6,
            row.rounds,
            row.peak_memory_bytes >> 20,
            row.cpu_seconds,
            100.0 * row.utilisation
        );
        rows.push(row);
    }
    println!("\nseconds by protocol");
    println!("{:<11} {}", "preset", PROTOCOLS.map(|p| format!("{p:>12}")).concat());
    for row in &rows {
        println!("{:<11} {}", row.preset.name(), PROTOCOLS.map(|p| format!("{:>12.2}", row.by_protocol[p])).concat());
    }
    print_gaps(&rows);
    for row in &rows {
        println!(
            "{}: {} values checked, {} of every layer; comparisons: {}; gates: {}",
            row.preset.name(),
            row.checked_values,
            if row.traced { "all" } else { "samples" },
            row.comparison,
            row.garbling
        );
        if args.backend == BackendChoice::Gpu {
            println!(
                "{}: on the CPU ran sampling, expansion of seeds, packing, oblivious transfer, sharing, and gates as said; {:.0} % of \
                 its cores' time",
                row.preset.name(),
                100.0 * row.utilisation
            );
        }
    }
    let write =
        |path: &PathBuf, text: String| std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()));
    if let Some(path) = &args.json {
        write(path, serde_json::to_string_pretty(&rows)?)?;
    }
    if let Some(path) = &args.svg {
        write(path, figure::svg(&rows))?;
    }
    Ok(())
}

/// Where the most time lies above the predicted bound.
fn print_gaps(rows: &[Row]) {
    println!("\nlargest gaps between measured and bound");
    for row in rows {
        let mut layers: Vec<&Layer> = row.layers.iter().collect();
        let gap = |l: &Layer| l.cost.seconds - l.bound_seconds;
        layers.sort_by(|a, b| gap(b).total_cmp(&gap(a)));
        for layer in layers.iter().take(5) {
            println!(
                "{:<11} {:<13} {:<14} {:>9.3} s, bound {:>8.3} s",
                row.preset.name(),
                layer.cost.name,
                layer.cost.kind,
                layer.cost.seconds,
                layer.bound_seconds
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_can_be_halved_three_times() {
        assert_eq!(grid(Dataset::Hvsmr, 1.0), Ok([64; 3]));
        assert_eq!(grid(Dataset::Em, 1.0), Ok([1, 200, 200]));
        assert_eq!(grid(Dataset::Hvsmr, 0.25), Ok([16; 3]));
        assert_eq!(grid(Dataset::Em, 0.5), Ok([1, 104, 104]));
        assert_eq!(grid(Dataset::Hvsmr, 0.01), Ok([8; 3]));
        assert!(grid(Dataset::Hvsmr, 0.0).is_err() && grid(Dataset::Hvsmr, 1.5).is_err());
    }
}
