//! The VAES body on 256-bit registers: two blocks a register, eight registers in flight.

use std::arch::x86_64::*;

use super::{Aes128, Mend};

pub(super) const TILE: usize = 16;
const REGISTERS: usize = TILE / 2;

/// Round keys, each in both lanes.
type Keys = [__m256i; 11];

#[inline]
#[target_feature(enable = "avx2")]
fn load(x: &[u128; 2]) -> __m256i {
    // SAFETY: the reference is valid for 32 bytes and the load needs no alignment.
    unsafe { _mm256_loadu_si256(std::ptr::from_ref(x).cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(x: &mut [u128; 2], v: __m256i) {
    // SAFETY: the reference is valid for 32 bytes and the store needs no alignment.
    unsafe { _mm256_storeu_si256(std::ptr::from_mut(x).cast(), v) }
}

/// One block in both lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn broadcast(x: &u128) -> __m256i {
    // SAFETY: the reference is valid for 16 bytes and the load needs no alignment.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(std::ptr::from_ref(x).cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn broadcast_keys(key: &Aes128) -> Keys {
    let mut k = [_mm256_setzero_si256(); 11];
    for (k, r) in k.iter_mut().zip(&key.round_keys) {
        *k = broadcast(r);
    }
    k
}

/// The orthomorphism of the hash, in both lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn orthomorphism(x: __m256i) -> __m256i {
    let high = _mm256_set_epi64x(-1, 0, -1, 0);
    _mm256_xor_si256(_mm256_shuffle_epi32::<0x4e>(x), _mm256_and_si256(x, high))
}

/// All rounds on registers that already hold plaintext xor the first round key.
#[inline]
#[target_feature(enable = "avx2,vaes")]
fn rounds(k: &Keys, x: &mut [__m256i; REGISTERS]) {
    for k in &k[1..10] {
        for x in x.iter_mut() {
            *x = _mm256_aesenc_epi128(*x, *k);
        }
    }
    for x in x.iter_mut() {
        *x = _mm256_aesenclast_epi128(*x, k[10]);
    }
}

/// Encrypts every block in place.
#[target_feature(enable = "avx2,vaes")]
pub(super) fn encrypt(key: &Aes128, blocks: &mut [u128]) {
    let k = broadcast_keys(key);
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
#[target_feature(enable = "avx2,vaes")]
fn encrypt_tile(k: &Keys, tile: &mut [u128; TILE]) {
    let (pairs, _) = tile.as_chunks_mut::<2>();
    let mut x = [_mm256_setzero_si256(); REGISTERS];
    for (x, pair) in x.iter_mut().zip(&*pairs) {
        *x = _mm256_xor_si256(load(pair), k[0]);
    }
    rounds(k, &mut x);
    for (x, pair) in x.iter().zip(pairs) {
        store(pair, *x);
    }
}

/// Counter mode.
#[target_feature(enable = "avx2,vaes")]
pub(super) fn counter(key: &Aes128, nonce: u64, start: u64, out: &mut [u128]) {
    let k = broadcast_keys(key);
    let nonce = nonce as i64;
    let mut at =
        _mm256_add_epi64(_mm256_set_epi64x(nonce, 1, nonce, 0), _mm256_set_epi64x(0, start as i64, 0, start as i64));
    let two = _mm256_set_epi64x(0, 2, 0, 2);
    let mut tile_of = |tile: &mut [u128; TILE]| {
        let mut x = [_mm256_setzero_si256(); REGISTERS];
        for x in &mut x {
            *x = _mm256_xor_si256(at, k[0]);
            at = _mm256_add_epi64(at, two);
        }
        rounds(&k, &mut x);
        for (x, pair) in x.iter().zip(tile.as_chunks_mut::<2>().0) {
            store(pair, *x);
        }
    };
    let (tiles, rest) = out.as_chunks_mut::<TILE>();
    tiles.iter_mut().for_each(&mut tile_of);
    if !rest.is_empty() {
        let mut tile = [0; TILE];
        tile_of(&mut tile);
        rest.copy_from_slice(&tile[..rest.len()]);
    }
}

/// `out[i]` = H(`x[i]` xor `offset`).
#[target_feature(enable = "avx2,vaes")]
pub(super) fn hash(key: &Aes128, x: &[u128], offset: u128, out: &mut [u128]) {
    let k = broadcast_keys(key);
    let offset = broadcast(&offset);
    let (tiles, rest) = x.as_chunks::<TILE>();
    let (out_tiles, out_rest) = out.as_chunks_mut::<TILE>();
    for (x, out) in tiles.iter().zip(out_tiles) {
        hash_tile(&k, x, offset, out);
    }
    if !rest.is_empty() {
        let (mut padded, mut hashed) = ([0; TILE], [0; TILE]);
        padded[..rest.len()].copy_from_slice(rest);
        hash_tile(&k, &padded, offset, &mut hashed);
        out_rest.copy_from_slice(&hashed[..rest.len()]);
    }
}

/// Sixteen registers hold keys and blocks: what the orthomorphism gave is computed again from the input at the end.
#[inline]
#[target_feature(enable = "avx2,vaes")]
fn hash_tile(k: &Keys, x: &[u128; TILE], offset: __m256i, out: &mut [u128; TILE]) {
    let mut y = [_mm256_setzero_si256(); REGISTERS];
    let (pairs, _) = x.as_chunks::<2>();
    for (y, pair) in y.iter_mut().zip(pairs) {
        *y = _mm256_xor_si256(orthomorphism(_mm256_xor_si256(load(pair), offset)), k[0]);
    }
    rounds(k, &mut y);
    for ((y, pair), out) in y.iter().zip(pairs).zip(out.as_chunks_mut::<2>().0) {
        store(out, _mm256_xor_si256(*y, orthomorphism(_mm256_xor_si256(load(pair), offset))));
    }
}

/// See [`Aes128::half_tree_level`]. Mended nodes are written back, as registers don't hold them and the blocks.
#[target_feature(enable = "avx2,vaes")]
pub(super) fn half_tree_level(
    key: &Aes128,
    nodes: &mut [[u128; TILE]],
    rights: &mut [[u128; TILE]],
    mends: &[Mend; 2],
    keep: u128,
) -> [u128; 2] {
    let (k, keep) = (broadcast_keys(key), broadcast(&keep));
    let places = mends.map(|m| _mm256_set1_epi64x(m.at as i64));
    let adds = mends.map(|m| broadcast(&m.add));
    // Of each node its number, in both of its halves.
    let (mut number, two) = (_mm256_set_epi64x(1, 1, 0, 0), _mm256_set1_epi64x(2));
    let mut sums = [_mm256_setzero_si256(); 2];
    for (nodes, rights) in nodes.iter_mut().zip(rights) {
        let (nodes, rights) = (nodes.as_chunks_mut::<2>().0, rights.as_chunks_mut::<2>().0);
        let mut y = [_mm256_setzero_si256(); REGISTERS];
        for (y, pair) in y.iter_mut().zip(&mut *nodes) {
            let mut x = load(pair);
            for (place, add) in places.iter().zip(adds) {
                x = _mm256_xor_si256(x, _mm256_and_si256(_mm256_cmpeq_epi64(number, *place), add));
            }
            number = _mm256_add_epi64(number, two);
            store(pair, x);
            *y = _mm256_xor_si256(orthomorphism(x), k[0]);
        }
        rounds(&k, &mut y);
        for ((y, left), right) in y.iter().zip(nodes).zip(rights) {
            let p = load(left);
            let h = _mm256_xor_si256(*y, orthomorphism(p));
            sums = [_mm256_xor_si256(sums[0], p), _mm256_xor_si256(sums[1], h)];
            store(left, _mm256_and_si256(h, keep));
            store(right, _mm256_and_si256(_mm256_xor_si256(p, h), keep));
        }
    }
    sums.map(|sum| {
        let mut lanes = [0; 2];
        store(&mut lanes, sum);
        lanes[0] ^ lanes[1]
    })
}
