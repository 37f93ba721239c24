//! A batch of polynomials on a device: the type upper layers compute with.
//!
//! The domain is part of the type, so a coefficient-domain batch cannot be multiplied by mistake.
//! Every operation checks device, basis and shape; data never moves between devices by itself.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use crate::backend::{
    Domain, GaloisMaps, GemmShape, Integers, Lift, Limbs, Memory, MulShape, Pointwise, Product, Rns, Shape, Transform,
};
use crate::device::{Device, DeviceBuffer, DeviceTables};
use crate::error::{Error, Result};
use crate::ring::sampler::PublicSeed;
use crate::ring::{Basis, Galois};

mod mirrored;
mod places;
mod rows;
mod view;

pub use places::{Gather, Places, Run, Scatter};
pub use rows::{Points, Rows};
pub use view::LimbView;

mod sealed {
    pub trait Sealed {}
}

/// Coefficients or NTT values.
pub trait DomainTag: sealed::Sealed {
    /// The run-time name.
    const DOMAIN: Domain;
}

/// Coefficient domain.
pub enum Coeff {}
/// NTT domain.
pub enum Ntt {}

impl sealed::Sealed for Coeff {}
impl sealed::Sealed for Ntt {}
impl DomainTag for Coeff {
    const DOMAIN: Domain = Domain::Coeff;
}
impl DomainTag for Ntt {
    const DOMAIN: Domain = Domain::Ntt;
}

/// `batch` elements of `Z_Q[x]/(x^n + 1)`, `[batch, limbs, n]` residues on `device`.
pub struct PolyBatch<D> {
    device: Device,
    basis: Basis,
    tables: Arc<DeviceTables>,
    batch: usize,
    buffer: DeviceBuffer,
    domain: PhantomData<D>,
}

impl<D: DomainTag> PolyBatch<D> {
    fn wrap(
        device: &Device,
        basis: &Basis,
        batch: usize,
        make: impl FnOnce(&DeviceTables, Shape) -> Result<DeviceBuffer>,
    ) -> Result<Self> {
        let tables = Arc::new(device.tables(basis)?);
        let buffer = make(&tables, shape_of(basis, batch))?;
        Ok(Self { device: device.clone(), basis: basis.clone(), tables, batch, buffer, domain: PhantomData })
    }

    /// Zero polynomials.
    pub fn zeros(device: &Device, basis: &Basis, batch: usize) -> Result<Self> {
        Self::wrap(device, basis, batch, |t, s| device.zeros(t, s))
    }

    /// Uploads `[batch, limbs, n]` residues; `words` must divide into polynomials and be reduced.
    pub fn upload(device: &Device, basis: &Basis, words: &[u64]) -> Result<Self> {
        let size = basis.len() * basis.n();
        if words.is_empty() || !words.len().is_multiple_of(size) {
            return Err(Error::Shape(format!(
                "{} residues are not a positive multiple of {} limbs x n = {}",
                words.len(),
                basis.len(),
                basis.n()
            )));
        }
        basis.check_reduced(words)?;
        Self::wrap(device, basis, words.len() / size, |t, s| device.upload(t, s, D::DOMAIN, words))
    }

    /// Copies back to `[batch, limbs, n]`, waiting for the device.
    pub fn download(&self) -> Result<Vec<u64>> {
        self.device.download(&self.tables, self.shape(), D::DOMAIN, &self.buffer)
    }

    /// A second copy on the same device.
    pub fn duplicate(&self) -> Result<Self> {
        self.with(self.basis.clone(), self.batch, self.device.duplicate(&self.buffer)?)
    }

    /// The polynomials of several batches, one after the other.
    ///
    /// # Errors
    /// [`Error::Shape`] for none, or for other primes; [`Error::DeviceMismatch`].
    pub fn stack(parts: &[&Self]) -> Result<Self> {
        let Some((place, rest)) = parts.split_first() else { return Err(Error::Shape("a stack of nothing".into())) };
        rest.iter().try_for_each(|part| place.check_place(part))?;
        let (buffers, counts): (Vec<_>, Vec<_>) = parts.iter().map(|part| (&part.buffer, part.batch)).unzip();
        let shape = shape_of(&place.basis, counts.iter().sum());
        let buffer = place.device.stack(&place.tables, shape, D::DOMAIN, &buffers, &counts)?;
        place.with(place.basis.clone(), shape.batch, buffer)
    }

