//! One number on 64-bit limbs, for any processor: products and quotients column by column, three limbs of sum.

use super::natural::mask;
use super::numbers::{Constants, Line1, Numbers, Scratch};

/// A sum of products of two limbs: below 2^192 for any that fit memory.
#[derive(Clone, Copy)]
struct Sum {
    low: u128,
    high: u64,
}

impl Sum {
    const ZERO: Self = Self { low: 0, high: 0 };

    #[inline(always)]
    fn add(&mut self, x: u128) {
        let (low, over) = self.low.overflowing_add(x);
        (self.low, self.high) = (low, self.high + u64::from(over));
    }

    /// Adds the sum of `x[i] y[c - i]` for i in `first..=last`.
    #[inline(always)]
    fn add_column(&mut self, x: &[Line1], y: &[Line1], c: usize, (first, last): (usize, usize)) {
        let (x, y) = (&x[first..=last], &y[c - last..=c - first]);
        for (a, b) in x.iter().zip(y.iter().rev()) {
            self.add(u128::from(a.0[0]) * u128::from(b.0[0]));
        }
    }

    /// Adds another sum twice.
    #[inline(always)]
    fn add_twice(&mut self, other: Self) {
        for _ in 0..2 {
            self.add(other.low);
            self.high += other.high;
        }
    }

    /// The low limb, which is taken off.
    #[inline(always)]
    fn shift(&mut self) -> u64 {
        let limb = self.low as u64;
        *self = Self { low: self.low >> 64 | u128::from(self.high) << 64, high: 0 };
        limb
    }
}

/// One number in digits of 64 bits.
pub(super) struct Limbs {
    constants: Constants<Line1>,
    /// Whether this processor has the multiplication that leaves flags alone.
    #[cfg(target_arch = "x86_64")]
    bmi2: bool,
}

impl Limbs {
    pub(super) fn new(n: &[u64]) -> Self {
        Self {
            constants: Constants::new(n, 64, 1),
            #[cfg(target_arch = "x86_64")]
            bmi2: is_x86_feature_detected!("bmi2"),
        }
    }

    /// Reduces the columns that `column(sum, c)` adds, 2 digits of them.
    #[inline(always)]
    fn reduce(&self, quotients: &mut [Line1], out: &mut [Line1], column: impl Fn(&mut Sum, usize)) {
        let (digits, n) = (self.constants.digits, &self.constants.n);
        let mut sum = Sum::ZERO;
        for c in 0..digits {
            column(&mut sum, c);
            if c > 0 {
                sum.add_column(quotients, n, c, (0, c - 1));
            }
            let q = (sum.low as u64).wrapping_mul(self.constants.inverse);
            quotients[c].0[0] = q;
            sum.add(u128::from(q) * u128::from(n[0].0[0]));
            sum.shift();
        }
        for c in digits..2 * digits {
            column(&mut sum, c);
            if c < 2 * digits - 1 {
                sum.add_column(quotients, n, c, (c + 1 - digits, digits - 1));
            }
            out[c - digits].0[0] = sum.shift();
        }
        debug_assert!(sum.low == 0, "a number below R");
    }

    /// R - 1 - mu and n - 1, a limb for each column.
    #[inline(always)]
    fn complement(&self, scratch: &mut Scratch<Line1>) {
        let (lower, upper) = scratch.columns.split_at_mut(self.constants.digits);
        lower.iter_mut().zip(scratch.quotients.iter()).for_each(|(rest, q)| rest.0[0] = !q.0[0]);
        upper[..lower.len()].copy_from_slice(&self.constants.n_minus_one);
    }

    #[inline(always)]
    fn multiply_anywhere(&self, x: &[Line1], y: &[Line1], scratch: &mut Scratch<Line1>, out: &mut [Line1]) {
        let digits = self.constants.digits;
        let ((x0, x1), (y0, y1)) = (x.split_at(digits), y.split_at(digits));
        let (out0, out1) = out.split_at_mut(digits);
        self.reduce(&mut scratch.quotients, out0, |sum, c| {
            if let Some(rows) = reach(c, digits) {
                sum.add_column(x0, y0, c, rows);
            }
        });
        self.complement(scratch);
        let rest = &scratch.columns;
        self.reduce(&mut scratch.quotients, out1, |sum, c| {
            sum.add(u128::from(rest[c].0[0]) + u128::from(c == 0));
            if let Some(rows) = reach(c, digits) {
                sum.add_column(x0, y1, c, rows);
                sum.add_column(x1, y0, c, rows);
            }
        });
    }

