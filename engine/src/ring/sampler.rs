//! Random coefficients. Secret ones are drawn without secret-dependent branches or indices.
//!
//! | what | range | for |
//! |---|---|---|
//! | [`uniform_residue`] | `[0, q)` | the public half of a seeded ciphertext, expanded from a public key |
//! | [`fill_residues`] | `[0, m)`, m below 2^32 | shares and masks |
//! | [`fill_ternary`] | {-1, 0, 1}, uniform | secret keys, the ephemeral secret of public-key encryption |
//! | [`fill_noise`] | [-21, 21], centred binomial, sigma 3.24 | RLWE errors |
//! | [`fill_wide_noise`] | [-84, 84], centred binomial, sigma 6.48 | one-time keys whose sum is opened, and their errors |
//! | [`fill_flood`] | sum of four uniforms | hiding the noise of a product |

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::modulus::Modulus;
use crate::prng::Prng;
use crate::simd::wide;

/// The public key that uniform residues are expanded from.
pub type PublicSeed = [u8; 16];

/// Standard deviation of [`noise`]: sqrt(21 / 2).
pub const NOISE_SIGMA: f64 = 3.240_370_349_203_93;

/// Largest magnitude of [`noise`].
pub const NOISE_BOUND: i32 = 21;

/// Standard deviation of [`wide_noise`]: sqrt(84 / 2).
pub const WIDE_NOISE_SIGMA: f64 = 2.0 * NOISE_SIGMA;

/// Largest magnitude of [`wide_noise`].
pub const WIDE_NOISE_BOUND: i32 = 4 * NOISE_BOUND;

/// Residue `index` (its place within one polynomial) of polynomial `poly` and limb `limb`: the scalar
/// definition that every backend's expansion agrees with.
///
/// AES-128 in counter mode under the public seed; the counter block is little-endian
/// `index / 2 | poly << 32 | limb << 64 | attempt << 96`, and a residue takes one 64-bit half of the block. A word cut
/// to q's width that is not below q is drawn again with the next attempt, for that residue alone, so no
/// residue depends on another and lanes may run in any order.
pub fn uniform_residue(cipher: &Aes128, q: Modulus, poly: u32, limb: u32, index: u32) -> u64 {
    let mask = u64::MAX >> (64 - q.bits());
    let base = u128::from(index / 2) | u128::from(poly) << 32 | u128::from(limb) << 64;
    let mut attempt = 0u128;
    loop {
        let mut block = (base | attempt << 96).to_le_bytes().into();
        cipher.encrypt_block(&mut block);
        let words: u128 = u128::from_le_bytes(block.into());
        let word = (words >> (64 * (index & 1))) as u64 & mask;
        if word < q.value() {
            return word;
        }
        attempt += 1;
    }
}

/// A whole polynomial's limb of uniform residues: [`uniform_residue`] for every index, by batched counter mode.
pub fn uniform_poly(seed: &PublicSeed, q: Modulus, poly: u32, limb: u32, out: &mut [u64]) {
    let mask = u64::MAX >> (64 - q.bits());
    let batched = crate::aes::Aes128::new(u128::from_le_bytes(*seed));
    let mut single = None;
    let mut blocks = [0; BLOCKS];
    for (chunk, out) in out.chunks_mut(2 * BLOCKS).enumerate() {
        let blocks = &mut blocks[..out.len().div_ceil(2)];
        let first = chunk * BLOCKS;
        batched.counter(u64::from(limb), u64::from(poly) << 32 | first as u64, blocks);
        let words: &[u64] = bytemuck::cast_slice(blocks);
        let redraw = wide(|| {
            let mut redraw = 0;
            for (r, w) in out.iter_mut().zip(words) {
                *r = w & mask;
                redraw |= u64::from(*r >= q.value());
            }
            redraw
        });
        if redraw != 0 {
            let cipher = single.get_or_insert_with(|| Aes128::new(seed.into()));
            for (i, r) in out.iter_mut().enumerate().filter(|(_, r)| **r >= q.value()) {
                *r = uniform_residue(cipher, q, poly, limb, (2 * first + i) as u32);
            }
        }
    }
}

/// Blocks of random bytes at a time, to stay in the nearest cache.
const BLOCKS: usize = 256;

/// Fills `out` with coefficients, each made of a random word of its own; by several threads if there are many.
///
/// `convert` makes equally many coefficients of words.
fn from_words(prng: &mut Prng, out: &mut [i32], convert: impl Fn(&[u64], &mut [i32]) + Send + Sync) {
    const SERIAL: usize = 1 << 13;
    let stream = prng.stream();
    let part = |(part, out): (usize, &mut [i32])| {
        let mut blocks = Zeroizing::new([0; BLOCKS]);
        for (i, out) in out.chunks_mut(2 * BLOCKS).enumerate() {
            let blocks = &mut blocks[..out.len().div_ceil(2)];
            stream.blocks(part * SERIAL / 2 + i * BLOCKS, blocks);
            convert(&bytemuck::cast_slice(blocks)[..out.len()], out);
        }
    };
    if out.len() <= SERIAL {
        part((0, out));
    } else {
        out.par_chunks_mut(SERIAL).enumerate().for_each(part);
    }
}

