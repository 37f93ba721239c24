//! Exact conversion of residues from one basis to another, by integers only.
//!
//! For x modulo the primes m_i of a basis, of product D and b_i bits each, and a prime p, coefficient by coefficient:
//!
//! ```text
//! y_i = x_i (D/m_i)^-1                                            mod m_i
//! u_i = ((y_i >> (b_i - 30)) floor(2^(b_i + 30) / m_i)) >> 28     2^32 y_i / m_i, at most 13 too small
//! v   = (sum u_i + 2^31) >> 32
//! out = sum y_i [D/m_i] - v D                                     mod p
//! ```
//!
//! The result is the residue of the representative of x nearest zero, or of its neighbour if x is within 13 a 2^-32 D
//! of D/2, for a primes. No floating point takes part, so all backends agree bit for bit. For one prime, which may be
//! of any width, v is whether x > D/2, and the representative is the nearest always; several have 30 bits or more.

use super::basis::Basis;
use super::modulus::Modulus;
use super::ntt_table::Factor;
use crate::error::{Error, Result};

/// The least width of one of several primes.
const MIN_BITS: u32 = 30;
/// Primes of a product: sums of so many products of residues fit 128 bits.
const MOST: usize = 64;

/// The constants from one basis to another.
pub struct Conversion {
    from: Basis,
    to: Basis,
    inverses: Vec<Factor>,
    weights: Vec<u64>,
    quotients: Vec<Factor>,
}

impl Conversion {
    /// From the primes of one basis to those of another.
    ///
    /// # Errors
    /// [`Error::Parameters`] for several primes one of which has fewer than 30 bits, more than 64 of them, or different
    /// dimensions.
    pub fn new(from: &Basis, to: &Basis) -> Result<Self> {
        let narrow = from.primes().iter().find(|m| from.len() > 1 && m.modulus().bits() < MIN_BITS);
        if narrow.is_some() || from.len() > MOST || from.n() != to.n() {
            let (sizes, primes) = ([from.n(), to.n()], from.values());
            return Err(Error::Parameters(format!(
                "conversion from {primes:?}, n = {sizes:?}: one prime, or up to {MOST} of {MIN_BITS} bits and more"
            )));
        }
        let factor = |q: Modulus, value| Factor { value, shoup: q.shoup(value) };
        // The product of all primes but number `without`, if any.
        let product = |q: Modulus, without: usize| {
            let others = from.primes().iter().enumerate().filter(|(i, _)| *i != without);
            others.fold(1, |product, (_, m)| q.mul(product, q.reduce(m.value())))
        };
        let inverse = |(i, m): (usize, Modulus)| factor(m, m.inv(product(m, i)));
        let primes = |basis: &Basis| basis.primes().iter().map(|q| q.modulus()).collect::<Vec<_>>();
        let weights = |p: Modulus| {
            let parts = (0..from.len()).map(move |i| product(p, i));
            parts.chain([p.neg(product(p, usize::MAX))]).collect::<Vec<_>>()
        };
        Ok(Self {
            inverses: primes(from).into_iter().enumerate().map(inverse).collect(),
            weights: primes(to).into_iter().flat_map(weights).collect(),
            quotients: primes(to).into_iter().map(|p| factor(p, p.inv(product(p, usize::MAX)))).collect(),
            from: from.clone(),
            to: to.clone(),
        })
    }

    /// Where residues come from.
    pub fn from(&self) -> &Basis {
        &self.from
    }

    /// Where they go.
    pub fn to(&self) -> &Basis {
        &self.to
    }

    /// (D/m_i)^-1 mod m_i.
    pub fn inverses(&self) -> &[Factor] {
        &self.inverses
    }

    /// For prime `p` of the target, \[D/m_i\] for every i, then -D.
    pub fn weights(&self, p: usize) -> &[u64] {
        let terms = self.from.len() + 1;
        &self.weights[p * terms..][..terms]
    }

    /// D^-1 mod each prime of the target; 0 where it is one of D's.
    pub fn quotients(&self) -> &[Factor] {
        &self.quotients
    }

    /// floor(2^(b + 30) / m) for source prime `i` of b bits, below 2^31.
    pub fn ratio(&self, i: usize) -> u64 {
        let m = self.from.modulus(i);
        ((1u128 << (m.bits() + 30)) / u128::from(m.value())) as u64
    }
}
