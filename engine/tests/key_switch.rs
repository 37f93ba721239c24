//! Switching keys at every level: automorphisms, products, and their bytes.

use blindvox_engine::ring::primes::ntt_primes;
use blindvox_engine::ring::sampler;
use blindvox_engine::rlwe::gadget::{rounding_variance, switching_variance};
use blindvox_engine::rlwe::key_switch::{conjugation_element, rotation_element};
use blindvox_engine::rlwe::{EvalKeys, Hoisted, KeyRequest, Params, SecretKey};
use blindvox_engine::{Basis, Coeff, Device, PolyBatch, Prng, Rows};

const N: usize = 1024;

fn setup(special: usize, digit: usize) -> (Params, SecretKey, Prng) {
    let primes = ntt_primes(48, N, 7 + special).unwrap();
    let params = Params::insecure(N, &primes[..7], &primes[7..]).unwrap().with_digits(digit).unwrap();
    let mut prng = Prng::from_seed_for_tests([8; 32]);
    let key = SecretKey::generate(&params, &Device::cpu(), &mut prng).unwrap();
    (params, key, prng)
}

/// A ciphertext of small coefficients at a level, without noise.
fn encrypt(key: &SecretKey, level: usize, message: &[i32], prng: &mut Prng) -> PolyBatch<Rows> {
    let basis = key.params().basis().level(level).unwrap();
    let c1 = PolyBatch::uniform(key.device(), &basis, &prng.fill(16).try_into().unwrap(), 0, 1).unwrap();
    let mut c0 = key.times_secret(c1.duplicate().unwrap()).unwrap();
    c0.negate().unwrap();
    c0.add_lifted(message, &vec![1; level]).unwrap();
    PolyBatch::stack(&[&c0.into_rows().unwrap(), &c1.into_rows().unwrap()]).unwrap()
}

/// The coefficients of what a ciphertext holds, small ones.
fn decrypt(key: &SecretKey, pair: &PolyBatch<Rows>) -> Vec<i64> {
    let mut phase = key.times_secret(pair.extract(1..2).unwrap().into_panels().unwrap()).unwrap();
    phase.add_assign(&pair.extract(0..1).unwrap().into_coeff().unwrap()).unwrap();
    let q = pair.basis().modulus(0);
    phase.download().unwrap()[..N].iter().map(|&x| q.to_signed(x)).collect()
}

fn automorphism(key: &SecretKey, basis: &Basis, message: &[i32], element: usize) -> Vec<i64> {
    let lifted = PolyBatch::lift(key.device(), basis, message, &vec![1; basis.len()]).unwrap();
    let q = basis.modulus(0);
    let image: PolyBatch<Coeff> = lifted.automorphism(element).unwrap();
    image.download().unwrap()[..N].iter().map(|&x| q.to_signed(x)).collect()
}

fn deviation(found: &[i64], expected: &[i64]) -> f64 {
    let sum: f64 = found.iter().zip(expected).map(|(a, b)| ((a - b) as f64).powi(2)).sum();
    (sum / found.len() as f64).sqrt()
}

/// At every level, with digits of one to four primes, with keys for all levels and for this one.
#[test]
fn automorphisms_hold_at_every_level_with_the_noise_of_the_formula() {
    for (special, digit) in [(1, 1), (2, 2), (3, 3), (4, 4), (2, 1)] {
        let (params, key, mut prng) = setup(special, digit);
        let (rotation, conjugation) = (rotation_element(N, 3), conjugation_element(N));
        let request = |level| KeyRequest::new().galois(rotation, level).galois(conjugation, level);
        let full = key.eval_keys(&request(7), &mut prng).unwrap();
        for level in 1..=7 {
            let message: Vec<i32> = sampler::noise(&mut prng, N).iter().map(|x| x << 16).collect();
            let pair = encrypt(&key, level, &message, &mut prng);
            let limited = key.eval_keys(&request(level), &mut prng).unwrap();
            assert!(limited.memory() <= full.memory());
            let hoisted = Hoisted::new(&params, &pair).unwrap();
            for (keys, element) in [(&full, rotation), (&limited, rotation), (&limited, conjugation)] {
                let image = keys.automorphism(&hoisted, element).unwrap();
                let expected = automorphism(&key, pair.basis(), &message, element);
                let noise = deviation(&decrypt(&key, &image), &expected);
                let ratio = noise / switching_variance(&params, level).sqrt();
                // One key and one ciphertext: where the rounding rules, its size is that of one secret.
                assert!((0.85..1.15).contains(&ratio), "P of {special}, digits of {digit}, level {level}: {ratio}");
                let mut later = keys.automorphism_times_p(&hoisted, element).unwrap().mod_down(level).unwrap();
                later.add_assign(&hoisted.image_of_base(element).unwrap()).unwrap();
                assert!(deviation(&decrypt(&key, &later), &expected) < 1.3 * noise);
            }
        }
        let hoisted = Hoisted::new(&params, &encrypt(&key, 7, &[0; N], &mut prng)).unwrap();
        let limited = key.eval_keys(&request(3), &mut prng).unwrap();
        assert!(limited.automorphism(&hoisted, rotation).err().unwrap().to_string().contains("at level 7"));
        assert!(full.automorphism(&hoisted, 3).err().unwrap().to_string().contains("no key for"));
    }
}

