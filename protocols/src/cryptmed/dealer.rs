//! The dealer: what it hears is [`super::hello`] and numbers, what it says are seeds and corrections.

use blindvox_engine::Prng;
use blindvox_net::channel::Channel;
use blindvox_net::{Code, Refusal};

use super::end::{send, to_words};
use super::hello;
use super::memory::memory;
use super::plan::{MAX_ROWS, Plan};
use super::source::{correction, matrix};
use super::streams::{Seed, Streams, Words};
use crate::error::{Error, Result};

/// Deals for one service and one client until the service is gone, within so many bytes of memory.
///
/// # Errors
/// [`Error::Protocol`], [`Error::Model`] for an architecture or runs that are not possible, [`Error::Refused`] for such that
/// take too much; the channels'.
pub fn deal(mut to_client: Channel, mut to_server: Channel, prng: &mut Prng, most: u64) -> Result<()> {
    let seen = to_server.recv()?;
    let (program, terms) = hello::decode(&seen)?;
    let mut plan = Plan::new(&program, 1, terms)?;
    fits(&plan, most)?;
    let mut seed = || {
        let mut seed = Seed::default();
        prng.fill_bytes(&mut *seed);
        seed
    };
    let (client, server) = (seed(), seed());
    for (channel, seed) in [(&mut to_client, &client), (&mut to_server, &server)] {
        channel.send(hello::digest(&seen).to_vec())?;
        channel.send(seed.to_vec())?;
    }
    let matrices: Vec<Words> =
        plan.maps().enumerate().map(|(layer, (map, _))| matrix(&server, layer, map.weights())).collect();
    let mut last = 0;
    loop {
        // The server going away is how a session ends.
        let request = match to_server.recv() {
            Ok(request) => request,
            Err(blindvox_net::Error::Connection(_)) => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        let words = to_words(&request)?;
        let [run, 0, rows, 0] = words[..] else {
            return Err(Error::protocol(format!("a request of {} bytes where 16 were expected", request.len())));
        };
        if run <= last || !(1..=MAX_ROWS).contains(&(rows as usize)) {
            return Err(Error::protocol(format!("run {run} of {rows} rows after run {last}")));
        }
        last = run;
        if plan.rows != rows as usize {
            plan = Plan::new(&program, rows as usize, terms)?;
            fits(&plan, most)?;
        }
        let (theirs, ours) = (Streams::new(&client, run.into()), Streams::new(&server, run.into()));
        for (at, item) in plan.items().iter().enumerate() {
            let message = correction(at, item, &plan, [&theirs, &ours], &matrices);
            // A server that is gone has all it wants.
            match send(&mut to_server, message) {
                Err(Error::Connection(_)) => return Ok(()),
                other => other?,
            }
        }
    }
}

fn fits(plan: &Plan, most: u64) -> Result<()> {
    let [_, _, needed] = memory(plan);
    if needed <= most {
        return Ok(());
    }
    let (rows, [needed, most]) = (plan.rows, [needed, most].map(|bytes| bytes.div_ceil(1 << 20)));
    let text =
        format!("{rows} rows at once need about {needed} MiB at the dealer, which gives {most} MiB; fewer would fit");
    Err(Error::Refused(Refusal::new(Code::TooLarge, text)))
}