    #[inline(always)]
    fn square_anywhere(&self, x: &[Line1], scratch: &mut Scratch<Line1>, out: &mut [Line1]) {
        let digits = self.constants.digits;
        let ((x0, x1), (out0, out1)) = (x.split_at(digits), out.split_at_mut(digits));
        self.reduce(&mut scratch.quotients, out0, |sum, c| {
            let Some((first, _)) = reach(c, digits) else { return };
            // Each pair of different limbs once, doubled.
            let mut pairs = Sum::ZERO;
            if let Some(last) = c.div_ceil(2).checked_sub(1).filter(|&last| last >= first) {
                pairs.add_column(x0, x0, c, (first, last));
            }
            sum.add_twice(pairs);
            if c.is_multiple_of(2) {
                sum.add(u128::from(x0[c / 2].0[0]) * u128::from(x0[c / 2].0[0]));
            }
        });
        self.complement(scratch);
        let rest = &scratch.columns;
        self.reduce(&mut scratch.quotients, out1, |sum, c| {
            sum.add(u128::from(rest[c].0[0]) + u128::from(c == 0));
            if let Some(rows) = reach(c, digits) {
                let mut half = Sum::ZERO;
                half.add_column(x0, x1, c, rows);
                sum.add_twice(half);
            }
        });
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "bmi2")]
    fn multiply_by_bmi2(&self, x: &[Line1], y: &[Line1], scratch: &mut Scratch<Line1>, out: &mut [Line1]) {
        self.multiply_anywhere(x, y, scratch, out);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "bmi2")]
    fn square_by_bmi2(&self, x: &[Line1], scratch: &mut Scratch<Line1>, out: &mut [Line1]) {
        self.square_anywhere(x, scratch, out);
    }
}

/// The rows that reach column c.
#[inline(always)]
fn reach(c: usize, digits: usize) -> Option<(usize, usize)> {
    (c < 2 * digits - 1).then(|| (c.saturating_sub(digits - 1), c.min(digits - 1)))
}

impl Numbers for Limbs {
    type Line = Line1;
    const BITS: u32 = 64;

    fn constants(&self) -> &Constants<Line1> {
        &self.constants
    }

    fn multiply(&self, x: &[Line1], y: &[Line1], scratch: &mut Scratch<Line1>, out: &mut [Line1]) {
        #[cfg(target_arch = "x86_64")]
        if self.bmi2 {
            // SAFETY: the processor has the feature.
            return unsafe { self.multiply_by_bmi2(x, y, scratch, out) };
        }
        self.multiply_anywhere(x, y, scratch, out);
    }

    fn square(&self, x: &[Line1], scratch: &mut Scratch<Line1>, out: &mut [Line1]) {
        #[cfg(target_arch = "x86_64")]
        if self.bmi2 {
            // SAFETY: the processor has the feature.
            return unsafe { self.square_by_bmi2(x, scratch, out) };
        }
        self.square_anywhere(x, scratch, out);
    }

    fn select(&self, table: &[Line1], index: &Line1, out: &mut [Line1]) {
        out.fill(Line1([0]));
        for (j, entry) in table.chunks_exact(out.len()).enumerate() {
            let mask = equal(j as u64, index.0[0]);
            out.iter_mut().zip(entry).for_each(|(out, entry)| out.0[0] |= entry.0[0] & mask);
        }
    }

    fn look_up(&self, table: &[u64], index: &Line1, out: &mut [Line1]) {
        out.fill(Line1([0]));
        for (j, entry) in table.chunks_exact(out.len()).enumerate() {
            let mask = equal(j as u64, index.0[0]);
            out.iter_mut().zip(entry).for_each(|(out, entry)| out.0[0] |= entry & mask);
        }
    }
}

/// All ones where two small numbers are equal, else zero; no branch.
#[inline(always)]
fn equal(a: u64, b: u64) -> u64 {
    let different = a ^ b;
    debug_assert!(different <= mask(63));
    std::hint::black_box(different.wrapping_sub(1) >> 63).wrapping_neg()
}
