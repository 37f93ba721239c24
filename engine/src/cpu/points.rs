//! Points from one basis to another, and products of points in rows: each row stays in its core's cache from the
//! inverse transform on, and what a basis has already is copied.

use std::sync::Arc;

use rayon::prelude::*;

use super::buffer::{CpuBuffer, Layout};
use super::limb::Limb;
use super::panels::Order;
use super::rns::{finish_division, quotients, scale, weighted_sum, widest};
use super::to_panels::SERIAL_WORDS;
use super::{Cpu, CpuTables, for_each_chunk};
use crate::backend::{GemmShape, Limbs, Shape};
use crate::error::Result;
use crate::ring::Conversion;

/// Words of the pieces of rows that products are taken of.
const PIECE: usize = 512;

/// Coefficients of digits, as their conversions take them.
struct Digits {
    limbs: usize,
    size: usize,
    conversions: Vec<Arc<Conversion>>,
    /// `[batch, limbs, n]`.
    ys: CpuBuffer,
    /// `[batch, digits, n]`.
    vs: CpuBuffer,
}

impl Digits {
    /// Of rows of points, in digits of `size` limbs; `row(poly, limb)` is one of them.
    fn new<'a>(
        limbs: &[Arc<Limb>],
        (size, conversions): (usize, Vec<Arc<Conversion>>),
        batch: usize,
        row: impl Fn(usize, usize) -> &'a [u64] + Send + Sync,
    ) -> Self {
        let (n, count, digits) = (limbs[0].n(), limbs.len(), conversions.len());
        let mut ys = CpuBuffer::new(batch * count * n, Layout::Rows);
        for_each_chunk(ys.words_mut(), n, |i, y| {
            let (poly, limb) = (i / count, i % count);
            y.copy_from_slice(row(poly, limb));
            limbs[limb].inverse(y, Order::Panel);
            scale(&limbs[limb], &conversions[limb / size], limb % size, y);
        });
        let vs = CpuBuffer::new(batch * digits * n, Layout::Rows);
        let mut made = Self { limbs: count, size, conversions, ys, vs };
        let mut vs = std::mem::replace(&mut made.vs, CpuBuffer::zeros(0));
        for_each_chunk(vs.words_mut(), n, |i, v| {
            let (poly, digit) = (i / digits, i % digits);
            let own = &limbs[digit * size..count.min((digit + 1) * size)];
            quotients(own, &made.conversions[digit], &made.ys_of(poly, digit, n), v);
        });
        Self { vs, ..made }
    }

    fn ys_of(&self, poly: usize, digit: usize, n: usize) -> Vec<&[u64]> {
        let end = self.limbs.min((digit + 1) * self.size);
        let row = |limb: usize| &self.ys.words()[(poly * self.limbs + limb) * n..][..n];
        (digit * self.size..end).map(row).collect()
    }

    /// The coefficients of a digit of a polynomial modulo prime `at` of its conversion's target.
    fn convert(&self, limb: &Limb, bits: u32, (poly, digit, at): (usize, usize, usize), out: &mut [u64]) {
        let n = out.len();
        let mut rows = self.ys_of(poly, digit, n);
        rows.push(&self.vs.words()[(poly * self.conversions.len() + digit) * n..][..n]);
        weighted_sum(limb, bits, self.conversions[digit].weights(at), &rows, out);
    }
}

impl Cpu {
    /// Points of each digit's representative nearest zero, `shape` in all.
    pub(super) fn lift_points(
        &self,
        t: &CpuTables,
        to: &CpuTables,
        shape: Shape,
        size: usize,
        x: &CpuBuffer,
    ) -> Result<CpuBuffer> {
        let (limbs, n) = (t.limbs.len(), t.n);
        let digits = t.basis.digits(size);
        let batch = shape.batch / digits.len();
        let row = |poly: usize, limb: usize| &x.words()[(poly * limbs + limb) * n..][..n];
        let conversions = digits.iter().map(|digit| self.conversion(digit, &to.basis)).collect::<Result<_>>()?;
        let digits = Digits::new(&t.limbs, (size, conversions), batch, row);
        let mut own = vec![None; shape.limbs];
        to.basis.positions(&t.basis)?.into_iter().enumerate().for_each(|(i, at)| own[at] = Some(i));
        let (count, bits) = (digits.conversions.len(), widest(&t.limbs));
        let mut out = CpuBuffer::new(shape.words(), Layout::Rows);
        for_each_chunk(out.words_mut(), n, |i, out| {
            let (poly, digit, at) = (i / shape.limbs / count, i / shape.limbs % count, i % shape.limbs);
            match own[at] {
                Some(limb) if limb / size == digit => out.copy_from_slice(row(poly, limb)),
                _ => {
                    digits.convert(&to.limbs[at], bits, (poly, digit, at), out);
                    to.limbs[at].forward(out, Order::Panel);
                }
            }
        });
        Ok(out)
    }

