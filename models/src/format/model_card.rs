//! What a client must know of a model before it asks a service to run it: names, how its scan is prepared, what calibration
//! saw of scans. Neither graph nor weights.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::bundle::{Bundle, Card, Reveal, check_names};
use crate::data::nifti::Volume;
use crate::data::placement::Placement;
use crate::data::prepare::Preparation;
use crate::error::{Error, Result};
use crate::format::graph::MAX_CHANNELS;
use crate::integers::calibration;
use crate::integers::program::{Program, TensorInfo};
use crate::integers::quantize::quantize_input;
use crate::network::Shape;
use crate::windows::Windows;

/// The largest card that is read, in bytes.
pub const MAX_CARD: usize = 256 << 10;
/// The most voxels of a grid.
const MAX_GRID: usize = 1 << 28;

/// A model as its client knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// Its name.
    pub name: String,
    /// Of its graph.
    pub version: u32,
    /// BLAKE3 of the bundle's files, in hexadecimal digits: which model it was, in records.
    pub digest: String,
    /// The classes' names, by label.
    pub classes: Vec<String>,
    /// The network's input: its grid, and the scale of the integers that it takes.
    pub input: TensorInfo,
    /// Whether it takes slices.
    pub planar: bool,
    /// Whether it gives one class for all of a scan.
    pub gives_class: bool,
    /// Whether the client may have scores.
    #[serde(default)]
    pub scores: bool,
    /// What the client does with its scan, or with rows of a table.
    pub preparation: Preparation,
    /// What calibration saw of scans.
    pub calibration: Option<calibration::Input>,
    /// Licence and use.
    pub card: Option<Card>,
}

/// A volume ready for the network.
#[derive(Clone)]
pub struct Prepared {
    /// In real numbers, `[channels, D, H, W]`.
    pub real: Vec<f32>,
    /// In integers of the program's input tensor.
    pub integers: Vec<i32>,
    /// Where the labelled grid lies in the volume's.
    pub placement: Placement,
    /// In words, one line each, what makes the labels doubtful.
    pub warnings: Vec<String>,
}

impl ModelCard {
    /// Of a bundle, whose `program` this is.
    pub fn of(bundle: &Bundle, program: &Program, digest: String) -> Self {
        Self {
            name: bundle.name.clone(),
            version: bundle.graph.version,
            digest,
            classes: bundle.classes.clone(),
            input: program.tensors[program.input].clone(),
            planar: bundle.layout().planar,
            gives_class: program.gives_class(),
            scores: bundle.reveal == Some(Reveal::Scores),
            preparation: bundle.preparation.clone(),
            calibration: bundle.calibration.as_ref().map(|c| c.input.clone()),
            card: bundle.card.clone(),
        }
    }

