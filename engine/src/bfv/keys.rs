//! Keys with the messages that they are for: what the scheme does with them is in [`cipher`](super::cipher) and
//! [`reply`](super::reply).

use std::fmt;

use super::params::Params;
use crate::device::Device;
use crate::error::Result;
use crate::prng::Prng;
use crate::ring::Basis;
use crate::rlwe;

/// The client's secret key on its device.
pub struct SecretKey {
    params: Params,
    pub(super) key: rlwe::SecretKey,
    /// The first prime: where replies are.
    first: Basis,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({}, ..)", self.params.describe())
    }
}

impl SecretKey {
    /// A fresh key.
    pub fn generate(params: &Params, device: &Device, prng: &mut Prng) -> Result<Self> {
        let key = rlwe::SecretKey::generate(params, device, prng)?;
        Ok(Self { params: params.clone(), key, first: params.basis().level(1)? })
    }

    /// What it is a key for.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Where it is.
    pub fn device(&self) -> &Device {
        self.key.device()
    }

    /// The key without the messages: what all schemes share.
    pub fn rlwe(&self) -> &rlwe::SecretKey {
        &self.key
    }

    /// The basis of replies: the first prime.
    pub fn reply_basis(&self) -> &Basis {
        &self.first
    }

    /// A public key for this secret.
    pub fn public_key(&self, prng: &mut Prng) -> Result<PublicKey> {
        Ok(PublicKey { params: self.params.clone(), key: self.key.public_key(prng)? })
    }
}

/// An encryption of zero that anyone can re-randomise.
pub struct PublicKey {
    params: Params,
    pub(super) key: rlwe::PublicKey,
}

impl PublicKey {
    /// What it is a key for.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Where it is.
    pub fn device(&self) -> &Device {
        self.key.device()
    }

    /// Bytes on the wire.
    pub fn wire_len(params: &Params) -> usize {
        rlwe::PublicKey::wire_len(params)
    }

    /// The seed, then the packed residues of b.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.key.to_bytes()
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub fn from_bytes(params: &Params, device: &Device, bytes: &[u8]) -> Result<Self> {
        Ok(Self { params: params.clone(), key: rlwe::PublicKey::from_bytes(params, device, bytes)? })
    }
}
