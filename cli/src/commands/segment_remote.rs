//! `segment --server`: the client's half here, the model at a service.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use blindvox_engine::bfv::Params;
use blindvox_models::data::nifti::Volume;
use blindvox_models::{ModelCard, Prepared, atomic};
use blindvox_protocols::infer::report::{LayerReport, StepCost, Total, peak_memory_bytes};
use blindvox_protocols::infer::{Comparison, Observer, Options, Outcome, Source, Ways};
use blindvox_protocols::service::{Accepts, Order, Visit};
use blindvox_protocols::{Error, Result};

use crate::args::{ComparisonChoice, OtChoice, SegmentArgs};
use crate::commands::results;
use crate::gpu::{self, BackendChoice};
use crate::input::{Done, read_scan};
use crate::remote::{self, Interrupts, Peer};
use crate::ui::files::{self, check_outputs, check_volume_name};
use crate::ui::preview::Picture;
use crate::ui::screen::{self, Progress};

/// What is read before the run.
struct Job {
    card: ModelCard,
    volume: Volume,
    prepared: Prepared,
}

/// What a run gave, and what its connection counted.
struct Ran {
    outcome: Outcome,
    /// As the service chose.
    ways: Ways,
    waits: u64,
    service: String,
    seconds: f64,
}

/// The `segment` command with `--server`.
pub(crate) fn run(args: &SegmentArgs) -> Result<Done> {
    check(args)?;
    let folder = args.masks.as_deref().map(files::Folder::make).transpose()?;
    let peer = Peer::of(&args.remote)?;
    let mut options = Options::new(gpu::device(args.backend, args.adapter.as_deref())?);
    options.gate_place = args.garble.into();
    let accepts = accepts(args);
    // From here on an interrupt is told to the service before this process ends.
    let _held = atomic::hold_signals();
    let model = name(args);
    let card = peer.visit(accepts.clone())?.card(&model)?;
    let job = load(args, card)?;
    job.prepared.warnings.iter().for_each(|w| screen::warn(w));
    let ran = remote::retried(args.remote.retries, || {
        let reached = Reached::default();
        once(args, &peer, &accepts, &options, &job, &reached).map_err(|e| match e {
            Error::Connection(why) => Error::Connection(reached.described(&why)),
            e => e,
        })
    })?;
    write(args, &job, &options, ran)?;
    folder.into_iter().for_each(files::Folder::keep);
    let part = job.prepared.placement.seen().part && !args.reading.crop;
    Ok(if part { Done::Part } else { Done::Whole })
}

/// The model's name at the service; empty where it was left out.
fn name(args: &SegmentArgs) -> String {
    args.model.as_deref().map_or_else(String::new, |m| m.to_string_lossy().into_owned())
}

fn check(args: &SegmentArgs) -> Result<()> {
    let usage = |what: &str| Err(Error::Input(what.to_owned()));
    if args.compare {
        return usage("--compare needs the model on this machine");
    }
    if args.labels.is_some() {
        return usage("--labels needs the model on this machine");
    }
    if args.insecure_test_seed.is_some() {
        return usage("--insecure-test-seed is for runs within one process");
    }
    if args.memory.is_some() {
        return usage("--memory is for runs within one process: a service keeps to a memory of its own");
    }
    check_volume_name("--output", &args.output)?;
    let mut outputs = vec![("--output", &*args.output)];
    outputs.extend(args.report.as_deref().map(|p| ("--report", p)));
    outputs.extend(args.preview.as_deref().map(|p| ("--preview", p)));
    outputs.extend(args.statistics.as_deref().map(|p| ("--statistics", p)));
    check_outputs(&inputs(args), &outputs)
}

fn inputs(args: &SegmentArgs) -> Vec<(&'static str, &Path)> {
    args.input.iter().map(|path| ("--input", &**path)).collect()
}

