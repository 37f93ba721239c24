//! The bytes of a file, decompressed where it is gzip.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Result};
use std::path::Path;

use flate2::bufread::GzDecoder;

/// Bytes looked at to tell what a file is.
const HEAD: u64 = 1024;

/// A file being read.
pub(super) struct Stream {
    /// Its first bytes as they are on disk.
    pub stored: Vec<u8>,
    /// The first bytes of what it holds.
    pub head: Vec<u8>,
    /// All of what it holds.
    pub content: Box<dyn Read>,
}

impl Stream {
    /// Opens a file; what fails within compressed data is left to the reader of `content`.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path)?;
        let mut stored = Vec::new();
        (&mut file).take(HEAD).read_to_end(&mut stored)?;
        let whole = BufReader::new(Cursor::new(stored.clone()).chain(file));
        if !stored.starts_with(&[0x1f, 0x8b]) {
            return Ok(Self { head: stored.clone(), stored, content: Box::new(whole) });
        }
        let mut content = Members { member: Some(GzDecoder::new(whole)) };
        let mut head = Vec::new();
        let failed = (&mut content).take(HEAD).read_to_end(&mut head).err();
        let rest: Box<dyn Read> = match failed {
            Some(e) => Box::new(Failed(Some(e))),
            None => Box::new(content),
        };
        Ok(Self { stored, content: Box::new(Cursor::new(head.clone()).chain(rest)), head })
    }
}

/// An error for the next reader.
struct Failed(Option<std::io::Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// The members of a gzip file one after the other. Zeros behind a member are padding, which tapes and block-wise
/// writers leave.
struct Members<R: BufRead> {
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        while let Some(mut decoder) = self.member.take() {
            let count = decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                self.member = Some(decoder);
                return Ok(count);
            }
            let mut rest = decoder.into_inner();
            match skip_zeros(&mut rest)? {
                None => break,
                Some(0x1f) => self.member = Some(GzDecoder::new(rest)),
                Some(_) => {
                    let what = "behind the compressed data: found bytes that are neither zeros nor more of it";
                    return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, what));
                }
            }
        }
        Ok(0)
    }
}

/// Leaves the first byte that isn't zero to be read, and tells it.
fn skip_zeros(from: &mut impl BufRead) -> Result<Option<u8>> {
    loop {
        let bytes = from.fill_buf()?;
        let zeros = bytes.iter().take_while(|b| **b == 0).count();
        let (found, end) = (bytes.get(zeros).copied(), bytes.is_empty());
        from.consume(zeros);
        if found.is_some() || end {
            return Ok(found);
        }
    }
}
