//! Every code path of the CPU backend against the scalar one, bit for bit, kernel by kernel, and against `tfhe-ntt`.

use blindvox_engine::cpu::Body;
use blindvox_engine::cpu::body::Transform;
use blindvox_engine::ring::Basis;
use blindvox_engine::ring::primes::{DEFAULT_50, DEFAULT_60, ntt_primes};
use blindvox_engine::{Coeff, Device, GemmShape, Integers, Ntt, PolyBatch, Prng, Result};
use proptest::prelude::*;

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

fn rows(kind: usize, basis: &Basis, batch: usize, prng: &mut Prng) -> Vec<u64> {
    (0..batch * basis.len())
        .flat_map(|row| residues(kind, basis.modulus(row % basis.len()).value(), basis.n(), prng))
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

/// Every kernel in turn on one device: what it gives, in the order of calls.
fn all_kernels(device: &Device, basis: &Basis, batch: usize, size: GemmShape, kind: usize) -> Result<Vec<Vec<u64>>> {
    let mut prng = Prng::from_seed_for_tests([kind as u8; 32]);
    let prng = &mut prng;
    let mut results = Vec::new();
    let a = rows(kind, basis, batch, prng);
    let b = rows(0, basis, batch, prng);
    let scalars: Vec<u64> =
        basis.values().iter().map(|&q| if kind == 2 { q - 1 } else { prng.next_u64() % q }).collect();
    let extremes = [i32::MIN, i32::MAX, -1, 0];
    let values: Vec<i32> = (0..batch * basis.n())
        .map(|i| if kind == 0 { prng.next_u32() as i32 } else { extremes[(i + kind) % 4] })
        .collect();

    let mut x = PolyBatch::<Coeff>::upload(device, basis, &a)?;
    let y = PolyBatch::<Coeff>::upload(device, basis, &b)?;
    x.add_lifted(&values, &scalars)?;
    results.push(x.download()?);
    let element = 2 * (prng.next_u32() as usize % basis.n()) + 1;
    results.push(x.automorphism(element)?.download()?);
    x.sub_assign(&y)?;
    results.push(x.download()?);
    x.negate()?;
    x.mul_scalar(&scalars)?;
    results.push(x.download()?);
    x.add_assign(&y)?;
    for kept in 1..basis.len() {
        results.push(x.duplicate()?.mod_down(kept)?.download()?);
        results.push(PolyBatch::<Coeff>::upload(device, basis, &a)?.mod_down(kept)?.download()?);
        results.push(PolyBatch::<Ntt>::upload(device, basis, &a)?.mod_down(kept)?.download()?);
    }
    // To wider and to narrower primes, of all limbs and of the last one.
    let to = Basis::new(basis.n(), &[ntt_primes(60, basis.n(), 3)?[2], ntt_primes(35, basis.n(), 3)?[2]])?;
    results.push(x.mod_up(&to)?.download()?);
    results.push(x.limbs(&basis.range(basis.len() - 1..basis.len())?)?.mod_up(&to)?.download()?);
    let integers: Vec<i128> = values
        .iter()
        .map(|&v| if kind == 0 { prng.next_u64() as i128 * i128::from(v) << 31 } else { (v as i128) << 96 })
        .collect();
    results.push(PolyBatch::reduce(device, basis, Integers::Two(&integers))?.download()?);
    let integers: Vec<i64> = integers.iter().map(|&x| (x >> 64) as i64).collect();
    results.push(PolyBatch::reduce(device, basis, Integers::One(&integers))?.download()?);
    let mut x = x.into_ntt()?;
    results.push(x.download()?);
    let y = PolyBatch::<Ntt>::upload(device, basis, &a)?;
    let one = PolyBatch::<Ntt>::upload(device, basis, &b[..basis.len() * basis.n()])?;
    let uniform = PolyBatch::uniform(device, basis, &[kind as u8; 16], 5, batch)?;
    results.push(uniform.download()?);
    x.mul_assign(&y)?;
    results.push(x.download()?);
    results.push(x.automorphism(element)?.download()?);
    x.mul_assign(&one)?;
    x.mul_add_assign(&y, &y)?;
    results.push(x.download()?);
    x.mul_add_assign(&uniform, &one)?;
    x.add_assign(&y)?;
    x.sub_assign(&uniform)?;
    x.negate()?;
    x.mul_scalar(&scalars)?;
    results.push(x.download()?);
    results.push(x.into_coeff()?.download()?);
    let mut zero = PolyBatch::<Ntt>::zeros(device, basis, batch)?;
    zero.sub_assign(&uniform)?;
    zero.mul_add_assign(&y, &uniform)?;
    results.push(zero.download()?);

    let w = PolyBatch::<Ntt>::upload(device, basis, &rows(kind, basis, size.rows * size.inner, prng))?;
    let v = PolyBatch::<Ntt>::upload(device, basis, &rows(kind, basis, size.inner * size.cols, prng))?;
    results.push(w.gemm([&v], size)?[0].download()?);
    let constants: Vec<i32> = values.iter().cycle().take(w.batch()).copied().collect();
    results.push(PolyBatch::gemm_constants(&constants, [&v], size)?[0].download()?);
    Ok(results)
}

fn compare(basis: &Basis, batch: usize, size: GemmShape, kind: usize) {
    let expected = all_kernels(&Device::cpu_with_body(Body::Scalar).unwrap(), basis, batch, size, kind).unwrap();
    for body in fast_bodies() {
        let got = all_kernels(&Device::cpu_with_body(body).unwrap(), basis, batch, size, kind).unwrap();
        for (i, (g, e)) in got.iter().zip(&expected).enumerate() {
            assert!(g == e, "{body:?}, result {i}, kind {kind}, {size:?}, primes {:?}", basis.values());
        }
    }
}

#[test]
fn kernels_agree_on_the_default_primes_and_extremes() {
    let mixed = [DEFAULT_60[0], DEFAULT_50[0], DEFAULT_60[1]];
    for primes in [&DEFAULT_50[..2], &DEFAULT_60[..], &mixed[..]] {
        for n in [4, 8, 64, 1024] {
            let basis = Basis::new(n, primes).unwrap();
            for kind in 0..4 {
                compare(&basis, 3, GemmShape { rows: 5, inner: 7, cols: 4 }, kind);
            }
        }
    }
    // Long sums of the largest products, past every block of the lazy accumulation.
    for primes in [&DEFAULT_50[..1], &DEFAULT_60[..1]] {
        let basis = Basis::new(64, primes).unwrap();
        for inner in [15, 16, 17, 64, 127, 128, 129, 600] {
            compare(&basis, 1, GemmShape { rows: 3, inner, cols: 2 }, 2);
        }
    }
}

#[test]
fn large_batches_agree() {
    let basis = Basis::new(4096, &DEFAULT_50[..2]).unwrap();
    compare(&basis, 9, GemmShape { rows: 9, inner: 3, cols: 7 }, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn kernels_agree_on_any_primes_and_shapes(
        bits in prop::collection::vec(30u32..=60, 1..4),
        log_n in 2u32..9,
        batch in 1usize..6,
        (rows, inner, cols) in (1usize..10, 1usize..20, 1usize..10),
        kind in 0usize..4,
    ) {
        let n = 1 << log_n;
        let primes: Vec<u64> =
            bits.iter().enumerate().map(|(i, &b)| ntt_primes(b, n, i + 1).unwrap()[i]).collect();
        compare(&Basis::new(n, &primes).unwrap(), batch, GemmShape { rows, inner, cols }, kind);
    }
}
