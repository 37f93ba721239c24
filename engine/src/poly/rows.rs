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
use crate::backend::InDigits;

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

    /// The matrix products of `self`, `rows x inner`, with each `x`, `inner x cols`, row by row in the batch: `self` is
    /// read from memory once for all of them.
    pub fn gemm<const X: usize>(&self, x: [&Self; X], size: GemmShape) -> Result<[Self; X]> {
        self.limbs(&self.basis)?.gemm(x, size)
    }

    pub(super) fn products<const X: usize>(&self, size: GemmShape, buffers: Vec<DeviceBuffer>) -> Result<[Self; X]> {
        let batches = buffers.into_iter().map(|b| self.with(self.basis.clone(), size.rows * size.cols, b));
        let batches = batches.collect::<Result<Vec<_>>>()?;
        Ok(batches.try_into().unwrap_or_else(|_| unreachable!("a product for each factor")))
    }

    /// A copy of the polynomials `range`.
    pub fn extract(&self, range: Range<usize>) -> Result<Self> {
        if range.is_empty() || range.end > self.batch {
            return Err(Error::Shape(format!("polynomials {range:?} of {}", self.batch)));
        }
        let buffer = self.device.extract(&self.tables, self.shape(), &self.buffer, range.clone())?;
        self.with(self.basis.clone(), range.len(), buffer)
    }

    /// Whether `self` can be the right factor of a product with `left` entries.
    pub(super) fn check_product(&self, left: usize, size: GemmShape) -> Result<()> {
        let GemmShape { rows, inner, cols } = size;
        if left != rows * inner || self.batch != inner * cols || rows * inner * cols == 0 {
            return Err(Error::Shape(format!("{size:?} for batches of {left} and {}", self.batch)));
        }
        Ok(())
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

    /// Cuts the limbs in digits of `digit` primes, and gives for each the points of its representative nearest zero
    /// modulo the primes of `to`, as [`Conversion`](crate::ring::Conversion) defines it. The primes of `to` that a digit
    /// has already cost nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for several polynomials in several digits, or digits of no prime; [`Error::Parameters`] unless
    /// `to` has all primes, and for those that a conversion refuses.
    pub fn mod_up(&self, to: &Basis, digit: usize) -> Result<Self> {
        to.positions(&self.basis)?;
        let digits = self.basis.len().checked_div(digit).map_or(0, |_| self.basis.len().div_ceil(digit));
        if digits == 0 || (self.batch > 1 && digits > 1) {
            return Err(Error::Shape(format!("{} polynomials in {digits} digits of {digit} primes", self.batch)));
        }
        let (batch, digits) = (self.batch * digits, InDigits { basis: &self.basis, digit });
        Self::wrap(&self.device, to, batch, |t, shape| {
            self.device.mod_up_points(&self.tables, t, shape, digits, &self.buffer)
        })
    }

    /// [`PolyBatch::mod_down`] of points: only the limbs dropped are transformed, and what they convert to.
    ///
    /// # Errors
    /// Those of [`PolyBatch::mod_down`].
    pub fn mod_down(&self, kept: usize) -> Result<Self> {
        let (shape, basis, _) = self.divided(kept)?;
        let buffer = self.device.mod_down_points(&self.tables, &self.basis, shape, kept, &self.buffer)?;
        self.with(basis, self.batch, buffer)
    }

    /// (a0 b0, a0 b1 + a1 b0, a1 b1) of two polynomials each.
    ///
    /// # Errors
    /// [`Error::Shape`] for other numbers of polynomials or other primes.
    pub fn tensor(&self, other: &Self) -> Result<Self> {
        self.check(other, false)?;
        if self.batch != 2 {
            return Err(Error::Shape(format!("a tensor product of {} polynomials, of two", self.batch)));
        }
        let buffer = self.device.tensor(&self.tables, self.shape(), &self.buffer, &other.buffer)?;
        self.with(self.basis.clone(), 3, buffer)
    }

    /// `self += x * scalars` in the limbs of `x`, whose primes are the first of `self`; a reduced residue for each.
    ///
    /// # Errors
    /// [`Error::Shape`] for other primes or another number of polynomials.
    pub fn add_scaled(&mut self, x: &Self, scalars: &[u64]) -> Result<()> {
        check_scalars(&x.basis, scalars)?;
        if x.batch != self.batch || self.basis.level(x.basis.len()).ok().as_ref() != Some(&x.basis) {
            return Err(Error::Shape(format!("primes {:?} and {:?}", self.basis.values(), x.basis.values())));
        }
        let shape = self.shape();
        self.device.add_scaled_assign(&self.tables, shape, &mut self.buffer, &x.buffer, scalars)
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
