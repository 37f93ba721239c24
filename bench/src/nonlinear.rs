//! Non-linear protocols at scale: both parties as two threads of this process over the local channel.
//!
//! A time is from the moment both parties start to the moment the later one is done, the better of two runs; bytes are
//! both ways together; results are checked. The bound is what the kernels alone would take on all cores by the table of
//! [`rates`](blindvox_protocols::rates).

use std::error::Error;
use std::path::PathBuf;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use blindvox_engine::ring::sampler::fill_residues;
use blindvox_engine::{Device, Prng};
use blindvox_net::channel::{Channel, Party, local_pair};
use blindvox_protocols::Result;
use blindvox_protocols::convert::convert;
use blindvox_protocols::correlations::HeSource;
use blindvox_protocols::gc::{Garbling, arithmetic, modular};
use blindvox_protocols::infer::Source;
use blindvox_protocols::nonlinear::multiply::multiply;
use blindvox_protocols::nonlinear::square::square;
use blindvox_protocols::nonlinear::{Comparison, Nonlinear};
use blindvox_protocols::ot::silent::B11;
use blindvox_protocols::peer::{Link, Peer};
use blindvox_protocols::rates::{AND, COT, LABEL, PAIR, SILENT, TRIPLE, WORD};
use blindvox_protocols::share::{P, Ring};
use serde::Serialize;

use crate::process;

/// Options of the table.
#[derive(clap::Args)]
pub struct Args {
    /// Elements of every operation.
    #[arg(long, default_value_t = 1 << 20)]
    elements: usize,
    /// Only this operation.
    #[arg(long)]
    op: Option<String>,
    /// Also writes the rows to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Row {
    op: &'static str,
    bits: u32,
    /// How it compares, if it does.
    comparison: Option<&'static str>,
    /// What makes its transfers.
    ot: &'static str,
    elements: usize,
    ns_per_element: f64,
    /// Time on processors, of all threads of both parties.
    cpu_ns_per_element: f64,
    bytes_per_element: f64,
    /// Round trips as the client counts them, of all elements.
    rounds: u64,
    bound_ns_per_element: f64,
    peak_memory_bytes: u64,
    /// Of the peak, what came on top of the inputs: the results of both parties and all that is on the way.
    beyond_inputs_bytes: u64,
    backend: &'static str,
}

fn setup() -> Result<[Peer; 2]> {
    let make = |party: Party, channel: Channel| -> Result<Peer> {
        let mut peer = Peer::setup(party, channel, Prng::from_os()?)?.garbling(Garbling::default())?;
        peer.source = Box::new(HeSource::setup(&mut peer, &Device::cpu())?);
        Ok(peer)
    };
    let (client, server) = local_pair();
    std::thread::scope(|scope| {
        let server = scope.spawn(move || make(Party::Server, server));
        let client = make(Party::Client, client)?;
        Ok([client, server.join().expect("the server's thread")?])
    })
}

/// One run of both halves.
struct Run<T> {
    results: [T; 2],
    time: Duration,
    cpu: u64,
    bytes: u64,
    rounds: u64,
}

/// Runs both halves from one moment on.
fn time<T: Send>(sides: &mut [Peer; 2], half: impl Fn(&mut Peer) -> Result<T> + Sync) -> Result<Run<T>> {
    let barrier = Barrier::new(2);
    let run = |side: &mut Peer| {
        let before = side.channel.stats().total;
        barrier.wait();
        let (start, cpu) = (Instant::now(), process::threads_cpu_ns());
        let result = half(side);
        let end = Instant::now();
        // Until both have counted, neither thread may end.
        barrier.wait();
        let cpu = process::threads_cpu_ns().saturating_sub(cpu);
        barrier.wait();
        let traffic = side.channel.stats().total - before;
        Ok::<_, blindvox_protocols::Error>((result?, start, end, traffic, cpu))
    };
    let [client, server] = sides;
    std::thread::scope(|scope| {
        let server = scope.spawn(|| run(server));
        let client = run(client)?;
        let server = server.join().expect("the server's thread")?;
        let time = client.2.max(server.2) - client.1.min(server.1);
        Ok(Run {
            results: [client.0, server.0],
            time,
            cpu: client.4.max(server.4),
            bytes: client.3.sent + server.3.sent,
            rounds: client.3.rounds,
        })
    })
}

