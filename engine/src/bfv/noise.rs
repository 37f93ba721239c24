//! Noise: bounds from public quantities, and noise as measured with the key.
//!
//! Bounds are 8 standard deviations (2^-49 a coefficient) of sums of independent terms.

use crate::error::{Error, Result};
use crate::poly::{Coeff, PolyBatch};
use crate::ring::sampler::NOISE_SIGMA;

use super::keys::SecretKey;
use super::params::Params;

use super::encoding::Encoder;

/// Standard deviations in a bound.
pub const DEVIATIONS: f64 = 8.0;

/// Statistical distance, a coefficient, at which a reply must hide the factors of its products.
pub const HIDING_BITS: f64 = 40.0;

/// Largest noise on the whole basis that depends on the factors: fresh noise and the rounding of both parties'
/// encodings, each times polynomials whose coefficients have a Euclidean norm of at most `factor_norm` in all.
pub fn product_bound(factor_norm: f64) -> f64 {
    let rounding = 2.0 / 12.0;
    DEVIATIONS * (NOISE_SIGMA * NOISE_SIGMA + rounding).sqrt() * factor_norm
}

/// Largest noise of the public-key encryption of zero, u e + e1 + e2 s, on the whole basis.
pub fn zero_bound(n: usize) -> f64 {
    DEVIATIONS * NOISE_SIGMA * (1.0 + 4.0 / 3.0 * n as f64).sqrt()
}

/// Largest noise that rounding to the first prime adds: 1/2 + r1 * s, r1 uniform in [-1/2, 1/2], s ternary.
pub fn switch_bound(n: usize) -> f64 {
    0.5 + DEVIATIONS * (2.0 / 3.0 * n as f64 / 12.0).sqrt()
}

/// Largest width of flooding that samplers make.
const MOST_FLOODING: u32 = 16;

/// The flooding of replies, and what of the first prime's room it needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Width for [`flood`](crate::ring::sampler::flood).
    pub flood_bits: u32,
    /// log2 of the largest noise of a reply.
    pub need_bits: f64,
    /// log2 of what decryption corrects, q0 / 2t.
    pub have_bits: f64,
    /// log2 of the statistical distance a coefficient ([`distance`]); for N coefficients it is at most N times as much.
    pub distance_bits: f64,
}

/// The statistical distance of one coefficient of a reply from one that says nothing of the factors, where what depends
/// on them has the standard deviation `sigma` on the whole basis, `dropped` is the product of the primes that are
/// dropped, and flooding has `flood_bits` bits.
///
/// Noise of at most B changes a coefficient, by one, only where the phase without it lies within B of the middle
/// between two multiples of `dropped`: 2B + 1 residues of as many as `dropped`. Flooding then hides a step of one up to
/// the peak of its distribution. Noise exceeds d standard deviations with a probability of 2 exp(-d^2 / 2) at most; the
/// best d is taken. `docs/proofs.md` has the argument.
pub fn distance(sigma: f64, dropped: f64, flood_bits: u32) -> f64 {
    let moved = |d: f64| (2.0 * d * sigma + 1.0) / dropped + 2.0 * (-d * d / 2.0).exp();
    let least = (4..=60).map(|d| moved(f64::from(d) / 4.0)).fold(1.0, f64::min);
    flood_peak(flood_bits) * least
}

/// Probability of the most likely value of [`flood`](crate::ring::sampler::flood): (2m^2 + 1) / 3m^3 for m = 2^bits,
/// the sum of four uniforms of m values each. As the distribution has one peak, a shift by one moves it by this
/// statistical distance.
pub fn flood_peak(bits: u32) -> f64 {
    let m = f64::from(bits).exp2();
    (2.0 * m * m + 1.0) / (3.0 * m * m * m)
}