fn accepts(args: &SegmentArgs) -> Accepts {
    let comparison = match args.comparison {
        ComparisonChoice::Auto => None,
        ComparisonChoice::SignSelect => Some(Comparison::SignSelect),
        ComparisonChoice::FullCircuit => Some(Comparison::FullCircuit),
        ComparisonChoice::Transfers => Some(Comparison::Transfers),
    };
    let ot = match args.ot {
        OtChoice::Auto => None,
        OtChoice::Softspoken => Some(Source::SoftSpoken),
        OtChoice::Silent => Some(Source::Silent),
    };
    Accepts::new(args.gate_hash.into(), comparison, ot, args.link)
}

fn load(args: &SegmentArgs, card: ModelCard) -> Result<Job> {
    if card.preparation.table.is_some() {
        return Err(Error::Input(format!(
            "model {:?} takes rows of a table, not scans (`blindvox predict`)",
            card.name
        )));
    }
    if card.gives_class {
        return Err(Error::Input(format!(
            "model {:?} gives one class for all of a scan, expected one that labels its voxels",
            card.name
        )));
    }
    let masks = args.masks.as_deref().map_or_else(Vec::new, |folder| results::masks(folder, &card.classes));
    let masks: Vec<_> = masks.iter().map(|p| ("--masks", &**p)).collect();
    check_outputs(&inputs(args), &masks)?;
    let mut scan = read_scan(&args.input, card.preparation.count(), &args.reading)?;
    let mut prepared = card.prepare(&scan, &args.input[0], &format!("model {:?}", card.name))?;
    let volume = scan.swap_remove(0);
    let seen = prepared.placement.seen();
    if seen.part && !args.reading.crop {
        prepared.warnings.push(format!(
            "{}: larger than the network's grid: looked at {seen}; the rest is not labelled (--crop, if that is meant)",
            args.input[0].display()
        ));
    }
    Ok(Job { card, volume, prepared })
}

/// How far a run got.
#[derive(Default)]
struct Reached {
    layer: std::sync::Mutex<String>,
    bytes: AtomicU64,
}

impl Reached {
    /// Why a connection ended, and where in the run.
    fn described(&self, why: &str) -> String {
        let layer = self.layer.lock().map(|l| l.clone()).unwrap_or_default();
        let megabytes = self.bytes.load(Ordering::Relaxed) / 1_000_000;
        if layer.is_empty() { why.to_owned() } else { format!("{why} in layer {layer:?} after {megabytes} MB") }
    }
}

/// Shows progress and keeps how far it got.
struct Watching<'a>(&'a mut Progress, &'a Reached);

impl Observer for Watching<'_> {
    fn begin(&mut self, name: &str, kind: &str) {
        if let Ok(mut layer) = self.1.layer.lock() {
            name.clone_into(&mut layer);
        }
        self.0.begin(name, kind);
    }

    fn end(&mut self, cost: &StepCost) {
        self.1.bytes.fetch_add(cost.traffic.sent + cost.traffic.received, Ordering::Relaxed);
        self.0.end(cost);
    }
}

fn once(
    args: &SegmentArgs,
    peer: &Peer,
    accepts: &Accepts,
    options: &Options,
    job: &Job,
    reached: &Reached,
) -> Result<Ran> {
    let start = Instant::now();
    let mut visit = peer.visit(accepts.clone())?;
    let interrupts = Interrupts::watch(visit.canceller())?;
    let service = visit.service.clone();
    let mut progress = Progress::new(0, args.quiet);
    let mut queued = |place: u32| {
        if !args.quiet {
            say!("waiting: place {place} in the service's queue");
        }
    };
    let model = name(args);
    let mut watching = Watching(&mut progress, reached);
    let grid = job.prepared.placement.grid();
    let order = Order { model: &model, card: &job.card, volume: &job.prepared.integers, grid };
    let result = visit.run(order, options.clone(), &mut queued, &mut watching);
    progress.finish();
    drop(interrupts);
    let (outcome, mut visit): (Outcome, Visit) = result?;
    let waits = visit.stats().waits;
    let ways = visit.ways().unwrap_or(options.ways);
    Ok(Ran { outcome, ways, waits, service, seconds: start.elapsed().as_secs_f64() })
}

