//! The VAES body: four blocks a register, eight registers in flight.

use std::arch::x86_64::*;

use super::{Aes128, Mend};

pub(super) const TILE: usize = 32;
const REGISTERS: usize = TILE / 4;

/// Round keys, each in all four lanes.
pub(crate) type Keys = [__m512i; 11];

/// Four blocks.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn load(x: &[u128; 4]) -> __m512i {
    // SAFETY: the reference is valid for 64 bytes and the load needs no alignment.
    unsafe { _mm512_loadu_si512(std::ptr::from_ref(x).cast()) }
}

/// Writes four blocks.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn store(x: &mut [u128; 4], v: __m512i) {
    // SAFETY: the reference is valid for 64 bytes and the store needs no alignment.
    unsafe { _mm512_storeu_si512(std::ptr::from_mut(x).cast(), v) }
}

/// One block in all four lanes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn broadcast(x: &u128) -> __m512i {
    // SAFETY: the reference is valid for 16 bytes and the load needs no alignment.
    _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(std::ptr::from_ref(x).cast()) })
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn broadcast_keys(key: &Aes128) -> Keys {
    let mut k = [_mm512_setzero_si512(); 11];
    for (k, r) in k.iter_mut().zip(&key.round_keys) {
        *k = broadcast(r);
    }
    k
}

/// The orthomorphism of the hash, in every lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn orthomorphism(x: __m512i) -> __m512i {
    let high = _mm512_set_epi64(-1, 0, -1, 0, -1, 0, -1, 0);
    // swapped xor (x and high)
    _mm512_ternarylogic_epi64::<0x78>(_mm512_shuffle_epi32::<0x4e>(x), x, high)
}

/// All rounds on registers that already hold plaintext xor the first round key.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
pub(crate) fn rounds<const N: usize>(k: &Keys, x: &mut [__m512i; N]) {
    for k in &k[1..10] {
        for x in x.iter_mut() {
            *x = _mm512_aesenc_epi128(*x, *k);
        }
    }
    for x in x.iter_mut() {
        *x = _mm512_aesenclast_epi128(*x, k[10]);
    }
}

/// Expands keys four at a time, a key a lane; see the AES-NI body for the arithmetic.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,vaes")]
pub(super) fn expand(keys: &[u128], out: &mut [Aes128]) {
    for (keys, out) in keys.chunks(4).zip(out.chunks_mut(4)) {
        let mut lanes = [0; 4];
        lanes[..keys.len()].copy_from_slice(keys);
        let mut k = load(&lanes);
        let rotate = _mm512_set1_epi32(0x0c0f_0e0d);
        let mut constant = 1u8;
        for round in 0..11 {
            store(&mut lanes, k);
            for (out, lane) in out.iter_mut().zip(lanes) {
                out.round_keys[round] = lane;
            }
            let word = _mm512_aesenclast_epi128(_mm512_shuffle_epi8(k, rotate), _mm512_set1_epi32(i32::from(constant)));
            k = _mm512_xor_si512(k, _mm512_bslli_epi128::<4>(k));
            k = _mm512_xor_si512(k, _mm512_bslli_epi128::<8>(k));
            k = _mm512_xor_si512(k, word);
            constant = (constant << 1) ^ (0x1b * (constant >> 7));
        }
    }
}

/// Encrypts every block in place.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,vaes")]
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
#[target_feature(enable = "avx512f,vaes")]
fn encrypt_tile(k: &Keys, tile: &mut [u128; TILE]) {
    let (quads, _) = tile.as_chunks_mut::<4>();
    let mut x = [_mm512_setzero_si512(); REGISTERS];
    for (x, quad) in x.iter_mut().zip(&*quads) {
        *x = _mm512_xor_si512(load(quad), k[0]);
    }
    rounds(k, &mut x);
    for (x, quad) in x.iter().zip(quads) {
        store(quad, *x);
    }
}

