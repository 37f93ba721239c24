//! Powers of one public base, by a table of the powers for each window's place: products alone, no squarings.

use rayon::prelude::*;

use super::numbers::{Line, Lines, Numbers};
use super::window::{ENTRIES, Exponents, WINDOW};
use super::worker::Worker;

/// The powers of a public base for each place of a window, in the digits of the body that made them.
pub struct FixedBase {
    /// [place][entry][digit of a pair].
    entries: Vec<u64>,
    places: usize,
}

impl FixedBase {
    /// Of a base modulo n^2, for exponents of `bits` bits.
    pub(super) fn new<N: Numbers>(numbers: &N, base: &[u64], bits: usize) -> Self {
        let places = bits.div_ceil(WINDOW as usize);
        let mut worker = Worker::new(numbers);
        let width = worker.width();
        // base^(32^place), one after the other; then their powers, one place a lane.
        let mut power = worker.enter(base);
        let mut bases = vec![];
        for _ in 0..places {
            bases.push(power.iter().map(|line| line.words()[0]).collect::<Vec<_>>());
            (0..WINDOW).for_each(|_| worker.square(&mut power));
        }
        let mut entries = vec![0; places * ENTRIES * width];
        let lanes = N::Line::LANES;
        let groups = entries.par_chunks_mut(lanes * ENTRIES * width).zip(bases.par_chunks(lanes));
        groups.for_each(|(entries, bases)| {
            let mut worker = Worker::new(numbers);
            let mut x: Lines<N::Line> = Lines::zero(width);
            for (lane, base) in bases.iter().enumerate() {
                x.iter_mut().zip(base).for_each(|(line, &digit)| line.words_mut()[lane] = digit);
            }
            let mut power = worker.one();
            for entry in 0..ENTRIES {
                for (lane, table) in entries.chunks_exact_mut(ENTRIES * width).enumerate() {
                    let digits = power.iter().map(|line| line.words()[lane]);
                    table[entry * width..][..width].iter_mut().zip(digits).for_each(|(out, digit)| *out = digit);
                }
                worker.multiply_by(&mut power, &x);
            }
        });
        Self { entries, places }
    }

    /// The base to the exponents, in Montgomery form; every entry is read at every place.
    ///
    /// # Panics
    /// If another body made the table.
    pub(super) fn power<N: Numbers>(&self, worker: &mut Worker<N>, exponents: &Exponents) -> Lines<N::Line> {
        let width = worker.width();
        assert_eq!(self.entries.len(), self.places * ENTRIES * width, "a table of this body");
        let (mut result, mut factor) = (worker.one(), Lines::zero(width));
        for (place, table) in self.entries.chunks_exact(ENTRIES * width).enumerate() {
            let index = exponents.window(place);
            if place == 0 {
                worker.numbers.look_up(table, &index, &mut result);
                continue;
            }
            worker.numbers.look_up(table, &index, &mut factor);
            worker.multiply_by(&mut result, &factor);
        }
        result
    }

    /// Places of windows.
    pub(super) fn places(&self) -> usize {
        self.places
    }
}
