//! `plain`: the fixed-point network without cryptography, and how its values fit their ranges.

use blindvox_protocols::Result;
use blindvox_protocols::atomic;
use blindvox_protocols::dice::dice;
use blindvox_protocols::model::{Bundle, Rounding, plain};
use blindvox_protocols::volume::Volume;

use crate::cli::PlainArgs;
use crate::files::{check_outputs, check_volume_name};
use crate::segment::truth;
use crate::{Done, screen};

/// The `plain` command.
pub fn run(args: &PlainArgs) -> Result<Done> {
    if let Some(output) = &args.output {
        check_volume_name("--output", output)?;
        let inputs = [Some(("--input", &*args.input)), args.labels.as_deref().map(|p| ("--labels", p))];
        check_outputs(&inputs.into_iter().flatten().collect::<Vec<_>>(), &[("--output", output)])?;
    }
    let bundle = Bundle::load(&args.model)?;
    let program = bundle.program()?;
    let volume = Volume::load(&args.input)?;
    let prepared = bundle.prepare(&program, &volume, &args.input)?;
    let truth = args.labels.as_deref().map(|path| truth(path, &volume)).transpose()?;
    let run = plain::run(&program, &prepared.integers, Rounding::Nearest);
    let map = prepared.placement.restore(&run.labels, &volume);

    say!("{:<20} {:>12} {:>12} {:>6} {:>10}", "tensor", "largest", "range ends", "spare", "overflows");
    for r in &run.ranges {
        let spare = (r.limit as f64 / r.max_abs.max(1) as f64).log2();
        say!("{:<20} {:>12} {:>12} {spare:>6.1} {:>10}", r.name, r.max_abs, r.limit, r.overflows);
    }
    let overflowing = run.overflows().count();
    if overflowing > 0 {
        say!(
            "{overflowing} tensors OVERFLOW: this volume is outside the model's calibrated domain; a secure run would be wrong."
        );
    }
    if let Some(truth) = truth {
        let values = dice(&map.data, &truth.data, program.classes);
        let each: Vec<_> =
            bundle.classes.iter().skip(1).zip(values).map(|(name, d)| format!("{name} {d:.4}")).collect();
        say!("Dice: {}", each.join(", "));
    }
    let output = args.output.as_deref().map(|path| map.stage(path)).transpose()?;
    if let Some(path) = &args.output {
        say!("Wrote {}", path.display());
    }
    screen::check()?;
    atomic::commit_all(output.into_iter().collect())?;
    Ok(Done::Whole)
}
