//! The kernels on single rows, for callers that take a polynomial through many steps while it is in cache.
//!
//! A row is the n residues of one limb, reduced, in and out. Points are in the order of [`NttTable`](crate::ring::NttTable).

use std::ops::Range;

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::body::CpuTables;
use super::buffer::{CpuBuffer, Layout};
use super::groups;
use super::panels::{Order, Panels};
use crate::backend::{Shape, parts};
use crate::error::Result;

impl CpuTables {
    /// `a` to points.
    ///
    /// # Panics
    /// These kernels do if a row has another length than n.
    pub fn forward(&self, limb: usize, a: &mut [u64]) {
        self.check(&[a.len()]);
        self.limbs[limb].forward(a, Order::Canonical);
    }

    /// `a` to coefficients, 1/n included.
    pub fn inverse(&self, limb: usize, a: &mut [u64]) {
        self.check(&[a.len()]);
        self.limbs[limb].inverse(a, Order::Canonical);
    }

    /// `a` to points in the order of [`PointRows`], which is cheaper.
    pub fn forward_as_held(&self, limb: usize, a: &mut [u64]) {
        self.check(&[a.len()]);
        self.limbs[limb].forward(a, Order::Panel);
    }

    /// `a` from points in that order to coefficients, 1/n included.
    pub fn inverse_as_held(&self, limb: usize, a: &mut [u64]) {
        self.check(&[a.len()]);
        self.limbs[limb].inverse(a, Order::Panel);
    }

    /// `a *= b` at every point.
    pub fn mul(&self, limb: usize, a: &mut [u64], b: &[u64]) {
        self.check(&[a.len(), b.len()]);
        self.limbs[limb].mul(a, b);
    }

    /// `acc += a * b` at every point.
    pub fn mul_add(&self, limb: usize, acc: &mut [u64], a: &[u64], b: &[u64]) {
        self.check(&[acc.len(), a.len(), b.len()]);
        self.limbs[limb].mul_add(acc, a, b);
    }

    /// `a += b`.
    pub fn add(&self, limb: usize, a: &mut [u64], b: &[u64]) {
        self.check(&[a.len(), b.len()]);
        self.limbs[limb].add(a, b);
    }

    /// `a -= b`.
    pub fn sub(&self, limb: usize, a: &mut [u64], b: &[u64]) {
        self.check(&[a.len(), b.len()]);
        self.limbs[limb].sub(a, b);
    }

    /// `a = -a`.
    pub fn negate(&self, limb: usize, a: &mut [u64]) {
        self.check(&[a.len()]);
        self.limbs[limb].negate(a);
    }

    /// `a = values`.
    pub fn lift(&self, limb: usize, a: &mut [u64], values: &[i32]) {
        self.check(&[a.len(), values.len()]);
        self.limbs[limb].lift(a, values);
    }

    /// `acc += values * scale`.
    pub fn add_lifted(&self, limb: usize, acc: &mut [u64], values: &[i32], scale: u64) {
        self.check(&[acc.len(), values.len()]);
        self.limbs[limb].add_lifted(acc, values, scale);
    }

    /// `x`, of limb `limb`, becomes `(x - [last]) / q_dropped` with `[last]` the representative nearest zero of a row of limb `dropped`.
    pub fn drop_limb(&self, limb: usize, x: &mut [u64], dropped: usize, last: &[u64]) {
        self.check(&[x.len(), last.len()]);
        self.limbs[limb].drop_limb(self.modulus(dropped), x, last);
    }

    /// Switches `[limbs, n]` rows to the first prime, one limb after the other; the others are left over.
    pub fn drop_to_first(&self, rows: &mut [u64]) {
        for last in (1..rows.len() / self.n).rev() {
            let (kept, dropped) = rows.split_at_mut(last * self.n);
            for (limb, row) in kept.chunks_exact_mut(self.n).enumerate() {
                self.drop_limb(limb, row, last, &dropped[..self.n]);
            }
        }
    }

