//! Random coefficients. Secret ones are drawn without secret-dependent branches or indices.
//!
//! | what | range | for |
//! |---|---|---|
//! | [`uniform_residue`] | `[0, q)` | the public half of a seeded ciphertext, expanded from a public key |
//! | [`ternary`] | {-1, 0, 1}, uniform | secret keys, the ephemeral secret of public-key encryption |
//! | [`noise`] | [-21, 21], centred binomial, sigma 3.24 | RLWE errors |
//! | [`flood`] | sum of four uniforms | hiding the noise of a product |

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};

use rayon::prelude::*;

use super::modulus::Modulus;
use crate::Prng;

/// The public key that uniform residues are expanded from.
pub type PublicSeed = [u8; 16];

/// Standard deviation of [`noise`]: sqrt(21 / 2).
pub const NOISE_SIGMA: f64 = 3.240_370_349_203_93;

/// Largest magnitude of [`noise`].
pub const NOISE_BOUND: i32 = 21;

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
    /// Blocks at a time, to stay in the nearest cache.
    const BLOCKS: usize = 256;
    let mask = u64::MAX >> (64 - q.bits());
    let batched = crate::aes::Aes128::new(u128::from_le_bytes(*seed));
    let mut single = None;
    let mut blocks = [0; BLOCKS];
    for (chunk, out) in out.chunks_mut(2 * BLOCKS).enumerate() {
        let blocks = &mut blocks[..out.len().div_ceil(2)];
        let first = chunk * BLOCKS;
        batched.counter(u64::from(limb), u64::from(poly) << 32 | first as u64, blocks);
        let mut redraw = 0;
        for (pair, block) in out.chunks_mut(2).zip(&*blocks) {
            for (half, r) in pair.iter_mut().enumerate() {
                *r = (block >> (64 * half)) as u64 & mask;
                redraw |= u64::from(*r >= q.value());
            }
        }
        if redraw != 0 {
            let cipher = single.get_or_insert_with(|| Aes128::new(seed.into()));
            for (i, r) in out.iter_mut().enumerate().filter(|(_, r)| **r >= q.value()) {
                *r = uniform_residue(cipher, q, poly, limb, (2 * first + i) as u32);
            }
        }
    }
}

/// `count` coefficients, each from a draw of its own; by several threads if there are many.
fn from_draws<T: bytemuck::Pod + Send + Sync + zeroize::Zeroize>(
    prng: &mut Prng,
    count: usize,
    coefficient: impl Fn(&T) -> i32 + Send + Sync,
) -> Vec<i32> {
    const SERIAL: usize = 1 << 13;
    let draws = zeroize::Zeroizing::new(prng.fill::<T>(count));
    let mut out = vec![0; count];
    out.par_chunks_mut(SERIAL).zip(draws.par_chunks(SERIAL)).for_each(|(out, draws)| {
        out.iter_mut().zip(draws).for_each(|(out, draw)| *out = coefficient(draw));
    });
    out
}

/// `count` coefficients uniform in {-1, 0, 1}, to within 2^-63.
pub fn ternary(prng: &mut Prng, count: usize) -> Vec<i32> {
    from_draws(prng, count, |&w: &u64| ((u128::from(w) * 3) >> 64) as i32 - 1)
}

/// `count` centred binomial coefficients with eta = 21.
pub fn noise(prng: &mut Prng, count: usize) -> Vec<i32> {
    const ETA_BITS: u64 = (1 << 21) - 1;
    from_draws(prng, count, |&w: &u64| (w & ETA_BITS).count_ones() as i32 - (w >> 21 & ETA_BITS).count_ones() as i32)
}

/// `count` flooding coefficients: the sum of four uniform integers of `bits` bits (1..=16), centred.
///
/// Magnitude below 2^(bits + 1), standard deviation 2^bits / sqrt(3), peak probability 2/3 * 2^-bits. Shifting it by
/// one moves it by a statistical distance of its peak probability, as for a Gaussian of the same
/// width, but it is bounded and needs neither tables nor floating point, so it is exact and constant-time.
pub fn flood(prng: &mut Prng, count: usize, bits: u32) -> Vec<i32> {
    assert!((1..=16).contains(&bits), "flooding of {bits} bits: must be in 1..=16");
    let mask = u16::MAX >> (16 - bits);
    let centre = 2 * i32::from(mask);
    from_draws(prng, count, |d: &[u16; 4]| d.iter().map(|&u| i32::from(u & mask)).sum::<i32>() - centre)
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
            (flood(&mut prng, count, 12), 4096.0 / 3f64.sqrt(), 8190),
        ] {
            let (mean, deviation) = moments(&draws);
            assert!(mean.abs() < 6.0 * sigma / (count as f64).sqrt(), "mean {mean}");
            assert!((deviation / sigma - 1.0).abs() < 0.01, "deviation {deviation}, expected {sigma}");
            assert!(draws.iter().all(|d| d.abs() <= bound));
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
