//! Looks for secrets in all that this process can write: heap, mapped regions, and the stacks of its threads, ended
//! ones too.

use std::fs::File;
use std::hint::black_box;
use std::ops::Range;

/// Bytes read at a time.
const PIECE: usize = 1 << 20;

/// Bytes that should be nowhere. They are kept as their complement, so that looking for them finds no copy of its own.
pub(crate) struct Pattern {
    name: &'static str,
    complement: Vec<u8>,
}

impl Pattern {
    /// At least 16 bytes.
    pub(crate) fn new(name: &'static str, secret: &[u8]) -> Self {
        assert!(secret.len() >= 16, "{name}: too short to be no accident");
        Self { name, complement: secret.iter().map(|b| !b).collect() }
    }

    /// How often it is in there.
    fn count(&self, bytes: &[u8]) -> usize {
        let first: [u8; 8] = self.complement[..8].try_into().expect("eight bytes");
        let first = !u64::from_ne_bytes(first);
        let is_here = |at: &[u8]| at.iter().zip(&self.complement).all(|(a, b)| *a == !*b);
        let starts = bytes.windows(8).map(|w| u64::from_ne_bytes(w.try_into().expect("eight bytes")));
        let hits = starts.enumerate().filter(|(_, word)| *word == first).map(|(at, _)| at);
        hits.filter(|&at| bytes[at..].len() >= self.complement.len() && is_here(&bytes[at..])).count()
    }
}

/// The regions of memory that can be written; none where the system does not say.
fn regions() -> Option<Vec<Range<u64>>> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let region = |line: &str| {
        let mut words = line.split(' ');
        let (from, to) = words.next()?.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        words.next()?.starts_with("rw").then_some(hex(from)?..hex(to)?)
    };
    Some(maps.lines().filter_map(region).collect())
}

/// How often each pattern is in memory, by name. Says so and gives none where the system does not show it.
pub(crate) fn find(patterns: &[Pattern]) -> Option<Vec<(&'static str, usize)>> {
    let (Some(regions), Ok(memory)) = (regions(), File::open("/proc/self/mem")) else {
        eprintln!("SKIPPED: this system does not show a process its memory: nothing was looked for");
        return None;
    };
    let longest = patterns.iter().map(|p| p.complement.len()).max()?;
    let mut found = vec![0; patterns.len()];
    let mut piece = vec![0; PIECE + longest - 1];
    let own = piece.as_ptr() as u64..piece.as_ptr() as u64 + piece.len() as u64;
    for region in regions {
        for from in region.clone().step_by(PIECE) {
            let to = region.end.min(from + piece.len() as u64);
            // What was read must not be found again in what it was read to.
            let (from, to) = match (own.contains(&from), own.contains(&(to - 1))) {
                (true, true) => continue,
                (true, false) => (own.end, to),
                (false, true) => (from, own.start),
                _ => (from, to),
            };
            let bytes = &mut piece[..(to - from) as usize];
            // A region that has gone since, or that nobody may read, is not looked at.
            if read_at(&memory, bytes, from).is_err() {
                continue;
            }
            for (found, pattern) in found.iter_mut().zip(patterns) {
                // Starts in this piece; the rest of the longest pattern is read along.
                let reach = bytes.len().min(PIECE + pattern.complement.len() - 1);
                *found += pattern.count(&bytes[..reach]);
            }
        }
    }
    piece.fill(0);
    black_box(&piece);
    Some(patterns.iter().map(|p| p.name).zip(found).collect())
}

#[cfg(unix)]
fn read_at(memory: &File, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(memory, bytes, at)
}

#[cfg(not(unix))]
fn read_at(_: &File, _: &mut [u8], _: u64) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}
