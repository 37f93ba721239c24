//! The ceremony: a trusted dealer makes the key, deals its shares and forgets what it knew.
//!
//! ```text
//! p = 2 p' + 1, q = 2 q' + 1 safe primes, n = p q, n' = p' q', beta uniform modulo n, Delta = h!
//! theta = beta n' mod n
//! f(X) = beta n' + c_1 X + .. + c_{t-1} X^(t-1) mod n n',  s_j = f(j)
//! hs = (-y^2)^n mod n^2, y random;   v a random square modulo n^2, v_j = v^(Delta s_j)
//! ```
//!
//! Fouque, Poupard, Stern: "Sharing decryption in the context of voting or lotteries", 2000, with f of degree t - 1 and
//! theta as beta n' itself. hs is that of Damgard, Jurik and Nielsen: "A generalization of Paillier's public-key system
//! with applications to electronic voting", 2010. Whoever ran a ceremony could have decrypted all under its key.

use blindvox_engine::Prng;
use blindvox_engine::bigint::{Exponents, Ring};
use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use crypto_bigint::{BoxedUint, ConcatenatingMul, NonZero};
use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};
use zeroize::Zeroizing;

use super::keys::{Cast, KeyShare, PublicKey, SIZES};
use super::number::{boxed, from_bytes, limbs, times, to_bytes};
use crate::error::{Error, Result};

/// Draws are this much longer than what they are reduced by, so that the rest is uniform up to 2^-128.
const EXCESS: usize = 16;

/// Safe primes of 256 bits, for tests.
const POOL: [&str; 8] = [
    "d4a244c9b21b34f6cfd39d0a7fdf12a7ea9f2def426ccb641d0dd4b5b41a774f",
    "c8857dac2d6acc3a9fb2239e94cd47140161d6550ab667766e66e4be636b52df",
    "c46386a1e369597a4a5e6681f3aa2771e2895c5caff2d80b7f0646727118505f",
    "f20c0f694dc4ec0a71a98dbd7834951956feb42534e85e800f17a79a5f7b1197",
    "cc5c30ed4ad9262c0781f9163bc7c0aa17dbc96d77cc88017a8dae8db0131327",
    "d80e5018977710f9bb27de8b8486f0075a77dd95a7d38b2555476b728c487393",
    "c6e03bc5888ce676718f78ad5db622e20300976ca037ecfaf7f5a5650f03d097",
    "d5288078bbf48646d4c2cbf528326f11c73331ced90d79bdd7b8ddc95eec6c23",
];

/// Two safe primes: whoever knows them decrypts.
struct Primes {
    p: Zeroizing<BoxedUint>,
    q: Zeroizing<BoxedUint>,
}

/// A key of `bits` bits, 2048 or 3072, and the shares of its h holders of whom t decrypt, for points 1 to h.
///
/// # Errors
/// [`Error::Input`] for another length, or other than 1 <= t <= h <= 16.
pub fn ceremony(bits: usize, threshold: usize, holders: usize, prng: &mut Prng) -> Result<(PublicKey, Vec<KeyShare>)> {
    if !SIZES.contains(&bits) {
        return Err(Error::input(format!("a key of {bits} bits, expected one of {SIZES:?}")));
    }
    let cast = Cast::new(threshold, holders)?;
    let mut rng = ChaCha20Rng::from_seed(prng.seed());
    let mut prime = || {
        let factory = SmallFactorsSieveFactory::new(Flavor::Safe, bits as u32 / 2, SetBits::TwoMsb)
            .expect("hundreds of bits are enough for a safe prime");
        let found = sieve_and_find(&mut rng, factory, |_, candidate| is_prime(Flavor::Safe, candidate));
        Zeroizing::new(found.expect("a generator that does not fail").expect("a sieve that goes on"))
    };
    let mut primes = Primes { p: prime(), q: prime() };
    while primes.p == primes.q {
        primes.q = prime();
    }
    deal(&primes, cast, prng)
}

