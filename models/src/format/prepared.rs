//! A model brought to a scan: the program of its grid, and the scan as that program takes it.

use std::path::Path;

use super::bundle::{Bundle, MODEL_FILE};
use super::fold;
use super::model_card::{ModelCard, Prepared};
use crate::data::nifti::Volume;
use crate::data::placement::Placement;
use crate::data::scan;
use crate::error::{Error, Result};
use crate::integers::calibration::Norms;
use crate::integers::lower::{self, Activations, Lowered};
use crate::integers::program::Program;
use crate::integers::quantize;
use crate::network::Network;
use crate::windows::Windows;

/// Inputs of one grid, in real numbers.
#[derive(Clone)]
pub struct Inputs {
    /// D, H, W; one element for rows.
    pub grid: [usize; 3],
    /// Each `[channels, D, H, W]`.
    pub values: Vec<Vec<f32>>,
}

impl Bundle {
    /// Windows over a grid, where the network runs in such.
    ///
    /// # Errors
    /// [`Error::Input`] for a grid that takes too many.
    pub fn windows(&self, grid: [usize; 3]) -> Result<Option<Windows>> {
        self.preparation.sliding().map(|sliding| sliding.over(self.input_shape().dims, grid)).transpose()
    }

    /// The grid of one pass over a grid: its own, or a window's.
    pub(crate) fn pass(&self, grid: [usize; 3]) -> [usize; 3] {
        if self.preparation.sliding().is_some() { self.input_shape().dims } else { grid }
    }

    /// The network of one pass over a grid, in real numbers.
    ///
    /// # Errors
    /// As [`Self::network`], and [`Error::Input`] for a grid that it doesn't take.
    pub fn network_for(&self, grid: [usize; 3]) -> Result<Network> {
        let pass = self.pass(grid);
        if pass == self.input_shape().dims {
            return self.network();
        }
        let file = self.directory().join(MODEL_FILE);
        let graph = self.graph.on(pass);
        let layout = graph.check(&file.display().to_string())?;
        if layout.shapes.last().is_none_or(|scores| scores.dims != pass) {
            return Err(Error::Input(format!(
                "{}: a grid of {pass:?} comes out as another one: preparation.divisor has to be what every level of the \
                 network divides",
                file.display()
            )));
        }
        fold::network(&graph, &layout, self.weights(), self.reveals_scores())
    }

    /// The same with the statistics of the calibration in the place of instance normalisations' own.
    ///
    /// # Errors
    /// As [`Self::network_for`], and [`Error::Model`] for statistics that don't fit.
    pub fn folded_network_for(&self, grid: [usize; 3]) -> Result<Network> {
        self.network_for(grid)?.folded(self.norms())
    }

    /// Lowered for one pass over a grid, with these statistics.
    pub(crate) fn lowered_for(&self, grid: [usize; 3], norms: &Norms, activations: Activations) -> Result<Lowered> {
        lower::lower(&self.network_for(grid)?.folded(norms)?, activations)
    }

    /// The network in integers for runs that compute any activation in one step: a leaky ReLU stays one function there.
    ///
    /// # Errors
    /// As [`Self::program`].
    pub fn whole_program(&self) -> Result<Program> {
        let lowered = self.lowered_for(self.input_shape().dims, self.norms(), Activations::Whole)?;
        quantize::quantize(&lowered, &self.quantization, self.preparation.bounds().is_some())
    }

    /// The network in integers, on its own grid.
    ///
    /// # Errors
    /// [`Error::Model`] where weights are missing or don't match the graph, and where a tensor has no scale or too
    /// few spare bits.
    pub fn program(&self) -> Result<Program> {
        self.program_for(self.input_shape().dims)
    }

    /// What runs on a grid: one pass, or windows over it.
    ///
    /// # Errors
    /// As [`Self::program`], and [`Error::Input`] for a grid that the network doesn't take.
    pub fn program_for(&self, grid: [usize; 3]) -> Result<Program> {
        let lowered = self.lowered_for(grid, self.norms(), Activations::Folded)?;
        let program = quantize::quantize(&lowered, &self.quantization, self.preparation.bounds().is_some())?;
        match self.windows(grid)? {
            None => Ok(program),
            Some(windows) => program.blended(windows),
        }
    }

    /// The network's inputs in a file: one of a volume, one a row of a table.
    ///
    /// # Errors
    /// Those of [`scan::load`] and [`Table::read`](crate::data::table::Table::read), and [`Error::Input`] naming the
    /// file, if the volume doesn't suit the model.
    pub fn inputs(&self, path: &Path) -> Result<Inputs> {
        match &self.preparation.table {
            Some(table) => Ok(Inputs { grid: [1; 3], values: table.read(path)? }),
            None => {
                let scan = scan::load(&[path], self.preparation.count(), &Default::default())?;
                let (real, placement) = self.preparation.prepare(&scan, self.native(), path)?;
                Ok(Inputs { grid: placement.grid(), values: vec![real] })
            }
        }
    }

    /// What goes through the network at a time: inputs, or windows of them.
    pub(crate) fn passes(&self, inputs: Inputs) -> Result<Inputs> {
        let Some(windows) = self.windows(inputs.grid)? else { return Ok(inputs) };
        let mut values = Vec::with_capacity(windows.count());
        for &first in &windows.starts[0] {
            for [h, w] in windows.across() {
                let patch = |v: &Vec<f32>| windows.patch(v, [first, h, w]).flatten().copied().collect();
                values.extend(inputs.values.iter().map(patch));
            }
        }
        Ok(Inputs { grid: windows.size(), values })
    }

    fn native(&self) -> ([usize; 3], bool) {
        (self.input_shape().dims, self.layout().planar)
    }

    /// Prepares a volume for `program`, which is this bundle's on the volume's grid; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file, if the volume doesn't suit the model, which takes rows of a table, or another
    /// grid is labelled than the program's.
    pub fn prepare(&self, program: &Program, volume: &Volume, path: &Path) -> Result<Prepared> {
        let (real, placement) = self.real(std::slice::from_ref(volume), path)?;
        if placement.grid() != program.grid() {
            let (found, expected) = (placement.grid(), program.grid());
            return Err(Error::Input(format!("{}: found a grid of {found:?}, expected {expected:?}", path.display())));
        }
        Ok(self.finished(program, volume, (real, placement), path))
    }

    /// The program of a scan's grid, and the scan prepared for it; `path` is for messages.
    ///
    /// # Errors
    /// Those of [`Self::program_for`], and [`Error::Input`] naming the file, if the scan doesn't suit the model.
    pub fn job(&self, scan: &[Volume], path: &Path) -> Result<(Program, Prepared)> {
        let (real, placement) = self.real(scan, path)?;
        let program = self.program_for(placement.grid())?;
        let prepared = self.finished(&program, &scan[0], (real, placement), path);
        Ok((program, prepared))
    }

    fn real(&self, scan: &[Volume], path: &Path) -> Result<(Vec<f32>, Placement)> {
        if self.preparation.table.is_some() {
            let model = self.directory().display();
            return Err(Error::Input(format!("{}: found a volume, {model} takes rows of a table", path.display())));
        }
        self.preparation.prepare(scan, self.native(), path)
    }

    fn finished(&self, program: &Program, volume: &Volume, made: (Vec<f32>, Placement), path: &Path) -> Prepared {
        let origin = self.directory().join(MODEL_FILE).display().to_string();
        ModelCard::of(self, program, String::new()).finished(volume, made, path, &origin)
    }
}
