//! Federated averaging step by step, each scheme's averages checked against `plain`'s to the bit, beside the figures of the
//! published system: 400,000 weights, 60 threads.

mod peers;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use blindvox_engine::{Device, Prng};
use blindvox_federated::codec::{Decoder, Encoder, Update};
use blindvox_federated::local::plan;
use blindvox_federated::plan::{Averaged, Plan, SchemeKind};
use blindvox_federated::scheme::dealt::Dealt;
use blindvox_federated::scheme::paillier::dealer;
use blindvox_federated::scheme::paillier::keys::{KeyShare, PublicKey};
use blindvox_federated::scheme::plain::Plain;
use blindvox_federated::scheme::rlwe::{Rlwe, Terms};
use blindvox_federated::scheme::{Fields, Scheme};
use serde::Serialize;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Options of the table.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Schemes.
    #[arg(long, value_delimiter = ',', default_value = "plain,rlwe,paillier")]
    scheme: Vec<Choice>,
    /// Weights of the model.
    #[arg(long, default_value_t = 400_000)]
    weights: usize,
    /// Clients, all of them holders up to 16.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(3..=1024))]
    clients: u32,
    /// Bits of Paillier's key: 2048 (112-bit security) or 3072 (128).
    #[arg(long, default_value_t = 2048)]
    modulus: usize,
    /// Times that each step is run; the fastest counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Also other libraries that Python has: python-paillier, TenSEAL.
    #[arg(long)]
    peers: bool,
    /// Also writes the rows to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Choice {
    Plain,
    Rlwe,
    Paillier,
}

impl Choice {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Rlwe => "rlwe",
            Self::Paillier => "paillier",
        }
    }
}

/// A step of a scheme.
#[derive(Serialize)]
struct Row {
    scheme: &'static str,
    bits: u32,
    weights: usize,
    clients: usize,
    step: &'static str,
    seconds: f64,
    bytes: usize,
    paper_seconds: Option<f64>,
    threads: usize,
    checked: bool,
}

/// An update that is made as it is read.
struct Made(u64);

impl Update for Made {
    fn read(&self, _: usize, first: usize, out: &mut [f64]) {
        for (i, x) in out.iter_mut().enumerate() {
            let mut word = (self.0 << 40) ^ (first + i) as u64;
            word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            *x = (word >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
        }
    }
}

/// The fastest of some runs, and what the last came to.
fn fastest<T>(runs: usize, mut run: impl FnMut() -> Outcome<T>) -> Outcome<(f64, T)> {
    let mut best: Option<(f64, T)> = None;
    for _ in 0..runs.max(1) {
        let begun = Instant::now();
        let done = run()?;
        let seconds = begun.elapsed().as_secs_f64();
        best = Some((best.map_or(seconds, |(before, _)| before.min(seconds)), done));
    }
    best.ok_or_else(|| "no runs".into())
}

struct Bench<'a> {
    args: &'a Args,
    plan: Plan,
    members: usize,
    threshold: usize,
    points: usize,
    /// The dealer's key and its shares, for Paillier.
    dealt: Option<(Arc<PublicKey>, Vec<Arc<KeyShare>>)>,
}

