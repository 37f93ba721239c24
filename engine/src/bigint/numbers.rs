//! What a body offers: several numbers modulo n^2 side by side, one a lane, as pairs in Montgomery form.
//!
//! A pair (x0, x1) of `digits` digits each stands for x0 + n x1 modulo n^2, and with R = 2^(BITS digits) the Montgomery
//! form of x for x R. `Numbers::multiply` computes, of x and y whose four halves are each below 8n,
//!
//! ```text
//! x0 y0 + mu n = R r0,  mu < R                                     r0 < (1 + 2^-26) n
//! r1 = REDC(x0 y1 + x1 y0 + R - mu) + n - 1                        r1 < (2 + 2^-25) n        (r0, r1) = x y / R
//! ```
//!
//! as n < 2^-32 R. The first line is x0 y0 = R r0 - mu n, so the second divides x0 y1 + x1 y0 - mu by R, plus the 1
//! that R stands for. The canonical form, r0 and r1 below n, takes one conditional subtraction of n from r0, which
//! carries 1 into r1, then two from r1. Products of canonical pairs have n <= r0 about once in 2^32.

use zeroize::Zeroize;

use super::natural::{bit_length, digit, less, mask, negated_inverse, reduce_once};

/// One digit of each number.
pub(super) trait Line: Copy + Send + Sync + 'static {
    const LANES: usize;
    const ZERO: Self;

    /// A word a lane, first of all.
    fn words(&self) -> &[u64];
    fn words_mut(&mut self) -> &mut [u64];

    /// The same digit everywhere.
    fn splat(digit: u64) -> Self {
        let mut line = Self::ZERO;
        line.words_mut().fill(digit);
        line
    }
}

macro_rules! lines {
    ($($name:ident: $lanes:literal words aligned to $bytes:literal),*) => {$(
        #[doc = concat!("A digit of each of ", $lanes, " numbers.")]
        #[derive(Clone, Copy)]
        #[repr(C, align($bytes))]
        pub(super) struct $name(pub(super) [u64; $lanes]);

        impl Line for $name {
            const LANES: usize = $lanes;
            const ZERO: Self = Self([0; $lanes]);

            fn words(&self) -> &[u64] {
                &self.0
            }

            fn words_mut(&mut self) -> &mut [u64] {
                &mut self.0
            }
        }
    )*};
}

lines!(Line4: 4 words aligned to 32, Line8: 8 words aligned to 64);

/// A digit of one number, or a column of 128 bits.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(super) struct Line1(pub(super) [u64; 2]);

impl Line for Line1 {
    const LANES: usize = 1;
    const ZERO: Self = Self([0; 2]);

    fn words(&self) -> &[u64] {
        &self.0
    }

    fn words_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }

    fn splat(digit: u64) -> Self {
        Self([digit, 0])
    }
}

/// Digits of secret numbers: cleared when dropped.
#[derive(Clone)]
pub(super) struct Lines<L: Line>(Vec<L>);

impl<L: Line> Lines<L> {
    pub(super) fn zero(count: usize) -> Self {
        Self(vec![L::ZERO; count])
    }
}

impl<L: Line> Drop for Lines<L> {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|line| line.words_mut().zeroize());
    }
}

impl<L: Line> std::ops::Deref for Lines<L> {
    type Target = [L];

    fn deref(&self) -> &[L] {
        &self.0
    }
}

impl<L: Line> std::ops::DerefMut for Lines<L> {
    fn deref_mut(&mut self) -> &mut [L] {
        &mut self.0
    }
}

/// What a body needs besides its operands: 2 digits + 1 columns, and mu.
pub(super) struct Scratch<L: Line> {
    pub(super) columns: Lines<L>,
    pub(super) quotients: Lines<L>,
}

impl<L: Line> Scratch<L> {
    pub(super) fn new(digits: usize) -> Self {
        Self { columns: Lines::zero(2 * digits + 1), quotients: Lines::zero(digits) }
    }
}

/// What is known of n, in a body's digits and the same in all lanes.
pub(super) struct Constants<L: Line> {
    /// Digits of half a pair.
    pub(super) digits: usize,
    pub(super) n: Vec<L>,
    pub(super) n_minus_one: Vec<L>,
    /// -1/n modulo 2^BITS.
    pub(super) inverse: u64,
    /// R, R^2 and R^3 modulo n^2.
    pub(super) powers: [Vec<L>; 3],
    /// n in limbs.
    pub(super) limbs: Vec<u64>,
}

impl<L: Line> Constants<L> {
    /// Of an odd n and digits of `bits` bits, in multiples of `step`.
    pub(super) fn new(n: &[u64], bits: u32, step: usize) -> Self {
        let digits = (bit_length(n) + 32).div_ceil(bits as usize).next_multiple_of(step);
        let lines = |x: &[u64]| (0..digits).map(|i| L::splat(digit(x, i, bits))).collect::<Vec<_>>();
        let mut n_minus_one = n.to_vec();
        n_minus_one[0] -= 1;
        // Powers of two by doubling a pair: what n is taken from x0 is carried into x1.
        let (mut x0, mut x1) = (vec![0; n.len() + 1], vec![0; n.len() + 1]);
        x0[0] = 1;
        let powers = [(); 3].map(|()| {
            for _ in 0..bits as usize * digits {
                double(&mut x0, 0);
                let carry = reduce_once(&mut x0, n);
                double(&mut x1, carry);
                reduce_once(&mut x1, n);
            }
            debug_assert!(less(&x0, n) & less(&x1, n) == 1);
            [lines(&x0), lines(&x1)].concat()
        });
        let inverse = negated_inverse(n[0]) & mask(bits);
        Self { digits, n: lines(n), n_minus_one: lines(&n_minus_one), inverse, powers, limbs: n.to_vec() }
    }
}

/// `x = 2 x + carry`.
fn double(x: &mut [u64], mut carry: u64) {
    for limb in x {
        (*limb, carry) = (*limb << 1 | carry, *limb >> 63);
    }
}

/// A body. Pairs are `2 digits` lines: x0, then x1.
pub(super) trait Numbers: Send + Sync {
    type Line: Line;
    /// Of a digit.
    const BITS: u32;

    fn constants(&self) -> &Constants<Self::Line>;

    /// `out = x y / R` as the head of this file says.
    fn multiply(&self, x: &[Self::Line], y: &[Self::Line], scratch: &mut Scratch<Self::Line>, out: &mut [Self::Line]);

    /// `out = x x / R`, the same digits.
    fn square(&self, x: &[Self::Line], scratch: &mut Scratch<Self::Line>, out: &mut [Self::Line]);

    /// Entry number `index` of each lane, of a table of pairs; every entry is read.
    fn select(&self, table: &[Self::Line], index: &Self::Line, out: &mut [Self::Line]);

    /// The same of a table of one number's pairs, shared by all lanes.
    fn look_up(&self, table: &[u64], index: &Self::Line, out: &mut [Self::Line]);
}
