//! Average pooling: the sum over each window, on shares.
//!
//! # | from -> to | content | bytes | phase
//! --|------------|---------|-------|------
//! – | –          | nothing: sums of shares are shares of sums | 0 | online
//!
//! The division by the window's volume is left to the scale of the tensor (a shift where it is a power of
//! two), so the sum is exact and needs log2 of the volume more bits.

use crate::error::{Error, Result};

/// Window sums of shares mod 2^32 (or of values) laid out `[channels, depth, height, width]`, with windows
/// `[depth, height, width]` side by side. Returns `[channels, depth / wz, height / wy, width / wx]`.
///
/// # Errors
/// [`Error::Model`] where the windows do not tile the tensor or `shares` has another length than its shape.
pub fn avg_pool(shares: &[u32], shape: [usize; 4], window: [usize; 3]) -> Result<Vec<u32>> {
    let [channels, d, h, w] = shape;
    let [wz, wy, wx] = window;
    let tiles = |size: usize, window: usize| window > 0 && size.is_multiple_of(window);
    if !(tiles(d, wz) && tiles(h, wy) && tiles(w, wx)) {
        return Err(Error::Model(format!(
            "average pooling: windows of {wz}x{wy}x{wx} do not tile a tensor of {d}x{h}x{w}"
        )));
    }
    if shares.len() != shape.iter().product::<usize>() {
        return Err(Error::Model(format!(
            "average pooling: {} values where the shape {shape:?} has {}",
            shares.len(),
            shape.iter().product::<usize>()
        )));
    }
    let (rows, columns) = (h / wy, w / wx);
    let mut sums = vec![0u32; channels * (d / wz) * rows * columns];
    if sums.is_empty() {
        return Ok(sums);
    }
    // Every input row is added into one row of sums; rows come in the order of memory.
    for (i, row) in shares.chunks_exact(w).enumerate() {
        let (plane, y) = (i / h, i % h);
        let out = (plane / wz * rows + y / wy) * columns;
        for (sum, cells) in sums[out..out + columns].iter_mut().zip(row.chunks_exact(wx)) {
            *sum = cells.iter().fold(*sum, |sum, &x| sum.wrapping_add(x));
        }
    }
    Ok(sums)
}

/// The sums of the values, by definition.
pub fn ideal(values: &[i64], shape: [usize; 4], window: [usize; 3]) -> Vec<i64> {
    let [channels, d, h, w] = shape;
    let [wz, wy, wx] = window;
    let mut sums = Vec::with_capacity(values.len() / (wz * wy * wx));
    for c in 0..channels {
        for z in (0..d).step_by(wz) {
            for y in (0..h).step_by(wy) {
                for x in (0..w).step_by(wx) {
                    let cells = (0..wz * wy * wx).map(|i| (z + i / (wy * wx), y + i / wx % wy, x + i % wx));
                    sums.push(cells.map(|(z, y, x)| values[((c * d + z) * h + y) * w + x]).sum());
                }
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::share::Ring;

    proptest! {
        #[test]
        fn shares_of_sums(
            counts in [1usize..4, 1..4, 1..4, 1..5],
            window in [1usize..4, 1..4, 1..4],
            seed: u64,
        ) {
            let shape = [counts[0], counts[1] * window[0], counts[2] * window[1], counts[3] * window[2]];
            let len = shape.iter().product::<usize>() as u64;
            let draw = |i: u64| (seed ^ i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            let values: Vec<i64> = (0..len).map(|i| draw(i) as i64 % (1 << 26) - (1 << 25)).collect();
            let client: Vec<u32> = (0..len).map(|i| draw(!i) as u32).collect();
            let server: Vec<u32> =
                values.iter().zip(&client).map(|(&x, &c)| Ring::FULL.sub(Ring::FULL.from_signed(x), c)).collect();
            let (c, s) = (avg_pool(&client, shape, window).unwrap(), avg_pool(&server, shape, window).unwrap());
            prop_assert_eq!(Ring::FULL.open(&c, &s), ideal(&values, shape, window));
        }
    }

    #[test]
    fn a_known_answer() {
        let shares: Vec<u32> = (0..16).collect();
        assert_eq!(avg_pool(&shares, [1, 2, 2, 4], [2, 2, 2]).unwrap(), [52, 68]);
        assert_eq!(avg_pool(&shares, [2, 1, 2, 4], [1, 2, 2]).unwrap(), [10, 18, 42, 50]);
    }

    #[test]
    fn refuses_windows_that_do_not_tile() {
        for (shape, window) in [([1, 2, 2, 3], [2, 2, 2]), ([1, 2, 3, 2], [2, 2, 2]), ([1, 2, 2, 3], [1, 1, 0])] {
            assert!(matches!(avg_pool(&[0; 12], shape, window), Err(Error::Model(_))));
        }
        assert!(matches!(avg_pool(&[0; 11], [1, 2, 2, 3], [2, 2, 3]), Err(Error::Model(_))));
    }
}
