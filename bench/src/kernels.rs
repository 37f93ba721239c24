//! The engine's kernels: one thread against peers in the same run, and batches on a whole device.
//!
//! Inputs are random, outputs are checked against a peer or another code path. Where there is a peer, runs of both
//! alternate, on as many threads and with their data aligned alike, and their medians are given. The limit is what the
//! multiplier alone allows on AVX-512 at this processor's clock, which is measured: two multiplications, or two AES
//! rounds of four blocks, a cycle and thread. A butterfly of eight points takes three of them (50 bits) or five (60), a
//! product in a sum two or three, an AES block 10/4.

mod gpu;

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use blindvox_bench::setup::{AlignedRow, DIMENSIONS, PRIMES, gates, residues};
use blindvox_engine::RoomSize;
use blindvox_engine::aes::{Aes128, INSTANCES_PER_KEY};
use blindvox_engine::bfv::{Params, SecretKey};
use blindvox_engine::garble::GateHash;
use blindvox_engine::ring::Basis;
use blindvox_engine::ring::primes::ntt_primes;
use blindvox_engine::testing;
use blindvox_engine::testing::{Body, Transform};
use blindvox_engine::testing::{Case, Fill, Kernel};
use blindvox_engine::{Device, GemmShape, Prng};
use rayon::prelude::*;
use serde::Serialize;
use tfhe_ntt::prime64::Plan;

type Outcome = Result<(), Box<dyn Error>>;

/// Options of the table.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where batches run.
    #[arg(long, value_enum, default_value_t = Place::Cpu)]
    backend: Place,
    /// Columns of the matrix product: tiles times two ciphertext halves.
    #[arg(long, default_value_t = 200)]
    columns: usize,
    /// Polynomials in a batch of transforms.
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Only these of ntt, gemm, gates, encrypt; on the CPU aes as well.
    #[arg(long, value_parser = ["ntt", "gemm", "gates", "encrypt", "aes", "tables"])]
    kernel: Vec<String>,
    /// Also writes the rows to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Args {
    fn wants(&self, kernel: &str) -> bool {
        self.kernel.is_empty() || self.kernel.iter().any(|k| k == kernel)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Place {
    Cpu,
    Gpu,
}

#[derive(Serialize)]
struct Row {
    kernel: &'static str,
    backend: &'static str,
    device: String,
    n: usize,
    bits: u32,
    batch: usize,
    threads: usize,
    /// An item is a transform, a product of two polynomials in a sum, a block, a gate or a ciphertext.
    ns_per_item: f64,
    peer: Option<&'static str>,
    peer_ns_per_item: Option<f64>,
    ratio: Option<f64>,
    limit_fraction: Option<f64>,
    /// Which of several ways: a gate's hash, a GPU's words and checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    /// On a GPU the two limits apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_fraction: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multiply_fraction: Option<f64>,
}

struct Table {
    rows: Vec<Row>,
    device: Device,
    processor: String,
    threads: usize,
    /// Cycles a nanosecond.
    clock: f64,
    prng: Prng,
    pool: Pool,
}

/// All threads, and one.
struct Pool(rayon::ThreadPool);

impl Pool {
    fn new() -> Result<Self, Box<dyn Error>> {
        Ok(Self(rayon::ThreadPoolBuilder::new().num_threads(1).build()?))
    }

    /// Nanoseconds on all threads or one, and what comes of it.
    fn timed<T: Send>(&self, all: bool, f: impl FnOnce() -> T + Send) -> (f64, T) {
        let start = Instant::now();
        let done = if all { f() } else { self.0.install(f) };
        (start.elapsed().as_nanos() as f64, done)
    }
}

/// The list's kernels on long batches.
fn case<'a>(device: &'a Device, basis: &'a Basis, batch: usize) -> Case<'a> {
    let size = GemmShape { rows: 1, inner: 1, cols: 1 };
    Case { device, basis, batch, size, room: RoomSize { slots: 0, gates: 1, instances: 1 }, fill: Fill::Uniform }
}

/// Prints the table.
pub(crate) fn run(args: Args) -> Outcome {
    let rows = match args.backend {
        Place::Cpu => on_cpu(&args)?,
        Place::Gpu => gpu::run(&args)?,
    };
    if let Some(path) = args.json {
        std::fs::write(&path, serde_json::to_string_pretty(&rows)?).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

fn on_cpu(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut table = Table {
        rows: vec![],
        device: Device::cpu(),
        processor: processor(),
        threads: rayon::current_num_threads(),
        clock: clock(),
        prng: Prng::from_seed_for_tests([7; 32]),
        pool: Pool::new()?,
    };
    println!("{}; {}; {:.2} GHz", table.processor, table.device.describe(), table.clock);
    println!(
        "{:<15} {:>8} {:>6} {:>5} {:>6} {:>8} {:>13} {:>11} {:>13} {:>6} {:>6}",
        "kernel", "variant", "n", "bits", "batch", "threads", "ns/item", "items/s", "peer ns/item", "ratio", "limit"
    );
    if args.wants("ntt") {
        table.single_transforms()?;
        table.batched_transforms(args.batch)?;
    }
    if args.wants("aes") {
        table.aes()?;
    }
    if args.wants("gates") {
        table.garbling()?;
    }
    if args.wants("gemm") {
        table.gemm(args.columns)?;
    }
    if args.wants("encrypt") {
        table.encrypt()?;
    }
    if args.wants("tables") {
        table.prime_tables()?;
    }
    Ok(table.rows)
}

/// The processor's name.
fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|l| l.starts_with(name))?;
        Some(line.split(':').nth(1)?.trim().to_owned())
    };
    let of = |name| field(name).unwrap_or_else(|| "?".to_owned());
    format!("{} family {} model {}", of("model name"), of("cpu family"), of("model\t"))
}

