//! The public matrix of primal LPN: every output gets the sum of ten entries of a table, at indices from AES in counter
//! mode under a key of the session. Rows are never used twice. Indices are public, so looking them up tells nothing.

use blindvox_engine::aes::Aes128;

/// Rows whose indices are made together: they stay in the first-level cache.
pub(super) const ROWS: usize = 256;

/// Entries a row.
pub(super) const WEIGHT: usize = 10;

/// Blocks of the index stream that so many rows take; an even number of rows.
pub(super) const fn blocks(rows: usize) -> usize {
    rows * WEIGHT / 4
}

/// Adds to each of `out` its row of `table`, whose length is a power of two; the rows' indices begin at block `at` of
/// the stream. `indices` is room for the [`blocks`] of [`ROWS`] rows.
pub(super) fn fold(matrix: &Aes128, at: u64, table: &[u128], indices: &mut [u128], out: &mut [u128]) {
    for (i, out) in out.chunks_mut(ROWS).enumerate() {
        let indices = &mut indices[..blocks(out.len())];
        matrix.counter(0, at + (i * blocks(ROWS)) as u64, indices);
        add_rows(table, indices, out);
    }
}

fn add_rows(table: &[u128], indices: &[u128], out: &mut [u128]) {
    let rows = bytemuck::cast_slice::<_, u32>(indices).as_chunks::<WEIGHT>().0;
    // Of a known size: an index needs no check.
    match table.len().ilog2() {
        16 => add::<{ 1 << 16 }>(table, rows, out),
        17 => add::<{ 1 << 17 }>(table, rows, out),
        18 => add::<{ 1 << 18 }>(table, rows, out),
        19 => add::<{ 1 << 19 }>(table, rows, out),
        log => unreachable!("no set has a table of 2^{log}"),
    }
}

// Entries as pairs of words, which the compiler keeps in one register, as it doesn't a u128: a row is ten loads, not
// twenty, and loads are what it takes.
fn add<const SIZE: usize>(table: &[u128], rows: &[[u32; WEIGHT]], out: &mut [u128]) {
    let table: &[[u64; 2]; SIZE] = bytemuck::cast_slice(table).try_into().expect("a power of two");
    for (out, row) in bytemuck::cast_slice_mut::<_, [u64; 2]>(out).iter_mut().zip(rows) {
        *out = row.iter().map(|&i| table[i as usize % SIZE]).fold(*out, |[a, b], [c, d]| [a ^ c, b ^ d]);
    }
}
