//! `plain`: the fixed-point network without cryptography, and how its values fit their ranges.

use blindvox_models::atomic;
use blindvox_models::{Rounding, plain};
use blindvox_protocols::Result;

use crate::args::PlainArgs;
use crate::input::{Done, Input};
use crate::ui::files::{check_outputs, check_volume_name};
use crate::ui::screen;

/// The `plain` command.
pub fn run(args: &PlainArgs) -> Result<Done> {
    if let Some(output) = &args.output {
        check_volume_name("--output", output)?;
        let inputs = [Some(("--input", &*args.input)), args.labels.as_deref().map(|p| ("--labels", p))];
        check_outputs(&inputs.into_iter().flatten().collect::<Vec<_>>(), &[("--output", output)])?;
    }
    let input = Input::load(&args.model, &args.input, args.labels.as_deref(), args.reading)?;
    input.prepared.warnings.iter().for_each(|w| screen::warn(w));
    let run = plain::run(&input.program, &input.prepared.integers, Rounding::Nearest);
    let map = input.prepared.placement.restore(&run.labels, &input.volume);

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
    input.tell_seen();
    if let Some(score) = input.score(&map) {
        say!("{}", input.describe(&score));
    }
    let output = args.output.as_deref().map(|path| map.stage(path)).transpose()?;
    if let Some(path) = &args.output {
        say!("Wrote {}", path.display());
    }
    screen::check()?;
    atomic::commit_all(output.into_iter().collect())?;
    Ok(input.done(args.reading))
}