/// Values of `bits` bits and the parties' shares of them mod 2^32.
fn shared(count: usize, bits: u32) -> Result<(Vec<i32>, [Vec<u32>; 2])> {
    let mut prng = Prng::from_os()?;
    let (client, mut values): (Vec<u32>, Vec<i32>) = (prng.fill(count), prng.fill(count));
    let bound = (1i64 << (bits - 1)) - 1;
    values.iter_mut().for_each(|x| *x = (i64::from(*x as u32) % (2 * bound + 1) - bound) as i32);
    let server = values.iter().zip(&client).map(|(&x, c)| (x as u32).wrapping_sub(*c)).collect();
    Ok((values, [client, server]))
}

/// A line of the process's status in bytes: VmRSS is its memory now, VmHWM its largest since the last reset; 0 where
/// the system does not say.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

fn mine(party: Party, shares: &[Vec<u32>; 2]) -> &[u32] {
    &shares[usize::from(party == Party::Server)]
}

/// Random choices.
fn choices(count: usize) -> Result<Vec<u8>> {
    Ok(Prng::from_os()?.fill::<u8>(count).into_iter().map(|b| b & 1).collect())
}

/// Values behind shares, one by one: a check needs no memory.
fn opened<'a>(ring: Ring, client: &'a [u32], server: &'a [u32]) -> impl Iterator<Item = i64> + 'a {
    client.iter().zip(server).map(move |(&c, &s)| ring.to_signed(ring.add(c, s)))
}

/// Columns of values mod [`P`] from both parties' shares.
fn open<const N: usize>(client: [&[u32]; N], server: [&[u32]; N]) -> [Vec<u32>; N] {
    let ring = Ring::Prime(P);
    std::array::from_fn(|i| client[i].iter().zip(server[i]).map(|(&c, &s)| ring.add(c, s)).collect())
}

type Outcome = std::result::Result<(), Box<dyn Error>>;