/// Counter mode.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,vaes")]
pub(super) fn counter(key: &Aes128, nonce: u64, start: u64, out: &mut [u128]) {
    let k = broadcast_keys(key);
    let nonce = nonce as i64;
    let lanes = _mm512_set_epi64(nonce, 3, nonce, 2, nonce, 1, nonce, 0);
    let mut at = start;
    let mut tile_of = |tile: &mut [u128; TILE]| {
        let mut x = [_mm512_setzero_si512(); REGISTERS];
        for (i, x) in x.iter_mut().enumerate() {
            let base = at.wrapping_add(4 * i as u64) as i64;
            *x = _mm512_xor_si512(_mm512_add_epi64(lanes, _mm512_set_epi64(0, base, 0, base, 0, base, 0, base)), k[0]);
        }
        rounds(&k, &mut x);
        for (x, quad) in x.iter().zip(tile.as_chunks_mut::<4>().0) {
            store(quad, *x);
        }
        at = at.wrapping_add(TILE as u64);
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
#[target_feature(enable = "avx512f,avx512bw,avx512dq,vaes")]
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

#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn hash_tile(k: &Keys, x: &[u128; TILE], offset: __m512i, out: &mut [u128; TILE]) {
    let mut s = [_mm512_setzero_si512(); REGISTERS];
    let mut y = [_mm512_setzero_si512(); REGISTERS];
    for ((s, y), quad) in s.iter_mut().zip(&mut y).zip(x.as_chunks::<4>().0) {
        *s = orthomorphism(_mm512_xor_si512(load(quad), offset));
        *y = _mm512_xor_si512(*s, k[0]);
    }
    rounds(k, &mut y);
    for ((s, y), quad) in s.iter().zip(&y).zip(out.as_chunks_mut::<4>().0) {
        store(quad, _mm512_xor_si512(*s, *y));
    }
}

/// See [`Aes128::half_tree_level`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,vaes")]
pub(super) fn half_tree_level(
    key: &Aes128,
    nodes: &mut [[u128; TILE]],
    rights: &mut [[u128; TILE]],
    mends: &[Mend; 2],
    keep: u128,
) -> [u128; 2] {
    let (k, keep) = (broadcast_keys(key), broadcast(&keep));
    let places = mends.map(|m| _mm512_set1_epi64(m.at as i64));
    let adds = mends.map(|m| broadcast(&m.add));
    // Of each node its number, in both of its halves.
    let (mut number, four) = (_mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0), _mm512_set1_epi64(4));
    let mut sums = [_mm512_setzero_si512(); 2];
    for (nodes, rights) in nodes.iter_mut().zip(rights) {
        let (nodes, rights) = (nodes.as_chunks_mut::<4>().0, rights.as_chunks_mut::<4>().0);
        let mut p = [_mm512_setzero_si512(); REGISTERS];
        let mut y = [_mm512_setzero_si512(); REGISTERS];
        for ((p, y), quad) in p.iter_mut().zip(&mut y).zip(&*nodes) {
            let mut x = load(quad);
            for (place, add) in places.iter().zip(adds) {
                x = _mm512_mask_xor_epi64(x, _mm512_cmpeq_epi64_mask(number, *place), x, add);
            }
            number = _mm512_add_epi64(number, four);
            *p = x;
            *y = _mm512_xor_si512(orthomorphism(x), k[0]);
        }
        rounds(&k, &mut y);
        for (((p, y), left), right) in p.iter().zip(&y).zip(nodes).zip(rights) {
            let h = _mm512_xor_si512(*y, orthomorphism(*p));
            sums = [_mm512_xor_si512(sums[0], *p), _mm512_xor_si512(sums[1], h)];
            store(left, _mm512_and_si512(h, keep));
            store(right, _mm512_and_si512(_mm512_xor_si512(*p, h), keep));
        }
    }
    sums.map(|sum| {
        let mut lanes = [0; 4];
        store(&mut lanes, sum);
        lanes.iter().fold(0, |sum, lane| sum ^ lane)
    })
}
