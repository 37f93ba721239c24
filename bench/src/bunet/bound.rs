//! What each layer would take if both parties' kernels ran at their best rates on all cores, with nothing in between.
//!
//! Rates are those of [`rates`](blindvox_protocols::rates); a linear layer's are summed by
//! [`Cost::nanoseconds`](blindvox_protocols::linear::Cost::nanoseconds).

use std::collections::HashMap;

use blindvox_models::{Linear, Program, Step};
use blindvox_protocols::Result;
use blindvox_protocols::gc::arithmetic;
use blindvox_protocols::linear::{LinearSpec, Plan};
use blindvox_protocols::nonlinear::Comparison;
use blindvox_protocols::rates::{AND, COT, LABEL, PAIR, WORD};

use crate::process;

/// Seconds of each step, by its name.
pub(super) fn seconds(program: &Program, kind: Comparison) -> Result<HashMap<String, f64>> {
    let mut bounds = HashMap::new();
    let cores = process::cores() as f64;
    for step in &program.steps {
        bounds.insert(step.name().to_owned(), nanoseconds(program, step, kind)? * 1e-9 / cores);
    }
    Ok(bounds)
}

/// Thread nanoseconds of a step.
fn nanoseconds(program: &Program, step: &Step, kind: Comparison) -> Result<f64> {
    let elements = |t: usize| program.tensors[t].elements() as f64;
    let garbled = |ands: usize, input_bits: u32| AND.ns * ands as f64 + LABEL.ns * f64::from(input_bits);
    Ok(match step {
        Step::Linear(linear) => {
            let converted = if linear.shift > 0 && linear.output != program.logits { COT.ns } else { 0.0 };
            plan(program, linear)?.cost().nanoseconds() + converted * elements(linear.output)
        }
        Step::Square { input, .. } => (PAIR.ns + COT.ns) * elements(*input),
        Step::Relu { input, bits, .. } => {
            let k = *bits as usize;
            let widened = if *bits < 32 { COT.ns } else { 0.0 };
            let each = match kind {
                Comparison::SignSelect => garbled(arithmetic::sign(k).ands(), *bits) + 2.0 * COT.ns,
                Comparison::FullCircuit => garbled(arithmetic::relu(k).ands(), *bits) + widened,
                // Leaves, ANDs of five digits or fewer each way, selection.
                Comparison::Transfers => WORD.ns + (f64::from(*bits) + 9.0) * COT.ns + widened,
            };
            each * elements(*input)
        }
        Step::MaxPool { input, output, bits, .. } => {
            let comparisons = elements(*input) - elements(*output);
            let k = *bits as usize;
            // A maximum of two is a ReLU of the difference, added.
            comparisons
                * (garbled(arithmetic::relu(k).ands(), 0)
                    + if kind == Comparison::SignSelect { 2.0 * COT.ns } else { 0.0 })
                + elements(*input) * LABEL.ns * f64::from(*bits)
        }
        Step::AvgPool { .. } | Step::Flatten { .. } | Step::Interleave { .. } | Step::Resize { .. } => 0.0,
        Step::Activation { .. } | Step::MinPool { .. } => unreachable!("no step of BUNET's"),
        Step::Argmax { input, bits, .. } => {
            let voxels = elements(*input) / program.classes as f64;
            let ands = arithmetic::argmax(program.classes, *bits as usize).ands();
            voxels * garbled(ands, program.classes as u32 * bits)
        }
        Step::Blend { .. } => unreachable!("these networks run in one pass"),
    })
}

/// The plan that both parties come to.
pub(super) fn plan(program: &Program, linear: &Linear) -> Result<Plan> {
    Plan::new(&LinearSpec::of(program, linear))
}
