//! The micro-kernel of the matrix product on AVX-512 IFMA, for primes below 2^50: the low and the high halves of
//! products are summed apart, one instruction each, and reduced together at the end.

use std::arch::x86_64::*;

use super::gemm::{Blocking, Panel, Tile, by_size, check_dots, for_each_tile};
use super::ifma::C;
use super::twiddles::Roots;
use super::vec512::{V, load, reduce_once, splat, store};
use crate::backend::GemmShape;

/// 4 x 3 sums take 24 registers. 128 products keep a sum of high halves below 2^55 + 2^7 and of low ones below 2^59.
const BLOCKING: Blocking = Blocking { depth: 128, rows: 4, cols: 3 };

/// The matrix product of one panel, `packed` being scratch space.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn gemm(roots: &Roots, size: GemmShape, panel: Panel<'_>, packed: &mut Vec<u64>) {
    let c = &Reduction::new(roots);
    for_each_tile(
        size,
        &BLOCKING,
        panel,
        packed,
        |to, from| *to = *from,
        |rows, cols, tile| by_size!(kernel, rows, cols, (c, tile); 4 3, 4 2, 4 1, 3 3, 3 2, 3 1, 2 3, 2 2, 2 1, 1 3, 1 2, 1 1),
    );
}

/// `out[c] (+)= sum over k of left[k] * right[k][c]` of at most 128 products of words below 2^50; a `left` of eight
/// words repeats.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn dots<const N: usize>(
    roots: &Roots,
    left: &[&[u64]],
    right: &[[&[u64]; N]],
    out: [&mut [u64]; N],
    accumulate: bool,
) {
    let (len, step) = check_dots(left, right, &out);
    assert!(left.len() <= BLOCKING.depth);
    let (m, outs) = (&Reduction::new(roots), out.map(|o| o.as_mut_ptr()));
    for i in (0..len).step_by(8) {
        let zero = _mm512_setzero_si512();
        let (mut low, mut high) = ([zero; N], [zero; N]);
        for (l, r) in left.iter().zip(right) {
            // SAFETY: i + 8 is at most the length of all rows; a repeated one is read at its start.
            let l = unsafe { load(l.as_ptr().add(i * step)) };
            for j in 0..N {
                // SAFETY: as above.
                let r = unsafe { load(r[j].as_ptr().add(i)) };
                low[j] = _mm512_madd52lo_epu64(low[j], l, r);
                high[j] = _mm512_madd52hi_epu64(high[j], l, r);
            }
        }
        for j in 0..N {
            let mut sum = m.reduce(high[j], low[j]);
            // SAFETY: as above.
            unsafe {
                let to = outs[j].add(i);
                if accumulate {
                    sum = reduce_once(_mm512_add_epi64(sum, load(to)), m.c.q);
                }
                store(to, sum);
            }
        }
    }
}

struct Reduction {
    c: C,
    /// 2^52 mod q, its companion, and 16q.
    two52: V,
    two52_companion: V,
    sixteen_q: V,
}

impl Reduction {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(roots: &Roots) -> Self {
        let [value, companion, ..] = roots.power.p52;
        Self {
            c: C::new(roots),
            two52: splat(value),
            two52_companion: splat(companion),
            sixteen_q: splat(16 * roots.q),
        }
    }

    /// high * 2^52 + low, reduced, for high below 2^55 + 2^7 and low below 2^59.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn reduce(&self, high: V, low: V) -> V {
        let (c, zero) = (&self.c, _mm512_setzero_si512());
        let high = _mm512_add_epi64(high, _mm512_srli_epi64::<52>(low));
        let low = _mm512_and_si512(low, c.mask);
        // high * (2^52 mod q) - 16 t q < 48 q, with t the quotient for high / 16.
        let t = _mm512_madd52hi_epu64(zero, _mm512_srli_epi64::<4>(high), self.two52_companion);
        let rest = _mm512_sub_epi64(_mm512_mullo_epi64(high, self.two52), _mm512_mullo_epi64(t, self.sixteen_q));
        // Below 2^56; the quotient's estimate from the bits above q's is at most two too small.
        let sum = _mm512_add_epi64(rest, low);
        let t = _mm512_madd52hi_epu64(zero, _mm512_srlv_epi64(sum, c.low_bits), c.barrett);
        let rest = _mm512_sub_epi64(sum, _mm512_mullo_epi64(t, c.q));
        reduce_once(reduce_once(rest, c.two_q), c.q)
    }
}

/// `R x C` sums of `depth` products.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn kernel<const R: usize, const C: usize>(m: &Reduction, tile: Tile<'_>) {
    let Tile { depth, w, w_stride, x, y, y_stride, accumulate, stream } = tile;
    assert!((R - 1) * w_stride + depth * 8 <= w.len() && depth * C * 8 <= x.len());
    assert!((R - 1) * y_stride + C * 8 <= y.len() && (!stream || y.as_ptr().cast::<V>().is_aligned()));
    let zero = _mm512_setzero_si512();
    let (mut low, mut high) = ([[zero; C]; R], [[zero; C]; R]);
    for k in 0..depth {
        // SAFETY: lines of W and X within the slices, as asserted.
        unsafe {
            let x: [V; C] = std::array::from_fn(|j| load(x.as_ptr().add((k * C + j) * 8)));
            for i in 0..R {
                let w = load(w.as_ptr().add(i * w_stride + k * 8));
                for j in 0..C {
                    low[i][j] = _mm512_madd52lo_epu64(low[i][j], w, x[j]);
                    high[i][j] = _mm512_madd52hi_epu64(high[i][j], w, x[j]);
                }
            }
        }
    }
    for i in 0..R {
        for j in 0..C {
            let mut sum = m.reduce(high[i][j], low[i][j]);
            // SAFETY: lines of Y within the slice, as asserted; aligned where they are streamed.
            unsafe {
                let y = y.as_mut_ptr().add(i * y_stride + j * 8);
                if accumulate {
                    sum = reduce_once(_mm512_add_epi64(sum, load(y)), m.c.q);
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
