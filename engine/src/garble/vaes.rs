//! The VAES body of gates: 16 hashes of four blocks each in flight.

use std::arch::x86_64::*;

use super::{AndInputs, Row};
use crate::aes::Aes128;
use crate::aes::vaes::{Keys, broadcast, broadcast_keys, load, orthomorphism, rounds, store};

/// Instances garbled at once: four hashes for each.
const GARBLE: usize = 16;
/// Instances evaluated at once: two hashes for each.
const EVALUATE: usize = 16;

#[inline]
#[target_feature(enable = "avx512f")]
fn load_rows(x: &[Row; 4]) -> __m512i {
    // SAFETY: the reference is valid for 64 bytes and the load needs no alignment.
    unsafe { _mm512_loadu_si512(std::ptr::from_ref(x).cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_rows(x: &mut [Row; 4], v: __m512i) {
    // SAFETY: the reference is valid for 64 bytes and the store needs no alignment.
    unsafe { _mm512_storeu_si512(std::ptr::from_mut(x).cast(), v) }
}

/// Asks for rows to be brought into the nearest cache.
#[inline]
fn fetch(rows: &[Row]) {
    for line in rows.chunks(4) {
        // SAFETY: a hint, which reads nothing; the address is a slice's.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor2(x: __m512i, y: __m512i) -> __m512i {
    _mm512_xor_si512(x, y)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0x96>(x, y, z)
}

/// All words of the lanes whose label has colour 1.
#[inline]
#[target_feature(enable = "avx512f")]
fn coloured(x: __m512i) -> __mmask16 {
    _mm512_test_epi32_mask(_mm512_shuffle_epi32::<0>(x), _mm512_set1_epi32(1))
}

/// Q registers' worth of labels or rows.
#[inline(always)]
fn quads<T, const Q: usize>(x: &[T]) -> &[[T; 4]; Q] {
    x.as_chunks().0.first_chunk().expect("a tile")
}

/// The same, to be written.
#[inline(always)]
fn quads_mut<T, const Q: usize>(x: &mut [T]) -> &mut [[T; 4]; Q] {
    x.as_chunks_mut().0.first_chunk_mut().expect("a tile")
}

/// Operands of a tile: bounds are checked once, not at every load.
struct Operands<'a, const Q: usize>([&'a [[u128; 4]; Q]; 5]);

impl<'a, const Q: usize> Operands<'a, Q> {
    #[inline(always)]
    fn new(inputs: &AndInputs<'a>, at: usize) -> Self {
        Self([inputs.a[0], inputs.a[1], inputs.b[0], inputs.b[1], inputs.sum].map(|x| quads(&x[at..])))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn pair(&self, of: usize, i: usize) -> __m512i {
        xor2(load(&self.0[of][i]), load(&self.0[of + 1][i]))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn sum(&self, i: usize) -> __m512i {
        load(&self.0[4][i])
    }
}

/// The last instances, fewer than a tile, filled up with zeros.
struct Padded<const N: usize>([[u128; N]; 5]);

impl<const N: usize> Padded<N> {
    fn new(inputs: &AndInputs<'_>, at: usize) -> Self {
        let mut padded = [[0; N]; 5];
        let all = [inputs.a[0], inputs.a[1], inputs.b[0], inputs.b[1], inputs.sum];
        padded.iter_mut().zip(all).for_each(|(p, x)| p[..x.len() - at].copy_from_slice(&x[at..]));
        Self(padded)
    }

    fn inputs(&self) -> AndInputs<'_> {
        let [a0, a1, b0, b1, sum] = &self.0;
        AndInputs { a: [a0, a1], b: [b0, b1], sum }
    }
}

/// See [`super::garble_and`]; `flips` are the offsets of negated inputs.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,vaes")]
pub(super) fn garble(
    keys: &[Aes128; 2],
    delta: u128,
    inputs: AndInputs<'_>,
    flips: [u128; 2],
    out: &mut [u128],
    table: &mut [Row],
) {
    let k = [broadcast_keys(&keys[0]), broadcast_keys(&keys[1])];
    let offsets = [broadcast(&delta), broadcast(&flips[0]), broadcast(&flips[1])];
    let (generator, evaluator) = table.split_at_mut(out.len());
    let n = out.len() / GARBLE * GARBLE;
    for at in (0..n).step_by(GARBLE) {
        let rows = [quads_mut(&mut generator[at..]), quads_mut(&mut evaluator[at..])];
        garble_tile(&k, &offsets, &Operands::new(&inputs, at), quads_mut(&mut out[at..]), rows);
    }
    if n < out.len() {
        let padded = Padded::<GARBLE>::new(&inputs, n);
        let mut labels = [0; GARBLE];
        let mut rows = [[[0; 16]; GARBLE]; 2];
        let [g, e] = &mut rows;
        let operands = Operands::new(&padded.inputs(), 0);
        garble_tile(&k, &offsets, &operands, quads_mut(&mut labels), [quads_mut(g), quads_mut(e)]);
        let left = out.len() - n;
        out[n..].copy_from_slice(&labels[..left]);
        generator[n..].copy_from_slice(&rows[0][..left]);
        evaluator[n..].copy_from_slice(&rows[1][..left]);
    }
}

#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn garble_tile(
    k: &[Keys; 2],
    &[delta, flip_a, flip_b]: &[__m512i; 3],
    inputs: &Operands<'_, 4>,
    out: &mut [[u128; 4]; 4],
    [generator, evaluator]: [&mut [[Row; 4]; 4]; 2],
) {
    let zero = _mm512_setzero_si512();
    let spread = orthomorphism(delta);
    // Ciphers of A, A ^ Delta (first key), B, B ^ Delta (second key); s is linear.
    let (mut ea, mut eb) = ([zero; 8], [zero; 8]);
    for i in 0..4 {
        let (a, b) = (inputs.pair(0, i), inputs.pair(2, i));
        ea[i] = xor2(orthomorphism(xor2(a, flip_a)), k[0][0]);
        eb[i] = xor2(orthomorphism(xor2(b, flip_b)), k[1][0]);
        ea[i + 4] = xor2(ea[i], spread);
        eb[i + 4] = xor2(eb[i], spread);
    }
    rounds(&k[0], &mut ea);
    rounds(&k[1], &mut eb);
    for i in 0..4 {
        let (a, b) = (inputs.pair(0, i), inputs.pair(2, i));
        let (a, b) = (xor2(a, flip_a), xor2(b, flip_b));
        let (pa, pb) = (coloured(a), coloured(b));
        let ha = xor2(ea[i], orthomorphism(a));
        let hb = xor2(eb[i], orthomorphism(b));
        let da = xor3(ea[i], ea[i + 4], spread);
        let db = xor3(eb[i], eb[i + 4], spread);
        let tg = _mm512_mask_xor_epi32(da, pb, da, delta);
        let te = xor2(db, a);
        let c = xor3(ha, hb, inputs.sum(i));
        let c = _mm512_mask_xor_epi32(c, pa, c, tg);
        let c = _mm512_mask_xor_epi32(c, pb, c, db);
        store(&mut out[i], c);
        store_rows(&mut generator[i], tg);
        store_rows(&mut evaluator[i], te);
    }
}

/// See [`super::evaluate_and`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,vaes")]
pub(super) fn evaluate(keys: &[Aes128; 2], inputs: AndInputs<'_>, table: &[Row], next: &[Row], out: &mut [u128]) {
    let k = [broadcast_keys(&keys[0]), broadcast_keys(&keys[1])];
    let (generator, evaluator) = table.split_at(out.len());
    let n = out.len() / EVALUATE * EVALUATE;
    let mut next = next.chunks(2 * EVALUATE);
    for at in (0..n).step_by(EVALUATE) {
        next.next().into_iter().for_each(fetch);
        let rows = [quads(&generator[at..]), quads(&evaluator[at..])];
        evaluate_tile(&k, &Operands::new(&inputs, at), rows, quads_mut(&mut out[at..]));
    }
    if n < out.len() {
        let padded = Padded::<EVALUATE>::new(&inputs, n);
        let mut labels = [0; EVALUATE];
        let mut rows = [[[0; 16]; EVALUATE]; 2];
        let left = out.len() - n;
        rows[0][..left].copy_from_slice(&generator[n..]);
        rows[1][..left].copy_from_slice(&evaluator[n..]);
        let operands = Operands::new(&padded.inputs(), 0);
        evaluate_tile(&k, &operands, [quads(&rows[0]), quads(&rows[1])], quads_mut(&mut labels));
        out[n..].copy_from_slice(&labels[..left]);
    }
}

#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn evaluate_tile(
    k: &[Keys; 2],
    inputs: &Operands<'_, 4>,
    [generator, evaluator]: [&[[Row; 4]; 4]; 2],
    out: &mut [[u128; 4]; 4],
) {
    let zero = _mm512_setzero_si512();
    let (mut ea, mut eb) = ([zero; 4], [zero; 4]);
    for i in 0..4 {
        let (a, b) = (inputs.pair(0, i), inputs.pair(2, i));
        ea[i] = xor2(orthomorphism(a), k[0][0]);
        eb[i] = xor2(orthomorphism(b), k[1][0]);
    }
    rounds(&k[0], &mut ea);
    rounds(&k[1], &mut eb);
    for i in 0..4 {
        let (a, b) = (inputs.pair(0, i), inputs.pair(2, i));
        let (sa, sb) = (coloured(a), coloured(b));
        let tg = load_rows(&generator[i]);
        let te = load_rows(&evaluator[i]);
        // H(a) ^ H'(b): s is linear, so both outer terms are one.
        let c = xor3(ea[i], eb[i], xor2(orthomorphism(xor2(a, b)), inputs.sum(i)));
        let c = _mm512_mask_xor_epi32(c, sa, c, tg);
        let c = _mm512_mask_xor_epi32(c, sb, c, xor2(te, a));
        store(&mut out[i], c);
    }
}

/// See [`super::xor`].
#[target_feature(enable = "avx512f")]
pub(super) fn xor(a: &[u128], b: &[u128], out: &mut [u128]) {
    let ((a, a_rest), (b, b_rest), (out, out_rest)) = (a.as_chunks(), b.as_chunks(), out.as_chunks_mut());
    for ((a, b), out) in a.iter().zip(b).zip(out) {
        store(out, xor2(load(a), load(b)));
    }
    out_rest.iter_mut().zip(a_rest).zip(b_rest).for_each(|((o, a), b)| *o = a ^ b);
}

/// See [`super::add_selected`].
#[target_feature(enable = "avx512f")]
pub(super) fn add_selected(labels: &mut [u128], bits: &[u128], delta: u128) {
    let offset = broadcast(&delta);
    let lanes = _mm512_set_epi64(8, 8, 4, 4, 2, 2, 1, 1);
    for (labels, word) in labels.chunks_mut(128).zip(bits) {
        let (quads, rest) = labels.as_chunks_mut::<4>();
        let done = 4 * quads.len();
        for (half, quads) in [*word as u64, (*word >> 64) as u64].into_iter().zip(quads.chunks_mut(16)) {
            let mut half = half;
            for quad in quads {
                let chosen = _mm512_test_epi64_mask(_mm512_set1_epi64(half as i64), lanes);
                let x = load(quad);
                store(quad, _mm512_mask_xor_epi64(x, chosen, x, offset));
                half >>= 4;
            }
        }
        for (i, label) in rest.iter_mut().enumerate() {
            *label ^= delta & (word >> (done + i) & 1).wrapping_neg();
        }
    }
}