/// A key of 512 bits from fixed primes that everybody knows, one of four. Decoding refuses it: for tests alone.
///
/// # Errors
/// [`Error::Input`] for other than 1 <= t <= h <= 16.
///
/// # Panics
/// If there is no such key in the pool.
pub fn insecure_for_tests(
    which: usize,
    threshold: usize,
    holders: usize,
    prng: &mut Prng,
) -> Result<(PublicKey, Vec<KeyShare>)> {
    let prime = |i: usize| {
        let digit = |i: usize| u64::from_str_radix(&POOL[which * 2..][i / 4][48 - 16 * (i % 4)..][..16], 16);
        let words: Vec<u64> = (4 * i..4 * i + 4).map(|i| digit(i).expect("hexadecimal digits")).collect();
        Zeroizing::new(boxed(&words))
    };
    deal(&Primes { p: prime(0), q: prime(1) }, Cast::new(threshold, holders)?, prng)
}

/// Uniform below a modulus.
fn below(modulus: &NonZero<BoxedUint>, prng: &mut Prng) -> Zeroizing<BoxedUint> {
    let limbs = modulus.as_words().len();
    let mut bytes = Zeroizing::new(vec![0; 8 * limbs + EXCESS]);
    prng.fill_bytes(&mut bytes);
    let drawn = Zeroizing::new(boxed(&from_bytes(&bytes)));
    Zeroizing::new(drawn.rem(modulus))
}

fn non_zero(x: &BoxedUint) -> NonZero<BoxedUint> {
    NonZero::new(x.clone()).expect("not zero")
}

fn deal(primes: &Primes, cast: Cast, prng: &mut Prng) -> Result<(PublicKey, Vec<KeyShare>)> {
    let n = primes.p.concatenating_mul(&*primes.q);
    let (half_p, half_q) = (Zeroizing::new(&*primes.p >> 1_u32), Zeroizing::new(&*primes.q >> 1_u32));
    let order = Zeroizing::new(half_p.concatenating_mul(&*half_q));
    let modulus = Zeroizing::new(n.concatenating_mul(&*order));
    let (by_n, by_modulus) = (non_zero(&n), Zeroizing::new(non_zero(&modulus)));
    let w = n.as_words().len();
    let secret = Zeroizing::new(below(&by_n, prng).concatenating_mul(&*order));
    let theta = secret.rem(&by_n);
    let mut coefficients = vec![secret];
    coefficients.extend((1..cast.threshold).map(|_| below(&by_modulus, prng)));
    let shares = (1..=cast.holders).map(|point| {
        // Horner, from the highest coefficient on.
        let mut value = Zeroizing::new(vec![0; 2 * w]);
        for coefficient in coefficients.iter().rev() {
            let mut sum = times(&value, point as u64);
            let mut carry = false;
            for (s, &c) in sum.iter_mut().zip(limbs(coefficient, 2 * w + 1).iter()) {
                let (a, over) = s.overflowing_add(c);
                let (b, again) = a.overflowing_add(u64::from(carry));
                (*s, carry) = (b, over | again);
            }
            let sum = Zeroizing::new(boxed(&sum));
            value = limbs(&Zeroizing::new(sum.rem(&by_modulus)), 2 * w);
        }
        KeyShare::new(point, value)
    });
    let shares: Vec<KeyShare> = shares.collect();
    let n = limbs(&n, w);
    let ring = Ring::new(&n)?;
    let whole = |x: &BoxedUint| limbs(x, 2 * w);
    // hs = (n - y^2)^n: the square modulo n, its negative, and that to n modulo n^2.
    let y = below(&by_n, prng);
    let negative = by_n.as_ref().wrapping_sub(y.concatenating_mul(&*y).rem(&by_n));
    let base = ring.power(&whole(&negative), &Exponents { limbs: &n, bits: 64 * w });
    let x = below(&NonZero::new(by_n.concatenating_mul(by_n.as_ref())).expect("not zero"), prng);
    let generator = ring.multiply(&whole(&x), &whole(&x));
    let checks = shares.iter().map(|share| {
        let exponent = times(share.secret(), cast.delta());
        ring.power(&generator, &Exponents { limbs: &exponent, bits: 64 * exponent.len() })
    });
    let checks: Vec<_> = checks.collect();
    let parts = [
        &n[..],
        &limbs(&theta, w),
        &base,
        &generator,
        &checks.iter().flat_map(|check| check.iter().copied()).collect::<Vec<_>>(),
    ]
    .concat();
    let bytes = [&PublicKey::head(cast, 64 * w)[..], &to_bytes(&parts)].concat();
    Ok((PublicKey::decode(&bytes)?, shares))
}
