//! A plan in the clear, slot by slot: the reference of a run under encryption.

use super::lower::{Lowered, Step};
use super::plan::{Plan, PlannedLinear, PlannedStep};

/// Slots of ciphertexts, by column and ciphertext.
pub type Slots = Vec<Vec<f64>>;

/// What becomes of a layer's plaintexts: the layer by its number, the tensor that a plaintext multiplies, its slots.
pub type Rounding<'a> = &'a (dyn Fn(usize, usize, Vec<f64>) -> Vec<f64> + Sync);

/// Keeps plaintexts as they are.
pub fn exactly(_: usize, _: usize, slots: Vec<f64>) -> Vec<f64> {
    slots
}

fn rotated(slots: &[f64], step: usize) -> impl Iterator<Item = f64> {
    let (low, high) = slots.split_at(step % slots.len());
    high.iter().chain(low).copied()
}

fn add(sum: &mut [f64], slots: impl Iterator<Item = f64>) {
    sum.iter_mut().zip(slots).for_each(|(sum, x)| *sum += x);
}

/// Runs a plan on the slots of its input; shows each tensor as it is before a square.
pub fn run(
    (lowered, plan): (&Lowered, &Plan),
    input: Slots,
    rounding: Rounding<'_>,
    mut watch: impl FnMut(usize, &Slots),
) -> Slots {
    let mut tensors = vec![input];
    let mut layer = 0;
    for (step, planned) in lowered.steps.iter().zip(&plan.steps) {
        let mut slots = match (step, planned) {
            (Step::Linear(step), PlannedStep::Linear(planned)) => {
                let mut reads = vec![0; planned.plains.len()];
                for t in planned.sparse.rows.iter().flat_map(|row| &row.terms) {
                    reads[t.plain] = planned.sources[t.source].tensor;
                }
                let plains = planned.plaintexts(plan, step).into_iter().zip(reads);
                let plains: Slots = plains.map(|(plain, tensor)| rounding(layer, tensor, plain)).collect();
                layer += 1;
                let mut out = planned.bias(step);
                linear(planned, plan, &tensors, &plains, &mut out);
                out
            }
            (_, PlannedStep::Sum { source, rotations, planes, .. }) => {
                sums(&tensors[*source], plan, *source, rotations, *planes)
            }
            (Step::Sum { .. }, PlannedStep::Linear(_)) => unreachable!("a plan has the steps of its network"),
        };
        watch(tensors.len(), &slots);
        if matches!(step, Step::Linear(step) if step.square) {
            slots.iter_mut().flatten().for_each(|x| *x *= *x);
        }
        tensors.push(slots);
    }
    tensors.pop().unwrap_or_default()
}

fn layout_of(plan: &Plan, tensor: usize) -> &super::Layout {
    tensor.checked_sub(1).map_or(&plan.input, |i| plan.steps[i].output())
}

fn linear(planned: &PlannedLinear, plan: &Plan, tensors: &[Slots], plains: &Slots, out: &mut Slots) {
    let (slots, outputs) = (planned.output.slots, planned.sparse.outputs);
    for (z, reads) in planned.reads.iter().enumerate() {
        let mut sums = vec![vec![0.0; slots]; outputs];
        for row in &planned.sparse.rows {
            let mut sum = vec![0.0; slots];
            for t in &row.terms {
                let (source, Some(plane)) = (planned.sources[t.source], reads[t.source]) else { continue };
                let each = layout_of(plan, source.tensor).ciphertexts();
                let x = &tensors[source.tensor][plane * each + source.ciphertext];
                add(&mut sum, rotated(x, t.baby).zip(&plains[t.plain]).map(|(x, p)| x * p));
            }
            add(&mut sums[row.output], rotated(&sum, row.giant));
        }
        for (o, mut sum) in sums.into_iter().enumerate() {
            for &fold in &planned.sparse.folds {
                let copy = sum.clone();
                add(&mut sum, rotated(&copy, fold));
            }
            add(&mut out[z * outputs + o], sum.into_iter());
        }
    }
}

fn sums(x: &Slots, plan: &Plan, source: usize, rotations: &[usize], planes: usize) -> Slots {
    let each = layout_of(plan, source).ciphertexts();
    let mut out: Slots = Vec::new();
    for windows in x.chunks_exact(planes * each) {
        for ciphertext in 0..each {
            let mut sum = windows[ciphertext].clone();
            (1..planes).for_each(|z| add(&mut sum, windows[z * each + ciphertext].iter().copied()));
            for &step in rotations {
                let copy = sum.clone();
                add(&mut sum, rotated(&copy, step));
            }
            out.push(sum);
        }
    }
    out
}
