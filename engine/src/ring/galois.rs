//! The automorphisms x -> x^g of Z\[x\]/(x^n + 1), g odd, as permutations: with signs of the coefficients, without of
//! the points.
//!
//! Coefficient i goes to x^(ig), and x^(n + j) = -x^j. Point i of the NTT domain is the value at psi^(2 bitrev(i) + 1),
//! and the image's value at psi^e is the polynomial's at psi^(eg). Both are written as gathers: where each result comes
//! from.

use crate::error::{Error, Result};

/// One automorphism of one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Galois {
    n: usize,
    element: u32,
    inverse: u32,
}

impl Galois {
    /// For a ring dimension `n`, a power of two in 2..=2^30, and an odd `element` below 2n.
    pub fn new(n: usize, element: usize) -> Result<Self> {
        if !n.is_power_of_two() || !(2..=1 << 30).contains(&n) || element >= 2 * n || element.is_multiple_of(2) {
            return Err(Error::Parameters(format!("Galois element {element}: must be odd and below 2n for n = {n}")));
        }
        let element = element as u32;
        // Newton's iteration doubles the bits that are right, of which an odd number's own are three.
        let inverse = (0..4).fold(element, |x, _| x.wrapping_mul(2u32.wrapping_sub(element.wrapping_mul(x))));
        Ok(Self { n, element, inverse: inverse & (2 * n as u32 - 1) })
    }

    /// The exponent g.
    pub fn element(self) -> u32 {
        self.element
    }

    /// 1/g modulo 2n.
    pub fn inverse(self) -> u32 {
        self.inverse
    }

    /// The coefficient that the result's coefficient `j` comes from, and whether its sign changes.
    pub fn coefficient(self, j: usize) -> (usize, bool) {
        let i = j.wrapping_mul(self.inverse as usize);
        (i & (self.n - 1), i & self.n != 0)
    }

    /// The point that the result's point `i` comes from.
    pub fn point(self, i: usize) -> usize {
        let reverse = |i: usize| i.reverse_bits() >> (usize::BITS - self.n.trailing_zeros());
        let exponent = (2 * reverse(i) + 1).wrapping_mul(self.element as usize);
        reverse((exponent / 2) & (self.n - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_go_where_their_powers_say() {
        for n in [4, 8, 64] {
            for g in (1..2 * n).step_by(2) {
                let galois = Galois::new(n, g).unwrap();
                assert_eq!(g * galois.inverse() as usize % (2 * n), 1);
                for i in 0..n {
                    let power = i * g % (2 * n);
                    assert_eq!(galois.coefficient(power % n), (i, power >= n), "n = {n}, g = {g}");
                }
            }
        }
        assert_eq!(Galois::new(65536, 131_071).unwrap().inverse(), 131_071);
    }

    #[test]
    fn even_and_large_elements_are_refused() {
        for (n, g) in [(64, 0), (64, 2), (64, 129), (60, 3)] {
            assert!(matches!(Galois::new(n, g), Err(Error::Parameters(_))), "n = {n}, g = {g}");
        }
    }
}
