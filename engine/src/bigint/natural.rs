//! Natural numbers as slices of 64-bit limbs, the least first. Times depend on lengths alone.

/// `a + b + carry`, and what is carried.
#[inline(always)]
pub(super) fn add_with(a: u64, b: u64, carry: u64) -> (u64, u64) {
    let sum = u128::from(a) + u128::from(b) + u128::from(carry);
    (sum as u64, (sum >> 64) as u64)
}

/// `a += b`; what is carried beyond a.
pub(super) fn add(a: &mut [u64], b: &[u64]) -> u64 {
    let mut carry = 0;
    for (i, a) in a.iter_mut().enumerate() {
        (*a, carry) = add_with(*a, b.get(i).copied().unwrap_or(0), carry);
    }
    carry
}

/// `a -= b & mask`; 1 where that borrows. `mask` is all ones or zero.
pub(super) fn subtract_masked(a: &mut [u64], b: &[u64], mask: u64) -> u64 {
    let mut borrow = 0;
    for (i, a) in a.iter_mut().enumerate() {
        let (d, under) = a.overflowing_sub(b.get(i).copied().unwrap_or(0) & mask);
        let (d, under_too) = d.overflowing_sub(borrow);
        (*a, borrow) = (d, u64::from(under | under_too));
    }
    borrow
}

/// 1 if a < b, else 0.
pub(super) fn less(a: &[u64], b: &[u64]) -> u64 {
    let word = |x: &[u64], i: usize| x.get(i).copied().unwrap_or(0);
    (0..a.len().max(b.len())).fold(0, |borrow, i| {
        let (d, under) = word(a, i).overflowing_sub(word(b, i));
        u64::from(under | d.overflowing_sub(borrow).1)
    })
}

/// Subtracts n unless a is smaller; 1 if it did. No branch.
pub(super) fn reduce_once(a: &mut [u64], n: &[u64]) -> u64 {
    let fits = 1 - less(a, n);
    subtract_masked(a, n, fits.wrapping_neg());
    fits
}

/// `sum += a * b`, of as many limbs as both have together, or more.
pub(super) fn add_product(sum: &mut [u64], a: &[u64], b: &[u64]) {
    for (i, &a) in a.iter().enumerate() {
        let mut carry = 0;
        for (s, &b) in sum[i..].iter_mut().zip(b) {
            let t = u128::from(a) * u128::from(b) + u128::from(*s) + u128::from(carry);
            (*s, carry) = (t as u64, (t >> 64) as u64);
        }
        add(&mut sum[i + b.len()..], &[carry]);
    }
}

/// The number of bits up to the highest one.
pub(super) fn bit_length(x: &[u64]) -> usize {
    x.iter().rposition(|&limb| limb != 0).map_or(0, |i| 64 * (i + 1) - x[i].leading_zeros() as usize)
}

/// The lowest `bits` bits set.
pub(super) const fn mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

/// Digit number i of `bits` bits, zero beyond x.
pub(super) fn digit(x: &[u64], i: usize, bits: u32) -> u64 {
    let (word, shift) = (i * bits as usize / 64, i * bits as usize % 64);
    let at = |word: usize| x.get(word).copied().unwrap_or(0);
    let high = if shift == 0 { 0 } else { at(word + 1) << (64 - shift) };
    (at(word) >> shift | high) & mask(bits)
}

/// Adds digit number i of `bits` bits to what has none there yet; bits beyond x must be zero.
pub(super) fn put_digit(x: &mut [u64], i: usize, bits: u32, digit: u64) {
    let (word, shift) = (i * bits as usize / 64, i * bits as usize % 64);
    if let Some(low) = x.get_mut(word) {
        *low |= digit << shift;
    }
    if let (true, Some(high)) = (shift != 0, x.get_mut(word + 1)) {
        *high |= digit >> (64 - shift);
    }
}

/// -1/n modulo 2^64, of an odd n: Newton's step doubles the bits that are right, of which n itself has three.
pub(super) fn negated_inverse(n: u64) -> u64 {
    (0..5).fold(n, |x, _| x.wrapping_mul(2_u64.wrapping_sub(n.wrapping_mul(x)))).wrapping_neg()
}
