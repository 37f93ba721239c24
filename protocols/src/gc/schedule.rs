//! A circuit made ready to run over many instances: gates in order, XORs merged into ANDs, wires in few slots.
//!
//! A slot holds one wire's labels for a chunk of instances (4 KiB), and a slot is used again once its wire is dead, so
//! that a chunk stays in cache. Slot 0 always holds zeros. Inputs are loaded where they are first used; inputs that
//! no output depends on are not loaded, and cost no transfer.

use super::circuit::{Bit, Circuit, Node};

/// A gate; numbers are slots (or nodes, while the schedule is being made).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Loads the garbler's input bit.
    Garbler { input: usize, out: usize },
    /// Loads the evaluator's input bit.
    Evaluator { input: usize, out: usize },
    /// Xor of two wires.
    Xor { of: [usize; 2], out: usize },
    /// (xor of two, negated or not) and (xor of two, negated or not), plus a fifth wire.
    And { of: [usize; 5], flips: [bool; 2], out: usize },
}

impl Gate {
    fn operands(&mut self) -> &mut [usize] {
        match self {
            Self::Garbler { .. } | Self::Evaluator { .. } => &mut [],
            Self::Xor { of, .. } => of,
            Self::And { of, .. } => of,
        }
    }

    fn out(&mut self) -> &mut usize {
        match self {
            Self::Garbler { out, .. } | Self::Evaluator { out, .. } | Self::Xor { out, .. } | Self::And { out, .. } => {
                out
            }
        }
    }
}

/// A circuit ready to run.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub(super) gates: Vec<Gate>,
    /// Slot and negation of every output.
    pub(super) outputs: Vec<(usize, bool)>,
    pub(super) slots: usize,
    pub(super) ands: usize,
    /// The evaluator's inputs in the order in which they are loaded.
    pub(super) evaluator: Vec<usize>,
    pub(super) inputs: [usize; 2],
}

impl Schedule {
    /// Number of AND gates.
    pub fn ands(&self) -> usize {
        self.ands
    }

    /// Number of the evaluator's input bits that are used.
    pub fn evaluator_inputs(&self) -> usize {
        self.evaluator.len()
    }

    /// Number of output bits.
    pub fn outputs(&self) -> usize {
        self.outputs.len()
    }

    /// Orders and merges the gates of a circuit.
    pub fn new(circuit: &Circuit) -> Self {
        let mut maker = Maker { circuit, uses: uses(circuit), placed: vec![false; circuit.nodes.len()], gates: vec![] };
        maker.placed[0] = true;
        for (i, (node, live)) in circuit.nodes.iter().zip(circuit.live()).enumerate() {
            let input = matches!(node, Node::Garbler(_) | Node::Evaluator(_));
            if live && !input && !maker.merges(i) {
                maker.place(i);
            }
        }
        circuit.outputs.iter().for_each(|o| maker.place(o.node()));
        let mut gates = maker.gates;
        let (slots, slot_of) = assign_slots(circuit, &mut gates);
        let evaluator =
            gates.iter().filter_map(|s| if let Gate::Evaluator { input, .. } = s { Some(*input) } else { None });
        Self {
            evaluator: evaluator.collect(),
            ands: gates.iter().filter(|s| matches!(s, Gate::And { .. })).count(),
            outputs: circuit.outputs.iter().map(|o| (slot_of[o.node()], o.negated())).collect(),
            slots,
            inputs: circuit.inputs,
            gates,
        }
    }
}

/// Who uses a node: nobody, one gate (named), or more, or an output.
#[derive(Clone, Copy, PartialEq)]
enum Uses {
    None,
    One(usize),
    Many,
}

fn uses(circuit: &Circuit) -> Vec<Uses> {
    let mut uses = vec![Uses::None; circuit.nodes.len()];
    let mut count = |node: usize, by: usize| {
        uses[node] = if uses[node] == Uses::None { Uses::One(by) } else { Uses::Many };
    };
    for (i, (node, live)) in circuit.nodes.iter().zip(circuit.live()).enumerate() {
        match *node {
            Node::Xor(a, b) if live => [a, b].into_iter().for_each(|n| count(n, i)),
            Node::And(a, b) if live => [a, b].into_iter().for_each(|n| count(n.node(), i)),
            _ => {}
        }
    }
    circuit.outputs.iter().for_each(|o| uses[o.node()] = Uses::Many);
    uses
}

struct Maker<'a> {
    circuit: &'a Circuit,
    uses: Vec<Uses>,
    placed: Vec<bool>,
    gates: Vec<Gate>,
}

