//! Linear maps and polynomials of ciphertexts against floating point.

mod common;

use std::collections::BTreeMap;

use blindvox_engine::ckks::{Complex, Encoder, LinearMap, Params, Polynomial};
use blindvox_engine::rlwe::KeyRequest;
use common::{chain, complexes, reals, setup};

#[test]
fn matrices_are_applied_within_the_predicted_error() {
    for (n, slots, special, level, dropped) in
        [(1024, 16, 1, 3, 1), (1024, 512, 2, 4, 1), (2048, 64, 2, 4, 2), (8192, 128, 2, 3, 1)]
    {
        let params = chain(n, level, 50, 45, special);
        let mut prng = blindvox_engine::Prng::from_seed_for_tests([1; 32]);
        let matrix: Vec<f64> = reals(&mut prng, slots * slots).iter().map(|x| x / slots as f64).collect();
        let map = LinearMap::from_matrix(slots, &matrix).unwrap();
        let mut s = setup(params.clone(), map.rotations().request(&params, level));
        s.encoder = Encoder::new(&params).with_slots(slots).unwrap();
        let a = reals(&mut s.prng, slots);
        let x = s.encrypt(&a);
        let product: Vec<f64> = matrix.chunks(slots).map(|row| row.iter().zip(&a).map(|(w, x)| w * x).sum()).collect();
        let device = s.eval.device().clone();
        let prepared = map.prepare(&params, &device, (level, x.scale()), (x.scale(), dropped)).unwrap();
        let y = s.eval.linear(&x, &prepared).unwrap();
        assert_eq!((y.level(), y.scale()), (level - dropped, x.scale()));
        let found = s.expect_real("matrix", &y, &product);
        // The prediction is no wild guess: copies of sparse vectors are averaged.
        let copies = ((n / 2 / slots) as f64).sqrt();
        let expected: Vec<Complex> = product.iter().map(|&x| x.into()).collect();
        assert!(found.stats(&expected).unwrap().rms * copies * 8.0 > y.error());
        assert!(map.rotations().steps().count() <= 3 * (slots as f64).sqrt() as usize);
        assert!(s.eval.linear(&y, &prepared).is_err());
    }
}

#[test]
fn diagonals_may_be_complex_and_few() {
    let params = chain(1024, 3, 50, 45, 1);
    let mut prng = blindvox_engine::Prng::from_seed_for_tests([2; 32]);
    let diagonals: BTreeMap<usize, Vec<Complex>> =
        [0, 1, 5, 37, 511].into_iter().map(|k| (k, complexes(&mut prng, 512))).collect();
    let map = LinearMap::from_diagonals(512, diagonals).unwrap();
    let mut s = setup(params.clone(), map.rotations().request(&params, 3));
    let a = complexes(&mut s.prng, 512);
    let x = s.encrypt_complex(&a);
    let device = s.eval.device().clone();
    let prepared = map.prepare(&params, &device, (3, x.scale()), (2f64.powi(40), 1)).unwrap();
    assert!(prepared.memory() > 0 && prepared.omega() > 2f64.powi(39));
    s.expect("diagonals", &s.eval.linear(&x, &prepared).unwrap(), &map.apply_in_the_clear(&a).unwrap());
    assert!(map.prepare(&params, &device, (1, x.scale()), (x.scale(), 1)).is_err());
    let starved = map.prepare(&params, &device, (3, x.scale()), (2f64.powi(5), 1)).err().unwrap().to_string();
    assert!(starved.contains("weights would have"), "{starved}");
    let limited = setup(params.clone(), KeyRequest::new());
    let missing = limited.eval.linear(&x, &prepared).err().unwrap().to_string();
    assert!(missing.contains("rotation by"), "{missing}");
    for map in [map, LinearMap::from_matrix(3, &[1.0, -0.5, 0.25, 2.0, 0.0, 7.0]).unwrap()] {
        let bytes = map.to_bytes();
        let back = LinearMap::from_bytes(&bytes).unwrap();
        let x = complexes(&mut s.prng, map.slots());
        assert_eq!((back.to_bytes(), back.rotations()), (bytes.clone(), map.rotations()));
        assert_eq!(back.apply_in_the_clear(&x).unwrap(), map.apply_in_the_clear(&x).unwrap());
        for cut in (0..40).chain([bytes.len() - 1]) {
            assert!(LinearMap::from_bytes(&bytes[..cut]).is_err(), "{cut}");
        }
        // The magic, the slots, the kind, their number, an offset beyond the slots, a value that is none.
        for (at, value) in [(0, 0), (9, 0x7f), (12, 2), (15, 1), (19, 0xff), (28, 0xff)] {
            let mut other = bytes.clone();
            other[at] = value;
            if at == 28 {
                other[21..29].fill(0xff);
            }
            assert!(LinearMap::from_bytes(&other).is_err(), "byte {at}");
        }
    }
    assert!(LinearMap::from_diagonals(512, BTreeMap::new()).is_err());
    assert!(LinearMap::from_matrix(3, &[1.0; 4]).is_err());
    assert_eq!(LinearMap::from_matrix(3, &[1.0; 15]).unwrap().slots(), 8);
}

