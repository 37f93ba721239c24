//! The kernels on single rows, for callers that take a polynomial through many steps while it is in cache.
//!
//! A row is the n residues of one limb, reduced, in and out. Points are in the order of [`NttTable`](crate::ring::NttTable).

use super::body::CpuTables;
use super::panels::Order;
use crate::ring::Modulus;
use crate::simd::wide;

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

    /// `a = values`, for a prime above all magnitudes.
    pub fn lift(&self, limb: usize, a: &mut [u64], values: &[i32]) {
        self.check(&[a.len(), values.len()]);
        lift(self.modulus(limb), a, values);
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

    fn check(&self, lens: &[usize]) {
        assert!(lens.iter().all(|&len| len == self.n), "rows of {lens:?} for n = {}", self.n);
    }
}

/// Residues of values whose magnitudes are below q.
fn lift(q: Modulus, a: &mut [u64], values: &[i32]) {
    let q = q.value();
    assert!(q > 1 << 31, "magnitudes up to 2^31 for a prime of {q}");
    wide(|| {
        for (a, &v) in a.iter_mut().zip(values) {
            let v = i64::from(v);
            *a = (v + ((v >> 63) & q as i64)) as u64;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Body, scalar};
    use crate::ring::RnsBasis;
    use crate::ring::primes::{DEFAULT_50, DEFAULT_60};

    #[test]
    fn rows_are_the_definitions_rows() {
        for primes in [&DEFAULT_50[..2], &DEFAULT_60[..2]] {
            let basis = RnsBasis::new(512, primes).unwrap();
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
                assert_eq!(run(&|a| t.forward(0, a)), run(&|a| basis.tables()[0].forward(a)));
                assert_eq!(run(&|a| t.inverse(0, a)), run(&|a| basis.tables()[0].inverse(a)));
                assert_eq!(run(&|a| t.mul(0, a, &y)), run(&|a| scalar::mul(q, a, &y)));
                assert_eq!(run(&|a| t.mul_add(0, a, &y, &x)), run(&|a| scalar::mul_add(q, a, &y, &x)));
                assert_eq!(run(&|a| t.add(0, a, &y)), run(&|a| scalar::add(q, a, &y)));
                assert_eq!(run(&|a| t.sub(0, a, &y)), run(&|a| scalar::sub(q, a, &y)));
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
