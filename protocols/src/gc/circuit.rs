//! Boolean circuits over XOR, AND and NOT: a builder that folds what it can, and a plain evaluator.
//!
//! Negation is free (a flag on a reference), XOR costs no table, so the only cost is the number of ANDs. The builder
//! folds constants, equal and opposite operands, and shares equal gates.

use std::collections::HashMap;

/// A reference to the value of a gate or an input, possibly negated, or a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bit(u32);

impl Bit {
    /// Constant 0.
    pub const ZERO: Self = Self(0);
    /// Constant 1.
    pub const ONE: Self = Self(1);

    /// A constant.
    pub fn constant(value: bool) -> Self {
        Self(u32::from(value))
    }

    fn of(node: usize) -> Self {
        Self(2 * node as u32)
    }

    pub(super) fn node(self) -> usize {
        (self.0 >> 1) as usize
    }

    pub(super) fn negated(self) -> bool {
        self.0 & 1 == 1
    }

    fn positive(self) -> Self {
        Self(self.0 & !1)
    }
}

impl std::ops::Not for Bit {
    type Output = Self;
    fn not(self) -> Self {
        Self(self.0 ^ 1)
    }
}

/// What a node computes. Operands come before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Node {
    /// The constant 0: node 0.
    Zero,
    /// Input of the garbler.
    Garbler(usize),
    /// Input of the evaluator.
    Evaluator(usize),
    /// Xor of two nodes.
    Xor(usize, usize),
    /// And of two references.
    And(Bit, Bit),
}

/// A circuit under construction.
pub struct Builder {
    nodes: Vec<Node>,
    known: HashMap<Node, usize>,
    inputs: [usize; 2],
}

impl Builder {
    /// A circuit with this many input bits of the garbler and of the evaluator.
    pub fn new(garbler: usize, evaluator: usize) -> Self {
        Self { nodes: vec![Node::Zero], known: HashMap::new(), inputs: [garbler, evaluator] }
    }

    fn add(&mut self, node: Node) -> Bit {
        let nodes = &mut self.nodes;
        let at = *self.known.entry(node).or_insert_with(|| {
            nodes.push(node);
            nodes.len() - 1
        });
        Bit::of(at)
    }

    /// The garbler's input bits `range`.
    ///
    /// # Panics
    /// Beyond the number declared.
    pub fn garbler(&mut self, range: std::ops::Range<usize>) -> Vec<Bit> {
        assert!(range.end <= self.inputs[0], "garbler's inputs {range:?} of {}", self.inputs[0]);
        range.map(|i| self.add(Node::Garbler(i))).collect()
    }

    /// The evaluator's input bits `range`.
    ///
    /// # Panics
    /// Beyond the number declared.
    pub fn evaluator(&mut self, range: std::ops::Range<usize>) -> Vec<Bit> {
        assert!(range.end <= self.inputs[1], "evaluator's inputs {range:?} of {}", self.inputs[1]);
        range.map(|i| self.add(Node::Evaluator(i))).collect()
    }

    /// Exclusive or: free.
    pub fn xor(&mut self, a: Bit, b: Bit) -> Bit {
        let flip = a.negated() ^ b.negated();
        let (a, b) = (a.positive().min(b.positive()), a.positive().max(b.positive()));
        let positive = if a == b {
            Bit::ZERO
        } else if a == Bit::ZERO {
            b
        } else {
            self.add(Node::Xor(a.node(), b.node()))
        };
        if flip { !positive } else { positive }
    }

    /// And: one table.
    pub fn and(&mut self, a: Bit, b: Bit) -> Bit {
        let (a, b) = (a.min(b), a.max(b));
        if a == Bit::ZERO || a == !b {
            Bit::ZERO
        } else if a == Bit::ONE || a == b {
            b
        } else {
            self.add(Node::And(a, b))
        }
    }

    /// The finished circuit.
    pub fn finish(self, outputs: Vec<Bit>) -> Circuit {
        Circuit { nodes: self.nodes, inputs: self.inputs, outputs }
    }
}

/// A circuit with inputs of two parties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circuit {
    pub(super) nodes: Vec<Node>,
    pub(super) inputs: [usize; 2],
    pub(super) outputs: Vec<Bit>,
}

impl Circuit {
    /// Number of the garbler's input bits.
    pub fn garbler_inputs(&self) -> usize {
        self.inputs[0]
    }

    /// Number of the evaluator's input bits.
    pub fn evaluator_inputs(&self) -> usize {
        self.inputs[1]
    }

    /// Number of output bits.
    pub fn outputs(&self) -> usize {
        self.outputs.len()
    }

    /// Which nodes an output depends on.
    pub(super) fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        self.outputs.iter().for_each(|o| live[o.node()] = true);
        for (i, node) in self.nodes.iter().enumerate().rev() {
            match *node {
                Node::Xor(a, b) if live[i] => (live[a], live[b]) = (true, true),
                Node::And(a, b) if live[i] => (live[a.node()], live[b.node()]) = (true, true),
                _ => {}
            }
        }
        live
    }

    /// Number of AND gates that outputs depend on: 32 bytes of table each.
    pub fn ands(&self) -> usize {
        let live = self.live();
        self.nodes.iter().zip(live).filter(|(n, live)| *live && matches!(n, Node::And(..))).count()
    }

    /// Evaluates in the clear.
    ///
    /// # Panics
    /// If the numbers of inputs are not the circuit's.
    pub fn plain(&self, garbler: &[bool], evaluator: &[bool]) -> Vec<bool> {
        assert_eq!([garbler.len(), evaluator.len()], self.inputs, "input bits of garbler and evaluator");
        let mut values = Vec::with_capacity(self.nodes.len());
        let get = |values: &[bool], b: Bit| values[b.node()] ^ b.negated();
        for node in &self.nodes {
            let value = match *node {
                Node::Zero => false,
                Node::Garbler(i) => garbler[i],
                Node::Evaluator(i) => evaluator[i],
                Node::Xor(a, b) => values[a] ^ values[b],
                Node::And(a, b) => get(&values, a) & get(&values, b),
            };
            values.push(value);
        }
        self.outputs.iter().map(|&o| get(&values, o)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_fold_and_keep_their_meaning() {
        let mut b = Builder::new(1, 1);
        let (x, y) = (b.garbler(0..1)[0], b.evaluator(0..1)[0]);
        let both = b.and(x, y);
        assert_eq!(b.and(y, x), both);
        assert_eq!(b.and(x, x), x);
        assert_eq!(b.and(x, !x), Bit::ZERO);
        assert_eq!(b.and(Bit::ONE, y), y);
        assert_eq!(b.xor(x, !x), Bit::ONE);
        assert_eq!(b.xor(y, Bit::ONE), !y);
        let sum = b.xor(!x, y);
        let or = {
            let neither = b.and(!x, !y);
            !neither
        };
        let unused = b.and(!x, y);
        assert_ne!(unused, both);
        let circuit = b.finish(vec![both, sum, or, Bit::ONE]);
        assert_eq!(circuit.ands(), 2);
        for (x, y) in [(false, false), (false, true), (true, false), (true, true)] {
            assert_eq!(circuit.plain(&[x], &[y]), [x & y, !(x ^ y), x | y, true]);
        }
    }
}
