//! CryptMed's networks with a dealer, client, server and dealer in this process, each cell checked against the integers,
//! beside the paper's tables 6 to 8.
//!
//! Times are of one run on a local channel, from the client's first message to its answer, after one that warms up; the
//! dealer's work is in them. The paper counts neither the bytes nor the time of its dealer.

mod network;
mod paper;

use std::error::Error;
use std::path::PathBuf;

use blindvox_engine::Prng;
use blindvox_models::{Program, Rounding, Step, plain};
use blindvox_protocols::cryptmed::local::local;
use blindvox_protocols::cryptmed::plan::{Plan, Preset, Reveal, SCORE_BITS, Terms};
use blindvox_protocols::cryptmed::session::Answer;
use serde::Serialize;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Options of the table.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Networks.
    #[arg(long, value_delimiter = ',', default_value = "all")]
    net: Vec<String>,
    /// Activations.
    #[arg(long, value_delimiter = ',', default_value = "all")]
    activation: Vec<String>,
    /// Presets with a dealer: one opening, or activations as published.
    #[arg(long, value_delimiter = ',', default_value = "dealer")]
    preset: Vec<Form>,
    /// Rows of a run.
    #[arg(long, default_value_t = 1)]
    rows: usize,
    /// Runs that are timed; the fastest counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// What the client learns. The paper's learns the scores; exact rounding hides what they would tell beyond.
    #[arg(long, value_enum, default_value_t = Learns::Labels)]
    reveal: Learns,
    /// Also writes the rows to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Learns {
    Labels,
    Scores,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Dealer,
    Paper,
}

impl Form {
    fn name(self) -> &'static str {
        if self == Self::Dealer { "dealer" } else { "paper" }
    }
}

/// A cell.
#[derive(Serialize)]
struct Row {
    net: String,
    activation: String,
    preset: &'static str,
    reveal: &'static str,
    rows: usize,
    threads: usize,
    seconds: f64,
    paper_seconds: Option<f64>,
    speedup: Option<f64>,
    bytes: Bytes,
    paper_bytes: Option<f64>,
    formula_bytes: Option<f64>,
    paper_preprocessing_bytes: f64,
    flights: usize,
    checked: bool,
}

/// Of a run, but for the model's, which are of a session.
#[derive(Serialize)]
struct Bytes {
    online: u64,
    preprocessing: u64,
    dealer: u64,
    model: u64,
}

/// Prints the table.
pub(crate) fn run(args: Args) -> Outcome<()> {
    let pick = |wanted: &[String], all: &[&str]| -> Outcome<Vec<String>> {
        if wanted.iter().any(|w| w == "all") {
            return Ok(all.iter().map(|&n| n.to_owned()).collect());
        }
        match wanted.iter().find(|w| !all.contains(&w.as_str())) {
            Some(unknown) => Err(format!("found {unknown:?}, expected all or some of {}", all.join(", ")).into()),
            None => Ok(wanted.to_vec()),
        }
    };
    let (nets, activations) = (pick(&args.net, &paper::NETS)?, pick(&args.activation, &paper::ACTIVATIONS)?);
    let heading = ["ms", "paper", "times", "online", "paper", "times", "ahead", "dealer", "model", "flights"];
    let [ms, paper, times, online, papers, fewer, ahead, dealer, model, flights] = heading;
    println!(
        "{:9} {:15} {:6} | {ms:>10} {paper:>9} {times:>8} | {online:>11} {papers:>11} {fewer:>7} | {ahead:>10} {dealer:>11} {model:>11} {flights:>7}",
        "network", "activation", "preset"
    );
    let mut rows = Vec::new();
    for net in &nets {
        for (activation, &form) in activations.iter().flat_map(|a| args.preset.iter().map(move |form| (a, form))) {
            let row = cell(&args, net, activation, form)?;
            println!(
                "{net:9} {activation:15} {:6} | {:10.3} {:9.0} {:8.0} | {:11} {:11.0} {:7.0} | {:10} {:11} {:11} {:7}{}",
                form.name(),
                row.seconds * 1e3,
                row.paper_seconds.unwrap_or(f64::NAN) * 1e3,
                row.speedup.unwrap_or(f64::NAN),
                row.bytes.online,
                row.paper_bytes.unwrap_or(f64::NAN),
                row.paper_bytes.unwrap_or(f64::NAN) / row.bytes.online as f64,
                row.bytes.preprocessing,
                row.bytes.dealer,
                row.bytes.model,
                row.flights,
                if row.checked { "" } else { "  NOT RIGHT" }
            );
            rows.push(row);
        }
    }
    println!("The paper's bytes leave its dealer out. Its bytes for diabetes and liver do not fit the networks of its");
    println!("appendix, and its times for cifar10 are not consistent among activations. Weights here are random.");
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&rows)?)?;
    }
    match rows.iter().find(|row| !row.checked) {
        Some(row) => Err(format!("{} with {} is not what the integers give", row.net, row.activation).into()),
        None => Ok(()),
    }
}

