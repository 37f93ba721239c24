//! The automorphisms x -> x^g.

use super::*;

/// The automorphisms x -> x^g.
pub(crate) trait GaloisMaps: Memory {
    /// Either domain: each polynomial a(x) becomes a(x^g).
    fn automorphism(
        &self,
        t: &Self::Tables,
        shape: Shape,
        domain: Domain,
        buffer: &Self::Buffer,
        galois: Galois,
    ) -> Result<Self::Buffer>;
}
