//! CKKS and BFV operation by operation, each result decrypted and compared.
//!
//! Beside the times stand what the transforms alone predict, (digits + 2)(limbs + special primes) for a key switch at the
//! time of one transform in the same run. `--peers` runs other libraries beside them; what is only published is marked
//! so.

mod bfv;
mod peers;

use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use blindvox_engine::ckks::{Complex, Encoder, Evaluator, LinearMap, Params, Rotations, SecretKey};
use blindvox_engine::{Device, Ntt, PolyBatch, Prng};
use serde::Serialize;

pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// Options of the table.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the operations run.
    #[arg(long, value_enum, default_value_t = Place::Cpu)]
    backend: Place,
    /// Threads of the CPU.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Ring dimensions.
    #[arg(long, value_delimiter = ',', default_values_t = [8192, 16384, 32768])]
    n: Vec<usize>,
    /// Leaves out the matrix of 1024 x 1024, whose plaintexts take 0.3 GB.
    #[arg(long)]
    small: bool,
    /// Other libraries beside it, on one thread: the crate `fhe` (feature `peers`), OpenFHE where Python has it.
    #[arg(long)]
    peers: bool,
    /// Also writes the rows to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Place {
    Cpu,
    Gpu,
}

/// A measured operation.
#[derive(Serialize)]
pub(crate) struct Row {
    scheme: &'static str,
    op: &'static str,
    n: usize,
    limbs: usize,
    special: usize,
    ms: f64,
    threads: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted_ms: Option<f64>,
    peer: Option<&'static str>,
    peer_ms: Option<f64>,
    ratio: Option<f64>,
    /// Of SEAL with HEXL, on another machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    published_ms: Option<f64>,
    checked: bool,
}

/// Rows as they come.
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    pub(crate) device: Device,
    threads: usize,
    peers: peers::Times,
}

impl Table {
    /// Adds and prints a row.
    pub(crate) fn row(
        &mut self,
        of: (&'static str, &'static str),
        sizes: [usize; 3],
        ms: f64,
        predicted: Option<f64>,
        checked: bool,
    ) {
        let ((scheme, op), [n, limbs, special]) = (of, sizes);
        let prediction = predicted.map(|p| format!("{p:9.3} predicted")).unwrap_or_default();
        let mark = if checked { "" } else { "  NOT RIGHT" };
        let (threads, predicted_ms) = (self.threads, predicted);
        let (peer, peer_ms) = self.peers.get(&of).copied().unzip();
        let ratio = peer_ms.map(|peer_ms| ms / peer_ms);
        let published_ms = peers::published(of, n);
        let beside = peer.zip(ratio).map(|(peer, ratio)| format!("  {ratio:.3} of {peer}")).unwrap_or_default();
        let published = published_ms.map(|ms| format!("  ({ms} ms published of SEAL+HEXL)")).unwrap_or_default();
        println!(
            "{scheme:5} {op:28} n = {n:5}, {limbs:2} + {special} limbs {ms:9.3} ms {prediction}{beside}{published}{mark}"
        );
        let row = Row {
            scheme,
            op,
            n,
            limbs,
            special,
            ms,
            threads,
            predicted_ms,
            peer,
            peer_ms,
            ratio,
            published_ms,
            checked,
        };
        self.rows.push(row);
    }
}

/// The median of the times of a few runs, in milliseconds.
pub(crate) fn median<T>(mut run: impl FnMut() -> Result<T, Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    black_box(run()?);
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < 5 || (start.elapsed().as_secs_f64() < 0.5 && times.len() < 200) {
        let start = Instant::now();
        let result = black_box(run()?);
        times.push(start.elapsed().as_secs_f64() * 1e3);
        drop(result);
    }
    times.sort_unstable_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// A result once the device has made it.
pub(crate) fn synced<T>(device: &Device, value: T) -> Result<T, Box<dyn Error>> {
    device.synchronize()?;
    Ok(value)
}

/// The time of a transform of one limb, in milliseconds.
pub(crate) fn transform(device: &Device, params: &blindvox_engine::rlwe::Params) -> Result<f64, Box<dyn Error>> {
    let (basis, mut held) = (params.basis(), None::<PolyBatch<Ntt>>);
    held.replace(PolyBatch::uniform(device, basis, &[1; 16], 0, 1)?);
    let both = median(|| {
        let x = held.take().expect("a polynomial").into_coeff()?.into_ntt()?;
        device.synchronize()?;
        held = Some(x);
        Ok(())
    })?;
    Ok(both / 2.0 / basis.len() as f64)
}

/// The sets of the rows: 4, 8 and 15 limbs as peers are measured at.
fn params(n: usize) -> Result<Params, Box<dyn Error>> {
    let builder = |n, limbs: usize, bits, special: &[u32]| {
        Params::builder(n).chain(bits, &vec![bits; limbs - 1]).special(special)
    };
    Ok(match n {
        8192 => builder(n, 4, 43, &[42]).scale(40).bound(1.0).build()?,
        16384 => builder(n, 8, 43, &[43; 2]).scale(40).bound(1.0).build()?,
        32768 => builder(n, 15, 48, &[49; 3]).scale(45).bound(1.0).build()?,
        _ => return Err(format!("n = {n}: 8192, 16384 or 32768").into()),
    })
}

/// Runs the table.
pub(crate) fn run(args: Args) -> Outcome {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.threads).build()?;
    let json = args.json.clone();
    let rows = pool.install(|| table(&args).map_err(|e| e.to_string()))?;
    if let Some(path) = json {
        std::fs::write(path, serde_json::to_string_pretty(&rows)?)?;
    }
    let wrong = rows.iter().filter(|row| !row.checked).count();
    if wrong > 0 { Err(format!("{wrong} rows are not right").into()) } else { Ok(()) }
}