/// The budget of replies to products of `factor_norm`: the largest flooding that decryption has room for.
///
/// # Errors
/// [`Error::Parameters`] where none fits or what fits hides less than [`HIDING_BITS`]; the caller names the layer.
pub fn budget(params: &Params, factor_norm: f64) -> Result<Budget> {
    let basis = params.basis();
    let dropped: f64 = (1..basis.len()).map(|l| basis.modulus(l).value() as f64).product();
    let secret_part = product_bound(factor_norm) + zero_bound(params.n());
    let have_bits = (basis.modulus(0).value() as f64).log2() - (params.plain() as f64).log2() - 1.0;
    // Two drops round twice, the first rounding being divided again.
    let rounded = secret_part / dropped + 2.0 * switch_bound(params.n());
    let need = |flood_bits: u32| (rounded + f64::from(flood_bits + 1).exp2()).log2();
    let Some(flood_bits) = (1..=MOST_FLOODING).rev().find(|&bits| need(bits) < have_bits) else {
        let need = need(1);
        return Err(Error::Parameters(format!(
            "noise of {need:.1} bits (flooding of 1 bit included), decryption corrects {have_bits:.1}"
        )));
    };
    let (need_bits, distance_bits) = (need(flood_bits), distance(secret_part / DEVIATIONS, dropped, flood_bits).log2());
    if distance_bits > -HIDING_BITS {
        return Err(Error::Parameters(format!(
            "the largest flooding that decryption corrects, of {flood_bits} bits, hides the weights to 2^{distance_bits:.1} a \
             coefficient, wanted is 2^-{HIDING_BITS:.0}"
        )));
    }
    Ok(Budget { flood_bits, need_bits, have_bits, distance_bits })
}

