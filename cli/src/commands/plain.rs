//! `plain`: the fixed-point network without cryptography, and how its values fit their ranges.

use blindvox_models::atomic;
use blindvox_models::data::table::labels_as_csv;
use blindvox_models::integers::quantize::quantize_input;
use blindvox_models::{Bundle, RangeReport, Rounding, plain};
use blindvox_protocols::{Error, Result};

use crate::args::PlainArgs;
use crate::input::{Done, Input};
use crate::ui::files::{check_outputs, check_volume_name, stage};
use crate::ui::screen;

/// The `plain` command.
pub(crate) fn run(args: &PlainArgs) -> Result<Done> {
    if let Some(output) = &args.output {
        let inputs = args.input.iter().map(|p| ("--input", &**p));
        let inputs: Vec<_> = inputs.chain(args.labels.as_deref().map(|p| ("--labels", p))).collect();
        check_outputs(&inputs, &[("--output", output)])?;
    }
    let bundle = Bundle::load(&args.model)?;
    if bundle.preparation.table.is_some() { rows(args, &bundle) } else { volume(args, bundle) }
}

/// On a scan: a label for each voxel, or a class.
fn volume(args: &PlainArgs, bundle: Bundle) -> Result<Done> {
    if let Some(output) = &args.output {
        check_volume_name("--output", output)?;
    }
    let input = Input::load(bundle, &args.input, args.labels.as_deref(), &args.reading)?;
    let map_flag = args.output.as_ref().map(|_| "--output").or(args.labels.as_ref().map(|_| "--labels"));
    if let (true, Some(flag)) = (input.program.gives_class(), map_flag) {
        let model = args.model.display();
        return Err(Error::Input(format!("{flag}: found a map of labels, {model} gives one class for all of a scan")));
    }
    input.prepared.warnings.iter().for_each(|w| screen::warn(w));
    let run = plain::run(&input.program, &input.prepared.integers, Rounding::Nearest);
    let map = (!input.program.gives_class()).then(|| input.prepared.placement.restore(&run.labels, &input.volume));

    tell_ranges(&run.ranges);
    input.tell_seen();
    let mut output = None;
    if let Some(map) = &map {
        if let Some(score) = input.score(map) {
            say!("{}", input.describe(&score));
        }
        output = args.output.as_deref().map(|path| map.stage(path)).transpose()?;
    } else {
        let class = usize::from(run.labels[0]);
        say!("Class: {class} {}", input.bundle.classes[class]);
    }
    if let Some(path) = &args.output {
        say!("Wrote {}", path.display());
    }
    screen::check()?;
    atomic::commit_all(output.into_iter().collect())?;
    Ok(input.done(&args.reading))
}

/// On a table: a class for each row.
fn rows(args: &PlainArgs, bundle: &Bundle) -> Result<Done> {
    let wrong = |flag: &str, what: &str| Error::Input(format!("{flag}: {what} {}", args.model.display()));
    let reading = &args.reading;
    let flags = [
        ("--labels", args.labels.is_some()),
        ("--crop", reading.crop),
        ("--assume", reading.assume.is_some()),
        ("--affine", reading.affine.is_some()),
        ("--nan", reading.nan.is_some()),
    ];
    if let Some((flag, _)) = flags.into_iter().find(|(_, given)| *given) {
        return Err(wrong(flag, "is for volumes, rows of a table go through"));
    }
    if let Some(output) = args.output.as_ref().filter(|path| path.extension().is_none_or(|e| e != "csv")) {
        return Err(Error::Input(format!("--output {}: expected a name that ends in .csv", output.display())));
    }
    let [table] = &args.input[..] else {
        return Err(wrong("--input", "is one table for"));
    };
    let program = bundle.program()?;
    let (mut labels, mut ranges) = (Vec::new(), Vec::<RangeReport>::new());
    for input in bundle.inputs(table)?.values {
        let run = plain::run(&program, &quantize_input(&input, &program.tensors[program.input]), Rounding::Nearest);
        labels.push(usize::from(run.labels[0]));
        if ranges.is_empty() {
            ranges = run.ranges;
        } else {
            for (all, one) in ranges.iter_mut().zip(run.ranges) {
                all.max_abs = all.max_abs.max(one.max_abs);
                all.overflows += one.overflows;
            }
        }
    }
    tell_ranges(&ranges);
    for (class, name) in bundle.classes.iter().enumerate() {
        say!("Class: {class} {name}: {} of {} rows", labels.iter().filter(|l| **l == class).count(), labels.len());
    }
    let names = labels.iter().map(|&label| bundle.classes[label].as_str());
    let output = args.output.as_deref().map(|path| stage(path, &labels_as_csv(names))).transpose()?;
    if let Some(path) = &args.output {
        say!("Wrote {}", path.display());
    }
    screen::check()?;
    atomic::commit_all(output.into_iter().collect())?;
    Ok(Done::Whole)
}

/// How values fit their ranges.
fn tell_ranges(ranges: &[RangeReport]) {
    say!("{:<20} {:>12} {:>12} {:>6} {:>10}", "tensor", "largest", "range ends", "spare", "overflows");
    for r in ranges {
        let spare = (r.limit as f64 / r.max_abs.max(1) as f64).log2();
        say!("{:<20} {:>12} {:>12} {spare:>6.1} {:>10}", r.name, r.max_abs, r.limit, r.overflows);
    }
    let overflowing = ranges.iter().filter(|r| r.overflows > 0).count();
    if overflowing > 0 {
        say!(
            "{overflowing} tensors OVERFLOW: this input is outside the model's calibrated domain; a secure run would be wrong."
        );
    }
}
