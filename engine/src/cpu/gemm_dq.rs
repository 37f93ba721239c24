//! The micro-kernel of the matrix product on AVX-512 DQ, for primes below 2^60.
//!
//! With 30-bit halves a product is l + m * 2^30 + h * 2^60, where l = w0 x0, h = w1 x1 and m = (w0 + w1)(x0 + x1) - l -
//! h (Karatsuba): three multiplications and three additions. Eight products keep the sums of l and h below 2^63 and
//! that of m, which is only needed at the end of the eight and may wrap before, below 2^64 - 2^34. Then the carries
//! move up into four wide sums, of weights 1, 2^30, 2^60 and 2^92, that are reduced at the end.

use std::arch::x86_64::*;

use super::dq::{C as Constants, reduce_parts};
use super::gemm::{Blocking, Panel, Tile, by_size, check_dots, for_each_tile};
use super::twiddles::Roots;
use super::vec512::{V, load, reduce_once, splat, store};
use crate::backend::GemmShape;

/// 2 x 4 sums of three parts take 24 registers.
const BLOCKING: Blocking = Blocking { depth: 64, rows: 2, cols: 4 };

/// Products between carries.
const STEP: usize = 8;

/// The matrix product of one panel, `packed` being scratch space.
#[target_feature(enable = "avx512f,avx512dq")]
pub(super) fn gemm(roots: &Roots, size: GemmShape, panel: Panel<'_>, packed: &mut Vec<u64>) {
    let c = &Constants::new(roots);
    for_each_tile(
        size,
        &BLOCKING,
        panel,
        packed,
        // The halves side by side: bits 0..30 and 32..62.
        |to, from| to.iter_mut().zip(from).for_each(|(t, f)| *t = (f & 0x3fff_ffff) | (f >> 30) << 32),
        |rows, cols, tile| by_size!(kernel, rows, cols, (c, tile); 2 4, 2 3, 2 2, 2 1, 1 4, 1 3, 1 2, 1 1),
    );
}

/// `out[c] (+)= sum over k of left[k] * right[k][c]` of at most 64 products of words below 2^60; a `left` of eight words
/// repeats.
#[target_feature(enable = "avx512f,avx512dq")]
pub(super) fn dots<const N: usize>(
    roots: &Roots,
    left: &[&[u64]],
    right: &[[&[u64]; N]],
    out: [&mut [u64]; N],
    accumulate: bool,
) {
    let (len, step) = check_dots(left, right, &out);
    assert!(left.len() <= BLOCKING.depth);
    let (m, outs) = (&Constants::new(roots), out.map(|o| o.as_mut_ptr()));
    let halves = |x| [_mm512_and_si512(x, m.mask), _mm512_srli_epi64::<30>(x)];
    for i in (0..len).step_by(8) {
        let mut wide = [[_mm512_setzero_si512(); 4]; N];
        for (left, right) in left.chunks(STEP).zip(right.chunks(STEP)) {
            let mut parts = [[_mm512_setzero_si512(); 3]; N];
            for (l, r) in left.iter().zip(right) {
                // SAFETY: i + 8 is at most the length of all rows; a repeated one is read at its start.
                let l = halves(unsafe { load(l.as_ptr().add(i * step)) });
                for (parts, r) in parts.iter_mut().zip(r) {
                    // SAFETY: as above.
                    let r = halves(unsafe { load(r.as_ptr().add(i)) });
                    let middle = _mm512_add_epi64(_mm512_mul_epu32(l[0], r[1]), _mm512_mul_epu32(l[1], r[0]));
                    let products = [_mm512_mul_epu32(l[0], r[0]), middle, _mm512_mul_epu32(l[1], r[1])];
                    parts.iter_mut().zip(products).for_each(|(sum, p)| *sum = _mm512_add_epi64(*sum, p));
                }
            }
            for (sums, [low, middle, high]) in wide.iter_mut().zip(parts) {
                carry(m, sums, low, middle, high);
            }
        }
        for (to, parts) in outs.iter().zip(wide) {
            let mut sum = reduce_parts(m, parts);
            // SAFETY: as above.
            unsafe {
                let to = to.add(i);
                if accumulate {
                    sum = reduce_once(_mm512_add_epi64(sum, load(to)), m.q);
                }
                store(to, sum);
            }
        }
    }
}

