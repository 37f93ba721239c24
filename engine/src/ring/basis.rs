//! Several NTT primes together: Q = q_0 * q_1 * ... A basis is a view of primes that own their roots: the levels and
//! digits of a chain of primes, and a level with the primes of key switching, cost a pointer a prime.

use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use super::modulus::Modulus;
use super::prime::Prime;
use crate::error::{Error, Result};

/// Distinct NTT primes for one ring dimension, in order. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Basis {
    n: usize,
    primes: Arc<[Prime]>,
}

impl Basis {
    /// A basis of distinct primes that are 1 mod 2n.
    pub fn new(n: usize, primes: &[u64]) -> Result<Self> {
        Self::distinct(primes.iter().copied())?;
        Ok(Self { n, primes: primes.iter().map(|&q| Prime::new(n, q)).collect::<Result<_>>()? })
    }

    fn distinct(values: impl Iterator<Item = u64>) -> Result<()> {
        let values: Vec<u64> = values.collect();
        let mut sorted = values.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if values.is_empty() || sorted.len() != values.len() {
            return Err(Error::Parameters(format!("basis {values:?}: must be distinct primes, at least one")));
        }
        Ok(())
    }

    /// The ring dimension.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The number of primes, the limbs of an element.
    pub fn len(&self) -> usize {
        self.primes.len()
    }

    /// Never: a basis has a prime at least.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The primes with their roots.
    pub fn primes(&self) -> &[Prime] {
        &self.primes
    }

    /// Prime `i`.
    pub fn modulus(&self, i: usize) -> Modulus {
        self.primes[i].modulus()
    }

    /// The primes' values.
    pub fn values(&self) -> Vec<u64> {
        self.primes.iter().map(Prime::value).collect()
    }

    /// log2 of Q.
    pub fn log2_q(&self) -> f64 {
        self.primes.iter().map(|q| (q.value() as f64).log2()).sum()
    }

    /// The primes numbered `range`.
    ///
    /// # Errors
    /// [`Error::Parameters`] for none, or beyond the last.
    pub fn range(&self, range: Range<usize>) -> Result<Self> {
        match self.primes.get(range.clone()) {
            Some(primes) if !primes.is_empty() => Ok(Self { n: self.n, primes: primes.into() }),
            _ => Err(Error::Parameters(format!("primes {range:?} of a basis of {}", self.len()))),
        }
    }

    /// The first `len` primes.
    ///
    /// # Errors
    /// [`Error::Parameters`] for none, or more than there are.
    pub fn level(&self, len: usize) -> Result<Self> {
        self.range(0..len)
    }

    /// These primes, then those of `other`.
    ///
    /// # Errors
    /// [`Error::Parameters`] if they share a prime or have different ring dimensions.
    pub fn joined(&self, other: &Self) -> Result<Self> {
        let primes = || self.primes.iter().chain(&*other.primes);
        if self.n != other.n {
            return Err(Error::Parameters(format!("bases for n = {} and n = {}", self.n, other.n)));
        }
        Self::distinct(primes().map(Prime::value))?;
        Ok(Self { n: self.n, primes: primes().cloned().collect() })
    }

    /// The primes in digits of `size`, the last one of what is left.
    ///
    /// # Panics
    /// If `size` is 0.
    pub fn digits(&self, size: usize) -> Vec<Self> {
        self.primes.chunks(size).map(|digit| Self { n: self.n, primes: digit.into() }).collect()
    }

    /// Where each prime of `view` is among these.
    ///
    /// # Errors
    /// [`Error::Parameters`] if one is not.
    pub fn positions(&self, view: &Self) -> Result<Vec<usize>> {
        let position = |q: &Prime| {
            let found = self.primes.iter().position(|p| p == q);
            found.ok_or_else(|| Error::Parameters(format!("prime {} is not among {:?}", q.value(), self.values())))
        };
        view.primes.iter().map(position).collect()
    }

    /// Holds `[batch, limbs, n]` residues to their primes.
    ///
    /// # Errors
    /// [`Error::Decode`] where one is not reduced.
    pub fn check_reduced(&self, rows: &[u64]) -> Result<()> {
        let mut rows = rows.chunks_exact(self.n).zip(self.primes.iter().cycle());
        rows.try_for_each(|(row, q)| q.modulus().check_reduced(row))
    }

    /// Q mod m.
    pub fn product_mod(&self, m: u64) -> u64 {
        let times = |p: u64, q: &Prime| (u128::from(p) * u128::from(q.value() % m) % u128::from(m)) as u64;
        self.primes.iter().fold(1 % m, times)
    }
}

impl PartialEq for Basis {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.primes, &other.primes) || self.primes == other.primes
    }
}

impl Eq for Basis {}

impl Hash for Basis {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.primes.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::primes::{DEFAULT_50, DEFAULT_60};

    #[test]
    fn holds_distinct_primes() {
        let basis = Basis::new(1024, &DEFAULT_50).unwrap();
        assert_eq!(basis.product_mod(1 << 32), 1);
        assert!((basis.log2_q() - 150.0).abs() < 0.1);
        assert!(Basis::new(1024, &[DEFAULT_50[0]; 2]).is_err());
        assert!(Basis::new(1024, &[]).is_err());
    }

    #[test]
    fn views_share_the_primes_of_their_chain() {
        let (chain, special) = (Basis::new(64, &DEFAULT_50).unwrap(), Basis::new(64, &DEFAULT_60).unwrap());
        let joined = chain.level(2).unwrap().joined(&special).unwrap();
        assert_eq!(joined.values(), [DEFAULT_50[0], DEFAULT_50[1], DEFAULT_60[0], DEFAULT_60[1]]);
        let owners = [&chain.primes[0], &chain.primes[1], &special.primes[0], &special.primes[1]];
        assert!(joined.primes().iter().zip(owners).all(|(a, b)| Arc::ptr_eq(&a.0, &b.0)));
        assert_eq!(chain.digits(2).iter().map(Basis::len).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(chain.digits(2)[1].values(), chain.range(2..3).unwrap().values());
        let all = chain.joined(&special).unwrap();
        assert_eq!(all.positions(&joined).unwrap(), [0, 1, 3, 4]);
        assert!(joined.positions(&all).is_err());
        assert!(chain.level(0).is_err() && chain.level(4).is_err() && chain.range(2..5).is_err());
        assert!(chain.joined(&chain.level(1).unwrap()).is_err());
        assert!(chain.joined(&Basis::new(128, &DEFAULT_60).unwrap()).is_err());
    }

    #[test]
    fn bases_are_equal_by_value() {
        let basis = |n, primes: &[u64]| Basis::new(n, primes).unwrap();
        assert_eq!(basis(64, &DEFAULT_50[..2]), basis(64, &DEFAULT_50).level(2).unwrap());
        assert_ne!(basis(64, &DEFAULT_50[..2]), basis(64, &[DEFAULT_50[1], DEFAULT_50[0]]));
        assert_ne!(basis(64, &DEFAULT_50), basis(128, &DEFAULT_50));
        assert_ne!(basis(64, &DEFAULT_50), basis(64, &DEFAULT_50[..2]));
    }
}
