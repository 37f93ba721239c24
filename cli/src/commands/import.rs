//! `import`: a bundle from an ONNX model.

use std::path::Path;

use blindvox_models::data::npy::Array;
use blindvox_models::data::prepare::Preparation;
use blindvox_models::format::bundle::MODEL_FILE;
use blindvox_models::format::onnx::{self, Imported, Options, SUPPORTED};
use blindvox_models::format::training::{self, Training};
use blindvox_protocols::{Error, Result};

use crate::args::{ImportArgs, InstanceNormChoice};
use crate::input::Done;
use crate::ui::screen;

/// The largest difference from a given output, as a part of its largest value.
const MAX_DIFFERENCE: f64 = 1e-3;

/// The `import` command.
pub(crate) fn run(args: &ImportArgs) -> Result<Done> {
    let (Some(model), Some(output)) = (&args.model, &args.output) else {
        list();
        return Ok(Done::Whole);
    };
    let taken = output.join(MODEL_FILE);
    if taken.exists() && !args.force {
        let taken = taken.display();
        return Err(Error::Input(format!("--output: found {taken}, expected another directory (--force replaces it)")));
    }
    let imported = onnx::import(model, &options(args)?)?;
    imported.notices.iter().for_each(|notice| screen::warn(notice));
    if let Some([input, expected]) = args.check.as_deref() {
        check(&imported, input, expected)?;
    }
    let graph = &imported.model().graph;
    say!("{}: {} layers, classes {}", imported.model().name, graph.nodes.len(), imported.model().classes.join(", "));
    say!("Wrote {}", output.display());
    say!("Next: blindvox calibrate -m {} VOLUME.nii.gz ..", output.display());
    screen::check()?;
    imported.write(output)?;
    Ok(Done::Whole)
}

fn options(args: &ImportArgs) -> Result<Options> {
    let training = match (&args.monai, &args.nnunet) {
        (Some(folder), _) => Some(training::monai::read(folder)?),
        (None, Some(folder)) => Some(training::nnunet::read(folder)?),
        (None, None) => None,
    };
    training.iter().flat_map(|t| &t.notices).for_each(|notice| screen::warn(notice));
    let window = training.as_ref().and_then(Training::window).map(<[usize]>::to_vec);
    let (known, stated) = training.map_or((None, None), |t| (Some(t.preparation), t.classes));
    Ok(Options {
        name: args.name.clone(),
        classes: args.classes.clone().or(stated),
        dims: args.dims.clone().or(window),
        output: args.scores.clone(),
        preparation: args.preparation.as_deref().map(preparation).transpose()?.or(known),
        fold: args.instance_norm == Some(InstanceNormChoice::Fold),
    })
}

fn preparation(path: &Path) -> Result<Preparation> {
    let text = std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|e| Error::Input(format!("--preparation: {}: {e}", path.display())))
}

/// Holds the network in real numbers to what the model gave.
fn check(imported: &Imported, input: &Path, expected: &Path) -> Result<()> {
    let found = imported.difference(&Array::load(input)?, &Array::load(expected)?)?;
    if found > MAX_DIFFERENCE {
        let expected = expected.display();
        return Err(Error::Input(format!(
            "--check: {expected}: found outputs that differ by {found:.1e} of the largest, expected at most {MAX_DIFFERENCE:.0e}"
        )));
    }
    say!("Check: outputs differ by at most {found:.1e} of the largest");
    Ok(())
}

fn list() {
    for (operator, becomes) in SUPPORTED {
        say!("{operator:<22} {becomes}");
    }
}
