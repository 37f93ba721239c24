//! Other libraries beside it, where Python has them: python-paillier (one key, no thresholds) and TenSEAL (CKKS under one
//! key that all clients share).

use std::collections::BTreeMap;
use std::process::Command;

use serde::Deserialize;

use super::{Outcome, Row};

const SCRIPT: &str = include_str!("peers.py");

/// Of one ciphertext.
#[derive(Deserialize)]
struct Times {
    encrypt: f64,
    aggregate: f64,
    combine: f64,
    bytes: usize,
    each: usize,
    checked: bool,
}

/// Rows of the libraries that `$PEERS_PYTHON`, or `python3`, has, for so many weights: seconds of a few ciphertexts on one
/// thread, times as many as the model takes.
pub(super) fn rows(modulus: usize, weights: usize, clients: usize) -> Outcome<Vec<Row>> {
    let python = std::env::var("PEERS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let sizes = [modulus.to_string(), clients.to_string()];
    let output = Command::new(&python).arg("-c").arg(SCRIPT).args(sizes).env("OMP_NUM_THREADS", "1").output();
    let output = output.map_err(|e| format!("{python}: {e}: no peers (set PEERS_PYTHON)"))?;
    if !output.status.success() {
        return Err(format!("{python}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let found: BTreeMap<String, Times> = serde_json::from_slice(&output.stdout)?;
    let mut rows = Vec::new();
    for (scheme, bits) in [("python-paillier", modulus as u32), ("tenseal", 40)] {
        let Some(times) = found.get(scheme) else {
            println!("{scheme} is not installed for {python}: no rows of it (set PEERS_PYTHON)");
            continue;
        };
        let ciphertexts = weights.div_ceil(times.each);
        for (step, each) in [("encrypt", times.encrypt), ("aggregate", times.aggregate), ("combine", times.combine)] {
            let (seconds, bytes) = (each * ciphertexts as f64, times.bytes * ciphertexts);
            println!("{scheme:15} {bits:4} {step:10} {:12.3} {bytes:14}", seconds * 1e3);
            let (paper_seconds, threads, checked) = (None, 1, times.checked);
            rows.push(Row { scheme, bits, weights, clients, step, seconds, bytes, paper_seconds, threads, checked });
        }
    }
    Ok(rows)
}
