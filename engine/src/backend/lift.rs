//! Polynomials from small or public things: host integers and seeds.

use super::*;

/// Polynomials from small or public things: host integers and seeds.
pub(crate) trait Lift: Memory {
    /// Coefficient domain: `acc[b][l][i] += values[b][i] * scale[l] mod q_l` for signed 32-bit host `values` `[batch,
    /// n]` and `scale[l]` in `[0, q_l)`.
    fn add_lifted(
        &self,
        t: &Self::Tables,
        shape: Shape,
        acc: &mut Self::Buffer,
        values: &[i32],
        scale: &[u64],
    ) -> Result<()>;

    /// Coefficient domain: signed 32-bit host `values` `[batch, n]` times `scale[l]` in `[0, q_l)`.
    fn lift(&self, t: &Self::Tables, shape: Shape, values: &[i32], scale: &[u64]) -> Result<Self::Buffer> {
        let mut zeros = self.zeros(t, shape)?;
        self.add_lifted(t, shape, &mut zeros, values, scale)?;
        Ok(zeros)
    }

    /// NTT domain: residue `i` of limb `l` of polynomial `b` is
    /// [`uniform_residue`](crate::ring::sampler::uniform_residue)`(seed, q_l, first + b, l, i)`.
    fn expand_uniform(&self, t: &Self::Tables, shape: Shape, seed: &PublicSeed, first: u32) -> Result<Self::Buffer>;

    /// Coefficient domain: the residues of host integers `[batch, n]`.
    fn reduce(&self, t: &Self::Tables, shape: Shape, values: Integers<'_>) -> Result<Self::Buffer>;
}
