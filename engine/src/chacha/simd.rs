//! The AVX-512 and AVX2 bodies: 16 or 8 instances, a word of each in a register of its own.

use std::arch::x86_64::*;

use super::{CONSTANTS, DOUBLE_ROUNDS};

/// One body: its name, instances, register and operations.
macro_rules! body {
    ($(#[$doc:meta])* $name:ident, $feature:literal, $lanes:literal, $V:ty, $set1:ident, $load:ident, $store:ident, $add:ident,
     $xor:ident, $lo32:ident, $hi32:ident, $lo64:ident, $hi64:ident, $rotate:ident) => {
        $(#[$doc])*
        #[target_feature(enable = $feature)]
        pub(super) fn $name(key: &[u32; 8], x: &[u128; $lanes], offset: u128, out: &mut [u128; $lanes]) {
            /// Four words of every 128-bit lane of four registers to a register for each word, and back.
            #[inline]
            #[target_feature(enable = $feature)]
            fn transpose([a, b, c, d]: [$V; 4]) -> [$V; 4] {
                let (ab, cd, ab2, cd2) = ($lo32(a, b), $lo32(c, d), $hi32(a, b), $hi32(c, d));
                [$lo64(ab, cd), $hi64(ab, cd), $lo64(ab2, cd2), $hi64(ab2, cd2)]
            }
            #[inline]
            #[target_feature(enable = $feature)]
            fn quarter([a, b, c, d]: [$V; 4]) -> [$V; 4] {
                let a = $add(a, b);
                let d = $rotate::<16, 16>($xor(d, a));
                let c = $add(c, d);
                let b = $rotate::<12, 20>($xor(b, c));
                let a = $add(a, b);
                let d = $rotate::<8, 24>($xor(d, a));
                let c = $add(c, d);
                [a, $rotate::<7, 25>($xor(b, c)), c, d]
            }
            let offset = [0, 1, 2, 3].map(|w| $set1((offset >> (32 * w)) as i32));
            let x: &[[u128; $lanes / 4]; 4] = x.as_chunks().0.first_chunk().expect("four registers");
            // SAFETY: a quarter of the labels is as long as a register, and the load needs no alignment.
            let labels = transpose(x.each_ref().map(|x| unsafe { $load(std::ptr::from_ref(x).cast()) }));
            let [k0, k1, k2, k3, k4, k5, k6, k7] = key.map(|word| $set1(word as i32));
            let constants = CONSTANTS.map(|word| $set1(word as i32));
            let (mut a, mut b, mut c) = (constants, [k0, k1, k2, k3], [k4, k5, k6, k7]);
            let [mut d0, mut d1, mut d2, mut d3] = labels;
            d0 = $xor(d0, offset[0]);
            d1 = $xor(d1, offset[1]);
            d2 = $xor(d2, offset[2]);
            d3 = $xor(d3, offset[3]);
            for _ in 0..DOUBLE_ROUNDS {
                [a[0], b[0], c[0], d0] = quarter([a[0], b[0], c[0], d0]);
                [a[1], b[1], c[1], d1] = quarter([a[1], b[1], c[1], d1]);
                [a[2], b[2], c[2], d2] = quarter([a[2], b[2], c[2], d2]);
                [a[3], b[3], c[3], d3] = quarter([a[3], b[3], c[3], d3]);
                [a[0], b[1], c[2], d3] = quarter([a[0], b[1], c[2], d3]);
                [a[1], b[2], c[3], d0] = quarter([a[1], b[2], c[3], d0]);
                [a[2], b[3], c[0], d1] = quarter([a[2], b[3], c[0], d1]);
                [a[3], b[0], c[1], d2] = quarter([a[3], b[0], c[1], d2]);
            }
            let hashes = transpose([
                $add(a[0], constants[0]),
                $add(a[1], constants[1]),
                $add(a[2], constants[2]),
                $add(a[3], constants[3]),
            ]);
            let out: &mut [[u128; $lanes / 4]; 4] = out.as_chunks_mut().0.first_chunk_mut().expect("four registers");
            for (out, hash) in out.iter_mut().zip(hashes) {
                // SAFETY: as for the loads.
                unsafe { $store(std::ptr::from_mut(out).cast(), hash) };
            }
        }
    };
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate512<const LEFT: i32, const RIGHT: i32>(x: __m512i) -> __m512i {
    _mm512_rol_epi32::<LEFT>(x)
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate256<const LEFT: i32, const RIGHT: i32>(x: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_slli_epi32::<LEFT>(x), _mm256_srli_epi32::<RIGHT>(x))
}

body!(
    /// Sixteen hashes.
    block512, "avx512f", 16, __m512i, _mm512_set1_epi32, _mm512_loadu_si512, _mm512_storeu_si512, _mm512_add_epi32,
    _mm512_xor_si512, _mm512_unpacklo_epi32, _mm512_unpackhi_epi32, _mm512_unpacklo_epi64, _mm512_unpackhi_epi64, rotate512
);

body!(
    /// Eight hashes.
    block256, "avx2", 8, __m256i, _mm256_set1_epi32, _mm256_loadu_si256, _mm256_storeu_si256, _mm256_add_epi32,
    _mm256_xor_si256, _mm256_unpacklo_epi32, _mm256_unpackhi_epi32, _mm256_unpacklo_epi64, _mm256_unpackhi_epi64, rotate256
);
