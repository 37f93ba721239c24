//! The kernels on a GPU, resident: what they take once their inputs are there, against the CPU backend of this machine.
//!
//! Each figure is the median of some runs; a run enqueues calls until there is enough to time and waits once. All
//! outputs are compared with the CPU's. Limits are measured by probes on the same device: words read and written (one
//! of each a residue; for gates, the bytes of their labels and tables), and 32-bit multiply-adds (ten a butterfly, four
//! a product in a sum).

use std::time::{Duration, Instant};

use blindvox_bench::setup::{PRIMES, gates};
use blindvox_engine::RoomSize;
use blindvox_engine::aes::INSTANCES_PER_KEY;
use blindvox_engine::bfv::{Params, SecretKey};
use blindvox_engine::garble::GateHash;
use blindvox_engine::gpu::{GpuOptions, Rates, Word, adapters};
use blindvox_engine::ring::Basis;
use blindvox_engine::testing::{Case, Kernel};
use blindvox_engine::{Device, DeviceKind, GemmShape, Prng};

use super::{Args, Outcome, Row, case, check, median};

/// How much is done.
struct Scale {
    /// Polynomials of 4096 words that are resident for a transform, and calls that they may be cut into.
    polys: usize,
    calls: usize,
    /// Batch sizes of transforms.
    batches: &'static [usize],
    gemm: GemmShape,
    /// Chunks of 256 instances of a batch of gates, and AND gates of a circuit at most.
    chunks: &'static [usize],
    gates: usize,
    ciphertexts: usize,
    runs: usize,
}

const ON_A_GPU: Scale = Scale {
    polys: 8192,
    calls: 256,
    batches: &[1, 8, 64, 512, 2048, 8192],
    gemm: GemmShape { rows: 64, inner: 64, cols: 200 },
    chunks: &[1, 16, 128, 1024],
    gates: 64,
    ciphertexts: 256,
    runs: 5,
};

const ON_SOFTWARE: Scale = Scale {
    polys: 64,
    calls: 8,
    batches: &[1, 8, 64],
    gemm: GemmShape { rows: 8, inner: 8, cols: 8 },
    chunks: &[1, 16],
    gates: 2,
    ciphertexts: 8,
    runs: 3,
};

/// Multiply-adds of 32 bits a butterfly (high half 4, two low halves of 3), and a product in a sum.
const BUTTERFLY: usize = 10;
const PRODUCT: usize = 4;
/// How long a device is kept busy before something is timed.
const WARM_UP: Duration = Duration::from_millis(400);
/// Bytes a gate moves: two labels in, one out, two rows.
const GATE_BYTES: usize = 5 * 16;

/// An open device and its limits.
struct Gpu {
    device: Device,
    rates: Rates,
    variant: String,
}

impl Gpu {
    fn open(word: Word, checked: bool) -> Result<Self, Box<dyn std::error::Error>> {
        let device = Device::gpu_with(&GpuOptions { word: Some(word), checked, adapter: None })?;
        let rates = device.gpu_rates()?;
        let words = if word == Word::U64 { "u64" } else { "u32" };
        let variant = format!("{words} {}", if checked { "checked" } else { "trusted" });
        Ok(Self { device, rates, variant })
    }

    /// Brings the device to the clock that it has under load; it falls within seconds of idling.
    fn warm_up(&self) -> Outcome {
        Ok(self.device.keep_gpu_busy(WARM_UP)?)
    }

    /// Seconds of what `f` enqueues.
    fn time(&self, f: impl FnOnce() -> Outcome) -> Result<f64, Box<dyn std::error::Error>> {
        self.device.synchronize()?;
        let start = Instant::now();
        f()?;
        self.device.synchronize()?;
        Ok(start.elapsed().as_secs_f64())
    }
}

