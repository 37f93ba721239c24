//! `segment` and the demo: both parties in this process, each with its own half of everything.

use std::path::{Path, PathBuf};
use std::time::Instant;

use blindvox_engine::bfv::Params;
use blindvox_models::atomic;
use blindvox_models::data::dice::{Overlap, Union};
use blindvox_models::data::labels::LabelMap;
use blindvox_models::plain::float;
use blindvox_models::{Bundle, RangeReport, Rounding, plain};
use blindvox_protocols::infer::report::{LayerReport, Total, peak_memory_bytes};
use blindvox_protocols::infer::session::plans;
use blindvox_protocols::infer::{Comparison as Way, Options, Randomness, Source, choice, local};
use blindvox_protocols::{Error, Result};
use serde::Serialize;

use crate::args::{ComparisonChoice, GarbleChoice, GateHashChoice, OtChoice, ReadingArgs, SegmentArgs};
use crate::args_hosts::RemoteArgs;
use crate::commands::{results, segment_remote, segment_slots};
use crate::gpu::{self, BackendChoice};
use crate::input::{Done, Input};
use crate::ui::files::{self, check_outputs, check_volume_name};
use crate::ui::preview::Picture;
use crate::ui::screen::{self, Progress};

/// What `--report` writes.
#[derive(Serialize)]
struct Report {
    model: String,
    backend: &'static str,
    device: String,
    parameters: Parameters,
    total: Total,
    preprocessing: Total,
    online: Total,
    /// Receives of the client that found nothing there: each costs a link's latency.
    waits: u64,
    layers: Vec<LayerReport>,
    compare: Option<Comparison>,
    dice: Option<Vec<f64>>,
    /// All labels together, where the truth has one value for them.
    union: Option<Union>,
    /// What the network saw of the volume.
    seen: SeenReport,
    peak_memory_bytes: Option<u64>,
    /// What makes the labels doubtful.
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transcript: Option<[String; 2]>,
}

/// The box that the labels are of.
#[derive(Serialize)]
struct SeenReport {
    /// 1 for all of the volume.
    share: f64,
    /// Lowest and highest coordinate to the right, anterior and superior; absent where the file states no orientation.
    #[serde(skip_serializing_if = "Option::is_none")]
    millimetres: Option<[[f64; 2]; 3]>,
}

#[derive(Serialize)]
struct Parameters {
    convolutions: String,
    square_pairs: String,
    comparison: &'static str,
    /// What made oblivious transfers.
    ot: &'static str,
    /// The hash of gates and where they were computed.
    garbling: String,
    security_bits: u32,
    /// -log2 of the statistical distance at which this run's replies hide the weights.
    hiding_bits: f64,
}

/// The secure labels beside those of the networks in the clear.
#[derive(Serialize)]
struct Comparison {
    voxels: usize,
    label_disagreements_vs_integer: usize,
    label_disagreements_vs_float: usize,
    /// Of each label, or of all together where the truth has one value for them.
    dice_secure: Vec<f64>,
    dice_float: Vec<f64>,
    overflows: Vec<Overflow>,
}

/// A tensor whose values left its range.
#[derive(Serialize)]
struct Overflow {
    tensor: String,
    values: u64,
    max_abs: i64,
    limit: i64,
}

impl From<&RangeReport> for Overflow {
    fn from(r: &RangeReport) -> Self {
        Self { tensor: r.name.clone(), values: r.overflows, max_abs: r.max_abs, limit: r.limit }
    }
}

/// Checks the outputs, then reads the inputs.
fn load(args: &SegmentArgs) -> Result<Input> {
    check_volume_name("--output", &args.output)?;
    let mut inputs: Vec<_> = args.input.iter().map(|p| ("--input", &**p)).collect();
    inputs.extend(args.labels.as_deref().map(|p| ("--labels", p)));
    let mut outputs = vec![("--output", &*args.output)];
    outputs.extend(args.report.as_deref().map(|p| ("--report", p)));
    outputs.extend(args.preview.as_deref().map(|p| ("--preview", p)));
    outputs.extend(args.statistics.as_deref().map(|p| ("--statistics", p)));
    let folder = args.model.as_deref().unwrap_or(Path::new(""));
    let bundle = Bundle::load(folder)?;
    let masks = args.masks.as_deref().map_or_else(Vec::new, |masks| results::masks(masks, &bundle.classes));
    outputs.extend(masks.iter().map(|p| ("--masks", &**p)));
    check_outputs(&inputs, &outputs)?;
    if bundle.preparation.table.is_some() {
        let model = folder.display();
        return Err(Error::Input(format!(
            "{model}: found a network of rows of a table, expected one that labels the voxels of a scan \
             (`blindvox plain` takes rows)"
        )));
    }
    let input = Input::load(bundle, &args.input, args.labels.as_deref(), &args.reading)?;
    if input.program.gives_class() {
        let model = folder.display();
        return Err(Error::Input(format!(
            "{model}: found a network that gives one class for all of a scan, expected one that labels its voxels \
             (`blindvox plain` says the class)"
        )));
    }
    Ok(input)
}

