//! `predict`: the classes of a table's rows, all parties in this process, each with its own half of everything.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use blindvox_engine::{Device, Prng};
use blindvox_models::atomic;
use blindvox_models::data::table::{as_csv, texts};
use blindvox_models::format::bundle::Reveal as Owner;
use blindvox_models::integers::quantize::quantize_input;
use blindvox_models::plain::float;
use blindvox_models::{Bundle, Program, Rounding, plain};
use blindvox_protocols::cryptmed::local;
use blindvox_protocols::cryptmed::plan::{Preset, Reveal, SCORE_BITS, Terms};
use blindvox_protocols::cryptmed::session::{Answer, Cost, Party};
use blindvox_protocols::infer::report::{StepCost, Total};
use blindvox_protocols::infer::{self, Comparison, Options, Randomness, Source, Ways};
use blindvox_protocols::{Error, Result};
use serde::Serialize;

use crate::args::{PredictArgs, PredictPreset};
use crate::input::Done;
use crate::ui::files::{check_outputs, stage};
use crate::ui::screen;

/// What `--report` writes.
#[derive(Default, Serialize)]
struct Report {
    model: String,
    system: &'static str,
    preset: &'static str,
    rows: usize,
    setup: Phase,
    #[serde(rename = "model_phase")]
    hiding: Phase,
    preprocessing: Phase,
    dealer: Phase,
    online: Phase,
    total: Phase,
    learned: Learned,
    accuracy: Option<f64>,
    compare: Option<Compare>,
    warnings: Vec<String>,
}

/// What a phase cost; the dealer's bytes are the server's corrections and both seeds.
#[derive(Clone, Copy, Default, Serialize)]
struct Phase {
    seconds: f64,
    bytes_client_to_server: u64,
    bytes_server_to_client: u64,
    bytes_from_dealer: u64,
    flights: usize,
}

/// Who learned what.
#[derive(Default, Serialize)]
struct Learned {
    client: &'static str,
    server: &'static str,
    dealer: &'static str,
}

/// Rows that differ from the networks in the clear.
#[derive(Serialize)]
struct Compare {
    rows: usize,
    label_disagreements_vs_integer: usize,
    label_disagreements_vs_float: usize,
    rows_out_of_range: usize,
}

/// Everything that is read before a run.
struct Job {
    bundle: Bundle,
    program: Arc<Program>,
    preset: PredictPreset,
    rows: Vec<Vec<f32>>,
    ids: Option<Vec<String>>,
    truth: Option<Vec<usize>>,
}

/// The `predict` command.
pub(crate) fn run(args: &PredictArgs) -> Result<Done> {
    let job = load(args)?;
    let integers: Vec<Vec<i32>> =
        job.rows.iter().map(|row| quantize_input(row, &job.program.tensors[job.program.input])).collect();
    let mut report =
        Report { model: job.bundle.name.clone(), system: "cryptmed", rows: job.rows.len(), ..Report::default() };
    let (labels, scores) = match job.preset {
        PredictPreset::Dealer | PredictPreset::Paper => dealt(args, &job, &integers, &mut report)?,
        PredictPreset::Silent => (silent(args, &job, &integers, &mut report)?, None),
    };
    let total = [report.setup, report.hiding, report.preprocessing, report.online];
    total.iter().for_each(|phase| report.total.add(phase));
    report.accuracy = job.truth.as_ref().map(|truth| accuracy(truth, &labels));
    report.compare = args.compare.then(|| compare(&job, &integers, &labels)).transpose()?;
    if let Some(out) = report.compare.as_ref().map(|c| c.rows_out_of_range).filter(|&n| n > 0) {
        let warning = format!(
            "{}: {out} rows leave the model's calibrated ranges: their classes mean nothing",
            args.input.display()
        );
        screen::warn(&warning);
        report.warnings.push(warning);
    }
    let mut outputs = vec![stage(&args.output, &table(args, &job, &labels, scores.as_deref()))?];
    if let Some(path) = &args.report {
        let json = serde_json::to_vec_pretty(&report).map_err(|e| Error::Input(format!("{}: {e}", path.display())))?;
        outputs.push(stage(path, &json)?);
    }
    if !args.quiet {
        tell(args, &job, &labels, &report);
    }
    screen::check()?;
    atomic::commit_all(outputs)?;
    Ok(Done::Whole)
}