/// Applies `coefficient` to every word, in a loop for wide registers.
fn each_word(words: &[u64], out: &mut [i32], coefficient: impl Fn(u64) -> i32) {
    wide(|| out.iter_mut().zip(words).for_each(|(out, &w)| *out = coefficient(w)));
}

/// Fills `out` with coefficients uniform in {-1, 0, 1}, to within 2^-63.
pub fn fill_ternary(prng: &mut Prng, out: &mut [i32]) {
    // floor(3 w / 2^64) counts the thirds of 2^64 that w reaches.
    const THIRDS: [u64; 2] = [(1u128 << 64).div_ceil(3) as u64, (1u128 << 65).div_ceil(3) as u64];
    from_words(prng, out, |words, out| {
        each_word(words, out, |w| i32::from(w >= THIRDS[0]) + i32::from(w >= THIRDS[1]) - 1);
    });
}

/// Fills `out` with centred binomial coefficients, eta = 21.
pub fn fill_noise(prng: &mut Prng, out: &mut [i32]) {
    const ETA_BITS: u64 = (1 << 21) - 1;
    from_words(prng, out, |words, out| {
        each_word(words, out, |w| (w & ETA_BITS).count_ones() as i32 - (w >> 21 & ETA_BITS).count_ones() as i32);
    });
}

/// Fills `out` with centred binomial coefficients, eta = 84: each the sum of four of [`fill_noise`].
pub fn fill_wide_noise(prng: &mut Prng, out: &mut [i32]) {
    fill_noise(prng, out);
    let mut more = Zeroizing::new(vec![0; out.len()]);
    for _ in 0..3 {
        fill_noise(prng, &mut more);
        wide(|| out.iter_mut().zip(more.iter()).for_each(|(out, more)| *out += more));
    }
}

/// Fills `out` with flooding coefficients: the sum of four uniform integers of `bits` bits (1..=16), centred.
///
/// Magnitude below 2^(bits + 1), standard deviation 2^bits / sqrt(3), peak probability 2/3 * 2^-bits. Shifting it by
/// one moves it by a statistical distance of its peak probability, as for a Gaussian of the same
/// width, but it is bounded and needs neither tables nor floating point, so it is exact and constant-time.
pub fn fill_flood(prng: &mut Prng, out: &mut [i32], bits: u32) {
    assert!((1..=16).contains(&bits), "flooding of {bits} bits: must be in 1..=16");
    let mask = u64::from(u16::MAX >> (16 - bits));
    let centre = 2 * mask as i32;
    from_words(prng, out, |words, out| {
        each_word(words, out, |w| {
            ((w & mask) + (w >> 16 & mask) + (w >> 32 & mask) + (w >> 48 & mask)) as i32 - centre
        });
    });
}

/// Fills `out` with uniform residues mod `m`. Words, cut to the bits of m - 1, that are at or above m are drawn again;
/// which ones tells nothing of those that stay.
///
/// # Panics
/// For m = 0, which has no residues.
pub fn fill_residues(prng: &mut Prng, m: u32, out: &mut [u32]) {
    assert!(m > 0, "residues mod 0");
    let mask = u32::MAX.checked_shr((m - 1).leading_zeros()).unwrap_or(0);
    prng.fill_bytes(bytemuck::cast_slice_mut(out));
    for chunk in out.chunks_mut(64) {
        let redraw = wide(|| {
            chunk.iter_mut().fold(false, |any, x| {
                *x &= mask;
                any | (*x >= m)
            })
        });
        if redraw {
            for x in chunk {
                while *x >= m {
                    *x = prng.next_u32() & mask;
                }
            }
        }
    }
}

/// `count` coefficients of [`fill_ternary`].
pub fn ternary(prng: &mut Prng, count: usize) -> Vec<i32> {
    let mut out = vec![0; count];
    fill_ternary(prng, &mut out);
    out
}

/// `count` coefficients of [`fill_noise`].
pub fn noise(prng: &mut Prng, count: usize) -> Vec<i32> {
    let mut out = vec![0; count];
    fill_noise(prng, &mut out);
    out
}

/// `count` coefficients of [`fill_wide_noise`].
pub fn wide_noise(prng: &mut Prng, count: usize) -> Vec<i32> {
    let mut out = vec![0; count];
    fill_wide_noise(prng, &mut out);
    out
}

