//! Every kernel of the GPU backend against the scalar CPU backend, bit for bit: both bodies of the word
//! arithmetic, n = 1024 to 65536, 30- to 60-bit primes, one to three limbs, random residues and extremes.
//!
//! Without a Vulkan adapter the tests say so and pass, except under `CI`, where one must be there.

use blindvox_engine::RoomSize;
use blindvox_engine::bfv::{Params, PublicKey, ReplyParams, SecretKey};
use blindvox_engine::gpu::{GpuOptions, adapters};
use blindvox_engine::ring::Basis;
use blindvox_engine::ring::primes::{DEFAULT_50, DEFAULT_60, ntt_primes};
use blindvox_engine::rlwe::{Ciphertexts, SeededCiphertexts};
use blindvox_engine::testing;
use blindvox_engine::testing::Body;
use blindvox_engine::testing::{Case, Fill, KERNELS, On};
use blindvox_engine::{Coeff, Device, Error, GemmShape, Ntt, PolyBatch, Prng};
use blindvox_tests::gpu_devices;

fn primes(bits: u32, n: usize, count: usize) -> Vec<u64> {
    ntt_primes(bits, n, count).unwrap()
}

/// Bases of 30 to 60 bits; the widths in one basis differ where that matters (dropping a limb).
fn bases(n: usize) -> Vec<Basis> {
    let mixed = [primes(60, n, 1)[0], primes(30, n, 1)[0], primes(59, n, 1)[0]];
    let falling = [primes(30, n, 1)[0], primes(45, n, 1)[0], primes(60, n, 1)[0]];
    [&primes(30, n, 1)[..], &DEFAULT_50[..2], &DEFAULT_60, &mixed, &falling]
        .iter()
        .map(|q| Basis::new(n, q).unwrap())
        .collect()
}

/// Random residues; the first polynomial's rows open with extremes, the second, if there is one, is all q - 1.
fn residues(basis: &Basis, batch: usize, seed: u8) -> Vec<u64> {
    let mut prng = Prng::from_seed_for_tests([seed; 32]);
    let mut out = Vec::with_capacity(batch * basis.len() * basis.n());
    for poly in 0..batch {
        for q in (0..basis.len()).map(|limb| basis.modulus(limb)) {
            let v = q.value();
            let extremes = [0, 1, 2, v / 2, v / 2 + 1, v - 2, v - 1];
            out.extend((0..basis.n()).map(|i| match (poly, extremes.get(i)) {
                (1, _) => v - 1,
                (0, Some(&x)) => x,
                _ => q.reduce(prng.next_u64()),
            }));
        }
    }
    out
}

/// The same computation on the CPU and on a GPU device.
fn compare(gpu: &Device, what: &str, basis: &Basis, run: impl Fn(&Device) -> Vec<u64>) {
    let (expected, found) = (run(&testing::cpu_with_body(Body::Scalar).unwrap()), run(gpu));
    assert_eq!(expected.len(), found.len());
    if let Some(i) = (0..expected.len()).find(|&i| expected[i] != found[i]) {
        let (n, limbs) = (basis.n(), basis.len());
        panic!(
            "{what} on {gpu:?}, primes {:x?}, n = {n}: polynomial {}, limb {}, place {}: {:#x}, the CPU says {:#x}",
            basis.values(),
            i / n / limbs,
            i / n % limbs,
            i % n,
            found[i],
            expected[i]
        );
    }
}

fn coeff(device: &Device, basis: &Basis, batch: usize, seed: u8) -> PolyBatch<Coeff> {
    PolyBatch::upload(device, basis, &residues(basis, batch, seed)).unwrap()
}

fn ntt(device: &Device, basis: &Basis, batch: usize, seed: u8) -> PolyBatch<Ntt> {
    PolyBatch::upload(device, basis, &residues(basis, batch, seed)).unwrap()
}

/// Every kernel of the one list; those of labels, which no basis concerns, at one dimension alone.
fn compare_all(gpu: &Device, basis: &Basis, batch: usize, size: GemmShape, fill: Fill) {
    for kernel in KERNELS.iter().filter(|kernel| kernel.on == On::Residues || basis.n() == LABELS_AT) {
        compare(gpu, kernel.name, basis, |device| {
            kernel.run(&Case { device, basis, batch, size, room: ROOM, fill }).unwrap()
        });
    }
}

/// The dimension at which all fills are compared, and labels.
const LABELS_AT: usize = 2048;
/// Gates over two chunks, the second not full.
const ROOM: RoomSize = RoomSize { slots: 0, gates: 5, instances: 300 };

const SIZE: GemmShape = GemmShape { rows: 3, inner: 10, cols: 5 };

#[test]
fn kernels_agree() {
    for gpu in gpu_devices(false) {
        bases(1024).iter().for_each(|basis| compare_all(&gpu, basis, 3, SIZE, Fill::Random));
        compare_all(&gpu, &bases(4096)[3], 3, SIZE, Fill::Random);
        let size = GemmShape { rows: 1, inner: 2, cols: 1 };
        compare_all(&gpu, &bases(65536)[4], 1, size, Fill::Random);
        for fill in Fill::ALL {
            compare_all(&gpu, &bases(LABELS_AT)[4], 2, SIZE, fill);
        }
    }
}

