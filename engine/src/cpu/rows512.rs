//! Kernels along one row on AVX-512 registers, for any arithmetic: a macro for the same reason as the transforms.
//!
//! Besides what those need, the module that invokes the macro provides `mul_reduced(c, y, w)` and `product(c, x, y)`.
//! Rows are whole lines of eight words.

macro_rules! row_kernels {
    ($features:literal) => {
        use $crate::cpu::vec512::{load_line, store_line, sub_reduced, zip_lines};

        /// `a *= b`; a `b` of one line repeats.
        #[target_feature(enable = $features)]
        pub(in $crate::cpu) fn mul_row(roots: &Roots, a: &mut [u64], b: &[u64]) {
            let c = &C::new(roots);
            if a.len() == b.len() {
                return zip_lines(a, b, |a, b| product(c, a, b));
            }
            let b = load_line(b.try_into().expect("one line"));
            for a in a.as_chunks_mut().0 {
                let v = product(c, load_line(a), b);
                store_line(a, v);
            }
        }

        /// `acc += a * b`; a `b` of one line repeats.
        #[target_feature(enable = $features)]
        pub(in $crate::cpu) fn mul_add_row(roots: &Roots, acc: &mut [u64], a: &[u64], b: &[u64]) {
            let c = &C::new(roots);
            let mul_add = |s, a, b| reduce_once(_mm512_add_epi64(s, product(c, a, b)), c.q);
            if a.len() != b.len() {
                let b = load_line(b.try_into().expect("one line"));
                return zip_lines(acc, a, |s, a| mul_add(s, a, b));
            }
            let factors = a.as_chunks().0.iter().zip(b.as_chunks().0);
            for (s, (a, b)) in acc.as_chunks_mut().0.iter_mut().zip(factors) {
                let v = mul_add(load_line(s), load_line(a), load_line(b));
                store_line(s, v);
            }
        }

        /// `a *= scalar`.
        #[target_feature(enable = $features)]
        pub(in $crate::cpu) fn mul_scalar_row(roots: &Roots, a: &mut [u64], scalar: &Uniform) {
            let (c, w) = (&C::new(roots), uniform(scalar));
            for a in a.as_chunks_mut().0 {
                let v = mul_reduced(c, load_line(a), w);
                store_line(a, v);
            }
        }

        /// `acc += values * scale`.
        #[target_feature(enable = $features)]
        pub(in $crate::cpu) fn add_lifted_row(roots: &Roots, acc: &mut [u64], values: &[i32], scale: &Uniform) {
            let (c, w) = (&C::new(roots), uniform(scale));
            for (acc, values) in acc.as_chunks_mut().0.iter_mut().zip(values.as_chunks::<8>().0) {
                // SAFETY: eight 32-bit values are the 32 bytes that are read.
                let v = _mm512_cvtepi32_epi64(unsafe { _mm256_loadu_si256(values.as_ptr().cast()) });
                let (a, r) = (load_line(acc), mul_reduced(c, _mm512_abs_epi64(v), w));
                let sum = reduce_once(_mm512_add_epi64(a, r), c.q);
                let v = _mm512_mask_mov_epi64(sum, _mm512_movepi64_mask(v), sub_reduced(a, r, c.q));
                store_line(acc, v);
            }
        }

        /// `x = (x - [last]) * inverse`, `[last]` being the representative modulo `q_last` nearest zero, whose
        /// magnitude the arithmetic must be able to multiply, and `inverse` that of `q_last`.
        #[target_feature(enable = $features)]
        pub(in $crate::cpu) fn drop_limb_row(
            roots: &Roots,
            q_last: u64,
            inverse: &Uniform,
            x: &mut [u64],
            last: &[u64],
        ) {
            let (c, w) = (&C::new(roots), uniform(inverse));
            let (half, q_last) = (splat(q_last / 2), splat(q_last));
            zip_lines(x, last, |x, last| {
                let negative = _mm512_cmpgt_epu64_mask(last, half);
                let magnitude = _mm512_mask_sub_epi64(last, negative, q_last, last);
                let (x, r) = (mul_reduced(c, x, w), mul_reduced(c, magnitude, w));
                let sum = reduce_once(_mm512_add_epi64(x, r), c.q);
                _mm512_mask_mov_epi64(sub_reduced(x, r, c.q), negative, sum)
            });
        }
    };
}

pub(super) use row_kernels;
