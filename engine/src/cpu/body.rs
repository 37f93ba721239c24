//! The code paths of the CPU backend.

use crate::error::{Error, Result};

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
