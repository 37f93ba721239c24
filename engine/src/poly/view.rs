//! Some of a batch's limbs: what a level or a digit sees of elements over a larger basis. Nothing is copied until it is
//! asked for.

use super::*;

/// Limbs of a batch in the order of a basis.
pub struct LimbView<'a, D> {
    batch: &'a PolyBatch<D>,
    basis: Basis,
    /// Which limb of the batch each limb of the view is.
    map: Vec<usize>,
}

impl<D: DomainTag> PolyBatch<D> {
    /// The limbs of the primes of `basis`.
    ///
    /// # Errors
    /// [`Error::Parameters`] if one is not among those of the batch.
    pub fn limbs(&self, basis: &Basis) -> Result<LimbView<'_, D>> {
        Ok(LimbView { batch: self, basis: basis.clone(), map: self.basis.positions(basis)? })
    }
}

impl<D: DomainTag> LimbView<'_, D> {
    /// The primes of the view.
    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// Polynomials.
    pub fn batch(&self) -> usize {
        self.batch.batch
    }

    /// A batch of its own.
    pub fn to_batch(&self) -> Result<PolyBatch<D>> {
        let PolyBatch { device, batch, .. } = self.batch;
        PolyBatch::wrap(device, &self.basis, *batch, |t, shape| device.limbs(t, shape, D::DOMAIN, self.raw()))
    }

    pub(super) fn raw(&self) -> Limbs<'_, DeviceBuffer> {
        Limbs { buffer: &self.batch.buffer, limbs: self.batch.basis.len(), map: &self.map }
    }
}

impl LimbView<'_, Coeff> {
    /// The residues modulo the primes of `to` of the representative nearest zero, exactly as `Conversion` defines it.
    ///
    /// # Errors
    /// [`Error::Parameters`] for primes that `Conversion` refuses.
    pub fn mod_up(&self, to: &Basis) -> Result<PolyBatch<Coeff>> {
        let device = &self.batch.device;
        let tables = device.tables(&self.basis)?;
        PolyBatch::wrap(device, to, self.batch(), |to, shape| device.mod_up(&tables, to, shape, self.raw()))
    }
}

impl PolyBatch<Coeff> {
    /// [`LimbView::mod_up`] of all limbs.
    pub fn mod_up(&self, to: &Basis) -> Result<Self> {
        self.limbs(&self.basis)?.mod_up(to)
    }
}

impl<D: Points> LimbView<'_, D> {
    /// The matrix products of the view, `rows x inner`, with each `x`, `inner x cols`, whose basis is the view's: an
    /// `x` at any level meets a left factor that is stored once.
    pub fn gemm<const X: usize>(&self, x: [&PolyBatch<D>; X], size: GemmShape) -> Result<[PolyBatch<D>; X]> {
        let Some(place) = x.first() else { return Err(Error::Shape("a product with no right factor".to_owned())) };
        for x in x {
            x.check_product(self.batch.batch, size)?;
            place.check_place(x)?;
        }
        if !place.device.same(&self.batch.device) {
            return Err(Error::DeviceMismatch(format!("{:?} and {:?}", place.device, self.batch.device)));
        }
        if place.basis != self.basis {
            return Err(Error::Shape(format!("primes {:?} and {:?}", self.basis.values(), place.basis.values())));
        }
        let products = place.device.gemm(&place.tables, size, self.raw(), &x.map(|x| &x.buffer))?;
        place.products(size, products)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::primes::{DEFAULT_50, DEFAULT_60};

    #[test]
    fn a_product_of_a_view_is_that_of_its_copy() {
        let device = Device::cpu();
        let chain = Basis::new(64, &DEFAULT_50).unwrap().joined(&Basis::new(64, &DEFAULT_60).unwrap()).unwrap();
        let w = PolyBatch::uniform(&device, &chain, &[1; 16], 0, 6).unwrap();
        let size = GemmShape { rows: 2, inner: 3, cols: 2 };
        for view in [chain.level(2).unwrap(), chain.level(1).unwrap().joined(&chain.range(3..5).unwrap()).unwrap()] {
            let x = PolyBatch::uniform(&device, &view, &[2; 16], 0, 6).unwrap();
            let view = w.limbs(&view).unwrap();
            let [expected] = view.to_batch().unwrap().gemm([&x], size).unwrap();
            assert_eq!(view.gemm([&x], size).unwrap()[0].download().unwrap(), expected.download().unwrap());
            assert!(matches!(w.gemm([&x], size), Err(Error::Shape(_))));
        }
    }

    #[test]
    fn limbs_of_a_batch_are_those_of_their_primes() {
        let device = Device::cpu();
        let chain = Basis::new(64, &DEFAULT_50).unwrap().joined(&Basis::new(64, &DEFAULT_60).unwrap()).unwrap();
        let points = PolyBatch::uniform(&device, &chain, &[1; 16], 0, 3).unwrap();
        let residues = points.download().unwrap();
        let coefficients = PolyBatch::<Coeff>::upload(&device, &chain, &residues).unwrap();
        for map in [vec![0, 1], vec![3, 4], vec![0, 1, 4], vec![4, 0, 3]] {
            let values: Vec<u64> = map.iter().map(|&l| chain.modulus(l).value()).collect();
            let view = Basis::new(64, &values).unwrap();
            let row = |poly: usize, limb: usize| residues[(poly * 5 + limb) * 64..][..64].to_vec();
            let expected: Vec<u64> = (0..3).flat_map(|p| map.iter().flat_map(move |&l| row(p, l))).collect();
            assert_eq!(points.limbs(&view).unwrap().to_batch().unwrap().download().unwrap(), expected, "{map:?}");
            assert_eq!(coefficients.limbs(&view).unwrap().to_batch().unwrap().download().unwrap(), expected, "{map:?}");
        }
        assert!(points.limbs(&Basis::new(64, &[257]).unwrap()).is_err());
        let zeros = PolyBatch::<Ntt>::zeros(&device, &chain, 2).unwrap();
        let zeros = zeros.limbs(&chain.level(2).unwrap()).unwrap().to_batch().unwrap();
        assert_eq!(zeros.download().unwrap(), [0; 256]);
    }
}
