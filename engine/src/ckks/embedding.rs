//! The canonical embedding: n/2 complex slots to the coefficients of a real polynomial and back.
//!
//! Slot j is the value at zeta^(5^j), zeta = exp(i pi / n). With c_i = a_i + i a_(i + n/2) these are values of a
//! polynomial with n/2 coefficients at the roots of X^(n/2) - i, which the butterflies of a number-theoretic transform
//! find. Twiddles come of integers, rounded once, and no operation is fused: the same results on every machine.

use super::complex::Complex;
use crate::error::{Error, Result};

/// Bits of the fixed-point numbers that twiddles are made of.
const POINT: u32 = 62;

/// The transform of one dimension.
pub struct Embedding {
    /// Slots.
    slots: usize,
    /// The factor of each butterfly block, stage after stage.
    factors: Vec<Complex>,
    /// Where each slot is in the transform's order.
    places: Vec<u32>,
}

impl Embedding {
    /// For dimension `n`, a power of two in 4..=2^17.
    ///
    /// # Errors
    /// [`Error::Parameters`] for any other.
    pub fn new(n: usize) -> Result<Self> {
        if !n.is_power_of_two() || !(4..=1 << 17).contains(&n) {
            return Err(Error::Parameters(format!("an embedding of dimension {n}: a power of two in 4..=2^17")));
        }
        let (slots, powers) = (n / 2, powers_of_zeta(n));
        let mut factors = Vec::with_capacity(slots - 1);
        // Exponents e of the blocks X^m - zeta^e, which fall into X^(m/2) -+ zeta^(e/2).
        let mut blocks = vec![slots];
        while blocks.len() < slots {
            factors.extend(blocks.iter().map(|e| powers[e / 2]));
            blocks = blocks.iter().flat_map(|e| [e / 2, e / 2 + n]).collect();
        }
        let mut place_of = vec![0; slots];
        blocks.iter().enumerate().for_each(|(place, e)| place_of[e / 4] = place as u32);
        let mut exponent = 1;
        let places = (0..slots).map(|_| {
            let place = place_of[exponent / 4];
            exponent = exponent * 5 % (2 * n);
            place
        });
        Ok(Self { slots, places: places.collect(), factors })
    }

    /// Slots: n/2.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Slots to coefficients: c_i = a_i + i a_(i + n/2), by way of `work`, both of n/2.
    ///
    /// # Panics
    /// If one of the lengths is not n/2.
    pub fn inverse(&self, slots: &[Complex], work: &mut [Complex]) {
        assert_eq!((slots.len(), work.len()), (self.slots, self.slots));
        slots.iter().zip(&self.places).for_each(|(&z, &place)| work[place as usize] = z);
        let mut blocks = self.slots / 2;
        while blocks > 0 {
            let size = self.slots / blocks;
            for (block, &w) in work.chunks_exact_mut(size).zip(&self.factors[blocks - 1..]) {
                let (low, high) = block.split_at_mut(size / 2);
                for (u, v) in low.iter_mut().zip(high) {
                    (*u, *v) = (*u + *v, (*u - *v) * w.conj());
                }
            }
            blocks /= 2;
        }
        let scale = 1.0 / self.slots as f64;
        work.iter_mut().for_each(|c| *c = c.scale(scale));
    }

    /// Coefficients c_i = a_i + i a_(i + n/2) to slots, over `work`.
    ///
    /// # Panics
    /// If one of the lengths is not n/2.
    pub fn forward(&self, work: &mut [Complex], slots: &mut [Complex]) {
        assert_eq!((slots.len(), work.len()), (self.slots, self.slots));
        let mut blocks = 1;
        while blocks < self.slots {
            let size = self.slots / blocks;
            for (block, &w) in work.chunks_exact_mut(size).zip(&self.factors[blocks - 1..]) {
                let (low, high) = block.split_at_mut(size / 2);
                for (u, v) in low.iter_mut().zip(high) {
                    let t = *v * w;
                    (*u, *v) = (*u + t, *u - t);
                }
            }
            blocks *= 2;
        }
        slots.iter_mut().zip(&self.places).for_each(|(z, &place)| *z = work[place as usize]);
    }
}

/// zeta^k for k below n, of integers by half angles: cos(x/2)^2 = (1 + cos x) / 2, sin(x/2) = sin x / 2 cos(x/2).
fn powers_of_zeta(n: usize) -> Vec<Complex> {
    const ONE: i128 = 1 << POINT;
    let round = |x: i128| (x + (1 << (POINT - 1))) >> POINT;
    // i, which is zeta^(n/2).
    let mut halves = vec![(0, ONE)];
    while 1 << halves.len() < n {
        let (cos, sin) = halves[halves.len() - 1];
        let half = ((ONE + cos) as u128 * (1 << (POINT - 1))).isqrt() as i128;
        halves.push((half, ((sin << (POINT - 1)) + half / 2) / half));
    }
    let mut powers = Vec::with_capacity(n);
    powers.push((ONE, 0));
    // The last of the halves is zeta itself, the one before its square.
    for &(cos, sin) in halves.iter().rev() {
        for i in 0..powers.len() {
            let (c, s): (i128, i128) = powers[i];
            powers.push((round(c * cos - s * sin), round(c * sin + s * cos)));
        }
    }
    let float = |x: i128| x as f64 / ONE as f64;
    powers.into_iter().map(|(c, s)| Complex::new(float(c), float(s))).collect()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;
    use crate::prng::Prng;

    #[test]
    fn twiddles_are_the_roots() {
        for n in [4, 8, 1024, 1 << 17] {
            let powers = powers_of_zeta(n);
            assert_eq!(powers.len(), n);
            for (k, z) in powers.iter().enumerate() {
                let x = PI * k as f64 / n as f64;
                assert!((z.re - x.cos()).abs() < 4e-16 && (z.im - x.sin()).abs() < 4e-16, "n = {n}, k = {k}: {z:?}");
            }
        }
    }

    /// Slots are values at zeta^(5^j), and the way back is exact to 2^-48 of the largest.
    #[test]
    fn slots_are_values_and_come_back() {
        for n in [4usize, 8, 64, 32768] {
            let (embedding, mut prng) = (Embedding::new(n).unwrap(), Prng::from_seed_for_tests([1; 32]));
            let draw = |prng: &mut Prng| prng.next_u64() as i64 as f64 / 2f64.powi(63);
            let z: Vec<_> = (0..n / 2).map(|_| Complex::new(draw(&mut prng), draw(&mut prng))).collect();
            let (mut work, mut back) = (vec![Complex::default(); n / 2], vec![Complex::default(); n / 2]);
            embedding.inverse(&z, &mut work);
            let mut exponent = 1;
            for (j, z) in z.iter().enumerate().take(if n > 64 { 3 } else { n }) {
                let value = (0..n).fold(Complex::default(), |sum, i| {
                    let c = work[i % (n / 2)];
                    let a = if i < n / 2 { c.re } else { c.im };
                    let x = PI * (i * exponent % (2 * n)) as f64 / n as f64;
                    sum + Complex::new(x.cos(), x.sin()).scale(a)
                });
                assert!((value - *z).abs() < 1e-11, "n = {n}, slot {j}");
                exponent = exponent * 5 % (2 * n);
            }
            embedding.forward(&mut work, &mut back);
            assert!(z.iter().zip(&back).all(|(a, b)| (*a - *b).abs() < 2f64.powi(-48)), "n = {n}");
        }
    }
}
