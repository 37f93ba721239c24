//! How many transfers a run takes, from public sizes: which set of silent OT serves each direction.

use blindvox_models::{Program, Step, TensorId};

use super::presets::{Comparison, Source, Ways};
use super::shares::needs::needs;
use crate::compare::transfers::{digit_for, of_signs};
use crate::ot::silent::Set;
use crate::share::Ring;

/// Transfers that the server sends, and that the client sends, but for those of garbled circuits.
pub(super) fn transfers(program: &Program, ways: &Ways) -> [usize; 2] {
    let by_transfers = ways.compare == Comparison::Transfers;
    let digit = digit_for(ways.ot == Source::Silent);
    let needs = needs(program, by_transfers);
    let elements = |tensor: TensorId| program.tensors[tensor].elements();
    // A comparison of so many bits, and `more` transfers each way.
    let match_of = |bits: u32, more: usize| match ways.compare {
        Comparison::Transfers => of_signs(Ring::Pow2(bits.min(32)), digit).map(|count| count + more),
        Comparison::SignSelect => [1, 1],
        Comparison::FullCircuit => [0, 0],
    };
    let provided = |tensor: TensorId, bits: u32| {
        let wanted = usize::from(needs[tensor].prime) + usize::from(needs[tensor].full && bits < 32);
        [0, wanted * elements(tensor)]
    };
    let step = |step: &Step| match step {
        Step::Linear(linear) => provided(linear.output, 32 - linear.shift),
        Step::Square { input, output, .. } => add([0, elements(*input)], provided(*output, 32)),
        Step::Relu { input, output, bits, .. } => {
            let widened = usize::from(*bits < 32 && ways.compare != Comparison::SignSelect);
            add(
                match_of(*bits, 1).map(|n| n * elements(*input)),
                add([0, widened * elements(*input)], provided(*output, 32)),
            )
        }
        Step::MaxPool { input, output, bits, .. } => {
            let matches = elements(*input) - elements(*output);
            add(match_of(bits + 1, 1).map(|n| n * matches), provided(*output, 32))
        }
        Step::AvgPool { output, .. }
        | Step::Flatten { output, .. }
        | Step::Interleave { output, .. }
        | Step::Resize { output, .. }
        | Step::Activation { output, .. }
        | Step::MinPool { output, .. } => provided(*output, 32),
        Step::Argmax { bits, .. } | Step::Blend { bits, .. } => {
            let matches = program.labelled() * program.classes.saturating_sub(1);
            match_of(bits + 1, 2).map(|n| n * matches)
        }
    };
    let (last, steps) = program.steps.split_last().expect("a program has a last step");
    let pass = steps.iter().map(&step).fold(provided(program.input, 32), add);
    add(pass.map(|n| n * program.passes()), step(last))
}

fn add(a: [usize; 2], b: [usize; 2]) -> [usize; 2] {
    [a[0] + b[0], a[1] + b[1]]
}

/// The set for each direction: none where SoftSpoken is better.
pub(super) fn sets(program: &Program, ways: &Ways) -> [Option<&'static Set>; 2] {
    transfers(program, ways).map(Set::for_total)
}