fn load(args: &PredictArgs) -> Result<Job> {
    let mut outputs = vec![("--output", &*args.output)];
    outputs.extend(args.report.as_deref().map(|p| ("--report", p)));
    check_outputs(&[("--input", &*args.input)], &outputs)?;
    let preset = match (args.preset, args.dealer.as_deref()) {
        (Some(PredictPreset::Silent), Some(_)) => {
            return Err(Error::Input("--dealer: the preset silent has none".into()));
        }
        (Some(PredictPreset::Dealer | PredictPreset::Paper), None) => {
            return Err(Error::Input("--preset: expected --dealer local, who deals".into()));
        }
        (Some(preset), Some("local")) => preset,
        (None, Some("local")) => PredictPreset::Dealer,
        (_, Some(found)) => {
            let found = found.chars().take(80).collect::<String>();
            return Err(Error::Input(format!(
                "--dealer: found {found:?}, expected local: dealers of other hosts are not there yet"
            )));
        }
        (_, None) => PredictPreset::Silent,
    };
    let bundle = Bundle::load(&args.model)?;
    let model = args.model.display();
    if bundle.preparation.table.is_none() {
        return Err(Error::Input(format!("{model}: found a network of scans, expected one of rows of a table")));
    }
    if args.scores && bundle.reveal != Some(Owner::Scores) {
        return Err(Error::Input(format!("--scores: {model} reveals labels alone (`reveal` in its model.json)")));
    }
    if args.scores && preset == PredictPreset::Silent {
        return Err(Error::Input("--scores: they are opened with a dealer alone (--dealer local)".into()));
    }
    let program = Arc::new(if preset == PredictPreset::Silent { bundle.program()? } else { bundle.whole_program()? });
    let rows = bundle.inputs(&args.input)?;
    let ids = args.id.as_ref().map(|column| texts(&args.input, column)).transpose()?;
    let truth = args.labels.as_ref().map(|column| truth(&args.input, column, &bundle.classes)).transpose()?;
    Ok(Job { bundle, program, preset, rows: rows.values, ids, truth })
}

/// True classes by name or number.
fn truth(path: &Path, column: &str, classes: &[String]) -> Result<Vec<usize>> {
    let class = |(row, cell): (usize, String)| {
        let named = classes.iter().position(|name| *name == cell);
        let numbered =
            || cell.parse::<f64>().ok().filter(|n| n.fract() == 0.0 && (0.0..classes.len() as f64).contains(n));
        named.or_else(|| numbered().map(|n| n as usize)).ok_or_else(|| {
            let (found, row) = (cell.chars().take(40).collect::<String>(), row + 1);
            let known = classes.join(", ");
            Error::Input(format!(
                "{}: row {row}, column {column:?}: found {found:?}, expected one of {known}",
                path.display()
            ))
        })
    };
    texts(path, column)?.into_iter().enumerate().map(class).collect()
}

type Scores = Vec<Vec<f64>>;

