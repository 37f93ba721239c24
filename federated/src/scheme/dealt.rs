//! Threshold Paillier as a scheme of rounds: the key is a dealer's and lives for many rounds, so an upload shares nothing, and
//! a holder answers for the product itself.

use std::sync::Arc;

use blindvox_engine::Prng;
use zeroize::Zeroizing;

use super::paillier::answer::answer;
use super::paillier::combine::open;
use super::paillier::encrypt::{Packing, aggregate, seal};
use super::paillier::keys::{KeyShare, PublicKey};
use super::paillier::proof::{Statement, proof_len, prove, verify};
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
    /// What proofs of answers are bound to, where there are any.
    proofs: Option<Vec<u8>>,
}

impl Dealt {
    /// A round of so many numbers whose sums have `width` bits.
    ///
    /// # Errors
    /// [`Error::Input`] for sums that don't fit.
    pub fn new(key: &Arc<PublicKey>, share: Option<&Arc<KeyShare>>, width: u32, fields: usize) -> Result<Self> {
        let packing = Packing::new(key, width)?;
        Ok(Self { key: key.clone(), share: share.cloned(), packing, fields, proofs: None })
    }

    /// The same with a proof in each part, for this federation, round and Plan.
    #[must_use]
    pub fn proving(self, context: Vec<u8>) -> Self {
        Self { proofs: Some(context), ..self }
    }

    fn ciphertexts(&self) -> usize {
        self.packing.ciphertexts(self.fields) * self.key.ciphertext_len()
    }

    /// A part's answers, and its proof.
    fn parted<'a>(&self, part: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        part.split_at(self.ciphertexts().min(part.len()))
    }
}

impl Scheme for Dealt {
    fn lengths(&self) -> Lengths {
        let ciphertexts = self.ciphertexts();
        let proof = self.proofs.as_ref().map_or(0, |_| proof_len(&self.key));
        Lengths { ciphertexts, share: 0, closed: ciphertexts, part: ciphertexts + proof }
    }

    fn upload(&self, fields: &Fields<'_>, prng: &mut Prng) -> Result<Uploaded> {
        let chunk = CHUNK * self.packing.each();
        let mut numbers = Zeroizing::new(vec![0; chunk.min(self.fields)]);
        let mut ciphertexts = Vec::with_capacity(self.ciphertexts());
        for first in (0..self.fields).step_by(chunk) {
            let numbers = &mut numbers[..chunk.min(self.fields - first)];
            (fields.fill)(first, numbers);
            ciphertexts.extend(seal(&self.key, &self.packing, numbers, prng)?);
        }
        Ok(Uploaded { ciphertexts, shares: Vec::new() })
    }

    fn accumulate(&self, sum: &mut Vec<u8>, ciphertexts: &[u8]) -> Result<()> {
        let len = self.ciphertexts();
        if ciphertexts.len() != len {
            return Err(Error::message(format!("ciphertexts of {} bytes, expected {len}", ciphertexts.len())));
        }
        aggregate(&self.key, sum, ciphertexts)
    }

    fn close(&self, sum: &[u8]) -> Result<Vec<u8>> {
        Ok(sum.to_vec())
    }

    fn answer(&self, point: usize, _: &[&[u8]], closed: &[u8], prng: &mut Prng) -> Result<Zeroizing<Vec<u8>>> {
        let none = || Error::input("this holder has no share of the dealer's key (`federate ceremony` made it)");
        let share = self.share.as_ref().filter(|share| share.point() == point).ok_or_else(none)?;
        let mut part = Zeroizing::new(answer(&self.key, share, closed)?);
        if let Some(context) = &self.proofs {
            let statement = Statement { context, point, ciphertexts: closed, answers: &part };
            let proof = prove(&self.key, share, &statement, prng)?;
            part.extend_from_slice(&proof);
        }
        Ok(part)
    }

    fn check(&self, sum: &[u8], point: usize, part: &[u8]) -> Result<()> {
        let Some(context) = &self.proofs else { return Ok(()) };
        let (answers, proof) = self.parted(part);
        verify(&self.key, &Statement { context, point, ciphertexts: sum, answers }, proof)
    }

    fn combine(&self, _: &[u8], _: usize, parts: &[(usize, &[u8])], take: &mut dyn FnMut(usize, &[u32])) -> Result<()> {
        let parts: Vec<_> = parts.iter().map(|(point, part)| (*point, self.parted(part).0)).collect();
        take(0, &open(&self.key, &self.packing, &parts, self.fields)?);
        Ok(())
    }
}
