//! One prime of a ring and its roots, which every basis that has the prime shares.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::modulus::Modulus;
use super::ntt_table::NttTable;
use crate::error::Result;

/// A prime that is 1 mod 2n, with its roots of unity. Clones share them.
#[derive(Clone, Debug)]
pub struct Prime(pub(super) Arc<NttTable>);

impl Prime {
    /// For a ring dimension `n`, as [`NttTable::new`].
    pub fn new(n: usize, q: u64) -> Result<Self> {
        Ok(Self(Arc::new(NttTable::new(n, q)?)))
    }

    /// The ring dimension.
    pub fn n(&self) -> usize {
        self.0.n()
    }

    /// The prime itself.
    pub fn modulus(&self) -> Modulus {
        self.0.modulus()
    }

    /// Its value.
    pub fn value(&self) -> u64 {
        self.modulus().value()
    }

    /// For half the ring dimension, its root the square of this one's: not the root that [`Self::new`] takes, so the two
    /// must not be kept as one.
    pub(crate) fn halved(&self) -> Self {
        Self(Arc::new(self.0.halved()))
    }

    /// Its roots of unity and the scalar transforms.
    pub fn roots(&self) -> &NttTable {
        &self.0
    }
}

/// Roots follow from n and q.
impl PartialEq for Prime {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.n(), self.value()) == (other.n(), other.value())
    }
}

impl Eq for Prime {}

impl Hash for Prime {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.n(), self.value()).hash(state);
    }
}
