//! The kernels on a GPU, resident: what they take once their inputs are there, against the CPU backend of this machine.
//!
//! Each figure is the median of some runs; a run enqueues calls until there is enough to time and waits once. All outputs are compared
//! with the CPU's. Limits are measured by probes on the same device: words read and written (one of each a residue; for gates, the bytes of
//! their labels and tables), and 32-bit multiply-adds (ten a butterfly, four a product in a sum).

use std::time::{Duration, Instant};

use blindvox_bench::setup::{PRIMES, factors, residues};
use blindvox_engine::backend::RoomSize;
use blindvox_engine::bfv::{Params, SecretKey};
use blindvox_engine::garble::{AndInputs, GateHash, GateKeys};
use blindvox_engine::gpu::{GpuOptions, Rates, Word, adapters};
use blindvox_engine::ring::Basis;
use blindvox_engine::{Coeff, Device, DeviceKind, GemmShape, PolyBatch, Prng};

use super::{Args, Outcome, Row, check, median};

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
pub fn run(args: &Args) -> Result<Vec<Row>, Box<dyn std::error::Error>> {
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
        let a = residues(&mut self.prng, q, most * n);
        let (mut cpu, mut expected) = ([f64::INFINITY; 2], vec![]);
        for _ in 0..3 {
            let x = PolyBatch::<Coeff>::upload(&self.cpu, &basis, &a)?;
            let start = Instant::now();
            let x = x.into_ntt()?;
            cpu[0] = cpu[0].min(start.elapsed().as_secs_f64() * 1e9 / most as f64);
            expected = x.download()?;
            let start = Instant::now();
            x.into_coeff()?;
            cpu[1] = cpu[1].min(start.elapsed().as_secs_f64() * 1e9 / most as f64);
        }
        for &batch in batches {
            let count = self.polys(batch, n);
            let (mut forward, mut inverse) = (vec![], vec![]);
            let parts = a[..count * n].chunks(batch * n);
            let mut coefficients =
                parts.map(|a| PolyBatch::<Coeff>::upload(&gpu.device, &basis, a)).collect::<Result<Vec<_>, _>>()?;
            for run in 0..=self.scale.runs {
                if run == 1 {
                    gpu.warm_up()?;
                }
                let mut points = Vec::with_capacity(coefficients.len());
                let seconds = gpu.time(|| {
                    for x in coefficients.drain(..) {
                        points.push(x.into_ntt()?);
                    }
                    Ok(())
                })?;
                forward.extend((run > 0).then_some(seconds * 1e9 / count as f64));
                if run == 0 {
                    for (x, expected) in points.iter().zip(expected.chunks(batch * n)) {
                        check(x.download()? == expected, "ntt_forward")?;
                    }
                }
                let seconds = gpu.time(|| {
                    for x in points.drain(..) {
                        coefficients.push(x.into_coeff()?);
                    }
                    Ok(())
                })?;
                inverse.extend((run > 0).then_some(seconds * 1e9 / count as f64));
            }
            // As many times there and back as were timed.
            for (x, a) in coefficients.iter().zip(a.chunks(batch * n)) {
                check(x.download()? == a, "ntt_inverse")?;
            }
            for (kernel, times, cpu) in [("ntt_forward", forward, cpu[0]), ("ntt_inverse", inverse, cpu[1])] {
                let butterflies = n / 2 * n.trailing_zeros() as usize;
                let multiply_adds = (BUTTERFLY * butterflies) as f64;
                let cost = Cost { ns: median(times), cpu_ns: Some(cpu), words: n as f64, multiply_adds };
                self.row(gpu, kernel, None, (n, bits, batch), &cost);
            }
        }
        Ok(())
    }

    /// Polynomials that are resident for calls of `batch`.
    fn polys(&self, batch: usize, n: usize) -> usize {
        batch * (self.scale.polys * 4096 / n / batch).clamp(1, self.scale.calls)
    }

    fn gemm(&mut self, gpu: &Gpu, cols: usize) -> Outcome {
        let size = GemmShape { cols, ..self.scale.gemm };
        let (n, items) = (4096, size.rows * size.inner * cols);
        for (bits, q) in PRIMES {
            let basis = Basis::new(n, &[q])?;
            let (w, x) = factors(&self.cpu, &basis, size)?;
            let (mut cpu, mut expected) = (f64::INFINITY, vec![]);
            for _ in 0..3 {
                let start = Instant::now();
                let [y] = w.gemm([&x], size)?;
                cpu = cpu.min(start.elapsed().as_secs_f64() * 1e9 / items as f64);
                expected = y.download()?;
            }
            let (w, x) = factors(&gpu.device, &basis, size)?;
            let mut times = vec![];
            for run in 0..=self.scale.runs {
                if run == 1 {
                    gpu.warm_up()?;
                }
                let mut y = None;
                let seconds = gpu.time(|| {
                    y = Some(w.gemm([&x], size)?);
                    Ok(())
                })?;
                times.extend((run > 0).then_some(seconds * 1e9 / items as f64));
                let [y] = y.ok_or("a product")?;
                check(run > 0 || y.download()? == expected, "gemm")?;
            }
            // Every factor and product once; each product of a sum.
            let polys = (size.rows * size.inner + size.inner * cols + size.rows * cols) as f64 / 2.0;
            let words = polys * n as f64 / items as f64;
            let multiply_adds = (PRODUCT * n) as f64;
            let cost = Cost { ns: median(times), cpu_ns: Some(cpu), words, multiply_adds };
            self.row(gpu, "gemm", None, (n, bits, items), &cost);
        }
        Ok(())
    }

    fn gates(&mut self, gpu: &Gpu) -> Outcome {
        for hash in GateHash::ALL {
            for &chunks in self.scale.chunks {
                // Tables of at most 96 MiB, below the windows of all adapters.
                let gates = ((96 << 20) / (8192 * chunks)).clamp(1, self.scale.gates);
                self.gate_batch(gpu, hash, chunks, gates)?;
            }
        }
        Ok(())
    }

    /// Gates of two fresh inputs, no one another's input, over all instances.
    fn gate_batch(&mut self, gpu: &Gpu, hash: GateHash, chunks: usize, gates: usize) -> Outcome {
        let size = RoomSize { slots: 4, gates, instances: 256 * chunks };
        let delta = self.prng.fill::<u128>(1)[0] | 1;
        let inputs: [Vec<u128>; 2] = [0, 1].map(|_| self.prng.fill(size.instances));
        let mut keys = GateKeys::new(hash, &[1; 32], "bench");
        keys.next_gates(gates * chunks);

        // The first chunk on one thread of the CPU, timed, is also what the device must give.
        let none = vec![0; 256];
        let [a, b] = [0, 1].map(|i| &inputs[i][..256]);
        let operands = AndInputs { a: [a, &none], b: [b, &none], sum: &none };
        let (mut out, mut active) = (vec![0; 256], vec![0; 256]);
        let mut rows = vec![[0; 16]; 512 * gates];
        let (mut cpu, mut cpu_evaluate) = (vec![], vec![]);
        for _ in 0..51 {
            let start = Instant::now();
            for (gate, rows) in rows.chunks_mut(512).enumerate() {
                keys.garble_and(gate, delta, operands, [false; 2], &mut out, rows);
            }
            cpu.push(start.elapsed().as_nanos() as f64 / (256 * gates) as f64);
            let start = Instant::now();
            for (gate, rows) in rows.chunks(512).enumerate() {
                keys.evaluate_and(gate, operands, rows, &[], &mut active);
            }
            cpu_evaluate.push(start.elapsed().as_nanos() as f64 / (256 * gates) as f64);
        }

        let mut batch = blindvox_engine::GateRoom::new(&gpu.device, hash, size)?;
        batch.set_keys(&keys)?;
        batch.write(1, &inputs[0])?;
        batch.write(2, &inputs[1])?;
        let items = (gates * size.instances) as f64;
        let (mut garble, mut evaluate) = (vec![], vec![]);
        for run in 0..=self.scale.runs {
            if run == 1 {
                gpu.warm_up()?;
            }
            let seconds = gpu.time(|| {
                (0..gates).try_for_each(|g| batch.garble_and(g, delta, [1, 0, 2, 0, 0], [false; 2], 3))?;
                Ok(batch.start()?)
            })?;
            garble.extend((run > 0).then_some(seconds * 1e9 / items));
            // On zero labels, which are those of the values zero.
            let zero = batch.read(3)?;
            let seconds = gpu.time(|| {
                (0..gates).try_for_each(|g| batch.evaluate_and(g, [1, 0, 2, 0, 0], 3))?;
                Ok(batch.start()?)
            })?;
            evaluate.extend((run > 0).then_some(seconds * 1e9 / items));
            check(zero[..256] == out && batch.read(3)? == zero && active == out, "garble_and and evaluate_and")?;
        }
        check(batch.tables()?[..rows.len()] == rows, "garble_and")?;
        for (kernel, times, cpu) in [("garble_and", garble, cpu), ("evaluate_and", evaluate, cpu_evaluate)] {
            // A word of the limit is read and written.
            let words = GATE_BYTES as f64 / 16.0;
            let cost = Cost { ns: median(times), cpu_ns: Some(median(cpu)), words, multiply_adds: 0.0 };
            self.row(gpu, kernel, Some(hash), (0, 128, size.instances), &cost);
        }
        if let [.., garble, evaluate] = &mut self.rows[..] {
            (garble.peer, evaluate.peer) = (Some("one thread of the CPU"), Some("one thread of the CPU"));
        }
        Ok(())
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
