//! The code paths of the CPU backend and the tables that each prime needs for its own.

use std::sync::Arc;

use super::limb::Limb;
use super::panels::Order;
use crate::error::{Error, Result};
use crate::ring::{Basis, Modulus, Prime};

/// A code path; all give the same residues, bit for bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// AVX-512: IFMA for primes of at most 50 bits where the processor has it, DQ otherwise.
    Avx512,
    /// AVX2, four residues a register.
    Avx2,
    /// Portable Rust.
    Scalar,
}

impl Body {
    /// Every body that this processor runs, the fastest first.
    pub fn available() -> Vec<Self> {
        [Self::Avx512, Self::Avx2, Self::Scalar].into_iter().filter(|b| b.runs_here()).collect()
    }

    /// The fastest body that this processor runs.
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// An error that says so where the processor does not run this body.
    pub(super) fn check(self) -> Result<Self> {
        self.runs_here()
            .then_some(self)
            .ok_or_else(|| Error::Device(format!("this processor does not run the {self:?} body")))
    }

    fn runs_here(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Avx2 => false,
            Self::Scalar => true,
        }
    }
}

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

/// One prime's transforms on single polynomials of the host, points in the order of [`NttTable`](crate::ring::NttTable).
pub struct RowTransform(Limb);

impl RowTransform {
    /// For dimension `n` and prime `q`.
    pub fn new(n: usize, q: u64) -> Result<Self> {
        Ok(Self(Limb::new(Body::best(), &Prime::new(n, q)?)))
    }

    /// The prime.
    pub fn modulus(&self) -> Modulus {
        self.0.modulus()
    }

    /// Coefficients to points in place. Residues in `[0, q)` in and out.
    ///
    /// # Panics
    /// If the length is not n.
    pub fn forward(&self, a: &mut [u64]) {
        assert_eq!(a.len(), self.0.n());
        self.0.forward(a, Order::Canonical);
    }

    /// Points to coefficients in place, 1/n included. Residues in `[0, q)` in and out.
    ///
    /// # Panics
    /// If the length is not n.
    pub fn inverse(&self, a: &mut [u64]) {
        assert_eq!(a.len(), self.0.n());
        self.0.inverse(a, Order::Canonical);
    }
}

/// One prime's transforms on single polynomials, as batches use them: for benchmarks and for use without a device.
///
/// Points are in the order in which panels hold them, the same on every body: from n = 64 on, points 8r + k and 8k + r of each block
/// of 64 of the order of [`NttTable`](crate::ring::NttTable) are exchanged.
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
