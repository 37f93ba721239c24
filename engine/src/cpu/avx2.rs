//! The transforms on AVX2 registers, four points each, for primes below 2^60.
//!
//! The arithmetic is that of `dq`: with a factor's companion w' = floor(w * 2^64 / q), t is floor(y * w' / 2^64) or up
//! to two less, so y * w - t * q is in `[0, 4q)` for every 64-bit y; forward values stay below 16q <= 2^64, inverse
//! ones below 8q. The low half of y * w - t * q has its four cross products in two 32-bit multiplications.
//!
//! Stages are done two at a time between registers (one, outermost, where the count is odd), and the four next to the
//! NTT domain on 16 points: two between registers, a 4x4 transposition, two between registers again. Blocks of up to
//! 4096 points are done stage by stage, longer ones depth first. Factors come straight from [`NttTable`].

use std::arch::x86_64::*;

use crate::ring::NttTable;
use crate::ring::ntt_table::Factor;

/// Four words.
pub(super) type V = __m256i;

/// The smallest dimension with these transforms.
pub(super) const MIN_N: usize = 64;

/// Points that stay in the first-level cache.
const NEAR: usize = 4096;

/// One prime's constants beside its table.
pub(super) struct Constants {
    /// 1/n times the factor of the last inverse stage.
    n_inv_last: Factor,
    /// 1 and 2^60.
    powers: [Factor; 2],
}

impl Constants {
    pub(super) fn new(table: &NttTable) -> Self {
        let q = table.modulus();
        let factor = |value| Factor { value, shoup: q.shoup(value) };
        Self {
            n_inv_last: factor(q.mul(table.n_inv().value, table.inverse_factors()[1].value)),
            powers: [0, 60].map(|k| factor(q.reduce_wide(1 << k))),
        }
    }
}

/// Constants of a prime in registers.
pub(super) struct C {
    pub(super) q: V,
    q_swapped: V,
    two_q: V,
    four_q: V,
    eight_q: V,
    high: V,
    pub(super) powers: [W; 2],
}

impl C {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn new(q: u64, constants: &Constants) -> Self {
        assert!(q >> 60 == 0);
        let [p0, p60] = &constants.powers;
        Self {
            q: splat(q),
            q_swapped: splat(q.rotate_left(32)),
            two_q: splat(2 * q),
            four_q: splat(4 * q),
            eight_q: splat(8 * q),
            high: splat(u64::MAX << 32),
            powers: [uniform(p0), uniform(p60)],
        }
    }
}

/// A factor a lane.
#[derive(Clone, Copy)]
pub(super) struct W {
    value: V,
    /// The value with its 32-bit halves exchanged.
    swapped: V,
    companion: V,
    /// The companion's high halves in the low 32 bits of the lanes.
    high: V,
}

/// One word in all lanes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn splat(x: u64) -> V {
    _mm256_set1_epi64x(x as i64)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load(x: &[u64; 4]) -> V {
    // SAFETY: four words; no alignment is needed.
    unsafe { _mm256_loadu_si256(x.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store(x: &mut [u64; 4], v: V) {
    // SAFETY: four words; no alignment is needed.
    unsafe { _mm256_storeu_si256(x.as_mut_ptr().cast(), v) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn factors(value: V, companion: V) -> W {
    W { value, swapped: _mm256_shuffle_epi32::<0xb1>(value), companion, high: _mm256_srli_epi64::<32>(companion) }
}

/// One factor for all lanes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn uniform(f: &Factor) -> W {
    factors(splat(f.value), splat(f.shoup))
}

/// A factor a lane.
#[inline]
#[target_feature(enable = "avx2")]
fn lanes(f: [&Factor; 4]) -> W {
    let words = |get: fn(&Factor) -> u64| load(&f.map(get));
    factors(words(|f| f.value), words(|f| f.shoup))
}

/// `x`, less `k` where that is not negative: x below 2k <= 2^64.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn reduce_once(x: V, k: V) -> V {
    let d = _mm256_sub_epi64(x, k);
    select(d, x, d)
}

/// `x` in lanes where the sign bit of `mask` is set, else `other`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn select(mask: V, x: V, other: V) -> V {
    let (mask, x, other) = (_mm256_castsi256_pd(mask), _mm256_castsi256_pd(x), _mm256_castsi256_pd(other));
    _mm256_castpd_si256(_mm256_blendv_pd(other, x, mask))
}

/// w * y mod q in `[0, 4q)` for any 64-bit y.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn mul(c: &C, y: V, w: W) -> V {
    let y_high = _mm256_srli_epi64::<32>(y);
    let cross0 = _mm256_srli_epi64::<32>(_mm256_mul_epu32(y_high, w.companion));
    let cross1 = _mm256_srli_epi64::<32>(_mm256_mul_epu32(y, w.high));
    let t = _mm256_add_epi64(_mm256_mul_epu32(y_high, w.high), _mm256_add_epi64(cross0, cross1));
    let crossed = _mm256_sub_epi32(_mm256_mullo_epi32(y, w.swapped), _mm256_mullo_epi32(t, c.q_swapped));
    let crossed = _mm256_and_si256(_mm256_add_epi32(crossed, _mm256_slli_epi64::<32>(crossed)), c.high);
    let low = _mm256_sub_epi64(_mm256_mul_epu32(y, w.value), _mm256_mul_epu32(t, c.q));
    _mm256_add_epi64(low, crossed)
}

/// w * y, reduced, for any 64-bit y.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn mul_reduced(c: &C, y: V, w: W) -> V {
    reduce_once(reduce_once(mul(c, y, w), c.two_q), c.q)
}

