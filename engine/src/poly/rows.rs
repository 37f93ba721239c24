//! Points in rows, one polynomial after the other, and what works on points wherever they lie.
//!
//! Transforms of single polynomials are fastest in rows, where each stays in its core's cache; matrix products want the
//! points of many polynomials side by side, which is how [`Ntt`] keeps them. Where a device knows rows alone, as GPUs
//! do, nothing is moved between the two.
//!
//! ```
//! use blindvox_engine::{Basis, Coeff, Device, PolyBatch};
//!
//! let (device, basis) = (Device::cpu(), Basis::new(64, &[257])?);
//! let x = PolyBatch::<Coeff>::lift(&device, &basis, &[1; 128], &[1])?;
//! let mut square = x.into_rows()?;
//! square.mul_assign(&square.duplicate()?)?;
//! assert_eq!(square.duplicate()?.into_panels()?.download()?, square.download()?);
//! assert_eq!(square.into_coeff()?.download()?[63], 64);
//! # Ok::<(), blindvox_engine::Error>(())
//! ```

use super::*;

/// NTT domain, the points of each polynomial together.
pub enum Rows {}

impl sealed::Sealed for Rows {}
impl DomainTag for Rows {
    const DOMAIN: Domain = Domain::Rows;
}

/// The NTT domain in either layout.
pub trait Points: DomainTag {}

impl Points for Ntt {}
impl Points for Rows {}

impl<D: Points> PolyBatch<D> {
    /// `self *= other` as polynomials; `other` may be a single one for all.
    pub fn mul_assign(&mut self, other: &Self) -> Result<()> {
        self.check(other, true)?;
        let size = MulShape { shape: self.shape(), factors: other.batch };
        self.device.mul_assign(&self.tables, size, &mut self.buffer, &other.buffer)
    }

    /// `self += a * b` as polynomials; `b` may be a single one for all.
    pub fn mul_add_assign(&mut self, a: &Self, b: &Self) -> Result<()> {
        self.check(a, false)?;
        self.check(b, true)?;
        let size = MulShape { shape: self.shape(), factors: b.batch };
        self.device.mul_add_assign(&self.tables, size, &mut self.buffer, &a.buffer, &b.buffer)
    }
}

impl PolyBatch<Coeff> {
    /// To points in rows.
    ///
    /// # Errors
    /// Those of the device.
    pub fn into_rows(self) -> Result<PolyBatch<Rows>> {
        self.become_by(|device, tables, shape, buffer| device.ntt_forward_rows(tables, shape, buffer))
    }
}

impl PolyBatch<Rows> {
    /// To the coefficient domain.
    ///
    /// # Errors
    /// Those of the device.
    pub fn into_coeff(self) -> Result<PolyBatch<Coeff>> {
        self.become_by(|device, tables, shape, buffer| device.ntt_inverse_rows(tables, shape, buffer))
    }

    /// The same points, laid out for matrix products.
    ///
    /// # Errors
    /// Those of the device.
    pub fn into_panels(self) -> Result<PolyBatch<Ntt>> {
        self.become_by(|device, tables, shape, buffer| device.to_panels(tables, shape, buffer))
    }
}

