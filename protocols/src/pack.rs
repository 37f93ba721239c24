//! Residues on the wire: `bits` bits each, without gaps, the lowest first.
//!
//! Value i takes bits i·bits to (i + 1)·bits of the little-endian byte string; the last byte is filled up
//! with zeros. Eight values are exactly `bits` bytes, which is the unit of the vector body.

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(not(target_arch = "x86_64"))]
mod avx512 {
    //! No vector body: nothing is done in advance.
    pub(super) fn pack(_: &[u64], _: u32, _: &mut [u8]) -> usize {
        0
    }
    pub(super) fn unpack(_: &[u8], _: u32, _: &mut [u64]) -> usize {
        0
    }
}

/// Bytes that `count` packed values of `bits` bits take.
pub fn packed_len(count: usize, bits: u32) -> usize {
    (count * bits as usize).div_ceil(8)
}

/// Packs values below 2^`bits`, 1 <= `bits` <= 64.
///
/// # Panics
/// For `bits` out of range. Higher bits of a value would spoil its neighbours: they must be 0.
pub fn pack(values: &[u64], bits: u32) -> Vec<u8> {
    assert!((1..=64).contains(&bits), "packing to {bits} bits");
    debug_assert!(values.iter().all(|&v| v <= u64::MAX >> (64 - bits)));
    let mut bytes = vec![0; packed_len(values.len(), bits)];
    let done = avx512::pack(values, bits, &mut bytes);
    pack_portable(&values[done..], bits, &mut bytes[done / 8 * bits as usize..]);
    bytes
}

/// The `count` values behind `bytes`, each below 2^`bits`.
///
/// # Panics
/// For `bits` out of range, or another length than [`packed_len`]: the receiver checks it first.
pub fn unpack(bytes: &[u8], bits: u32, count: usize) -> Vec<u64> {
    assert!((1..=64).contains(&bits), "unpacking from {bits} bits");
    assert_eq!(bytes.len(), packed_len(count, bits), "packed length");
    let mut values = vec![0; count];
    let done = avx512::unpack(bytes, bits, &mut values);
    unpack_portable(&bytes[done / 8 * bits as usize..], bits, &mut values[done..]);
    values
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
        assert_eq!(pack(&values, bits), expected, "{bits} bits");
        assert_eq!(unpack(&expected, bits, values.len()), values, "{bits} bits");
        let mut portable = vec![0; expected.len()];
        pack_portable(&values, bits, &mut portable);
        assert_eq!(portable, expected, "{bits} bits");
        let mut back = vec![0; values.len()];
        unpack_portable(&expected, bits, &mut back);
        assert_eq!(back, values, "{bits} bits");
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(values in prop::collection::vec(any::<u64>(), 0..50), bits in 1u32..=64) {
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
