//! `segment` and the demo: both parties in this process, each with its own half of everything.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use blindvox_engine::bfv::Params;
use blindvox_engine::{Backend, Device};
use blindvox_protocols::dice::dice;
use blindvox_protocols::infer::report::{LayerReport, Total, peak_memory_bytes};
use blindvox_protocols::infer::session::plans;
use blindvox_protocols::infer::{Options, local};
use blindvox_protocols::model::{Bundle, Prepared, Program, RangeReport, Rounding, float, plain};
use blindvox_protocols::nonlinear::relu::ReluKind;
use blindvox_protocols::volume::{LabelMap, Volume};
use blindvox_protocols::{Error, Result};
use serde::Serialize;

use crate::cli::{BackendChoice, ComparisonChoice, GarbleChoice, GateHashChoice, SegmentArgs};
use crate::files::{self, check_outputs, check_volume_name};
use crate::preview::Picture;
use crate::screen::{self, Progress};

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
    layers: Vec<LayerReport>,
    compare: Option<Comparison>,
    dice: Option<Vec<f64>>,
    peak_memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transcript: Option<[String; 2]>,
}

#[derive(Serialize)]
struct Parameters {
    convolutions: String,
    square_pairs: String,
    comparison: &'static str,
    /// The hash of gates and where they were computed.
    garbling: String,
    security_bits: u32,
}