/// What an item takes and what it would at the limits.
struct Cost {
    ns: f64,
    cpu_ns: Option<f64>,
    /// Eight-byte words read and written, 32-bit multiply-adds.
    words: f64,
    multiply_adds: f64,
}

struct Table {
    rows: Vec<Row>,
    scale: &'static Scale,
    cpu: Device,
    prng: Prng,
}

/// Prints the table.
pub(super) fn run(args: &Args) -> Result<Vec<Row>, Box<dyn std::error::Error>> {
    let device = Device::gpu()?;
    let software = device.kind() == DeviceKind::SoftwareGpu;
    let scale = if software { &ON_SOFTWARE } else { &ON_A_GPU };
    let mut table = Table { rows: vec![], scale, cpu: Device::cpu(), prng: Prng::from_seed_for_tests([7; 32]) };
    println!("{}; CPU: {}", device.describe(), table.cpu.describe());
    if software {
        println!("A software device: sizes are scaled down, and its times say nothing about a GPU.");
    }
    println!(
        "{:<15} {:<21} {:>6} {:>5} {:>7} {:>12} {:>11} {:>12} {:>8} {:>7} {:>9}",
        "kernel", "variant", "n", "bits", "batch", "ns/item", "items/s", "CPU ns/item", "GPU/CPU", "memory", "multiply"
    );
    let int64 = adapters().iter().find(|a| a.unusable.is_none()).is_some_and(|a| a.int64);
    let words: &[Word] = if int64 { &[Word::U64, Word::U32] } else { &[Word::U32] };
    for (i, &word) in words.iter().enumerate() {
        for checked in [false, true] {
            let gpu = Gpu::open(word, checked)?;
            let Rates { words_copied, multiply_adds } = gpu.rates;
            println!(
                "{}: {:.1} GB/s each way, {:.2} T multiply-adds/s",
                gpu.variant,
                words_copied * 8e-9,
                multiply_adds * 1e-12
            );
            if args.wants("ntt") {
                table.transforms(&gpu, i == 0 && !checked, checked)?;
            }
            if args.wants("gemm") {
                table.gemm(&gpu, args.columns.min(scale.gemm.cols))?;
            }
            if i == 0 && !checked {
                if args.wants("gates") {
                    table.gates(&gpu)?;
                }
                if args.wants("encrypt") {
                    table.encrypt(&gpu)?;
                }
            }
        }
    }
    Ok(table.rows)
}

impl Table {
    fn row(&mut self, gpu: &Gpu, kernel: &'static str, hash: Option<GateHash>, of: (usize, u32, usize), cost: &Cost) {
        let (n, bits, batch) = of;
        let fraction = |work: f64, rate: f64| (work > 0.0).then(|| work / rate * 1e9 / cost.ns);
        let memory = fraction(cost.words, gpu.rates.words_copied);
        let multiply = fraction(cost.multiply_adds, gpu.rates.multiply_adds);
        let variant = hash.map_or(gpu.variant.clone(), |hash| format!("{} {hash}", gpu.variant));
        let ratio = cost.cpu_ns.map(|cpu| cost.ns / cpu);
        let or_dash = |x: Option<f64>| x.map_or("-".to_owned(), |x| format!("{x:.3}"));
        println!(
            "{kernel:<15} {variant:<21} {n:>6} {bits:>5} {batch:>7} {:>12.2} {:>11.3e} {:>12} {:>8} {:>7} {:>9}",
            cost.ns,
            1e9 / cost.ns,
            or_dash(cost.cpu_ns),
            or_dash(ratio),
            or_dash(memory),
            or_dash(multiply)
        );
        self.rows.push(Row {
            kernel,
            backend: "gpu",
            device: gpu.device.describe(),
            n,
            bits,
            batch,
            threads: rayon::current_num_threads(),
            ns_per_item: cost.ns,
            peer: cost.cpu_ns.map(|_| "the CPU backend, all threads"),
            peer_ns_per_item: cost.cpu_ns,
            ratio,
            limit_fraction: memory.into_iter().chain(multiply).reduce(f64::max),
            variant: Some(variant),
            memory_fraction: memory,
            multiply_fraction: multiply,
        });
    }

