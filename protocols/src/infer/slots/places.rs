//! The scale and the level of each tensor of a plan.

use blindvox_engine::ckks::Params;
use blindvox_models::levels::Preset;

use crate::linear::slots::{Plan, PlannedLinear, PlannedStep};

/// By tensor its scale and level.
pub(super) struct Places {
    pub(super) scales: Vec<f64>,
    pub(super) levels: Vec<usize>,
}

impl Places {
    pub(super) fn new(plan: &Plan, preset: &Preset) -> Self {
        let mut this = Self { scales: vec![preset.fresh()], levels: vec![preset.chain.len()] };
        for step in &plan.steps {
            let (scale, level) = match step {
                PlannedStep::Linear(step) => {
                    let PlannedLinear { level, square, .. } = &**step;
                    let power = if *square { 2 } else { 1 };
                    (level.target.powi(power), level.level - level.dropped)
                }
                PlannedStep::Sum { source, level, .. } => (this.scales[*source], *level),
            };
            this.scales.push(scale);
            this.levels.push(level);
        }
        this
    }

    /// The level that each tensor is read at last.
    pub(super) fn lowest(&self, plan: &Plan) -> Vec<usize> {
        let mut lowest = self.levels.clone();
        for (at, step) in plan.steps.iter().enumerate().rev() {
            match step {
                PlannedStep::Linear(step) => {
                    step.sources.iter().for_each(|s| lowest[s.tensor] = lowest[s.tensor].min(step.level.level));
                }
                PlannedStep::Sum { source, .. } => lowest[*source] = lowest[*source].min(lowest[at + 1]),
            }
        }
        lowest
    }

    /// The scale of the plaintexts that multiply a tensor in a layer.
    pub(super) fn omega(&self, params: &Params, step: &PlannedLinear, tensor: usize) -> f64 {
        let level = step.level;
        let dropped = (level.level - level.dropped..level.level).map(|i| params.basis().modulus(i).value() as f64);
        dropped.fold(level.target / self.scales[tensor], |omega, q| omega * q)
    }
}