/// `[0, 16q)` to `[0, q)`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn finish(c: &C, x: V) -> V {
    reduce_once(reduce_once(reduce_once(reduce_once(x, c.eight_q), c.four_q), c.two_q), c.q)
}

/// (x + w y, x - w y): below 12q in stages that are `EVEN`, below 16q in the next.
#[inline]
#[target_feature(enable = "avx2")]
fn forward<const EVEN: bool>(c: &C, x: &mut V, y: &mut V, w: W) {
    let u = if EVEN { reduce_once(*x, c.eight_q) } else { *x };
    let v = mul(c, *y, w);
    *x = _mm256_add_epi64(u, v);
    *y = _mm256_sub_epi64(_mm256_add_epi64(u, c.four_q), v);
}

/// (x + y, w (x - y)), below 8q in and out; in the `LAST` stage (w0 (x + y), w (x - y)), reduced.
#[inline]
#[target_feature(enable = "avx2")]
fn inverse<const LAST: bool>(c: &C, x: &mut V, y: &mut V, w0: W, w: W) {
    let (sum, difference) = (_mm256_add_epi64(*x, *y), _mm256_sub_epi64(_mm256_add_epi64(*x, c.eight_q), *y));
    (*x, *y) = if LAST {
        (mul_reduced(c, sum, w0), mul_reduced(c, difference, w))
    } else {
        (reduce_once(sum, c.eight_q), mul(c, difference, w))
    };
}

/// Rows to columns.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose([a, b, c, d]: [V; 4]) -> [V; 4] {
    let (ab0, ab1) = (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    let (cd0, cd1) = (_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));
    [
        _mm256_permute2x128_si256::<0x20>(ab0, cd0),
        _mm256_permute2x128_si256::<0x20>(ab1, cd1),
        _mm256_permute2x128_si256::<0x31>(ab0, cd0),
        _mm256_permute2x128_si256::<0x31>(ab1, cd1),
    ]
}

/// The parts that one pass takes a block of `len` points in: 4, or 2 where an odd number of stages is left before the
/// last four.
fn radix(len: usize) -> usize {
    if (len / 16).trailing_zeros() % 2 == 1 { 2 } else { 4 }
}

/// The forward transform in place: reduced in and out.
#[target_feature(enable = "avx2")]
pub(super) fn forward_transform(table: &NttTable, constants: &Constants, a: &mut [u64]) {
    assert!(a.len() == table.n() && a.len() >= MIN_N);
    forward_block(&C::new(table.modulus().value(), constants), table.forward_factors(), a, 1);
}

