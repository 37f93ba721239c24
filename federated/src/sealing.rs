//! Sealing to a round's keys: HPKE (RFC 9180) in base mode with X-Wing, HKDF-SHA-256 and ChaCha20-Poly1305. The keys live
//! for one round, so what was sealed to them can't be opened later, by a quantum computer neither.

use std::fmt;

use blindvox_engine::Prng;
use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::{Kem, X25519HkdfSha256, XWing};
use hpke::{Deserializable, OpModeR, OpModeS, Serializable, single_shot_open, single_shot_seal_with_rng};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::{Error, Result};
use crate::signing::{PublicKey, Signer};

/// Bytes of a public key.
pub const PUBLIC: usize = 1216;
/// Bytes that sealing adds: the encapsulated key, and the tag.
pub const OVERHEAD: usize = 1120 + 16;
/// Told to the key schedule.
const INFO: &[u8] = b"blindvox 2026 federated";

/// A round's secret key, as the 32 bytes that it is derived from.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct RoundKey([u8; 32]);

impl fmt::Debug for RoundKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoundKey(..)")
    }
}

impl RoundKey {
    /// A fresh key.
    pub fn generate(prng: &mut Prng) -> Self {
        Self(prng.seed())
    }

    /// Its public half, [`PUBLIC`] bytes.
    pub fn public(&self) -> Vec<u8> {
        XWing::derive_keypair(&self.0).1.to_bytes().to_vec()
    }

    /// Opens what was sealed to its public half, with the same associated data.
    ///
    /// # Errors
    /// [`Error::Message`] for anything else.
    pub fn open(&self, sealed: &[u8], associated: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let wrong = || Error::message("can't be opened: it was sealed to another key, or changed on the way");
        let (head, tail) = sealed.split_at_checked(OVERHEAD - 16).ok_or_else(wrong)?;
        let head = <XWing as Kem>::EncappedKey::from_bytes(head).map_err(|_| wrong())?;
        let secret = XWing::derive_keypair(&self.0).0;
        let opened = single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeR::Base,
            &secret,
            &head,
            INFO,
            tail,
            associated,
        );
        opened.map(Zeroizing::new).map_err(|_| wrong())
    }
}

/// Seals `plain` to a public key: `plain.len() + OVERHEAD` bytes.
///
/// # Errors
/// [`Error::Message`] for bytes that are no public key.
pub fn seal(public: &[u8], plain: &[u8], associated: &[u8], prng: &mut Prng) -> Result<Vec<u8>> {
    let wrong = || Error::message(format!("{} bytes are no public key of X-Wing", public.len()));
    let public = <XWing as Kem>::PublicKey::from_bytes(public).map_err(|_| wrong())?;
    let mut rng = ChaCha20Rng::from_seed(*Zeroizing::new(prng.seed()));
    let (head, tail) = single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeS::Base,
        &public,
        INFO,
        plain,
        associated,
        &mut rng,
    )
    .map_err(|_| wrong())?;
    Ok([&head.to_bytes()[..], &tail].concat())
}

/// Bytes that [`seal_to_identity`] adds.
pub const IDENTITY_OVERHEAD: usize = 32 + 16;

/// Seals `plain` to a member's own key, which outlives rounds and which a quantum computer breaks: for what is carried by
/// hand. The same as [`seal`] with X25519 in the place of X-Wing; an Ed25519 key may serve both (Thormarker, "On using the
/// same key pair for Ed25519 and an X25519 based KEM", 2021).
///
/// # Errors
/// [`Error::Message`] for a key that is none.
pub fn seal_to_identity(to: &PublicKey, plain: &[u8], associated: &[u8], prng: &mut Prng) -> Result<Vec<u8>> {
    let wrong = || Error::message("a key of a roster that is no point of the curve");
    let public = to.montgomery().ok_or_else(wrong)?;
    let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&public).map_err(|_| wrong())?;
    let mut rng = ChaCha20Rng::from_seed(*Zeroizing::new(prng.seed()));
    let sealed = single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &public,
        INFO,
        plain,
        associated,
        &mut rng,
    );
    let (head, tail) = sealed.map_err(|_| wrong())?;
    Ok([&head.to_bytes()[..], &tail].concat())
}

/// Opens what was sealed to a member's own key, with the same associated data.
///
/// # Errors
/// [`Error::Message`] for anything else.
pub fn open_by_identity(signer: &Signer, sealed: &[u8], associated: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let wrong = || Error::message("can't be opened: it was sealed to another key, or changed on the way");
    let (head, tail) = sealed.split_at_checked(IDENTITY_OVERHEAD - 16).ok_or_else(wrong)?;
    let head = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(head).map_err(|_| wrong())?;
    let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&*signer.montgomery()).map_err(|_| wrong())?;
    let opened = single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &secret,
        &head,
        INFO,
        tail,
        associated,
    );
    opened.map(Zeroizing::new).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_bytes_open_with_their_key_and_data_alone() {
        let mut prng = Prng::from_seed_for_tests([1; 32]);
        let (key, other) = (RoundKey::generate(&mut prng), RoundKey::generate(&mut prng));
        let sealed = seal(&key.public(), b"a share", b"for 3", &mut prng).unwrap();
        assert_eq!((sealed.len(), key.public().len()), (7 + OVERHEAD, PUBLIC));
        assert_eq!(*key.open(&sealed, b"for 3").unwrap(), b"a share");
        assert!(other.open(&sealed, b"for 3").is_err() && key.open(&sealed, b"for 4").is_err());
        for at in [0, 1100, 1119, 1120, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(&changed, b"for 3").is_err(), "byte {at}");
        }
        for len in [0, 1119, 1120, sealed.len() - 1] {
            assert!(key.open(&sealed[..len], b"for 3").is_err());
        }
        assert_ne!(seal(&key.public(), b"a share", b"for 3", &mut prng).unwrap(), sealed);
        let [signer, stranger] = [3, 4].map(|seed| Signer::from_seed(&[seed; 32]));
        let sealed = seal_to_identity(&signer.public(), b"a share", b"for 3", &mut prng).unwrap();
        assert_eq!(sealed.len(), 7 + IDENTITY_OVERHEAD);
        assert_eq!(*open_by_identity(&signer, &sealed, b"for 3").unwrap(), b"a share");
        for (who, bytes, data) in
            [(&stranger, &sealed[..], &b"for 3"[..]), (&signer, &sealed, b""), (&signer, b"x", b"")]
        {
            assert!(open_by_identity(who, bytes, data).is_err());
        }
        assert!(seal(&[7; 12], b"", b"", &mut prng).is_err());
        assert_eq!(format!("{key:?}"), "RoundKey(..)");
    }
}
