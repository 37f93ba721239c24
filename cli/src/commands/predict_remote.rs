//! `predict --server`: the rows here, the model at a service, and a dealer, where there is one, on a third host.

use blindvox_engine::Device;
use blindvox_models::integers::quantize::quantize_input;
use blindvox_models::{ModelCard, atomic};
use blindvox_net::Channel;
use blindvox_net::transport::tcp::Limits;
use blindvox_protocols::cryptmed::plan::{MAX_ROWS, Preset, Reveal, Terms};
use blindvox_protocols::cryptmed::session::Party;
use blindvox_protocols::infer::{Comparison, Options, Source};
use blindvox_protocols::service::{Accepts, Order, Rows as Request, dealer};
use blindvox_protocols::{Error, Result};

use super::predict_report::{Learned, Phase, Report, write};
use super::predict_rows::{Found, Rows, check, side_by_side};
use crate::args::{PredictArgs, PredictPreset};
use crate::input::Done;
use crate::remote::{self, Interrupts, Peer};

/// What is read before a run.
struct Job {
    /// The model's name at the service; empty where it was left out.
    model: String,
    card: ModelCard,
    integers: Vec<Vec<i32>>,
    rows: Rows,
}

/// Both other hosts.
struct Hosts {
    service: Peer,
    dealer: Option<Peer>,
}

/// The `predict` command with `--server`.
pub(super) fn run(args: &PredictArgs) -> Result<Done> {
    usage(args)?;
    check(args)?;
    let preset = preset(args)?;
    let service = Peer::of(&args.remote)?;
    let hosts = Hosts { service, dealer: dealer_of(args)? };
    // From here on an interrupt is told to the service before this process ends.
    let _held = atomic::hold_signals();
    let job = load(args, &hosts, preset)?;
    let (found, report) = remote::retried(args.remote.retries, || {
        let mut report = Report {
            model: job.card.name.clone(),
            digest: Some(job.card.digest.clone()),
            server: args.remote.server.clone(),
            system: "cryptmed",
            rows: job.integers.len(),
            ..Report::default()
        };
        let found = match preset {
            PredictPreset::Silent => silent(args, &hosts, &job, &mut report)?,
            PredictPreset::Dealer | PredictPreset::Paper => dealt(args, &hosts, &job, (preset, &mut report))?,
        };
        Ok((found, report))
    })?;
    write(args, &job.rows, &found, report)?;
    Ok(Done::Whole)
}

fn usage(args: &PredictArgs) -> Result<()> {
    let usage = |what: &str| Err(Error::Input(what.to_owned()));
    if args.compare {
        return usage("--compare needs the model on this machine");
    }
    if args.insecure_test_seed.is_some() {
        return usage("--insecure-test-seed is for runs within one process");
    }
    Ok(())
}

fn preset(args: &PredictArgs) -> Result<PredictPreset> {
    let wrong = |what: &str| Err(Error::Input(what.to_owned()));
    match (args.preset, args.dealer.as_deref()) {
        (_, Some("local")) => wrong(
            "--dealer local: with --server a dealer on this host would read the model; expected HOST:PORT of a third \
             party's",
        ),
        (Some(PredictPreset::Silent), Some(_)) => wrong("--dealer: the preset silent has none"),
        (Some(PredictPreset::Dealer | PredictPreset::Paper), None) => {
            wrong("--preset: expected --dealer HOST:PORT, who deals for the service")
        }
        (Some(preset), _) => Ok(preset),
        (None, Some(_)) => Ok(PredictPreset::Dealer),
        (None, None) => Ok(PredictPreset::Silent),
    }
}

fn dealer_of(args: &PredictArgs) -> Result<Option<Peer>> {
    let Some(address) = &args.dealer else {
        return match &args.dealer_trust {
            Some(_) => Err(Error::Input("--dealer-trust: expected --dealer HOST:PORT with it".into())),
            None => Ok(None),
        };
    };
    let (Some(identity), Some(trust)) = (&args.remote.identity, &args.dealer_trust) else {
        let what = "--dealer-trust is missing: the dealer's .crt file or fingerprint; ask the dealer for it";
        return Err(Error::Input(what.into()));
    };
    Peer::dealer(address, identity, trust).map(Some)
}

