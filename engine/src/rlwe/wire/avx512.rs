//! Packing of eight values at a time by byte permutations (AVX-512 VBMI).
//!
//! Value i of eight starts i·bits mod 8 bits into byte floor(i·bits / 8): one permutation and one shift a lane
//! take it out. The other way, neighbours share a byte at most, so even and odd lanes are spread out
//! apart and joined by an OR.

use std::arch::x86_64::{
    _mm512_and_si512, _mm512_loadu_si512, _mm512_mask_storeu_epi8, _mm512_maskz_loadu_epi8,
    _mm512_maskz_permutexvar_epi8, _mm512_or_si512, _mm512_permutexvar_epi8, _mm512_set1_epi64, _mm512_sllv_epi64,
    _mm512_srlv_epi64, _mm512_storeu_si512,
};

/// True where this processor has the instructions, and each shifted value of this width fits a lane.
fn usable(bits: u32) -> bool {
    (matches!(bits, 8..=57 | 58 | 60 | 64))
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi")
}

/// Where each of eight values starts: its byte and the bit within it.
fn starts(bits: u32) -> ([usize; 8], [u64; 8]) {
    let at = |i: usize| i * bits as usize;
    (std::array::from_fn(|i| at(i) / 8), std::array::from_fn(|i| at(i) as u64 % 8))
}

/// Packs as many whole eights as it can and returns the number of values done.
pub(super) fn pack(values: &[u64], bits: u32, bytes: &mut [u8]) -> usize {
    if !usable(bits) {
        return 0;
    }
    let groups = values.len() / 8;
    assert!(bytes.len() >= groups * bits as usize);
    // SAFETY: the features were detected, and the bytes hold `groups` groups.
    unsafe { pack_groups(&values[..8 * groups], bits, bytes) };
    8 * groups
}

/// Unpacks as many whole eights as it can and returns the number of values done.
pub(super) fn unpack(bytes: &[u8], bits: u32, values: &mut [u64]) -> usize {
    if !usable(bits) {
        return 0;
    }
    let groups = values.len() / 8;
    assert!(bytes.len() >= groups * bits as usize);
    // SAFETY: the features were detected, and the bytes hold `groups` groups.
    unsafe { unpack_groups(bytes, bits, &mut values[..8 * groups]) };
    8 * groups
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn pack_groups(values: &[u64], bits: u32, bytes: &mut [u8]) {
    let (byte, bit) = starts(bits);
    // For even and odd lanes: which byte of the register goes to each byte of the output, and whether any does.
    let mut index = [[0u8; 64]; 2];
    let mut some = [0u64; 2];
    for lane in 0..8 {
        let used = (bit[lane] as usize + bits as usize).div_ceil(8);
        for j in 0..used {
            index[lane % 2][byte[lane] + j] = (8 * lane + j) as u8;
            some[lane % 2] |= 1 << (byte[lane] + j);
        }
    }
    let stored = u64::MAX >> (64 - bits);
    // SAFETY: loads of whole local arrays and of eight values; the store is masked to the group's `bits` bytes.
    unsafe {
        let shift = _mm512_loadu_si512(bit.as_ptr().cast());
        let even = _mm512_loadu_si512(index[0].as_ptr().cast());
        let odd = _mm512_loadu_si512(index[1].as_ptr().cast());
        for (group, out) in values.chunks_exact(8).zip(bytes.chunks_exact_mut(bits as usize)) {
            let x = _mm512_sllv_epi64(_mm512_loadu_si512(group.as_ptr().cast()), shift);
            let joined = _mm512_or_si512(
                _mm512_maskz_permutexvar_epi8(some[0], even, x),
                _mm512_maskz_permutexvar_epi8(some[1], odd, x),
            );
            _mm512_mask_storeu_epi8(out.as_mut_ptr().cast(), stored, joined);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn unpack_groups(bytes: &[u8], bits: u32, values: &mut [u64]) {
    let (byte, bit) = starts(bits);
    let index: [u8; 64] = std::array::from_fn(|i| (byte[i / 8] + i % 8) as u8);
    let loaded = u64::MAX >> (64 - bits);
    // SAFETY: loads of whole local arrays; the load of packed bytes is masked to the group's `bits` bytes, the
    // store is of eight values.
    unsafe {
        let index = _mm512_loadu_si512(index.as_ptr().cast());
        let shift = _mm512_loadu_si512(bit.as_ptr().cast());
        let mask = _mm512_set1_epi64((u64::MAX >> (64 - bits)) as i64);
        for (out, group) in values.chunks_exact_mut(8).zip(bytes.chunks_exact(bits as usize)) {
            let x = _mm512_permutexvar_epi8(index, _mm512_maskz_loadu_epi8(loaded, group.as_ptr().cast()));
            _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_and_si512(_mm512_srlv_epi64(x, shift), mask));
        }
    }
}
