//! The plaintexts of a planned layer.

use super::lower::LinearStep;
use super::plan::{Plan, PlannedLinear};
use super::search;

impl PlannedLinear {
    /// The slots of each plaintext, in the order of their numbers: rotated back by their giant steps.
    pub fn plaintexts(&self, plan: &Plan, step: &LinearStep) -> Vec<Vec<f64>> {
        let slots = self.output.slots;
        let mut plains = vec![vec![0.0; slots]; self.plains.len()];
        for ((tensor, slabs), first) in step.sources.iter().zip(&self.first) {
            let from = tensor.checked_sub(1).map_or(&plan.input, |i| plan.steps[i].output());
            for (class, first) in slabs.classes.iter().zip(first) {
                let mut last = None;
                for e in class {
                    let (offset, at) = search::offset(from, &self.output, self.fold, [e.col, e.row]);
                    let (plain, giant) = match last {
                        Some((same, found)) if same == offset => found,
                        _ => {
                            let (baby, giant) = self.split.of(&offset, slots as u32);
                            let [source, out] = offset.ciphertexts;
                            (self.plains[&[first + source, out, baby, giant]] as usize, giant as usize)
                        }
                    };
                    last = Some((offset, (plain, giant)));
                    plains[plain][(at + giant) % slots] += e.weight;
                }
            }
        }
        plains
    }

    /// The slots of the bias: by column and ciphertext.
    pub fn bias(&self, step: &LinearStep) -> Vec<Vec<f64>> {
        let mut slots = self.output.pack(&step.bias);
        if let Some(period) = self.fold {
            // What is summed has copies, of which all are the result.
            for slots in &mut slots {
                let (head, rest) = slots.split_at_mut(period);
                rest.chunks_exact_mut(period).for_each(|copy| copy.copy_from_slice(head));
            }
        }
        slots
    }
}
