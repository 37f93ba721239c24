//! `segment --system ckks`: the service computes alone, on what the client encrypted.
//!
//! A planar network takes an array of prepared images and gives one of labels; a network of volumes takes a scan.

use std::path::Path;

use blindvox_models::data::npy::{self, Array};
use blindvox_models::{Bundle, atomic};
use blindvox_protocols::{Error, Result};

use crate::args::{ComparisonChoice, GarbleChoice, GateHashChoice, OtChoice, SegmentArgs};
use crate::args_slots::SystemChoice;
use crate::commands::slots::{self, Wanted};
use crate::commands::{classify, results};
use crate::input::{Done, Input};
use crate::ui::files::{self, check_outputs, check_volume_name};
use crate::ui::preview::Picture;
use crate::ui::screen;

/// Whether the run is under CKKS: as asked for, else where the model has no scales for shares.
///
/// # Errors
/// [`Error::Input`] for flags of the other system.
pub(super) fn wanted(args: &SegmentArgs) -> Result<bool> {
    let ckks = match args.system {
        Some(system) => system == SystemChoice::Ckks,
        None => {
            let bundle = Bundle::load(args.model.as_deref().unwrap_or(Path::new("")))?;
            bundle.ckks.is_some() && bundle.quantization.tensors.is_empty()
        }
    };
    let shares = [
        ("--comparison", args.comparison != ComparisonChoice::default()),
        ("--ot", args.ot != OtChoice::default()),
        ("--link", args.link.is_some()),
        ("--memory", args.memory.is_some()),
        ("--gate-hash", args.gate_hash != GateHashChoice::default()),
        ("--garble", args.garble != GarbleChoice::default()),
    ];
    let slots = [("--preset", args.preset.is_some()), ("--force", args.force)];
    let (flags, system): (&[_], _) = if ckks { (&shares, "ckks") } else { (&slots, "bunet") };
    match flags.iter().find(|(_, given)| *given) {
        Some((flag, _)) => {
            Err(Error::Input(format!("{flag}: found it beside system {system}, which has no such choice")))
        }
        None => Ok(ckks),
    }
}

fn choices(args: &SegmentArgs) -> Wanted<'_> {
    Wanted {
        model: args.model.as_deref().unwrap_or(Path::new("")),
        preset: args.preset.unwrap_or_default(),
        backend: args.backend,
        adapter: args.adapter.as_deref(),
        seed: args.insecure_test_seed,
        force: args.force,
        quiet: args.quiet,
        compare: args.compare,
    }
}

/// The command.
pub(super) fn run(args: &SegmentArgs) -> Result<Done> {
    let bundle = Bundle::load(args.model.as_deref().unwrap_or(Path::new("")))?;
    let model = args.model.as_deref().unwrap_or(Path::new("")).display();
    let (input, scores) = (bundle.input_shape(), bundle.layout().shapes.last().map_or(0, |s| s.voxels()));
    if scores == 1 {
        return Err(Error::Input(format!(
            "{model}: found a network that gives one class for all of a scan, expected one that labels its voxels \
             (`blindvox classify` says the class)"
        )));
    }
    if bundle.layout().planar && input.dims[0] == 1 { planar(args, &bundle) } else { volume(args, bundle) }
}

/// Images in, labels out.
fn planar(args: &SegmentArgs, bundle: &Bundle) -> Result<Done> {
    let array = |path: &Path| path.extension().is_some_and(|e| e == "npy");
    let ([input], true) = (&args.input[..], array(&args.output)) else {
        return Err(Error::Input(format!(
            "--output {}: a planar network under ckks takes one array of prepared images and writes labels to another (.npy)",
            args.output.display()
        )));
    };
    for (flag, given) in [
        ("--preview", args.preview.is_some()),
        ("--statistics", args.statistics.is_some()),
        ("--masks", args.masks.is_some()),
    ] {
        if given {
            return Err(Error::Input(format!("{flag}: found it beside images, which have no place in a body")));
        }
    }
    let mut outputs = vec![("--output", &*args.output)];
    outputs.extend(args.report.as_deref().map(|p| ("--report", p)));
    let mut inputs = vec![("--input", &**input)];
    inputs.extend(args.labels.as_deref().map(|p| ("--labels", p)));
    check_outputs(&inputs, &outputs)?;
    let images = classify::images(input, bundle)?;
    let truth = args.labels.as_deref().map(Array::load).transpose()?;
    let mut run = slots::run(&choices(args), bundle, &images, Vec::new())?;
    let labels = run.labels.concat();
    if let (Some(truth), Some(path)) = (&truth, &args.labels) {
        if truth.values.len() != labels.len() {
            let (path, found) = (path.display(), truth.values.len());
            return Err(Error::Input(format!("{path}: found {found} labels, expected {}", labels.len())));
        }
        let truth: Vec<u8> = truth.values.iter().map(|&x| x as u8).collect();
        run.report.dice = Some(dice(&labels, &truth, bundle.classes.len()));
    }
    let [_, h, w] = bundle.input_shape().dims;
    let mut staged = vec![files::stage(&args.output, &npy::labels(&[images.len(), h, w], &labels))?];
    staged.extend(report(args, &run.report)?);
    finish(args, &run.report);
    screen::check()?;
    atomic::commit_all(staged)?;
    Ok(Done::Whole)
}

