//! What a run will cost over a link, in seconds: bytes from plans, waits from the order of messages, compute from the table of
//! [rates](crate::rates) and a short probe of this machine.

use std::time::{Duration, Instant};

use blindvox_engine::Prng;
use blindvox_models::Program;

use super::choice::{LinkSpeed, comparisons};
use super::demand;
use super::estimate::{Estimate, estimate};
use super::flights::flights;
use super::presets::{Comparison, Source, Ways};
use super::shares::preprocess::squares;
use crate::error::{Error, Result};
use crate::gc::arithmetic;
use crate::linear::Plan;
use crate::ot::LINK_WIDTH;
use crate::rates::{AND, COT, INPUT, LABEL, PAIR, PRODUCT, REPLY, SILENT, WEIGHT, WORD};
use crate::share::Ring;

/// How long the probe takes.
const PROBE: Duration = Duration::from_millis(500);
/// Set-up beside its bytes: keys, base transfers, trees.
const SETUP: Duration = Duration::from_millis(150);

/// How fast this machine is.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Its thread's time for work of the table, in the table's.
    pub slowness: f64,
    /// Threads that work on a run of both parties.
    pub threads: f64,
}

impl Probe {
    /// Makes hashed transfers for half a second, both ends at a time, and compares with the table.
    ///
    /// # Errors
    /// [`Error::Thread`].
    pub fn run() -> Result<Self> {
        const BATCH: usize = 1 << 16;
        let (mut client, mut server) = blindvox_net::channel::local_pair();
        let stop = Instant::now() + PROBE;
        let threads = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        std::thread::scope(|scope| {
            let there = std::thread::Builder::new()
                .spawn_scoped(scope, move || -> Result<()> {
                    let mut r = crate::ot::OtReceiver::setup(&mut client, &mut Prng::from_os()?)?;
                    let choices = vec![1; BATCH];
                    while client.recv_exact(1)?[0] == 1 {
                        r.cot(&mut client, &choices, Ring::FULL)?;
                    }
                    Ok(())
                })
                .map_err(|source| Error::Thread { what: "a probe", source })?;
            let mut s = crate::ot::OtSender::setup(&mut server, &mut Prng::from_os()?)?;
            let (start, mut done, values) = (Instant::now(), 0, vec![7; BATCH]);
            while Instant::now() < stop || done == 0 {
                server.send(vec![1])?;
                s.cot(&mut server, &values, Ring::FULL)?;
                done += BATCH;
            }
            let ns = start.elapsed().as_secs_f64() * 1e9 / done as f64;
            server.send(vec![0])?;
            there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            // Both ends worked beside each other, on two threads where there are as many.
            Ok(Self { slowness: ns * threads.min(2.0) / COT.ns, threads })
        })
    }
}

/// What a run costs.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// Exact.
    pub bytes: Estimate,
    /// Round trips on the longest path of messages.
    pub waits: usize,
    /// Computing of both parties, on this machine's threads.
    pub compute: Duration,
    /// All together.
    pub seconds: Duration,
}

/// A run of `program`, whose plans these are, over a link, on two machines as fast as the one that was probed.
///
/// # Errors
/// For a program that can't be encoded.
pub fn forecast(program: &Program, plans: &[Plan], ways: &Ways, link: LinkSpeed, probe: &Probe) -> Result<Forecast> {
    let bytes = estimate(program, plans, ways, LINK_WIDTH)?;
    let compute = SETUP.as_secs_f64() + work(program, plans, ways) * 1e-9 * probe.slowness / probe.threads;
    let carried = bytes.total().total() as f64 * 8.0 / link.bits_per_second;
    let waits = flights(program, ways).div_ceil(2);
    let seconds = compute.max(carried) + waits as f64 * link.round_trip.as_secs_f64();
    Ok(Forecast { bytes, waits, compute: Duration::from_secs_f64(compute), seconds: Duration::from_secs_f64(seconds) })
}

/// Nanoseconds of one thread of the table's machine.
fn work(program: &Program, plans: &[Plan], ways: &Ways) -> f64 {
    let linear: f64 = plans
        .iter()
        .map(|plan| {
            let e = plan.encoding();
            let (inputs, replies) = (e.tiles() * e.in_groups(), e.tiles() * e.out_groups());
            let products = e.tiles() * e.in_groups() * e.out_groups();
            INPUT.ns * inputs as f64
                + REPLY.ns * replies as f64
                + PRODUCT.ns * products as f64
                + WEIGHT.ns * (e.in_groups() * e.out_groups()) as f64
        })
        .sum();
    let each = if ways.ot == Source::Silent { SILENT.ns } else { COT.ns };
    let transfers: usize = demand::transfers(program, ways).iter().sum();
    let compared = program.steps.iter().filter_map(|step| comparisons(program, step)).map(|(n, bits)| {
        let circuit = |ands: f64| AND.ns * ands + LABEL.ns * f64::from(bits);
        n as f64
            * match ways.compare {
                Comparison::Transfers => WORD.ns,
                Comparison::SignSelect => circuit(f64::from(bits - 1)),
                Comparison::FullCircuit => circuit(arithmetic::relu(bits as usize).ands() as f64),
            }
    });
    linear + each * transfers as f64 + compared.sum::<f64>() + PAIR.ns * squares(program) as f64
}
