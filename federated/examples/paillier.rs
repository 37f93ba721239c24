//! What Paillier's steps cost for a model, three clients and three holders of whom two open, on every body of this
//! processor, in seconds and in processor time:
//!
//!     cargo run --release -p blindvox-federated --example paillier [WEIGHTS] [BITS]

use std::fs;
use std::time::Instant;

use blindvox_engine::Prng;
use blindvox_engine::bigint::Body;
use blindvox_federated::Result;
use blindvox_federated::scheme::paillier::answer::answer;
use blindvox_federated::scheme::paillier::combine::open_by;
use blindvox_federated::scheme::paillier::dealer::ceremony;
use blindvox_federated::scheme::paillier::encrypt::{Packing, aggregate, seal};
use blindvox_federated::scheme::paillier::proof::{Statement, prove, verify};

/// Bits of a weight; a sum of three has two more.
const WEIGHT: u32 = 16;

fn processor_time() -> f64 {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let spent = tasks.map(|task| fs::read_to_string(task.path().join("schedstat")).unwrap_or_default());
    spent.filter_map(|text| text.split(' ').next()?.parse::<f64>().ok()).sum::<f64>() * 1e-9
}

fn timed<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let (start, spent) = (Instant::now(), processor_time());
    let done = work()?;
    println!("{name:22} {:8.2} s {:8.2} s", start.elapsed().as_secs_f64(), processor_time() - spent);
    Ok(done)
}

fn main() -> Result<()> {
    let number = |i: usize, default: usize| std::env::args().nth(i).and_then(|n| n.parse().ok()).unwrap_or(default);
    let (weights, bits) = (number(1, 400_000), number(2, 2048));
    let prng = &mut Prng::from_os()?;
    let (mut key, shares) = timed("ceremony", || ceremony(bits, 2, 3, prng))?;
    let clients: Vec<Vec<u32>> =
        (0..3).map(|_| prng.fill::<u32>(weights).iter().map(|weight| weight >> (32 - WEIGHT)).collect()).collect();
    let sums: Vec<u32> = (0..weights).map(|i| clients.iter().map(|client| client[i]).sum()).collect();
    println!("{weights} weights of {WEIGHT} bits, n of {bits} bits; {:13} elapsed, processor", "");
    for body in Body::available() {
        key = key.with_body(body)?;
        let packing = Packing::new(&key, WEIGHT + 2)?;
        println!("{body:?}");
        seal(&key, &packing, &[0], prng)?;
        let first = timed("  encrypt", || seal(&key, &packing, &clients[0], prng))?;
        let mut sum = first;
        for client in &clients[1..] {
            let sealed = seal(&key, &packing, client, prng)?;
            timed("  aggregate", || aggregate(&key, &mut sum, &sealed))?;
        }
        let one = timed("  answer", || answer(&key, &shares[0], &sum))?;
        let two = answer(&key, &shares[1], &sum)?;
        let opened = timed("  combine", || Ok(open_by(&key, &packing, &[(1, &one), (2, &two)], weights)))?;
        assert!(opened.is_ok_and(|opened| *opened == sums), "the sums of what was sealed");
        let statement = Statement { context: b"", point: 1, ciphertexts: &sum, answers: &one };
        let proof = timed("  prove", || prove(&key, &shares[0], &statement, prng))?;
        timed("  verify", || verify(&key, &statement, &proof))?;
    }
    Ok(())
}