/// Cycles a nanosecond, from a chain of rotations and multiplications: 4 cycles a link.
fn clock() -> f64 {
    let links = 1 << 16;
    let nanoseconds = (0..50).map(|_| {
        let start = Instant::now();
        let mut x = std::hint::black_box(1u64);
        for _ in 0..links {
            x = x.rotate_left(17).wrapping_mul(0x5851_f42d_4c95_7f2d);
        }
        std::hint::black_box(x);
        start.elapsed().as_nanos() as f64
    });
    f64::from(4 * links) / nanoseconds.fold(f64::INFINITY, f64::min)
}

fn nanoseconds(repeat: usize, mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..repeat).for_each(|_| f());
    start.elapsed().as_nanos() as f64 / repeat as f64
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Medians of alternating runs.
fn paired(runs: usize, repeat: usize, mut ours: impl FnMut(), mut peer: impl FnMut()) -> (f64, f64) {
    let (mut a, mut b) = (vec![], vec![]);
    for _ in 0..runs {
        a.push(nanoseconds(repeat, &mut ours));
        b.push(nanoseconds(repeat, &mut peer));
    }
    (median(a), median(b))
}

fn check(holds: bool, what: &str) -> Outcome {
    holds.then_some(()).ok_or_else(|| format!("{what}: the result is wrong").into())
}

impl Table {
    fn residues(&mut self, q: u64, count: usize) -> Vec<u64> {
        residues(&mut self.prng, q, count)
    }