fn cell(args: &Args, name: &str, activation: &str, form: Form) -> Outcome<Row> {
    let function = network::function(activation).ok_or("an activation of the format")?;
    let net = network::net(name, function).ok_or("a network of the paper")?;
    let program = &net.program;
    let mut prng = Prng::from_seed_for_tests([3; 32]);
    let elements = program.tensors[program.input].elements();
    let input: Vec<Vec<i32>> =
        (0..args.rows).map(|_| (0..elements).map(|_| (prng.next_u32() % 8192) as i32 - 4096).collect()).collect();
    let reveal = if args.reveal == Learns::Scores { Reveal::Scores } else { Reveal::Labels };
    let terms = Terms { reveal, preset: if form == Form::Paper { Preset::Paper } else { Preset::Dealer } };
    let batches = vec![input.clone(); args.runs + 1];
    let out = local(program, terms, &batches, &mut Prng::from_os()?)?;
    let runs = || out.client[1..].iter().zip(&out.server[1..]);
    let seconds = runs().map(|(c, _)| (c.preprocessing.time + c.online.time).as_secs_f64()).fold(f64::MAX, f64::min);
    let (client, server) = runs().next().ok_or("a run that is timed")?;
    let both = |traffic: blindvox_net::channel::Traffic| traffic.sent + traffic.received;
    let bytes = Bytes {
        online: both(client.online.traffic),
        preprocessing: both(client.preprocessing.traffic),
        dealer: server.preprocessing.dealt,
        model: both(out.start[1].traffic),
    };
    let checked = out.client.iter().all(|o| o.answer.as_ref().is_some_and(|answer| right(program, &input, answer)));
    let products: usize = Plan::new(program, 1, terms)?.maps().map(|(map, _)| map.products()).sum();
    let (paper_seconds, paper_bytes) = paper::cell(name, activation).unzip();
    let place = paper::NETS.iter().position(|n| *n == name).ok_or("a network of the paper")?;
    Ok(Row {
        net: name.to_owned(),
        activation: activation.to_owned(),
        preset: form.name(),
        reveal: if args.reveal == Learns::Scores { "scores" } else { "labels" },
        rows: args.rows,
        threads: rayon::current_num_threads(),
        seconds,
        paper_seconds,
        speedup: paper_seconds.map(|p| p * args.rows as f64 / seconds),
        bytes,
        paper_bytes: paper_bytes.map(|b| b * args.rows as f64),
        formula_bytes: paper::formula(products, net.activations, activation).map(|b| b * args.rows as f64),
        paper_preprocessing_bytes: paper::PREPROCESSING[place][1] * 1048576.0,
        flights: client.online.flights,
        checked,
    })
}

/// Scores are the integers' exactly; of labels, those whose scores are further apart than rounding moves them.
fn right(program: &Program, rows: &[Vec<i32>], answer: &Answer) -> bool {
    match answer {
        Answer::Scores(all) => rows.iter().zip(all).all(|(row, scores)| *scores == floored(program, row, SCORE_BITS)),
        Answer::Labels(all) => rows.iter().zip(all).all(|(row, label)| {
            let run = plain::run(program, row, Rounding::Nearest);
            let best = run.logits.iter().max().copied().unwrap_or(0);
            let near = |class: u8| best - run.logits[usize::from(class)] <= NEAR;
            run.overflows().next().is_none() && (run.labels == *label || near(label[0]))
        }),
    }
}

/// Units of the scores, 2^-12, by which rounding moves them at most in these networks.
const NEAR: i32 = 64;

/// The program with every shift rounded down, and the scores at so many fraction bits.
fn floored(program: &Program, row: &[i32], score_bits: i32) -> Vec<i32> {
    let mut values: Vec<Vec<i32>> = vec![Vec::new(); program.tensors.len()];
    values[program.input] = row.to_vec();
    for step in &program.steps {
        let Some(output) = step.output() else { break };
        let inputs: Vec<&[i32]> = step.inputs().iter().map(|&t| &values[t][..]).collect();
        let (sums, shift) = plain::before_shift(program, step, &inputs);
        let last = matches!(step, Step::Linear(_)) && output == program.logits;
        let scale = program.tensors[output].scale_bits;
        let shift = if last { (scale + shift as i32 - score_bits) as u32 } else { shift };
        values[output] = sums.iter().map(|v| (v >> shift) as i32).collect();
    }
    values[program.logits].clone()
}
