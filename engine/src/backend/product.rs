//! Matrix products at every point.

use super::*;

/// Matrix products at every point.
pub(crate) trait Product: Memory {
    /// NTT domain: `y[r * cols + c] = sum over k of w[r * inner + k] * x[k * cols + c]`, at every point and limb, for
    /// each of several right factors `x`. The limbs of `w` are a view, those of `x` all there are.
    fn gemm(
        &self,
        t: &Self::Tables,
        size: GemmShape,
        w: Limbs<'_, Self::Buffer>,
        x: &[&Self::Buffer],
    ) -> Result<Vec<Self::Buffer>>;

    /// NTT domain: [`Self::gemm`] whose left factor holds signed constants `w` `[rows, inner]` from the host.
    ///
    /// A constant is the same at every point, so a backend need neither transform nor store polynomials for it; as
    /// provided here it does store them.
    fn gemm_constants(
        &self,
        t: &Self::Tables,
        basis: &Basis,
        size: GemmShape,
        w: &[i32],
        x: &[&Self::Buffer],
    ) -> Result<Vec<Self::Buffer>> {
        let (limbs, n) = (basis.len(), basis.n());
        let mut host = Vec::with_capacity(w.len() * limbs * n);
        for &constant in w {
            for limb in 0..limbs {
                host.resize(host.len() + n, basis.modulus(limb).from_signed(i64::from(constant)));
            }
        }
        let shape = Shape { batch: w.len(), limbs, n };
        let map: Vec<usize> = (0..limbs).collect();
        let buffer = &self.upload(t, shape, Domain::Ntt, &host)?;
        self.gemm(t, size, Limbs { buffer, limbs, map: &map }, x)
    }
}