    /// All batch sizes and dimensions, or a few of them, of one word body.
    fn transforms(&mut self, gpu: &Gpu, dimensions: bool, short: bool) -> Outcome {
        for (bits, q) in PRIMES {
            let batches = self.scale.batches;
            let most = *batches.last().expect("some");
            let batches = if short { &[most][..] } else { batches };
            self.transform(gpu, bits, q, 4096, batches)?;
        }
        if dimensions {
            let (bits, q) = PRIMES[1];
            for n in [1024, 2048, 8192, 16384, 32768, 65536] {
                self.transform(gpu, bits, q, n, &[(self.scale.polys * 4096 / n / 4).max(1)])?;
            }
        }
        Ok(())
    }

    fn transform(&mut self, gpu: &Gpu, bits: u32, q: u64, n: usize, batches: &[usize]) -> Outcome {
        let basis = Basis::new(n, &[q])?;
        let most = batches.iter().map(|b| self.polys(*b, n)).max().unwrap_or(1);
        for name in ["ntt_forward", "ntt_inverse"] {
            let kernel = Kernel::named(name);
            let cpu = self.on_cpu(kernel, &case(&self.cpu, &basis, most))? / most as f64;
            for &batch in batches {
                let count = self.polys(batch, n);
                let times = self.on_gpu(gpu, kernel, &case(&gpu.device, &basis, batch), count / batch)?;
                let butterflies = n / 2 * n.trailing_zeros() as usize;
                let multiply_adds = (BUTTERFLY * butterflies) as f64;
                let cost = Cost { ns: times / count as f64, cpu_ns: Some(cpu), words: n as f64, multiply_adds };
                self.row(gpu, kernel.name, None, (n, bits, batch), &cost);
            }
        }
        Ok(())
    }