impl SecretKey {
    /// The noise of ciphertexts that should hold `messages` `[batch, n]`: signed, `[batch, n]`, exact while below half
    /// the product of the first two primes. Both halves in the coefficient domain, on the whole basis or the first
    /// prime.
    pub fn noise(&self, c0: &PolyBatch<Coeff>, c1: PolyBatch<Coeff>, messages: &[u32]) -> Result<Vec<i128>> {
        let basis = c0.basis().clone();
        let encoder = Encoder::new(&basis, self.params().plain());
        let mut phase = self.key.times_secret(c1.into_ntt()?)?;
        phase.add_assign(c0)?;
        let minus: Vec<u64> = encoder.scale().iter().enumerate().map(|(l, &s)| basis.modulus(l).neg(s)).collect();
        phase.add_lifted(&encoder.signed(messages), &minus)?;
        let words = phase.download()?;
        let (n, limbs) = (basis.n(), basis.len());
        let q0 = basis.modulus(0);
        Ok(words
            .chunks_exact(limbs * n)
            .flat_map(|poly| {
                let basis = &basis;
                (0..n).map(move |i| {
                    let low = i128::from(q0.to_signed(poly[i]));
                    if limbs == 1 {
                        return low;
                    }
                    // x = low + q0 * ((x1 - low) / q0 mod q1), centred.
                    let q1 = basis.modulus(1);
                    let difference = q1.sub(poly[n + i], q1.from_signed(low as i64));
                    let digit = q1.to_signed(q1.mul(difference, q1.inv(q1.reduce(q0.value()))));
                    low + i128::from(digit) * i128::from(q0.value())
                })
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bfv::ReplyParams;
    use crate::ring::sampler::NOISE_BOUND;
    use crate::rlwe::Ciphertexts;
    use crate::{Device, GemmShape, Prng};

    fn setup() -> (SecretKey, Prng) {
        let mut prng = Prng::from_seed_for_tests([5; 32]);
        (SecretKey::generate(&Params::hom_conv(), &Device::cpu(), &mut prng).unwrap(), prng)
    }

    #[test]
    fn fresh_noise_is_bounded() {
        let (key, mut prng) = setup();
        let messages: Vec<u32> = prng.fill(2 * 4096);
        let fresh = key.encrypt_seeded(&messages, &mut prng).unwrap();
        let Ciphertexts { c0, c1 } = fresh.expand().unwrap();
        let noise = key.noise(&c0.into_coeff().unwrap(), c1.into_coeff().unwrap(), &messages).unwrap();
        assert!(noise.iter().all(|e| e.abs() <= i128::from(NOISE_BOUND)));
    }

    #[test]
    fn a_product_and_its_reply_stay_within_their_bounds() {
        let (key, mut prng) = setup();
        let n = 4096;
        let messages: Vec<u32> = prng.fill(n);
        let factor: Vec<i32> = (0..n as i32).map(|i| if i < 500 { 2047 - 8 * i } else { 0 }).collect();
        let norm = factor.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>().sqrt();
        let device = key.device().clone();
        let basis = key.params().basis().clone();
        let w = PolyBatch::lift(&device, &basis, &factor, &[1, 1]).unwrap().into_ntt().unwrap();
        let size = GemmShape { rows: 1, inner: 1, cols: 1 };
        let product = || {
            let fresh =
                key.encrypt_seeded(&messages, &mut Prng::from_seed_for_tests([6; 32])).unwrap().expand().unwrap();
            let [c0, c1] = w.gemm([&fresh.c0, &fresh.c1], size).unwrap();
            Ciphertexts { c0, c1 }
        };
        let expected: Vec<u32> = (0..n)
            .map(|i| {
                (0..500).fold(0u32, |sum, j| {
                    let term = (factor[j] as u32).wrapping_mul(messages[(i + n - j) % n]);
                    if j <= i { sum.wrapping_add(term) } else { sum.wrapping_sub(term) }
                })
            })
            .collect();
        let Ciphertexts { c0, c1 } = product();
        let noise = key.noise(&c0.into_coeff().unwrap(), c1.into_coeff().unwrap(), &expected).unwrap();
        let largest = noise.iter().map(|e| e.unsigned_abs()).max().unwrap() as f64;
        assert!(largest < product_bound(norm) && largest > product_bound(norm) / 100.0, "{largest}");

        let public = key.public_key(&mut prng).unwrap();
        let public = PublicKey::from_bytes(key.params(), &device, &public.to_bytes()).unwrap();
        let budget = budget(key.params(), norm).unwrap();
        let mask: Vec<u32> = prng.fill(n);
        let how = ReplyParams { flood_bits: Some(budget.flood_bits) };
        let reply = public.reply(&product(), &mask, how, &mut prng).unwrap();
        let sum: Vec<u32> = expected.iter().zip(&mask).map(|(&a, &b)| a.wrapping_add(b)).collect();
        let noise = key.noise(&reply.c0, reply.c1.duplicate().unwrap(), &sum).unwrap();
        let largest = noise.iter().map(|e| e.unsigned_abs()).max().unwrap() as f64;
        assert!(largest.log2() < budget.need_bits && budget.distance_bits <= -HIDING_BITS);
        assert_eq!(key.decrypt(reply.c0, reply.c1).unwrap(), sum);
    }

    #[test]
    fn too_large_factors_are_refused() {
        for (norm, why) in [(1e9, "hides the weights to"), (1e22, "decryption corrects")] {
            let refused = budget(&Params::hom_conv(), norm).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn flooding_is_the_largest_that_fits() {
        for (params, norm) in [(Params::hom_conv(), 1.0), (Params::hom_conv(), 1e6), (Params::square_pairs(), 2e11)] {
            let Budget { flood_bits, need_bits, have_bits, distance_bits } = budget(&params, norm).unwrap();
            let room = have_bits.exp2() - need_bits.exp2();
            assert!(flood_bits == 15 && room > 0.0 && room < 2f64.powi(16), "{flood_bits} bits leave {room}");
            assert!(distance_bits < -HIDING_BITS, "{distance_bits}");
        }
    }

    /// The convolution of four uniforms, counted out.
    #[test]
    fn the_peak_of_flooding_is_its_formula() {
        for bits in [1, 2, 5] {
            let m = 1usize << bits;
            let mut counts = vec![1.0f64];
            for _ in 0..4 {
                let wider = vec![0.0; counts.len() + m - 1];
                let last = std::mem::replace(&mut counts, wider);
                last.iter().enumerate().for_each(|(i, c)| counts[i..i + m].iter_mut().for_each(|s| *s += c));
            }
            let total = (m as f64).powi(4);
            let step: f64 = (0..=counts.len())
                .map(|i| {
                    let at = |i: usize| counts.get(i).copied().unwrap_or(0.0);
                    (at(i) - if i > 0 { at(i - 1) } else { 0.0 }).abs()
                })
                .sum();
            assert!((flood_peak(bits) - step / 2.0 / total).abs() < 1e-12);
            assert!((flood_peak(bits) - counts.iter().copied().fold(0.0, f64::max) / total).abs() < 1e-12);
        }
    }

    use crate::bfv::PublicKey;
}