    /// Adds a row; `limit` in cycles an item and thread.
    fn row(&mut self, kernel: &'static str, (n, bits, batch): (usize, u32, usize), all: bool, times: Times) {
        let Times { ns, peer, limit, variant } = times;
        let threads = if all { self.threads } else { 1 };
        let row = Row {
            kernel,
            backend: "cpu",
            device: if all { self.device.describe() } else { self.processor.clone() },
            n,
            bits,
            batch,
            threads,
            ns_per_item: ns,
            peer: peer.map(|p| p.0),
            peer_ns_per_item: peer.map(|p| p.1),
            ratio: peer.map(|p| ns / p.1),
            limit_fraction: limit.map(|cycles| cycles / self.clock / threads as f64 / ns),
            variant,
            memory_fraction: None,
            multiply_fraction: None,
        };
        let or_dash = |x: Option<f64>| x.map_or("-".to_owned(), |x| format!("{x:.2}"));
        println!(
            "{kernel:<15} {:>8} {n:>6} {bits:>5} {batch:>6} {threads:>8} {ns:>13.2} {:>11.3e} {:>13} {:>6} {:>6}",
            row.variant.as_deref().unwrap_or("-"),
            1e9 / ns,
            or_dash(row.peer_ns_per_item),
            or_dash(row.ratio),
            or_dash(row.limit_fraction)
        );
        self.rows.push(row);
    }

    fn single_transforms(&mut self) -> Outcome {
        for (bits, q) in PRIMES {
            for n in DIMENSIONS {
                let a = self.residues(q, n);
                let (ours, scalar) = (Transform::new(Body::best(), n, q)?, Transform::new(Body::Scalar, n, q)?);
                let plan = Plan::try_new(n, q).ok_or("tfhe-ntt refuses the prime")?;
                let [mut x, mut y] = [0, 1].map(|_| AlignedRow::new(&a));
                let (x, y, mut expected) = (x.words_mut(), y.words_mut(), a.clone());
                let repeat = (1 << 15) / n;
                let (forward, peer_forward) = paired(101, repeat, || ours.forward(x), || plan.fwd(y));
                // What the timed runs left, against as many of the scalar transform.
                (0..101 * repeat).for_each(|_| scalar.forward(&mut expected));
                check(x == expected, "ntt_forward")?;
                let (inverse, peer_inverse) = paired(
                    101,
                    repeat,
                    || ours.inverse(x),
                    || {
                        plan.inv(y);
                        plan.normalize(y);
                    },
                );
                check(x == a && y == a, "ntt_inverse")?;
                let limit = (n / 16 * n.trailing_zeros() as usize) as f64 * if bits == 50 { 1.5 } else { 2.5 };
                for (kernel, ns, peer) in
                    [("ntt_forward", forward, peer_forward), ("ntt_inverse", inverse, peer_inverse)]
                {
                    let times = Times { ns, peer: Some(("tfhe-ntt", peer)), limit: Some(limit), variant: None };
                    self.row(kernel, (n, bits, 1), false, times);
                }
            }
        }
        Ok(())
    }

    /// Batches of as many words as `batch` polynomials of 4096.
    fn batched_transforms(&mut self, batch: usize) -> Outcome {
        for (bits, q) in PRIMES {
            for n in DIMENSIONS {
                self.batched(bits, q, n, (batch * 4096 / n).max(1))?;
            }
        }
        Ok(())
    }

