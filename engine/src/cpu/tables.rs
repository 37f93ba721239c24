//! What each prime needs on a code path, for batches and for single rows.

use std::sync::Arc;

use super::body::Body;
use super::limb::Limb;
use super::panels::Order;
use crate::error::Result;
use crate::ring::{Basis, Modulus, Prime};

/// The primes of a basis, each with its kernels on one body.
pub(crate) struct CpuTables {
    pub(super) n: usize,
    pub(super) basis: Basis,
    pub(super) limbs: Vec<Arc<Limb>>,
}

impl CpuTables {
    pub(super) fn modulus(&self, limb: usize) -> Modulus {
        self.limbs[limb].modulus()
    }
}

/// One prime's transforms on single polynomials of the host, points in the order of
/// [`NttTable`](crate::ring::NttTable).
pub(crate) struct RowTransform(Limb);

impl RowTransform {
    /// For dimension `n` and prime `q`.
    pub(crate) fn new(n: usize, q: u64) -> Result<Self> {
        Ok(Self(Limb::new(Body::best(), &Prime::new(n, q)?)))
    }

    /// The prime.
    pub(crate) fn modulus(&self) -> Modulus {
        self.0.modulus()
    }

    /// Coefficients to points in place. Residues in `[0, q)` in and out.
    ///
    /// # Panics
    /// If the length is not n.
    pub(crate) fn forward(&self, a: &mut [u64]) {
        assert_eq!(a.len(), self.0.n());
        self.0.forward(a, Order::Canonical);
    }

    /// Points to coefficients in place, 1/n included. Residues in `[0, q)` in and out.
    ///
    /// # Panics
    /// If the length is not n.
    pub(crate) fn inverse(&self, a: &mut [u64]) {
        assert_eq!(a.len(), self.0.n());
        self.0.inverse(a, Order::Canonical);
    }
}

/// One prime's transforms on single polynomials, as batches use them: for benchmarks and for use without a device.
///
/// Points are in the order in which panels hold them, the same on every body: from n = 64 on, points 8r + k and 8k + r
/// of each block of 64 of the order of [`NttTable`](crate::ring::NttTable) are exchanged.
pub struct Transform(Limb);

impl Transform {
    /// For dimension `n` and prime `q`, with the given body.
    pub fn new(body: Body, n: usize, q: u64) -> Result<Self> {
        Ok(Self(Limb::new(body.check()?, &Prime::new(n, q)?)))
    }

    /// Coefficients to points in place. Residues in `[0, q)` in and out.
    ///
    /// # Panics
    /// If the length is not n.
    pub fn forward(&self, a: &mut [u64]) {
        assert_eq!(a.len(), self.0.n());
        self.0.forward(a, Order::Panel);
    }

    /// Points to coefficients in place, 1/n included. Residues in `[0, q)` in and out.
    ///
    /// # Panics
    /// If the length is not n.
    pub fn inverse(&self, a: &mut [u64]) {
        assert_eq!(a.len(), self.0.n());
        self.0.inverse(a, Order::Panel);
    }
}