/// Seconds and bytes of the four steps, and the averages.
struct Steps {
    rows: [(&'static str, f64, usize, Option<f64>); 4],
    averages: Vec<Vec<f64>>,
}

impl Bench<'_> {
    /// The scheme as the holder at a point has it.
    fn scheme(&self, choice: Choice, point: usize) -> Outcome<Box<dyn Scheme>> {
        let fields = self.plan.fields();
        Ok(match choice {
            Choice::Plain => Box::new(Plain { fields }),
            Choice::Rlwe => {
                let (uploads, width) = (self.members, self.plan.width(self.members));
                let (threshold, points, seed) = (self.threshold, self.points, [7; 16]);
                let terms = Terms { uploads, width, fields, threshold, points, seed };
                Box::new(Rlwe::new(&Device::cpu(), terms)?)
            }
            Choice::Paillier => {
                let (key, shares) = self.dealt.as_ref().ok_or("a dealer's key")?;
                Box::new(Dealt::new(key, Some(&shares[point - 1]), self.plan.width(self.members), fields)?)
            }
        })
    }

    fn steps(&self, choice: Choice) -> Outcome<Steps> {
        let (scheme, runs) = (self.scheme(choice, 1)?, self.args.runs);
        let lengths = scheme.lengths();
        let mut prng = Prng::from_os()?;
        let mut upload = |client: u64| {
            let update = Made(client);
            let encoder = Encoder::new(&self.plan, &update, 1 + client % 7)?;
            let fill = |at: usize, row: &mut [u32]| encoder.fill(at, row);
            Ok(scheme.upload(&Fields { len: self.plan.fields(), fill: &fill }, &mut prng)?)
        };
        let (encrypt, first) = fastest(runs, || upload(0))?;
        let (mut sum, mut aggregate) = (Vec::new(), f64::MAX);
        let mut shares: Vec<Vec<_>> = vec![Vec::new(); self.points];
        for client in 0..self.members as u64 {
            let made = if client == 0 { None } else { Some(upload(client)?) };
            let made = made.as_ref().unwrap_or(&first);
            let begun = Instant::now();
            scheme.accumulate(&mut sum, &made.ciphertexts)?;
            // The first is copied.
            aggregate = if client == 0 { aggregate } else { aggregate.min(begun.elapsed().as_secs_f64()) };
            shares.iter_mut().zip(&made.shares).for_each(|(all, share)| all.push(share.clone()));
        }
        let closed = scheme.close(&sum)?;
        let mut drawn = prng.fork("answers");
        let mut part = |point: usize| {
            let shares: Vec<&[u8]> = shares[point - 1].iter().map(|share| &share[..]).collect();
            Ok(self.scheme(choice, point)?.answer(point, &shares, &closed, &mut drawn)?)
        };
        let (answer, _) = fastest(runs, || part(1))?;
        let parts = (1..=self.threshold).map(|point| Ok((point, part(point)?))).collect::<Outcome<Vec<_>>>()?;
        let parts: Vec<(usize, &[u8])> = parts.iter().map(|(point, part)| (*point, &part[..])).collect();
        let (combine, averages) = fastest(runs, || {
            let mut averages = vec![vec![0.0; self.args.weights]];
            let mut decoder = Decoder::new(&self.plan, self.members, &mut averages);
            scheme.combine(&sum, self.members, &parts, &mut |at, row| decoder.take(at, row))?;
            decoder.finish()?;
            Ok(averages)
        })?;
        let rows = [
            ("encrypt", encrypt, lengths.ciphertexts, Some(60.0)),
            ("aggregate", aggregate * self.members as f64, sum.len(), Some(1.0)),
            ("answer", answer, lengths.part, Some(60.0)),
            ("combine", combine, sum.len(), None),
        ];
        Ok(Steps { rows, averages })
    }
}

/// Prints the table.
pub(crate) fn run(args: Args) -> Outcome<()> {
    let members = args.clients as usize;
    let points = members.min(16);
    let threshold = points / 2 + 1;
    println!(
        "{:8} {:>4} {:10} {:>12} {:>14} {:>10} {:>10}",
        "scheme", "bits", "step", "ms", "bytes", "paper, s", "times"
    );
    let mut rows = Vec::new();
    for &choice in &args.scheme {
        // Paillier as published: 16 bits a weight.
        let bits = if choice == Choice::Paillier { 16 } else { Plan::widest(members, 3) };
        let tensors = vec![Averaged { name: "weights".to_owned(), elements: args.weights as u64, clip: 1.0 }];
        let plan = plan(SchemeKind::Rlwe, bits, [0; 32], tensors, 7);
        let dealt = (choice == Choice::Paillier).then(|| {
            let (key, shares) = dealer::ceremony(args.modulus, threshold, points, &mut Prng::from_os()?)?;
            println!("paillier computes by {:?} here", key.body());
            Ok::<_, Box<dyn Error>>((Arc::new(key), shares.into_iter().map(Arc::new).collect()))
        });
        let bits = if choice == Choice::Paillier { args.modulus as u32 } else { bits };
        let bench = Bench { args: &args, plan, members, threshold, points, dealt: dealt.transpose()? };
        let expected = bench.steps(Choice::Plain)?.averages;
        let steps = bench.steps(choice)?;
        let bits_of = |all: &[Vec<f64>]| all.iter().flatten().map(|x| x.to_bits()).collect::<Vec<_>>();
        let checked = bits_of(&steps.averages) == bits_of(&expected);
        for (step, seconds, bytes, paper) in steps.rows {
            // The published system is for its own number of weights.
            let paper_seconds = paper.map(|s: f64| s * args.weights as f64 / 4e5);
            let times = paper_seconds.map_or(f64::NAN, |s| s / seconds);
            let (name, ms, paper) = (choice.name(), seconds * 1e3, paper_seconds.unwrap_or(f64::NAN));
            let note = if checked { "" } else { "  NOT RIGHT" };
            println!("{name:8} {bits:4} {step:10} {ms:12.3} {bytes:14} {paper:10.1} {times:10.0}{note}");
            rows.push(Row {
                scheme: name,
                bits,
                weights: args.weights,
                clients: members,
                step,
                seconds,
                bytes,
                paper_seconds,
                threads: rayon::current_num_threads(),
                checked,
            });
        }
    }
    println!(
        "The paper's seconds are those of 60 threads, scaled to the weights; its decryption is answer and combine together."
    );
    println!("Aggregate is all clients' uploads; each other step is one party's.");
    if args.peers {
        println!("Peers: a few ciphertexts on one thread, times those of the model; neither has thresholds.");
        rows.extend(peers::rows(args.modulus, args.weights, members)?);
    }
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&rows)?)?;
    }
    match rows.iter().find(|row| !row.checked) {
        Some(row) => Err(format!("{}'s averages are not those of plain", row.scheme).into()),
        None => Ok(()),
    }
}