    fn batched(&mut self, bits: u32, q: u64, n: usize, batch: usize) -> Outcome {
        let (basis, device, scalar) =
            (Basis::new(n, &[q])?, self.device.clone(), testing::cpu_with_body(Body::Scalar)?);
        let plan = Plan::try_new(n, q).ok_or("tfhe-ntt refuses the prime")?;
        let a = self.residues(q, batch * n);
        let mut peer = AlignedRow::new(&a);
        let peer = peer.words_mut();
        // Points in panels and in rows are the same.
        let kernels = ["ntt_forward", "ntt_inverse", "ntt_forward_rows", "ntt_inverse_rows"].map(Kernel::named);
        let expected = [0, 1].map(|i| kernels[i].run(&case(&scalar, &basis, batch)));
        let [forward, inverse] = expected;
        let expected = [forward?, inverse?];
        for all in [false, true] {
            let mut times = [(); 6].map(|()| vec![]);
            for _ in 0..11 {
                for (i, kernel) in kernels.iter().enumerate() {
                    let (ns, left) = self.pool.timed(all, (kernel.prepare)(&case(&device, &basis, batch))?);
                    times[i].push(ns / batch as f64);
                    check(left?()? == expected[i % 2], kernel.name)?;
                }
                let (forward, ()) = self.pool.timed(all, || peer.par_chunks_exact_mut(n).for_each(|row| plan.fwd(row)));
                let (inverse, ()) = self.pool.timed(all, || {
                    peer.par_chunks_exact_mut(n).for_each(|row| {
                        plan.inv(row);
                        plan.normalize(row);
                    });
                });
                times[4].push(forward / batch as f64);
                times[5].push(inverse / batch as f64);
                check(peer == a, "tfhe-ntt")?;
            }
            let limit = (n / 16 * n.trailing_zeros() as usize) as f64 * if bits == 50 { 1.5 } else { 2.5 };
            let [ours @ .., peer_forward, peer_inverse] = times.map(median);
            for (i, ns) in ours.into_iter().enumerate() {
                let (kernel, peer) = [("ntt_forward", peer_forward), ("ntt_inverse", peer_inverse)][i % 2];
                let variant = Some(["panels", "rows"][i / 2].to_owned());
                self.row(
                    kernel,
                    (n, bits, batch),
                    all,
                    Times { ns, peer: Some(("tfhe-ntt", peer)), limit: Some(limit), variant },
                );
            }
        }
        Ok(())
    }

    fn gemm(&mut self, cols: usize) -> Outcome {
        let (n, rows, inner) = (4096, 64, 64);
        let (size, device, kernel) = (GemmShape { rows, inner, cols }, self.device.clone(), Kernel::named("gemm"));
        for (bits, q) in PRIMES {
            let plan = Plan::try_new(n, q).ok_or("tfhe-ntt refuses the prime")?;
            let basis = Basis::new(n, &[q])?;
            let case = Case { size, ..case(&device, &basis, 1) };
            // The peer sums up one entry of the first product, which is then compared.
            let (r, c) = (rows - 1, cols / 2);
            let left = case.left_factor(r * inner..(r + 1) * inner)?.download()?;
            let right = (0..inner).map(|k| case.right_factor(k * cols + c..k * cols + c + 1)?.download());
            let right = right.collect::<Result<Vec<_>, _>>()?.concat();
            let mut entry = vec![0; n];
            for all in [false, true] {
                let (mut ours, mut peer) = (vec![], vec![]);
                for _ in 0..3 {
                    let (ns, products) = self.pool.timed(all, (kernel.prepare)(&case)?);
                    ours.push(ns / (2 * rows * inner * cols) as f64);
                    // Timed on one pair that stays in its caches: the peer has no blocking of its own to be measured
                    // by.
                    entry.fill(0);
                    peer.push(nanoseconds(inner, || plan.mul_accumulate(&mut entry, &left[..n], &right[..n])));
                    entry.fill(0);
                    left.chunks(n).zip(right.chunks(n)).for_each(|(w, x)| plan.mul_accumulate(&mut entry, w, x));
                    check(products?()?[(r * cols + c) * n..][..n] == entry, "gemm")?;
                }
                let limit = n as f64 / 8.0 * if bits == 50 { 1.0 } else { 1.5 };
                let peer = (!all).then(|| ("tfhe-ntt", median(peer)));
                let times = Times { ns: median(ours), peer, limit: Some(limit), variant: None };
                self.row("gemm", (n, bits, 2 * rows * inner * cols), all, times);
            }
        }
        Ok(())
    }

