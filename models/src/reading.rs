//! What files and peers gave, read within bounds and shown without harm.

use std::path::Path;

use crate::error::{Error, Result};

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// [`Error::Io`] if it can't be read, [`Error::Model`] if it is longer.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    use std::io::Read;
    let io = |source| Error::Io { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(Error::Model(format!("{}: found more than {limit} bytes, expected at most that", path.display())));
    }
    Ok(bytes)
}

/// Text from a file with its control characters escaped, so that no terminal obeys them.
pub(crate) fn printable(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}
