//! What a silent transfer takes: both ends on one thread, every set, hashes left out.
//!
//! `cargo run --release -p blindvox-protocols --example silent`

use std::time::Instant;

use blindvox_engine::Prng;
use blindvox_net::channel::{Party, local_pair};
use blindvox_protocols::Result;
use blindvox_protocols::ot::silent::{SETS, Set};
use blindvox_protocols::peer::Link;

/// Iterations timed, after one that fills the stock.
const ITERATIONS: usize = 4;

fn main() -> Result<()> {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("the first use of the pool");
    SETS.iter().try_for_each(measure)
}

fn measure(set: &'static Set) -> Result<()> {
    let (client, server) = local_pair();
    let half = |party: Party, channel| -> Result<f64> {
        let mut link = Link::setup(party, channel, Prng::from_os()?)?;
        let Link { channel, ot, prng, .. } = &mut link;
        ot.go_silent(party, channel, prng, [Some(set), None])?;
        // Whole words, so that every call takes an iteration.
        let each = set.usable() / 128 * 128;
        let mut start = Instant::now();
        for iteration in 0..=ITERATIONS {
            match party {
                Party::Server => drop(ot.send.labels(channel, each)?),
                Party::Client => drop(ot.recv.labels(channel, &vec![0; each])?),
            }
            if iteration == 0 {
                start = Instant::now();
            }
        }
        Ok(start.elapsed().as_secs_f64() * 1e9 / (ITERATIONS * each) as f64)
    };
    let (client, server) = std::thread::scope(|scope| {
        let server = scope.spawn(|| half(Party::Server, server));
        (half(Party::Client, client), server.join().expect("no panic"))
    });
    println!("{}: {:.1} ns for both ends of a transfer", set.name, client?.max(server?));
    Ok(())
}