/// `count` coefficients of [`fill_flood`].
pub fn flood(prng: &mut Prng, count: usize, bits: u32) -> Vec<i32> {
    let mut out = vec![0; count];
    fill_flood(prng, &mut out, bits);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::primes::DEFAULT_50;

    fn moments(x: &[i32]) -> (f64, f64) {
        let n = x.len() as f64;
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        (mean, (x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt())
    }

    #[test]
    fn distributions_have_their_moments_and_bounds() {
        let mut prng = Prng::from_seed_for_tests([3; 32]);
        let count = 1 << 18;
        for (draws, sigma, bound) in [
            (ternary(&mut prng, count), (2.0f64 / 3.0).sqrt(), 1),
            (noise(&mut prng, count), NOISE_SIGMA, NOISE_BOUND),
            (wide_noise(&mut prng, count), WIDE_NOISE_SIGMA, WIDE_NOISE_BOUND),
            (flood(&mut prng, count, 12), 4096.0 / 3f64.sqrt(), 8190),
        ] {
            let (mean, deviation) = moments(&draws);
            assert!(mean.abs() < 6.0 * sigma / (count as f64).sqrt(), "mean {mean}");
            assert!((deviation / sigma - 1.0).abs() < 0.01, "deviation {deviation}, expected {sigma}");
            assert!(draws.iter().all(|d| d.abs() <= bound));
        }
    }

    #[test]
    fn residues_are_uniform_even_when_half_are_redrawn() {
        for m in [4_293_918_721, (1 << 31) + 1, 3 << 30] {
            let mut out = vec![0; 1 << 16];
            fill_residues(&mut Prng::from_seed_for_tests([4; 32]), m, &mut out);
            let mut counts = [0usize; 256];
            out.iter().for_each(|&x| counts[(u64::from(x) * 256 / u64::from(m)) as usize] += 1);
            let chi2: f64 = counts.iter().map(|&c| (c as f64 - 256.0).powi(2) / 256.0).sum();
            assert!(out.iter().all(|&x| x < m) && (150.0..370.0).contains(&chi2), "{m}: {chi2}");
            let mut sorted = out.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert!(sorted.len() > out.len() - 10);
        }
    }

    #[test]
    fn residues_of_small_moduli_end_and_are_uniform() {
        for m in [1, 2, 3, 5, 256] {
            let mut out = vec![0; 1 << 14];
            fill_residues(&mut Prng::from_seed_for_tests([4; 32]), m, &mut out);
            let mut counts = vec![0usize; m as usize];
            out.iter().for_each(|&x| counts[x as usize] += 1);
            let mean = out.len() as f64 / f64::from(m);
            let off = counts.iter().map(|&c| (c as f64 - mean).abs() / mean.sqrt()).fold(0.0, f64::max);
            assert!(off < 5.0, "{m}: {off}");
        }
    }

    /// Each coefficient by its definition from a word of the same bulk draw, across the bounds of pieces and threads.
    #[test]
    fn coefficients_are_those_of_their_words() {
        let count = 3 * (1 << 13) + 517;
        let prng = || Prng::from_seed_for_tests([8; 32]);
        let words: Vec<u64> = prng().fill(count);
        let expect = |drawn: Vec<i32>, definition: &dyn Fn(u64) -> i32| {
            assert_eq!(drawn, words.iter().map(|&w| definition(w)).collect::<Vec<_>>());
        };
        expect(ternary(&mut prng(), count), &|w| ((u128::from(w) * 3) >> 64) as i32 - 1);
        let ones = |w: u64, from: u32| (from..from + 21).map(|b| (w >> b & 1) as i32).sum::<i32>();
        expect(noise(&mut prng(), count), &|w| ones(w, 0) - ones(w, 21));
        for bits in [1, 13, 16] {
            let mask = (1i32 << bits) - 1;
            expect(flood(&mut prng(), count, bits), &|w| {
                (0..4).map(|i| (w >> (16 * i)) as i32 & mask).sum::<i32>() - 2 * mask
            });
        }
    }

    #[test]
    fn uniform_residues_are_reduced_even_when_half_are_redrawn() {
        for q in [DEFAULT_50[0], 257, (1 << 59) + 1] {
            let q = Modulus::new(q).unwrap();
            let mut out = vec![0; 4096];
            uniform_poly(&[9; 16], q, 3, 1, &mut out);
            assert!(out.iter().all(|&r| r < q.value()));
            let cipher = Aes128::new(&[9; 16].into());
            for (i, &r) in out.iter().enumerate() {
                assert_eq!(r, uniform_residue(&cipher, q, 3, 1, i as u32));
            }
            let mut part = vec![0; 1001];
            uniform_poly(&[9; 16], q, 3, 1, &mut part);
            assert_eq!(part, out[..1001]);
            let mean = out.iter().map(|&r| r as f64 / q.value() as f64).sum::<f64>() / 4096.0;
            assert!((mean - 0.5).abs() < 0.03, "{mean}");
        }
    }
}
