//! Windows of a volume that do not overlap, one after the other.

use crate::error::{Error, Result};

/// `[channels, D, H, W]` values to `[channels, D/d, H/h, W/w][d, h, w]` for a window `[d, h, w]` that divides the
/// volume.
pub fn gather(values: &[u32], [channels, d, h, w]: [usize; 4], window: [usize; 3]) -> Result<Vec<u32>> {
    let [wd, wh, ww] = window;
    let divides = window.iter().zip([d, h, w]).all(|(&part, whole)| part > 0 && whole.is_multiple_of(part));
    if !divides || values.len() != channels * d * h * w {
        return Err(Error::Model(format!("windows of {window:?} in {channels} channels of {:?}", [d, h, w])));
    }
    let mut out = Vec::with_capacity(values.len());
    for plane in (0..channels * d).step_by(wd) {
        for (y, x) in (0..h).step_by(wh).flat_map(|y| (0..w).step_by(ww).map(move |x| (y, x))) {
            for (a, b) in (0..wd).flat_map(|a| (0..wh).map(move |b| (a, b))) {
                let row = ((plane + a) * h + y + b) * w + x;
                out.extend_from_slice(&values[row..row + ww]);
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_and_refuses() {
        let values: Vec<u32> = (0..2 * 2 * 4).collect();
        let windows = gather(&values, [1, 2, 2, 4], [2, 1, 2]).unwrap();
        assert_eq!(windows, [0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15]);
        assert!(gather(&values, [1, 2, 2, 4], [2, 1, 3]).is_err());
        assert!(gather(&values, [2, 2, 2, 4], [2, 1, 2]).is_err());
    }
}
