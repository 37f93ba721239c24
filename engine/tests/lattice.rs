//! Every parameter set against the cost of the primal attack, estimated by `scripts/lattice.py`.

use std::path::Path;
use std::process::Command;

use blindvox_engine::bfv::Params;
use blindvox_engine::ring::sampler::NOISE_SIGMA;
use blindvox_engine::rlwe::params::SECURITY_TABLE;

/// The block size and the bits of the estimate; none, said aloud, where there is no Python.
fn estimate(n: usize, log2_q: f64) -> Option<(u32, f64)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/lattice.py");
    let arguments = [n.to_string(), log2_q.to_string(), NOISE_SIGMA.to_string()];
    let output = match Command::new("python3").arg(script).args(arguments).output() {
        Ok(output) => output,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "python3, which continuous integration must have: {error}");
            eprintln!("SKIPPED: no python3 to estimate with: {error}");
            return None;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let (beta, bits) = text.trim().split_once(' ').expect("two numbers");
    Some((beta.parse().expect("a block size"), bits.parse().expect("bits")))
}

/// Block sizes and bits that were found by hand with the same formulas.
#[test]
fn parameter_sets_withstand_the_primal_attack() {
    let paper = Params::paper_2048(1 << 20).expect("by name");
    let sets = [(Params::hom_conv(), 371, 140.7), (Params::square_pairs(), 553, 194.8), (paper, 289, 115.7)];
    for (params, beta, bits) in sets {
        let Some(found) = estimate(params.n(), params.basis().log2_q()) else { return };
        let what = format!("{}: {found:?}", params.describe());
        assert!(found.0.abs_diff(beta) <= 3 && (found.1 - bits).abs() < 1.0, "{what}");
        assert_eq!(found.1 >= 128.0, params.is_128_bit(), "{what}");
    }
}

/// The table's limits are where 128 bits end, by this attack within a few bits on the safe side.
#[test]
fn the_table_s_limits_are_at_128_bits() {
    for (n, log2_q) in SECURITY_TABLE.into_iter().filter(|(n, _)| (2048..=8192).contains(n)) {
        let Some((_, bits)) = estimate(n, f64::from(log2_q)) else { return };
        assert!((128.0..136.0).contains(&bits), "n = {n}, log2 Q = {log2_q}: {bits}");
        let Some((_, beyond)) = estimate(n, f64::from(log2_q) * 1.1) else { return };
        assert!(beyond < bits - 5.0, "{beyond}");
    }
}