/// The `segment` command.
pub(crate) fn run(args: &SegmentArgs) -> Result<Done> {
    if args.remote.server.is_some() {
        return segment_remote::run(args);
    }
    if segment_slots::wanted(args)? {
        return segment_slots::run(args);
    }
    let folder = args.masks.as_deref().map(files::Folder::make).transpose()?;
    let mut job = load(args)?;
    job.prepared.warnings.iter().for_each(|w| screen::warn(w));
    let device = gpu::device(args.backend, args.adapter.as_deref())?;
    if let Some(caution) = gpu::caution(&device)
        && !args.quiet
    {
        screen::warn(&caution);
    }
    let backend = match args.backend {
        BackendChoice::Cpu => "cpu",
        BackendChoice::Gpu => "gpu",
    };
    let mut options = Options::new(device);
    options.ways.ot = match args.ot {
        OtChoice::Auto | OtChoice::Softspoken => Source::SoftSpoken,
        OtChoice::Silent => Source::Silent,
    };
    let comparison = match args.comparison {
        ComparisonChoice::Auto => choice::comparison(&job.program, &plans(&job.program)?, &options.ways, args.link)?,
        ComparisonChoice::SignSelect => Way::SignSelect,
        ComparisonChoice::FullCircuit => Way::FullCircuit,
        ComparisonChoice::Transfers => Way::Transfers,
    };
    options.ways.compare = comparison;
    args.memory.map_or(Ok(()), |limit| job.keep_within(limit, &options.ways))?;
    options.gate_hash = args.gate_hash.into();
    options.gate_place = args.garble.into();
    options.randomness = args.insecure_test_seed.map_or(Randomness::System, Randomness::FixedForTests);

    let start = Instant::now();
    let mut progress = Progress::new(job.program.executions(), args.quiet);
    let outcome = local::run(job.program.clone(), &job.prepared.integers, &options, &mut progress);
    progress.finish();
    let outcome = outcome?;
    let seconds = start.elapsed().as_secs_f64();

    let labels = outcome.client.labels.unwrap_or_default();
    let map = job.prepared.placement.restore(&labels, &job.volume);
    let layers: Vec<_> =
        outcome.client.preparation.iter().chain(&outcome.client.steps).map(LayerReport::of_client).collect();
    let preprocessing = Total::of_client(&outcome.client.preparation);
    let online = Total::of_client(&outcome.client.steps);
    let compare = args.compare.then(|| compare(&job, &labels, &map)).transpose()?;
    let (dice, union) = match job.score(&map) {
        Some(Overlap::Classes(values)) => (Some(values), None),
        Some(Overlap::Union(union)) => (None, Some(union)),
        None => (None, None),
    };
    let report = Report {
        model: job.bundle.name.clone(),
        backend,
        device: options.device.describe(),
        parameters: Parameters {
            convolutions: Params::hom_conv().describe(),
            square_pairs: Params::square_pairs().describe(),
            comparison: comparison.in_words(),
            ot: options.ways.ot.name(),
            garbling: options.garbling().to_string(),
            security_bits: options.ways.security_bits(),
            hiding_bits: outcome.client.hiding_bits,
        },
        total: Total {
            seconds,
            bytes_client_to_server: preprocessing.bytes_client_to_server + online.bytes_client_to_server,
            bytes_server_to_client: preprocessing.bytes_server_to_client + online.bytes_server_to_client,
            rounds: preprocessing.rounds + online.rounds,
        },
        preprocessing,
        online,
        waits: outcome.client.waits,
        layers,
        compare,
        dice,
        union,
        seen: SeenReport { share: job.seen.share, millimetres: job.seen.millimetres.then_some(job.seen.bounds) },
        peak_memory_bytes: peak_memory_bytes(),
        warnings: job.prepared.warnings.clone(),
        transcript: outcome.client.transcript.zip(outcome.server.transcript).map(|(c, s)| [hex(&c), hex(&s)]),
    };
    let mut outputs = vec![map.stage(&args.output)?];
    if let Some(path) = &args.report {
        let json = serde_json::to_vec_pretty(&report).map_err(|e| Error::Input(format!("{}: {e}", path.display())))?;
        outputs.push(files::stage(path, &json)?);
    }
    if let Some(path) = &args.preview {
        outputs.push(Picture::new(&job.volume, &map).stage(path)?);
    }
    outputs.extend(results::stage(args, &job.bundle.name, &job.bundle.classes, &job.volume, &map)?);
    if !args.quiet {
        tell(args, &job, &report);
    }
    screen::check()?;
    atomic::commit_all(outputs)?;
    folder.into_iter().for_each(files::Folder::keep);
    Ok(job.done(&args.reading))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// Runs the integer and the float network in the clear.
fn compare(job: &Input, labels: &[u8], map: &LabelMap) -> Result<Comparison> {
    let integer = plain::run(&job.program, &job.prepared.integers, Rounding::Nearest);
    let network = job.bundle.network_for(job.program.grid())?;
    // In slabs the labels are those of one pass.
    let windows = job.bundle.windows(job.program.grid())?;
    let float = float::run_in(&network, windows.as_ref(), &job.prepared.real);
    let differing = |other: &[u8]| labels.iter().zip(other).filter(|(a, b)| a != b).count();
    let float_map = job.prepared.placement.restore(&float.labels, &job.volume);
    let against_truth = |map: &LabelMap| match job.score(map) {
        Some(Overlap::Classes(values)) => values,
        Some(Overlap::Union(union)) => vec![union.dice],
        None => Vec::new(),
    };
    Ok(Comparison {
        voxels: labels.len(),
        label_disagreements_vs_integer: differing(&integer.labels),
        label_disagreements_vs_float: differing(&float.labels),
        dice_secure: against_truth(map),
        dice_float: against_truth(&float_map),
        overflows: integer.overflows().map(Overflow::from).collect(),
    })
}

/// What happened, for people.
fn tell(args: &SegmentArgs, job: &Input, report: &Report) {
    if args.verbose {
        say!(
            "model {}, {} multiply-adds; {}",
            report.model,
            job.program.multiply_adds(),
            report.parameters.convolutions
        );
        screen::plans(&plans(&job.program).unwrap_or_default());
        say!(
            "Flooding is the largest that decryption corrects; all replies of this run hide the weights to a distance of 2^-{:.1}.",
            report.parameters.hiding_bits
        );
        say!();
    }
    screen::table(&report.layers, &report.total);
    say!();
    say!(
        "The service never saw the scan: it received {} of ciphertexts, masked values and OT messages, and learned the",
        screen::bytes(report.total.bytes_client_to_server)
    );
    say!(
        "volume's size alone. The hospital never saw the model: it received {} and learned the",
        screen::bytes(report.total.bytes_server_to_client)
    );
    say!(
        "labels, the architecture and its scales. Device: {}. Garbled gates: {}.",
        report.device,
        report.parameters.garbling
    );
    if let Some(seed) = args.insecure_test_seed {
        say!("WARNING: all randomness was derived from the test seed {seed}; nothing was secret in this run.");
    }
    job.tell_seen();
    let classes = report.dice.clone().map(Overlap::Classes);
    if let Some(score) = classes.or(report.union.map(Overlap::Union)) {
        let truth = args.labels.as_deref().unwrap_or(Path::new(""));
        say!("Against {}: {}", truth.display(), job.describe(&score));
    }
    if let Some(c) = &report.compare {
        say!(
            "In the clear: {} of {} labels differ from the integer network's, {} from the float network's.",
            c.label_disagreements_vs_integer,
            c.voxels,
            c.label_disagreements_vs_float
        );
        for o in &c.overflows {
            say!("OVERFLOW: {}: {} values reach {}, the range ends at {}", o.tensor, o.values, o.max_abs, o.limit);
        }
    }
    say!("Wrote {}", args.output.display());
    for path in [&args.report, &args.preview, &args.statistics, &args.masks].into_iter().flatten() {
        say!("Wrote {}", path.display());
    }
}

/// The demo: a shipped volume and the hybrid model.
pub(crate) fn demo() -> Result<Done> {
    let shipped = [PathBuf::from("demo"), Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo")];
    let folder = shipped.into_iter().find(|p| p.is_dir()).ok_or_else(|| {
        Error::Input(
            "demo: the folder of shipped models and volumes was not found; run from the repository, or use `segment`"
                .to_owned(),
        )
    })?;
    let out = PathBuf::from("out");
    let made = files::Folder::make(&out)?;
    let volume = "colin27_left.nii.gz";
    say!(
        "blindvox demo: a hospital holds the MRI crop {volume}, a service holds a 3D U-Net that segments the hippocampus."
    );
    say!(
        "Both run here, as two threads joined by a channel. The fast preset: -m {}",
        folder.join("models/hippo_square1").display()
    );
    say!();
    let done = run(&SegmentArgs {
        model: Some(folder.join("models/hippo_hybrid")),
        remote: RemoteArgs::default(),
        input: vec![folder.join("volumes/images").join(volume)],
        reading: ReadingArgs::default(),
        output: out.join("demo_labels.nii.gz"),
        system: None,
        preset: None,
        force: false,
        backend: BackendChoice::Cpu,
        adapter: None,
        comparison: ComparisonChoice::default(),
        ot: OtChoice::default(),
        link: None,
        memory: None,
        gate_hash: GateHashChoice::default(),
        garble: GarbleChoice::default(),
        report: Some(out.join("demo_report.json")),
        preview: Some(out.join("demo_preview.png")),
        statistics: None,
        masks: None,
        labels: Some(folder.join("volumes/labels").join(volume)),
        compare: true,
        quiet: false,
        verbose: false,
        insecure_test_seed: None,
    })?;
    made.keep();
    Ok(done)
}
