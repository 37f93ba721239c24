//! The bound on what replies tell, measured where it can be seen: at dropped primes of 12 to 18 bits instead of 50.

use super::Params;
use super::noise::{budget, distance, flood_peak, product_bound, zero_bound};
use crate::prng::Prng;
use crate::ring::Basis;
use crate::ring::primes::DEFAULT_60;
use crate::ring::sampler;
use crate::{Coeff, Device, PolyBatch};

/// NTT primes for n = 128 of 12, 14, 16 and 18 bits.
const DROPPED: [u64; 4] = [3329, 15_361, 64_513, 260_609];
const N: usize = 128;
const FLOOD_BITS: u32 = 2;

/// Noise of a product with sixteen weights of this size: a deviation of 13 times it.
const WEIGHT: i32 = 12;

/// Magnitudes of noise that depends on the weights, all of one sign: as somebody would have them who knows the
/// direction.
fn noise(prng: &mut Prng, count: usize) -> Vec<i32> {
    let fresh = sampler::noise(prng, 16 * count);
    fresh.chunks_exact(16).map(|c| WEIGHT * c.iter().sum::<i32>().abs()).collect()
}

/// Phases uniform on the whole basis, once as they are and once with the noise: what is left of both on the first
/// prime.
fn dropped(basis: &Basis, prng: &mut Prng, noise: &[i32]) -> [Vec<i64>; 2] {
    let device = Device::cpu();
    let words: Vec<u64> = (0..2 * noise.len())
        .map(|i| {
            let q = basis.modulus(i / N % 2);
            ((u128::from(prng.next_u64()) * u128::from(q.value())) >> 64) as u64
        })
        .collect();
    let bare = PolyBatch::<Coeff>::upload(&device, basis, &words).unwrap();
    let mut noisy = bare.duplicate().unwrap();
    noisy.add_lifted(noise, &[1, 1]).unwrap();
    [bare, noisy].map(|x| x.mod_down(1).unwrap().download().unwrap().iter().map(|&x| x as i64).collect())
}

/// A flooded coefficient that is above its middle is the best evidence that noise has moved it: how often it says so
/// wrongly is what it is better than nothing by. For each prime that frequency is the formula's, to within its sampling
/// error, and below the bound.
#[test]
fn the_advantage_falls_with_the_dropped_prime_as_the_formula_says() {
    let mut prng = Prng::from_seed_for_tests([31; 32]);
    let mut last = f64::INFINITY;
    for dropped_prime in DROPPED {
        let basis = Basis::new(N, &[DEFAULT_60[0], dropped_prime]).unwrap();
        let (mut seen, mut expected, mut samples) = (0u64, 0.0, 0.0);
        for _ in 0..64 {
            let noise = noise(&mut prng, 256 * N);
            let [bare, noisy] = dropped(&basis, &mut prng, &noise);
            let flood = sampler::flood(&mut prng, noise.len(), FLOOD_BITS);
            for ((a, b), f) in bare.iter().zip(&noisy).zip(&flood) {
                // Moved by one at most, around the first prime's end too.
                let moved = (b - a).rem_euclid(DEFAULT_60[0] as i64) as i32;
                assert!(moved == 0 || moved == 1, "{moved}");
                seen += u64::from(f + moved > 0) - u64::from(*f > 0);
            }
            samples += noise.len() as f64;
            expected += noise.iter().map(|&e| f64::from(e)).sum::<f64>() / dropped_prime as f64;
        }
        let expected = expected * flood_peak(FLOOD_BITS);
        let error = expected.sqrt();
        let what = format!("{dropped_prime}: {seen} of {samples}, {expected:.0} +- {error:.0}");
        assert!(error < expected / 10.0 && (seen as f64 - expected).abs() < 5.0 * error, "{what}");
        let found = seen as f64 / samples;
        let sigma = f64::from(WEIGHT) * 4.0 * sampler::NOISE_SIGMA;
        let bound = distance(sigma, dropped_prime as f64, FLOOD_BITS);
        // Noise of one sign has a mean of 0.8 sigma; the bound takes both directions and some deviations.
        assert!(found < bound && bound < 20.0 * found, "{what}, bound {bound:e}");
        assert!(found < last / 3.5, "{what}: falls by the primes' ratio of about 4");
        last = found;
    }
}

/// At the real parameters the same formula gives the budget: nothing but the prime and the widths differs.
#[test]
fn real_parameters_are_on_the_same_line() {
    let (params, norm) = (Params::hom_conv(), 30_000.0);
    let budget = budget(&params, norm).unwrap();
    let sigma = (product_bound(norm) + zero_bound(params.n())) / super::noise::DEVIATIONS;
    let dropped = params.basis().modulus(1).value() as f64;
    assert_eq!(budget.distance_bits, distance(sigma, dropped, budget.flood_bits).log2());
    // Both factors of the bound, one after the other: the moved fraction by the prime, the peak by the flooding.
    let small = distance(sigma, dropped / 4096.0, budget.flood_bits);
    assert!((budget.distance_bits - small.log2() + 12.0).abs() < 0.5);
    assert!((budget.distance_bits - distance(sigma, dropped, 3).log2() + 12.0).abs() < 0.02);
}