    /// Polynomials.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The primes.
    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// Where the data is.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// `self += other`.
    pub fn add_assign(&mut self, other: &Self) -> Result<()> {
        self.check(other, false)?;
        let shape = self.shape();
        self.device.add_assign(&self.tables, shape, &mut self.buffer, &other.buffer)
    }

    /// `self -= other`.
    pub fn sub_assign(&mut self, other: &Self) -> Result<()> {
        self.check(other, false)?;
        let shape = self.shape();
        self.device.sub_assign(&self.tables, shape, &mut self.buffer, &other.buffer)
    }

    /// `self = -self`.
    pub fn negate(&mut self) -> Result<()> {
        let shape = self.shape();
        self.device.negate_assign(&self.tables, shape, &mut self.buffer)
    }

    /// `self *= scalar`, given as one reduced residue a limb.
    pub fn mul_scalar(&mut self, scalars: &[u64]) -> Result<()> {
        check_scalars(&self.basis, scalars)?;
        let shape = self.shape();
        self.device.mul_scalar_assign(&self.tables, shape, &mut self.buffer, scalars)
    }

    /// Each polynomial a(x) as a(x^g), g an odd `element` below 2n.
    ///
    /// # Errors
    /// [`Error::Parameters`] for an element that is even or too large.
    pub fn automorphism(&self, element: usize) -> Result<Self> {
        let galois = Galois::new(self.basis.n(), element)?;
        let buffer = self.device.automorphism(&self.tables, self.shape(), D::DOMAIN, &self.buffer, galois)?;
        self.with(self.basis.clone(), self.batch, buffer)
    }

    fn shape(&self) -> Shape {
        shape_of(&self.basis, self.batch)
    }

    /// The same place with other contents.
    fn with<E>(&self, basis: Basis, batch: usize, buffer: DeviceBuffer) -> Result<PolyBatch<E>> {
        let tables = if basis == self.basis { self.tables.clone() } else { Arc::new(self.device.tables(&basis)?) };
        Ok(PolyBatch { device: self.device.clone(), basis, tables, batch, buffer, domain: PhantomData })
    }

    /// The same elements in another domain or layout.
    fn become_by<E>(
        self,
        kernel: impl FnOnce(&Device, &DeviceTables, Shape, DeviceBuffer) -> Result<DeviceBuffer>,
    ) -> Result<PolyBatch<E>> {
        let shape = self.shape();
        let Self { device, basis, tables, batch, buffer, .. } = self;
        let buffer = kernel(&device, &tables, shape, buffer)?;
        Ok(PolyBatch { device, basis, tables, batch, buffer, domain: PhantomData })
    }

    /// The shape, the primes kept and those dropped.
    fn divided(&self, kept: usize) -> Result<(Shape, Basis, Basis)> {
        Ok((self.shape(), self.basis.level(kept)?, self.basis.range(kept..self.basis.len())?))
    }

    fn check_place(&self, other: &Self) -> Result<()> {
        if !self.device.same(&other.device) {
            return Err(Error::DeviceMismatch(format!("{:?} and {:?}", self.device, other.device)));
        }
        if self.basis != other.basis {
            return Err(Error::Shape(format!("primes {:?} and {:?}", self.basis.values(), other.basis.values())));
        }
        Ok(())
    }

    fn check(&self, other: &Self, broadcast: bool) -> Result<()> {
        self.check_place(other)?;
        if self.batch != other.batch && !(broadcast && other.batch == 1) {
            return Err(Error::Shape(format!("batches of {} and {}", self.batch, other.batch)));
        }
        Ok(())
    }
}

