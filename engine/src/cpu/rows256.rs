//! Kernels along one row on AVX2 registers, and the matrix product at eight points, for primes below 2^60.
//!
//! A product of residues is taken of 30-bit halves, l + m * 2^30 + h * 2^60; the halves of m go to l and h, which the
//! factors 1 and 2^60 reduce. Sums of products add up parts: eight at a time, as m is below 2^61.

use std::arch::x86_64::*;

use super::avx2::{C, Constants, V, W, finish, load, mul, mul_reduced, reduce_once, select, splat, store, uniform};
use super::gemm::{Panel, Side, check_dots};
use crate::backend::GemmShape;
use crate::ring::Modulus;
use crate::ring::ntt_table::Factor;

/// Products in one sum of parts.
const BLOCK: usize = 8;

/// Sums of low, middle and high parts of products.
type Parts = [V; 3];

/// Applies `f` to whole registers of `a` and `b`.
#[inline]
#[target_feature(enable = "avx2")]
fn zip(a: &mut [u64], b: &[u64], f: impl Fn(V, V) -> V) {
    assert!(a.len() == b.len() && a.len().is_multiple_of(4));
    for (a, b) in a.as_chunks_mut().0.iter_mut().zip(b.as_chunks().0) {
        let v = f(load(a), load(b));
        store(a, v);
    }
}

/// `a += b` modulo q.
#[target_feature(enable = "avx2")]
pub(super) fn add(q: u64, a: &mut [u64], b: &[u64]) {
    let q = splat(q);
    zip(a, b, |a, b| reduce_once(_mm256_add_epi64(a, b), q));
}

/// `a -= b` modulo q.
#[target_feature(enable = "avx2")]
pub(super) fn sub(q: u64, a: &mut [u64], b: &[u64]) {
    let q = splat(q);
    zip(a, b, |a, b| {
        let d = _mm256_sub_epi64(a, b);
        select(d, _mm256_add_epi64(d, q), d)
    });
}

/// `a = -a` modulo q.
#[target_feature(enable = "avx2")]
pub(super) fn negate(q: u64, a: &mut [u64]) {
    let q = splat(q);
    for a in a.as_chunks_mut().0 {
        let v = reduce_once(_mm256_sub_epi64(q, load(a)), q);
        store(a, v);
    }
}

/// `a *= scalar`.
#[target_feature(enable = "avx2")]
pub(super) fn mul_scalar(q: u64, constants: &Constants, a: &mut [u64], scalar: &Factor) {
    let (c, w) = (&C::new(q, constants), uniform(scalar));
    for a in a.as_chunks_mut().0 {
        let v = mul_reduced(c, load(a), w);
        store(a, v);
    }
}

/// Adds the parts of x * y.
#[inline]
#[target_feature(enable = "avx2")]
fn add_product(parts: &mut Parts, x: V, y: V, mask: V) {
    let (x0, y0) = (_mm256_and_si256(x, mask), _mm256_and_si256(y, mask));
    let (x1, y1) = (_mm256_srli_epi64::<30>(x), _mm256_srli_epi64::<30>(y));
    let middle = _mm256_add_epi64(_mm256_mul_epu32(x0, y1), _mm256_mul_epu32(x1, y0));
    let products = [_mm256_mul_epu32(x0, y0), middle, _mm256_mul_epu32(x1, y1)];
    for (sum, product) in parts.iter_mut().zip(products) {
        *sum = _mm256_add_epi64(*sum, product);
    }
}

/// The sum of parts and of a residue, reduced: the middle part's halves go to the others, whose multiples are below 4q
/// each.
#[inline]
#[target_feature(enable = "avx2")]
fn reduce(c: &C, [low, middle, high]: Parts, mask: V, residue: V) -> V {
    let low = _mm256_add_epi64(low, _mm256_slli_epi64::<30>(_mm256_and_si256(middle, mask)));
    let high = _mm256_add_epi64(high, _mm256_srli_epi64::<30>(middle));
    let [p0, p60] = c.powers;
    finish(c, _mm256_add_epi64(_mm256_add_epi64(mul(c, low, p0), mul(c, high, p60)), residue))
}

/// `a *= b`; a shorter `b` repeats.
#[target_feature(enable = "avx2")]
pub(super) fn mul_row(q: u64, constants: &Constants, a: &mut [u64], b: &[u64]) {
    let (c, mask, zero) = (&C::new(q, constants), splat((1 << 30) - 1), splat(0));
    for a in a.chunks_exact_mut(b.len()) {
        zip(a, b, |a, b| {
            let mut parts = [zero; 3];
            add_product(&mut parts, a, b, mask);
            reduce(c, parts, mask, zero)
        });
    }
}

/// `acc += a * b`; a shorter `b` repeats.
#[target_feature(enable = "avx2")]
pub(super) fn mul_add_row(q: u64, constants: &Constants, acc: &mut [u64], a: &[u64], b: &[u64]) {
    let (c, mask) = (&C::new(q, constants), splat((1 << 30) - 1));
    for (acc, a) in acc.chunks_exact_mut(b.len()).zip(a.chunks_exact(b.len())) {
        let factors = a.as_chunks().0.iter().zip(b.as_chunks().0);
        for (s, (a, b)) in acc.as_chunks_mut().0.iter_mut().zip(factors) {
            let mut parts = [splat(0); 3];
            add_product(&mut parts, load(a), load(b), mask);
            let v = reduce(c, parts, mask, load(s));
            store(s, v);
        }
    }
}

