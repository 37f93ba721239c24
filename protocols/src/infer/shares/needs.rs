//! In which rings the shares of each tensor are wanted.

use blindvox_models::{Program, Step};

/// The rings that a tensor's readers need.
#[derive(Clone, Copy, Default)]
pub(in crate::infer) struct Needs {
    pub(in crate::infer) full: bool,
    pub(in crate::infer) prime: bool,
    pub(in crate::infer) low: bool,
}

/// `low`: whether ReLU reads low bits alone.
pub(in crate::infer) fn needs(program: &Program, low: bool) -> Vec<Needs> {
    let mut needs = vec![Needs::default(); program.tensors.len()];
    for step in &program.steps {
        for &tensor in step.inputs() {
            match step {
                Step::Square { .. } => needs[tensor].prime = true,
                Step::Argmax { .. } => needs[tensor].low = true,
                Step::Relu { .. } if low => needs[tensor].low = true,
                _ => needs[tensor].full = true,
            }
        }
    }
    needs
}
