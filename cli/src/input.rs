//! The model, the scan and true labels as `segment` and `plain` read them, before a run starts, so that bad input costs
//! no time; and what is said about them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use blindvox_models::data::dice::{Overlap, overlap, unknown};
use blindvox_models::data::labels::LabelMap;
use blindvox_models::data::nifti::{ReadOptions, Volume};
use blindvox_models::data::prepare::Seen;
use blindvox_models::data::scan;
use blindvox_models::{Bundle, Prepared, Program};
use blindvox_protocols::{Error, Result};

use crate::args::ReadingArgs;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// With all that was asked for.
    Whole,
    /// With the labels of a part of the volume only, which the user didn't ask for (exit code 5).
    Part,
}

/// Everything that is read before a run.
pub(crate) struct Input {
    pub bundle: Bundle,
    pub program: Arc<Program>,
    /// Its first channel.
    pub volume: Volume,
    /// Its warnings are those of the whole input.
    pub prepared: Prepared,
    /// What the network sees of the volume.
    pub seen: Seen,
    /// On the volume's grid.
    pub truth: Option<LabelMap>,
}

fn read_options(reading: &ReadingArgs) -> Result<ReadOptions> {
    let affine = reading.affine.as_deref().map(scan::affine).transpose()?;
    Ok(ReadOptions { assume: reading.assume, nan: reading.nan, affine })
}

/// The channels of a scan.
pub(crate) fn read_scan(paths: &[PathBuf], channels: usize, reading: &ReadingArgs) -> Result<Vec<Volume>> {
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    Ok(scan::load(&paths, channels, &read_options(reading)?)?)
}

impl Input {
    /// Reads a volume for a bundle and, if given, true labels.
    pub(crate) fn load(
        bundle: Bundle,
        inputs: &[PathBuf],
        labels: Option<&Path>,
        reading: &ReadingArgs,
    ) -> Result<Self> {
        // The scales are there, or nothing needs to be read.
        bundle.program()?;
        let mut scan = read_scan(inputs, bundle.preparation.count(), reading)?;
        let input = inputs[0].as_path();
        let (program, mut prepared) = bundle.job(&scan, input)?;
        let (program, volume) = (Arc::new(program), scan.swap_remove(0));
        let seen = prepared.placement.seen();
        if seen.part && !reading.crop {
            prepared.warnings.push(format!(
                "{}: larger than the network's grid: looked at {seen}; the rest is not labelled (--crop, if that is meant)",
                input.display()
            ));
        }
        let truth = labels.map(|path| truth(path, &volume, &read_options(reading)?)).transpose()?;
        if let (Some(path), Some(truth)) = (labels, &truth) {
            prepared.warnings.extend(strange_labels(path, truth, &bundle.classes));
        }
        Ok(Self { bundle, program, volume, prepared, seen, truth })
    }

    /// How the command ends once the labels are written.
    pub(crate) fn done(&self, reading: &ReadingArgs) -> Done {
        if self.seen.part && !reading.crop { Done::Part } else { Done::Whole }
    }

    /// Says which part of the volume was labelled, where it wasn't all of it.
    pub(crate) fn tell_seen(&self) {
        if self.seen.share < 1.0 {
            say!("The network looked at {}; the rest is not labelled.", self.seen);
        }
    }

    /// A map against the true labels, if there are any.
    pub(crate) fn score(&self, map: &LabelMap) -> Option<Overlap> {
        self.truth.as_ref().map(|truth| overlap(&map.data, &truth.data, self.program.classes))
    }

    /// A score in words.
    pub(crate) fn describe(&self, score: &Overlap) -> String {
        match score {
            Overlap::Classes(values) => {
                let named = self.bundle.classes.iter().skip(1).zip(values);
                let each: Vec<_> = named.map(|(name, d)| format!("{name} {d:.4}")).collect();
                format!("Dice: {}", each.join(", "))
            }
            Overlap::Union(union) => format!(
                "{:.3} of what was labelled lies inside the true region (value {}); Dice of the union: {:.4}",
                union.inside, union.value, union.dice
            ),
        }
    }
}

/// Reads true labels and puts them in the order of the volume's voxels.
fn truth(path: &Path, volume: &Volume, options: &ReadOptions) -> Result<LabelMap> {
    let truth = LabelMap::load_with(path, options)?;
    truth.onto(volume).map_err(|what| {
        let path = path.display();
        Error::Input(format!("{path}: another grid than the volume's: found {what}"))
    })
}

/// In words, what true labels have that the model doesn't know.
fn strange_labels(path: &Path, truth: &LabelMap, classes: &[String]) -> Option<String> {
    let path = path.display();
    if truth.data.iter().all(|&v| v == 0) {
        return Some(format!("{path}: labels: found the background alone"));
    }
    let unknown: Vec<_> = unknown(&truth.data, classes.len()).iter().map(ToString::to_string).collect();
    let known: Vec<_> = classes.iter().enumerate().map(|(value, name)| format!("{value} {name}")).collect();
    let (values, known) = (unknown.join(", "), known.join(", "));
    (!unknown.is_empty())
        .then(|| format!("{path}: labels: found the values {values}, the model has {known}; they count as missed"))
}