    /// The best of three calls, in nanoseconds.
    fn on_cpu(&self, kernel: &Kernel, case: &Case<'_>) -> Result<f64, Box<dyn std::error::Error>> {
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            let call = (kernel.prepare)(case)?;
            let start = Instant::now();
            let left = call()?;
            best = best.min(start.elapsed().as_secs_f64() * 1e9);
            drop(left);
        }
        Ok(best)
    }

    /// The median of some runs of `calls` calls each, in nanoseconds; what the first leaves is compared with the CPU's.
    fn on_gpu(
        &self,
        gpu: &Gpu,
        kernel: &Kernel,
        case: &Case<'_>,
        calls: usize,
    ) -> Result<f64, Box<dyn std::error::Error>> {
        let expected = kernel.run(&Case { device: &self.cpu, ..*case })?;
        check(kernel.run(case)? == expected, kernel.name)?;
        let prepare = || (0..calls).map(|_| (kernel.prepare)(case)).collect::<Result<Vec<_>, _>>();
        // All inputs are there before the first run, so that the device is not idle between runs.
        let runs = (0..self.scale.runs).map(|_| prepare()).collect::<Result<Vec<_>, _>>()?;
        gpu.warm_up()?;
        let mut times = vec![];
        for calls in runs {
            let mut left = vec![];
            let seconds = gpu.time(|| {
                for call in calls {
                    left.push(call()?);
                }
                Ok(())
            })?;
            times.push(seconds * 1e9);
        }
        Ok(median(times))
    }

    /// Polynomials that are resident for calls of `batch`.
    fn polys(&self, batch: usize, n: usize) -> usize {
        batch * (self.scale.polys * 4096 / n / batch).clamp(1, self.scale.calls)
    }

    fn gemm(&mut self, gpu: &Gpu, cols: usize) -> Outcome {
        let (kernel, size) = (Kernel::named("gemm"), GemmShape { cols, ..self.scale.gemm });
        let (n, items) = (4096, 2 * size.rows * size.inner * cols);
        for (bits, q) in PRIMES {
            let basis = Basis::new(n, &[q])?;
            let cpu = self.on_cpu(kernel, &Case { size, ..case(&self.cpu, &basis, 1) })? / items as f64;
            let ns = self.on_gpu(gpu, kernel, &Case { size, ..case(&gpu.device, &basis, 1) }, 1)? / items as f64;
            // Every factor and product once; each product of a sum.
            let polys = (size.rows * size.inner + 2 * size.inner * cols + 2 * size.rows * cols) as f64 / 2.0;
            let words = polys * n as f64 / items as f64;
            let multiply_adds = (PRODUCT * n) as f64;
            self.row(gpu, "gemm", None, (n, bits, items), &Cost { ns, cpu_ns: Some(cpu), words, multiply_adds });
        }
        Ok(())
    }

    fn gates(&mut self, gpu: &Gpu) -> Outcome {
        let basis = Basis::new(1024, &[PRIMES[0].1])?;
        for hash in GateHash::ALL {
            for &chunks in self.scale.chunks {
                // Tables of at most 96 MiB, below the windows of all adapters.
                let gates = ((96 << 20) / (8192 * chunks)).clamp(1, self.scale.gates);
                let room = |chunks| RoomSize { slots: 0, gates, instances: INSTANCES_PER_KEY * chunks };
                for name in ["garble_and", "evaluate_and"] {
                    let kernel = Kernel::named(&gates::named(name, hash));
                    let of = |device, chunks| Case { room: room(chunks), ..case(device, &basis, 1) };
                    let items = (gates * room(chunks).instances) as f64;
                    let ns = self.on_gpu(gpu, kernel, &of(&gpu.device, chunks), 1)? / items;
                    let cpu = self.on_cpu(kernel, &of(&self.cpu, 1))? / (gates * INSTANCES_PER_KEY) as f64;
                    // A word of the limit is read and written.
                    let cost = Cost { ns, cpu_ns: Some(cpu), words: GATE_BYTES as f64 / 16.0, multiply_adds: 0.0 };
                    self.row(gpu, name, Some(hash), (0, 128, room(chunks).instances), &cost);
                    if let Some(row) = self.rows.last_mut() {
                        row.peer = Some("one thread of the CPU");
                    }
                }
            }
        }
        check(gates::are_correct(&gpu.device)?, "gates")
    }

    /// Secrets and noise come from the CPU: what is timed is both together.
    fn encrypt(&mut self, gpu: &Gpu) -> Outcome {
        let params = Params::hom_conv();
        let batch = self.scale.ciphertexts;
        let messages: Vec<u32> = self.prng.fill(batch * params.n());
        let mut ns = [f64::INFINITY; 2];
        for (ns, device) in ns.iter_mut().zip([&gpu.device, &self.cpu]) {
            let mut prng = Prng::from_os()?;
            let key = SecretKey::generate(&params, device, &mut prng)?;
            let mut times = vec![];
            for run in 0..=self.scale.runs {
                device.synchronize()?;
                let start = Instant::now();
                let sealed = key.encrypt_seeded(&messages, &mut prng)?;
                device.synchronize()?;
                times.extend((run > 0).then_some(start.elapsed().as_nanos() as f64 / batch as f64));
                let opened = sealed.expand()?;
                let c1 = opened.c1.into_coeff()?.mod_down(1)?;
                check(key.decrypt(opened.c0.into_coeff()?.mod_down(1)?, c1)? == messages, "encrypt_seeded")?;
            }
            *ns = median(times);
        }
        let cost = Cost { ns: ns[0], cpu_ns: Some(ns[1]), words: 0.0, multiply_adds: 0.0 };
        self.row(gpu, "encrypt_seeded", None, (params.n(), 50, batch), &cost);
        Ok(())
    }
}
