//! Inputs of the kernels that are timed: random, of the sizes that inference uses.

use blindvox_engine::RoomSize;
use blindvox_engine::aes::INSTANCES_PER_KEY;
use blindvox_engine::garble::{GateHash, GateKeys};
use blindvox_engine::ring::primes::{DEFAULT_50, DEFAULT_60};
use blindvox_engine::{Device, Error, GateRoom, Prng, Result};

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

/// Gates of the list of kernels.
pub mod gates {
    use super::*;

    /// The kernel's name with either hash.
    pub fn named(kernel: &str, hash: GateHash) -> String {
        match hash {
            GateHash::Aes => kernel.to_owned(),
            hash => format!("{kernel} by {hash}"),
        }
    }

    /// Whether gates that were garbled evaluate to the conjunctions of their inputs.
    ///
    /// # Errors
    /// Those of the device.
    pub fn are_correct(device: &Device) -> Result<bool> {
        let (mut prng, n) = (Prng::from_seed_for_tests([9; 32]), INSTANCES_PER_KEY);
        let (delta, size) = (prng.fill::<u128>(1)[0] | 1, RoomSize { slots: 4, gates: 1, instances: n });
        let (zero, inputs) = ([0, 1].map(|_| prng.fill::<u128>(n)), prng.fill::<u128>(n));
        for hash in GateHash::ALL {
            let mut keys = GateKeys::new(hash, &prng.seed(), "bench");
            keys.next_gates(1);
            let room = |active: bool| {
                let mut room = GateRoom::new(device, hash, size)?;
                room.set_keys(&keys)?;
                for (wire, labels) in zero.iter().enumerate() {
                    let bit = |x: &u128| if active { x >> wire & 1 } else { 0 };
                    let labels: Vec<u128> = labels.iter().zip(&inputs).map(|(l, x)| l ^ (delta * bit(x))).collect();
                    room.write(1 + wire, &labels)?;
                }
                Ok::<_, Error>(room)
            };
            let (mut garbler, mut evaluator) = (room(false)?, room(true)?);
            garbler.garble_and(0, delta, [1, 0, 2, 0, 0], [false; 2], 3)?;
            evaluator.set_tables(&garbler.tables()?)?;
            evaluator.evaluate_and(0, [1, 0, 2, 0, 0], 3)?;
            let (out, evaluated) = (garbler.read(3)?, evaluator.read(3)?);
            let mut labels = evaluated.iter().zip(out.iter()).zip(&inputs);
            if !labels.all(|((e, o), x)| *e == o ^ (delta * (x & x >> 1 & 1))) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
