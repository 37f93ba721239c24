//! Fingerprints: `bv1:` and the base32 form of SHA-256 of a public key (its SubjectPublicKeyInfo, DER).

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

use crate::error::{Error, Result};

/// The first characters of every fingerprint.
const PREFIX: &str = "bv1:";

/// A SubjectPublicKeyInfo of an Ed25519 key (RFC 8410), up to the key.
pub(crate) const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A public key's fingerprint. Equality takes the same time whatever differs.
#[derive(Clone, Copy, Debug, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// Of a key's SubjectPublicKeyInfo in DER.
    pub fn of(public_key: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, public_key).as_ref());
        Self(hash)
    }

    /// Of an Ed25519 key.
    pub fn of_ed25519(key: &[u8; 32]) -> Self {
        Self::of(&[&ED25519[..], key].concat())
    }

    /// As it goes over a wire.
    pub fn bytes(&self) -> [u8; 32] {
        self.0
    }
}

impl From<[u8; 32]> for Pin {
    fn from(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

impl PartialEq for Pin {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::hash::Hash for Pin {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", BASE32_NOPAD.encode(&self.0))
    }
}

/// As it is printed; small letters count as capitals.
impl FromStr for Pin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let decoded =
            text.strip_prefix(PREFIX).and_then(|t| BASE32_NOPAD.decode(t.to_ascii_uppercase().as_bytes()).ok());
        let hash = decoded.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        hash.map(Self).ok_or_else(|| {
            let shown: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
            Error::Identity(format!("{shown:?}: expected a fingerprint, {PREFIX} and 52 letters and digits (`blindvox fingerprint FILE.crt`)"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_read_back_and_others_are_refused() {
        let pin = Pin::of(b"a key");
        let text = pin.to_string();
        assert_eq!((text.len(), text.parse::<Pin>().unwrap()), (56, pin));
        assert_eq!(format!("bv1:{}", text[4..].to_lowercase()).parse::<Pin>().unwrap(), pin);
        assert_ne!(pin, Pin::of(b"another"));
        for bad in ["", "bv1:", &text[..55], &format!("{text}A"), &text[4..], "bv1:\u{1b}[2J"] {
            let error = bad.parse::<Pin>().unwrap_err().to_string();
            assert!(error.contains("expected a fingerprint") && !error.contains('\u{1b}'), "{error}");
        }
    }
}
