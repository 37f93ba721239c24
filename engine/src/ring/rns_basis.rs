//! Several NTT primes together: Q = q_0 * q_1 * ... Cheap to clone.

use std::sync::Arc;

use super::modulus::Modulus;
use super::ntt_table::NttTable;
use crate::error::{Error, Result};

/// Distinct NTT primes for one ring dimension.
#[derive(Clone, Debug)]
pub struct RnsBasis {
    n: usize,
    /// Shared by all prefixes of a basis.
    tables: Arc<Vec<NttTable>>,
    len: usize,
}

impl RnsBasis {
    /// A basis of distinct primes that are 1 mod 2n.
    pub fn new(n: usize, primes: &[u64]) -> Result<Self> {
        let mut sorted = primes.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        if primes.is_empty() || sorted.len() != primes.len() {
            return Err(Error::Parameters(format!("basis {primes:?}: must be distinct primes, at least one")));
        }
        let tables = primes.iter().map(|&q| NttTable::new(n, q)).collect::<Result<Vec<_>>>()?;
        Ok(Self { n, tables: Arc::new(tables), len: primes.len() })
    }

    /// The ring dimension.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The number of primes, the limbs of an element.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a basis has a prime at least.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Each prime's roots.
    pub fn tables(&self) -> &[NttTable] {
        &self.tables[..self.len]
    }

    /// Prime `i`.
    pub fn modulus(&self, i: usize) -> Modulus {
        self.tables()[i].modulus()
    }

    /// The primes' values.
    pub fn primes(&self) -> Vec<u64> {
        self.tables().iter().map(|t| t.modulus().value()).collect()
    }

    /// log2 of Q.
    pub fn log2_q(&self) -> f64 {
        self.primes().iter().map(|&q| (q as f64).log2()).sum()
    }

    /// The basis without its last prime; an error if it is the only one.
    pub fn dropped(&self) -> Result<Self> {
        if self.len == 1 {
            return Err(Error::Parameters("the last prime of a basis cannot be dropped".to_owned()));
        }
        Ok(Self { len: self.len - 1, ..self.clone() })
    }

    /// Holds `[batch, limbs, n]` residues to their primes.
    ///
    /// # Errors
    /// [`Error::Decode`] where one is not reduced.
    pub fn check_reduced(&self, rows: &[u64]) -> Result<()> {
        rows.chunks_exact(self.n).enumerate().try_for_each(|(row, r)| self.modulus(row % self.len).check_reduced(r))
    }

    /// Q mod m.
    pub fn product_mod(&self, m: u64) -> u64 {
        self.primes().iter().fold(1 % m, |p, &q| (u128::from(p) * u128::from(q % m) % u128::from(m)) as u64)
    }
}

impl PartialEq for RnsBasis {
    fn eq(&self, other: &Self) -> bool {
        self.n == other.n && self.primes() == other.primes()
    }
}

impl Eq for RnsBasis {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::primes::DEFAULT_50;

    #[test]
    fn holds_distinct_primes_and_drops_them() {
        let basis = RnsBasis::new(1024, &DEFAULT_50).unwrap();
        assert_eq!(basis.product_mod(1 << 32), 1);
        assert!((basis.log2_q() - 150.0).abs() < 0.1);
        let one = basis.dropped().unwrap().dropped().unwrap();
        assert_eq!(one.primes(), [DEFAULT_50[0]]);
        assert!(one.dropped().is_err());
        assert!(RnsBasis::new(1024, &[DEFAULT_50[0]; 2]).is_err());
        assert!(RnsBasis::new(1024, &[]).is_err());
    }
}