/// With a dealer, a thread of its own.
fn dealt(
    args: &PredictArgs,
    job: &Job,
    rows: &[Vec<i32>],
    report: &mut Report,
) -> Result<(Vec<usize>, Option<Scores>)> {
    let preset = if job.preset == PredictPreset::Paper { Preset::Paper } else { Preset::Dealer };
    report.preset = if preset == Preset::Paper { "paper" } else { "dealer" };
    report.learned = Learned {
        client: if args.scores {
            "the scores, the architecture and its scales"
        } else {
            "the classes, the architecture and its scales"
        },
        server: "the number of rows",
        dealer: "the architecture and the number of rows; together with the client it could read the model, together with the server the rows",
    };
    let mut prng = match args.insecure_test_seed {
        Some(seed) => Prng::from_seed_for_tests([seed as u8; 32]),
        None => Prng::from_os()?,
    };
    let reveal = if args.scores { Reveal::Scores } else { Reveal::Labels };
    let batches: Vec<Vec<Vec<i32>>> = rows.chunks(args.batch as usize).map(<[_]>::to_vec).collect();
    let run = local::local(&job.program, Terms { reveal, preset }, &batches, &mut prng)?;
    [report.setup, report.hiding] = run.start.map(|cost| Phase::of(&cost, Party::Server));
    for (client, server) in run.client.iter().zip(&run.server) {
        report.preprocessing.add(&Phase::of(&client.preprocessing, Party::Client));
        report.online.add(&Phase::of(&client.online, Party::Client));
        report.dealer.bytes_from_dealer += server.preprocessing.dealt;
    }
    // Each party's seed and the digest of the architecture.
    report.dealer.bytes_from_dealer += 2 * 48;
    let (mut labels, mut scores) = (Vec::new(), Vec::new());
    for outcome in run.client {
        match outcome.answer {
            Some(Answer::Labels(rows)) => labels.extend(rows.iter().map(|row| usize::from(row[0]))),
            Some(Answer::Scores(rows)) => {
                labels.extend(
                    rows.iter().map(|row| (1..row.len()).fold(0, |best, c| if row[c] > row[best] { c } else { best })),
                );
                scores.extend(
                    rows.iter()
                        .map(|row| row.iter().map(|&s| f64::from(s) / f64::from(1 << SCORE_BITS)).collect::<Vec<_>>()),
                );
            }
            None => return Err(Error::Protocol("the run ended without an answer".into())),
        }
    }
    Ok((labels, args.scores.then_some(scores)))
}

/// Without one: the rows are the voxels of a grid, where the network has none of its own.
fn silent(args: &PredictArgs, job: &Job, rows: &[Vec<i32>], report: &mut Report) -> Result<Vec<usize>> {
    report.preset = "silent";
    report.learned = Learned {
        client: "the classes, the architecture and its scales",
        server: "the number of rows",
        dealer: "there was none",
    };
    let options = Options {
        ways: Ways { compare: Comparison::Transfers, ot: Source::Silent, ..Ways::default() },
        randomness: args.insecure_test_seed.map_or(Randomness::System, Randomness::FixedForTests),
        ..Options::new(Device::cpu())
    };
    let side_by_side = job.program.tensors.iter().all(|t| t.dims == [1; 3]);
    let at_once = if side_by_side { args.batch as usize } else { 1 };
    let mut labels = Vec::new();
    for rows in rows.chunks(at_once) {
        let mut program = (*job.program).clone();
        if rows.len() > 1 {
            program.tensors.iter_mut().for_each(|t| t.dims = [1, 1, rows.len()]);
        }
        let elements = rows[0].len();
        let input: Vec<i32> = (0..elements).flat_map(|e| rows.iter().map(move |row| row[e])).collect();
        let outcome = infer::local::run(Arc::new(program), &input, &options, &mut ())?;
        report.preprocessing.add(&Phase::of_steps(&outcome.client.preparation));
        report.online.add(&Phase::of_steps(&outcome.client.steps));
        labels.extend(outcome.client.labels.unwrap_or_default().into_iter().map(usize::from));
    }
    Ok(labels)
}

impl Phase {
    /// As one party counted it.
    fn of(cost: &Cost, party: Party) -> Self {
        let (there, back) = (cost.traffic.sent, cost.traffic.received);
        let [up, down] = if party == Party::Client { [there, back] } else { [back, there] };
        Self {
            seconds: cost.time.as_secs_f64(),
            bytes_client_to_server: up,
            bytes_server_to_client: down,
            flights: cost.flights,
            ..Self::default()
        }
    }

    fn of_steps(steps: &[StepCost]) -> Self {
        let Total { seconds, bytes_client_to_server, bytes_server_to_client, rounds } = Total::of_client(steps);
        Self { seconds, bytes_client_to_server, bytes_server_to_client, flights: rounds as usize, ..Self::default() }
    }

    fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.bytes_client_to_server += other.bytes_client_to_server;
        self.bytes_server_to_client += other.bytes_server_to_client;
        self.bytes_from_dealer += other.bytes_from_dealer;
        self.flights += other.flights;
    }
}