/// How words are halved for products that are summed, by their width: few products need no reduction between them.
struct Halves {
    shift: V,
    mask: V,
    /// 1, and 2^(2 shift).
    powers: [W; 2],
    /// Products in one sum of parts.
    block: usize,
}

impl Halves {
    /// Of words of up to `bits` bits, 60 at most.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(q: Modulus, c: &C, bits: u32) -> Self {
        assert!(bits <= 60);
        let shift = bits.div_ceil(2).max(1);
        let value = q.reduce_wide(1 << (2 * shift));
        let power = uniform(&Factor { value, shoup: q.shoup(value) });
        let [one, _] = c.powers;
        // Sums of middle parts are below 2^64, the others below 2^63.
        let block = 1 << (63 - 2 * shift).min(16);
        Self { shift: splat(shift.into()), mask: splat((1 << shift) - 1), powers: [one, power], block }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn of(&self, x: V) -> [V; 2] {
        [_mm256_and_si256(x, self.mask), _mm256_srlv_epi64(x, self.shift)]
    }

    /// The sum of parts and of a residue, reduced.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn reduce(&self, c: &C, [low, middle, high]: Parts, residue: V) -> V {
        let low = _mm256_add_epi64(low, _mm256_sllv_epi64(_mm256_and_si256(middle, self.mask), self.shift));
        let high = _mm256_add_epi64(high, _mm256_srlv_epi64(middle, self.shift));
        let [p0, power] = self.powers;
        finish(c, _mm256_add_epi64(_mm256_add_epi64(mul(c, low, p0), mul(c, high, power)), residue))
    }
}

/// `out[c] = sum over k of left[k] * right[k][c]`, of words of up to `bits` bits; a `left` of eight words repeats.
#[target_feature(enable = "avx2")]
pub(super) fn dots<const N: usize>(
    (q, constants, bits): (Modulus, &Constants, u32),
    left: &[&[u64]],
    right: &[[&[u64]; N]],
    out: [&mut [u64]; N],
) {
    let (len, step) = check_dots(left, right, &out);
    let (c, outs) = (&C::new(q.value(), constants), out.map(|o| o.as_mut_ptr()));
    let halves = &Halves::new(q, c, bits);
    for i in (0..len).step_by(4) {
        let at = i * step + (i % 8) * (1 - step);
        let mut sums = [splat(0); N];
        for (left, right) in left.chunks(halves.block).zip(right.chunks(halves.block)) {
            let mut parts = [[splat(0); 3]; N];
            for (l, r) in left.iter().zip(right) {
                // SAFETY: i + 4 is at most the length of all rows but repeated ones, and `at` + 4 that of those.
                let l = halves.of(unsafe { _mm256_loadu_si256(l.as_ptr().add(at).cast()) });
                for (parts, r) in parts.iter_mut().zip(r) {
                    // SAFETY: as above.
                    let r = halves.of(unsafe { _mm256_loadu_si256(r.as_ptr().add(i).cast()) });
                    let middle = _mm256_add_epi64(_mm256_mul_epu32(l[0], r[1]), _mm256_mul_epu32(l[1], r[0]));
                    let products = [_mm256_mul_epu32(l[0], r[0]), middle, _mm256_mul_epu32(l[1], r[1])];
                    parts.iter_mut().zip(products).for_each(|(sum, p)| *sum = _mm256_add_epi64(*sum, p));
                }
            }
            for (sum, parts) in sums.iter_mut().zip(parts) {
                *sum = halves.reduce(c, parts, *sum);
            }
        }
        for (c, sum) in sums.into_iter().enumerate() {
            // SAFETY: as above.
            unsafe { _mm256_storeu_si256(outs[c].add(i).cast(), sum) };
        }
    }
}

/// The matrix product of a panel whose entries are lines of eight words.
#[target_feature(enable = "avx2")]
pub(super) fn gemm(q: u64, constants: &Constants, size: GemmShape, panel: Panel<'_>) {
    let GemmShape { inner, cols, .. } = size;
    let (c, mask) = (&C::new(q, constants), splat((1 << 30) - 1));
    let w = panel.w.as_chunks::<4>().0;
    for Side { x, y } in panel.sides {
        let x = x.as_chunks::<4>().0;
        for (i, y) in y.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let (entry, half) = (i / 2, i % 2);
            let w = &w[entry / cols * inner * 2..][..inner * 2];
            let mut sum = splat(0);
            for first in (0..inner).step_by(BLOCK) {
                let mut parts = [splat(0); 3];
                for k in first..inner.min(first + BLOCK) {
                    let x = load(&x[2 * (k * cols + entry % cols) + half]);
                    add_product(&mut parts, load(&w[2 * k + half]), x, mask);
                }
                sum = reduce(c, parts, mask, sum);
            }
            store(y, sum);
        }
    }
}
