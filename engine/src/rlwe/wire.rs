//! Residues on the wire: each in exactly as many bits as its prime has, little-endian bit order, every
//! row of n starting at a byte.

use crate::error::{Error, Result};
use crate::ring::RnsBasis;

/// Bytes of `count` values of `bits` bits.
pub fn packed_len(count: usize, bits: u32) -> usize {
    (count * bits as usize).div_ceil(8)
}

/// Bytes of `[batch, limbs, n]` residues.
pub fn packed_rows_len(basis: &RnsBasis, batch: usize) -> usize {
    batch * (0..basis.len()).map(|l| packed_len(basis.n(), basis.modulus(l).bits())).sum::<usize>()
}

/// Appends `values`, each below 2^`bits` (at most 63).
pub fn pack(values: &[u64], bits: u32, out: &mut Vec<u8>) {
    let end = out.len() + packed_len(values.len(), bits);
    out.reserve(end - out.len() + 8);
    let (mut word, mut filled) = (0u64, 0);
    for &value in values {
        word |= value << filled;
        filled += bits;
        if filled >= 64 {
            out.extend_from_slice(&word.to_le_bytes());
            filled -= 64;
            // The part of `value` that did not fit; a shift by the full width, when all of it did, gives zero.
            word = value.checked_shr(bits - filled).unwrap_or(0);
        }
    }
    out.extend_from_slice(&word.to_le_bytes());
    out.truncate(end);
}

/// Reads `count` values of `bits` bits (at most 57 without a spill, 63 with) from exactly [`packed_len`] bytes.
pub fn unpack(bytes: &[u8], bits: u32, count: usize) -> Result<Vec<u64>> {
    if bytes.len() != packed_len(count, bits) {
        return Err(Error::Decode(format!("{} bytes for {count} values of {bits} bits", bytes.len())));
    }
    let mask = (1u64 << bits) - 1;
    let at = |byte: usize| -> u128 {
        match bytes.get(byte..byte + 16) {
            Some(window) => u128::from_le_bytes(window.try_into().expect("16 bytes")),
            None => {
                let mut window = [0; 16];
                window[..bytes.len() - byte].copy_from_slice(&bytes[byte..]);
                u128::from_le_bytes(window)
            }
        }
    };
    Ok((0..count).map(|i| i * bits as usize).map(|bit| (at(bit / 8) >> (bit % 8)) as u64 & mask).collect())
}

/// Packs `[batch, limbs, n]` residues.
pub fn pack_rows(basis: &RnsBasis, words: &[u64], out: &mut Vec<u8>) {
    for (row, values) in words.chunks_exact(basis.n()).enumerate() {
        pack(values, basis.modulus(row % basis.len()).bits(), out);
    }
}

/// Unpacks `[batch, limbs, n]` residues from exactly [`packed_rows_len`] bytes. That they are reduced is checked at upload.
pub fn unpack_rows(basis: &RnsBasis, batch: usize, bytes: &[u8]) -> Result<Vec<u64>> {
    if bytes.len() != packed_rows_len(basis, batch) {
        return Err(Error::Decode(format!(
            "{} bytes where {} were expected",
            bytes.len(),
            packed_rows_len(basis, batch)
        )));
    }
    let mut words = Vec::with_capacity(batch * basis.len() * basis.n());
    let mut rest = bytes;
    for row in 0..batch * basis.len() {
        let bits = basis.modulus(row % basis.len()).bits();
        let (row, tail) = rest.split_at(packed_len(basis.n(), bits));
        words.extend(unpack(row, bits, basis.n())?);
        rest = tail;
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trips(bits in 1u32..=63, values in proptest::collection::vec(any::<u64>(), 0..40)) {
            let values: Vec<u64> = values.iter().map(|v| v & ((1 << bits) - 1)).collect();
            let mut bytes = vec![7];
            pack(&values, bits, &mut bytes);
            prop_assert_eq!(bytes.len(), 1 + packed_len(values.len(), bits));
            prop_assert_eq!(unpack(&bytes[1..], bits, values.len()).unwrap(), values);
            prop_assert!(unpack(&bytes, bits, 1000).is_err());
        }
    }
}
