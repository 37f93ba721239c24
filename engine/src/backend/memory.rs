//! Residues on a device: to it, from it, and copies there.

use super::*;

/// Residues on a device: to it, from it, and copies there.
pub(crate) trait Memory {
    /// Residues on the device. Contents are cleared before the memory is used for anything else.
    type Buffer;
    /// The primes of a basis on the device. Cheap to make: each prime's roots are there once, whatever bases have it.
    type Tables;

    /// The primes of a basis, whose roots are made ready at the first use of each.
    fn tables(&self, basis: &Basis) -> Result<Self::Tables>;

    /// What is kept of the primes so far.
    fn table_use(&self) -> TableUse;

    /// Copies `[batch, limbs, n]` residues to the device.
    fn upload(&self, t: &Self::Tables, shape: Shape, domain: Domain, host: &[u64]) -> Result<Self::Buffer>;

    /// Copies back to `[batch, limbs, n]`.
    fn download(&self, t: &Self::Tables, shape: Shape, domain: Domain, buffer: &Self::Buffer) -> Result<Vec<u64>>;

    /// All zero.
    fn zeros(&self, t: &Self::Tables, shape: Shape) -> Result<Self::Buffer>;

    /// A second copy on the same device.
    fn duplicate(&self, buffer: &Self::Buffer) -> Result<Self::Buffer>;

    /// NTT domain: a copy of the polynomials `range` of a batch of `shape`.
    fn extract(
        &self,
        t: &Self::Tables,
        shape: Shape,
        buffer: &Self::Buffer,
        range: Range<usize>,
    ) -> Result<Self::Buffer>;

    /// Either domain: a copy of some limbs, as elements of `shape`.
    fn limbs(
        &self,
        t: &Self::Tables,
        shape: Shape,
        domain: Domain,
        from: Limbs<'_, Self::Buffer>,
    ) -> Result<Self::Buffer>;

    /// Either domain: the polynomials of several buffers, `counts[i]` in the i-th, one after the other. `shape` is that
    /// of the result.
    fn stack(
        &self,
        t: &Self::Tables,
        shape: Shape,
        domain: Domain,
        parts: &[&Self::Buffer],
        counts: &[usize],
    ) -> Result<Self::Buffer>;
}
