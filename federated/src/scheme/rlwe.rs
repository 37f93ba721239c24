//! Additive RLWE encryption under one-time keys. Each client draws one key a round and shares it t of h modulo a prime; a
//! holder's part is the sum of its shares, so t parts give the sum of the keys, and no key.

use blindvox_engine::ring::sampler::{PublicSeed, WIDE_NOISE_BOUND};
use blindvox_engine::rlwe::additive::{Layout, OneTimeKey, Vector};
use blindvox_engine::{Device, Prng};
use zeroize::Zeroizing;

use super::{Fields, Lengths, Scheme, Uploaded};
use crate::error::{Error, Result};
use crate::shamir::{Field, Residues, subsets};

/// A round of the scheme.
pub struct Rlwe {
    layout: Layout,
    field: Field,
    seed: PublicSeed,
    fields: usize,
    threshold: usize,
    points: usize,
}

/// What a round is made of.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The most uploads in a sum.
    pub uploads: usize,
    /// F: bits of a sum.
    pub width: u32,
    /// Numbers of an upload.
    pub fields: usize,
    /// Holders that open a sum, of how many.
    pub threshold: usize,
    /// Points that shares are made for.
    pub points: usize,
    /// The seed of the polynomials that all clients share.
    pub seed: PublicSeed,
}

impl Rlwe {
    /// A round on a device.
    ///
    /// # Errors
    /// [`Error::Engine`] for sums that don't fit, [`Error::Input`] for more uploads than keys can be added of.
    pub fn new(device: &Device, terms: Terms) -> Result<Self> {
        let Terms { uploads, width, fields, threshold, points, seed } = terms;
        let largest = WIDE_NOISE_BOUND as u64 * uploads as u64;
        let field = Field::holding(largest).ok_or_else(|| Error::Input(format!("sums of {uploads} uploads")))?;
        Ok(Self { layout: Layout::new(device, uploads, width)?, field, seed, fields, threshold, points })
    }

    /// Coefficients of a key.
    fn n(&self) -> usize {
        self.layout.params().n()
    }

    fn opens(&self, sum: &[u8], keys: &[i32], uploads: usize) -> bool {
        let first = &sum[..self.layout.polynomial_len().min(sum.len())];
        self.layout.open(keys, &self.seed, (first, 0), uploads, &mut |_, _| {}).is_ok()
    }
}

impl Scheme for Rlwe {
    fn lengths(&self) -> Lengths {
        let share = self.field.len(self.n());
        let ciphertexts = self.layout.polynomials(self.fields) * self.layout.polynomial_len();
        Lengths { ciphertexts, share, closed: 0, part: share }
    }

    fn upload(&self, fields: &Fields<'_>, prng: &mut Prng) -> Result<Uploaded> {
        let key = OneTimeKey::generate(&self.layout, prng);
        let shares = self.field.share(key.coefficients(), self.threshold, self.points, prng);
        let shares = shares.iter().map(|share| self.field.pack(share)).collect();
        let values = Vector { len: fields.len, fill: fields.fill };
        Ok(Uploaded { ciphertexts: self.layout.seal(key, &self.seed, &values, prng)?, shares })
    }

    fn accumulate(&self, sum: &mut Vec<u8>, ciphertexts: &[u8]) -> Result<()> {
        let len = self.lengths().ciphertexts;
        if ciphertexts.len() != len {
            return Err(Error::message(format!("ciphertexts of {} bytes, expected {len}", ciphertexts.len())));
        }
        if sum.is_empty() {
            self.layout.check(ciphertexts)?;
            sum.extend_from_slice(ciphertexts);
            return Ok(());
        }
        Ok(self.layout.add(sum, ciphertexts)?)
    }

    fn close(&self, _: &[u8]) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn answer(&self, _: usize, shares: &[&[u8]], _: &[u8], _: &mut Prng) -> Result<Zeroizing<Vec<u8>>> {
        let mut sum: Residues = Zeroizing::new(vec![0; self.n()]);
        for share in shares {
            self.field.add(&mut sum, &self.field.unpack(share, self.n())?);
        }
        Ok(self.field.pack(&sum))
    }

    fn combine(
        &self,
        sum: &[u8],
        uploads: usize,
        parts: &[(usize, &[u8])],
        take: &mut dyn FnMut(usize, &[u32]),
    ) -> Result<()> {
        // A part that is none is as if it had not come.
        let parts: Vec<(usize, Residues)> =
            parts.iter().filter_map(|(point, part)| Some((*point, self.field.unpack(part, self.n()).ok()?))).collect();
        let keys = subsets(parts.len(), self.threshold).map(|chosen| {
            let chosen: Vec<(usize, &[u32])> = chosen.iter().map(|&i| (parts[i].0, &parts[i].1[..])).collect();
            self.field.combine(&chosen)
        });
        let mut keys = keys.filter(|keys| self.opens(sum, keys, uploads));
        let keys = keys.next().ok_or_else(|| {
            let (found, t) = (parts.len(), self.threshold);
            Error::message(format!(
                "no {t} of {found} answers open the sum: one at least is wrong, or it is another sum"
            ))
        })?;
        Ok(self.layout.open(&keys, &self.seed, (sum, 0), uploads, take)?)
    }
}
