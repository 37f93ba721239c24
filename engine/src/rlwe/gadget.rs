//! Key switching, hybrid: an element c over Q_l in digits, each lifted to Q_l P, times keys for the digits, divided by
//! P.
//!
//! With D_j the product of digit j and d_j the representative of c mod D_j nearest zero, a key for what is multiplied
//! by c, w, under the secret s is
//!
//! ```text
//! key_j = (-a_j s + e_j + P g_j w, a_j)      g_j = 1 on the primes of digit j, 0 on the others
//! ```
//!
//! over Q_l P. As g_j d_j is c on the primes of digit j, sum d_j key_j is an encryption of P c w, and its quotient by P
//! one of c w with noise of about sqrt(n / 12 sum (D_j / P)^2) 3.24 and a rounding. A level that is no multiple of the
//! digits cuts the last one: D_j is the product of the primes that are left, and the same key serves.

use zeroize::Zeroizing;

use super::keys::SecretKey;
use super::params::Params;
use crate::error::{Error, Result};
use crate::poly::{Ntt, PolyBatch, Rows};
use crate::prng::Prng;
use crate::ring::sampler::{self, PublicSeed};
use crate::{Basis, GemmShape};

/// An element over Q_l in digits: `[digits]` polynomials over Q_l P.
pub struct Digits {
    level: usize,
    points: PolyBatch<Rows>,
}

impl Digits {
    /// Of a single polynomial on the first `level` primes.
    ///
    /// # Errors
    /// [`Error::Shape`] for several, [`Error::Parameters`] for another basis.
    pub fn new(params: &Params, c: &PolyBatch<Rows>) -> Result<Self> {
        let (level, basis) = (c.basis().len(), c.basis());
        if c.batch() != 1 || params.basis().level(level)? != *basis {
            return Err(Error::Shape(format!("{} polynomials over {:?} to decompose", c.batch(), basis.values())));
        }
        let points = c.mod_up(&params.extended(level)?, params.digit())?;
        Ok(Self { level, points })
    }

    /// The primes of ciphertexts that it is over.
    pub fn level(&self) -> usize {
        self.level
    }
}

/// The key for one thing that elements are multiplied by, at a level and all below.
pub struct SwitchingKey {
    level: usize,
    /// b of every digit, then a of every digit, over Q_l P.
    halves: PolyBatch<Rows>,
}

impl SwitchingKey {
    /// Of the halves b, `[digits]` over Q_l P, and the public seed of the other halves, polynomials `first..` of it.
    pub(super) fn new(level: usize, b: &PolyBatch<Rows>, seed: &PublicSeed, first: u32) -> Result<Self> {
        let a = PolyBatch::uniform(b.device(), b.basis(), seed, first, b.batch())?.into_rows()?;
        Ok(Self { level, halves: PolyBatch::stack(&[b, &a])? })
    }

    /// The highest level that it serves.
    pub fn level(&self) -> usize {
        self.level
    }

    /// The halves b, as they travel.
    pub(super) fn b(&self) -> Result<PolyBatch<Rows>> {
        self.halves.extract(0..self.halves.batch() / 2)
    }

    /// Bytes in memory.
    pub fn memory(&self) -> usize {
        self.halves.batch() * self.halves.basis().len() * self.halves.basis().n() * size_of::<u64>()
    }

    /// The sums of digits times key, a ciphertext's two halves over Q_l P at the digits' level: P times the product.
    ///
    /// # Errors
    /// [`Error::Parameters`] for digits at a higher level than the key's.
    pub fn product(&self, digits: &Digits) -> Result<PolyBatch<Rows>> {
        if digits.level > self.level {
            let (key, level) = (self.level, digits.level);
            return Err(Error::Parameters(format!("a key for {key} primes and fewer, at level {level}")));
        }
        let (basis, inner, all) = (digits.points.basis(), digits.points.batch(), self.halves.batch() / 2);
        let size = GemmShape { rows: 2, inner, cols: 1 };
        let [product] = if inner == all {
            self.halves.limbs(basis)?.gemm([&digits.points], size)?
        } else {
            let half = |first: usize| self.halves.extract(first..first + inner);
            PolyBatch::stack(&[&half(0)?, &half(all)?])?.limbs(basis)?.gemm([&digits.points], size)?
        };
        Ok(product)
    }
}

impl SecretKey {
    /// The halves b of a key for `what`, single polynomials over the first `level` primes and P, under the secret
    /// `under`; those of the other halves are polynomials `first..` of a public seed, which must not have served
    /// before.
    pub(super) fn switching_halves(
        &self,
        level: usize,
        what: &PolyBatch<Ntt>,
        under: &PolyBatch<Ntt>,
        (seed, first): (&PublicSeed, u32),
        prng: &mut Prng,
    ) -> Result<PolyBatch<Rows>> {
        let (params, basis) = (self.params(), what.basis());
        let digits = params.digits(level);
        let noise = Zeroizing::new(sampler::noise(prng, digits * params.n()));
        let mut b = PolyBatch::uniform(self.device(), basis, seed, first, digits)?.into_product(under)?;
        b.negate()?;
        b.add_lifted(&noise, &vec![1; basis.len()])?;
        let mut b = b.into_ntt()?;
        let gadgets = (0..digits).map(|j| {
            let mut part = what.duplicate()?;
            part.mul_scalar(&gadget(params, basis, level, j))?;
            Ok(part)
        });
        let gadgets = gadgets.collect::<Result<Vec<_>>>()?;
        b.add_assign(&PolyBatch::stack(&gadgets.iter().collect::<Vec<_>>())?)?;
        b.into_rows()
    }
}

/// P on the primes of digit `j` of `level`, 0 on the others.
fn gadget(params: &Params, basis: &Basis, level: usize, j: usize) -> Vec<u64> {
    let digit = j * params.digit()..((j + 1) * params.digit()).min(level);
    let scalar = |(i, q): (usize, u64)| {
        if digit.contains(&i) { params.special().map_or(1, |p| p.product_mod(q)) } else { 0 }
    };
    basis.values().into_iter().enumerate().map(scalar).collect()
}

/// The variance of the noise that a key switch at a level adds to a coefficient, its rounding included.
pub fn switching_variance(params: &Params, level: usize) -> f64 {
    let n = params.n() as f64;
    let special = params.special().map_or(0.0, Basis::log2_q);
    let digits = params.basis().level(level).map(|basis| basis.digits(params.digit())).unwrap_or_default();
    let ratios: f64 = digits.iter().map(|d| (2.0 * (d.log2_q() - special)).exp2()).sum();
    n / 12.0 * sampler::NOISE_SIGMA.powi(2) * ratios + rounding_variance(params.n())
}

/// The variance of what the rounding of both halves adds to a coefficient, c1's times a uniform ternary secret.
pub fn rounding_variance(n: usize) -> f64 {
    (2.0 / 3.0 * n as f64 + 1.0) / 12.0
}

/// The ciphertext's c0, and zeros where it has c1.
pub(super) fn first_half(pair: &PolyBatch<Rows>) -> Result<PolyBatch<Rows>> {
    PolyBatch::stack(&[&pair.extract(0..1)?, &PolyBatch::zeros(pair.device(), pair.basis(), 1)?])
}
