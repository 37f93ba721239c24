//! Products of matrices mod 2^32.

use rayon::prelude::*;

/// Rows of a tile.
const ROWS: usize = 4;
/// Columns of a tile: accumulators fill twelve 256-bit registers, or sixteen of 512 bits.
const COLUMNS: usize = 24;
const WIDE_COLUMNS: usize = 64;
/// Below so many columns, rows are multiplied one by one.
const FEW: usize = 8;
/// Products of at least so many multiply-adds are made by all threads.
const PARALLEL: usize = 1 << 22;

/// y = w·x for w of m rows and k columns, x of k rows and n columns, all by rows.
///
/// # Panics
/// If a length doesn't fit.
pub fn gemm(w: &[u32], x: &[u32], y: &mut [u32], [m, k, n]: [usize; 3]) {
    assert_eq!([w.len(), x.len(), y.len()], [m * k, k * n, m * n], "sizes of matrices");
    if n < FEW {
        let mut column = zeroize::Zeroizing::new(vec![0; k]);
        for c in 0..n {
            column.iter_mut().zip(x[c..].iter().step_by(n)).for_each(|(out, x)| *out = *x);
            dots(w, &column, &mut |o, sum| y[o * n + c] = sum);
        }
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        return panels::<WIDE_COLUMNS>(w, x, y, [m, k, n]);
    }
    panels::<COLUMNS>(w, x, y, [m, k, n]);
}

/// Panels of `N` columns, in memory of their own.
fn panels<const N: usize>(w: &[u32], x: &[u32], y: &mut [u32], [m, k, n]: [usize; 3]) {
    let panel = |first: usize| {
        let width = N.min(n - first);
        let mut packed = zeroize::Zeroizing::new(vec![[0u32; N]; k]);
        for (packed, row) in packed.iter_mut().zip(x.chunks_exact(n)) {
            packed[..width].copy_from_slice(&row[first..first + width]);
        }
        let mut out = zeroize::Zeroizing::new(vec![[0u32; N]; m]);
        tiles(w, &packed, &mut out);
        (first, width, out)
    };
    let mut put = |(first, width, out): (usize, usize, zeroize::Zeroizing<Vec<[u32; N]>>)| {
        for (y, out) in y.chunks_exact_mut(n).zip(out.iter()) {
            y[first..first + width].copy_from_slice(&out[..width]);
        }
    };
    if m * k * n < PARALLEL {
        (0..n).step_by(N).map(panel).for_each(put);
    } else {
        let firsts: Vec<usize> = (0..n).step_by(N).collect();
        // So many at a time that results stay small.
        for some in firsts.chunks(64) {
            let done: Vec<_> = some.par_iter().map(|&first| panel(first)).collect();
            done.into_iter().for_each(&mut put);
        }
    }
}

/// Tiles of a panel, compiled for the widest registers. Not by a closure: those are too large to be inlined into what is
/// compiled so.
fn tiles<const N: usize>(w: &[u32], x: &[[u32; N]], out: &mut [[u32; N]]) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the feature.
            return unsafe { tiles512(w, x, out) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the feature.
            return unsafe { tiles256(w, x, out) };
        }
    }
    all_tiles(w, x, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn tiles512<const N: usize>(w: &[u32], x: &[[u32; N]], out: &mut [[u32; N]]) {
    all_tiles(w, x, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn tiles256<const N: usize>(w: &[u32], x: &[[u32; N]], out: &mut [[u32; N]]) {
    all_tiles(w, x, out);
}

#[inline(always)]
fn all_tiles<const N: usize>(w: &[u32], x: &[[u32; N]], out: &mut [[u32; N]]) {
    let k = x.len();
    for (w, out) in w.chunks(ROWS * k).zip(out.chunks_mut(ROWS)) {
        match out.try_into() {
            Ok(out) => tile::<ROWS, N>(w, x, out),
            Err(_) => {
                for (w, out) in w.chunks_exact(k).zip(out) {
                    tile::<1, N>(w, x, std::array::from_mut(out));
                }
            }
        }
    }
}

/// The inner products of rows with a vector.
fn dots(w: &[u32], x: &[u32], out: &mut dyn FnMut(usize, u32)) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has the feature.
        return unsafe { dots256(w, x, out) };
    }
    w.chunks_exact(x.len()).enumerate().for_each(|(o, row)| out(o, dot(row, x)));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dots256(w: &[u32], x: &[u32], out: &mut dyn FnMut(usize, u32)) {
    for (o, row) in w.chunks_exact(x.len()).enumerate() {
        out(o, dot(row, x));
    }
}

#[inline(always)]
fn tile<const R: usize, const N: usize>(w: &[u32], x: &[[u32; N]], out: &mut [[u32; N]; R]) {
    let k = x.len();
    let rows: [&[u32]; R] = std::array::from_fn(|r| &w[r * k..(r + 1) * k]);
    let mut sums = [[0u32; N]; R];
    for (i, x) in x.iter().enumerate() {
        for r in 0..R {
            let weight = rows[r][i];
            for c in 0..N {
                sums[r][c] = sums[r][c].wrapping_add(weight.wrapping_mul(x[c]));
            }
        }
    }
    *out = sums;
}

/// The inner product of two vectors.
#[inline(always)]
fn dot(a: &[u32], b: &[u32]) -> u32 {
    const WIDTH: usize = 32;
    let mut sums = [0u32; WIDTH];
    let (a, more_a) = a.as_chunks::<WIDTH>();
    let (b, more_b) = b.as_chunks::<WIDTH>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..WIDTH {
            sums[i] = sums[i].wrapping_add(a[i].wrapping_mul(b[i]));
        }
    }
    let rest = more_a.iter().zip(more_b).fold(0u32, |sum, (a, b)| sum.wrapping_add(a.wrapping_mul(*b)));
    sums.iter().fold(rest, |sum, s| sum.wrapping_add(*s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_definition() {
        for [m, k, n] in [[1, 1, 1], [3, 5, 2], [4, 33, 7], [5, 17, 8], [16, 70, 24], [9, 40, 65], [33, 600, 300]] {
            let word = |i: usize| (i as u32).wrapping_mul(0x9e37_79b9).rotate_left(7);
            let (w, x): (Vec<u32>, Vec<u32>) = ((0..m * k).map(word).collect(), (7..7 + k * n).map(word).collect());
            let mut y = vec![1; m * n];
            gemm(&w, &x, &mut y, [m, k, n]);
            for (at, y) in y.iter().enumerate() {
                let (o, c) = (at / n, at % n);
                let sum = (0..k).fold(0u32, |sum, i| sum.wrapping_add(w[o * k + i].wrapping_mul(x[i * n + c])));
                assert_eq!(*y, sum, "{m} {k} {n}: {o}, {c}");
            }
        }
    }
}
