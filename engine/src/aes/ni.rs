//! The AES-NI body: eight blocks in flight.

use std::arch::x86_64::*;

use super::Aes128;

const TILE: usize = 8;

#[inline]
#[target_feature(enable = "sse2")]
fn load(x: &u128) -> __m128i {
    // SAFETY: the reference is valid for 16 bytes and the load needs no alignment.
    unsafe { _mm_loadu_si128(std::ptr::from_ref(x).cast()) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn store(x: &mut u128, v: __m128i) {
    // SAFETY: the reference is valid for 16 bytes and the store needs no alignment.
    unsafe { _mm_storeu_si128(std::ptr::from_mut(x).cast(), v) }
}

/// Expands keys one by one. SubWord(RotWord(w)) is the last AES round on a block whose four columns are
/// RotWord(w): ShiftRows does not move anything there.
#[target_feature(enable = "aes,ssse3")]
pub(super) fn expand(keys: &[u128], out: &mut [Aes128]) {
    let rotate = _mm_set1_epi32(0x0c0f_0e0d);
    for (key, out) in keys.iter().zip(out) {
        let mut k = load(key);
        store(&mut out.round_keys[0], k);
        let mut constant = 1u8;
        for slot in &mut out.round_keys[1..] {
            let word = _mm_aesenclast_si128(_mm_shuffle_epi8(k, rotate), _mm_set1_epi32(i32::from(constant)));
            k = _mm_xor_si128(k, _mm_slli_si128::<4>(k));
            k = _mm_xor_si128(k, _mm_slli_si128::<8>(k));
            k = _mm_xor_si128(k, word);
            store(slot, k);
            constant = (constant << 1) ^ (0x1b * (constant >> 7));
        }
    }
}

/// Encrypts every block in place.
#[target_feature(enable = "aes,ssse3")]
pub(super) fn encrypt(key: &Aes128, blocks: &mut [u128]) {
    let mut k = [_mm_setzero_si128(); 11];
    for (k, r) in k.iter_mut().zip(&key.round_keys) {
        *k = load(r);
    }
    let (tiles, rest) = blocks.as_chunks_mut::<TILE>();
    for tile in tiles {
        encrypt_tile(&k, tile);
    }
    if !rest.is_empty() {
        let mut tile = [0; TILE];
        tile[..rest.len()].copy_from_slice(rest);
        encrypt_tile(&k, &mut tile);
        rest.copy_from_slice(&tile[..rest.len()]);
    }
}

#[inline]
#[target_feature(enable = "aes,ssse3")]
fn encrypt_tile(k: &[__m128i; 11], tile: &mut [u128; TILE]) {
    let mut x = [_mm_setzero_si128(); TILE];
    for (x, b) in x.iter_mut().zip(&*tile) {
        *x = _mm_xor_si128(load(b), k[0]);
    }
    for k in &k[1..10] {
        for x in &mut x {
            *x = _mm_aesenc_si128(*x, *k);
        }
    }
    for (x, b) in x.iter().zip(tile) {
        store(b, _mm_aesenclast_si128(*x, k[10]));
    }
}
