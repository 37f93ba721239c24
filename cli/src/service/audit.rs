//! The log of runs: lines of JSON, each with `prev`, the BLAKE3 hash of the line before (without its end of line), so that a
//! line that is changed, taken out or put in shows.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use blindvox_protocols::{Error, Result};
use serde::{Deserialize, Serialize};

/// The longest line that is read: a set of the updates of the most members of a federation.
const MAX_LINE: u64 = 1 << 20;

/// What is written of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Seconds since 1970, UTC.
    pub time: u64,
    /// The run's number since the service's start.
    pub run: u64,
    /// The client's name in the list, and its fingerprint.
    pub client: String,
    pub pin: String,
    /// The model, and which one it was.
    pub model: String,
    pub digest: String,
    /// D, H, W.
    pub grid: [u32; 3],
    pub comparison: String,
    pub ot: String,
    /// `done`, or what ended it.
    pub outcome: String,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub seconds: f64,
    /// Coefficients that replies hid the weights in.
    pub reply_coefficients: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    record: &'a Record,
    prev: &'a str,
}

/// What the first line follows.
fn nothing() -> String {
    blake3::hash(b"").to_hex().to_string()
}

/// An open log.
pub(crate) struct Audit {
    path: PathBuf,
    inner: Mutex<(File, String)>,
}

impl Audit {
    /// Opens a log to append to it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Input`] for a last line that was not written to its end.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(io)?;
        let end = file.metadata().map_err(io)?.len();
        file.seek(SeekFrom::Start(end.saturating_sub(MAX_LINE))).map_err(io)?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).map_err(io)?;
        if tail.last().is_some_and(|b| *b != b'\n') {
            let what =
                "the last line was not written to its end (was the service killed?): end it by hand, after a look";
            return Err(Error::Input(format!("{}: {what}", path.display())));
        }
        let last = tail.strip_suffix(b"\n").map(|t| t.rsplit(|b| *b == b'\n').next().unwrap_or_default());
        let prev = last.map_or_else(nothing, |line| blake3::hash(line).to_hex().to_string());
        Ok(Self { path: path.to_owned(), inner: Mutex::new((file, prev)) })
    }

    /// Appends a line and waits until it is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn append(&self, record: &Record) -> Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, prev) = &mut *inner;
        let mut line = serde_json::to_vec(&Line { record, prev }).map_err(|e| Error::Input(e.to_string()))?;
        let hash = blake3::hash(&line).to_hex().to_string();
        line.push(b'\n');
        let written = file.write_all(&line).and_then(|()| file.sync_data());
        written.map_err(|source| Error::Io { path: self.path.clone(), source })?;
        *prev = hash;
        Ok(())
    }
}

/// Checks a log; its lines, and the hash that the next one would carry.
///
/// # Errors
/// [`Error::Io`], [`Error::Input`] naming the first line that doesn't follow the one before.
pub(crate) fn verify(path: &Path) -> Result<(usize, String)> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(io)?);
    let (mut prev, mut lines, mut line) = (nothing(), 0, Vec::new());
    loop {
        line.clear();
        if (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).map_err(io)? == 0 {
            return Ok((lines, prev));
        }
        lines += 1;
        let wrong = |what: &str| Error::Input(format!("{}: line {lines}: {what}", path.display()));
        let text = line.strip_suffix(b"\n").ok_or_else(|| wrong("not written to its end"))?;
        let value: serde_json::Value = serde_json::from_slice(text).map_err(|_| wrong("not a line of JSON"))?;
        if value.get("prev").and_then(serde_json::Value::as_str) != Some(&prev) {
            return Err(wrong("does not follow the line before: one of them was changed, taken out or put in"));
        }
        prev = blake3::hash(text).to_hex().to_string();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_after_a_restart_and_shows_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        for run in 0..3 {
            let log = Audit::open(&path).unwrap();
            for client in ["a", "b"] {
                log.append(&Record { run, client: client.to_owned(), ..Record::default() }).unwrap();
            }
        }
        assert_eq!(verify(&path).unwrap().0, 6);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let found = |text: String| {
            std::fs::write(&path, text).unwrap();
            verify(&path).unwrap_err().to_string()
        };
        assert!(found(text.replacen("\"client\":\"b\"", "\"client\":\"c\"", 1)).contains("line 3"));
        assert!(found([&lines[..2], &lines[3..]].concat().join("\n") + "\n").contains("line 3"));
        assert!(found(lines[1..].join("\n") + "\n").contains("line 1"));
        assert!(found(text[..text.len() - 9].to_owned()).contains("line 6: not written"));
        assert!(Audit::open(&path).err().unwrap().to_string().contains("not written to its end"));
    }
}
