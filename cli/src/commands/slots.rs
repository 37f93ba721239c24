//! Runs in slots as `segment` and `classify` share them: models, both parties, the report, what each side learned.

use std::path::Path;
use std::time::Instant;

use blindvox_models::plain::float;
use blindvox_models::{Bundle, Network};
use blindvox_protocols::infer::Randomness;
use blindvox_protocols::infer::report::{LayerReport, StepCost, Total, peak_memory_bytes};
use blindvox_protocols::infer::slots::local::{self, LocalOutcome};
use blindvox_protocols::infer::slots::{Choice, Model, Models, Source};
use blindvox_protocols::{Error, Result};
use serde::Serialize;

use crate::args_slots::CkksPreset;
use crate::gpu::{self, BackendChoice};
use crate::ui::screen::{self, Progress};

/// What the two commands have in common.
pub(crate) struct Wanted<'a> {
    pub model: &'a Path,
    pub preset: CkksPreset,
    pub backend: BackendChoice,
    pub adapter: Option<&'a str>,
    pub seed: Option<u64>,
    pub force: bool,
    pub quiet: bool,
    pub compare: bool,
}

/// What a run gave.
pub(crate) struct Run {
    /// By input, in the order channel, z, y, x.
    pub scores: Vec<Vec<f64>>,
    /// By input: the class with the largest score, the lowest of a tie.
    pub labels: Vec<Vec<u8>>,
    pub report: Report,
}

/// What `--report` writes.
#[derive(Serialize)]
pub(crate) struct Report {
    pub model: String,
    pub system: &'static str,
    pub preset: &'static str,
    pub backend: &'static str,
    pub device: String,
    pub inputs: usize,
    pub parameters: Parameters,
    pub setup: Total,
    pub online: Total,
    pub total: Total,
    pub waits: u64,
    pub layers: Vec<LayerReport>,
    pub learned: Learned,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compare: Option<Compare>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dice: Option<Vec<f64>>,
    pub peak_memory_bytes: Option<u64>,
    pub warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<[String; 2]>,
}

/// What a run was made of.
#[derive(Serialize)]
pub(crate) struct Parameters {
    pub scheme: String,
    pub rotations: usize,
    pub terms: usize,
    pub keys: usize,
    pub keys_bytes: usize,
    pub input_bytes: usize,
    pub reply_bytes: usize,
    /// log2 of the flood over the predicted error; 0: the weights are not hidden.
    pub flooding_bits: u32,
    pub security_bits: u32,
}

/// Who learned what.
#[derive(Serialize)]
pub(crate) struct Learned {
    pub client: String,
    pub server: &'static str,
    pub dealer: &'static str,
}

/// Results beside those of the float network.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Compare {
    pub voxels: usize,
    pub label_disagreements_vs_float: usize,
    pub largest_score_error: f64,
}

impl CkksPreset {
    /// As bundles and reports name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::Fast => "fast",
        }
    }
}

/// The class of each voxel, the lowest of a tie.
fn labels(scores: &[f64], classes: usize) -> Vec<u8> {
    let voxels = scores.len() / classes;
    let best = |v: usize| {
        (1..classes).fold(0, |best, c| if scores[c * voxels + v] > scores[best * voxels + v] { c } else { best })
    };
    (0..voxels).map(|v| best(v) as u8).collect()
}

