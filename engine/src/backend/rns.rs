//! Between bases.

use super::*;

/// Between bases.
pub(crate) trait Rns: Memory {
    /// Coefficient domain: the residues modulo the primes of `to` of the representative nearest zero, as
    /// [`Conversion`](crate::ring::Conversion) defines it. `t` is of the view's primes, `shape` that of the result.
    fn mod_up(
        &self,
        t: &Self::Tables,
        to: &Self::Tables,
        shape: Shape,
        from: Limbs<'_, Self::Buffer>,
    ) -> Result<Self::Buffer>;

    /// Coefficient domain: divides by the product D of all primes but the first `kept`, rounding, in the limbs of
    /// those: `(x_l - [x]) / D mod q_l`, with `[x]` what [`Self::mod_up`] makes of the other limbs. `shape` is that of
    /// the buffer.
    fn mod_down(&self, t: &Self::Tables, shape: Shape, kept: usize, buffer: Self::Buffer) -> Result<Self::Buffer>;
}