fn table(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let device = match args.backend {
        Place::Cpu => Device::cpu(),
        Place::Gpu => Device::gpu()?,
    };
    println!("{}", device.describe());
    let mut table = Table { rows: Vec::new(), device, threads: args.threads, peers: peers::Times::new() };
    for &n in &args.n {
        if args.peers {
            table.peers.clear();
            peers::openfhe(&params(n)?, &mut table.peers);
            peers::fhe(&bfv::params(n)?, &mut table.peers)?;
        }
        operations(&mut table, &params(n)?)?;
        bfv::operations(&mut table, n)?;
    }
    table.peers.clear();
    for size in if args.small { vec![128] } else { vec![128, 1024] } {
        matrix(&mut table, size)?;
    }
    Ok(table.rows)
}

fn values(count: usize) -> Vec<f64> {
    (0..count).map(|i| ((i * 7919 % 10007) as f64 / 5003.5 - 1.0).clamp(-1.0, 1.0)).collect()
}

fn operations(table: &mut Table, params: &Params) -> Outcome {
    let device = table.device.clone();
    let (mut prng, level) = (Prng::from_os()?, params.basis().len());
    let sizes = [params.n(), level, params.special().map_or(0, |p| p.len())];
    let key = SecretKey::generate(params, &device, &mut prng)?;
    let steps: Vec<i64> = (1..=8).collect();
    let request = Rotations::exact(&steps).request(params, level).relinearisation(level);
    let eval = Evaluator::new(params, &device, key.eval_keys(&request, &mut prng)?)?;
    let (encoder, x) = (Encoder::new(params), values(params.slots()));
    let text = encoder.real(&x, params.scale())?;
    let a = key.encrypt(&text, &mut prng)?;
    let one = transform(&device, params)?;
    let switch = one * ((params.digits(level) + 2) * (level + sizes[2])) as f64;
    let right =
        |y: &blindvox_engine::ckks::Ciphertext, expected: &dyn Fn(usize) -> f64| -> Result<bool, Box<dyn Error>> {
            let expected: Vec<Complex> = (0..x.len()).map(|i| expected(i).into()).collect();
            Ok(key.decrypt(y)?.stats(&expected)?.largest < 12.0 * y.error())
        };

    let ms = median(|| Ok(encoder.real(&x, params.scale())?))?;
    table.row(("ckks", "encode"), sizes, ms, None, right(&a, &|i| x[i])?);
    let ms = median(|| Ok(key.encrypt(&text, &mut prng)?))?;
    table.row(("ckks", "encrypt"), sizes, ms, Some(one * 2.0 * level as f64), right(&a, &|i| x[i])?);
    let low = eval.drop_to(&a, 1)?;
    let ms = median(|| Ok(key.decrypt(&low)?))?;
    table.row(("ckks", "decrypt"), sizes, ms, None, right(&low, &|i| x[i])?);
    let sum = eval.add(&a, &a)?;
    let ms = median(|| synced(&device, eval.add(&a, &a)?))?;
    table.row(("ckks", "add"), sizes, ms, None, right(&sum, &|i| 2.0 * x[i])?);
    let product = || eval.multiply_rescale(&a, &sum);
    let ms = median(|| synced(&device, product()?))?;
    let checked = right(&product()?, &|i| 2.0 * x[i] * x[i])?;
    table.row(("ckks", "multiply_relinearise_rescale"), sizes, ms, Some(switch), checked);
    let ms = median(|| synced(&device, eval.rotate(&a, 1)?))?;
    table.row(("ckks", "rotate"), sizes, ms, Some(switch), right(&eval.rotate(&a, 1)?, &|i| x[(i + 1) % x.len()])?);
    let many = || eval.rotate_many(&eval.hoist(&a)?, &steps);
    let ms = median(|| synced(&device, many()?))? / 8.0;
    let checked = right(&many()?[4], &|i| x[(i + 5) % x.len()])?;
    let hoisted = one * (2 * (level + sizes[2])) as f64 + (switch - one * (2 * (level + sizes[2])) as f64) / 8.0;
    table.row(("ckks", "hoisted_rotate"), sizes, ms, Some(hoisted), checked);
    Ok(())
}

fn matrix(table: &mut Table, size: usize) -> Outcome {
    let (device, params) = (table.device.clone(), params(8192)?);
    let (mut prng, level) = (Prng::from_os()?, 3);
    let sizes = [params.n(), level, params.special().map_or(0, |p| p.len())];
    let matrix: Vec<f64> = values(size * size).iter().map(|w| w / size as f64).collect();
    let map = LinearMap::from_matrix(size, &matrix)?;
    let key = SecretKey::generate(&params, &device, &mut prng)?;
    let keys = key.eval_keys(&map.rotations().request(&params, level), &mut prng)?;
    let (eval, x) = (Evaluator::new(&params, &device, keys)?, values(size));
    let encoder = Encoder::new(&params).with_slots(size)?;
    let a = eval.drop_to(&key.encrypt(&encoder.real(&x, params.scale())?, &mut prng)?, level)?;
    let prepared = map.prepare(&params, &device, (level, a.scale()), (a.scale(), 1))?;
    let y = eval.linear(&a, &prepared)?;
    let expected: Vec<Complex> =
        matrix.chunks_exact(size).map(|row| row.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>().into()).collect();
    let checked = key.decrypt(&y)?.stats(&expected)?.largest < 12.0 * y.error();
    let ms = median(|| synced(&device, eval.linear(&a, &prepared)?))?;
    table.row(("ckks", if size == 128 { "matrix_vector_128" } else { "matrix_vector_1024" }), sizes, ms, None, checked);
    Ok(())
}