/// Prints the table.
pub fn run(args: Args) -> Outcome {
    println!(
        "{:<22} {:>5} {:>9} {:>11} {:>14} {:>9} {:>14} {:>9} {:>17}",
        "operation",
        "bits",
        "elements",
        "ns/element",
        "CPU ns/element",
        "bound ns",
        "bytes/element",
        "peak MiB",
        "beyond inputs MiB"
    );
    let mut table = Table {
        sides: setup()?,
        n: args.elements,
        only: args.op,
        comparison: None,
        ot: Source::SoftSpoken,
        rows: vec![],
    };
    table.labels()?;
    table.cot()?;
    table.convert()?;
    for (op, kind) in [("relu_sign_select", Comparison::SignSelect), ("relu", Comparison::FullCircuit)] {
        table.relu(op, kind, 16)?;
        table.relu(op, kind, 32)?;
    }
    table.relu_mod_p("relu_sign_select_mod_p", Comparison::SignSelect)?;
    table.relu_mod_p("relu_mod_p", Comparison::FullCircuit)?;
    table.max8()?;
    // The difference of two scores of 31 bits fills shares of 32; without a spare bit only the full circuit will do.
    table.argmax3("argmax3", Comparison::SignSelect, 31)?;
    table.argmax3("argmax3_full", Comparison::FullCircuit, 32)?;
    table.square_pairs()?;
    table.square()?;
    table.beaver()?;
    for ot in [Source::SoftSpoken, Source::Silent] {
        if ot == Source::Silent {
            table.go_silent()?;
            table.cot()?;
        }
        table.relu("relu_transfers", Comparison::Transfers, 16)?;
        table.relu("relu_transfers", Comparison::Transfers, 32)?;
        table.argmax3("argmax3_transfers", Comparison::Transfers, 31)?;
        table.convert()?;
    }
    if let Some(path) = args.json {
        std::fs::write(&path, serde_json::to_string_pretty(&table.rows)?)
            .map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

struct Table {
    sides: [Peer; 2],
    n: usize,
    only: Option<String>,
    comparison: Option<Comparison>,
    ot: Source,
    rows: Vec<Row>,
}

impl Table {
    /// Makes all transfers that follow silently.
    fn go_silent(&mut self) -> Outcome {
        self.ot = Source::Silent;
        let start = |peer: &mut Peer| {
            let Link { party, channel, ot, prng } = &mut peer.link;
            ot.go_silent(*party, channel, prng, [Some(&B11); 2])
        };
        time(&mut self.sides, start)?;
        Ok(())
    }

    fn wants(&self, op: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == op)
    }

    /// Times an operation twice, checks both results, and adds and prints the row of the faster run; `bound` in thread
    /// ns.
    fn measure<T: Send>(
        &mut self,
        (op, bits, bound): (&'static str, u32, f64),
        half: impl Fn(&mut Peer) -> Result<T> + Sync,
        check: impl Fn(&[T; 2]) -> bool,
    ) -> Outcome {
        process::reset_peak_memory();
        let before = memory("VmRSS");
        let mut run = || {
            let run = time(&mut self.sides, &half)?;
            let wrong = || Box::<dyn Error>::from(format!("{op} of {bits} bits: a wrong result"));
            if check(&run.results) { Ok((run.time, run.cpu, run.bytes, run.rounds)) } else { Err(wrong()) }
        };
        let comparison = self.comparison.take();
        let (time, cpu, bytes, rounds) = run()?.min(run()?);
        let peak = memory("VmHWM");
        let each = |ns: u64| ns as f64 / self.n as f64;
        let row = Row {
            op,
            bits,
            comparison: comparison.map(Comparison::name),
            ot: self.ot.name(),
            elements: self.n,
            ns_per_element: each(time.as_nanos() as u64),
            cpu_ns_per_element: each(cpu),
            bytes_per_element: each(bytes),
            rounds,
            bound_ns_per_element: bound / process::cores() as f64,
            peak_memory_bytes: peak,
            beyond_inputs_bytes: peak.saturating_sub(before),
            backend: "cpu",
        };
        println!(
            "{:<22} {:>5} {:>9} {:>11.1} {:>14.1} {:>9.1} {:>14.1} {:>9} {:>17}",
            row.op,
            row.bits,
            row.elements,
            row.ns_per_element,
            row.cpu_ns_per_element,
            row.bound_ns_per_element,
            row.bytes_per_element,
            row.peak_memory_bytes >> 20,
            row.beyond_inputs_bytes >> 20
        );
        self.rows.push(row);
        Ok(())
    }

    fn labels(&mut self) -> Outcome {
        if !self.wants("label_cot") {
            return Ok(());
        }
        let n = self.n;
        let bits = choices(n)?;
        self.measure(
            ("label_cot", 128, LABEL.ns),
            |Peer { link: Link { party, channel, ot, .. }, .. }| match party {
                Party::Server => ot.send.labels(channel, n),
                Party::Client => ot.recv.labels(channel, &bits),
            },
            |[active, zero]| {
                let delta = |i: usize| active[i] ^ zero[i];
                let first = (0..n).find(|&i| bits[i] == 1).map(delta);
                (0..n).all(|i| if bits[i] == 1 { Some(delta(i)) == first } else { delta(i) == 0 })
            },
        )
    }

    /// Correlated transfers of words, by whatever makes transfers.
    fn cot(&mut self) -> Outcome {
        if !self.wants("cot") {
            return Ok(());
        }
        let bits = choices(self.n)?;
        let correlations: Vec<u32> = Prng::from_os()?.fill(self.n);
        self.measure(
            ("cot", 32, self.transfer()),
            |Peer { link: Link { party, channel, ot, .. }, .. }| match party {
                Party::Server => ot.send.cot(channel, &correlations, Ring::FULL),
                Party::Client => ot.recv.cot(channel, &bits, Ring::FULL),
            },
            |[r, s]| {
                correlations
                    .iter()
                    .zip(&bits)
                    .enumerate()
                    .all(|(i, (&x, &b))| r[i].wrapping_add(s[i]) == x * u32::from(b))
            },
        )
    }

    fn convert(&mut self) -> Outcome {
        if !self.wants("convert") {
            return Ok(());
        }
        let (values, shares) = shared(self.n, 18)?;
        let low = shares.map(|s| s.into_iter().map(|x| x & 0xf_ffff).collect::<Vec<_>>());
        self.measure(
            ("convert", 20, COT.ns),
            |peer| convert(peer, mine(peer.party, &low).into(), 20, Ring::FULL),
            |[c, s]| opened(Ring::FULL, c, s).eq(values.iter().map(|&x| i64::from(x))),
        )
    }

    /// Thread nanoseconds of a transfer.
    fn transfer(&self) -> f64 {
        if self.ot == Source::Silent { SILENT.ns } else { COT.ns }
    }

    fn relu(&mut self, op: &'static str, kind: Comparison, bits: u32) -> Outcome {
        if !self.wants(op) {
            return Ok(());
        }
        self.comparison = Some(kind);
        let (values, shares) = shared(self.n, bits)?;
        let k = f64::from(bits);
        let bound = match kind {
            Comparison::SignSelect => (k - 1.0) * AND.ns + k * LABEL.ns + 2.0 * COT.ns,
            Comparison::Transfers => WORD.ns + (k + 10.0) * self.transfer(),
            _ => 3.0 * (k - 1.0) * AND.ns + k * LABEL.ns + if bits < 32 { COT.ns } else { 0.0 },
        };
        self.measure(
            (op, bits, bound),
            |peer| Nonlinear::new(kind).relu(peer, mine(peer.party, &shares), Ring::Pow2(bits)),
            |[c, s]| opened(Ring::FULL, c, s).zip(&values).all(|(y, &x)| y == i64::from(x.max(0))),
        )
    }

    /// Of shares mod the prime of the squares.
    fn relu_mod_p(&mut self, op: &'static str, kind: Comparison) -> Outcome {
        if !self.wants(op) {
            return Ok(());
        }
        let ring = Ring::Prime(P);
        let mut prng = Prng::from_os()?;
        let mut shares = [vec![0; self.n], vec![0; self.n]];
        shares.iter_mut().for_each(|s| fill_residues(&mut prng, P, s));
        let bound = match kind {
            Comparison::SignSelect => 32.0 * (AND.ns + LABEL.ns) + 2.0 * COT.ns,
            _ => modular::relu(P).ands() as f64 * AND.ns + 32.0 * LABEL.ns,
        };
        self.measure(
            (op, 32, bound),
            |peer| Nonlinear::new(kind).relu(peer, mine(peer.party, &shares), ring),
            |[c, s]| opened(ring, c, s).zip(opened(ring, &shares[0], &shares[1])).all(|(y, x)| y == x.max(0)),
        )
    }

    fn max8(&mut self) -> Outcome {
        if !self.wants("max8") {
            return Ok(());
        }
        let (values, shares) = shared(8 * self.n, 16)?;
        let kind = Comparison::SignSelect;
        self.measure(
            ("max8", 16, 7.0 * (16.0 * AND.ns + 17.0 * LABEL.ns + 2.0 * COT.ns)),
            |peer| Nonlinear::new(kind).max_pool(peer, mine(peer.party, &shares), 8, Ring::Pow2(16)),
            |[c, s]| {
                opened(Ring::FULL, c, s)
                    .zip(values.chunks(8))
                    .all(|(y, w)| w.iter().all(|&x| i64::from(x) <= y) && w.iter().any(|&x| i64::from(x) == y))
            },
        )
    }

    fn argmax3(&mut self, op: &'static str, kind: Comparison, bits: u32) -> Outcome {
        if !self.wants(op) {
            return Ok(());
        }
        self.comparison = Some(kind);
        let n = self.n;
        let (values, shares) = shared(3 * n, bits)?;
        let k = f64::from(bits);
        let bound = match kind {
            Comparison::Transfers => 2.0 * (WORD.ns + (k + 10.0) * self.transfer()),
            Comparison::SignSelect => (2.0 * k + 1.0) * AND.ns + 2.0 * (k + 2.0) * LABEL.ns + 2.0 * COT.ns,
            _ => arithmetic::argmax(3, bits as usize).ands() as f64 * AND.ns + 3.0 * k * LABEL.ns,
        };
        let first_greatest = |v: usize| (0..3).rev().max_by_key(|c| values[c * n + v]);
        self.measure(
            (op, bits, bound),
            |peer| Nonlinear::new(kind).argmax(peer, mine(peer.party, &shares), 3, Ring::Pow2(bits)),
            |[labels, nothing]| {
                let right = |l: &Vec<u8>| l.iter().enumerate().all(|(v, &l)| first_greatest(v) == Some(l.into()));
                nothing.is_none() && labels.as_ref().is_some_and(right)
            },
        )
    }

    fn square_pairs(&mut self) -> Outcome {
        if !self.wants("square_pairs") {
            return Ok(());
        }
        let n = self.n;
        self.measure(
            ("square_pairs", 32, PAIR.ns),
            |peer| peer.square_pairs(n),
            |[c, s]| {
                let [a, a2] = open(c.shares(), s.shares());
                a.iter().zip(&a2).all(|(&a, &a2)| Ring::Prime(P).mul(a, a) == a2)
            },
        )
    }

    /// Products of shared values, with the making of the triples.
    fn beaver(&mut self) -> Outcome {
        if !self.wants("beaver") {
            return Ok(());
        }
        let (n, mut prng) = (self.n, Prng::from_os()?);
        let mut vector = || {
            let mut shares = [vec![0; n], vec![0; n]];
            shares.iter_mut().for_each(|s| fill_residues(&mut prng, P, s));
            shares
        };
        let (x, y) = (vector(), vector());
        let opened = open([&x[0], &y[0]], [&x[1], &y[1]]);
        let expected: Vec<u32> = opened[0].iter().zip(&opened[1]).map(|(&x, &y)| Ring::Prime(P).mul(x, y)).collect();
        self.measure(
            ("beaver", 32, TRIPLE.ns),
            |peer| {
                let triples = peer.triples(n)?;
                multiply(peer, triples, mine(peer.party, &x).into(), mine(peer.party, &y).into())
            },
            |[c, s]| open([&c[..]], [&s[..]])[0] == expected,
        )
    }

    /// With the making of the pairs.
    fn square(&mut self) -> Outcome {
        const SHIFT: u32 = 10;
        if !self.wants("square") {
            return Ok(());
        }
        let (n, ring) = (self.n, Ring::Prime(P));
        let mut prng = Prng::from_os()?;
        let values: Vec<i64> =
            prng.fill::<u16>(n).into_iter().map(|x| i64::from(x) - (1 << 15)).map(|x| x.max(-32767)).collect();
        let client: Vec<u32> = prng.fill::<u32>(n).into_iter().map(|x| ring.mask(x)).collect();
        let server = values.iter().zip(&client).map(|(&x, &c)| ring.sub(ring.from_signed(x), c)).collect();
        let shares = [client, server];
        self.measure(
            ("square", 16, PAIR.ns + 2.0 * COT.ns),
            |peer| {
                let pairs = peer.square_pairs(n)?;
                square(peer, pairs, mine(peer.party, &shares).into(), SHIFT)
            },
            |[c, s]| {
                let within_one = |(y, x): (i64, &i64)| ((y << SHIFT) - x * x).abs() <= 1 << SHIFT;
                opened(Ring::FULL, c, s).zip(&values).all(within_one)
            },
        )
    }
}