    /// Points divided by the product of all primes but the first `kept`.
    pub(super) fn divide_points(&self, t: &CpuTables, shape: Shape, kept: usize, x: &CpuBuffer) -> Result<CpuBuffer> {
        let Shape { batch, limbs, n } = shape;
        let row = |poly: usize, limb: usize| &x.words()[(poly * limbs + limb) * n..][..n];
        let conversion = self.conversion(&t.basis.range(kept..limbs)?, &t.basis.level(kept)?)?;
        let dropped = (limbs - kept, vec![conversion.clone()]);
        let rest = Digits::new(&t.limbs[kept..], dropped, batch, |poly, limb| row(poly, kept + limb));
        let bits = widest(&t.limbs[kept..]);
        let mut out = CpuBuffer::new(batch * kept * n, Layout::Rows);
        for_each_chunk(out.words_mut(), n, |i, out| {
            let (poly, at) = (i / kept, i % kept);
            let limb = &t.limbs[at];
            rest.convert(limb, bits, (poly, 0, at), out);
            limb.forward(out, Order::Panel);
            finish_division(limb, &conversion, at, row(poly, at), out);
        });
        Ok(out)
    }

    /// The matrix products of rows.
    pub(super) fn gemm_rows(
        &self,
        t: &CpuTables,
        size: GemmShape,
        w: &Limbs<'_, CpuBuffer>,
        x: &CpuBuffer,
    ) -> CpuBuffer {
        let (GemmShape { rows, inner, cols }, limbs, n) = (size, t.limbs.len(), t.n);
        pieces(t, rows * cols, inner, |limb, range, mut out| {
            let bits = t.limbs[limb].modulus().bits();
            let w = |r: usize, k: usize| {
                &w.buffer.words()[((r * inner + k) * w.limbs + w.map[limb]) * n..][..n][range.clone()]
            };
            let x = |k: usize, c: usize| &x.words()[((k * cols + c) * limbs + limb) * n..][..n][range.clone()];
            // Pairs of sums share a factor: of X where it has one column, else of W.
            let many = if cols == 1 { rows } else { cols };
            for (first, pair) in out.chunks_mut(2).enumerate().map(|(i, pair)| (2 * i, pair)) {
                let shares = pair.len() == 2 && first % many + 1 < many;
                let factors = |i: usize, k: usize| (w(i / cols, k), x(k, i % cols));
                let shared = |k: usize| if cols == 1 { x(k, 0) } else { w(first / cols, k) };
                let other = |i: usize, k: usize| if cols == 1 { w(i, k) } else { x(k, i % cols) };
                if let ([a, b], true) = (&mut *pair, shares) {
                    let left: Vec<&[u64]> = (0..inner).map(shared).collect();
                    let right: Vec<_> = (0..inner).map(|k| [other(first, k), other(first + 1, k)]).collect();
                    t.limbs[limb].dots(bits, &left, &right, [a, b]);
                    continue;
                }
                for (i, out) in pair.iter_mut().enumerate() {
                    let (left, right): (Vec<_>, Vec<_>) =
                        (0..inner).map(|k| factors(first + i, k)).map(|(w, x)| (w, [x])).unzip();
                    t.limbs[limb].dots(bits, &left, &right, [out]);
                }
            }
        })
    }

    /// (a0 b0, a0 b1 + a1 b0, a1 b1) of rows.
    pub(super) fn tensor_of_rows(&self, t: &CpuTables, a: &CpuBuffer, b: &CpuBuffer) -> CpuBuffer {
        let (limbs, n) = (t.limbs.len(), t.n);
        pieces(t, 3, 2, |limb, range, mut out| {
            let (prime, bits) = (&t.limbs[limb], t.limbs[limb].modulus().bits());
            let part = |x, poly| &CpuBuffer::words(x)[(poly * limbs + limb) * n..][..n][range.clone()];
            let ([a0, a1], [b0, b1]) = ([0, 1].map(|poly| part(a, poly)), [0, 1].map(|poly| part(b, poly)));
            let [first, middle, last] = &mut out[..] else { unreachable!("three sums") };
            prime.dots(bits, &[a0], &[[b0]], [first]);
            prime.dots(bits, &[a0, a1], &[[b1], [b0]], [middle]);
            prime.dots(bits, &[a1], &[[b1]], [last]);
        })
    }
}

/// Makes `count` polynomials of points in rows, a piece of a limb of all of them at a time: `each(limb, words of the
/// rows, pieces)`. Each word takes about `work` products.
fn pieces(
    t: &CpuTables,
    count: usize,
    work: usize,
    each: impl Fn(usize, std::ops::Range<usize>, Vec<&mut [u64]>) + Send + Sync,
) -> CpuBuffer {
    let (limbs, n) = (t.limbs.len(), t.n);
    let size = PIECE.min(n);
    let mut out = CpuBuffer::new(count * limbs * n, Layout::Rows);
    let mut tasks: Vec<Vec<&mut [u64]>> = (0..limbs * n / size).map(|_| Vec::with_capacity(count)).collect();
    for (i, row) in out.words_mut().chunks_exact_mut(n).enumerate() {
        let first = i % limbs * n / size;
        row.chunks_exact_mut(size).enumerate().for_each(|(k, piece)| tasks[first + k].push(piece));
    }
    let one = |(i, pieces): (usize, Vec<&mut [u64]>)| {
        let (limb, at) = (i * size / n, i * size % n);
        each(limb, at..at + size, pieces);
    };
    if count * limbs * n * work <= SERIAL_WORDS {
        tasks.into_iter().enumerate().for_each(one);
    } else {
        tasks.into_par_iter().enumerate().for_each(one);
    }
    out
}
