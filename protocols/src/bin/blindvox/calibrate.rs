//! `calibrate`: choose each tensor's scale from the largest values that real volumes reach.

use blindvox_protocols::Result;
use blindvox_protocols::model::{self, Bundle};

use crate::cli::CalibrateArgs;
use crate::{Done, screen};

/// The `calibrate` command.
pub fn run(args: &CalibrateArgs) -> Result<Done> {
    let mut bundle = Bundle::load(&args.model)?;
    bundle.quantization.spare_bits = args.spare_bits;
    model::calibrate(&mut bundle, &args.volumes)?;
    let program = bundle.program()?;
    say!("{:<20} {:>6} {:>12} {:>6}", "tensor", "scale", "largest", "spare");
    for t in &program.tensors {
        say!("{:<20} {:>6} {:>12} {:>6}", t.name, format!("2^{}", t.scale_bits), t.max_abs, t.spare_bits);
    }
    say!("Wrote {}", args.model.join("model.json").display());
    screen::check()?;
    bundle.save_model()?;
    Ok(Done::Whole)
}
