//! What each layer would take if both parties' kernels ran at their best rates on all cores, with nothing in between.
//!
//! | work | thread ns | both parties' |
//! |---|---|---|
//! | a linear layer | [`Cost::nanoseconds`](blindvox_protocols::linear::Cost::nanoseconds) | samplings, transforms, products, packing |
//! | an AND | 4 | garbling and evaluation |
//! | a label transfer | 8 | OT extension |
//! | a hashed transfer (a conversion, half of a selection) | 14 | OT extension |
//! | a square pair | 35 | encryption, product, decryption in slots |

use std::collections::HashMap;

use blindvox_models::{Linear, Program, Step};
use blindvox_protocols::Result;
use blindvox_protocols::gc::arithmetic;
use blindvox_protocols::linear::{LinearSpec, Plan};
use blindvox_protocols::nonlinear::relu::ReluKind;

use crate::process;

const NS_AND: f64 = 4.0;
const NS_LABEL: f64 = 8.0;
const NS_COT: f64 = 14.0;
const NS_PAIR: f64 = 35.0;

/// Seconds of each step, by its name.
pub fn seconds(program: &Program, kind: ReluKind) -> Result<HashMap<String, f64>> {
    let mut bounds = HashMap::new();
    let cores = process::cores() as f64;
    for step in &program.steps {
        bounds.insert(step.name().to_owned(), nanoseconds(program, step, kind)? * 1e-9 / cores);
    }
    Ok(bounds)
}

/// Thread nanoseconds of a step.
fn nanoseconds(program: &Program, step: &Step, kind: ReluKind) -> Result<f64> {
    let elements = |t: usize| program.tensors[t].elements() as f64;
    let garbled = |ands: usize, input_bits: u32| NS_AND * ands as f64 + NS_LABEL * f64::from(input_bits);
    Ok(match step {
        Step::Linear(linear) => {
            let converted = if linear.shift > 0 && linear.output != program.logits { NS_COT } else { 0.0 };
            plan(program, linear)?.cost().nanoseconds() + converted * elements(linear.output)
        }
        Step::Square { input, .. } => (NS_PAIR + NS_COT) * elements(*input),
        Step::Relu { input, bits, .. } => {
            let k = *bits as usize;
            let widened = if *bits < 32 { NS_COT } else { 0.0 };
            let each = match kind {
                ReluKind::SignSelect => garbled(arithmetic::sign(k).ands(), *bits) + 2.0 * NS_COT,
                ReluKind::FullCircuit => garbled(arithmetic::relu(k).ands(), *bits) + widened,
            };
            each * elements(*input)
        }
        Step::MaxPool { input, output, bits, .. } => {
            let comparisons = elements(*input) - elements(*output);
            let k = *bits as usize;
            // A maximum of two is a ReLU of the difference, added.
            comparisons
                * (garbled(arithmetic::relu(k).ands(), 0)
                    + if kind == ReluKind::SignSelect { 2.0 * NS_COT } else { 0.0 })
                + elements(*input) * NS_LABEL * f64::from(*bits)
        }
        Step::AvgPool { .. } | Step::Flatten { .. } => 0.0,
        Step::Argmax { input, bits, .. } => {
            let voxels = elements(*input) / program.classes as f64;
            let ands = arithmetic::argmax(program.classes, *bits as usize).ands();
            voxels * garbled(ands, program.classes as u32 * bits)
        }
    })
}

/// The plan that both parties come to.
pub fn plan(program: &Program, linear: &Linear) -> Result<Plan> {
    Plan::new(&LinearSpec::of(program, linear))
}
