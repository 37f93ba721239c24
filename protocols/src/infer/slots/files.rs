//! What goes by files where there is no connection: keys, inputs and results, each for one model's public part.

use super::public::Public;
use crate::error::{Error, Result};

/// The bytes of a file with a secret, cleared when dropped.
pub type SecretBytes = zeroize::Zeroizing<Vec<u8>>;

const MAGIC: &[u8; 8] = b"bvslotf1";
/// Magic, kind, digest, parts.
const HEAD: usize = 8 + 1 + 32 + 4;
/// Parts of a file at most.
const MAX_PARTS: usize = 1 << 16;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A service's public part: one part.
    Public,
    /// A client's secret key: one part.
    Secret,
    /// Its key set: evaluation keys, public key.
    Keys,
    /// Inputs: so many ciphertexts each.
    Input,
    /// Results: so many ciphertexts each.
    Result,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Public => 0,
            Self::Secret => 1,
            Self::Keys => 2,
            Self::Input => 3,
            Self::Result => 4,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Public => "a model's public part",
            Self::Secret => "a secret key",
            Self::Keys => "a key set",
            Self::Input => "encrypted inputs",
            Self::Result => "encrypted results",
        }
    }
}

impl Public {
    /// Of its bytes: files say which model they are for.
    ///
    /// # Errors
    /// Those of [`Public::to_bytes`].
    pub fn digest(&self) -> Result<[u8; 32]> {
        Ok(*blake3::hash(&self.to_bytes()?).as_bytes())
    }
}

/// Magic, kind, the digest of the public part, and each part after its length.
pub fn write(kind: Kind, digest: &[u8; 32], parts: &[&[u8]]) -> Vec<u8> {
    let size = HEAD + parts.iter().map(|part| 8 + part.len()).sum::<usize>();
    let mut out = Vec::with_capacity(size);
    out.extend(MAGIC);
    out.push(kind.code());
    out.extend(digest);
    out.extend((parts.len() as u32).to_le_bytes());
    for part in parts {
        out.extend((part.len() as u64).to_le_bytes());
        out.extend(*part);
    }
    out
}

/// The parts of what [`write()`] wrote, for the model of a digest where it is known.
///
/// # Errors
/// [`Error::Input`] naming the file, what was found and what was expected.
pub fn read<'a>(file: &str, kind: Kind, digest: Option<&[u8; 32]>, bytes: &'a [u8]) -> Result<Vec<&'a [u8]>> {
    let wrong = |found: &str| Error::Input(format!("{file}: found {found}, expected {}", kind.name()));
    let (head, mut rest) = bytes.split_at_checked(HEAD).ok_or_else(|| wrong("a file that ends early"))?;
    if head[..8] != MAGIC[..] {
        return Err(wrong("a file of another kind or version"));
    }
    let kinds = [Kind::Public, Kind::Secret, Kind::Keys, Kind::Input, Kind::Result];
    if head[8] != kind.code() {
        return Err(wrong(kinds.into_iter().find(|k| k.code() == head[8]).map_or("no kind of file", Kind::name)));
    }
    if digest.is_some_and(|digest| head[9..41] != digest[..]) {
        return Err(wrong("what is for another model or preset"));
    }
    let count = head[41..].try_into().map_or(0, u32::from_le_bytes) as usize;
    if count > MAX_PARTS || count > rest.len() / 8 {
        return Err(wrong("a file that ends early"));
    }
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<8>().ok_or_else(|| wrong("a file that ends early"))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (part, after) = after.split_at_checked(length).ok_or_else(|| wrong("a file that ends early"))?;
        parts.push(part);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(wrong("more than a whole file"));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_and_others_are_named() {
        let digest = [7; 32];
        let bytes = write(Kind::Input, &digest, &[b"abc", b"", b"de"]);
        let parts = |kind, digest: Option<&[u8; 32]>, bytes: &[u8]| {
            let parts = read("f", kind, digest, bytes).map(|p| p.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
            parts.map_err(|e| e.to_string())
        };
        let expected = [b"abc".to_vec(), vec![], b"de".to_vec()];
        assert_eq!(parts(Kind::Input, Some(&digest), &bytes).unwrap(), expected);
        assert_eq!(parts(Kind::Input, None, &bytes).unwrap(), expected);
        let error = |kind, digest: &[u8; 32], bytes: &[u8]| parts(kind, Some(digest), bytes).unwrap_err();
        assert_eq!(error(Kind::Keys, &digest, &bytes), "f: found encrypted inputs, expected a key set");
        assert!(error(Kind::Input, &[8; 32], &bytes).contains("another model or preset"));
        (0..bytes.len()).for_each(|end| {
            assert!(error(Kind::Input, &digest, &bytes[..end]).contains("ends early"), "{end}");
        });
        assert!(error(Kind::Input, &digest, &[&bytes[..], b"x"].concat()).contains("more than"));
        let mut many = bytes.clone();
        many[41..45].fill(0xff);
        assert!(error(Kind::Input, &digest, &many).contains("ends early"));
        many = bytes.clone();
        many[45..53].fill(0xff);
        assert!(error(Kind::Input, &digest, &many).contains("ends early"));
        many = bytes;
        many[0] ^= 1;
        assert!(error(Kind::Input, &digest, &many).contains("another kind or version"));
    }
}