#[test]
fn transforms_agree_for_every_dimension() {
    for gpu in gpu_devices(false) {
        for n in [2048, 8192, 16384, 32768] {
            for basis in bases(n) {
                compare(&gpu, "ntt_forward", &basis, |d| {
                    coeff(d, &basis, 2, 1).into_ntt().unwrap().download().unwrap()
                });
                compare(&gpu, "ntt_inverse", &basis, |d| {
                    ntt(d, &basis, 2, 2).into_coeff().unwrap().download().unwrap()
                });
            }
        }
    }
}

#[test]
fn matrix_products_of_every_tile_agree() {
    let only = |name: &str| matches!(name, "gemm" | "gemm of a view" | "gemm_constants");
    for gpu in gpu_devices(false) {
        for basis in bases(1024) {
            for (rows, inner, cols) in [(1, 1, 1), (1, 40, 1), (2, 9, 3), (5, 17, 6), (4, 8, 4), (3, 2, 9)] {
                let (size, fill) = (GemmShape { rows, inner, cols }, Fill::Random);
                for kernel in KERNELS.iter().filter(|k| only(k.name)) {
                    let run =
                        |device: &Device| kernel.run(&Case { device, basis: &basis, batch: 1, size, room: ROOM, fill });
                    compare(&gpu, kernel.name, &basis, |d| run(d).unwrap());
                }
            }
        }
    }
}

/// Sums of more products than fit one word, of the largest residues.
#[test]
fn conversions_of_many_primes_agree() {
    for gpu in gpu_devices(false) {
        let chain = Basis::new(1024, &primes(60, 1024, 19)).unwrap();
        let (to, many) = (chain.level(2).unwrap(), chain.range(2..19).unwrap());
        compare(&gpu, "mod_up of 17 primes", &to, |d| coeff(d, &many, 2, 23).mod_up(&to).unwrap().download().unwrap());
        compare(&gpu, "mod_down by 17 primes", &to, |d| {
            coeff(d, &chain, 2, 24).mod_down(2).unwrap().download().unwrap()
        });
    }
}

/// A chain of primes, its levels, and levels joined with other primes: the roots of each are on the device once.
#[test]
fn each_prime_is_uploaded_once() {
    let (n, levels, others) = (8192, 12, 4);
    let [chain, special] = [(50, levels), (55, others)].map(|(b, count)| Basis::new(n, &primes(b, n, count)).unwrap());
    let bases =
        || (1..=levels).flat_map(|l| [chain.level(l).unwrap(), chain.level(l).unwrap().joined(&special).unwrap()]);
    for gpu in gpu_devices(false) {
        bases().for_each(|basis| gpu.make_ready(&basis).unwrap());
        let used = gpu.table_use();
        // Two factors of 16 bytes a root; the table grows by doubling.
        let roots = (levels + others) * n * 2 * 16;
        assert!(used.primes == levels + others && (roots..2 * roots).contains(&used.bytes), "{used:?}");
        // Primes that were there before the table grew, and those that came last.
        for basis in bases().skip(2 * levels - 2) {
            compare(&gpu, "ntt_inverse", &basis, |d| ntt(d, &basis, 1, 3).into_coeff().unwrap().download().unwrap());
        }
    }
}

#[test]
fn lazy_sums_hold_the_largest_residues() {
    for gpu in gpu_devices(false) {
        for bits in [60, 59, 50] {
            let basis = Basis::new(1024, &primes(bits, 1024, 1)).unwrap();
            let (rows, inner, cols) = (2, 70, 2);
            compare(&gpu, "gemm of q - 1", &basis, |d| {
                let all = |count: usize| vec![basis.modulus(0).value() - 1; count * 1024];
                let w = PolyBatch::<Ntt>::upload(d, &basis, &all(rows * inner)).unwrap();
                let x = PolyBatch::<Ntt>::upload(d, &basis, &all(inner * cols)).unwrap();
                w.gemm([&x], GemmShape { rows, inner, cols }).unwrap()[0].download().unwrap()
            });
        }
    }
}

#[test]
fn kernels_agree_with_all_runtime_checks_on() {
    for gpu in gpu_devices(true) {
        for n in [1024, 2048, 4096, 16384] {
            let basis = Basis::new(n, &DEFAULT_60).unwrap();
            compare_all(&gpu, &basis, 2, SIZE, Fill::Random);
        }
    }
}

#[test]
fn uniform_and_zero_polynomials_and_copies_agree_on_reused_memory() {
    for gpu in gpu_devices(false) {
        let basis = Basis::new(2048, &DEFAULT_60).unwrap();
        for first in [0, 7, u32::MAX - 4] {
            compare(&gpu, "expand_uniform", &basis, |d| {
                let uniform = PolyBatch::uniform(d, &basis, &[5; 16], first, 4).unwrap();
                let copy = uniform.duplicate().unwrap();
                drop(uniform);
                // Takes the memory just given back.
                let zeros = PolyBatch::<Coeff>::zeros(d, &basis, 4).unwrap();
                [copy.download().unwrap(), zeros.download().unwrap()].concat()
            });
        }
    }
}

