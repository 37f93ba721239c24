//! Powers by windows of five bits: the same squarings and products for all exponents of a length.

use super::natural::digit;
use super::numbers::{Line, Lines, Numbers};
use super::worker::Worker;

/// Bits of a window.
pub(super) const WINDOW: u32 = 5;
/// Entries of a window's table.
pub(super) const ENTRIES: usize = 1 << WINDOW;

/// Exponents of `bits` bits, the least limb first: one a number, or one for all of them.
#[derive(Clone, Copy)]
pub struct Exponents<'a> {
    /// Limbs, ceil(bits / 64) an exponent.
    pub limbs: &'a [u64],
    /// Bits of each, which are public; those beyond are zero.
    pub bits: usize,
}

impl Exponents<'_> {
    fn stride(&self) -> usize {
        self.bits.div_ceil(64)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.limbs.len() / self.stride()
    }

    /// # Panics
    /// If there is neither one exponent nor `count` of them.
    pub(super) fn check(&self, count: usize) {
        let whole = self.bits > 0 && self.limbs.len().is_multiple_of(self.stride());
        assert!(whole && (self.count() == count || self.count() == 1), "one exponent, or one for each of {count}");
    }

    /// Windows of an exponent.
    pub(super) fn windows(&self) -> usize {
        self.bits.div_ceil(WINDOW as usize)
    }

    /// Those of `count` numbers from number `first` on.
    pub(super) fn of(&self, first: usize, count: usize) -> Self {
        let all = if self.count() == 1 { self.limbs } else { &self.limbs[first * self.stride()..] };
        let limbs = &all[..self.stride() * if self.count() == 1 { 1 } else { count }];
        Self { limbs, bits: self.bits }
    }

    /// Window number i of each lane's exponent.
    pub(super) fn window<L: Line>(&self, i: usize) -> L {
        let mut line = L::ZERO;
        let exponents = self.limbs.chunks_exact(self.stride());
        if self.count() == 1 {
            return L::splat(digit(self.limbs, i, WINDOW));
        }
        line.words_mut().iter_mut().zip(exponents).for_each(|(index, e)| *index = digit(e, i, WINDOW));
        line
    }
}

/// x to the exponents, both in Montgomery form.
pub(super) fn power<N: Numbers>(worker: &mut Worker<N>, x: &[N::Line], exponents: &Exponents) -> Lines<N::Line> {
    let width = worker.width();
    let mut table = Lines::zero(ENTRIES * width);
    table[..width].copy_from_slice(&worker.one());
    table[width..2 * width].copy_from_slice(x);
    for i in 2..ENTRIES {
        let (done, next) = table.split_at_mut(i * width);
        worker.multiply(&done[(i - 1) * width..], x, &mut next[..width]);
    }
    let (mut result, mut factor) = (worker.one(), Lines::zero(width));
    for i in (0..exponents.windows()).rev() {
        if i + 1 < exponents.windows() {
            (0..WINDOW).for_each(|_| worker.square(&mut result));
        }
        worker.numbers.select(&table, &exponents.window(i), &mut factor);
        worker.multiply_by(&mut result, &factor);
    }
    result
}
