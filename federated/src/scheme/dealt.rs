//! Threshold Paillier as a scheme of rounds: the key is a dealer's and lives for many rounds, so an upload shares nothing, and
//! a holder answers for the product itself.

use std::sync::Arc;

use blindvox_engine::Prng;
use zeroize::Zeroizing;

use super::paillier::answer::answer;
use super::paillier::combine::open;
use super::paillier::encrypt::{Packing, aggregate, seal};
use super::paillier::keys::{KeyShare, PublicKey};
use super::{Fields, Lengths, Scheme, Uploaded};
use crate::error::{Error, Result};

/// Numbers that are encrypted at a time, in ciphertexts.
const CHUNK: usize = 1024;

/// A round under a dealer's key.
pub struct Dealt {
    key: Arc<PublicKey>,
    /// A holder's own.
    share: Option<Arc<KeyShare>>,
    packing: Packing,
    fields: usize,
}

impl Dealt {
    /// A round of so many numbers whose sums have `width` bits.
    ///
    /// # Errors
    /// [`Error::Input`] for sums that don't fit.
    pub fn new(key: &Arc<PublicKey>, share: Option<&Arc<KeyShare>>, width: u32, fields: usize) -> Result<Self> {
        let packing = Packing::new(key, width)?;
        Ok(Self { key: key.clone(), share: share.cloned(), packing, fields })
    }
}

impl Scheme for Dealt {
    fn lengths(&self) -> Lengths {
        let ciphertexts = self.packing.ciphertexts(self.fields) * self.key.ciphertext_len();
        Lengths { ciphertexts, share: 0, closed: ciphertexts, part: ciphertexts }
    }

    fn upload(&self, fields: &Fields<'_>, prng: &mut Prng) -> Result<Uploaded> {
        let chunk = CHUNK * self.packing.each();
        let mut numbers = Zeroizing::new(vec![0; chunk.min(self.fields)]);
        let mut ciphertexts = Vec::with_capacity(self.lengths().ciphertexts);
        for first in (0..self.fields).step_by(chunk) {
            let numbers = &mut numbers[..chunk.min(self.fields - first)];
            (fields.fill)(first, numbers);
            ciphertexts.extend(seal(&self.key, &self.packing, numbers, prng)?);
        }
        Ok(Uploaded { ciphertexts, shares: Vec::new() })
    }

    fn accumulate(&self, sum: &mut Vec<u8>, ciphertexts: &[u8]) -> Result<()> {
        let len = self.lengths().ciphertexts;
        if ciphertexts.len() != len {
            return Err(Error::message(format!("ciphertexts of {} bytes, expected {len}", ciphertexts.len())));
        }
        aggregate(&self.key, sum, ciphertexts)
    }

    fn close(&self, sum: &[u8]) -> Result<Vec<u8>> {
        Ok(sum.to_vec())
    }

    fn answer(&self, point: usize, _: &[&[u8]], closed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let none = || Error::input("this holder has no share of the dealer's key (`federate ceremony` made it)");
        let share = self.share.as_ref().filter(|share| share.point() == point).ok_or_else(none)?;
        answer(&self.key, share, closed).map(Zeroizing::new)
    }

    fn combine(&self, _: &[u8], _: usize, parts: &[(usize, &[u8])], take: &mut dyn FnMut(usize, &[u32])) -> Result<()> {
        take(0, &open(&self.key, &self.packing, parts, self.fields)?);
        Ok(())
    }
}
