//! One scalar function a kernel: the definition that all other bodies are held to, bit for bit.
//!
//! Rows are the n residues of one limb of one polynomial, reduced, in and out.

use crate::backend::{GemmShape, Integers};
use crate::ring::{Galois, Modulus};

/// `a += b`.
pub(crate) fn add(q: Modulus, a: &mut [u64], b: &[u64]) {
    a.iter_mut().zip(b).for_each(|(a, &b)| *a = q.add(*a, b));
}

/// `a -= b`.
pub(crate) fn sub(q: Modulus, a: &mut [u64], b: &[u64]) {
    a.iter_mut().zip(b).for_each(|(a, &b)| *a = q.sub(*a, b));
}

/// `a = -a`.
pub(crate) fn negate(q: Modulus, a: &mut [u64]) {
    a.iter_mut().for_each(|a| *a = q.neg(*a));
}

/// `a *= b`; a shorter `b` repeats.
pub(crate) fn mul(q: Modulus, a: &mut [u64], b: &[u64]) {
    for a in a.chunks_exact_mut(b.len()) {
        a.iter_mut().zip(b).for_each(|(a, &b)| *a = q.mul(*a, b));
    }
}

/// `acc += a * b`; a shorter `b` repeats.
pub(crate) fn mul_add(q: Modulus, acc: &mut [u64], a: &[u64], b: &[u64]) {
    for (acc, a) in acc.chunks_exact_mut(b.len()).zip(a.chunks_exact(b.len())) {
        acc.iter_mut().zip(a.iter().zip(b)).for_each(|(s, (&a, &b))| *s = q.add(*s, q.mul(a, b)));
    }
}

/// A matrix product at `width` points: `y[r, c] = sum over k of w[r, k] * x[k, c]`, each entry being `width` words.
pub(crate) fn gemm(q: Modulus, size: GemmShape, width: usize, w: &[u64], x: &[u64], y: &mut [u64]) {
    let GemmShape { inner, cols, .. } = size;
    for (i, y) in y.chunks_exact_mut(width).enumerate() {
        let (r, c) = (i / cols, i % cols);
        y.fill(0);
        for k in 0..inner {
            mul_add(q, y, &w[(r * inner + k) * width..][..width], &x[(k * cols + c) * width..][..width]);
        }
    }
}

/// `a *= scalar`.
pub(crate) fn mul_scalar(q: Modulus, a: &mut [u64], scalar: u64) {
    let companion = q.shoup(scalar);
    a.iter_mut().for_each(|a| *a = q.mul_shoup(*a, scalar, companion));
}

/// `acc += values * scale`.
pub(crate) fn add_lifted(q: Modulus, acc: &mut [u64], values: &[i32], scale: u64) {
    let companion = q.shoup(scale);
    for (a, &v) in acc.iter_mut().zip(values) {
        *a = q.add(*a, q.mul_shoup(q.from_signed(i64::from(v)), scale, companion));
    }
}

/// `x = (x - [last]) / q_last mod q` with `[last]` the representative of `last` nearest zero.
pub(crate) fn drop_limb(q: Modulus, q_last: Modulus, x: &mut [u64], last: &[u64]) {
    let inverse = q.inv(q.reduce(q_last.value()));
    let companion = q.shoup(inverse);
    for (x, &l) in x.iter_mut().zip(last) {
        *x = q.mul_shoup(q.sub(*x, q.from_signed(q_last.to_signed(l))), inverse, companion);
    }
}

/// `out[c] = sum over k of left[k] * right[k][c]`, of words below 2^60; a shorter `left` repeats.
pub(crate) fn dots<const C: usize>(q: Modulus, left: &[&[u64]], right: &[[&[u64]; C]], out: [&mut [u64]; C]) {
    /// Products that 128 bits hold.
    const PIECE: usize = 128;
    for (c, out) in out.into_iter().enumerate() {
        for (i, out) in out.iter_mut().enumerate() {
            let pieces = left.chunks(PIECE).zip(right.chunks(PIECE));
            let product = |(l, r): (&&[u64], &[&[u64]; C])| u128::from(l[i % l.len()]) * u128::from(r[c][i]);
            let sums = pieces.map(|(left, right)| q.reduce_wide(left.iter().zip(right).map(product).sum()));
            *out = sums.fold(0, |sum, piece| q.add(sum, piece));
        }
    }
}

/// The residues of the integers from number `first` on.
pub(crate) fn reduce(q: Modulus, values: Integers<'_>, first: usize, out: &mut [u64]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = match values {
            Integers::One(x) => q.from_signed(x[first + i]),
            Integers::Two(x) => {
                let magnitude = q.reduce_wide(x[first + i].unsigned_abs());
                let negative = (x[first + i] >> 127) as u64;
                (magnitude & !negative) | (q.neg(magnitude) & negative)
            }
        };
    }
}

/// Coefficient domain: `out(x) = a(x^g)`.
pub(crate) fn automorphism_coeff(q: Modulus, galois: Galois, out: &mut [u64], a: &[u64]) {
    for (j, out) in out.iter_mut().enumerate() {
        let (i, negative) = galois.coefficient(j);
        *out = if negative { q.neg(a[i]) } else { a[i] };
    }
}

/// NTT domain: the values of a(x^g), `a(i)` being point i of the polynomial's. Panels are permuted whole, and held to
/// this.
#[cfg(test)]
pub(crate) fn automorphism_ntt(galois: Galois, out: &mut [u64], a: impl Fn(usize) -> u64) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = a(galois.point(i));
    }
}
