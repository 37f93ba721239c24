//! Between coefficients and points, alone and with the products that points go into.

use super::*;

/// Between coefficients and points, alone and with the products that points go into.
pub(crate) trait Transform: Pointwise {
    /// Coefficient to NTT domain.
    fn ntt_forward(&self, t: &Self::Tables, shape: Shape, buffer: Self::Buffer) -> Result<Self::Buffer>;

    /// Coefficient to NTT domain, the coefficients being made part by part, of sizes that suit the device.
    fn ntt_forward_parts(&self, t: &Self::Tables, shape: Shape, part: Part<'_, Self::Buffer>) -> Result<Self::Buffer> {
        self.ntt_forward(t, shape, part(0..shape.batch)?)
    }

    /// NTT to coefficient domain, 1/n included.
    fn ntt_inverse(&self, t: &Self::Tables, shape: Shape, buffer: Self::Buffer) -> Result<Self::Buffer>;

    /// Coefficients to points in rows, the layout that single polynomials are transformed in fastest. Where rows are
    /// the only layout, here and below, the same as for points as they are.
    fn ntt_forward_rows(&self, t: &Self::Tables, shape: Shape, buffer: Self::Buffer) -> Result<Self::Buffer> {
        self.ntt_forward(t, shape, buffer)
    }

    /// Points in rows to coefficients, 1/n included.
    fn ntt_inverse_rows(&self, t: &Self::Tables, shape: Shape, buffer: Self::Buffer) -> Result<Self::Buffer> {
        self.ntt_inverse(t, shape, buffer)
    }

    /// Points, laid out in rows.
    fn to_rows(&self, _t: &Self::Tables, _shape: Shape, points: Self::Buffer) -> Result<Self::Buffer> {
        Ok(points)
    }

    /// Rows of points, laid out as matrix products read them.
    fn to_panels(&self, _t: &Self::Tables, _shape: Shape, rows: Self::Buffer) -> Result<Self::Buffer> {
        Ok(rows)
    }

    /// NTT to coefficient domain: the polynomials `a * b`, `b` as in [`Pointwise::mul_assign`].
    fn ntt_inverse_of_product(
        &self,
        t: &Self::Tables,
        size: MulShape,
        mut a: Self::Buffer,
        b: &Self::Buffer,
    ) -> Result<Self::Buffer> {
        self.mul_assign(t, size, &mut a, b)?;
        self.ntt_inverse(t, size.shape, a)
    }

    /// `sums[k] += x * factors[k]` in the NTT domain, for `x` in the coefficient domain; factors as `b` in
    /// [`Pointwise::mul_assign`].
    fn ntt_forward_mul_add(
        &self,
        t: &Self::Tables,
        size: MulShape,
        x: Self::Buffer,
        sums: [&mut Self::Buffer; 2],
        factors: [&Self::Buffer; 2],
    ) -> Result<()> {
        let x = self.ntt_forward(t, size.shape, x)?;
        let mut all = sums.into_iter().zip(factors);
        all.try_for_each(|(sum, factor)| self.mul_add_assign(t, size, sum, &x, factor))
    }
}
