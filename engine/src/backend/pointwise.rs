//! Residue by residue.

use super::*;

/// Residue by residue.
pub(crate) trait Pointwise: Memory {
    /// `a += b`, either domain, both of `shape`.
    fn add_assign(&self, t: &Self::Tables, shape: Shape, a: &mut Self::Buffer, b: &Self::Buffer) -> Result<()>;

    /// `a -= b`, either domain.
    fn sub_assign(&self, t: &Self::Tables, shape: Shape, a: &mut Self::Buffer, b: &Self::Buffer) -> Result<()>;

    /// `a = -a`, either domain.
    fn negate_assign(&self, t: &Self::Tables, shape: Shape, a: &mut Self::Buffer) -> Result<()>;

    /// NTT domain: `a *= b` point by point; `b` has `size.factors` polynomials.
    fn mul_assign(&self, t: &Self::Tables, size: MulShape, a: &mut Self::Buffer, b: &Self::Buffer) -> Result<()>;

    /// NTT domain: `acc += a * b` point by point, `b` as in [`Self::mul_assign`].
    fn mul_add_assign(
        &self,
        t: &Self::Tables,
        size: MulShape,
        acc: &mut Self::Buffer,
        a: &Self::Buffer,
        b: &Self::Buffer,
    ) -> Result<()>;

    /// Either domain: limb `l` times `scalars[l]` in `[0, q_l)`.
    fn mul_scalar_assign(&self, t: &Self::Tables, shape: Shape, a: &mut Self::Buffer, scalars: &[u64]) -> Result<()>;

    /// Points in rows: `acc += x * scalars[l]` in the limbs of `x`, which are the first of `acc`, of `shape`; one
    /// scalar for each of them.
    fn add_scaled_assign(
        &self,
        t: &Self::Tables,
        shape: Shape,
        acc: &mut Self::Buffer,
        x: &Self::Buffer,
        scalars: &[u64],
    ) -> Result<()> {
        // Some limb or other times 0 beyond them.
        let map: Vec<usize> = (0..shape.limbs).map(|l| if l < scalars.len() { l } else { 0 }).collect();
        let mut scalars = scalars.to_vec();
        let from = Limbs { buffer: x, limbs: scalars.len(), map: &map };
        let mut padded = self.limbs(t, shape, Domain::Rows, from)?;
        scalars.resize(shape.limbs, 0);
        self.mul_scalar_assign(t, shape, &mut padded, &scalars)?;
        self.add_assign(t, shape, acc, &padded)
    }
}
