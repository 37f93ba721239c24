//! Integers modulo the square of an odd n, many at a time, in time that depends on lengths alone.
//!
//! A residue is a pair x0 + n x1: a product takes five products of half its length, a square three and a half, where
//! one modulo n^2 as it stands takes eight. `numbers` has the formulas, `pair` their definition. Three bodies give the
//! same integers: eight numbers side by side on AVX-512 IFMA, four on AVX2, and one in 64-bit words. Their kernels are
//! one text, `lanes`, which tests also run on emulated vectors.

mod batch;
mod fixed_base;
mod lanes;
mod limbs;
mod natural;
mod numbers;
mod window;
mod worker;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod ifma;

#[cfg(test)]
mod model;
#[cfg(test)]
mod pair;
#[cfg(test)]
mod tests;

use zeroize::Zeroizing;

use batch::Operations;
pub use fixed_base::FixedBase;
use natural::{add_product, bit_length, less};
pub use window::Exponents;

use crate::error::{Error, Result};

/// A code path; all give the same integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// AVX-512 IFMA, eight numbers a register.
    Ifma,
    /// AVX2, four numbers a register.
    Avx2,
    /// Portable Rust, one number.
    Limbs,
}

impl Body {
    /// Every body that this processor runs, the fastest first.
    pub fn available() -> Vec<Self> {
        let runs = |body: &Self| body.numbers(&[3]).is_some();
        [Self::Ifma, Self::Avx2, Self::Limbs].into_iter().filter(runs).collect()
    }

    /// What computes modulo n^2; `None` where the processor can't.
    fn numbers(self, n: &[u64]) -> Option<Box<dyn Operations>> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Ifma => ifma::Ifma::new(n).map(|numbers| Box::new(numbers) as _),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::Avx2::new(n).map(|numbers| Box::new(numbers) as _),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Ifma | Self::Avx2 => None,
            Self::Limbs => {
                #[cfg(target_arch = "x86_64")]
                if let Some(numbers) = limbs::bmi2::Limbs::new(n) {
                    return Some(Box::new(numbers));
                }
                limbs::portable::Limbs::new(n).map(|numbers| Box::new(numbers) as _)
            }
        }
    }
}

/// The integers modulo n^2. Each is `2 limbs()` limbs of 64 bits, the least first, and below n^2; many lie one after
/// the other.
pub struct Ring {
    n: Vec<u64>,
    square: Vec<u64>,
    body: Body,
    numbers: Box<dyn Operations>,
}

impl Ring {
    /// Of an odd n of 64 to 4096 bits, whose highest limb is not zero.
    ///
    /// # Errors
    /// [`Error::Parameters`] for another n.
    pub fn new(n: &[u64]) -> Result<Self> {
        Self::with_body(n, Body::available()[0])
    }

    /// The same on a body of one's choice.
    ///
    /// # Errors
    /// Besides, [`Error::Device`] where the processor does not run it.
    pub fn with_body(n: &[u64], body: Body) -> Result<Self> {
        let bits = bit_length(n);
        if !(64..=4096).contains(&bits) || n[0].is_multiple_of(2) || n.len() != bits.div_ceil(64) {
            let n0 = n.first().copied().unwrap_or(0);
            let error = format!("a modulus of {bits} bits that ends in {}, expected an odd one of 64 to 4096", n0 & 1);
            return Err(Error::Parameters(error));
        }
        let numbers = body
            .numbers(n)
            .ok_or_else(|| Error::Device(format!("this processor does not multiply integers by the {body:?} body")))?;
        let mut square = vec![0; 2 * n.len()];
        add_product(&mut square, n, n);
        Ok(Self { n: n.to_vec(), square, body, numbers })
    }

    /// The code path.
    pub fn body(&self) -> Body {
        self.body
    }

    /// Limbs of n; an integer modulo n^2 has twice as many.
    pub fn limbs(&self) -> usize {
        self.n.len()
    }

    /// Whether integers are below n^2, each.
    pub fn contains(&self, x: &[u64]) -> bool {
        x.len().is_multiple_of(self.square.len())
            && x.chunks_exact(self.square.len()).all(|x| less(x, &self.square) == 1)
    }

    /// # Panics
    /// If `x` is not of whole integers below n^2.
    fn check(&self, x: &[u64]) {
        assert!(self.contains(x), "integers of {} limbs below n^2", self.square.len());
    }

    /// The products of `x[i]` and `y[i]`.
    ///
    /// # Panics
    /// If lengths differ, or an integer is not below n^2.
    pub fn multiply(&self, x: &[u64], y: &[u64]) -> Zeroizing<Vec<u64>> {
        self.check(x);
        self.check(y);
        assert_eq!(x.len(), y.len(), "a factor for each integer");
        self.numbers.products(x, y)
    }

    /// `x[i] y[i]^times`, one product after the other: what a product costs.
    ///
    /// # Panics
    /// As [`Self::multiply`].
    pub fn multiply_repeatedly(&self, x: &[u64], y: &[u64], times: usize) -> Zeroizing<Vec<u64>> {
        self.check(x);
        self.check(y);
        assert_eq!(x.len(), y.len(), "a factor for each integer");
        self.numbers.repeated(x, y, times)
    }

    /// `x[i]` to the exponent number i, or all to the only one. Neither shows in the time.
    ///
    /// # Panics
    /// If there is neither one exponent nor one for each, or an integer is not below n^2.
    pub fn power(&self, x: &[u64], exponents: &Exponents) -> Zeroizing<Vec<u64>> {
        self.check(x);
        exponents.check(x.len() / self.square.len());
        self.numbers.powers(x, exponents)
    }

    /// x modulo n and floor(x / n), `limbs()` limbs each, one after the other.
    ///
    /// # Panics
    /// If an integer is not below n^2.
    pub fn split(&self, x: &[u64]) -> Zeroizing<Vec<u64>> {
        self.check(x);
        self.numbers.pairs(x)
    }

    /// A table of the powers of a public base, for [`Self::blind`] and exponents of `bits` bits.
    ///
    /// # Panics
    /// If the base is not one integer below n^2, or there are no bits.
    pub fn fixed_base(&self, base: &[u64], bits: usize) -> FixedBase {
        self.check(base);
        assert!(base.len() == self.square.len() && bits > 0, "a base and bits of its exponents");
        self.numbers.fixed_base(base, bits)
    }

    /// (1 + m n) base^e of each m below n, of `limbs()` limbs, and its own exponent.
    ///
    /// # Panics
    /// If there is not an exponent for each, of the table's bits, an m is not below n, or the table is of another ring.
    pub fn blind(&self, base: &FixedBase, exponents: &Exponents, messages: &[u64]) -> Zeroizing<Vec<u64>> {
        let limbs = self.n.len();
        assert!(messages.chunks(limbs).all(|m| m.len() == limbs && less(m, &self.n) == 1), "messages below n");
        exponents.check(messages.len() / limbs);
        assert_eq!(exponents.windows(), base.places(), "exponents of the table's bits");
        self.numbers.blinded(base, exponents, messages)
    }
}
