//! Every code path of the CPU backend against the scalar one, bit for bit, kernel by kernel, and against `tfhe-ntt`.

use blindvox_engine::RoomSize;
use blindvox_engine::ring::Basis;
use blindvox_engine::ring::primes::{DEFAULT_50, DEFAULT_60, ntt_primes};
use blindvox_engine::testing;
use blindvox_engine::testing::Body;
use blindvox_engine::testing::Transform;
use blindvox_engine::testing::{Case, Fill, KERNELS};
use blindvox_engine::{Coeff, Device, GemmShape, PolyBatch, Prng};
use proptest::prelude::*;

/// Gates over two chunks, the second not full.
const ROOM: RoomSize = RoomSize { slots: 0, gates: 5, instances: 300 };

fn fast_bodies() -> impl Iterator<Item = Body> {
    Body::available().into_iter().filter(|&b| b != Body::Scalar)
}

/// Residues of a kind: random, all zero, all q - 1, or alternating extremes.
fn residues(kind: usize, q: u64, count: usize, prng: &mut Prng) -> Vec<u64> {
    (0..count)
        .map(|i| match kind {
            0 => prng.next_u64() % q,
            1 => 0,
            2 => q - 1,
            _ => [0, q - 1, 1, q / 2][prng.next_u32() as usize & 3] * u64::from(i % 3 != 0),
        })
        .collect()
}

#[test]
fn transforms_agree_for_every_width_of_prime_and_dimension() {
    let mut prng = Prng::from_seed_for_tests([1; 32]);
    for body in fast_bodies() {
        for log_n in 2..=16 {
            let n = 1usize << log_n;
            for bits in 30..=60 {
                if log_n > 12 && bits % 5 != 0 {
                    continue;
                }
                let q = ntt_primes(bits, n, 1).unwrap()[0];
                let (fast, scalar) = (Transform::new(body, n, q).unwrap(), Transform::new(Body::Scalar, n, q).unwrap());
                for kind in 0..4 {
                    let a = residues(kind, q, n, &mut prng);
                    let (mut x, mut y) = (a.clone(), a.clone());
                    fast.forward(&mut x);
                    scalar.forward(&mut y);
                    assert!(x == y, "{body:?}, forward, n = {n}, q = {q}, kind {kind}");
                    fast.inverse(&mut x);
                    assert!(x == a, "{body:?}, inverse, n = {n}, q = {q}, kind {kind}");
                    // Any points, not only those of the polynomial.
                    fast.inverse(&mut x);
                    scalar.inverse(&mut y);
                    scalar.inverse(&mut y);
                    assert!(x == y, "{body:?}, inverse of points, n = {n}, q = {q}, kind {kind}");
                }
            }
        }
    }
}

#[test]
fn products_agree_with_tfhe_ntt() {
    let mut prng = Prng::from_seed_for_tests([2; 32]);
    for q in [DEFAULT_50[0], DEFAULT_60[0]] {
        for n in [1024, 4096, 32768] {
            let (a, b) = (residues(0, q, n, &mut prng), residues(0, q, n, &mut prng));
            let plan = tfhe_ntt::prime64::Plan::try_new(n, q).unwrap();
            let (mut x, mut y) = (a.clone(), b.clone());
            plan.fwd(&mut x);
            plan.fwd(&mut y);
            plan.mul_assign_normalize(&mut x, &y);
            plan.inv(&mut x);
            let basis = Basis::new(n, &[q]).unwrap();
            let device = Device::cpu();
            let ntt = |v: &[u64]| PolyBatch::<Coeff>::upload(&device, &basis, v).unwrap().into_ntt().unwrap();
            let mut product = ntt(&a);
            product.mul_assign(&ntt(&b)).unwrap();
            assert!(product.into_coeff().unwrap().download().unwrap() == x, "n = {n}, q = {q}");
        }
    }
}

/// Every kernel of the one list, on every body against the scalar one.
fn compare(basis: &Basis, batch: usize, size: GemmShape, fill: Fill) {
    let scalar = testing::cpu_with_body(Body::Scalar).unwrap();
    let bodies: Vec<_> = fast_bodies().map(|body| (body, testing::cpu_with_body(body).unwrap())).collect();
    for kernel in KERNELS {
        let run = |device: &Device| kernel.run(&Case { device, basis, batch, size, room: ROOM, fill }).unwrap();
        let expected = run(&scalar);
        for (body, device) in &bodies {
            let (name, values) = (kernel.name, basis.values());
            assert!(
                run(device) == expected,
                "{name} on {body:?}, {fill:?}, {batch} polynomials, {size:?}, primes {values:?}"
            );
        }
    }
}

#[test]
fn kernels_agree_on_the_default_primes_and_extremes() {
    let mixed = [DEFAULT_60[0], DEFAULT_50[0], DEFAULT_60[1]];
    for primes in [&DEFAULT_50[..2], &DEFAULT_60[..], &mixed[..]] {
        for n in [4, 8, 64, 1024] {
            let basis = Basis::new(n, primes).unwrap();
            for fill in Fill::ALL {
                compare(&basis, 3, GemmShape { rows: 5, inner: 7, cols: 4 }, fill);
            }
        }
    }
    // Long sums of the largest products, past every block of the lazy accumulation.
    for primes in [&DEFAULT_50[..1], &DEFAULT_60[..1]] {
        let basis = Basis::new(64, primes).unwrap();
        for inner in [15, 16, 17, 64, 127, 128, 129, 600] {
            compare(&basis, 1, GemmShape { rows: 3, inner, cols: 2 }, Fill::Largest);
        }
    }
}

#[test]
fn large_batches_agree() {
    let basis = Basis::new(4096, &DEFAULT_50[..2]).unwrap();
    compare(&basis, 9, GemmShape { rows: 9, inner: 3, cols: 7 }, Fill::Random);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn kernels_agree_on_any_primes_and_shapes(
        bits in prop::collection::vec(30u32..=60, 1..4),
        log_n in 2u32..9,
        batch in 1usize..6,
        (rows, inner, cols) in (1usize..10, 1usize..20, 1usize..10),
        fill in prop::sample::select(&Fill::ALL[..]),
    ) {
        let n = 1 << log_n;
        let primes: Vec<u64> =
            bits.iter().enumerate().map(|(i, &b)| ntt_primes(b, n, i + 1).unwrap()[i]).collect();
        compare(&Basis::new(n, &primes).unwrap(), batch, GemmShape { rows, inner, cols }, fill);
    }
}
