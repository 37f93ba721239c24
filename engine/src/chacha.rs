//! The ChaCha12 gate hash in batches: H_k(x) is the first 16 bytes of the ChaCha block of 12 rounds under the key k, at
//! the position that the 128 bits of x name (words 12 to 15: 64 bits of counter, 64 of nonce).
//!
//! Here the key is public and the input secret. With the permutation of 512 bits as a random one, the block function is a
//! random oracle on (k, x): its input holds 128 bits of constants, so that a backward query helps with probability 2^-128
//! only, and 384 bits of its output are never seen. A gate's hashes at x and x xor Delta are then independent; no
//! orthomorphism is needed. Against generic attacks the key separates gates as it does with [`crate::aes`]: a guess at
//! Delta is tried on the instances of one key alone, at most 256, which leaves 2^120 of 2^128. The best published attacks on ChaCha reach 7
//! of its rounds (Aumasson, Fischer, Khazaei, Meier, Rechberger: "New features of Latin dances", 2008, and their successors).
//!
//! The rounds are additions, xors and rotations of 32-bit words: no table, so nothing secret is an index on any device.
//!
//! Keys are (root, number): six words that depend on session and purpose, and a counter of 64 bits. They cost nothing to derive.
//! One code serves all processors: sixteen instances side by side, compiled for AVX-512, for AVX2 and for neither.

use zeroize::Zeroize;

/// Instances side by side.
const LANES: usize = 16;
/// "expand 32-byte k", the constants of the block function.
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];
/// Pairs of a column round and a diagonal round.
const DOUBLE_ROUNDS: usize = 6;

/// A word of every instance.
type Word = [u32; LANES];

/// A public key of the hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChaCha12 {
    pub(crate) key: [u32; 8],
}

#[inline(always)]
fn add(s: &mut [Word; 16], a: usize, b: usize) {
    let b = s[b];
    s[a].iter_mut().zip(b).for_each(|(a, b)| *a = a.wrapping_add(b));
}

#[inline(always)]
fn xor_rotate(s: &mut [Word; 16], a: usize, b: usize, by: u32) {
    let b = s[b];
    s[a].iter_mut().zip(b).for_each(|(a, b)| *a = (*a ^ b).rotate_left(by));
}

#[inline(always)]
fn quarter(s: &mut [Word; 16], a: usize, b: usize, c: usize, d: usize) {
    for by in [[16, 12], [8, 7]] {
        add(s, a, b);
        xor_rotate(s, d, a, by[0]);
        add(s, c, d);
        xor_rotate(s, b, c, by[1]);
    }
}

/// Hashes of sixteen inputs.
#[inline(always)]
fn block(key: &[u32; 8], x: &[u128; LANES], offset: u128, out: &mut [u128; LANES]) {
    let mut s = [[0; LANES]; 16];
    for (word, value) in s.iter_mut().zip(CONSTANTS.iter().chain(key)) {
        *word = [*value; LANES];
    }
    for (word, s) in s[12..].iter_mut().enumerate() {
        for i in 0..LANES {
            s[i] = ((x[i] ^ offset) >> (32 * word)) as u32;
        }
    }
    for _ in 0..DOUBLE_ROUNDS {
        quarter(&mut s, 0, 4, 8, 12);
        quarter(&mut s, 1, 5, 9, 13);
        quarter(&mut s, 2, 6, 10, 14);
        quarter(&mut s, 3, 7, 11, 15);
        quarter(&mut s, 0, 5, 10, 15);
        quarter(&mut s, 1, 6, 11, 12);
        quarter(&mut s, 2, 7, 8, 13);
        quarter(&mut s, 3, 4, 9, 14);
    }
    for (i, out) in out.iter_mut().enumerate() {
        *out = (0..4).rev().fold(0, |h, w| h << 32 | u128::from(s[w][i].wrapping_add(CONSTANTS[w])));
    }
}

#[inline(always)]
fn blocks(key: &[u32; 8], x: &[u128], offset: u128, out: &mut [u128]) {
    let (full, rest) = x.as_chunks();
    let (full_out, rest_out) = out.as_chunks_mut();
    full.iter().zip(full_out).for_each(|(x, out)| block(key, x, offset, out));
    if !rest.is_empty() {
        let (mut padded, mut hashes) = ([0; LANES], [0; LANES]);
        padded[..rest.len()].copy_from_slice(rest);
        block(key, &padded, offset, &mut hashes);
        rest_out.copy_from_slice(&hashes[..rest.len()]);
        padded.zeroize();
        hashes.zeroize();
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn blocks_avx512(key: &[u32; 8], x: &[u128], offset: u128, out: &mut [u128]) {
    blocks(key, x, offset, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn blocks_avx2(key: &[u32; 8], x: &[u128], offset: u128, out: &mut [u128]) {
    blocks(key, x, offset, out);
}

impl ChaCha12 {
    /// Key number `number` of a root.
    pub(crate) fn numbered(root: &[u32; 6], number: u64) -> Self {
        let mut key = [0; 8];
        key[..6].copy_from_slice(root);
        key[6..].copy_from_slice(&[number as u32, (number >> 32) as u32]);
        Self { key }
    }

    /// `out[i]` = H(`x[i]` xor `offset`).
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn hash(&self, x: &[u128], offset: u128, out: &mut [u128]) {
        assert_eq!(x.len(), out.len(), "one hash for each input");
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                // SAFETY: the features were just found.
                return unsafe { blocks_avx512(&self.key, x, offset, out) };
            }
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the feature was just found.
                return unsafe { blocks_avx2(&self.key, x, offset, out) };
            }
        }
        blocks(&self.key, x, offset, out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha12Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;

    /// The first 16 bytes of the keystream under a zero key at zero (draft-strombergson-chacha-test-vectors, TC1, 256 bits, 12 rounds).
    #[test]
    fn the_zero_block_is_the_published_one() {
        let mut out = [0];
        ChaCha12::default().hash(&[0], 0, &mut out);
        assert_eq!(out[0].to_le_bytes(), 0x9bf4_9a6a_0755_f953_811f_ce12_5f26_83d5_u128.to_be_bytes());
    }

    /// The keystream of another implementation, sixteen bytes a block.
    fn keystream(key: &[u32; 8], x: u128) -> u128 {
        let mut rng = ChaCha12Rng::from_seed(bytemuck::cast(*key));
        rng.set_stream((x >> 64) as u64);
        rng.set_word_pos(u128::from(x as u64) * 16);
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        u128::from_le_bytes(bytes)
    }

    proptest! {
        #[test]
        fn hashes_are_keystream(key: [u32; 8], x in proptest::collection::vec(any::<u128>(), 0..70), offset: u128) {
            let cipher = ChaCha12 { key };
            let (mut out, mut portable) = (vec![0; x.len()], vec![0; x.len()]);
            cipher.hash(&x, offset, &mut out);
            blocks(&key, &x, offset, &mut portable);
            prop_assert_eq!(&out, &portable);
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the feature was just found.
                unsafe { blocks_avx2(&key, &x, offset, &mut portable) };
                prop_assert_eq!(&out, &portable);
            }
            for (x, h) in x.iter().zip(out) {
                prop_assert_eq!(h, keystream(&key, x ^ offset));
            }
        }
    }
}
