//! `classify`: the class of each image of an array, both parties in this process, each with its own half of everything.

use std::path::Path;

use blindvox_models::data::npy::Array;
use blindvox_models::{Bundle, atomic};
use blindvox_protocols::{Error, Result};

use crate::args_slots::ClassifyArgs;
use crate::commands::slots::{self, Run, Wanted};
use crate::input::Done;
use crate::ui::files::{check_outputs, stage};
use crate::ui::screen;

/// The `classify` command.
pub(crate) fn run(args: &ClassifyArgs) -> Result<Done> {
    let (bundle, images) = load(args)?;
    let wanted = Wanted {
        model: &args.model,
        preset: args.preset,
        backend: args.backend,
        adapter: args.adapter.as_deref(),
        seed: args.insecure_test_seed,
        force: args.force,
        quiet: args.quiet,
        compare: args.compare,
    };
    let Run { scores, labels, mut report } = slots::run(&wanted, &bundle, &images, Vec::new())?;
    let classes: Vec<usize> = labels.iter().map(|l| usize::from(l[0])).collect();
    if let Some(path) = &args.labels {
        let truth = truth(path, images.len())?;
        let right = truth.iter().zip(&classes).filter(|(a, b)| a == b).count();
        report.accuracy = Some(right as f64 / truth.len() as f64);
    }
    let mut outputs = Vec::new();
    if let Some(path) = &args.output {
        outputs.push(stage(path, table(&bundle, &classes, &scores).as_bytes())?);
    }
    if let Some(path) = &args.report {
        let json = serde_json::to_vec_pretty(&report).map_err(|e| Error::Input(format!("{}: {e}", path.display())))?;
        outputs.push(stage(path, &json)?);
    }
    report.warnings.iter().for_each(|w| screen::warn(w));
    if !args.quiet {
        for (at, (&class, scores)) in classes.iter().zip(&scores).enumerate() {
            let scores: Vec<_> = scores.iter().map(|s| format!("{s:.3}")).collect();
            say!("image {at}: {} (scores {})", bundle.classes[class], scores.join(", "));
        }
        say!();
        slots::tell(&report, args.insecure_test_seed, args.verbose);
        if let Some(accuracy) = report.accuracy {
            say!("Right classes: {:.1} %", 100.0 * accuracy);
        }
        [&args.output, &args.report].into_iter().flatten().for_each(|path| say!("Wrote {}", path.display()));
    }
    screen::check()?;
    atomic::commit_all(outputs)?;
    Ok(Done::Whole)
}

fn load(args: &ClassifyArgs) -> Result<(Bundle, Vec<Vec<f32>>)> {
    let mut inputs = vec![("--input", &*args.input)];
    inputs.extend(args.labels.as_deref().map(|p| ("--labels", p)));
    let outputs = [("--output", args.output.as_deref()), ("--report", args.report.as_deref())];
    let outputs: Vec<_> = outputs.into_iter().filter_map(|(flag, path)| Some((flag, path?))).collect();
    check_outputs(&inputs, &outputs)?;
    let bundle = Bundle::load(&args.model)?;
    let scores = bundle.layout().shapes.last().map_or(0, |s| s.voxels());
    if scores != 1 {
        let model = args.model.display();
        return Err(Error::Input(format!(
            "{model}: found a network that labels voxels, expected one that gives a class (`blindvox segment` labels)"
        )));
    }
    let images = images(&args.input, &bundle)?;
    Ok((bundle, images))
}

/// Prepared images, `[images, channels, H, W]` or one without the first dimension.
pub(crate) fn images(path: &Path, bundle: &Bundle) -> Result<Vec<Vec<f32>>> {
    let array = Array::load(path)?;
    let shape = bundle.input_shape();
    let [_, h, w] = shape.dims;
    let one = [shape.channels, h, w];
    let fits = array.dims == one || (array.dims.len() == 4 && array.dims[1..] == one);
    if !fits || shape.dims[0] != 1 || array.values.is_empty() {
        let shown = path.display();
        return Err(Error::Input(format!(
            "{shown}: found an array of {:?}, expected images of [{}, {h}, {w}], several along a first dimension",
            array.dims, shape.channels
        )));
    }
    let most = blindvox_protocols::infer::slots::session::MAX_IMAGES;
    let images: Vec<Vec<f32>> = array.values.chunks(shape.elements()).map(<[f32]>::to_vec).collect();
    if images.len() > most || array.values.iter().any(|x| !x.is_finite()) {
        let (shown, found) = (path.display(), images.len());
        return Err(Error::Input(format!("{shown}: found {found} images, expected at most {most}, of finite numbers")));
    }
    Ok(images)
}

fn truth(path: &Path, count: usize) -> Result<Vec<usize>> {
    let array = Array::load(path)?;
    if array.values.len() != count {
        let (path, found) = (path.display(), array.values.len());
        return Err(Error::Input(format!("{path}: found {found} classes, expected {count}, one an image")));
    }
    Ok(array.values.iter().map(|&x| x as usize).collect())
}

fn table(bundle: &Bundle, classes: &[usize], scores: &[Vec<f64>]) -> String {
    let quoted = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
    let names: Vec<_> = bundle.classes.iter().map(quoted).collect();
    let mut out = format!("image,class,{}\n", names.join(","));
    for (at, (&class, scores)) in classes.iter().zip(scores).enumerate() {
        let scores: Vec<_> = scores.iter().map(|s| format!("{s:.6}")).collect();
        out += &format!("{at},{},{}\n", names[class], scores.join(","));
    }
    out
}