fn write(args: &SegmentArgs, job: &Job, options: &Options, ran: Ran) -> Result<()> {
    let Ran { outcome, ways, waits, service, seconds } = ran;
    let labels = outcome.labels.clone().unwrap_or_default();
    let map = job.prepared.placement.restore(&labels, &job.volume);
    let layers: Vec<_> = outcome.preparation.iter().chain(&outcome.steps).map(LayerReport::of_client).collect();
    let [preprocessing, online] = [&outcome.preparation, &outcome.steps].map(Total::of_client);
    let total = Total {
        seconds,
        bytes_client_to_server: preprocessing.bytes_client_to_server + online.bytes_client_to_server,
        bytes_server_to_client: preprocessing.bytes_server_to_client + online.bytes_server_to_client,
        rounds: preprocessing.rounds + online.rounds,
    };
    let mut outputs = vec![map.stage(&args.output)?];
    if let Some(path) = &args.report {
        let costs =
            Costs { layers: &layers, total: &total, preprocessing: &preprocessing, online: &online, ways, waits };
        let report = report(args, job, options, &outcome, &costs, &service);
        let json = serde_json::to_vec_pretty(&report).map_err(|e| Error::Input(format!("{}: {e}", path.display())))?;
        outputs.push(files::stage(path, &json)?);
    }
    if let Some(path) = &args.preview {
        outputs.push(Picture::new(&job.volume, &map).stage(path)?);
    }
    outputs.extend(results::stage(args, &job.card.name, &job.card.classes, &job.volume, &map)?);
    if !args.quiet {
        tell(args, &layers, &total, waits);
    }
    screen::check()?;
    Ok(atomic::commit_all(outputs)?)
}

/// What a run cost.
struct Costs<'a> {
    layers: &'a [LayerReport],
    total: &'a Total,
    preprocessing: &'a Total,
    online: &'a Total,
    ways: Ways,
    waits: u64,
}

fn report(
    args: &SegmentArgs,
    job: &Job,
    options: &Options,
    outcome: &Outcome,
    costs: &Costs<'_>,
    service: &str,
) -> serde_json::Value {
    let seen = job.prepared.placement.seen();
    serde_json::json!({
        "model": job.card.name,
        "digest": job.card.digest,
        "server": args.remote.server,
        "service": service,
        "backend": if args.backend == BackendChoice::Gpu { "gpu" } else { "cpu" },
        "device": options.device.describe(),
        "parameters": {
            "convolutions": Params::hom_conv().describe(),
            "square_pairs": Params::square_pairs().describe(),
            "comparison": costs.ways.compare.in_words(),
            "ot": costs.ways.ot.name(),
            "security_bits": costs.ways.security_bits(),
            "hiding_bits": outcome.hiding_bits,
        },
        "total": costs.total,
        "waits": costs.waits,
        "preprocessing": costs.preprocessing,
        "online": costs.online,
        "layers": costs.layers,
        "seen": { "share": seen.share, "millimetres": seen.millimetres.then_some(seen.bounds) },
        "peak_memory_bytes": peak_memory_bytes(),
        "learned": {
            "client": "the labels, the architecture and its scales",
            "server": "the scan's size as the network takes it, who asked, when",
        },
        "warnings": job.prepared.warnings,
    })
}

fn tell(args: &SegmentArgs, layers: &[LayerReport], total: &Total, waits: u64) {
    screen::table(layers, total);
    say!();
    say!(
        "The service received {} of ciphertexts, masked values and OT messages, and learned the scan's size as the network takes it.",
        screen::bytes(total.bytes_client_to_server)
    );
    say!(
        "This host received {} and learned the labels, the architecture and its scales. It waited {waits} times for the service.",
        screen::bytes(total.bytes_server_to_client)
    );
    say!("Wrote {}", args.output.display());
    for path in [&args.report, &args.preview, &args.statistics, &args.masks].into_iter().flatten() {
        say!("Wrote {}", Path::new(path).display());
    }
}