    /// Reads and checks what a service sent.
    ///
    /// # Errors
    /// [`Error::Model`] naming the field.
    pub fn parse(json: &[u8]) -> Result<Self> {
        const WHERE: &str = "the service's card";
        let wrong = |what: String| Error::Model(format!("{WHERE}: {what}"));
        if json.len() > MAX_CARD {
            return Err(wrong(format!("{} bytes, at most {MAX_CARD} are expected", json.len())));
        }
        let card: Self = serde_json::from_slice(json).map_err(|e| wrong(e.to_string()))?;
        check_names(WHERE, &card.name, &card.classes)?;
        if !(1..=256).contains(&card.classes.len()) {
            return Err(wrong(format!("{} classes, expected 1 to 256", card.classes.len())));
        }
        if card.digest.len() != 64 || !card.digest.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong("digest: expected 64 hexadecimal digits".to_owned()));
        }
        let TensorInfo { channels, dims, bits, scale_bits, .. } = card.input;
        let voxels = dims.iter().try_fold(channels, |product, &d| product.checked_mul(d));
        if channels > MAX_CHANNELS || !matches!(voxels, Some(1..=MAX_GRID)) {
            return Err(wrong(format!("input: found {channels} channels of {dims:?}")));
        }
        if !(2..=32).contains(&bits) || !(-64..=64).contains(&scale_bits) {
            return Err(wrong(format!("input: found {bits} bits at a scale of 2^-{scale_bits}")));
        }
        match &card.preparation.table {
            Some(_) => card.preparation.check_table(WHERE, channels * dims.iter().product::<usize>())?,
            None => card.preparation.check(WHERE, card.shape(), card.planar, card.version)?,
        }
        Ok(card)
    }

    /// The network's input.
    pub fn shape(&self) -> Shape {
        Shape { channels: self.input.channels, dims: self.input.dims }
    }

    /// Windows over a grid, where the network runs in such.
    ///
    /// # Errors
    /// [`Error::Input`] for a grid that takes too many.
    pub fn windows(&self, grid: [usize; 3]) -> Result<Option<Windows>> {
        self.preparation.sliding().map(|sliding| sliding.over(self.input.dims, grid)).transpose()
    }

    /// Prepares a scan, on a grid of its own where the model takes such; `path` is the scan's and `origin` the model's, for
    /// messages.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file, if the scan doesn't suit the model or takes too many windows.
    pub fn prepare(&self, scan: &[Volume], path: &Path, origin: &str) -> Result<Prepared> {
        let (real, placement) = self.preparation.prepare(scan, (self.input.dims, self.planar), path)?;
        self.windows(placement.grid()).map_err(|e| Error::Input(format!("{}: {e}", path.display())))?;
        Ok(self.finished(&scan[0], (real, placement), path, origin))
    }

    /// What was prepared, in integers, and what makes its labels doubtful.
    pub(super) fn finished(
        &self,
        volume: &Volume,
        (real, placement): (Vec<f32>, Placement),
        path: &Path,
        origin: &str,
    ) -> Prepared {
        let integers = quantize_input(&real, &self.input);
        let doubts = self.preparation.doubts(volume, &placement).into_iter();
        let doubts = doubts.chain(self.foreign(&real, placement.grid()));
        let mut warnings: Vec<_> = doubts.map(|doubt| format!("{}: {doubt}", path.display())).collect();
        if self.preparation.orientation.is_none() {
            warnings.push(format!(
                "{origin}: version {} without preparation.orientation: this model was trained on the voxel order of its files; a \
                 scan stored in another order gets wrong labels",
                self.version
            ));
        }
        if self.card.as_ref().is_some_and(|card| card.approximate) {
            warnings.push(format!(
                "{origin}: card.approximate: this is not quite the network that was trained (instance normalisations are folded)"
            ));
        }
        Prepared { real, integers, placement, warnings }
    }

    /// How a prepared volume differs from those of the calibration, if it does and it is known what those were like.
    fn foreign(&self, real: &[f32], grid: [usize; 3]) -> Option<String> {
        let differences = self.calibration.as_ref()?.differences(real, grid);
        (!differences.is_empty()).then(|| {
            format!(
                "outside of what the scales of {:?} were calibrated on ({}): values may leave their ranges, which a \
                 secure run can't see; `blindvox plain` counts those that do",
                self.name,
                differences.join("; ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn cards_read_back_hold_no_weights_and_bad_ones_are_refused() {
        let written = testing::tiny();
        let bundle = written.calibrate();
        let card = ModelCard::of(&bundle, &bundle.program().unwrap(), "0".repeat(64));
        let json = serde_json::to_vec(&card).unwrap();
        assert_eq!(ModelCard::parse(&json).unwrap(), card);
        assert!(json.len() < 4096, "{} bytes", json.len());
        let refusal = |change: &dyn Fn(&mut ModelCard)| {
            let mut bad = card.clone();
            change(&mut bad);
            ModelCard::parse(&serde_json::to_vec(&bad).unwrap()).unwrap_err().to_string()
        };
        assert!(refusal(&|c| c.classes.clear()).contains("classes"));
        assert!(refusal(&|c| c.name = "\u{1b}[2J".to_owned()).contains("name"));
        assert!(refusal(&|c| c.digest.push('0')).contains("digest"));
        assert!(refusal(&|c| c.input.dims = [usize::MAX; 3]).contains("input"));
        assert!(refusal(&|c| c.input.bits = 33).contains("input"));
        assert!(ModelCard::parse(&vec![b' '; MAX_CARD + 1]).is_err() && ModelCard::parse(b"{}").is_err());
    }
}
