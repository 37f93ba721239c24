//! What the primes of a deep chain cost: their roots once, whatever levels and joined bases are in use. The one test of
//! its process, whose resident set it looks at.

use blindvox_engine::ring::primes::ntt_primes;
use blindvox_engine::{Basis, Device};

const N: usize = 32768;
/// Primes of the chain, and of key switching beside it.
const CHAIN: usize = 12;
const SPECIAL: usize = 4;
/// Bytes of tables, at most: 40 MB.
const LIMIT: usize = 40_000_000;

/// The resident set in bytes, where the system says.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<usize>().ok()? << 10)
}

/// Every level and every level joined with the special primes.
fn bases() -> Vec<Basis> {
    let [chain, special] =
        [(50, CHAIN), (55, SPECIAL)].map(|(bits, count)| Basis::new(N, &ntt_primes(bits, N, count).unwrap()).unwrap());
    let levels = (1..=CHAIN).map(|l| chain.level(l).unwrap());
    levels.flat_map(|level| [level.joined(&special).unwrap(), level]).collect()
}

#[test]
fn a_deep_chain_takes_the_memory_of_its_primes() {
    let device = Device::cpu();
    let before = resident();
    let bases = bases();
    bases.iter().for_each(|basis| device.make_ready(basis).unwrap());
    let used = device.table_use();
    assert_eq!((bases.len(), used.primes), (2 * CHAIN, CHAIN + SPECIAL));
    assert!(used.bytes <= LIMIT, "{} bytes of tables", used.bytes);
    if let (Some(before), Some(after)) = (before, resident()) {
        assert!(after.saturating_sub(before) <= LIMIT, "{} bytes more resident", after - before);
    }
}
