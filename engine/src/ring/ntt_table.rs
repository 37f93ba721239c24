//! Roots of unity for one prime and the scalar negacyclic transforms: the reference every backend is
//! held to, bit for bit.
//!
//! With psi a primitive 2n-th root of unity, the forward transform evaluates a polynomial at the odd
//! powers of psi: output `i` is a(psi^(2 * bitrev(i) + 1)). Powers of psi are merged into the butterflies
//! (Cooley-Tukey forward, Gentleman-Sande inverse; Longa and Naehrig 2016), so there is no separate
//! twist. Natural order in, **bit-reversed order out**; this is the one order of NTT-domain data.

use super::modulus::Modulus;
use super::primes::primitive_root;
use crate::error::{Error, Result};

/// The supported ring dimensions. Those below 1024 are too small to be secure and serve tests.
pub const DIMENSIONS: std::ops::RangeInclusive<usize> = 4..=65536;

/// A fixed factor with its Shoup companion floor(value * 2^64 / q).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor {
    /// The factor, in `[0, q)`.
    pub value: u64,
    /// Its companion.
    pub shoup: u64,
}

/// Precomputed roots for dimension n and prime q.
#[derive(Clone, Debug)]
pub struct NttTable {
    n: usize,
    modulus: Modulus,
    forward: Vec<Factor>,
    inverse: Vec<Factor>,
    n_inv: Factor,
}

fn bit_reverse(i: usize, log_n: u32) -> usize {
    i.reverse_bits() >> (usize::BITS - log_n)
}

impl NttTable {
    /// Tables for a power of two `n` in [`DIMENSIONS`] and a prime that is 1 mod 2n.
    pub fn new(n: usize, q: u64) -> Result<Self> {
        if !n.is_power_of_two() || !DIMENSIONS.contains(&n) {
            return Err(Error::Parameters(format!("n = {n}: must be a power of two in {DIMENSIONS:?}")));
        }
        let modulus = Modulus::new(q)?;
        Ok(Self::with_root(n, modulus, primitive_root(modulus, 2 * n as u64)?))
    }

    /// Those of half the dimension whose root is the square of this one's.
    pub(crate) fn halved(&self) -> Self {
        let psi = self.forward[self.n / 2].value;
        Self::with_root(self.n / 2, self.modulus, self.modulus.mul(psi, psi))
    }

    fn with_root(n: usize, modulus: Modulus, psi: u64) -> Self {
        let factor = |value| Factor { value, shoup: modulus.shoup(value) };
        let powers = |root: u64| {
            let mut table = vec![factor(1); n];
            let mut power = 1;
            for i in 0..n {
                table[bit_reverse(i, n.trailing_zeros())] = factor(power);
                power = modulus.mul(power, root);
            }
            table
        };
        Self {
            n,
            modulus,
            forward: powers(psi),
            inverse: powers(modulus.inv(psi)),
            n_inv: factor(modulus.inv(n as u64 % modulus.value())),
        }
    }

    /// psi^i, of exponents below n.
    pub(crate) fn power(&self, i: usize) -> u64 {
        self.forward[bit_reverse(i, self.n.trailing_zeros())].value
    }

    /// The ring dimension.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The prime.
    pub fn modulus(&self) -> Modulus {
        self.modulus
    }