fn accuracy(truth: &[usize], labels: &[usize]) -> f64 {
    truth.iter().zip(labels).filter(|(a, b)| a == b).count() as f64 / truth.len() as f64
}

/// The same rows in the clear.
fn compare(job: &Job, integers: &[Vec<i32>], labels: &[usize]) -> Result<Compare> {
    let network = job.bundle.network()?;
    let mut found = Compare {
        rows: labels.len(),
        label_disagreements_vs_integer: 0,
        label_disagreements_vs_float: 0,
        rows_out_of_range: 0,
    };
    for ((integers, row), label) in integers.iter().zip(&job.rows).zip(labels) {
        let run = plain::run(&job.program, integers, Rounding::Nearest);
        found.label_disagreements_vs_integer += usize::from(usize::from(run.labels[0]) != *label);
        found.rows_out_of_range += usize::from(run.overflows().next().is_some());
        found.label_disagreements_vs_float += usize::from(usize::from(float::run(&network, row).labels[0]) != *label);
    }
    Ok(found)
}

/// The output: a line a row.
fn table(args: &PredictArgs, job: &Job, labels: &[usize], scores: Option<&[Vec<f64>]>) -> Vec<u8> {
    let classes = &job.bundle.classes;
    let named: Vec<String> = classes.iter().map(|class| format!("score {class}")).collect();
    let mut names = vec![args.id.as_deref().unwrap_or("row"), "label"];
    names.extend(named.iter().filter(|_| scores.is_some()).map(String::as_str));
    let row = |(at, label): (usize, &usize)| {
        let id = job.ids.as_ref().map_or_else(|| (at + 1).to_string(), |ids| ids[at].clone());
        let mut cells: Vec<Cow<'_, str>> = vec![id.into(), classes[*label].as_str().into()];
        cells.extend(scores.iter().flat_map(|s| &s[at]).map(|score| Cow::from(score.to_string())));
        cells
    };
    as_csv(&names, labels.iter().enumerate().map(row))
}

/// What happened, for people.
fn tell(args: &PredictArgs, job: &Job, labels: &[usize], report: &Report) {
    let classes = &job.bundle.classes;
    for (class, name) in classes.iter().enumerate() {
        say!("{name}: {} of {} rows", labels.iter().filter(|l| **l == class).count(), labels.len());
    }
    if let (Some(truth), Some(accuracy)) = (&job.truth, report.accuracy) {
        say!("Accuracy {:.2} %; of each true class (lines), how many were taken for which:", 100.0 * accuracy);
        for (class, name) in classes.iter().enumerate() {
            let taken =
                |as_class: usize| truth.iter().zip(labels).filter(|(t, l)| **t == class && **l == as_class).count();
            let counts: Vec<_> = (0..classes.len()).map(|c| format!("{:>7}", taken(c))).collect();
            say!("{name:>20}{}", counts.join(""));
        }
    }
    if args.verbose {
        let phases = [
            ("setup", &report.setup),
            ("model", &report.hiding),
            ("preprocessing", &report.preprocessing),
            ("dealer", &report.dealer),
            ("online", &report.online),
        ];
        for (name, p) in phases {
            let bytes = [p.bytes_client_to_server, p.bytes_server_to_client, p.bytes_from_dealer].map(screen::bytes);
            say!(
                "{name:>14}: {:9.3} ms, up {}, down {}, dealt {}, {} flights",
                p.seconds * 1e3,
                bytes[0],
                bytes[1],
                bytes[2],
                p.flights
            );
        }
    }
    say!(
        "The hospital learned {}; the service {}; the dealer: {}.",
        report.learned.client,
        report.learned.server,
        report.learned.dealer
    );
    if let Some(seed) = args.insecure_test_seed {
        say!("WARNING: all randomness was derived from the test seed {seed}; nothing was secret in this run.");
    }
    if let Some(c) = &report.compare {
        say!(
            "In the clear: {} of {} rows differ from the integer network, {} from the float network.",
            c.label_disagreements_vs_integer,
            c.rows,
            c.label_disagreements_vs_float
        );
    }
    say!("Wrote {}", args.output.display());
    args.report.iter().for_each(|path| say!("Wrote {}", path.display()));
}