impl PolyBatch<Coeff> {
    /// Signed coefficients `[batch, n]` times one scalar a limb.
    pub fn lift(device: &Device, basis: &Basis, values: &[i32], scale: &[u64]) -> Result<Self> {
        check_scalars(basis, scale)?;
        if values.is_empty() || !values.len().is_multiple_of(basis.n()) {
            return Err(Error::Shape(format!("{} values for polynomials of n = {}", values.len(), basis.n())));
        }
        Self::wrap(device, basis, values.len() / basis.n(), |t, shape| device.lift(t, shape, values, scale))
    }

    /// `self += values * scale` for signed coefficients `[batch, n]` and one reduced scalar a limb.
    pub fn add_lifted(&mut self, values: &[i32], scale: &[u64]) -> Result<()> {
        check_scalars(&self.basis, scale)?;
        if values.len() != self.batch * self.basis.n() {
            return Err(Error::Shape(format!(
                "{} values for {} polynomials of n = {}",
                values.len(),
                self.batch,
                self.basis.n()
            )));
        }
        let shape = self.shape();
        self.device.add_lifted(&self.tables, shape, &mut self.buffer, values, scale)
    }

    /// To the NTT domain.
    pub fn into_ntt(self) -> Result<PolyBatch<Ntt>> {
        self.become_by(|device, tables, shape, buffer| device.ntt_forward(tables, shape, buffer))
    }

    /// `sums[k] += self * factors[k]` as polynomials; factors may be single ones for all.
    pub fn mul_add_into(self, sums: [&mut PolyBatch<Ntt>; 2], factors: [&PolyBatch<Ntt>; 2]) -> Result<()> {
        let [s0, s1] = sums;
        let [f0, f1] = factors;
        f0.check(f1, false)?;
        for sum in [&s0, &s1] {
            sum.check(f0, true)?;
            if sum.batch != self.batch || !sum.device.same(&self.device) || sum.basis != self.basis {
                return Err(Error::Shape(format!("sums of {} for {} polynomials", sum.batch, self.batch)));
            }
        }
        let size = MulShape { shape: self.shape(), factors: f0.batch };
        let sums = [&mut s0.buffer, &mut s1.buffer];
        let Self { device, tables, buffer, .. } = self;
        device.ntt_forward_mul_add(&tables, size, buffer, sums, [&f0.buffer, &f1.buffer])
    }

    /// The residues of signed integers `[batch, n]`.
    pub fn reduce(device: &Device, basis: &Basis, values: Integers<'_>) -> Result<Self> {
        if values.is_empty() || !values.len().is_multiple_of(basis.n()) {
            return Err(Error::Shape(format!("{} integers for polynomials of n = {}", values.len(), basis.n())));
        }
        Self::wrap(device, basis, values.len() / basis.n(), |t, shape| device.reduce(t, shape, values))
    }

    /// Divides by the product of all primes but the first `kept`, rounding, and leaves their limbs out: a modulus
    /// switch, a rescaling, the end of a key switch.
    ///
    /// # Errors
    /// [`Error::Parameters`] unless there are both limbs to keep and limbs to drop, or for primes that
    /// [`Conversion`](crate::ring::Conversion) refuses.
    pub fn mod_down(self, kept: usize) -> Result<Self> {
        let (shape, basis, _) = self.divided(kept)?;
        let Self { device, tables, batch, buffer, .. } = self;
        let buffer = device.mod_down(&tables, shape, kept, buffer)?;
        let tables = Arc::new(device.tables(&basis)?);
        Ok(Self { device, basis, tables, batch, buffer, domain: PhantomData })
    }
}

impl PolyBatch<Ntt> {
    /// Uniform polynomials number `first..first + batch` of a public seed.
    pub fn uniform(device: &Device, basis: &Basis, seed: &PublicSeed, first: u32, batch: usize) -> Result<Self> {
        Self::wrap(device, basis, batch, |t, s| device.expand_uniform(t, s, seed, first))
    }

    /// To the coefficient domain.
    pub fn into_coeff(self) -> Result<PolyBatch<Coeff>> {
        self.become_by(|device, tables, shape, buffer| device.ntt_inverse(tables, shape, buffer))
    }

    /// `self * other` in the coefficient domain; `other` may be a single one for all.
    pub fn into_product(self, other: &Self) -> Result<PolyBatch<Coeff>> {
        self.check(other, true)?;
        self.become_by(|device, tables, shape, buffer| {
            let size = MulShape { shape, factors: other.batch };
            device.ntt_inverse_of_product(tables, size, buffer, &other.buffer)
        })
    }