/// Two styles: a square is left at its scale, and the map takes it down with one prime.
#[test]
fn a_square_and_a_map_share_one_prime() {
    let params =
        Params::builder(2048).chain(46, &[48, 48]).special(&[48]).scale(46).bound(1.0).insecure_for_tests().unwrap();
    let matrix: Vec<f64> = (0..64).map(|i| f64::from(i % 7 - 3) / 16.0).collect();
    let map = LinearMap::from_matrix(8, &matrix).unwrap();
    let request = map.rotations().request(&params, 3).relinearisation(3);
    let mut s = setup(params.clone(), request);
    s.encoder = Encoder::new(&params).with_slots(8).unwrap();
    let a = reals(&mut s.prng, 8);
    let text = s.encoder.real(&a, 2f64.powi(26)).unwrap();
    let square = s.eval.square(&s.key.encrypt(&text, &mut s.prng).unwrap()).unwrap();
    assert_eq!((square.level(), square.scale()), (3, 2f64.powi(52)));
    let device = s.eval.device().clone();
    let map = map.prepare(&params, &device, (3, square.scale()), (2f64.powi(26), 1)).unwrap();
    let y = s.eval.linear(&square, &map).unwrap();
    assert_eq!((y.level(), y.scale()), (2, 2f64.powi(26)));
    let expected: Vec<f64> = matrix.chunks(8).map(|row| row.iter().zip(&a).map(|(w, x)| w * x * x).sum()).collect();
    s.expect_real("map of squares", &y, &expected);
}

#[test]
fn polynomials_come_out_at_the_scale_that_is_asked_for() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let relu = |x: f64| x.max(0.0);
    let params = chain(1024, 9, 55, 45, 3);
    let mut s = setup(params.clone(), KeyRequest::new().relinearisation(9));
    let a = reals(&mut s.prng, 512);
    let x = s.encrypt(&a);
    s.encoder = Encoder::new(&params).with_bound(8.0);
    let wide: Vec<f64> = a.iter().map(|a| 3.0 + 5.0 * a).collect();
    let wide_x = s.encrypt(&wide);
    for degree in [1, 2, 7, 15, 31, 63] {
        for (f, interval, a, x) in [
            (&sigmoid as &dyn Fn(f64) -> f64, [-1.0, 1.0], &a, &x),
            (&relu, [-1.0, 1.0], &a, &x),
            (&sigmoid, [-2.0, 8.0], &wide, &wide_x),
        ] {
            let p = Polynomial::chebyshev(f, interval, degree).unwrap();
            let target = 2f64.powi(44);
            let y = s.eval.polynomial(x, &p, target).unwrap();
            assert_eq!(
                (y.scale(), y.level() >= 9 - p.levels() - usize::from(interval[1] > 1.0)),
                (target, true),
                "degree {degree}"
            );
            let expected: Vec<f64> = a.iter().map(|&x| p.value(x)).collect();
            s.expect_real(&format!("degree {degree} on {interval:?}"), &y, &expected);
            assert!(y.error() < 1e-6, "degree {degree}: {:e}", y.error());
        }
    }
    let low = s.eval.drop_to(&x, 4).unwrap();
    let p = Polynomial::chebyshev(sigmoid, [-1.0, 1.0], 7).unwrap();
    let refused = s.eval.polynomial(&low, &p, 2f64.powi(44)).err().unwrap().to_string();
    assert!(refused.contains("takes 4 levels, at level 4"), "{refused}");
    let p = Polynomial::monomial(&[0.5, -1.0, 0.0, 2.0]).unwrap();
    let expected: Vec<f64> = a.iter().map(|x| 0.5 - x + 2.0 * x * x * x).collect();
    s.expect_real("monomial", &s.eval.polynomial(&x, &p, 2f64.powi(44)).unwrap(), &expected);
}
