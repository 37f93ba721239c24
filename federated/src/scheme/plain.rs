//! No encryption: the sums that every scheme must come to.

use blindvox_engine::Prng;
use rayon::prelude::*;
use zeroize::Zeroizing;

use super::{Fields, Lengths, Scheme, Uploaded};
use crate::error::{Error, Result};

/// Numbers that are written at a time.
const CHUNK: usize = 1 << 12;
/// Bytes of a number.
const WORD: usize = 4;

/// Numbers as they are, four bytes each.
pub struct Plain {
    /// Numbers of an upload.
    pub fields: usize,
}

impl Scheme for Plain {
    fn lengths(&self) -> Lengths {
        Lengths { ciphertexts: WORD * self.fields, share: 0, closed: 0, part: 0 }
    }

    fn upload(&self, fields: &Fields<'_>, _: &mut Prng) -> Result<Uploaded> {
        let mut ciphertexts = vec![0; WORD * self.fields];
        ciphertexts.par_chunks_mut(WORD * CHUNK).enumerate().for_each(|(i, out)| {
            let mut row = [0; CHUNK];
            let row = &mut row[..out.len() / WORD];
            (fields.fill)(i * CHUNK, row);
            out.as_chunks_mut::<WORD>().0.iter_mut().zip(&*row).for_each(|(out, x)| *out = x.to_le_bytes());
        });
        Ok(Uploaded { ciphertexts, shares: Vec::new() })
    }

    fn accumulate(&self, sum: &mut Vec<u8>, ciphertexts: &[u8]) -> Result<()> {
        if ciphertexts.len() != WORD * self.fields {
            return Err(Error::message(format!("{} bytes for {} numbers", ciphertexts.len(), self.fields)));
        }
        sum.resize(ciphertexts.len(), 0);
        for (sum, x) in sum.as_chunks_mut::<WORD>().0.iter_mut().zip(ciphertexts.as_chunks::<WORD>().0) {
            *sum = u32::from_le_bytes(*sum).wrapping_add(u32::from_le_bytes(*x)).to_le_bytes();
        }
        Ok(())
    }

    fn close(&self, _: &[u8]) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn answer(&self, _: usize, _: &[&[u8]], _: &[u8], _: &mut Prng) -> Result<Zeroizing<Vec<u8>>> {
        Ok(Zeroizing::default())
    }

    fn combine(&self, sum: &[u8], _: usize, _: &[(usize, &[u8])], take: &mut dyn FnMut(usize, &[u32])) -> Result<()> {
        for (i, part) in sum.chunks(WORD * CHUNK).enumerate() {
            let row: Vec<u32> = part.as_chunks::<WORD>().0.iter().map(|x| u32::from_le_bytes(*x)).collect();
            take(i * CHUNK, &row);
        }
        Ok(())
    }
}