/// A scan in, a label map out.
fn volume(args: &SegmentArgs, bundle: Bundle) -> Result<Done> {
    check_volume_name("--output", &args.output)?;
    let mut inputs: Vec<_> = args.input.iter().map(|p| ("--input", &**p)).collect();
    inputs.extend(args.labels.as_deref().map(|p| ("--labels", p)));
    let mut outputs = vec![("--output", &*args.output)];
    outputs.extend(args.report.as_deref().map(|p| ("--report", p)));
    outputs.extend(args.preview.as_deref().map(|p| ("--preview", p)));
    outputs.extend(args.statistics.as_deref().map(|p| ("--statistics", p)));
    let folder = args.masks.as_deref().map(files::Folder::make).transpose()?;
    let masks = args.masks.as_deref().map_or_else(Vec::new, |masks| results::masks(masks, &bundle.classes));
    outputs.extend(masks.iter().map(|p| ("--masks", &**p)));
    check_outputs(&inputs, &outputs)?;
    let job = Input::load(bundle, &args.input, args.labels.as_deref(), &args.reading)?;
    let fits = job.program.grid() == job.bundle.input_shape().dims && job.program.windows().is_none();
    if !fits {
        let found = job.program.grid();
        return Err(Error::Input(format!(
            "{}: found a grid of {found:?}, expected the network's own under ckks, {:?}",
            args.input[0].display(),
            job.bundle.input_shape().dims
        )));
    }
    let images = vec![job.prepared.real.clone()];
    let mut run = slots::run(&choices(args), &job.bundle, &images, job.prepared.warnings.clone())?;
    let map = job.prepared.placement.restore(&run.labels[0], &job.volume);
    let score = job.score(&map);
    if let Some(blindvox_models::data::dice::Overlap::Classes(values)) = &score {
        run.report.dice = Some(values.clone());
    }
    let mut staged = vec![map.stage(&args.output)?];
    staged.extend(report(args, &run.report)?);
    if let Some(path) = &args.preview {
        staged.push(Picture::new(&job.volume, &map).stage(path)?);
    }
    staged.extend(results::stage(args, &job.bundle.name, &job.bundle.classes, &job.volume, &map)?);
    finish(args, &run.report);
    if !args.quiet {
        job.tell_seen();
        if let Some(score) = score {
            let truth = args.labels.as_deref().unwrap_or(Path::new(""));
            say!("Against {}: {}", truth.display(), job.describe(&score));
        }
    }
    screen::check()?;
    atomic::commit_all(staged)?;
    folder.into_iter().for_each(files::Folder::keep);
    Ok(job.done(&args.reading))
}

fn report(args: &SegmentArgs, report: &slots::Report) -> Result<Option<atomic::Staged>> {
    let Some(path) = &args.report else { return Ok(None) };
    let json = serde_json::to_vec_pretty(report).map_err(|e| Error::Input(format!("{}: {e}", path.display())))?;
    Ok(Some(files::stage(path, &json)?))
}

fn finish(args: &SegmentArgs, report: &slots::Report) {
    report.warnings.iter().for_each(|w| screen::warn(w));
    if args.quiet {
        return;
    }
    slots::tell(report, args.insecure_test_seed, args.verbose);
    if let Some(dice) = &report.dice {
        let dice: Vec<_> = dice.iter().map(|d| format!("{d:.4}")).collect();
        say!("Dice of the classes after the first: {}", dice.join(", "));
    }
    say!("Wrote {}", args.output.display());
    [&args.report, &args.preview, &args.statistics, &args.masks]
        .into_iter()
        .flatten()
        .for_each(|path| say!("Wrote {}", path.display()));
}

fn dice(found: &[u8], truth: &[u8], classes: usize) -> Vec<f64> {
    blindvox_models::data::dice::dice(found, truth, classes)
}
