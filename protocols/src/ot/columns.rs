//! Kernels of OT extension on a tile of 4096 transfers: folding of leaf streams into columns, and the bit-matrix
//! transposition of 128 columns into 4096 rows. AVX-512 bodies (GFNI, VBMI), for the transposition an AVX2 one, with
//! portable twins of equal output.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

/// Transfers a tile.
pub(super) const TILE: usize = 4096;
/// 128-bit words in a column of a tile.
pub(super) const WORDS: usize = TILE / 128;
/// One bit for each transfer of a tile.
pub(super) type Column = [u128; WORDS];

/// Folds the streams of 2^k leaves, k = `columns.len()`: `columns[b]` becomes the xor of the leaves whose number has
/// bit b, `leaves[0]` the xor of all. Other leaves are overwritten.
pub(super) fn fold(leaves: &mut [Column], columns: &mut [Column]) {
    #[cfg(target_arch = "x86_64")]
    if avx512::runs_here() {
        // SAFETY: the features were just found.
        return unsafe { avx512::fold(leaves, columns) };
    }
    fold_portable(leaves, columns);
}

fn fold_portable(leaves: &mut [Column], columns: &mut [Column]) {
    for (b, column) in columns.iter_mut().enumerate().rev() {
        let (low, high) = leaves.split_at_mut(1 << b);
        *column = [0; WORDS];
        for (low, high) in low.iter_mut().zip(high) {
            for ((c, l), h) in column.iter_mut().zip(low).zip(&*high) {
                *c ^= h;
                *l ^= h;
            }
        }
    }
}

/// Bit c of row r = bit r of column c.
pub(super) fn transpose(columns: &[Column; 128], rows: &mut [u128; TILE]) {
    #[cfg(target_arch = "x86_64")]
    if avx512::runs_here() {
        // SAFETY: the features were just found.
        return unsafe { avx512::transpose(columns, rows) };
    }
    #[cfg(target_arch = "x86_64")]
    if avx2::runs_here() {
        // SAFETY: the feature was just found.
        return unsafe { avx2::transpose(columns, rows) };
    }
    transpose_portable(columns, rows);
}

/// 128 x 128 blocks, by swapping off-diagonal squares of halving size.
fn transpose_portable(columns: &[Column; 128], rows: &mut [u128; TILE]) {
    for (word, rows) in rows.chunks_exact_mut(128).enumerate() {
        for (row, column) in rows.iter_mut().zip(columns) {
            *row = column[word];
        }
        let mut width = 64;
        let mut mask = u128::MAX >> 64;
        while width > 0 {
            for i in (0..128).filter(|i| i & width == 0) {
                let swap = ((rows[i] >> width) ^ rows[i + width]) & mask;
                rows[i] ^= swap << width;
                rows[i + width] ^= swap;
            }
            width /= 2;
            mask ^= mask << width;
        }
    }
}

#[cfg(test)]
mod tests {
    use blindvox_engine::Prng;

    use super::*;

    fn random(count: usize) -> Vec<Column> {
        let mut prng = Prng::from_seed_for_tests([5; 32]);
        (0..count).map(|_| std::array::from_fn(|_| prng.fill::<u128>(1)[0])).collect()
    }

    #[test]
    fn transposition_moves_every_bit() {
        let columns: [Column; 128] = random(128).try_into().unwrap();
        let (mut best, mut portable) = ([0; TILE], [0; TILE]);
        transpose(&columns, &mut best);
        transpose_portable(&columns, &mut portable);
        assert!(best == portable);
        #[cfg(target_arch = "x86_64")]
        if avx2::runs_here() {
            let mut narrow = [0; TILE];
            // SAFETY: the feature was just found.
            unsafe { avx2::transpose(&columns, &mut narrow) };
            assert!(narrow == portable);
        }
        for (r, row) in best.iter().enumerate() {
            for (c, column) in columns.iter().enumerate() {
                assert_eq!(row >> c & 1, column[r / 128] >> (r % 128) & 1, "row {r}, column {c}");
            }
        }
    }

    #[test]
    fn folding_sums_by_bit() {
        for k in 1..=8 {
            let leaves = random(1 << k);
            let (mut a, mut b) = (leaves.clone(), leaves.clone());
            let mut columns = vec![[1; WORDS]; k];
            let mut portable = columns.clone();
            fold(&mut a, &mut columns);
            fold_portable(&mut b, &mut portable);
            assert_eq!((a[0], &columns), (b[0], &portable));
            let sum = |keep: &dyn Fn(usize) -> bool, w: usize| {
                leaves.iter().enumerate().filter(|(x, _)| keep(*x)).fold(0, |s, (_, l)| s ^ l[w])
            };
            for w in 0..WORDS {
                assert_eq!(a[0][w], sum(&|_| true, w));
                for (bit, column) in columns.iter().enumerate() {
                    assert_eq!(column[w], sum(&|x| x >> bit & 1 == 1, w));
                }
            }
        }
    }
}
