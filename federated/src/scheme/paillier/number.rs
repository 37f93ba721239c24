//! Integers as bytes, as limbs for the engine, and as those of the big-integer library for what is done once.

use crypto_bigint::BoxedUint;
use zeroize::Zeroizing;

/// Limbs of bytes, the least first: whole limbs.
pub(super) fn from_bytes(bytes: &[u8]) -> Zeroizing<Vec<u64>> {
    Zeroizing::new(bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
}

/// Bytes of limbs, the least first.
pub(super) fn to_bytes(limbs: &[u64]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![0; 8 * limbs.len()]);
    bytes.as_chunks_mut().0.iter_mut().zip(limbs).for_each(|(bytes, limb)| *bytes = limb.to_le_bytes());
    bytes
}

/// For the library, with as many bits as there are.
pub(super) fn boxed(limbs: &[u64]) -> BoxedUint {
    BoxedUint::from_words(limbs.iter().copied())
}

/// From the library, in `count` limbs.
///
/// # Panics
/// If it has more.
pub(super) fn limbs(x: &BoxedUint, count: usize) -> Zeroizing<Vec<u64>> {
    let words = x.as_words();
    assert!(words.iter().skip(count).all(|&word| word == 0), "an integer of {count} limbs");
    Zeroizing::new((0..count).map(|i| words.get(i).copied().unwrap_or(0)).collect())
}

/// x times a small factor, one limb longer.
pub(super) fn times(x: &[u64], factor: u64) -> Zeroizing<Vec<u64>> {
    let mut product = Zeroizing::new(vec![0; x.len() + 1]);
    let mut carry = 0_u128;
    for (out, &limb) in product.iter_mut().zip(x.iter().chain(&[0])) {
        carry += u128::from(limb) * u128::from(factor);
        *out = carry as u64;
        carry >>= 64;
    }
    product
}

/// The bits of a small number.
pub(super) fn bits(x: u64) -> usize {
    64 - x.leading_zeros() as usize
}