/// The secure labels beside those of the networks in the clear.
#[derive(Serialize)]
struct Comparison {
    voxels: usize,
    label_disagreements_vs_integer: usize,
    label_disagreements_vs_float: usize,
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

/// Everything that is read before the run starts, so that bad input costs no time.
struct Job {
    bundle: Bundle,
    program: Arc<Program>,
    volume: Volume,
    prepared: Prepared,
    truth: Option<LabelMap>,
}

impl Job {
    fn load(args: &SegmentArgs) -> Result<Self> {
        check_volume_name("--output", &args.output)?;
        let mut inputs = vec![("--input", &*args.input)];
        inputs.extend(args.labels.as_deref().map(|p| ("--labels", p)));
        let mut outputs = vec![("--output", &*args.output)];
        outputs.extend(args.report.as_deref().map(|p| ("--report", p)));
        outputs.extend(args.preview.as_deref().map(|p| ("--preview", p)));
        check_outputs(&inputs, &outputs)?;

        let bundle = Bundle::load(&args.model)?;
        let program = Arc::new(bundle.program()?);
        let volume = Volume::load(&args.input)?;
        let prepared = bundle.prepare(&program, &volume, &args.input)?;
        let truth = args.labels.as_deref().map(|path| truth(path, &volume)).transpose()?;
        Ok(Self { bundle, program, volume, prepared, truth })
    }
}

/// Reads true labels, which must lie on the volume's grid.
pub fn truth(path: &Path, volume: &Volume) -> Result<LabelMap> {
    let truth = LabelMap::load(path)?;
    if truth.dims != volume.dims {
        let (found, expected) = (truth.dims, volume.dims);
        return Err(Error::Input(format!(
            "{}: labels of {found:?} voxels, the volume has {expected:?}",
            path.display()
        )));
    }
    Ok(truth)
}

/// The `segment` command.
pub fn run(args: &SegmentArgs) -> Result<()> {
    let job = Job::load(args)?;
    let (backend, device) = match args.backend {
        BackendChoice::Cpu => ("cpu", Device::cpu()),
        BackendChoice::Gpu => ("gpu", Device::gpu()?),
    };
    let (comparison, comparison_name) = match args.comparison {
        ComparisonChoice::SignSelect => (ReluKind::SignSelect, "sign by garbled circuit, selection by OT"),
        ComparisonChoice::FullCircuit => (ReluKind::FullCircuit, "full garbled circuit"),
    };
    let mut options = Options::new(device);
    options.comparison = comparison;
    options.gate_hash = args.gate_hash.into();
    options.gate_place = args.garble.into();
    let randomness = args.insecure_test_seed.map_or(local::Randomness::System, local::Randomness::FixedForTests);

    let start = Instant::now();
    let mut progress = Progress::new(job.program.steps.len(), args.quiet);
    let outcome = local::run(job.program.clone(), &job.prepared.integers, &options, randomness, &mut progress);
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
    let report = Report {
        model: job.bundle.name.clone(),
        backend,
        device: options.device.describe(),
        parameters: Parameters {
            convolutions: Params::hom_conv().describe(),
            square_pairs: Params::square_pairs().describe(),
            comparison: comparison_name,
            garbling: options.garbling().to_string(),
            security_bits: 128,
        },
        total: Total {
            seconds,
            bytes_client_to_server: preprocessing.bytes_client_to_server + online.bytes_client_to_server,
            bytes_server_to_client: preprocessing.bytes_server_to_client + online.bytes_server_to_client,
            rounds: preprocessing.rounds + online.rounds,
        },
        preprocessing,
        online,
        layers,
        compare,
        dice: job.truth.as_ref().map(|t| dice(&map.data, &t.data, job.program.classes)),
        peak_memory_bytes: peak_memory_bytes(),
        transcript: outcome.client.transcript.zip(outcome.server.transcript).map(|(c, s)| [hex(&c), hex(&s)]),
    };
    map.save(&args.output)?;
    if let Some(path) = &args.report {
        let json = serde_json::to_vec_pretty(&report).map_err(|e| Error::Input(format!("{}: {e}", path.display())))?;
        files::write(path, &json)?;
    }
    if let Some(path) = &args.preview {
        Picture { scan: &job.volume.data, labels: &map.data, dims: job.volume.dims }.write(path)?;
    }
    if !args.quiet {
        tell(args, &job, &report);
    }
    Ok(())
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// Runs the integer and the float network in the clear.
fn compare(job: &Job, labels: &[u8], map: &LabelMap) -> Result<Comparison> {
    let integer = plain::run(&job.program, &job.prepared.integers, Rounding::Nearest);
    let float = float::run(&job.bundle, &job.prepared.real)?;
    let differing = |other: &[u8]| labels.iter().zip(other).filter(|(a, b)| a != b).count();
    let float_map = job.prepared.placement.restore(&float.labels, &job.volume);
    let against_truth = |map: &LabelMap| match &job.truth {
        Some(truth) => dice(&map.data, &truth.data, job.program.classes),
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
fn tell(args: &SegmentArgs, job: &Job, report: &Report) {
    if args.verbose {
        say!(
            "model {}, {} multiply-adds; {}",
            report.model,
            job.program.multiply_adds(),
            report.parameters.convolutions
        );
        screen::plans(&plans(&job.program).unwrap_or_default());
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
    if let Some(values) = &report.dice {
        let each: Vec<_> =
            job.bundle.classes.iter().skip(1).zip(values).map(|(name, d)| format!("{name} {d:.4}")).collect();
        say!("Dice against {}: {}", args.labels.as_deref().unwrap_or(Path::new("")).display(), each.join(", "));
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
    for path in [&args.report, &args.preview].into_iter().flatten() {
        say!("Wrote {}", path.display());
    }
}

/// The demo: a shipped volume and the hybrid model.
pub fn demo() -> Result<()> {
    let shipped = [PathBuf::from("demo"), Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo")];
    let folder = shipped.into_iter().find(|p| p.is_dir()).ok_or_else(|| {
        Error::Input(
            "demo: the folder of shipped models and volumes was not found; run from the repository, or use `segment`"
                .to_owned(),
        )
    })?;
    let out = PathBuf::from("out");
    std::fs::create_dir_all(&out).map_err(|source| Error::Io { path: out.clone(), source })?;
    let volume = "hippocampus_017.nii.gz";
    say!(
        "blindvox demo: a hospital holds the MRI crop {volume}, a service holds a 3D U-Net that segments the hippocampus."
    );
    say!(
        "Both run here, as two threads joined by a channel. The fast preset: -m {}",
        folder.join("models/hippo_quad").display()
    );
    say!();
    run(&SegmentArgs {
        model: folder.join("models/hippo_hybrid"),
        input: folder.join("volumes/images").join(volume),
        output: out.join("demo_labels.nii.gz"),
        backend: BackendChoice::Cpu,
        comparison: ComparisonChoice::SignSelect,
        gate_hash: GateHashChoice::default(),
        garble: GarbleChoice::default(),
        report: Some(out.join("demo_report.json")),
        preview: Some(out.join("demo_preview.png")),
        labels: Some(folder.join("volumes/labels").join(volume)),
        compare: true,
        quiet: false,
        verbose: false,
        insecure_test_seed: None,
    })
}
