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

/// Statistical distance, a coefficient, at which a reply hides the factors of its products.
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

/// The flooding that hides products of `factor_norm` to 2^-[`HIDING_BITS`] a coefficient, and what of the first prime's
/// room it needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Width for [`flood`](crate::ring::sampler::flood).
    pub flood_bits: u32,
    /// log2 of the largest noise of a reply.
    pub need_bits: f64,
    /// log2 of what decryption corrects, q0 / 2t.
    pub have_bits: f64,
    /// log2 of the statistical distance a coefficient; for N coefficients it is at most N times as much.
    pub distance_bits: f64,
}

/// The budget of replies, an error when it does not fit; the caller names the layer.
pub fn budget(params: &Params, factor_norm: f64) -> Result<Budget> {
    let basis = params.basis();
    let dropped: f64 = (1..basis.len()).map(|l| basis.modulus(l).value() as f64).product();
    let secret_part = (product_bound(factor_norm) + zero_bound(params.n())) / dropped;
    let peak = (2.0f64 / 3.0).log2();
    let flood_bits = (secret_part.log2() + HIDING_BITS + peak).ceil().max(1.0);
    // Two drops round twice, the first rounding being divided again.
    let need_bits = (secret_part + 2.0 * switch_bound(params.n()) + (flood_bits + 1.0).exp2()).log2();
    let have_bits = (basis.modulus(0).value() as f64).log2() - (params.plain() as f64).log2() - 1.0;
    if flood_bits > 16.0 || need_bits >= have_bits {
        return Err(Error::Parameters(format!(
            "noise of {need_bits:.1} bits (flooding of {flood_bits} bits included), decryption corrects {have_bits:.1}"
        )));
    }
    Ok(Budget {
        flood_bits: flood_bits as u32,
        need_bits,
        have_bits,
        distance_bits: secret_part.log2() + peak - flood_bits,
    })
}

impl SecretKey {
    /// The noise of ciphertexts that should hold `messages` `[batch, n]`: signed, `[batch, n]`, exact while below half the
    /// product of the first two primes. Both halves in the coefficient domain, on the whole basis or the first prime.
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
        let refused = budget(&Params::hom_conv(), 1e9).unwrap_err().to_string();
        assert!(refused.contains("decryption corrects"), "{refused}");
    }

    use crate::bfv::PublicKey;
}