/// All stages of a block; `index` is that of its first factor.
#[target_feature(enable = "avx2")]
fn forward_block(c: &C, f: &[Factor], a: &mut [u64], index: usize) {
    let mut len = a.len();
    if len > NEAR {
        forward_pass(c, f, a, index);
        let radix = radix(len);
        for (s, part) in a.chunks_exact_mut(len / radix).enumerate() {
            forward_block(c, f, part, index * radix + s);
        }
        return;
    }
    while len > 16 {
        let first = index * (a.len() / len);
        a.chunks_exact_mut(len).enumerate().for_each(|(s, block)| forward_pass(c, f, block, first + s));
        len /= radix(len);
    }
    let first = index * (a.len() / 16);
    a.as_chunks_mut().0.iter_mut().enumerate().for_each(|(s, block)| forward_tail(c, f, block, first + s));
}

/// One or two stages of a block.
#[inline]
#[target_feature(enable = "avx2")]
fn forward_pass(c: &C, f: &[Factor], block: &mut [u64], index: usize) {
    let w = uniform(&f[index]);
    let radix = radix(block.len());
    let (low, high) = block.split_at_mut(block.len() / 2);
    if radix == 2 {
        for (x, y) in low.as_chunks_mut().0.iter_mut().zip(high.as_chunks_mut().0) {
            let (mut x0, mut x1) = (load(x), load(y));
            forward::<true>(c, &mut x0, &mut x1, w);
            store(x, x0);
            store(y, x1);
        }
        return;
    }
    let (w0, w1) = (uniform(&f[2 * index]), uniform(&f[2 * index + 1]));
    let ((a0, a1), (a2, a3)) = (low.split_at_mut(low.len() / 2), high.split_at_mut(high.len() / 2));
    let low = a0.as_chunks_mut().0.iter_mut().zip(a1.as_chunks_mut().0);
    let high = a2.as_chunks_mut().0.iter_mut().zip(a3.as_chunks_mut().0);
    for ((a0, a1), (a2, a3)) in low.zip(high) {
        let (mut x0, mut x1, mut x2, mut x3) = (load(a0), load(a1), load(a2), load(a3));
        forward::<true>(c, &mut x0, &mut x2, w);
        forward::<true>(c, &mut x1, &mut x3, w);
        forward::<false>(c, &mut x0, &mut x1, w0);
        forward::<false>(c, &mut x2, &mut x3, w1);
        store(a0, x0);
        store(a1, x1);
        store(a2, x2);
        store(a3, x3);
    }
}

/// The last four stages on 16 points, reduced.
#[inline]
#[target_feature(enable = "avx2")]
fn forward_tail(c: &C, f: &[Factor], block: &mut [u64; 16], index: usize) {
    let lines = block.as_chunks_mut::<4>().0;
    let mut x: [V; 4] = std::array::from_fn(|k| load(&lines[k]));
    let [x0, x1, x2, x3] = &mut x;
    let w = uniform(&f[index]);
    forward::<true>(c, x0, x2, w);
    forward::<true>(c, x1, x3, w);
    forward::<false>(c, x0, x1, uniform(&f[2 * index]));
    forward::<false>(c, x2, x3, uniform(&f[2 * index + 1]));
    let mut x = transpose(x);
    let [x0, x1, x2, x3] = &mut x;
    let (w, w0, w1) = lane_factors(f, index);
    forward::<true>(c, x0, x2, w);
    forward::<true>(c, x1, x3, w);
    forward::<false>(c, x0, x1, w0);
    forward::<false>(c, x2, x3, w1);
    let x = transpose(x);
    for (line, x) in lines.iter_mut().zip(x) {
        store(line, finish(c, x));
    }
}

/// The factors of the two stages on transposed points: of half length 2, and of half length 1 for even and odd pairs.
#[inline]
#[target_feature(enable = "avx2")]
fn lane_factors(f: &[Factor], index: usize) -> (W, W, W) {
    let two: &[Factor; 4] = f[4 * index..][..4].try_into().expect("four");
    let one: &[Factor; 8] = f[8 * index..][..8].try_into().expect("eight");
    (lanes(two.each_ref()), lanes([&one[0], &one[2], &one[4], &one[6]]), lanes([&one[1], &one[3], &one[5], &one[7]]))
}

/// The inverse transform in place, 1/n included: reduced in and out.
#[target_feature(enable = "avx2")]
pub(super) fn inverse_transform(table: &NttTable, constants: &Constants, a: &mut [u64]) {
    assert!(a.len() == table.n() && a.len() >= MIN_N);
    let job = Inverse {
        c: C::new(table.modulus().value(), constants),
        f: table.inverse_factors(),
        last: (uniform(&table.n_inv()), uniform(&constants.n_inv_last)),
    };
    job.block(a, 1);
}

