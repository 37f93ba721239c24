//! Approximate arithmetic: every operation against floating point, within the predicted error.

mod common;

use blindvox_engine::ckks::{
    Ciphertext, Complex, Encoder, Evaluator, Params, PublicKey, Queries, Rotations, SecretKey, Seeded,
};
use blindvox_engine::rlwe::{EvalKeys, KeyRequest};
use blindvox_engine::{Device, Prng};
use common::{Setup, chain, complexes, reals, setup};

#[test]
fn encoding_is_the_known_answer() {
    let params = Params::builder(8).chain(50, &[]).insecure_for_tests().unwrap();
    let encoder = Encoder::new(&params);
    let text = encoder.real(&[1.0, 2.0, 3.0, 4.0], 1024.0).unwrap();
    assert_eq!(**text.coefficients(), [2560, -277, -362, -669, 0, 669, 362, 277]);
    // X -> X^5 is a rotation to the left by one.
    let text = encoder.real(&[2.0, 3.0, 4.0, 1.0], 1024.0).unwrap();
    assert_eq!(**text.coefficients(), [2560, -669, 362, 277, 0, -277, -362, 669]);
}

/// FNV-1a.
fn digest(bytes: &[u8]) -> String {
    let step = |h: u64, &b: &u8| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// The same integers on every machine: a digest of large encodings, real and complex, in one word and two.
#[test]
fn encodings_do_not_depend_on_the_machine() {
    let params = Params::builder(32768).chain(50, &[]).insecure_for_tests().unwrap();
    let (encoder, mut prng) = (Encoder::new(&params), Prng::from_seed_for_tests([3; 32]));
    let z = complexes(&mut prng, 16384);
    let x: Vec<f64> = z.iter().map(|z| z.re).collect();
    let texts = [
        encoder.real(&x, 2f64.powi(40)).unwrap(),
        encoder.complex(&z, 2f64.powi(60)).unwrap(),
        encoder.complex(&z, 2f64.powi(100)).unwrap(),
    ];
    let digests =
        texts.each_ref().map(|t| digest(&t.coefficients().iter().flat_map(|c| c.to_le_bytes()).collect::<Vec<_>>()));
    assert_eq!(digests, ["5c5f295d04d3ab8e", "7b399288faf82915", "852ac8791dc5e5ce"]);
    for (text, scale) in texts.iter().zip([40, 60, 100]) {
        let floats: Vec<f64> = text.coefficients().iter().map(|&c| c as f64).collect();
        let back = encoder.decode(&floats, f64::from(scale).exp2());
        assert!(back.iter().zip(&z).all(|(a, b)| (a.re - b.re).abs() < 2f64.powi(-30)), "scale 2^{scale}");
    }
}

#[test]
fn what_cannot_be_encoded_is_refused() {
    let params = Params::builder(64).chain(50, &[]).bound(2.0).insecure_for_tests().unwrap();
    let encoder = Encoder::new(&params);
    assert!(encoder.real(&[2.5], 1024.0).is_err() && encoder.real(&[f64::NAN], 1024.0).is_err());
    assert!(encoder.real(&[0.0; 33], 1024.0).is_err() && encoder.real(&[1.0], 0.0).is_err());
    assert!(encoder.real(&[1.0; 32], 2f64.powi(126)).is_err());
    let device = Device::cpu();
    let refused = encoder.real(&[1.0; 32], 2f64.powi(50)).unwrap().points(&device, params.basis()).err().unwrap();
    assert!(refused.to_string().contains("level 1 has 49.0"), "{refused}");
    assert!(Encoder::new(&params).with_slots(3).is_err());
}

fn all_keys(params: &Params) -> KeyRequest {
    let level = params.basis().len();
    let rotations = Rotations::exact(&[1, 2, 3, 4, 8, 16, 32, 64, -1]).request(params, level);
    KeyRequest::new().relinearisation(level).conjugation(params, level).and(&rotations)
}

#[test]
fn operations_are_those_of_numbers_within_the_predicted_error() {
    for (n, special, bits) in [(1024, 1, 40), (1024, 2, 46), (8192, 2, 45), (32768, 3, 46)] {
        let params = chain(n, 4, 50, bits, special);
        let mut s = setup(params.clone(), all_keys(&params));
        let slots = n / 2;
        let (a, b) = (complexes(&mut s.prng, slots), complexes(&mut s.prng, slots));
        let (x, y) = (s.encrypt_complex(&a), s.encrypt_complex(&b));
        let zip =
            |f: &dyn Fn(Complex, Complex) -> Complex| a.iter().zip(&b).map(|(&a, &b)| f(a, b)).collect::<Vec<_>>();
        let map = |f: &dyn Fn(Complex) -> Complex| a.iter().map(|&a| f(a)).collect::<Vec<_>>();
        let eval = &s.eval;
        s.expect("fresh", &x, &a);
        s.expect("add", &eval.add(&x, &y).unwrap(), &zip(&|a, b| a + b));
        s.expect("double", &eval.add(&x, &x).unwrap(), &map(&|a| a + a));
        s.expect("sub", &eval.sub(&x, &y).unwrap(), &zip(&|a, b| a - b));
        s.expect("negate", &eval.negate(&x).unwrap(), &map(&|a| -a));
        let text = s.encoder.complex(&b, x.scale()).unwrap();
        s.expect("add_plain", &eval.add_plain(&x, &text).unwrap(), &zip(&|a, b| a + b));
        s.expect("add_scalar", &eval.add_scalar(&x, 0.3).unwrap(), &map(&|a| a + 0.3.into()));
        s.expect("mul_integer", &eval.mul_integer(&x, -7).unwrap(), &map(&|a| a.scale(-7.0)));
        let halved = eval.rescale(&eval.mul_scalar(&x, 0.7, params.scale()).unwrap()).unwrap();
        assert_eq!(halved.level(), 3);
        s.expect("mul_scalar", &halved, &map(&|a| a.scale(0.7)));
        let product = eval.multiply_plain(&x, &text).unwrap();
        s.expect("multiply_plain", &eval.rescale(&product).unwrap(), &zip(&|a, b| a * b));
        let product = eval.multiply(&x, &y).unwrap();
        s.expect("multiply", &product, &zip(&|a, b| a * b));
        s.expect("multiply, rescaled", &eval.rescale(&product).unwrap(), &zip(&|a, b| a * b));
        let merged = eval.multiply_rescale(&x, &y).unwrap();
        let apart = eval.rescale(&product).unwrap();
        assert_eq!((merged.level(), merged.scale()), (apart.level(), apart.scale()));
        assert!(merged.error() <= apart.error());
        s.expect("multiply_rescale", &merged, &zip(&|a, b| a * b));
        let square = eval.rescale(&eval.square(&x).unwrap()).unwrap();
        s.expect("square", &square, &map(&|a| a * a));
        s.expect(
            "square of a square",
            &eval.rescale(&eval.square(&square).unwrap()).unwrap(),
            &map(&|a| a * a * a * a),
        );
        s.expect(
            "rescaled by two",
            &eval.rescale_by(&eval.mul_scalar(&x, 1.0, 2f64.powi(2 * bits as i32)).unwrap(), 2).unwrap(),
            &a,
        );
        s.expect("drop_to", &eval.drop_to(&x, 1).unwrap(), &a);
        s.expect("conjugate", &eval.conjugate(&x).unwrap(), &map(&Complex::conj));
        let rotated = |step: i64| -> Vec<Complex> {
            (0..slots as i64).map(|i| a[(i + step).rem_euclid(slots as i64) as usize]).collect()
        };
        for step in [1, 3, -1, 0] {
            s.expect("rotate", &eval.rotate(&x, step).unwrap(), &rotated(step));
        }
        let hoisted = eval.hoist(&x).unwrap();
        for (step, y) in [1, 2, 64].into_iter().zip(eval.rotate_many(&hoisted, &[1, 2, 64]).unwrap()) {
            s.expect("rotate_many", &y, &rotated(step));
        }
        let (composed, hops) = eval.rotate_composed(&x, 67).unwrap();
        assert_eq!(hops, 2);
        s.expect("rotate_composed", &composed, &rotated(67));
        let sums: Vec<Complex> =
            (0..slots).map(|i| (0..8).fold(Complex::default(), |sum, j| sum + a[(i + j) % slots])).collect();
        s.expect("sum", &eval.sum(&x, 8).unwrap(), &sums);
        let (p, q) = eval.align(&square, &x).unwrap();
        s.expect("align", &eval.add(&p, &q).unwrap(), &map(&|a| a * a + a));
        let (p, q) = eval.align(&x, &product).unwrap();
        s.expect("align at one level", &eval.sub(&p, &q).unwrap(), &zip(&|a, b| a - a * b));
    }
}

/// The error's predicted size is not far above what is found, at every level, where one term rules.
#[test]
fn predictions_are_close() {
    let params = chain(1024, 6, 50, 40, 2);
    let mut s = setup(params.clone(), all_keys(&params));
    let a = complexes(&mut s.prng, 512);
    for level in 1..=6 {
        let x = s.encrypt_complex(&a);
        let x = s.eval.drop_to(&x, level).unwrap();
        for (what, y, expected) in [
            ("fresh", x.duplicate().unwrap(), a.clone()),
            ("rotate", s.eval.rotate(&x, 1).unwrap(), [&a[1..], &a[..1]].concat()),
        ] {
            let ratio = s.key.decrypt(&y).unwrap().stats(&expected).unwrap().rms / y.error();
            assert!((0.9..1.1).contains(&ratio), "{what} at level {level}: {ratio}");
        }
        if level > 1 {
            let y = s.eval.rescale(&s.eval.mul_scalar(&x, 1.0, 2f64.powi(20)).unwrap()).unwrap();
            let ratio = s.key.decrypt(&y).unwrap().stats(&a).unwrap().rms / y.error();
            assert!((0.85..1.15).contains(&ratio), "rescale at level {level}: {ratio}");
        }
    }
}

#[test]
fn errors_name_level_scale_and_rotation() {
    let params = chain(1024, 3, 50, 40, 1);
    let mut s = setup(params.clone(), all_keys(&params));
    let x = s.encrypt(&[0.5; 512]);
    let low = s.eval.drop_to(&x, 1).unwrap();
    let says = |result: blindvox_engine::Result<Ciphertext>, what: &str| {
        let error = result.err().expect(what).to_string();
        assert!(error.contains(what), "{error}");
    };
    says(s.eval.add(&x, &low), "level 3, scale 2^40.000000");
    says(s.eval.add(&x, &s.eval.multiply(&x, &x).unwrap()), "scale 2^80");
    says(s.eval.rescale(&low), "at level 1");
    says(s.eval.drop_to(&low, 2), "level 2");
    says(s.eval.rotate(&x, 5), "rotation by 5 at level 3");
    says(s.eval.multiply(&low, &low), "level 1 holds");
    says(s.eval.mul_integer(&low, 1 << 11), "more than level 1 holds");
    says(s.eval.sum(&x, 3), "a power of two");
    says(s.eval.to_level_and_scale(&x, 2, 2f64.powi(15)), "constant between them");
    let keyless = Evaluator::without_keys(&params, &Device::cpu());
    says(keyless.rotate(&x, 1), "without keys");
    let limited = s.key.eval_keys(&KeyRequest::new().galois(5, 2).galois(25, 3), &mut s.prng).unwrap();
    let limited = Evaluator::new(&params, &Device::cpu(), limited).unwrap();
    says(limited.rotate(&x, 1), "rotation by 1 at level 3");
    assert!(limited.rotate(&s.eval.drop_to(&x, 2).unwrap(), 1).is_ok());
    assert_eq!(limited.rotate_composed(&x, 4).unwrap().1, 2);
    says(limited.rotate_composed(&x, 1).map(|x| x.0), "come to 1");
    let other = chain(1024, 2, 50, 40, 1);
    assert!(Evaluator::new(&other, &Device::cpu(), s.key.eval_keys(&KeyRequest::new(), &mut s.prng).unwrap()).is_err());
    let budget = x.budget();
    assert_eq!((budget.level, budget.scale), (3, 2f64.powi(40)));
    assert!((budget.headroom_bits - 89.0).abs() < 0.1);
}

#[test]
fn sparse_vectors_repeat_and_are_averaged() {
    let params = chain(4096, 3, 50, 40, 1);
    let mut s = setup(params.clone(), Rotations::exact(&[1, 2, 4]).request(&params, 3));
    s.encoder = Encoder::new(&params).with_slots(8).unwrap();
    let a = reals(&mut s.prng, 8);
    let x = s.encrypt(&a);
    let found = s.expect_real("sparse", &x, &a);
    // 256 copies.
    assert!(found.stats(&a.iter().map(|&x| x.into()).collect::<Vec<_>>()).unwrap().rms < x.error() / 8.0);
    let rotated: Vec<f64> = (0..8).map(|i| a[(i + 2) % 8]).collect();
    s.expect_real("rotated", &s.eval.rotate(&x, 2).unwrap(), &rotated);
    let total = a.iter().sum::<f64>();
    s.expect_real("sum", &s.eval.sum(&x, 8).unwrap(), &[total; 8]);
    assert_eq!(s.eval.rotate_composed(&x, 7).unwrap().1, 3);
}

#[test]
fn objects_come_back_from_their_bytes_and_others_are_refused() {
    let params = chain(1024, 3, 50, 40, 1);
    let mut s = setup(params.clone(), all_keys(&params));
    let (a, device) = (reals(&mut s.prng, 512), s.key.device().clone());
    let text = s.encoder.real(&a, params.scale()).unwrap();
    let seeded = s.key.encrypt_seeded(&text, &mut s.prng).unwrap();
    let bytes = seeded.to_bytes(&params);
    assert_eq!(bytes.len(), Seeded::wire_len(&params));
    let x = Seeded::from_bytes(&params, &bytes).unwrap().expand(&params, &device).unwrap();
    s.expect_real("seeded", &x, &a);
    let y = s.eval.rotate(&s.eval.drop_to(&x, 2).unwrap(), 1).unwrap();
    let wire = y.to_bytes(&params).unwrap();
    assert_eq!(wire.len(), Ciphertext::wire_len(&params, 2).unwrap());
    let back = Ciphertext::from_bytes(&params, &device, &wire).unwrap();
    assert_eq!((back.to_bytes(&params).unwrap(), back.budget()), (wire.clone(), y.budget()));
    let keys = s.eval.keys().unwrap().to_bytes().unwrap();
    let keys = EvalKeys::from_bytes(&params, &device, &keys).unwrap();
    let again = Evaluator::new(&params, &device, keys).unwrap().rotate(&x, 1).unwrap();
    assert_eq!(again.to_bytes(&params).unwrap(), s.eval.rotate(&x, 1).unwrap().to_bytes(&params).unwrap());
    let public = s.key.public_key(&mut s.prng).unwrap().to_bytes();
    let public = PublicKey::from_bytes(&params, &device, &public).unwrap();
    let encrypted = public.encrypt(&text, &mut s.prng).unwrap();
    s.expect_real("public key", &encrypted, &a);
    // Truncated, longer, and every byte of the heads changed: an error or another ciphertext, never a panic.
    for (bytes, head) in [(&bytes, 76), (&wire, 78)] {
        let read = |bytes: &[u8]| {
            let seeded = Seeded::from_bytes(&params, bytes).and_then(|s| s.expand(&params, &device));
            seeded.or_else(|_| Ciphertext::from_bytes(&params, &device, bytes))
        };
        for cut in (0..100).chain([bytes.len() - 1]) {
            assert!(read(&bytes[..cut]).is_err(), "{cut}");
        }
        assert!(read(&[&bytes[..], &[0]].concat()).is_err());
        for at in 0..head {
            for flip in [1, 0x80, 0xff] {
                let mut other = bytes.clone();
                other[at] ^= flip;
                assert!(read(&other).is_err() || at >= 40, "byte {at}");
            }
        }
        let mut unreduced = bytes.clone();
        unreduced[200..300].fill(0xff);
        assert!(read(&unreduced).is_err());
    }
    // The secret key with its queries: as many coefficients as there are, all of them ternary.
    let secret = s.key.to_secret_bytes(&Queries::new(7));
    let (key, queries) = SecretKey::from_secret_bytes(&params, &device, &secret).unwrap();
    assert_eq!((key.to_secret_bytes(&queries), queries.left()), (secret.clone(), 7));
    assert_eq!(key.decrypt(&x).unwrap().real(), s.key.decrypt(&x).unwrap().real());
    let changed = |at: usize, value: u8| {
        let mut other = secret.clone();
        other[at] = value;
        SecretKey::from_secret_bytes(&params, &device, &other).is_err()
    };
    assert!(changed(0, 0) && changed(8, !secret[8]) && changed(44, 8) && changed(48, 0xc0) && changed(303, 0x0c));
    assert!(!changed(44, 3) && SecretKey::from_secret_bytes(&params, &device, &secret[1..]).is_err());
    let other = chain(1024, 3, 50, 41, 1);
    assert!(Ciphertext::from_bytes(&other, &device, &wire).err().unwrap().to_string().contains("other parameters"));
}

/// A result is flooded by its error times a power of two, and decrypts to the values still.
#[test]
fn results_are_rerandomised_and_flooded() {
    let params = Params::builder(1024).chain(50, &[40, 40]).special(&[50]).scale(40).bound(1.0).flooding(20);
    let params = params.insecure_for_tests().unwrap();
    let mut s = setup(params.clone(), all_keys(&params));
    let public = s.key.public_key(&mut s.prng).unwrap();
    let a = reals(&mut s.prng, 512);
    let x = s.encrypt(&a);
    let x = s.eval.rescale(&s.eval.square(&x).unwrap()).unwrap();
    let squares: Vec<f64> = a.iter().map(|x| x * x).collect();
    for bits in [0, 10, 16] {
        let y = public.rerandomise(&x, bits, &mut s.prng).unwrap();
        assert_eq!(y.level(), 1);
        assert!(y.error() >= x.error() * f64::from(bits).exp2());
        let found = s.expect_real("flooded", &y, &squares);
        let rms = found.stats(&squares.iter().map(|&x| x.into()).collect::<Vec<_>>()).unwrap().rms;
        assert!(rms > 0.8 * y.error(), "flood of {bits} bits: {rms:e}, predicted {:e}", y.error());
    }
    assert!(public.rerandomise(&x, 50, &mut s.prng).is_err());
}

#[test]
fn values_are_published_with_noise_or_not_at_all() {
    let builder = || Params::builder(1024).chain(50, &[45]).special(&[50]).scale(45).bound(1.0);
    let params = builder().flooding(20).insecure_for_tests().unwrap();
    let mut s = setup(params.clone(), KeyRequest::new());
    let a = reals(&mut s.prng, 512);
    let x = s.encrypt(&a);
    let found = s.key.decrypt(&x).unwrap();
    let mut queries = Queries::new(2);
    for left in [1, 0] {
        let values = found.publish(6, &mut queries, &mut s.prng).unwrap();
        assert_eq!(queries.left(), left);
        assert!(values.iter().zip(&a).all(|(x, y)| (x - y).abs() < 0.02 && (x * 64.0).fract() == 0.0));
        // With more digits, the noise is seen: sqrt(24) 2^15 times the error.
        let sigma = 24f64.sqrt() * 2f64.powi(15) * found.error();
        let fine = found.publish(40, &mut Queries::new(2), &mut s.prng).unwrap();
        let rms = (fine.iter().zip(&a).map(|(x, y)| (x - y).powi(2)).sum::<f64>() / 512.0).sqrt();
        // The real half of a complex error.
        assert!((0.6..0.8).contains(&(rms / sigma)), "{}", rms / sigma);
    }
    assert!(found.publish(6, &mut queries, &mut s.prng).unwrap_err().to_string().contains("queries of this key"));
    let text = s.encoder.real(&a, 2f64.powi(26)).unwrap();
    let coarse = s.key.decrypt(&s.key.encrypt(&text, &mut s.prng).unwrap()).unwrap();
    let refused = coarse.publish(6, &mut Queries::new(1), &mut s.prng).unwrap_err().to_string();
    assert!(refused.contains("passes an eighth"), "{refused}");
    // Without room for flooding, none.
    let s = &mut setup(builder().insecure_for_tests().unwrap(), KeyRequest::new());
    let x = s.encrypt(&a);
    let found = s.key.decrypt(&x).unwrap();
    let refused = found.publish(6, &mut Queries::new(1), &mut s.prng).unwrap_err().to_string();
    assert!(refused.contains("without flooding"), "{refused}");
    assert!(Params::fast().flooding().is_none() && Params::balanced().flooding() == Some(20));
}

/// The secure sets at their own sizes.
#[test]
fn presets_work() {
    for params in [Params::cnn_small(), Params::cnn(), Params::fast()] {
        let level = params.basis().len();
        let mut s: Setup = setup(params.clone(), KeyRequest::new().relinearisation(level));
        let a = reals(&mut s.prng, params.slots());
        let x = s.encrypt(&a);
        let y = s.eval.rescale(&s.eval.square(&x).unwrap()).unwrap();
        s.expect_real("square", &y, &a.iter().map(|x| x * x).collect::<Vec<_>>());
        assert!(params.is_128_bit());
        assert!(format!("{:?}", s.key).starts_with("SecretKey(n = ") && SecretKey::params(&s.key) == &params);
    }
}

/// What is written stays readable: a change of these bytes needs another version in their first eight.
#[test]
fn bytes_are_known() {
    let params = chain(1024, 3, 50, 40, 1);
    let mut s = setup(params.clone(), all_keys(&params));
    let text = s.encoder.real(&[0.5, -0.25, 1.0], params.scale()).unwrap();
    let seeded = s.key.encrypt_seeded(&text, &mut s.prng).unwrap();
    let x = seeded.expand(&params, s.key.device()).unwrap();
    let found = [
        digest(&seeded.to_bytes(&params)),
        digest(&x.to_bytes(&params).unwrap()),
        digest(&s.eval.keys().unwrap().to_bytes().unwrap()),
        digest(&params.digest()),
    ];
    assert_eq!(found, ["bfe8b4b21e6895e0", "e4c5aaef35d73700", "5273580e6f954c89", "04f3e8be618249aa"]);
}