    /// The matrix products of constants `w`, `rows x inner`, with each `x`, `inner x cols`, row by row in the batch.
    pub fn gemm_constants<const X: usize>(w: &[i32], x: [&Self; X], size: GemmShape) -> Result<[Self; X]> {
        let place = x[0];
        for x in x {
            x.check_product(w.len(), size)?;
            place.check_place(x)?;
        }
        let buffers = x.map(|x| &x.buffer);
        let products = place.device.gemm_constants(&place.tables, &place.basis, size, w, &buffers)?;
        place.products(size, products)
    }

    /// The transforms of `batch` polynomials that `part` makes, range by range, while each part is in cache.
    pub fn from_parts(
        device: &Device,
        basis: &Basis,
        batch: usize,
        part: impl Fn(Range<usize>) -> Result<PolyBatch<Coeff>> + Sync,
    ) -> Result<Self> {
        Self::wrap(device, basis, batch, |tables, shape| {
            device.ntt_forward_parts(tables, shape, &|range| {
                let part = part(range.clone())?;
                if !part.device.same(device) || &part.basis != basis || part.batch != range.len() {
                    return Err(Error::Shape(format!("{} polynomials for part {range:?} of {batch}", part.batch)));
                }
                Ok(part.buffer)
            })
        })
    }

    /// Of a buffer that a chain left.
    pub(crate) fn from_buffer(device: &Device, basis: &Basis, batch: usize, buffer: DeviceBuffer) -> Result<Self> {
        Self::wrap(device, basis, batch, |_, _| Ok(buffer))
    }

    pub(crate) fn buffer(&self) -> &DeviceBuffer {
        &self.buffer
    }
}

fn shape_of(basis: &Basis, batch: usize) -> Shape {
    Shape { batch, limbs: basis.len(), n: basis.n() }
}