struct Inverse<'a> {
    c: C,
    f: &'a [Factor],
    /// The factors of sums and differences in the last stage.
    last: (W, W),
}

impl Inverse<'_> {
    /// All stages of a block; `index` is that of its last factor.
    #[target_feature(enable = "avx2")]
    fn block(&self, a: &mut [u64], index: usize) {
        if a.len() > NEAR {
            let radix = radix(a.len());
            let part = a.len() / radix;
            a.chunks_exact_mut(part).enumerate().for_each(|(s, part)| self.block(part, index * radix + s));
            return self.pass(a, index);
        }
        let first = index * (a.len() / 16);
        a.as_chunks_mut().0.iter_mut().enumerate().for_each(|(s, block)| self.head(block, first + s));
        let mut len = 16;
        while len < a.len() {
            len *= if a.len() / len == 2 { 2 } else { 4 };
            let first = index * (a.len() / len);
            a.chunks_exact_mut(len).enumerate().for_each(|(s, block)| self.pass(block, first + s));
        }
    }

    #[target_feature(enable = "avx2")]
    fn pass(&self, block: &mut [u64], index: usize) {
        if index == 1 { self.pass_of::<true>(block, index) } else { self.pass_of::<false>(block, index) }
    }

    /// One or two stages of a block.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn pass_of<const LAST: bool>(&self, block: &mut [u64], index: usize) {
        let (c, f) = (&self.c, self.f);
        let (s, w) = if LAST { self.last } else { (self.last.0, uniform(&f[index])) };
        let radix = radix(block.len());
        let (low, high) = block.split_at_mut(block.len() / 2);
        if radix == 2 {
            for (x, y) in low.as_chunks_mut().0.iter_mut().zip(high.as_chunks_mut().0) {
                let (mut x0, mut x1) = (load(x), load(y));
                inverse::<LAST>(c, &mut x0, &mut x1, s, w);
                store(x, x0);
                store(y, x1);
            }
            return;
        }
        let (w0, w1) = (uniform(&f[2 * index]), uniform(&f[2 * index + 1]));
        let ((a0, a1), (a2, a3)) = (low.split_at_mut(low.len() / 2), high.split_at_mut(high.len() / 2));
        let low = a0.as_chunks_mut().0.iter_mut().zip(a1.as_chunks_mut().0);
        let high = a2.as_chunks_mut().0.iter_mut().zip(a3.as_chunks_mut().0);
        for ((a0, a1), (a2, a3)) in low.zip(high) {
            let (mut x0, mut x1, mut x2, mut x3) = (load(a0), load(a1), load(a2), load(a3));
            inverse::<false>(c, &mut x0, &mut x1, s, w0);
            inverse::<false>(c, &mut x2, &mut x3, s, w1);
            inverse::<LAST>(c, &mut x0, &mut x2, s, w);
            inverse::<LAST>(c, &mut x1, &mut x3, s, w);
            store(a0, x0);
            store(a1, x1);
            store(a2, x2);
            store(a3, x3);
        }
    }

    /// The first four stages on 16 points.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn head(&self, block: &mut [u64; 16], index: usize) {
        let (c, f, s) = (&self.c, self.f, self.last.0);
        let lines = block.as_chunks_mut::<4>().0;
        let mut x = transpose(std::array::from_fn(|k| load(&lines[k])));
        let [x0, x1, x2, x3] = &mut x;
        let (w, w0, w1) = lane_factors(f, index);
        inverse::<false>(c, x0, x1, s, w0);
        inverse::<false>(c, x2, x3, s, w1);
        inverse::<false>(c, x0, x2, s, w);
        inverse::<false>(c, x1, x3, s, w);
        let mut x = transpose(x);
        let [x0, x1, x2, x3] = &mut x;
        inverse::<false>(c, x0, x1, s, uniform(&f[2 * index]));
        inverse::<false>(c, x2, x3, s, uniform(&f[2 * index + 1]));
        let w = uniform(&f[index]);
        inverse::<false>(c, x0, x2, s, w);
        inverse::<false>(c, x1, x3, s, w);
        for (line, x) in lines.iter_mut().zip(x) {
            store(line, x);
        }
    }
}
