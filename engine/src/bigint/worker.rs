//! One thread's work on the numbers of a body: into Montgomery form, products, and back.

use zeroize::Zeroizing;

use super::natural::{add, add_product, digit, mask, put_digit, reduce_once};
use super::numbers::{Line, Lines, Numbers, Scratch};

/// Pairs of one number a lane, with a place for what bodies need.
pub(super) struct Worker<'a, N: Numbers> {
    pub(super) numbers: &'a N,
    scratch: Scratch<N::Line>,
    spare: Lines<N::Line>,
}

impl<'a, N: Numbers> Worker<'a, N> {
    pub(super) fn new(numbers: &'a N) -> Self {
        let digits = numbers.constants().digits;
        Self { numbers, scratch: Scratch::new(digits), spare: Lines::zero(2 * digits) }
    }

    /// Lines of a pair.
    pub(super) fn width(&self) -> usize {
        2 * self.numbers.constants().digits
    }

    pub(super) fn multiply(&mut self, x: &[N::Line], y: &[N::Line], out: &mut [N::Line]) {
        self.numbers.multiply(x, y, &mut self.scratch, out);
    }

    /// `x = x y / R`.
    pub(super) fn multiply_by(&mut self, x: &mut Lines<N::Line>, y: &[N::Line]) {
        self.numbers.multiply(x, y, &mut self.scratch, &mut self.spare);
        std::mem::swap(x, &mut self.spare);
    }

    /// `x = x x / R`.
    pub(super) fn square(&mut self, x: &mut Lines<N::Line>) {
        self.numbers.square(x, &mut self.scratch, &mut self.spare);
        std::mem::swap(x, &mut self.spare);
    }

    /// R, the Montgomery form of 1.
    pub(super) fn one(&self) -> Lines<N::Line> {
        let mut one = Lines::zero(self.width());
        one.copy_from_slice(&self.numbers.constants().powers[0]);
        one
    }

    /// Digits of x from number `first` on, in half a pair; fewer numbers than lanes leave zeros.
    pub(super) fn put(&self, half: &mut [N::Line], x: &[u64], limbs: usize, first: usize) {
        for (lane, x) in x.chunks_exact(limbs).enumerate() {
            for (i, line) in half.iter_mut().enumerate() {
                line.words_mut()[lane] = digit(x, first + i, N::BITS);
            }
        }
    }

    /// The Montgomery form of integers modulo n^2, twice as many limbs each as n has: x = low + R high, both below R.
    pub(super) fn enter(&mut self, x: &[u64]) -> Lines<N::Line> {
        let constants = self.numbers.constants();
        let (digits, limbs) = (constants.digits, 2 * constants.limbs.len());
        let (mut low, mut high) = (Lines::zero(2 * digits), Lines::zero(2 * digits));
        self.put(&mut low[..digits], x, limbs, 0);
        self.put(&mut high[..digits], x, limbs, digits);
        // A factor of R: r0 < 2n and r1 < 3n + 2, so the sums of both are below 8n.
        self.multiply_by(&mut low, &constants.powers[1]);
        self.multiply_by(&mut high, &constants.powers[2]);
        let (low0, low1) = low.split_at_mut(digits);
        let (high0, high1) = high.split_at(digits);
        for (sum, other) in [(low0, high0), (low1, high1)] {
            for lane in 0..N::Line::LANES {
                let mut carry = 0;
                for (sum, other) in sum.iter_mut().zip(other) {
                    let word = &mut sum.words_mut()[lane];
                    let t = u128::from(*word) + u128::from(other.words()[lane]) + carry;
                    (*word, carry) = (t as u64 & mask(N::BITS), t >> N::BITS);
                }
            }
        }
        low
    }

    /// The canonical pairs of `count` numbers: x0 and x1 below n, as many limbs each as n has.
    ///
    /// x is a product, and so below the bounds of one.
    pub(super) fn canonical(&self, x: &[N::Line], count: usize) -> Zeroizing<Vec<u64>> {
        let constants = self.numbers.constants();
        let (n, limbs) = (&constants.limbs, constants.limbs.len());
        let mut pairs = Zeroizing::new(vec![0; 2 * limbs * count]);
        let (mut half0, mut half1) = (Zeroizing::new(vec![0; limbs + 1]), Zeroizing::new(vec![0; limbs + 1]));
        for (lane, pair) in pairs.chunks_exact_mut(2 * limbs).enumerate() {
            let (x0, x1) = x.split_at(constants.digits);
            for (half, digits) in [(&mut half0, x0), (&mut half1, x1)] {
                half.fill(0);
                digits.iter().enumerate().for_each(|(i, line)| put_digit(half, i, N::BITS, line.words()[lane]));
            }
            let carry = reduce_once(&mut half0, n);
            add(&mut half1, &[carry]);
            reduce_once(&mut half1, n);
            reduce_once(&mut half1, n);
            pair[..limbs].copy_from_slice(&half0[..limbs]);
            pair[limbs..].copy_from_slice(&half1[..limbs]);
        }
        pairs
    }

    /// x in Montgomery form divided by R.
    pub(super) fn leave(&mut self, x: &mut Lines<N::Line>) {
        let mut one = Lines::zero(self.width());
        one[0] = N::Line::splat(1);
        self.multiply_by(x, &one);
    }

    /// The integers x0 + n x1 below n^2 of products that are not in Montgomery form.
    pub(super) fn integers(&self, x: &[N::Line], out: &mut [u64]) {
        let n = &self.numbers.constants().limbs;
        let limbs = n.len();
        let pairs = self.canonical(x, out.len() / (2 * limbs));
        for (pair, out) in pairs.chunks_exact(2 * limbs).zip(out.chunks_exact_mut(2 * limbs)) {
            out[..limbs].copy_from_slice(&pair[..limbs]);
            out[limbs..].fill(0);
            add_product(out, n, &pair[limbs..]);
        }
    }
}