fn check_scalars(basis: &Basis, scalars: &[u64]) -> Result<()> {
    let fits = scalars.len() == basis.len() && scalars.iter().zip(basis.primes()).all(|(&s, q)| s < q.value());
    fits.then_some(()).ok_or_else(|| {
        Error::Shape(format!("{} scalars for {} limbs, or one is not reduced", scalars.len(), basis.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::primes::DEFAULT_50;

    fn basis() -> Basis {
        Basis::new(64, &DEFAULT_50[..2]).unwrap()
    }

    #[test]
    fn a_matrix_product_is_sums_of_negacyclic_products() {
        let (device, basis) = (Device::cpu(), basis());
        let (rows, inner, cols) = (2, 3, 2);
        let small = |count: usize, salt: i32| -> Vec<i32> {
            (0..count as i32 * 64).map(|i| (i * 31 + salt) % 17 - 8).collect()
        };
        let (w, x) = (small(rows * inner, 1), small(inner * cols, 5));
        let ntt = |v: &[i32]| PolyBatch::lift(&device, &basis, v, &[1, 1]).unwrap().into_ntt().unwrap();
        let y = ntt(&w).gemm([&ntt(&x)], GemmShape { rows, inner, cols }).unwrap().map(|y| y.into_coeff().unwrap())[0]
            .download()
            .unwrap();
        for (r, c, i) in (0..rows * cols * 64).map(|i| (i / 64 / cols, i / 64 % cols, i % 64)) {
            let mut sum = 0i64;
            for k in 0..inner {
                for j in 0..64 {
                    let sign = if j <= i { 1 } else { -1 };
                    let (a, b) = (w[(r * inner + k) * 64 + j], x[(k * cols + c) * 64 + (i + 64 - j) % 64]);
                    sum += sign * i64::from(a) * i64::from(b);
                }
            }
            for limb in 0..2 {
                assert_eq!(y[((r * cols + c) * 2 + limb) * 64 + i], basis.modulus(limb).from_signed(sum));
            }
        }
    }

    #[test]
    fn products_with_constants_are_those_with_constant_polynomials() {
        let (device, basis) = (Device::cpu(), basis());
        let size = GemmShape { rows: 3, inner: 5, cols: 2 };
        let w: Vec<i32> = (0..15).map(|i| [i32::MIN, -2048, -1, 0, 1, 2047, i32::MAX][i % 7]).collect();
        let x = PolyBatch::uniform(&device, &basis, &[4; 16], 0, 10).unwrap();
        let mut polys = vec![0; 15 * 64];
        polys.iter_mut().step_by(64).zip(&w).for_each(|(p, &w)| *p = w);
        let expected = PolyBatch::lift(&device, &basis, &polys, &[1, 1]).unwrap().into_ntt().unwrap();
        let expected = expected.gemm([&x], size).unwrap()[0].download().unwrap();
        assert_eq!(PolyBatch::gemm_constants(&w, [&x], size).unwrap()[0].download().unwrap(), expected);
        assert!(PolyBatch::gemm_constants(&w[1..], [&x], size).is_err());
    }

    #[test]
    fn dropping_a_limb_divides_and_rounds() {
        let (device, basis) = (Device::cpu(), basis());
        let q1 = basis.modulus(1).value();
        // 3 * q1 + r for r around the rounding points.
        let expected = [(0, 3), (q1 / 2, 3), (q1 / 2 + 1, 4), (q1 - 1, 4)];
        let mut words = vec![0; 2 * 64];
        for (i, (r, _)) in expected.iter().enumerate() {
            let x = 3 * u128::from(q1) + u128::from(*r);
            words[i] = basis.modulus(0).reduce_wide(x);
            words[64 + i] = basis.modulus(1).reduce_wide(x);
        }
        let out = PolyBatch::<Coeff>::upload(&device, &basis, &words).unwrap().mod_down(1).unwrap();
        let out = out.download().unwrap();
        assert!(expected.iter().zip(&out).all(|((_, e), o)| e == o), "{out:?}");
    }

    #[test]
    fn automorphisms_agree_in_both_domains_and_multiply() {
        let (device, basis) = (Device::cpu(), basis());
        let points = PolyBatch::uniform(&device, &basis, &[6; 16], 0, 3).unwrap();
        let image = |g| points.automorphism(g).unwrap();
        for g in [1, 3, 5, 63, 65, 127] {
            let coefficients = points.duplicate().unwrap().into_coeff().unwrap().automorphism(g).unwrap();
            let by_points = image(g).download().unwrap();
            assert_eq!(coefficients.into_ntt().unwrap().download().unwrap(), by_points, "g = {g}");
            // An automorphism of the ring: the image of a product is the product of the images.
            let (mut square, mut images) = (points.duplicate().unwrap(), image(g));
            square.mul_assign(&points).unwrap();
            images.mul_assign(&image(g)).unwrap();
            assert_eq!(square.automorphism(g).unwrap().download().unwrap(), images.download().unwrap(), "g = {g}");
            let twice = image(g).automorphism(5).unwrap().download().unwrap();
            assert_eq!(twice, image(5 * g % 128).download().unwrap(), "g = {g}");
        }
        assert!(matches!(points.automorphism(4), Err(Error::Parameters(_))));
    }

    #[test]
    fn mismatches_and_unreduced_residues_are_errors() {
        let (a, b) = (Device::cpu(), Device::cpu());
        let mut x = PolyBatch::<Coeff>::zeros(&a, &basis(), 1).unwrap();
        assert!(matches!(x.add_assign(&PolyBatch::zeros(&b, &basis(), 1).unwrap()), Err(Error::DeviceMismatch(_))));
        assert!(matches!(x.add_assign(&PolyBatch::zeros(&a, &basis(), 2).unwrap()), Err(Error::Shape(_))));
        assert!(matches!(x.add_lifted(&[0; 63], &[1, 1]), Err(Error::Shape(_))));
        assert!(matches!(PolyBatch::<Coeff>::upload(&a, &basis(), &[u64::MAX; 128]), Err(Error::Decode(_))));
        assert!(matches!(PolyBatch::<Coeff>::upload(&a, &basis(), &[0; 127]), Err(Error::Shape(_))));
    }
}