impl Maker<'_> {
    /// The AND operand that an XOR absorbs as its sum, and the XOR's other operand.
    fn absorbed(&self, node: usize) -> Option<(usize, usize)> {
        let Node::Xor(a, b) = self.circuit.nodes[node] else { return None };
        [(a, b), (b, a)]
            .into_iter()
            .find(|&(and, _)| matches!(self.circuit.nodes[and], Node::And(..)) && self.uses[and] == Uses::One(node))
    }

    /// True for gates that become part of their only user.
    fn merges(&self, node: usize) -> bool {
        let Uses::One(user) = self.uses[node] else { return false };
        match (self.circuit.nodes[node], self.circuit.nodes[user]) {
            (Node::And(..), Node::Xor(..)) => self.absorbed(user).is_some_and(|(and, _)| and == node),
            (Node::Xor(..), Node::And(..)) => self.absorbed(node).is_none(),
            _ => false,
        }
    }

    /// An AND's operand as the xor of two nodes.
    fn operand(&mut self, bit: Bit) -> [usize; 2] {
        let of = match self.circuit.nodes[bit.node()] {
            Node::Xor(a, b) if self.merges(bit.node()) => [a, b],
            _ => [bit.node(), 0],
        };
        of.into_iter().for_each(|n| self.place(n));
        of
    }

    fn and(&mut self, node: usize, sum: usize, out: usize) {
        let Node::And(a, b) = self.circuit.nodes[node] else { unreachable!("only ANDs are absorbed") };
        let ([a0, a1], [b0, b1]) = (self.operand(a), self.operand(b));
        self.place(sum);
        self.gates.push(Gate::And { of: [a0, a1, b0, b1, sum], flips: [a.negated(), b.negated()], out });
    }

    /// Appends the gate that computes a node, unless it is there.
    fn place(&mut self, out: usize) {
        if std::mem::replace(&mut self.placed[out], true) {
            return;
        }
        match self.circuit.nodes[out] {
            Node::Zero => {}
            Node::Garbler(input) => self.gates.push(Gate::Garbler { input, out }),
            Node::Evaluator(input) => self.gates.push(Gate::Evaluator { input, out }),
            Node::And(..) => self.and(out, 0, out),
            Node::Xor(a, b) => match self.absorbed(out) {
                Some((and, sum)) => self.and(and, sum, out),
                None => {
                    [a, b].into_iter().for_each(|n| self.place(n));
                    self.gates.push(Gate::Xor { of: [a, b], out });
                }
            },
        }
    }
}

/// Replaces nodes by slots; a slot is free again after the last gate that reads it, but not for that gate's own output.
fn assign_slots(circuit: &Circuit, gates: &mut [Gate]) -> (usize, Vec<usize>) {
    let mut last = vec![0; circuit.nodes.len()];
    for (i, gate) in gates.iter_mut().enumerate() {
        gate.operands().iter().for_each(|&n| last[n] = i);
    }
    circuit.outputs.iter().for_each(|o| last[o.node()] = usize::MAX);
    last[0] = usize::MAX;
    let mut slot_of = vec![0; circuit.nodes.len()];
    let (mut slots, mut free) = (1, vec![]);
    for (i, gate) in gates.iter_mut().enumerate() {
        let node = *gate.out();
        slot_of[node] = free.pop().unwrap_or_else(|| {
            slots += 1;
            slots - 1
        });
        *gate.out() = slot_of[node];
        let mut dead = vec![];
        for operand in gate.operands() {
            if last[*operand] == i && !dead.contains(operand) {
                dead.push(*operand);
            }
            *operand = slot_of[*operand];
        }
        free.extend(dead.into_iter().map(|n| slot_of[n]));
    }
    (slots, slot_of)
}

#[cfg(test)]
mod tests {
    use super::super::arithmetic;
    use super::*;

    /// Runs a schedule on plain bits in place of labels.
    fn plain(schedule: &Schedule, garbler: &[bool], evaluator: &[bool]) -> Vec<bool> {
        let mut slots = vec![false; schedule.slots];
        for gate in &schedule.gates {
            match *gate {
                Gate::Garbler { input, out } => slots[out] = garbler[input],
                Gate::Evaluator { input, out } => slots[out] = evaluator[input],
                Gate::Xor { of: [a, b], out } => slots[out] = slots[a] ^ slots[b],
                Gate::And { of, flips, out } => {
                    assert!(of.iter().all(|&o| o != out), "a gate may not overwrite what it reads");
                    let [a0, a1, b0, b1, sum] = of.map(|o| slots[o]);
                    slots[out] = ((a0 ^ a1 ^ flips[0]) & (b0 ^ b1 ^ flips[1])) ^ sum;
                }
            }
            assert!(!slots[0]);
        }
        schedule.outputs.iter().map(|&(slot, negated)| slots[slot] ^ negated).collect()
    }

    #[test]
    fn schedules_compute_what_their_circuits_do_in_few_slots() {
        for (circuit, slots) in [
            (arithmetic::sign(16), 6),
            (arithmetic::relu(16), 40),
            (arithmetic::max(4, 8), 60),
            (arithmetic::argmax(5, 6), 60),
        ] {
            let schedule = Schedule::new(&circuit);
            assert_eq!(schedule.ands, circuit.ands());
            assert!(schedule.slots <= slots, "{} slots", schedule.slots);
            let mut state = 1u64;
            for _ in 0..200 {
                let mut draw = |n: usize| {
                    (0..n)
                        .map(|_| {
                            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                            state >> 63 == 1
                        })
                        .collect::<Vec<_>>()
                };
                let (g, e) = (draw(circuit.garbler_inputs()), draw(circuit.evaluator_inputs()));
                assert_eq!(plain(&schedule, &g, &e), circuit.plain(&g, &e));
            }
        }
    }

    #[test]
    fn the_xors_of_an_adder_cost_no_steps_of_their_own() {
        let schedule = Schedule::new(&arithmetic::sign(16));
        let xors = schedule.gates.iter().filter(|s| matches!(s, Gate::Xor { .. })).count();
        assert!(xors <= 2, "{xors} XOR gates");
    }
}
