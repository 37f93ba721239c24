//! Operations on any count of integers modulo n^2, on all threads: what each body's numbers are used for.

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::fixed_base::FixedBase;
use super::numbers::{Line, Lines, Numbers};
use super::window::{self, Exponents};
use super::worker::Worker;
use crate::stack::{SHALLOW, with_cleared_stack};

/// A body, whatever its numbers are. Lengths are the caller's promise: integers of twice the limbs of n each.
pub(super) trait Operations: Send + Sync {
    fn products(&self, x: &[u64], y: &[u64]) -> Zeroizing<Vec<u64>>;
    fn repeated(&self, x: &[u64], y: &[u64], times: usize) -> Zeroizing<Vec<u64>>;
    fn powers(&self, x: &[u64], exponents: &Exponents) -> Zeroizing<Vec<u64>>;
    fn pairs(&self, x: &[u64]) -> Zeroizing<Vec<u64>>;
    fn fixed_base(&self, base: &[u64], bits: usize) -> FixedBase;
    fn blinded(&self, base: &FixedBase, exponents: &Exponents, messages: &[u64]) -> Zeroizing<Vec<u64>>;
}

/// Fills integers of `limbs` limbs, as many at a time as a body has lanes: `work(worker, first number, integers)`.
fn in_lanes<N: Numbers>(
    numbers: &N,
    count: usize,
    work: impl Fn(&mut Worker<N>, usize, &mut [u64]) + Sync,
) -> Zeroizing<Vec<u64>> {
    let limbs = 2 * numbers.constants().limbs.len();
    let mut out = Zeroizing::new(vec![0; count * limbs]);
    let lanes = N::Line::LANES;
    out.par_chunks_mut(lanes * limbs).enumerate().for_each(|(i, out)| {
        with_cleared_stack::<{ 2 * SHALLOW }, _>(|| work(&mut Worker::new(numbers), i * lanes, out));
    });
    out
}

impl<N: Numbers> Operations for N {
    fn products(&self, x: &[u64], y: &[u64]) -> Zeroizing<Vec<u64>> {
        self.repeated(x, y, 1)
    }

    fn repeated(&self, x: &[u64], y: &[u64], times: usize) -> Zeroizing<Vec<u64>> {
        let limbs = 2 * self.constants().limbs.len();
        in_lanes(self, x.len() / limbs, |worker, first, out| {
            let at = first * limbs..first * limbs + out.len();
            let (mut x, y) = (worker.enter(&x[at.clone()]), worker.enter(&y[at]));
            (0..times).for_each(|_| worker.multiply_by(&mut x, &y));
            worker.leave(&mut x);
            worker.integers(&x, out);
        })
    }

    fn powers(&self, x: &[u64], exponents: &Exponents) -> Zeroizing<Vec<u64>> {
        let limbs = 2 * self.constants().limbs.len();
        in_lanes(self, x.len() / limbs, |worker, first, out| {
            let x = worker.enter(&x[first * limbs..][..out.len()]);
            let mut result = window::power(worker, &x, &exponents.of(first, out.len() / limbs));
            worker.leave(&mut result);
            worker.integers(&result, out);
        })
    }

    fn pairs(&self, x: &[u64]) -> Zeroizing<Vec<u64>> {
        let limbs = 2 * self.constants().limbs.len();
        in_lanes(self, x.len() / limbs, |worker, first, out| {
            let mut x = worker.enter(&x[first * limbs..][..out.len()]);
            worker.leave(&mut x);
            out.copy_from_slice(&worker.canonical(&x, out.len() / limbs));
        })
    }

    fn fixed_base(&self, base: &[u64], bits: usize) -> FixedBase {
        FixedBase::new(self, base, bits)
    }

    fn blinded(&self, base: &FixedBase, exponents: &Exponents, messages: &[u64]) -> Zeroizing<Vec<u64>> {
        let (limbs, digits) = (self.constants().limbs.len(), self.constants().digits);
        in_lanes(self, messages.len() / limbs, |worker, first, out| {
            let count = out.len() / (2 * limbs);
            let mut power = base.power(worker, &exponents.of(first, count));
            // 1 + m n is the pair (1, m); not in Montgomery form, it takes the power out of it.
            let mut message = Lines::zero(2 * digits);
            message[0] = N::Line::splat(1);
            worker.put(&mut message[digits..], &messages[first * limbs..][..count * limbs], limbs, 0);
            worker.multiply_by(&mut power, &message);
            worker.integers(&power, out);
        })
    }
}