impl PolyBatch<Ntt> {
    /// The same points in rows.
    ///
    /// # Errors
    /// Those of the device.
    pub fn into_rows(self) -> Result<PolyBatch<Rows>> {
        self.become_by(|device, tables, shape, buffer| device.to_rows(tables, shape, buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::primes::{DEFAULT_50, DEFAULT_60};

    /// Batches of one, of less and of more than a group; dimensions below and above a block of 64 and a panel's line.
    const SIZES: [(usize, usize); 6] = [(4, 3), (32, 1), (64, 9), (256, 2), (1024, 37), (2048, 16)];

    fn residues(basis: &Basis, batch: usize) -> Vec<u64> {
        let moduli: Vec<u64> = basis.values();
        let row = |r: usize| (0..basis.n() as u64).map(move |i| (i + 1) * (2 * r as u64 + 1) * 0x9e37_79b9);
        (0..batch * moduli.len())
            .flat_map(|r| row(r).map(|x| x % moduli[r % moduli.len()]).collect::<Vec<_>>())
            .collect()
    }

    fn each_size(holds: impl Fn(&Device, &Basis, &[u64])) {
        for (n, batch) in SIZES {
            let basis = Basis::new(n, &[DEFAULT_50[0], DEFAULT_60[0], DEFAULT_50[1]]).unwrap();
            holds(&Device::cpu(), &basis, &residues(&basis, batch));
        }
    }

    #[test]
    fn rows_hold_the_points_that_panels_hold() {
        each_size(|device, basis, words| {
            let coefficients = || PolyBatch::<Coeff>::upload(device, basis, words).unwrap();
            let points = coefficients().into_ntt().unwrap().download().unwrap();
            let rows = coefficients().into_rows().unwrap();
            assert_eq!(rows.download().unwrap(), points);
            assert_eq!(rows.duplicate().unwrap().into_panels().unwrap().download().unwrap(), points);
            let panels = PolyBatch::<Ntt>::upload(device, basis, &points).unwrap().into_rows().unwrap();
            assert_eq!(panels.download().unwrap(), points);
            let uploaded = PolyBatch::<Rows>::upload(device, basis, &points).unwrap();
            for back in [rows, panels, uploaded] {
                assert_eq!(back.into_coeff().unwrap().download().unwrap(), words);
            }
        });
    }

    #[test]
    fn products_and_maps_of_rows_are_those_of_panels() {
        each_size(|device, basis, words| {
            let size = basis.len() * basis.n();
            let ntt = |words: &[u64]| PolyBatch::<Ntt>::upload(device, basis, words).unwrap();
            let rows = |words: &[u64]| PolyBatch::<Rows>::upload(device, basis, words).unwrap();
            let rotated: Vec<u64> = [&words[size..], &words[..size]].concat();
            for other in [&rotated[..], &rotated[..size]] {
                let (mut x, mut y) = (ntt(words), rows(words));
                x.mul_assign(&ntt(other)).unwrap();
                y.mul_assign(&rows(other)).unwrap();
                x.mul_add_assign(&ntt(&rotated), &ntt(other)).unwrap();
                y.mul_add_assign(&rows(&rotated), &rows(other)).unwrap();
                x.sub_assign(&ntt(&rotated)).unwrap();
                y.sub_assign(&rows(&rotated)).unwrap();
                let element = 2 * basis.n() - 3;
                let images = (x.automorphism(element).unwrap(), y.automorphism(element).unwrap());
                assert_eq!(images.0.download().unwrap(), images.1.download().unwrap());
                assert_eq!(x.download().unwrap(), y.download().unwrap());
            }
        });
    }

    #[test]
    fn zeros_are_zeros_in_rows() {
        let (device, basis) = (Device::cpu(), Basis::new(64, &DEFAULT_50[..2]).unwrap());
        let zeros = || PolyBatch::<Rows>::zeros(&device, &basis, 3).unwrap();
        let mut sum = zeros();
        sum.mul_add_assign(&zeros(), &zeros()).unwrap();
        sum.add_assign(&zeros().into_panels().unwrap().into_rows().unwrap()).unwrap();
        assert_eq!(sum.download().unwrap(), [0; 3 * 128]);
        let x = PolyBatch::<Rows>::upload(&device, &basis, &residues(&basis, 3)).unwrap();
        sum.mul_add_assign(&x, &x).unwrap();
        let mut square = x.duplicate().unwrap();
        square.mul_assign(&x).unwrap();
        assert_eq!(sum.into_coeff().unwrap().download().unwrap(), square.into_coeff().unwrap().download().unwrap());
    }
}
