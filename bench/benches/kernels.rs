//! The kernels of `blindvox-bench kernels` under Criterion, on one thread, with each code path of this processor side
//! by side: `cargo bench -p blindvox-bench -- ntt_forward`. Single rows are `row_forward` and `row_inverse`.

use std::hint::black_box;
use std::time::Duration;

use blindvox_bench::setup::{DIMENSIONS, PRIMES, residues};
use blindvox_engine::RoomSize;
use blindvox_engine::aes::{Aes128, INSTANCES_PER_KEY};
use blindvox_engine::bfv::{Params, SecretKey};
use blindvox_engine::ring::Basis;
use blindvox_engine::ring::primes::DEFAULT_50;
use blindvox_engine::testing;
use blindvox_engine::testing::{Body, Transform};
use blindvox_engine::testing::{Case, Fill, KERNELS, On};
use blindvox_engine::{Device, GemmShape, Prng};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group};

/// Polynomials in a batch.
const BATCH: usize = 16;
/// A second prime, for conversions and divisions.
const NEXT: u64 = DEFAULT_50[1];

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
                let mut group = criterion.benchmark_group("row_forward");
                group.bench_function(id.clone(), |b| b.iter(|| transform.forward(black_box(&mut x))));
                group.finish();
                let mut group = criterion.benchmark_group("row_inverse");
                group.bench_function(id, |b| b.iter(|| transform.inverse(black_box(&mut x))));
                group.finish();
            }
        }
    }
}

/// Every kernel of the list, on each code path of this processor; those of labels, which have their own, once.
fn listed(criterion: &mut Criterion) {
    let size = GemmShape { rows: 16, inner: 16, cols: 16 };
    let room = RoomSize { slots: 0, gates: 16, instances: INSTANCES_PER_KEY };
    for kernel in KERNELS {
        let mut group = criterion.benchmark_group(kernel.name);
        for (bits, q) in PRIMES {
            let basis = Basis::new(4096, &[q, NEXT]).unwrap();
            for body in Body::available() {
                if kernel.on == On::Labels && (bits, body) != (PRIMES[0].0, Body::best()) {
                    continue;
                }
                let device = testing::cpu_with_body(body).unwrap();
                let case = Case { device: &device, basis: &basis, batch: BATCH, size, room, fill: Fill::Uniform };
                let prepare = || (kernel.prepare)(&case).unwrap();
                let id = BenchmarkId::new(bits.to_string(), format!("{body:?}"));
                group.bench_function(id, |b| b.iter_batched(prepare, |call| call().unwrap(), BatchSize::PerIteration));
            }
        }
        group.finish();
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
    targets = transforms, listed, hashes, encryption
}

fn main() {
    // The table has the batches on all threads.
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().expect("the first pool");
    kernels();
    Criterion::default().configure_from_args().final_summary();
}
