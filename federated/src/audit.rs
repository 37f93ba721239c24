//! Logs: lines of JSON, each with `prev`, the BLAKE3 hash of the line before, and signed, so that a line that is changed,
//! taken out or put in shows, and who wrote it. The aggregator keeps one and each member one of its own; what they say of one
//! round must be the same.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::message::Digest;
use crate::roster::{AGGREGATOR, MemberId, Roster};
use crate::signing::{PublicKey, SIGNATURE, Signer};
use crate::store::Store;

/// The file of a log.
const FILE: &str = "audit.jsonl";

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
            return Err(wrong("its signature is not by the key of the lines before, or of nobody in the roster"));
        }
        prev = blake3::hash(line.as_bytes()).to_hex().to_string();
    }
    Ok(lines)
}

/// Writes a log's file where it lags behind the state that it was written with.
pub(crate) fn keep(store: &mut dyn Store, log: &str) -> Result<()> {
    let there = store.get(FILE)?.unwrap_or_default();
    if there == log.as_bytes() { Ok(()) } else { store.put(FILE, log.as_bytes()) }
}

/// What a line says that others' lines say too: round, attempt and what; its number and the value.
type Facts = BTreeMap<(u64, u64, String), (usize, String)>;

/// A log that was checked.
#[derive(Debug)]
pub struct Log {
    /// Who signed it.
    pub of: MemberId,
    /// Its lines.
    pub lines: usize,
    /// Rounds that did not end as they should.
    pub remarks: Vec<String>,
    facts: Facts,
}

impl Log {
    /// Checks a log, and that one of the federation signed all of it.
    ///
    /// # Errors
    /// Those of [`verify`], and [`Error::Input`] for two lines that contradict each other.
    pub fn read(roster: &Roster, text: &str) -> Result<Self> {
        let first = text.lines().next().unwrap_or_default();
        let people = (0..roster.members.len() as MemberId).chain([AGGREGATOR]);
        let of = people.into_iter().find(|id| roster.person(*id).is_some_and(|p| verify(first, &p.key).is_ok()));
        let of = of.unwrap_or(AGGREGATOR);
        let lines = verify(text, &roster.person(of).unwrap_or(&roster.aggregator).key)?;
        let mut log = Self { of, lines, remarks: Vec::new(), facts: Facts::new() };
        for (i, line) in text.lines().enumerate() {
            log.note(i + 1, &serde_json::from_str(line).unwrap_or_default())?;
        }
        Ok(log)
    }

    fn note(&mut self, number: usize, line: &Value) -> Result<()> {
        let count = |name: &str| line.get(name).and_then(Value::as_u64).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (round, attempt) = (count("round"), count("attempt"));
        let event = line.get("event").map(text).unwrap_or_default();
        if matches!(&event[..], "given up" | "differ") {
            self.remarks.push(format!("line {number}: round {round}, attempt {attempt}: {event}"));
        }
        let one = |name: &str| line.get(name).map(|value| (name.to_owned(), text(value)));
        let own = line.get("upload").map(|value| (format!("upload of {}", text(&line["member"])), text(value)));
        let uploads = line.get("uploads").and_then(Value::as_object);
        let uploads = uploads.into_iter().flatten().map(|(name, value)| (format!("upload of {name}"), text(value)));
        let facts = ["plan", "base", "set", "model"].into_iter().filter_map(one).chain(own).chain(uploads);
        for (what, value) in facts {
            let (before, said) =
                self.facts.entry((round, attempt, what.clone())).or_insert_with(|| (number, value.clone()));
            if *said != value {
                let lines = format!("lines {before} and {number}");
                return Err(Error::Input(format!("{lines} differ in the {what} of round {round}, attempt {attempt}")));
            }
        }
        Ok(())
    }

    /// Compares what two logs say of the same rounds; how many facts both have.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first in which they differ, and the lines.
    pub fn compare(&self, other: &Self, roster: &Roster) -> Result<usize> {
        let mut common = 0;
        for (key, (line, value)) in &self.facts {
            let Some((there, found)) = other.facts.get(key) else { continue };
            if found != value {
                let (round, attempt, what) = key;
                let [a, b] = [(self.of, line, value), (other.of, there, found)]
                    .map(|(of, line, value)| format!("{}'s line {line} has {:.16}", roster.name(of), value));
                return Err(Error::Input(format!("round {round}, attempt {attempt}: {what}: {a}, {b}")));
            }
            common += 1;
        }
        Ok(common)
    }
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

    #[test]
    fn logs_that_contradict_each_other_are_found_out() {
        use crate::roster::Person;
        let signers = [1, 2, 3, 9].map(|seed| Signer::from_seed(&[seed; 32]));
        let person = |name: &str, i: usize| Person { name: name.to_owned(), key: signers[i].public(), holder: false };
        let members = vec![person("a", 0), person("b", 1), person("c", 2)];
        let roster = Roster::new(person("sum", 3), members, None, 3).unwrap();
        let line = |log: &mut String, by: usize, round: u64, fields: &[(&str, Value)]| {
            let place = [("round", round.into()), ("attempt", 1.into())];
            append(log, &signers[by], "event", &[&place, fields].concat());
        };
        let (mut sum, mut a) = (String::new(), String::new());
        let uploads = |digest: u8| [("a".to_owned(), super::digest(&[digest; 32]))].into_iter().collect();
        line(&mut sum, 3, 1, &[("plan", digest(&[7; 32]))]);
        line(&mut sum, 3, 1, &[("set", digest(&[8; 32])), ("uploads", Value::Object(uploads(5)))]);
        line(&mut a, 0, 1, &[("plan", digest(&[7; 32]))]);
        line(&mut a, 0, 1, &[("upload", digest(&[5; 32])), ("member", "a".into())]);
        let read = |log: &str| Log::read(&roster, log);
        let (ours, theirs) = (read(&sum).unwrap(), read(&a).unwrap());
        assert_eq!((ours.of, theirs.of, ours.lines), (AGGREGATOR, 0, 2));
        assert_eq!(ours.compare(&theirs, &roster).unwrap(), 2);
        // Another set was shown to a member than the log has.
        line(&mut a, 0, 1, &[("set", digest(&[9; 32]))]);
        let error = ours.compare(&read(&a).unwrap(), &roster).unwrap_err().to_string();
        assert!(error.starts_with("round 1, attempt 1: set: sum's line 2 has 0808"), "{error}");
        // One who answered two sets of one attempt.
        line(&mut a, 0, 1, &[("set", digest(&[8; 32]))]);
        assert!(read(&a).unwrap_err().to_string().contains("lines 3 and 4 differ in the set of round 1"));
        // A line that another signed, and one that nobody of the federation did.
        let mut mixed = sum.clone();
        line(&mut mixed, 1, 2, &[]);
        assert!(read(&mixed).unwrap_err().to_string().contains("line 3: its signature"));
        let mut alien = String::new();
        append(&mut alien, &Signer::from_seed(&[77; 32]), "plan", &[]);
        assert!(read(&alien).unwrap_err().to_string().contains("line 1: its signature"));
    }
}