    /// Bytes of all factors.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.forward) + size_of_val(&*self.inverse)
    }

    /// psi^bitrev(i) for i in 0..n. The butterflies of the stage with m groups use entries m..2m.
    pub fn forward_factors(&self) -> &[Factor] {
        &self.forward
    }

    /// psi^-bitrev(i) for i in 0..n.
    pub fn inverse_factors(&self) -> &[Factor] {
        &self.inverse
    }

    /// n^-1 mod q, which the inverse transform multiplies by at its end.
    pub fn n_inv(&self) -> Factor {
        self.n_inv
    }

    /// The forward transform in place: `[0, q)` in and out. Inside, values stay below 4q (Harvey 2014).
    pub fn forward(&self, a: &mut [u64]) {
        assert_eq!(a.len(), self.n);
        let q = self.modulus;
        let two_q = 2 * q.value();
        let (mut groups, mut half) = (1, self.n / 2);
        while half > 0 {
            for (block, w) in a.chunks_exact_mut(2 * half).zip(&self.forward[groups..2 * groups]) {
                let (low, high) = block.split_at_mut(half);
                for (x, y) in low.iter_mut().zip(high) {
                    let u = (*x).min(x.wrapping_sub(two_q));
                    let v = q.mul_shoup_lazy(*y, w.value, w.shoup);
                    *x = u + v;
                    *y = u + two_q - v;
                }
            }
            groups *= 2;
            half /= 2;
        }
        for x in a {
            *x = q.reduce_once((*x).min(x.wrapping_sub(two_q)));
        }
    }

    /// The inverse transform in place, the factor 1/n included: `[0, q)` in and out.
    pub fn inverse(&self, a: &mut [u64]) {
        assert_eq!(a.len(), self.n);
        let q = self.modulus;
        let two_q = 2 * q.value();
        let (mut groups, mut half) = (self.n / 2, 1);
        while groups > 0 {
            for (block, w) in a.chunks_exact_mut(2 * half).zip(&self.inverse[groups..2 * groups]) {
                let (low, high) = block.split_at_mut(half);
                for (x, y) in low.iter_mut().zip(high) {
                    let (u, v) = (*x, *y);
                    let sum = u + v;
                    *x = sum.min(sum.wrapping_sub(two_q));
                    *y = q.mul_shoup_lazy(u + two_q - v, w.value, w.shoup);
                }
            }
            groups /= 2;
            half *= 2;
        }
        for x in a {
            *x = q.mul_shoup(*x, self.n_inv.value, self.n_inv.shoup);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Prng;
    use crate::ring::primes::{DEFAULT_50, DEFAULT_60, ntt_primes};

    fn random(q: Modulus, n: usize) -> Vec<u64> {
        let mut prng = Prng::from_seed_for_tests([1; 32]);
        (0..n).map(|_| q.reduce(prng.next_u64())).collect()
    }

    #[test]
    fn roots_are_seals() {
        let table = NttTable::new(4, 0xfff_ffff_fffc_0001).unwrap();
        let values: Vec<u64> = table.forward_factors().iter().map(|f| f.value).collect();
        assert_eq!(values, [1, 288_794_978_602_139_552, 178_930_308_976_060_547, 748_001_537_669_050_592]);
    }

    #[test]
    fn evaluates_at_odd_powers_in_bit_reversed_order() {
        let table = NttTable::new(16, DEFAULT_60[0]).unwrap();
        let (q, a) = (table.modulus(), random(table.modulus(), 16));
        let psi = primitive_root(q, 32).unwrap();
        let mut transformed = a.clone();
        table.forward(&mut transformed);
        for (i, &value) in transformed.iter().enumerate() {
            let point = q.pow(psi, 2 * bit_reverse(i, 4) as u64 + 1);
            assert_eq!(value, a.iter().rev().fold(0, |sum, &c| q.add(q.mul(sum, point), c)));
        }
    }

    #[test]
    fn multiplies_negacyclically_and_inverts() {
        for q in [DEFAULT_50[0], DEFAULT_60[1], ntt_primes(30, 64, 1).unwrap()[0], 257] {
            let table = NttTable::new(64, q).unwrap();
            let m = table.modulus();
            let (a, b) = (random(m, 64), vec![m.value() - 1; 64]);
            let mut naive = vec![0; 64];
            for (i, &x) in a.iter().enumerate() {
                for (j, &y) in b.iter().enumerate() {
                    let p = m.mul(x, y);
                    let k = (i + j) % 64;
                    naive[k] = if i + j < 64 { m.add(naive[k], p) } else { m.sub(naive[k], p) };
                }
            }
            let (mut fa, mut fb) = (a.clone(), b);
            table.forward(&mut fa);
            table.forward(&mut fb);
            let mut product: Vec<u64> = fa.iter().zip(&fb).map(|(&x, &y)| m.mul(x, y)).collect();
            table.inverse(&mut product);
            assert_eq!(product, naive);
            table.inverse(&mut fa);
            assert_eq!(fa, a);
        }
    }

    #[test]
    fn refuses_wrong_parameters() {
        assert!(NttTable::new(3, 257).is_err());
        assert!(NttTable::new(131_072, DEFAULT_60[0]).is_err());
        assert!(NttTable::new(1024, 257).is_err());
        assert!(NttTable::new(4, 0x3_fff3_0000_0001 - 2).is_err());
    }
}
