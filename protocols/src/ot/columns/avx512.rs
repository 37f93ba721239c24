//! AVX-512 bodies: folding in registers, transposition with GFNI and VBMI.

use std::arch::x86_64::*;

use super::{Column, TILE, WORDS};

/// True where this file's functions may be called.
pub(super) fn runs_here() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("gfni")
}

/// See [`super::fold`]. Groups of up to 16 leaves are folded in registers; the sums of the groups are leaves again.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn fold(leaves: &mut [Column], columns: &mut [Column]) {
    columns.fill([0; WORDS]);
    let (mut count, mut columns) = (leaves.len(), columns);
    while let Some(width) = columns.len().checked_sub(1).map(|left| (left + 1).min(4)) {
        let (own, rest) = columns.split_at_mut(width);
        let groups = count >> width;
        for group in 0..groups {
            let sums = match width {
                1 => fold_group::<2>(&leaves[group << width..], own),
                2 => fold_group::<4>(&leaves[group << width..], own),
                3 => fold_group::<8>(&leaves[group << width..], own),
                _ => fold_group::<16>(&leaves[group << width..], own),
            };
            // Groups before this one have been read.
            leaves[group] = sums;
        }
        (count, columns) = (groups, rest);
    }
}

/// Adds the leaves with bit b to column b; returns the sum of all N.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold_group<const N: usize>(leaves: &[Column], columns: &mut [Column]) -> Column {
    let leaves: &[Column; N] = leaves.first_chunk().expect("a group of leaves");
    let mut sums = [0; WORDS];
    for at in (0..WORDS).step_by(4) {
        let mut x = [_mm512_setzero_si512(); N];
        for (x, leaf) in x.iter_mut().zip(leaves) {
            *x = load(&leaf[at..]);
        }
        for (b, column) in columns.iter_mut().enumerate().rev() {
            let mut sum = load(&column[at..]);
            for i in 0..1 << b {
                let high = x[i + (1 << b)];
                sum = _mm512_xor_si512(sum, high);
                x[i] = _mm512_xor_si512(x[i], high);
            }
            store(&mut column[at..], sum);
        }
        store(&mut sums[at..], x[0]);
    }
    sums
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(x: &[u128]) -> __m512i {
    let x: &[u128; 4] = x.first_chunk().expect("four words");
    // SAFETY: the reference is valid for 64 bytes and the load needs no alignment.
    unsafe { _mm512_loadu_si512(std::ptr::from_ref(x).cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(x: &mut [u128], v: __m512i) {
    let x: &mut [u128; 4] = x.first_chunk_mut().expect("four words");
    // SAFETY: the reference is valid for 64 bytes and the store needs no alignment.
    unsafe { _mm512_storeu_si512(std::ptr::from_mut(x).cast(), v) }
}

/// See [`super::transpose`]. For 512 rows at a time: (1) eight columns are interleaved by bytes and every 8 x 8 bit
/// matrix is transposed; (2) the 16 column groups are gathered for each 8 rows; (3) bytes are dealt to rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,gfni")]
pub(super) fn transpose(columns: &[Column; 128], rows: &mut [u128; TILE]) {
    // Byte r*16 + q of four rows comes from byte 8q + r of the 16 groups.
    let deal = |first: usize| -> __m512i {
        let index: [u8; 64] = std::array::from_fn(|i| (8 * (i % 16) + first + i / 16) as u8);
        // SAFETY: the array is 64 bytes long and the load needs no alignment.
        unsafe { _mm512_loadu_si512(index.as_ptr().cast()) }
    };
    let (deal_low, deal_high) = (deal(0), deal(4));
    for (segment, rows) in rows.chunks_exact_mut(512).enumerate() {
        let mut groups = [[_mm512_setzero_si512(); 8]; 16];
        for (group, columns) in groups.iter_mut().zip(columns.chunks_exact(8)) {
            let mut c = [_mm512_setzero_si512(); 8];
            for (c, column) in c.iter_mut().zip(columns) {
                *c = load(&column[4 * segment..]);
            }
            *group = bit_matrices(&c);
        }
        for m in 0..8 {
            let mut halves = [[_mm512_setzero_si512(); 8]; 2];
            for (half, groups) in halves.iter_mut().zip(groups.chunks_exact(8)) {
                for (h, group) in half.iter_mut().zip(groups) {
                    *h = group[m];
                }
                *half = transpose_words(half);
            }
            for i in 0..8 {
                // Rows 8g..8g+7 with g = 16 (i / 2) + 2 m + i % 2: see `bit_matrices`.
                let rows = &mut rows[8 * (16 * (i / 2) + 2 * m + i % 2)..];
                store(rows, _mm512_permutex2var_epi8(halves[0][i], deal_low, halves[1][i]));
                store(&mut rows[4..], _mm512_permutex2var_epi8(halves[0][i], deal_high, halves[1][i]));
            }
        }
    }
}

/// Word 2L + e of register m of the result: rows 8g..8g+7 of the eight columns, g = 16 L + 2 m + e, a byte a row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn bit_matrices(c: &[__m512i; 8]) -> [__m512i; 8] {
    // GFNI numbers matrix rows from the top, so the columns go in backwards.
    let lo8 = |a: usize| _mm512_unpacklo_epi8(c[a + 1], c[a]);
    let hi8 = |a: usize| _mm512_unpackhi_epi8(c[a + 1], c[a]);
    let (l67, l45, l23, l01) = (lo8(6), lo8(4), lo8(2), lo8(0));
    let (h67, h45, h23, h01) = (hi8(6), hi8(4), hi8(2), hi8(0));
    let high = [
        _mm512_unpacklo_epi16(l67, l45),
        _mm512_unpackhi_epi16(l67, l45),
        _mm512_unpacklo_epi16(h67, h45),
        _mm512_unpackhi_epi16(h67, h45),
    ];
    let low = [
        _mm512_unpacklo_epi16(l23, l01),
        _mm512_unpackhi_epi16(l23, l01),
        _mm512_unpacklo_epi16(h23, h01),
        _mm512_unpackhi_epi16(h23, h01),
    ];
    let unit = _mm512_set1_epi64(0x8040_2010_0804_0201_u64 as i64);
    let mut out = [_mm512_setzero_si512(); 8];
    for i in 0..4 {
        let bytes = [_mm512_unpacklo_epi32(high[i], low[i]), _mm512_unpackhi_epi32(high[i], low[i])];
        for (e, bytes) in bytes.into_iter().enumerate() {
            out[2 * i + e] = _mm512_gf2p8affine_epi64_epi8::<0>(unit, bytes);
        }
    }
    out
}

/// Transposes an 8 x 8 matrix of 64-bit words.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose_words(r: &[__m512i; 8]) -> [__m512i; 8] {
    let mut out = [_mm512_setzero_si512(); 8];
    for e in 0..2 {
        let pair = |a: usize| {
            if e == 0 { _mm512_unpacklo_epi64(r[a], r[a + 1]) } else { _mm512_unpackhi_epi64(r[a], r[a + 1]) }
        };
        let (a, b, c, d) = (pair(0), pair(2), pair(4), pair(6));
        let (ab, cd) = (_mm512_shuffle_i64x2::<0x44>(a, b), _mm512_shuffle_i64x2::<0x44>(c, d));
        out[e] = _mm512_shuffle_i64x2::<0x88>(ab, cd);
        out[2 + e] = _mm512_shuffle_i64x2::<0xdd>(ab, cd);
        let (ab, cd) = (_mm512_shuffle_i64x2::<0xee>(a, b), _mm512_shuffle_i64x2::<0xee>(c, d));
        out[4 + e] = _mm512_shuffle_i64x2::<0x88>(ab, cd);
        out[6 + e] = _mm512_shuffle_i64x2::<0xdd>(ab, cd);
    }
    out
}