/// Runs a bundle on prepared inputs, both parties in this process.
pub(crate) fn run(wanted: &Wanted<'_>, bundle: &Bundle, images: &[Vec<f32>], mut warnings: Vec<String>) -> Result<Run> {
    let Some(ckks) = &bundle.ckks else {
        let model = wanted.model.display();
        return Err(Error::Input(format!(
            "{model}: found no ckks section in model.json, expected one for --system ckks"
        )));
    };
    let (network, name) = (bundle.network()?, wanted.preset.name());
    let device = gpu::device(wanted.backend, wanted.adapter)?;
    if let Some(caution) = gpu::caution(&device)
        && !wanted.quiet
    {
        screen::warn(&caution);
    }
    let clamp = bundle.preparation.clamp;
    let source = Source { name: &bundle.name, classes: &bundle.classes, network: &network, ckks, clamp };
    let model = Model::new(&source, name)?;
    let (plan_counts, keys) = (model.plan().counts(), model.plan().rotations().0.len());
    let (scheme, ring) = (model.params().describe(), model.public().ring.clone());
    let mut progress = Progress::new(model.plan().linear().count(), wanted.quiet);
    let models = Models::new([model]);
    let choice = Choice {
        device: device.clone(),
        randomness: wanted.seed.map_or(Randomness::System, Randomness::FixedForTests),
    };
    let start = Instant::now();
    let inputs: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
    let outcome = local::run(&models, name, &inputs, &choice, |layer| progress.step(layer));
    progress.finish();
    let LocalOutcome { client, service } = outcome?;
    let seconds = start.elapsed().as_secs_f64();
    for (at, scores) in client.scores.iter().enumerate() {
        warnings.extend(scores.doubts.iter().map(|doubt| format!("input {at}: not to be trusted: {doubt}")));
    }
    let doubtful = client.scores.iter().position(|scores| !scores.doubts.is_empty());
    if let (Some(at), false) = (doubtful, wanted.force) {
        // The run has ended as any other: the service learnt nothing of this.
        let doubts = client.scores[at].doubts.join("; ");
        return Err(Error::Input(format!(
            "input {at}: found {doubts}: unlike what the model was made for, its scores mean nothing (--force writes them)"
        )));
    }
    let classes = bundle.classes.len();
    let scores: Vec<Vec<f64>> = client.scores.iter().map(|s| s.values.to_vec()).collect();
    let found: Vec<Vec<u8>> = scores.iter().map(|s| labels(s, classes)).collect();
    let (setup, online) = (Total::of_client(&client.setup), Total::of_client(&client.online));
    let compare = wanted.compare.then(|| compared(&network, images, (&scores, &found)));
    let report = Report {
        model: bundle.name.clone(),
        system: "ckks",
        preset: name,
        backend: match wanted.backend {
            BackendChoice::Cpu => "cpu",
            BackendChoice::Gpu => "gpu",
        },
        device: device.describe(),
        inputs: images.len(),
        parameters: Parameters {
            scheme,
            rotations: plan_counts.babies + plan_counts.giants,
            terms: plan_counts.terms,
            keys,
            keys_bytes: client.bytes[0],
            input_bytes: client.bytes[1],
            reply_bytes: client.bytes[2],
            flooding_bits: ring.hiding,
            security_bits: 128,
        },
        total: Total {
            seconds,
            bytes_client_to_server: setup.bytes_client_to_server + online.bytes_client_to_server,
            bytes_server_to_client: setup.bytes_server_to_client + online.bytes_server_to_client,
            rounds: setup.rounds + online.rounds,
        },
        setup,
        online,
        waits: client.waits,
        layers: layers(&client.setup, &client.online),
        learned: Learned {
            client: learned(wanted.preset, ring.hiding),
            server: "the number of inputs and their size, and no result",
            dealer: "there is none",
        },
        compare,
        accuracy: None,
        dice: None,
        peak_memory_bytes: peak_memory_bytes(),
        warnings,
        transcript: client.transcript.zip(service.transcript).map(|(c, s)| [hex(&c), hex(&s)]),
    };
    Ok(Run { scores, labels: found, report })
}

fn layers(setup: &[StepCost], online: &[StepCost]) -> Vec<LayerReport> {
    setup.iter().chain(online).map(LayerReport::of_client).collect()
}

fn learned(preset: CkksPreset, hiding: u32) -> String {
    match preset {
        CkksPreset::Fast => {
            "scores, the architecture and a bound on scores; nothing hides the weights in the error of scores"
                .to_owned()
        }
        CkksPreset::Balanced => {
            format!(
                "scores, the architecture and a bound on scores; weights in the error are hidden to 2^-{hiding} a coefficient"
            )
        }
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

fn compared(network: &Network, images: &[Vec<f32>], (scores, found): (&[Vec<f64>], &[Vec<u8>])) -> Compare {
    let mut all = Compare { voxels: 0, label_disagreements_vs_float: 0, largest_score_error: 0.0 };
    for (image, (scores, labels)) in images.iter().zip(scores.iter().zip(found)) {
        let float = float::run(network, image);
        all.voxels += labels.len();
        all.label_disagreements_vs_float += labels.iter().zip(&float.labels).filter(|(a, b)| a != b).count();
        let errors = scores.iter().zip(&float.logits).map(|(a, b)| (a - f64::from(*b)).abs());
        all.largest_score_error = errors.fold(all.largest_score_error, f64::max);
    }
    all
}

/// What happened, for people.
pub(crate) fn tell(report: &Report, seed: Option<u64>, verbose: bool) {
    if verbose {
        let p = &report.parameters;
        say!(
            "{}; {} rotations, {} products with weights, {} rotation keys of {}",
            p.scheme,
            p.rotations,
            p.terms,
            p.keys,
            screen::bytes(p.keys_bytes as u64)
        );
        say!();
    }
    screen::table(&report.layers, &report.total);
    say!();
    say!(
        "The service never saw the input: it received {} under CKKS, keys included, and learned {}.",
        screen::bytes(report.total.bytes_client_to_server),
        report.learned.server
    );
    say!("The hospital never saw the model: it learned {}. Device: {}.", report.learned.client, report.device);
    if report.preset == CkksPreset::Fast.name() {
        say!(
            "Preset fast: the weights are NOT hidden from a client that keeps many replies; --preset balanced hides them."
        );
    }
    if let Some(seed) = seed {
        say!("WARNING: all randomness was derived from the test seed {seed}; nothing was secret in this run.");
    }
    if let Some(c) = &report.compare {
        say!(
            "In the clear: {} of {} labels differ from the float network's; scores by {:.2e} at most.",
            c.label_disagreements_vs_float,
            c.voxels,
            c.largest_score_error
        );
    }
}