    fn aes(&mut self) -> Outcome {
        let count = 1024;
        let key: [u8; 16] = self.prng.fill::<u8>(16).try_into().expect("16 bytes");
        let (ours, peer) = (Aes128::new(u128::from_le_bytes(key)), aes::Aes128::new(&key.into()));
        let mut x: Vec<u128> = self.prng.fill(count);
        let mut y: Vec<aes::Block> = x.iter().map(|b| b.to_le_bytes().into()).collect();
        let (ns, peer) = paired(101, 50, || ours.encrypt(&mut x), || peer.encrypt_blocks(&mut y));
        check(x.iter().zip(&y).all(|(x, y)| x.to_le_bytes() == y.as_slice()), "aes")?;
        let per = |ns: f64| ns / count as f64;
        let times = Times { ns: per(ns), peer: Some(("aes", per(peer))), limit: Some(1.25), variant: None };
        self.row("aes", (0, 128, count), false, times);
        Ok(())
    }

    fn garbling(&mut self) -> Outcome {
        let (device, basis) = (self.device.clone(), Basis::new(64, &[PRIMES[0].1])?);
        let case =
            Case { room: RoomSize { slots: 0, gates: 16, instances: INSTANCES_PER_KEY }, ..case(&device, &basis, 1) };
        for hash in GateHash::ALL {
            for (name, cycles) in [("garble_and", 5.0), ("evaluate_and", 2.5)] {
                let kernel = Kernel::named(&gates::named(name, hash));
                let mut times = vec![];
                let (first, mut found) = (kernel.run(&case)?, vec![]);
                for _ in 0..501 {
                    let (ns, left) = self.pool.timed(true, (kernel.prepare)(&case)?);
                    times.push(ns / (case.room.gates * case.room.instances) as f64);
                    found = left?()?;
                }
                check(found == first, name)?;
                // The limit is that of AES rounds.
                let limit = (hash == GateHash::Aes).then_some(cycles);
                let times = Times { ns: median(times), peer: None, limit, variant: Some(hash.to_string()) };
                self.row(name, (0, 128, case.room.instances), false, times);
            }
        }
        check(gates::are_correct(&device)?, "gates")
    }

    /// The roots of a deep chain's primes, for all its levels and those joined with the primes of key switching; an
    /// item is a prime.
    fn prime_tables(&mut self) -> Outcome {
        let n = 32768;
        let [chain, special] = [(50, 12), (55, 4)].map(|(bits, count)| Basis::new(n, &ntt_primes(bits, n, count)?));
        let (chain, special, device) = (chain?, special?, Device::cpu());
        let start = Instant::now();
        for level in 1..=chain.len() {
            let level = chain.level(level)?;
            device.make_ready(&level.joined(&special)?)?;
            device.make_ready(&level)?;
        }
        let (elapsed, used) = (start.elapsed().as_nanos() as f64, device.table_use());
        let variant = Some(format!("{:.1} MB", used.bytes as f64 / 1e6));
        let times = Times { ns: elapsed / used.primes as f64, peer: None, limit: None, variant };
        self.row("prime_tables", (n, 50, used.primes), false, times);
        Ok(())
    }

    fn encrypt(&mut self) -> Outcome {
        let params = Params::hom_conv();
        let (n, batch) = (params.n(), 64);
        let mut prng = Prng::from_os()?;
        let key = SecretKey::generate(&params, &self.device, &mut prng)?;
        let messages: Vec<u32> = self.prng.fill(batch * n);
        for all in [false, true] {
            let mut times = vec![];
            for _ in 0..15 {
                let (ns, sealed) = self.pool.timed(all, || key.encrypt_seeded(&messages, &mut prng));
                times.push(ns / batch as f64);
                let opened = sealed?.expand()?;
                let c1 = opened.c1.into_coeff()?.mod_down(1)?;
                check(key.decrypt(opened.c0.into_coeff()?.mod_down(1)?, c1)? == messages, "encrypt_seeded")?;
            }
            let times = Times { ns: median(times), peer: None, limit: None, variant: None };
            self.row("encrypt_seeded", (n, 50, batch), all, times);
        }
        Ok(())
    }
}

/// Times of an item in nanoseconds, and the limit in cycles.
struct Times {
    ns: f64,
    peer: Option<(&'static str, f64)>,
    limit: Option<f64>,
    variant: Option<String>,
}