#[test]
fn a_batch_longer_than_a_window_is_split() {
    let words = 4096 * DEFAULT_50[..2].len();
    for gpu in gpu_devices(false) {
        let window = adapters().iter().map(|a| a.max_binding_bytes).min().unwrap() as usize;
        let basis = Basis::new(4096, &DEFAULT_50[..2]).unwrap();
        let batch = (window / (8 * words)).min(2048) + 3;
        let round_trip = |d: &Device| {
            let mut a = coeff(d, &basis, batch, 19);
            a.mul_scalar(&[3, 5]).unwrap();
            let mut one = ntt(d, &basis, 1, 20);
            one.negate().unwrap();
            let mut a = a.into_ntt().unwrap();
            a.mul_assign(&one).unwrap();
            a.into_product(&one).unwrap().download().unwrap()
        };
        compare(&gpu, "a long batch", &basis, round_trip);
    }
}

#[test]
fn what_cannot_be_had_is_an_error() {
    let none = GpuOptions { adapter: Some("no such adapter".to_owned()), ..GpuOptions::default() };
    assert!(matches!(Device::gpu_with(&none), Err(Error::NoDevice(_))));
    for gpu in gpu_devices(false) {
        let small = Basis::new(512, &DEFAULT_50[..1]).unwrap();
        assert!(matches!(PolyBatch::<Coeff>::zeros(&gpu, &small, 1), Err(Error::Parameters(_))));
        let basis = Basis::new(65536, &DEFAULT_50[..1]).unwrap();
        assert!(matches!(PolyBatch::<Coeff>::zeros(&gpu, &basis, 1 << 40), Err(Error::TooLarge { .. })));
        let mut a = PolyBatch::<Coeff>::zeros(&gpu, &basis, 1).unwrap();
        let cpu = PolyBatch::<Coeff>::zeros(&Device::cpu(), &basis, 1).unwrap();
        assert!(matches!(a.add_assign(&cpu), Err(Error::DeviceMismatch(_))));
        let [mut s0, mut s1] = [0, 1].map(|_| PolyBatch::<Ntt>::zeros(&gpu, &basis, 2).unwrap());
        let [f0, f1] = [0, 1].map(|_| PolyBatch::<Ntt>::zeros(&gpu, &basis, 2).unwrap());
        assert!(matches!(a.mul_add_into([&mut s0, &mut s1], [&f0, &f1]), Err(Error::Shape(_))));
        assert!(matches!(f0.into_product(&PolyBatch::zeros(&gpu, &basis, 3).unwrap()), Err(Error::Shape(_))));
    }
}

/// One linear layer by BFV, both parties on one device: everything on the wire, and what is decrypted.
fn layer(device: &Device, params: &Params) -> (Vec<u8>, Vec<u32>) {
    let mut prng = Prng::from_seed_for_tests([21; 32]);
    let (rows, inner, cols, n) = (2, 3, 2, params.n());
    let secret = SecretKey::generate(params, device, &mut prng).unwrap();
    let mut wire = secret.public_key(&mut prng).unwrap().to_bytes();
    let public = PublicKey::from_bytes(params, device, &wire).unwrap();

    let messages: Vec<u32> = prng.fill(inner * cols * n);
    let sent = secret.encrypt_seeded(&messages, &mut prng).unwrap().to_bytes().unwrap();
    let received = SeededCiphertexts::from_bytes(params, device, inner * cols, &sent).unwrap();
    wire.extend(sent);
    let x = received.expand().unwrap();

    let weights: Vec<i32> = (0..rows * inner * n).map(|i| if i % n < 27 { i as i32 % 401 - 200 } else { 0 }).collect();
    let ones = vec![1; params.basis().len()];
    let w = PolyBatch::lift(device, params.basis(), &weights, &ones).unwrap().into_ntt().unwrap();
    let size = GemmShape { rows, inner, cols };
    let [c0, c1] = w.gemm([&x.c0, &x.c1], size).unwrap();
    let products = Ciphertexts { c0, c1 };
    let masks: Vec<u32> = prng.fill(rows * cols * n);
    let reply = public.reply(&products, &masks, ReplyParams { flood_bits: Some(10) }, &mut prng).unwrap();
    for half in [&reply.c0, &reply.c1] {
        wire.extend(half.download().unwrap().iter().flat_map(|r| r.to_le_bytes()));
    }
    (wire, secret.decrypt(reply.c0, reply.c1).unwrap())
}

#[test]
fn a_layer_is_the_same_on_the_wire_from_two_threads_at_once() {
    let params = Params::hom_conv();
    let expected = layer(&Device::cpu(), &params);
    for gpu in gpu_devices(false) {
        let found = std::thread::scope(|s| {
            let threads: Vec<_> = (0..2).map(|_| s.spawn(|| layer(&gpu, &params))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(found.iter().all(|f| *f == expected), "{gpu:?}");
    }
}