fn load(args: &PredictArgs, hosts: &Hosts, preset: PredictPreset) -> Result<Job> {
    let model = args.model.as_deref().map_or_else(String::new, |m| m.to_string_lossy().into_owned());
    let card = hosts.service.visit(remote::anything())?.card(&model)?;
    let name = &card.name;
    let Some(table) = &card.preparation.table else {
        return Err(Error::Input(format!("model {name:?}: found one of scans, expected one of rows of a table")));
    };
    if args.scores && !card.scores {
        return Err(Error::Input(format!("--scores: model {name:?} reveals labels alone")));
    }
    if args.scores && preset == PredictPreset::Silent {
        return Err(Error::Input("--scores: they are opened with a dealer alone (--dealer HOST:PORT)".into()));
    }
    let integers = table.read(&args.input)?.iter().map(|row| quantize_input(row, &card.input)).collect();
    let rows = Rows::read(args, &card.classes)?;
    Ok(Job { model, card, integers, rows })
}

fn queued(args: &PredictArgs) -> impl FnMut(u32) {
    |place| {
        if !args.quiet {
            say!("waiting: place {place} in the service's queue");
        }
    }
}

/// With a dealer.
fn dealt(
    args: &PredictArgs,
    hosts: &Hosts,
    job: &Job,
    (preset, report): (PredictPreset, &mut Report),
) -> Result<Found> {
    let paper = preset == PredictPreset::Paper;
    report.preset = if paper { "paper" } else { "dealer" };
    report.learned = Learned::with_dealer(args.scores);
    let Some(dealer) = &hosts.dealer else { return Err(Error::Input("--dealer is missing".into())) };
    let terms = Terms {
        reveal: if args.scores { Reveal::Scores } else { Reveal::Labels },
        preset: if paper { Preset::Paper } else { Preset::Dealer },
    };
    let (mut visit, service) = hosts.service.visit_known(remote::anything())?;
    report.service = Some(visit.service.clone());
    let _interrupts = Interrupts::watch(visit.canceller())?;
    let mut interrupts = None;
    let batch = (args.batch as usize).min(MAX_ROWS);
    let rows = Request { model: &job.model, card: &job.card, rows: &job.integers, batch, terms };
    let ran = visit.deal(rows, &mut queued(args), |ticket| {
        let mut channel = Channel::tls(dealer.meet()?, Limits::between_hosts())?;
        interrupts = Some(Interrupts::watch(channel.canceller())?);
        dealer::take(&mut channel, ticket, service.bytes())?;
        Ok(channel)
    })?;
    [report.setup, report.hiding] = ran.start.map(|cost| Phase::of(&cost, Party::Client));
    for outcome in &ran.outcomes {
        report.preprocessing.add(&Phase::of(&outcome.preprocessing, Party::Client));
        report.online.add(&Phase::of(&outcome.online, Party::Client));
    }
    // What this host had of it: a seed and a digest. The service's corrections it can't see.
    report.dealer.bytes_from_dealer = ran.from_dealer;
    Found::of(ran.outcomes)
}

/// Without one: rows are voxels of a line.
fn silent(args: &PredictArgs, hosts: &Hosts, job: &Job, report: &mut Report) -> Result<Found> {
    report.preset = "silent";
    report.learned = Learned::without_dealer();
    let options = Options::new(Device::cpu());
    let accepts = Accepts::new(options.gate_hash, Some(Comparison::Transfers), Some(Source::Silent), None);
    let mut visit = hosts.service.visit(accepts)?;
    report.service = Some(visit.service.clone());
    let _interrupts = Interrupts::watch(visit.canceller())?;
    let mut labels = Vec::new();
    let at_once = if job.card.input.dims == [1; 3] { args.batch as usize } else { 1 };
    for rows in job.integers.chunks(at_once) {
        let volume = side_by_side(rows);
        let grid = if at_once == 1 { job.card.input.dims } else { [1, 1, rows.len()] };
        let order = Order { model: &job.model, card: &job.card, volume: &volume, grid };
        let outcome;
        (outcome, visit) = visit.run(order, options.clone(), &mut queued(args), &mut ())?;
        report.preprocessing.add(&Phase::of_steps(&outcome.preparation));
        report.online.add(&Phase::of_steps(&outcome.steps));
        labels.extend(outcome.labels.unwrap_or_default().into_iter().map(usize::from));
    }
    Ok(Found { labels, scores: None })
}
