//! What each party does with its shares alone: voxels of phases put in their places, voxels repeated.
//!
//! Both are the same for shares as for values, modulo any number; nothing is sent.

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

/// Every voxel `factor` times along each axis.
///
/// # Errors
/// [`Error::Input`] for another number of shares than channels on a grid have.
pub fn repeat(x: &[u32], dims: [usize; 3], factor: [usize; 3]) -> Result<Shares> {
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
    }
}
