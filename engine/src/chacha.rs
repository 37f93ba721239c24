//! The ChaCha12 gate hash in batches: H_k(x) is the first 16 bytes of the ChaCha block of 12 rounds under the key k, at
//! the position that the 128 bits of x name (words 12 to 15: 64 bits of counter, 64 of nonce).
//!
//! Here the key is public and the input secret. With the permutation of 512 bits as a random one, the block function is
//! a random oracle on (k, x): its input holds 128 bits of constants, so that a backward query helps with probability
//! 2^-128 only, and 384 bits of its output are never seen. A gate's hashes at x and x xor Delta are then independent;
//! no orthomorphism is needed. Against generic attacks the key separates gates as it does with [`crate::aes`]: a guess
//! at Delta is tried on the instances of one key alone, at most 256, which leaves 2^120 of 2^128. The best published
//! attacks on ChaCha reach 7 of its rounds (Aumasson, Fischer, Khazaei, Meier, Rechberger: "New features of Latin
//! dances", 2008, and their successors).
//!
//! The rounds are additions, xors and rotations of 32-bit words: no table, so nothing secret is an index on any device.
//!
//! Keys are (root, number): six words that depend on session and purpose, and a counter of 64 bits. They cost nothing
//! to derive. Three bodies give the same bytes: sixteen instances side by side on AVX-512, eight on AVX2, and one.

use std::sync::LazyLock;

use zeroize::Zeroize;

#[cfg(target_arch = "x86_64")]
mod simd;

/// "expand 32-byte k", the constants of the block function.
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];
/// Pairs of a column round and a diagonal round.
const DOUBLE_ROUNDS: usize = 6;

/// A public key of the hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChaCha12 {
    pub(crate) key: [u32; 8],
}

/// A code path; all give the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Body {
    /// Every body that this processor runs, the fastest first.
    fn available() -> Vec<Self> {
        let mut all = vec![];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(is_x86_feature_detected!("avx512f").then_some(Self::Avx512));
            all.extend(is_x86_feature_detected!("avx2").then_some(Self::Avx2));
        }
        all.push(Self::Portable);
        all
    }

    #[inline]
    fn best() -> Self {
        static BEST: LazyLock<Body> = LazyLock::new(|| Body::available()[0]);
        *BEST
    }
}

/// One hash.
fn block([x]: &[u128; 1], key: &[u32; 8], offset: u128, [out]: &mut [u128; 1]) {
    let mut s = [0; 16];
    s[..4].copy_from_slice(&CONSTANTS);
    s[4..12].copy_from_slice(key);
    (0..4).for_each(|w| s[12 + w] = ((x ^ offset) >> (32 * w)) as u32);
    let mut quarter = |a: usize, b: usize, c: usize, d: usize| {
        for by in [[16, 12], [8, 7]] {
            s[a] = s[a].wrapping_add(s[b]);
            s[d] = (s[d] ^ s[a]).rotate_left(by[0]);
            s[c] = s[c].wrapping_add(s[d]);
            s[b] = (s[b] ^ s[c]).rotate_left(by[1]);
        }
    };
    for _ in 0..DOUBLE_ROUNDS {
        quarter(0, 4, 8, 12);
        quarter(1, 5, 9, 13);
        quarter(2, 6, 10, 14);
        quarter(3, 7, 11, 15);
        quarter(0, 5, 10, 15);
        quarter(1, 6, 11, 12);
        quarter(2, 7, 8, 13);
        quarter(3, 4, 9, 14);
    }
    *out = (0..4).rev().fold(0, |h, w| h << 32 | u128::from(s[w].wrapping_add(CONSTANTS[w])));
}

/// Calls `block` for all inputs, the last ones filled up with zeros.
#[inline(always)]
fn in_blocks<const N: usize>(x: &[u128], out: &mut [u128], block: impl Fn(&[u128; N], &mut [u128; N])) {
    let (full, rest) = x.as_chunks();
    let (full_out, rest_out) = out.as_chunks_mut();
    full.iter().zip(full_out).for_each(|(x, out)| block(x, out));
    if !rest.is_empty() {
        let (mut padded, mut hashes) = ([0; N], [0; N]);
        padded[..rest.len()].copy_from_slice(rest);
        block(&padded, &mut hashes);
        rest_out.copy_from_slice(&hashes[..rest.len()]);
        padded.zeroize();
        hashes.zeroize();
    }
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
        self.hash_with(Body::best(), x, offset, out);
    }

    fn hash_with(&self, body: Body, x: &[u128], offset: u128, out: &mut [u128]) {
        assert_eq!(x.len(), out.len(), "one hash for each input");
        match body {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the body is only chosen on a processor that has its features.
            Body::Avx512 => in_blocks(x, out, |x, out| unsafe { simd::block512(&self.key, x, offset, out) }),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the body is only chosen on a processor that has its features.
            Body::Avx2 => in_blocks(x, out, |x, out| unsafe { simd::block256(&self.key, x, offset, out) }),
            Body::Portable => in_blocks(x, out, |x, out| block(x, &self.key, offset, out)),
        }
    }
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha12Rng;
    use chacha20::rand_core::{Rng, SeedableRng};
    use proptest::prelude::*;

    use super::*;

    /// The first 16 bytes of the keystream under a zero key at zero (draft-strombergson-chacha-test-vectors, TC1, 256
    /// bits, 12 rounds).
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
            let mut out = vec![0; x.len()];
            cipher.hash(&x, offset, &mut out);
            for body in Body::available() {
                let mut found = vec![0; x.len()];
                cipher.hash_with(body, &x, offset, &mut found);
                prop_assert_eq!(&out, &found, "{:?}", body);
            }
            for (x, h) in x.iter().zip(out) {
                prop_assert_eq!(h, keystream(&key, x ^ offset));
            }
        }
    }
}
