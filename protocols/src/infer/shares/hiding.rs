//! How well the replies of a run hide the service's side, from public quantities alone.

use blindvox_models::Program;

use crate::correlations::he;
use crate::error::Result;
use crate::linear::Plan;

use super::preprocess::squares;

/// log2 of the statistical distance between what the client sees of one run's replies and what it could make itself of
/// its own part of the results: the sum over all coefficients that are sent, of each layer by its plan, in each window, and of square
/// pairs. Distances add, so N runs with the same weights have N times as much. Below it lies the computational
/// assumption that the rest is hidden by.
///
/// # Errors
/// None with parameters that a session runs with.
pub fn distance_bits(program: &Program, plans: &[Plan]) -> Result<f64> {
    let layers: f64 = plans.iter().map(Plan::distance).sum();
    Ok((layers * program.passes() as f64 + he::distance(squares(program))?).log2())
}
