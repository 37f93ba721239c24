//! Matrix products at every point.

use super::*;

/// Matrix products at every point.
pub(crate) trait Product: Pointwise {
    /// NTT domain: `y[r * cols + c] = sum over k of w[r * inner + k] * x[k * cols + c]`, at every point and limb, for
    /// each of several right factors `x`. The limbs of `w` are a view, those of `x` all there are.
    fn gemm(
        &self,
        t: &Self::Tables,
        size: GemmShape,
        w: Limbs<'_, Self::Buffer>,
        x: &[&Self::Buffer],
    ) -> Result<Vec<Self::Buffer>>;

    /// Points in rows: (a0 b0, a0 b1 + a1 b0, a1 b1) of two polynomials each; `shape` is that of `a` and `b`.
    fn tensor(&self, t: &Self::Tables, shape: Shape, a: &Self::Buffer, b: &Self::Buffer) -> Result<Self::Buffer> {
        let map: Vec<usize> = (0..shape.limbs).collect();
        let w = Limbs { buffer: a, limbs: shape.limbs, map: &map };
        let all = self.gemm(t, GemmShape { rows: 2, inner: 1, cols: 2 }, w, &[b])?.remove(0);
        let part = |i: usize| self.extract(t, Shape { batch: 4, ..shape }, &all, i..i + 1);
        let mut middle = part(1)?;
        self.add_assign(t, Shape { batch: 1, ..shape }, &mut middle, &part(2)?)?;
        self.stack(t, Shape { batch: 3, ..shape }, Domain::Rows, &[&part(0)?, &middle, &part(3)?], &[1; 3])
    }

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
