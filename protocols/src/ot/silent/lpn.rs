//! The public matrix of primal LPN: every output gets the sum of ten entries of a table, at indices from AES in counter
//! mode under a key of the session. Rows are never used twice. Indices are public, so looking them up tells nothing.

use blindvox_engine::aes::Aes128;

/// Entries a row.
pub(super) const WEIGHT: usize = 10;

/// Blocks of the index stream that so many rows take; an even number of rows.
pub(super) const fn blocks(rows: usize) -> usize {
    rows * WEIGHT / 4
}

/// Adds to each of `out` its row of `table`, whose length is a power of two; the rows' indices begin at block `at` of
/// the stream. `indices` is room for the [`blocks`] of all rows.
pub(super) fn fold(matrix: &Aes128, at: u64, table: &[u128], indices: &mut [u128], out: &mut [u128]) {
    let indices = &mut indices[..blocks(out.len())];
    matrix.counter(0, at, indices);
    let mask = table.len() - 1;
    let rows = bytemuck::cast_slice::<_, u32>(indices).as_chunks::<WEIGHT>().0;
    for (out, row) in out.iter_mut().zip(rows) {
        *out ^= row.iter().fold(0, |sum, &i| sum ^ table[i as usize & mask]);
    }
}