/// Adds low, middle and high parts of eight products to wide sums.
#[inline]
#[target_feature(enable = "avx512f")]
fn carry(m: &Constants, sums: &mut [V; 4], low: V, middle: V, high: V) {
    let middle = _mm512_add_epi64(middle, _mm512_srli_epi64::<30>(low));
    let high = _mm512_add_epi64(high, _mm512_srli_epi64::<30>(middle));
    sums[0] = _mm512_add_epi64(sums[0], _mm512_and_si512(low, m.mask));
    sums[1] = _mm512_add_epi64(sums[1], _mm512_and_si512(middle, m.mask));
    sums[2] = _mm512_add_epi64(sums[2], _mm512_and_si512(high, splat(u64::from(u32::MAX))));
    sums[3] = _mm512_add_epi64(sums[3], _mm512_srli_epi64::<32>(high));
}

/// `R x C` sums of `depth` products.
#[target_feature(enable = "avx512f,avx512dq")]
fn kernel<const R: usize, const C: usize>(m: &Constants, tile: Tile<'_>) {
    let Tile { depth, w, w_stride, x, y, y_stride, accumulate, stream } = tile;
    assert!((R - 1) * w_stride + depth * 8 <= w.len() && depth * C * 8 <= x.len());
    assert!((R - 1) * y_stride + C * 8 <= y.len() && (!stream || y.as_ptr().cast::<V>().is_aligned()));
    let zero = _mm512_setzero_si512();
    let mut wide = [[[zero; 4]; C]; R];
    for k0 in (0..depth).step_by(STEP) {
        let (mut low, mut middle, mut high) = ([[zero; C]; R], [[zero; C]; R], [[zero; C]; R]);
        for k in k0..depth.min(k0 + STEP) {
            // SAFETY: lines of W and X within the slices, as asserted.
            unsafe {
                let w: [[V; 3]; R] = std::array::from_fn(|i| {
                    let w = load(w.as_ptr().add(i * w_stride + k * 8));
                    let (w0, w1) = (_mm512_and_si512(w, m.mask), _mm512_srli_epi64::<30>(w));
                    [w0, w1, _mm512_add_epi64(w0, w1)]
                });
                for j in 0..C {
                    // The multiplication reads the low 32 bits of each lane only.
                    let x0 = load(x.as_ptr().add((k * C + j) * 8));
                    let x1 = _mm512_srli_epi64::<32>(x0);
                    let both = _mm512_add_epi64(x0, x1);
                    for i in 0..R {
                        low[i][j] = _mm512_add_epi64(low[i][j], _mm512_mul_epu32(w[i][0], x0));
                        high[i][j] = _mm512_add_epi64(high[i][j], _mm512_mul_epu32(w[i][1], x1));
                        middle[i][j] = _mm512_add_epi64(middle[i][j], _mm512_mul_epu32(w[i][2], both));
                    }
                }
            }
        }
        for i in 0..R {
            for j in 0..C {
                let (l, h) = (low[i][j], high[i][j]);
                let cross = _mm512_sub_epi64(middle[i][j], _mm512_add_epi64(l, h));
                carry(m, &mut wide[i][j], l, cross, h);
            }
        }
    }
    for (i, row) in wide.into_iter().enumerate() {
        for (j, parts) in row.into_iter().enumerate() {
            let mut sum = reduce_parts(m, parts);
            // SAFETY: lines of Y within the slice, as asserted; aligned where they are streamed.
            unsafe {
                let y = y.as_mut_ptr().add(i * y_stride + j * 8);
                if accumulate {
                    sum = reduce_once(_mm512_add_epi64(sum, load(y)), m.q);
                }
                if stream {
                    _mm512_stream_si512(y.cast(), sum);
                } else {
                    store(y, sum);
                }
            }
        }
    }
}
