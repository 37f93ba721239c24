//! `predict`: the classes of a table's rows, all parties in this process, each with its own half of everything.

use std::sync::Arc;

use blindvox_engine::{Device, Prng};
use blindvox_models::format::bundle::Reveal as Owner;
use blindvox_models::integers::quantize::quantize_input;
use blindvox_models::plain::float;
use blindvox_models::{Bundle, Program, Rounding, plain};
use blindvox_protocols::cryptmed::local;
use blindvox_protocols::cryptmed::plan::{Preset, Reveal, Terms};
use blindvox_protocols::cryptmed::session::Party;
use blindvox_protocols::infer::{self, Comparison, Options, Randomness, Source, Ways};
use blindvox_protocols::{Error, Result};

use super::predict_remote;
use super::predict_report::{Compare, Learned, Phase, Report, write};
use super::predict_rows::{Found, Rows, check, side_by_side};
use crate::args::{PredictArgs, PredictPreset};
use crate::input::Done;
use crate::ui::screen;

/// Everything that is read before a run.
struct Job {
    bundle: Bundle,
    program: Arc<Program>,
    preset: PredictPreset,
    inputs: Vec<Vec<f32>>,
    rows: Rows,
}

/// The `predict` command.
pub(crate) fn run(args: &PredictArgs) -> Result<Done> {
    if args.remote.server.is_some() {
        return predict_remote::run(args);
    }
    let job = load(args)?;
    let integers: Vec<Vec<i32>> =
        job.inputs.iter().map(|row| quantize_input(row, &job.program.tensors[job.program.input])).collect();
    let mut report =
        Report { model: job.bundle.name.clone(), system: "cryptmed", rows: integers.len(), ..Report::default() };
    let found = match job.preset {
        PredictPreset::Dealer | PredictPreset::Paper => dealt(args, &job, &integers, &mut report)?,
        PredictPreset::Silent => Found { labels: silent(args, &job, &integers, &mut report)?, scores: None },
    };
    report.compare = args.compare.then(|| compare(&job, &integers, &found.labels)).transpose()?;
    if let Some(out) = report.compare.as_ref().map(|c| c.rows_out_of_range).filter(|&n| n > 0) {
        let warning = format!(
            "{}: {out} rows leave the model's calibrated ranges: their classes mean nothing",
            args.input.display()
        );
        screen::warn(&warning);
        report.warnings.push(warning);
    }
    write(args, &job.rows, &found, report)?;
    Ok(Done::Whole)
}

fn load(args: &PredictArgs) -> Result<Job> {
    check(args)?;
    let preset = preset(args)?;
    let Some(path) = &args.model else { return Err(Error::Input("--model is missing".into())) };
    let bundle = Bundle::load(path)?;
    let model = path.display();
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
    let inputs = bundle.inputs(&args.input)?.values;
    let rows = Rows::read(args, &bundle.classes)?;
    Ok(Job { bundle, program, preset, inputs, rows })
}

/// What is run, by what both flags say.
fn preset(args: &PredictArgs) -> Result<PredictPreset> {
    if args.dealer_trust.is_some() {
        return Err(Error::Input("--dealer-trust: a dealer in this process needs none".into()));
    }
    match (args.preset, args.dealer.as_deref()) {
        (Some(PredictPreset::Silent), Some(_)) => Err(Error::Input("--dealer: the preset silent has none".into())),
        (Some(PredictPreset::Dealer | PredictPreset::Paper), None) => {
            Err(Error::Input("--preset: expected --dealer local, who deals".into()))
        }
        (Some(preset), Some("local")) => Ok(preset),
        (None, Some("local")) => Ok(PredictPreset::Dealer),
        (_, Some(found)) => {
            let found = found.chars().take(80).collect::<String>();
            Err(Error::Input(format!(
                "--dealer: found {found:?}, expected local: a dealer on another host deals for a service (--server)"
            )))
        }
        (_, None) => Ok(PredictPreset::Silent),
    }
}

/// With a dealer, a thread of its own.
fn dealt(args: &PredictArgs, job: &Job, rows: &[Vec<i32>], report: &mut Report) -> Result<Found> {
    let preset = if job.preset == PredictPreset::Paper { Preset::Paper } else { Preset::Dealer };
    report.preset = if preset == Preset::Paper { "paper" } else { "dealer" };
    report.learned = Learned::with_dealer(args.scores);
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
    Found::of(run.client)
}

/// Without one: the rows are the voxels of a grid, where the network has none of its own.
fn silent(args: &PredictArgs, job: &Job, rows: &[Vec<i32>], report: &mut Report) -> Result<Vec<usize>> {
    report.preset = "silent";
    report.learned = Learned::without_dealer();
    let options = Options {
        ways: Ways { compare: Comparison::Transfers, ot: Source::Silent, ..Ways::default() },
        randomness: args.insecure_test_seed.map_or(Randomness::System, Randomness::FixedForTests),
        ..Options::new(Device::cpu())
    };
    let at_once = if job.program.of_rows(2).is_some() { args.batch as usize } else { 1 };
    let mut labels = Vec::new();
    for rows in rows.chunks(at_once) {
        let program = job.program.of_rows(rows.len()).expect("as many as go side by side");
        let input = side_by_side(rows);
        let outcome = infer::local::run(Arc::new(program), &input, &options, &mut ())?;
        report.preprocessing.add(&Phase::of_steps(&outcome.client.preparation));
        report.online.add(&Phase::of_steps(&outcome.client.steps));
        labels.extend(outcome.client.labels.unwrap_or_default().into_iter().map(usize::from));
    }
    Ok(labels)
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
    for ((integers, row), label) in integers.iter().zip(&job.inputs).zip(labels) {
        let run = plain::run(&job.program, integers, Rounding::Nearest);
        found.label_disagreements_vs_integer += usize::from(usize::from(run.labels[0]) != *label);
        found.rows_out_of_range += usize::from(run.overflows().next().is_some());
        found.label_disagreements_vs_float += usize::from(usize::from(float::run(&network, row).labels[0]) != *label);
    }
    Ok(found)
}
