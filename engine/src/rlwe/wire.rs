//! Residues on the wire: each in exactly as many bits as its prime has, little-endian bit order, every
//! row of n starting at a byte.

#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::error::{Error, Result};
use crate::ring::Basis;

/// Bytes that are read piece by piece; what is not there is an error.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let short = || Error::Decode(format!("cut short: {} bytes are left of {len}", self.0.len()));
        let (head, tail) = self.0.split_at_checked(len).ok_or_else(short)?;
        self.0 = tail;
        Ok(head)
    }

    /// The next N bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("as many as were taken"))
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// An error unless nothing is left.
    pub(crate) fn end(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Decode(format!("{} bytes too many", self.0.len()))) }
    }
}

/// Bytes of `count` values of `bits` bits.
pub fn packed_len(count: usize, bits: u32) -> usize {
    (count * bits as usize).div_ceil(8)
}

/// Bytes of `[batch, limbs, n]` residues.
pub fn packed_rows_len(basis: &Basis, batch: usize) -> usize {
    batch * (0..basis.len()).map(|l| packed_len(basis.n(), basis.modulus(l).bits())).sum::<usize>()
}

/// Appends `values`, each below 2^`bits` (1 to 64).
pub fn pack(values: &[u64], bits: u32, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + packed_len(values.len(), bits), 0);
    pack_into(values, bits, &mut out[start..]);
}

/// Packs `values`, each below 2^`bits` (1 to 64), to exactly [`packed_len`] bytes.
pub(crate) fn pack_into(values: &[u64], bits: u32, bytes: &mut [u8]) {
    debug_assert_eq!(bytes.len(), packed_len(values.len(), bits));
    let done = vector_pack(values, bits, bytes);
    pack_portable(&values[done..], bits, &mut bytes[packed_len(done, bits)..]);
}

/// Reads `count` values of `bits` bits (1 to 64) from exactly [`packed_len`] bytes.
pub fn unpack(bytes: &[u8], bits: u32, count: usize) -> Result<Vec<u64>> {
    if bytes.len() != packed_len(count, bits) {
        return Err(Error::Decode(format!("{} bytes for {count} values of {bits} bits", bytes.len())));
    }
    let mut values = vec![0; count];
    unpack_into(bytes, bits, &mut values);
    Ok(values)
}

/// Reads as many values of `bits` bits (1 to 64) as there is room for, from exactly [`packed_len`] bytes.
pub fn unpack_into(bytes: &[u8], bits: u32, values: &mut [u64]) {
    debug_assert_eq!(bytes.len(), packed_len(values.len(), bits));
    let done = vector_unpack(bytes, bits, values);
    unpack_portable(&bytes[packed_len(done, bits)..], bits, &mut values[done..]);
}

/// Packs whole eights, which end at a byte, as far as the processor can, and returns how many values that were.
fn vector_pack(values: &[u64], bits: u32, bytes: &mut [u8]) -> usize {
    #[cfg(target_arch = "x86_64")]
    return avx512::pack(values, bits, bytes);
    #[cfg(not(target_arch = "x86_64"))]
    return 0;
}

/// The way back.
fn vector_unpack(bytes: &[u8], bits: u32, values: &mut [u64]) -> usize {
    #[cfg(target_arch = "x86_64")]
    return avx512::unpack(bytes, bits, values);
    #[cfg(not(target_arch = "x86_64"))]
    return 0;
}

fn pack_portable(values: &[u64], bits: u32, bytes: &mut [u8]) {
    let (mut held, mut count) = (0u128, 0);
    let mut words = bytes.chunks_mut(8);
    for &v in values {
        held |= u128::from(v) << count;
        count += bits;
        if count >= 64 {
            words.next().expect("a word for 64 bits").copy_from_slice(&(held as u64).to_le_bytes());
            held >>= 64;
            count -= 64;
        }
    }
    if let Some(rest) = words.next() {
        rest.copy_from_slice(&(held as u64).to_le_bytes()[..rest.len()]);
    }
}

