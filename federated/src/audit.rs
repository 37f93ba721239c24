//! The aggregator's log: lines of JSON, each with `prev`, the BLAKE3 hash of the line before, and signed, so that a line that
//! is changed, taken out or put in shows, and who wrote it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::message::Digest;
use crate::signing::{PublicKey, SIGNATURE, Signer};

/// What stands between a line's content and its signature.
const FIELD: &str = ",\"signature\":\"";

/// What the first line follows.
fn nothing() -> String {
    blake3::hash(b"").to_hex().to_string()
}

fn signed(content: &str) -> Vec<u8> {
    [b"blindvox federated audit ", content.as_bytes()].concat()
}

/// Appends a line to a log.
pub fn append(log: &mut String, signer: &Signer, event: &str, fields: &[(&str, Value)]) {
    let prev = log.lines().next_back().map_or_else(nothing, |line| blake3::hash(line.as_bytes()).to_hex().to_string());
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut content = Map::new();
    content.insert("event".to_owned(), event.into());
    content.insert("prev".to_owned(), prev.into());
    content.insert("time".to_owned(), time.into());
    content.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
    content.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let content = Value::Object(content).to_string();
    let signature: String = signer.sign(&signed(&content)).iter().map(|byte| format!("{byte:02x}")).collect();
    let open = content.strip_suffix('}').unwrap_or(&content);
    log.push_str(&format!("{open}{FIELD}{signature}\"}}\n"));
}

/// A digest as a line has it.
pub fn digest(digest: &Digest) -> Value {
    crate::message::shown(digest).into()
}

/// Checks a log, and that this key signed it; the number of its lines.
///
/// # Errors
/// [`Error::Input`] naming the first line that is wrong.
pub fn verify(log: &str, key: &PublicKey) -> Result<usize> {
    let mut prev = nothing();
    let mut lines = 0;
    for line in log.lines() {
        lines += 1;
        let wrong = |what: &str| Error::Input(format!("line {lines}: {what}"));
        let value: Value = serde_json::from_str(line).map_err(|_| wrong("not a line of JSON"))?;
        if value.get("prev").and_then(Value::as_str) != Some(&prev) {
            return Err(wrong("does not follow the line before: one of them was changed, taken out or put in"));
        }
        let (open, signature) = line.rsplit_once(FIELD).ok_or_else(|| wrong("not signed"))?;
        let signature = signature.strip_suffix("\"}").and_then(bytes).ok_or_else(|| wrong("not signed"))?;
        if !key.verifies(&signed(&format!("{open}}}")), &signature) {
            return Err(wrong("its signature is not by the aggregator's key"));
        }
        prev = blake3::hash(line.as_bytes()).to_hex().to_string();
    }
    Ok(lines)
}

fn bytes(hex: &str) -> Option<[u8; SIGNATURE]> {
    let digits = hex.as_bytes().as_chunks::<2>().0;
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes = digits.iter().map(byte).collect::<Option<Vec<u8>>>()?;
    bytes.try_into().ok().filter(|_| hex.len() == 2 * SIGNATURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_show_in_the_first_line_that_is_wrong() {
        let (signer, other) = (Signer::from_seed(&[1; 32]), Signer::from_seed(&[2; 32]));
        let mut log = String::new();
        for round in 1..=3 {
            append(&mut log, &signer, "plan", &[("round", round.into()), ("base", digest(&[7; 32]))]);
        }
        assert_eq!(verify(&log, &signer.public()).unwrap(), 3);
        assert_eq!(verify("", &signer.public()).unwrap(), 0);
        let error = |log: &str, key: &Signer| verify(log, &key.public()).unwrap_err().to_string();
        assert!(error(&log, &other).contains("line 1: its signature"));
        assert!(error(&log.replacen("\"round\":2", "\"round\":9", 1), &signer).contains("line 2: its signature"));
        let lines: Vec<&str> = log.lines().collect();
        assert!(error(&[lines[0], lines[2]].join("\n"), &signer).contains("line 2: does not follow"));
        assert!(error(&lines[1..].join("\n"), &signer).contains("line 1: does not follow"));
        assert!(error(&log[..log.len() - 4], &signer).contains("line 3"));
    }
}
