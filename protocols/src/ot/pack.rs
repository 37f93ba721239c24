//! Tight packing: ring elements to their own number of bits, choices to one bit.

use blindvox_net::transport::recycle;

use crate::share::Ring;

/// Bits of an element on the wire.
pub(super) fn bits(ring: Ring) -> u32 {
    64 - (ring.modulus() - 1).leading_zeros()
}

/// Bytes that `count` elements of `bits` bits take.
pub(crate) fn packed_len(count: usize, bits: u32) -> usize {
    (count * bits as usize).div_ceil(8)
}

/// Values below 2^bits to a bit stream, the lowest bit first.
pub(crate) fn pack(values: &[u32], bits: u32) -> Vec<u8> {
    if bits == 32 {
        let mut out = recycle::with_capacity(size_of_val(values));
        out.extend_from_slice(bytemuck::cast_slice(values));
        return out;
    }
    let mut out = recycle::with_capacity(packed_len(values.len(), bits) + 8);
    let (mut word, mut filled) = (0u64, 0);
    for &v in values {
        word |= u64::from(v) << filled;
        filled += bits;
        if filled >= 32 {
            out.extend_from_slice(&(word as u32).to_le_bytes());
            word >>= 32;
            filled -= 32;
        }
    }
    out.extend_from_slice(&word.to_le_bytes());
    out.truncate(packed_len(values.len(), bits));
    out
}

/// The first `count` values of a bit stream of [`packed_len`] bytes.
pub(crate) fn unpack(bytes: &[u8], count: usize, bits: u32) -> Vec<u32> {
    let mask = u32::MAX >> (32 - bits);
    let mut words = bytes.chunks(4).map(|c| {
        let mut word = [0; 4];
        word[..c.len()].copy_from_slice(c);
        u64::from(u32::from_le_bytes(word))
    });
    let (mut word, mut filled) = (0u64, 0);
    (0..count)
        .map(|_| {
            if filled < bits {
                word |= words.next().unwrap_or(0) << filled;
                filled += 32;
            }
            let v = word as u32 & mask;
            word >>= bits;
            filled -= bits;
            v
        })
        .collect()
}

/// Choices (the lowest bit of each byte) to bits, 128 a word, the last word filled up with zeros.
pub(super) fn pack_choices(choices: &[u8]) -> Vec<u128> {
    let pack8 = |c: &[u8]| {
        let mut bytes = [0; 8];
        bytes[..c.len()].copy_from_slice(c);
        // One product collects the lowest bits of eight bytes in the top byte.
        (u64::from_le_bytes(bytes) & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56
    };
    choices
        .chunks(128)
        .map(|word| word.chunks(8).enumerate().fold(0, |w, (i, c)| w | (u128::from(pack8(c)) << (8 * i))))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn streams_round_trip(values in proptest::collection::vec(any::<u32>(), 0..70), bits in 1u32..=32) {
            let values: Vec<u32> = values.iter().map(|v| v & (u32::MAX >> (32 - bits))).collect();
            let bytes = pack(&values, bits);
            prop_assert_eq!(bytes.len(), packed_len(values.len(), bits));
            prop_assert_eq!(unpack(&bytes, values.len(), bits), values);
        }

        #[test]
        fn choices_keep_their_place(choices in proptest::collection::vec(0u8..2, 0..300)) {
            let words = pack_choices(&choices);
            prop_assert_eq!(words.len(), choices.len().div_ceil(128));
            for (i, c) in choices.iter().enumerate() {
                prop_assert_eq!((words[i / 128] >> (i % 128)) as u8 & 1, *c);
            }
        }
    }

    #[test]
    fn an_element_takes_the_bits_of_its_ring() {
        for (ring, n) in
            [(Ring::FULL, 32), (Ring::Pow2(1), 1), (Ring::Prime(crate::share::P), 32), (Ring::Prime(65537), 17)]
        {
            assert_eq!(bits(ring), n);
        }
    }
}
