//! Inputs of the kernels that are timed: random, of the sizes that inference uses.

use blindvox_engine::aes::INSTANCES_PER_KEY;
use blindvox_engine::garble::{AndInputs, GateHash, GateKeys};
use blindvox_engine::ring::Basis;
use blindvox_engine::ring::primes::{DEFAULT_50, DEFAULT_60};
use blindvox_engine::{Device, GemmShape, Ntt, PolyBatch, Prng, Result};

/// The primes that transforms and products are timed with, by their bits.
pub const PRIMES: [(u32, u64); 2] = [(50, DEFAULT_50[0]), (60, DEFAULT_60[0])];

/// The ring dimensions that single transforms are timed at.
pub const DIMENSIONS: [usize; 5] = [2048, 4096, 8192, 16384, 32768];

/// `count` residues modulo `q`.
pub fn residues(prng: &mut Prng, q: u64, count: usize) -> Vec<u64> {
    prng.fill::<u64>(count).into_iter().map(|w| w % q).collect()
}

/// Words that begin at a cache line, as the engine's own buffers do.
pub struct AlignedRow {
    words: Vec<u64>,
    first: usize,
    len: usize,
}

impl AlignedRow {
    /// A copy of `words`.
    pub fn new(words: &[u64]) -> Self {
        let mut copy = vec![0u64; words.len() + 7];
        let first = (copy.as_ptr() as usize).next_multiple_of(64).abs_diff(copy.as_ptr() as usize) / 8;
        copy[first..first + words.len()].copy_from_slice(words);
        Self { words: copy, first, len: words.len() }
    }

    /// The words.
    pub fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words[self.first..self.first + self.len]
    }
}

/// The factors `(w, x)` of a matrix product of polynomials.
pub fn factors(device: &Device, basis: &Basis, size: GemmShape) -> Result<(PolyBatch<Ntt>, PolyBatch<Ntt>)> {
    let uniform = |seed, count| PolyBatch::<Ntt>::uniform(device, basis, &[seed; 16], 0, count);
    Ok((uniform(1, size.rows * size.inner)?, uniform(2, size.inner * size.cols)?))
}

/// One AND gate over as many instances as share a key, with random labels and inputs.
pub struct Gates {
    keys: GateKeys,
    delta: u128,
    /// Labels of zero of both input wires.
    zero_labels: [Vec<u128>; 2],
    /// The labels of the inputs.
    active: [Vec<u128>; 2],
    /// The inputs, bits 0 and 1.
    inputs: Vec<u128>,
    none: Vec<u128>,
    out: Vec<u128>,
    evaluated: Vec<u128>,
    rows: Vec<[u8; 16]>,
}

impl Gates {
    /// Instances of a gate.
    pub const COUNT: usize = INSTANCES_PER_KEY;

    /// Draws labels and inputs.
    pub fn new(hash: GateHash, prng: &mut Prng) -> Self {
        let delta = prng.fill::<u128>(1)[0] | 1;
        let mut keys = GateKeys::new(hash, &prng.seed(), "bench");
        keys.next_gates(1);
        let zero_labels: [Vec<u128>; 2] = [0, 1].map(|_| prng.fill(Self::COUNT));
        let inputs: Vec<u128> = prng.fill(Self::COUNT);
        let active = [0, 1].map(|wire| {
            let labels = zero_labels[wire].iter().zip(&inputs);
            labels.map(|(label, x)| label ^ (delta * (x >> wire & 1))).collect()
        });
        let none = vec![0; Self::COUNT];
        let (out, evaluated, rows) = (none.clone(), none.clone(), vec![[0; 16]; 2 * Self::COUNT]);
        Self { keys, delta, zero_labels, active, inputs, none, out, evaluated, rows }
    }

    /// Garbles the gate.
    pub fn garble(&mut self) {
        let [a, b] = &self.zero_labels;
        let inputs = AndInputs { a: [a, &self.none], b: [b, &self.none], sum: &self.none };
        self.keys.garble_and(0, self.delta, inputs, [false; 2], &mut self.out, &mut self.rows);
    }

    /// Evaluates what was garbled.
    pub fn evaluate(&mut self) {
        let [a, b] = &self.active;
        let inputs = AndInputs { a: [a, &self.none], b: [b, &self.none], sum: &self.none };
        self.keys.evaluate_and(0, inputs, &self.rows, &[], &mut self.evaluated);
    }

    /// Whether the labels evaluated are those of the inputs' conjunctions.
    pub fn are_correct(&self) -> bool {
        let labels = self.evaluated.iter().zip(&self.out).zip(&self.inputs);
        labels.into_iter().all(|((e, o), x)| *e == o ^ (self.delta * (x & x >> 1 & 1)))
    }
}
