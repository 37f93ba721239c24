//! `plain`: the fixed-point network without cryptography, and how its values fit their ranges.

use blindvox_models::atomic;
use blindvox_models::{Rounding, plain};
use blindvox_protocols::{Error, Result};

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
    let map_flag = args.output.as_ref().map(|_| "--output").or(args.labels.as_ref().map(|_| "--labels"));
    if let (true, Some(flag)) = (input.program.gives_class(), map_flag) {
        let model = args.model.display();
        return Err(Error::Input(format!("{flag}: found a map of labels, {model} gives one class for all of a scan")));
    }
    input.prepared.warnings.iter().for_each(|w| screen::warn(w));
    let run = plain::run(&input.program, &input.prepared.integers, Rounding::Nearest);
    let map = (!input.program.gives_class()).then(|| input.prepared.placement.restore(&run.labels, &input.volume));

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
    Ok(input.done(args.reading))
}