#[test]
fn products_come_back_to_two_halves() {
    let (params, key, mut prng) = setup(2, 2);
    for level in 1..=7 {
        let keys = key.eval_keys(&KeyRequest::new().relinearisation(level), &mut prng).unwrap();
        let mut message = [sampler::ternary(&mut prng, N), vec![0; N]];
        message[0].iter_mut().for_each(|x| *x <<= 20);
        message[1][3] = 5;
        let [a, b] = message.each_ref().map(|m| encrypt(&key, level, m, &mut prng));
        let product = keys.relinearise(&a.tensor(&b).unwrap(), 0).unwrap();
        // Times 5 X^3.
        let wrapped = |i: usize| if i < 3 { -message[0][i + N - 3] } else { message[0][i - 3] };
        let expected: Vec<i64> = (0..N).map(|i| 5 * i64::from(wrapped(i))).collect();
        assert!(
            deviation(&decrypt(&key, &product), &expected) < 1.2 * switching_variance(&params, level).sqrt(),
            "level {level}"
        );
        assert!(
            keys.relinearise(&a, 0).is_err()
                && keys.automorphism(&Hoisted::new(keys.params(), &a).unwrap(), 5).is_err()
        );
    }
}

/// P and the last primes in one division: the nearest integers, with one rounding's noise.
#[test]
fn products_are_divided_with_the_key_switch() {
    for (special, digit) in [(1, 1), (2, 2), (3, 2)] {
        let (params, key, mut prng) = setup(special, digit);
        let keys = key.eval_keys(&KeyRequest::new().relinearisation(5), &mut prng).unwrap();
        for (level, dropped) in [(5, 1), (4, 1), (2, 1), (5, 2)] {
            let mut message = [sampler::ternary(&mut prng, N), vec![0; N]];
            message[0].iter_mut().for_each(|x| *x <<= 29);
            message[1][3] = 1 << 30;
            let [a, b] = message.each_ref().map(|m| encrypt(&key, level, m, &mut prng));
            let product = keys.relinearise(&a.tensor(&b).unwrap(), dropped).unwrap();
            assert_eq!(product.basis(), &params.basis().level(level - dropped).unwrap());
            let primes = params.basis().range(level - dropped..level).unwrap().log2_q();
            let wrapped = |i: usize| if i < 3 { -message[0][i + N - 3] } else { message[0][i - 3] };
            let quotient = |i: usize| (f64::from(wrapped(i)) * 30f64.exp2() / primes.exp2()).round() as i64;
            let expected: Vec<i64> = (0..N).map(quotient).collect();
            let noise = deviation(&decrypt(&key, &product), &expected);
            let most = (switching_variance(&params, level) / (2.0 * primes).exp2() + rounding_variance(N)).sqrt();
            assert!((0.7 * most..1.3 * most).contains(&noise), "level {level} less {dropped}: {noise} of {most}");
        }
        let three = encrypt(&key, 1, &[1; N], &mut prng);
        assert!(keys.relinearise(&three.tensor(&three).unwrap(), 1).is_err());
    }
}

#[test]
fn keys_come_back_from_their_bytes_and_others_are_refused() {
    let (params, key, mut prng) = setup(2, 2);
    let request = KeyRequest::new().relinearisation(2).galois(5, 3).galois(2 * N - 1, 1).galois(1, 7);
    let keys = key.eval_keys(&request, &mut prng).unwrap();
    let bytes = keys.to_bytes().unwrap();
    assert_eq!(bytes.len(), EvalKeys::wire_len(&params, &request).unwrap());
    let read = |bytes: &[u8]| EvalKeys::from_bytes(&params, key.device(), bytes);
    let back = read(&bytes).unwrap();
    assert_eq!((back.request(), back.to_bytes().unwrap()), (request, bytes.clone()));
    let pair = encrypt(&key, 3, &[77; N], &mut prng);
    let hoisted = Hoisted::new(&params, &pair).unwrap();
    let images = [&keys, &back].map(|keys| keys.automorphism(&hoisted, 5).unwrap().download().unwrap());
    assert_eq!(images[0], images[1]);
    for cut in (0..80).chain([bytes.len() - 1]) {
        assert!(read(&bytes[..cut]).is_err(), "{cut}");
    }
    // The magic, the digest, a count, elements, levels and residues that are none.
    for at in [0, 8, 56, 59, 64, 66, 70, 74, 76] {
        let mut other = bytes.clone();
        other[at] ^= 0xff;
        assert!(read(&other).is_err(), "byte {at}");
    }
    let mut unreduced = bytes.clone();
    unreduced[100..200].fill(0xff);
    assert!(read(&unreduced).is_err());
    let other = Params::insecure(N, &params.basis().values(), &params.special().unwrap().values()).unwrap();
    let refused = EvalKeys::from_bytes(&other.with_digits(1).unwrap(), key.device(), &bytes).err().unwrap();
    assert!(refused.to_string().contains("other parameters"), "{refused}");
    assert!(key.eval_keys(&KeyRequest::new().galois(4, 1), &mut prng).is_err());
    assert!(key.eval_keys(&KeyRequest::new().galois(5, 8), &mut prng).is_err());
    let plain = Params::insecure(N, &params.basis().values(), &[]).unwrap();
    let plain = SecretKey::generate(&plain, key.device(), &mut prng).unwrap();
    assert!(plain.eval_keys(&KeyRequest::new().galois(5, 1), &mut prng).is_err());
}

#[test]
fn rotations_are_powers_of_five() {
    assert_eq!([0, 1, 2, -1].map(|step| rotation_element(8, step)), [1, 5, 9, 13]);
    assert_eq!((rotation_element(1024, 512), rotation_element(1024, -512)), (1, 1));
}