    /// The points of a batch whose polynomials, `[limbs, n]`, `fill(i, rows)` writes over anything.
    pub(crate) fn forward_rows(
        &self,
        shape: Shape,
        fill: impl Fn(usize, &mut [u64]) -> Result<()> + Sync,
    ) -> Result<CpuBuffer> {
        let Shape { batch, limbs, n } = shape;
        let mut out = CpuBuffer::new(shape.words(), Layout::Panels);
        let panels = Panels::new(out.words_mut(), shape);
        let group = groups::size(shape);
        let one = |words: &mut Zeroizing<Vec<u64>>, polys: Range<usize>| {
            words.resize(polys.len() * limbs * n, 0);
            for (poly, rows) in polys.clone().zip(words.chunks_exact_mut(limbs * n)) {
                fill(poly, rows)?;
            }
            // SAFETY: each group is taken once.
            unsafe { self.forward_to(&panels, polys.start, words) };
            Ok(())
        };
        let groups: Vec<_> = parts(batch, group).collect();
        groups.into_par_iter().try_for_each_init(Zeroizing::default, one)?;
        Ok(out)
    }

    fn check(&self, lens: &[usize]) {
        assert!(lens.iter().all(|&len| len == self.n), "rows of {lens:?} for n = {}", self.n);
    }
}

/// The rows of a batch of points in main memory, in the order in which they are held there.
pub struct PointRows<'a> {
    words: &'a [u64],
    shape: Shape,
}

impl<'a> PointRows<'a> {
    /// Of a buffer of `shape` in the NTT domain.
    pub(crate) fn new(buffer: &'a CpuBuffer, shape: Shape) -> Self {
        Self { words: buffer.words(), shape }
    }

    /// Copies limb `limb` of polynomials `first..`, a row each.
    pub fn read(&self, first: usize, limb: usize, rows: &mut [&mut [u64]]) {
        groups::read(self.words, self.shape, first, limb, rows);
    }

    /// Limb `limb` of the only polynomial.
    pub fn single(&self, limb: usize) -> &'a [u64] {
        assert_eq!(self.shape.batch, 1);
        &self.words[limb * self.shape.n..][..self.shape.n]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Body, scalar};
    use crate::ring::Basis;
    use crate::ring::primes::{DEFAULT_50, DEFAULT_60};

    #[test]
    fn rows_are_the_definitions_rows() {
        for primes in [&DEFAULT_50[..2], &DEFAULT_60[..2]] {
            let basis = Basis::new(512, primes).unwrap();
            let q = basis.modulus(0);
            let values: Vec<i32> = (0..512).map(|i| [0, 1, -1, i32::MAX, i32::MIN, 77 * i][i as usize % 6]).collect();
            let [x, y] = [3, 5].map(|s| (0..512).map(|i| q.reduce((i + 1) * s * 0x9e37_79b9_7f4a)).collect::<Vec<_>>());
            for body in Body::available() {
                let t = CpuTables::new(body, &basis);
                let run = |f: &dyn Fn(&mut [u64])| {
                    let mut row = x.clone();
                    f(&mut row);
                    row
                };
                assert_eq!(run(&|a| t.forward(0, a)), run(&|a| basis.primes()[0].roots().forward(a)));
                assert_eq!(run(&|a| t.inverse(0, a)), run(&|a| basis.primes()[0].roots().inverse(a)));
                assert_eq!(run(&|a| t.mul(0, a, &y)), run(&|a| scalar::mul(q, a, &y)));
                assert_eq!(run(&|a| t.mul_add(0, a, &y, &x)), run(&|a| scalar::mul_add(q, a, &y, &x)));
                assert_eq!(run(&|a| t.add(0, a, &y)), run(&|a| scalar::add(q, a, &y)));
                assert_eq!(run(&|a| t.sub(0, a, &y)), run(&|a| scalar::sub(q, a, &y)));
                assert_eq!(run(&|a| t.negate(0, a)), run(&|a| scalar::negate(q, a)));
                let scaled = |scale| run(&|a| scalar::add_lifted(q, a, &values, scale));
                assert_eq!(run(&|a| t.add_lifted(0, a, &values, 12345)), scaled(12345));
                let lifted = |a: &mut [u64]| a.iter_mut().zip(&values).for_each(|(a, &v)| *a = q.from_signed(v.into()));
                assert_eq!(run(&|a| t.lift(0, a, &values)), run(&lifted));
                let dropped = |a: &mut [u64]| scalar::drop_limb(q, basis.modulus(1), a, &y);
                assert_eq!(run(&|a| t.drop_limb(0, a, 1, &y)), run(&dropped));
            }
        }
    }
}