fn unpack_portable(bytes: &[u8], bits: u32, values: &mut [u64]) {
    let (mut held, mut count) = (0u128, 0);
    let mut words = bytes.chunks(8).map(|c| {
        let mut word = [0; 8];
        word[..c.len()].copy_from_slice(c);
        u64::from_le_bytes(word)
    });
    for v in values {
        if count < bits {
            held |= u128::from(words.next().expect("a word for the next value")) << count;
            count += 64;
        }
        *v = held as u64 & (u64::MAX >> (64 - bits));
        held >>= bits;
        count -= bits;
    }
}

/// Packs `[batch, limbs, n]` residues.
pub fn pack_rows(basis: &Basis, words: &[u64], out: &mut Vec<u8>) {
    for (row, values) in words.chunks_exact(basis.n()).enumerate() {
        pack(values, basis.modulus(row % basis.len()).bits(), out);
    }
}

/// Packs `[batch, limbs, n]` residues to exactly [`packed_rows_len`] bytes.
pub(crate) fn pack_rows_into(basis: &Basis, words: &[u64], mut bytes: &mut [u8]) {
    for (row, values) in words.chunks_exact(basis.n()).enumerate() {
        let bits = basis.modulus(row % basis.len()).bits();
        let (head, tail) = bytes.split_at_mut(packed_len(values.len(), bits));
        pack_into(values, bits, head);
        bytes = tail;
    }
}

/// Unpacks `[batch, limbs, n]` residues from exactly [`packed_rows_len`] bytes. That they are reduced is checked at
/// upload.
pub fn unpack_rows(basis: &Basis, batch: usize, bytes: &[u8]) -> Result<Vec<u64>> {
    if bytes.len() != packed_rows_len(basis, batch) {
        return Err(Error::Decode(format!(
            "{} bytes where {} were expected",
            bytes.len(),
            packed_rows_len(basis, batch)
        )));
    }
    let mut words = vec![0; batch * basis.len() * basis.n()];
    unpack_rows_into(basis, bytes, &mut words)?;
    Ok(words)
}

/// Unpacks as many `[batch, limbs, n]` residues as there is room for.
pub fn unpack_rows_into(basis: &Basis, mut bytes: &[u8], words: &mut [u64]) -> Result<()> {
    for (row, words) in words.chunks_exact_mut(basis.n()).enumerate() {
        let bits = basis.modulus(row % basis.len()).bits();
        let (head, tail) = bytes
            .split_at_checked(packed_len(basis.n(), bits))
            .ok_or_else(|| Error::Decode(format!("row {row} is cut short: {} bytes are left of it", bytes.len())))?;
        unpack_into(head, bits, words);
        bytes = tail;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By definition, bit by bit.
    fn reference(values: &[u64], bits: u32) -> Vec<u8> {
        let mut bytes = vec![0; packed_len(values.len(), bits)];
        for (i, v) in values.iter().enumerate() {
            for b in 0..bits as usize {
                let at = i * bits as usize + b;
                bytes[at / 8] |= ((v >> b & 1) as u8) << (at % 8);
            }
        }
        bytes
    }

    fn check(values: &[u64], bits: u32) {
        let values: Vec<u64> = values.iter().map(|v| v & (u64::MAX >> (64 - bits))).collect();
        let expected = reference(&values, bits);
        let mut packed = vec![7];
        pack(&values, bits, &mut packed);
        assert_eq!(packed[1..], expected, "{bits} bits");
        assert_eq!(unpack(&expected, bits, values.len()).unwrap(), values, "{bits} bits");
        assert!(unpack(&packed, bits, values.len()).is_err());
        let mut portable = vec![0; expected.len()];
        pack_portable(&values, bits, &mut portable);
        assert_eq!(portable, expected, "{bits} bits");
        let mut back = vec![0; values.len()];
        unpack_portable(&expected, bits, &mut back);
        assert_eq!(back, values, "{bits} bits");
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(values in proptest::collection::vec(any::<u64>(), 0..50), bits in 1u32..=64) {
            check(&values, bits);
        }
    }

    #[test]
    fn keeps_all_ones_at_every_width() {
        for bits in 1..=64 {
            check(&[u64::MAX; 19], bits);
            check(&[u64::MAX, 0, 1, u64::MAX, u64::MAX - 1, 0, 0, u64::MAX, 1], bits);
        }
    }
}
