//! The kernels of `blindvox-bench kernels` under Criterion, on one thread, with each code path of this processor side by side:
//! `cargo bench -p blindvox-bench -- ntt_forward`.

use std::hint::black_box;
use std::time::Duration;

use blindvox_bench::setup::{DIMENSIONS, Gates, PRIMES, factors, residues};
use blindvox_engine::aes::Aes128;
use blindvox_engine::bfv::{Params, SecretKey};
use blindvox_engine::cpu::{Body, body::Transform};
use blindvox_engine::garble::GateHash;
use blindvox_engine::ring::Basis;
use blindvox_engine::{Device, GemmShape, PolyBatch, Prng};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};

/// Polynomials in a batch of row kernels.
const BATCH: usize = 16;

fn prng() -> Prng {
    Prng::from_seed_for_tests([1; 32])
}

fn transforms(criterion: &mut Criterion) {
    for (bits, q) in PRIMES {
        for n in DIMENSIONS {
            let a = residues(&mut prng(), q, n);
            let mut expected = a.clone();
            Transform::new(Body::Scalar, n, q).unwrap().forward(&mut expected);
            for body in Body::available() {
                let transform = Transform::new(body, n, q).unwrap();
                let mut x = a.clone();
                transform.forward(&mut x);
                assert!(x == expected, "{body:?}, n = {n}, q = {q}");
                let id = BenchmarkId::new(format!("{bits}/{body:?}"), n);
                let mut group = criterion.benchmark_group("ntt_forward");
                group.bench_function(id.clone(), |b| b.iter(|| transform.forward(black_box(&mut x))));
                group.finish();
                let mut group = criterion.benchmark_group("ntt_inverse");
                group.bench_function(id, |b| b.iter(|| transform.inverse(black_box(&mut x))));
                group.finish();
            }
        }
    }
}

fn rows(criterion: &mut Criterion) {
    for (bits, q) in PRIMES {
        let basis = Basis::new(4096, &[q]).unwrap();
        for body in Body::available() {
            let device = Device::cpu_with_body(body).unwrap();
            let uniform = |seed| PolyBatch::uniform(&device, &basis, &[seed; 16], 0, BATCH).unwrap();
            let (mut x, y, z) = (uniform(1), uniform(2), uniform(3));
            let mut group = criterion.benchmark_group("rows");
            group.throughput(Throughput::Elements(BATCH as u64));
            let id = |kernel| BenchmarkId::new(format!("{kernel}/{bits}"), format!("{body:?}"));
            group.bench_function(id("add"), |b| b.iter(|| x.add_assign(&y).unwrap()));
            group.bench_function(id("mul"), |b| b.iter(|| x.mul_assign(&y).unwrap()));
            group.bench_function(id("mul_add"), |b| b.iter(|| x.mul_add_assign(&y, &z).unwrap()));
            group.bench_function(id("mul_scalar"), |b| b.iter(|| x.mul_scalar(&[q - 2]).unwrap()));
            group.bench_function(id("automorphism"), |b| b.iter(|| x.automorphism(5).unwrap()));
            let x = x.into_coeff().unwrap();
            group.bench_function(id("automorphism_coeff"), |b| b.iter(|| x.automorphism(5).unwrap()));
            group.finish();
        }
    }
}

fn gemm(criterion: &mut Criterion) {
    let size = GemmShape { rows: 16, inner: 16, cols: 16 };
    for (bits, q) in PRIMES {
        let basis = Basis::new(4096, &[q]).unwrap();
        for body in Body::available() {
            let device = Device::cpu_with_body(body).unwrap();
            let (w, x) = factors(&device, &basis, size).unwrap();
            let mut group = criterion.benchmark_group("gemm");
            group.throughput(Throughput::Elements((size.rows * size.inner * size.cols) as u64));
            let id = BenchmarkId::new(bits.to_string(), format!("{body:?}"));
            group.bench_function(id, |b| b.iter(|| w.gemm([&x], size).unwrap()));
            group.finish();
        }
    }
}

fn hashes(criterion: &mut Criterion) {
    let mut prng = prng();
    let cipher = Aes128::new(7);
    let mut blocks: Vec<u128> = prng.fill(1024);
    let mut group = criterion.benchmark_group("aes");
    group.throughput(Throughput::Elements(blocks.len() as u64));
    group.bench_function("encrypt", |b| b.iter(|| cipher.encrypt(black_box(&mut blocks))));
    group.finish();

    for hash in GateHash::ALL {
        let mut gates = Gates::new(hash, &mut prng);
        let mut group = criterion.benchmark_group("gates");
        group.throughput(Throughput::Elements(Gates::COUNT as u64));
        group.bench_function(BenchmarkId::new("garble_and", hash), |b| b.iter(|| gates.garble()));
        group.bench_function(BenchmarkId::new("evaluate_and", hash), |b| b.iter(|| gates.evaluate()));
        group.finish();
        gates.garble();
        gates.evaluate();
        assert!(gates.are_correct());
    }
}

fn encryption(criterion: &mut Criterion) {
    let (params, mut prng) = (Params::hom_conv(), prng());
    let key = SecretKey::generate(&params, &Device::cpu(), &mut prng).unwrap();
    let messages: Vec<u32> = prng.fill(BATCH * params.n());
    let mut group = criterion.benchmark_group("encrypt_seeded");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("hom_conv", |b| b.iter(|| key.encrypt_seeded(&messages, &mut prng).unwrap()));
    group.finish();
}

criterion_group! {
    name = kernels;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .without_plots();
    targets = transforms, rows, gemm, hashes, encryption
}

fn main() {
    // The table has the batches on all threads.
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().expect("the first pool");
    kernels();
    Criterion::default().configure_from_args().final_summary();
}
