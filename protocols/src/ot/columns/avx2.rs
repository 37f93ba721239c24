//! The AVX2 body of the transposition.

use std::arch::x86_64::*;

use super::{Column, TILE};

/// True where this file's functions may be called.
pub(super) fn runs_here() -> bool {
    is_x86_feature_detected!("avx2")
}

/// See [`super::transpose`]. Blocks of 32 columns and 128 rows: first bytes change places, so that a register holds
/// eight rows of all 32 columns, then the highest bits of its bytes are one row, eight times.
#[target_feature(enable = "avx2")]
pub(super) fn transpose(columns: &[Column; 128], rows: &mut [u128; TILE]) {
    for (word, rows) in rows.chunks_exact_mut(128).enumerate() {
        let rows: &mut [[u32; 4]] = bytemuck::cast_slice_mut(rows);
        for (quarter, columns) in columns.chunks_exact(32).enumerate() {
            let mut x = [_mm256_setzero_si256(); 16];
            for (i, x) in x.iter_mut().enumerate() {
                *x = _mm256_set_m128i(load(&columns[i + 16][word]), load(&columns[i][word]));
            }
            // Each step moves the highest bit of the register's number below the byte's, whose highest it takes in
            // turn.
            for _ in 0..4 {
                x = interleave(x);
            }
            for (x, rows) in x.into_iter().zip(rows.chunks_exact_mut(8)) {
                let mut bits = x;
                for row in rows.iter_mut().rev() {
                    row[quarter] = _mm256_movemask_epi8(bits) as u32;
                    bits = _mm256_add_epi8(bits, bits);
                }
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn interleave(x: [__m256i; 16]) -> [__m256i; 16] {
    let mut out = x;
    for i in 0..8 {
        out[2 * i] = _mm256_unpacklo_epi8(x[i], x[i + 8]);
        out[2 * i + 1] = _mm256_unpackhi_epi8(x[i], x[i + 8]);
    }
    out
}

#[inline]
#[target_feature(enable = "sse2")]
fn load(x: &u128) -> __m128i {
    // SAFETY: the reference is valid for 16 bytes and the load needs no alignment.
    unsafe { _mm_loadu_si128(std::ptr::from_ref(x).cast()) }
}
