//! What each party does with its shares alone: voxels of phases put in their places, grids made finer.
//!
//! All are the same for shares as for values, modulo any number; nothing is sent.

use blindvox_models::Interpolation;

use crate::error::{Error, Result};
use crate::share::Shares;

/// Channels that hold the phases of a finer grid, put together: of `[channels·F, D, H, W]` channel c·F + p has the
/// voxels of channel c whose places modulo `factor` are p. Phases beyond the grid `output` are left out.
///
/// # Errors
/// [`Error::Input`] for another number of shares than phases on a grid have.
pub fn interleave(x: &[u32], dims: [usize; 3], factor: [usize; 3], output: [usize; 3]) -> Result<Shares> {
    let ([d, h, w], [fd, fh, fw], [od, oh, ow]) = (dims, factor, output);
    let (voxels, phases) = (d * h * w, fd * fh * fw);
    let covered = (0..3).all(|i| output[i] > 0 && factor[i] > 0 && output[i].div_ceil(factor[i]) == dims[i]);
    if !covered || !x.len().is_multiple_of(voxels * phases) {
        return Err(Error::Input(format!("{} shares for phases {factor:?} of {output:?} on {dims:?}", x.len())));
    }
    let mut out = Shares::zeros(x.len() / (voxels * phases) * od * oh * ow);
    for (row, out) in out.chunks_exact_mut(ow).enumerate() {
        let (c, z, y) = (row / (od * oh), row / oh % od, row % oh);
        for (at, out) in out.iter_mut().enumerate() {
            let phase = (z % fd * fh + y % fh) * fw + at % fw;
            *out = x[(c * phases + phase) * voxels + (z / fd * h + y / fh) * w + at / fw];
        }
    }
    Ok(out)
}

/// A grid `factor` times finer along each axis; of a linear one, whose factors are 1 and 2, 4 times the values for each
/// axis that is twice as fine.
///
/// # Errors
/// [`Error::Input`] for another number of shares than channels on a grid have.
pub fn finer(x: &[u32], dims: [usize; 3], factor: [usize; 3], mode: Interpolation) -> Result<Shares> {
    if mode == Interpolation::Nearest {
        return repeat(x, dims, factor);
    }
    let voxels = dims.iter().product::<usize>();
    if voxels == 0 || !x.len().is_multiple_of(voxels) || factor.iter().any(|f| !(1..=2).contains(f)) {
        return Err(Error::Input(format!("{} shares on {dims:?} to be made {factor:?} times finer", x.len())));
    }
    let (mut x, mut dims) = (Shares::from(x.to_vec()), dims);
    for axis in (0..3).filter(|&axis| factor[axis] == 2) {
        x = doubled(&x, dims[axis], dims[axis + 1..].iter().product());
        dims[axis] *= 2;
    }
    Ok(x)
}

/// Blocks of `n` rows of `inner` words, twice as many rows, each 3 times the row at its place and its nearer neighbour.
fn doubled(x: &[u32], n: usize, inner: usize) -> Shares {
    let mut out = Shares::zeros(2 * x.len());
    for (x, out) in x.chunks_exact(n * inner).zip(out.chunks_exact_mut(2 * n * inner)) {
        let row = |i: usize| &x[i * inner..][..inner];
        for (at, out) in out.chunks_exact_mut(inner).enumerate() {
            let near = at / 2;
            let far = if at % 2 == 0 { near.saturating_sub(1) } else { (near + 1).min(n - 1) };
            for (out, (a, b)) in out.iter_mut().zip(row(near).iter().zip(row(far))) {
                *out = a.wrapping_mul(3).wrapping_add(*b);
            }
        }
    }
    out
}

/// Every voxel `factor` times along each axis.
fn repeat(x: &[u32], dims: [usize; 3], factor: [usize; 3]) -> Result<Shares> {
    let ([d, h, w], [fd, fh, fw]) = (dims, factor);
    if dims.contains(&0) || factor.contains(&0) || !x.len().is_multiple_of(d * h * w) {
        return Err(Error::Input(format!("{} shares of voxels to repeat on {dims:?}", x.len())));
    }
    let mut out = Shares::zeros(x.len() * fd * fh * fw);
    for (row, out) in out.chunks_exact_mut(w * fw).enumerate() {
        let (c, z, y) = (row / (d * fd * h * fh), row / (h * fh) % (d * fd), row % (h * fh));
        let from = &x[((c * d + z / fd) * h + y / fh) * w..][..w];
        for (out, &x) in out.chunks_exact_mut(fw).zip(from) {
            out.fill(x);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_move_as_values_do() {
        let phases = [1, 2, 10, 20, 100, 200, 1000, 2000];
        let rows = [1, 10, 2, 20, 100, 1000, 200, 2000];
        let got = |x: &[u32], dims, factor, output| interleave(x, dims, factor, output).map(|y| y.to_vec());
        assert_eq!(got(&phases, [1, 1, 2], [1, 2, 2], [1, 2, 4]).unwrap(), rows);
        assert_eq!(got(&phases, [1, 2, 2], [1, 1, 2], [1, 2, 3]).unwrap(), [1, 100, 2, 10, 1000, 20]);
        // Beyond the grid, on none, and too few.
        for (x, dims, factor, output) in [
            (&phases[..], [1, 1, 2], [1, 2, 2], [1, 2, 5]),
            (&phases[..], [1, 1, 2], [1, 2, 2], [1, 0, 4]),
            (&phases[..7], [1, 1, 2], [1, 2, 2], [1, 2, 4]),
        ] {
            assert!(got(x, dims, factor, output).is_err());
        }
        let repeated = repeat(&[1, 2, 3, 4], [1, 1, 2], [1, 2, 2]).unwrap();
        assert_eq!(*repeated, [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4]);
        assert_eq!(*repeat(&[1, 2], [2, 1, 1], [2, 1, 1]).unwrap(), [1, 1, 2, 2]);
        assert!(repeat(&[1, 2, 3], [1, 1, 2], [2; 3]).is_err() && repeat(&[], [0, 1, 1], [1; 3]).is_err());

        let linear = |x: &[u32], dims, factor| finer(x, dims, factor, Interpolation::Linear).map(|y| y.to_vec());
        assert_eq!(linear(&[0, 4, 8, 8], [1, 1, 4], [1, 1, 2]).unwrap(), [0, 4, 12, 20, 28, 32, 32, 32]);
        let fine = [0, 4, 12, 16, 8, 12, 20, 24, 24, 28, 36, 40, 32, 36, 44, 48];
        assert_eq!(linear(&[0, 1, 2, 3], [1, 2, 2], [1, 2, 2]).unwrap(), fine);
        assert_eq!(linear(&[5, 7], [2, 1, 1], [1; 3]).unwrap(), [5, 7]);
        assert_eq!(linear(&[u32::MAX, 0], [2, 1, 1], [2, 1, 1]).unwrap(), [u32::MAX - 3, u32::MAX - 2, u32::MAX, 0]);
        for (dims, factor) in [([1, 1, 2], [2; 3]), ([0, 1, 1], [1; 3]), ([1, 1, 3], [1, 1, 3])] {
            assert!(linear(&[1, 2, 3], dims, factor).is_err());
        }
    }
}
