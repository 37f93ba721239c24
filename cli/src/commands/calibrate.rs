//! `calibrate`: choose each tensor's scale from the largest values that real volumes reach, and compare the integer
//! with the float network on them.

use blindvox_models::{Agreement, Bundle, calibrate, observe};
use blindvox_protocols::Result;
use blindvox_protocols::infer::slots::choose;

use crate::args::CalibrateArgs;
use crate::input::Done;
use crate::ui::screen;

/// The `calibrate` command.
pub(crate) fn run(args: &CalibrateArgs) -> Result<Done> {
    let mut bundle = Bundle::load(&args.model)?;
    let agreements = if args.keep_scales {
        observe(&mut bundle, &args.volumes)?
    } else {
        bundle.quantization.spare_bits = args.spare_bits;
        calibrate(&mut bundle, &args.volumes)?
    };
    let program = bundle.program()?;
    if args.ckks
        && let Some(calibration) = &bundle.calibration
    {
        bundle.ckks = Some(choose::section(&bundle.network()?, calibration, bundle.preparation.clamp)?);
    }
    say!("{:<20} {:>6} {:>12} {:>6}", "tensor", "scale", "largest", "spare");
    for t in &program.tensors {
        say!("{:<20} {:>6} {:>12} {:>6}", t.name, format!("2^{}", t.scale_bits), t.max_abs, t.spare_bits);
    }
    say!();
    for a in &agreements {
        let dice: Vec<_> = a.dice.iter().map(|d| format!("{d:.4}")).collect();
        let dice = if dice.is_empty() { String::new() } else { format!(", Dice {}", dice.join(" ")) };
        say!("{}: {} of {} labels differ from the float network's{dice}", a.volume.display(), a.differing, a.voxels);
    }
    for a in agreements.iter().filter(|a| a.folding.is_some()) {
        let changed = a.folding.unwrap_or_default();
        let percent = 100.0 * changed as f64 / a.voxels as f64;
        say!("{}: folding instance normalisations changes {changed} labels ({percent:.2} %)", a.volume.display());
    }
    for warning in agreements.iter().filter_map(Agreement::warning) {
        screen::warn(&warning);
    }
    for (name, preset) in bundle.ckks.iter().flat_map(|ckks| &ckks.presets).filter(|_| args.ckks) {
        let primes = preset.chain.len() + preset.special.len();
        say!("ckks {name}: n = {}, {primes} primes, flood of {} bits", preset.n, preset.flood);
    }
    say!("Wrote {}", args.model.join("model.json").display());
    screen::check()?;
    bundle.save_model()?;
    Ok(Done::Whole)
}
