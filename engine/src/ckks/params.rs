//! Parameters: ring and primes, and the public scale and bound of what is encrypted.

use std::ops::Deref;

use crate::error::{Error, Result};
use crate::ring::primes::ntt_primes;
use crate::rlwe;

/// What values' absolute value is at most unless an encoder says otherwise.
const BOUND: f64 = 8.0;

/// Ring, primes of the chain and of key switching, the scale of fresh ciphertexts and the bound on values.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    rlwe: rlwe::Params,
    scale: f64,
    bound: f64,
    /// log2 of the flood's standard deviation over the error's; none: values cannot be published.
    flood: Option<u32>,
}

/// Widths of primes, from which a set is built.
#[derive(Clone, Debug)]
pub struct Builder {
    n: usize,
    chain: Vec<u32>,
    special: Vec<u32>,
    digit: Option<usize>,
    scale: Option<u32>,
    bound: f64,
    flood: Option<u32>,
}

impl Builder {
    /// Widths in bits of the chain's primes: the first stays to the end, the others are dropped from the last.
    pub fn chain(self, first: u32, others: &[u32]) -> Self {
        Self { chain: [&[first], others].concat(), ..self }
    }

    /// Widths in bits of the primes of key switching.
    pub fn special(self, bits: &[u32]) -> Self {
        Self { special: bits.to_vec(), ..self }
    }

    /// Primes of a digit; as many as of key switching unless said.
    pub fn digits(self, size: usize) -> Self {
        Self { digit: Some(size), ..self }
    }

    /// log2 of the scale of fresh ciphertexts; the width of the last prime unless said.
    pub fn scale(self, bits: u32) -> Self {
        Self { scale: Some(bits), ..self }
    }

    /// What no value's absolute value exceeds; 8 unless said.
    pub fn bound(self, bound: f64) -> Self {
        Self { bound, ..self }
    }

    /// Results have room for flooding by 2^bits times their error, so values may be published.
    pub fn flooding(self, bits: u32) -> Self {
        Self { flood: Some(bits), ..self }
    }

    /// The set.
    ///
    /// # Errors
    /// [`Error::Parameters`] under 128 bits, and for primes and digits that there are not.
    pub fn build(self) -> Result<Params> {
        self.with(rlwe::Params::new)
    }

    /// The set with whatever security that is: for tests at small sizes.
    ///
    /// # Errors
    /// [`Error::Parameters`] for primes and digits that there are not.
    pub fn insecure_for_tests(self) -> Result<Params> {
        self.with(rlwe::Params::insecure)
    }

    fn with(self, make: impl Fn(usize, &[u64], &[u64]) -> Result<rlwe::Params>) -> Result<Params> {
        let (mut primes, n) = (Vec::new(), self.n);
        for &bits in self.chain.iter().chain(&self.special) {
            // The largest that is not taken.
            let found = ntt_primes(bits, n, primes.iter().filter(|&&q: &&u64| q.ilog2() + 1 == bits).count() + 1)?;
            primes.push(*found.last().expect("as many as were asked for"));
        }
        if self.chain.is_empty() || self.bound <= 0.0 || !self.bound.is_finite() {
            return Err(Error::Parameters("a chain of no primes, or a bound that is not positive".to_owned()));
        }
        let (chain, special) = primes.split_at(self.chain.len());
        let rlwe = make(n, chain, special)?;
        let rlwe = if let Some(size) = self.digit { rlwe.with_digits(size)? } else { rlwe };
        let bits = self.scale.unwrap_or(*self.chain.last().expect("a prime"));
        if !(1..=110).contains(&bits) {
            return Err(Error::Parameters(format!("a scale of {bits} bits: must be in 1..=110")));
        }
        Ok(Params { rlwe, scale: f64::from(bits).exp2(), bound: self.bound, flood: self.flood })
    }
}

impl Params {
    /// Starts a set for dimension `n`.
    pub fn builder(n: usize) -> Builder {
        Builder { n, chain: vec![], special: vec![], digit: None, scale: None, bound: BOUND, flood: None }
    }

    /// n = 8192, four primes: networks of two squares. 214 bits. Without flooding.
    pub fn cnn_small() -> Self {
        Self::builder(8192).chain(40, &[44; 3]).special(&[42]).digits(1).build().expect("within the table")
    }

    /// n = 16384, five primes: networks of three squares. Without flooding.
    pub fn cnn() -> Self {
        Self::builder(16384).chain(50, &[50; 4]).special(&[50; 3]).digits(3).build().expect("within the table")
    }

    /// n = 16384, seven primes: U-Nets. Without flooding: results are for the key's holder alone.
    pub fn fast() -> Self {
        let builder = Self::builder(16384).chain(46, &[48; 6]).special(&[48; 2]).digits(2);
        builder.scale(46).build().expect("within the table")
    }

    /// n = 32768, twelve primes, with room for flooding by 20 bits.
    pub fn balanced() -> Self {
        let builder = Self::builder(32768).chain(50, &[50; 11]).special(&[50; 5]).digits(5);
        builder.flooding(20).build().expect("within the table")
    }

    /// The scale of fresh ciphertexts.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// What no value's absolute value exceeds.
    pub fn bound(&self) -> f64 {
        self.bound
    }

    /// log2 of the flood over the error, where results have room for one.
    pub fn flooding(&self) -> Option<u32> {
        self.flood
    }

    /// Slots: n/2.
    pub fn slots(&self) -> usize {
        self.n() / 2
    }

    /// What is common with other schemes.
    pub fn rlwe(&self) -> &rlwe::Params {
        &self.rlwe
    }

    /// Scale, bound and flooding, then the ring and its primes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = [self.scale, self.bound].map(f64::to_le_bytes).concat();
        out.extend(self.flood.map_or(u32::MAX, |bits| bits).to_le_bytes());
        out.extend(self.rlwe.to_bytes());
        out
    }

    /// Reads what [`Self::to_bytes`] wrote, under 128 bits refused.
    ///
    /// # Errors
    /// [`Error::Decode`] for anything else, [`Error::Parameters`] for what is refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = rlwe::wire::Reader::new(bytes);
        let [scale, bound] = [f64::from_le_bytes(reader.array()?), f64::from_le_bytes(reader.array()?)];
        let flood = Some(u32::from_le_bytes(reader.array()?)).filter(|&bits| bits != u32::MAX);
        let fits = (2.0..=110f64.exp2()).contains(&scale) && bound > 0.0 && bound.is_finite();
        if !fits || flood.is_some_and(|bits| bits > 60) {
            return Err(Error::Decode(format!("parameters with scale {scale}, bound {bound}, flooding {flood:?}")));
        }
        Ok(Self { rlwe: rlwe::Params::from_bytes(reader.rest())?, scale, bound, flood })
    }

    /// In words, for reports.
    pub fn describe(&self) -> String {
        let warning = if self.is_128_bit() { "" } else { ", UNDER 128-BIT SECURITY" };
        format!("{}, scale 2^{}{warning}", self.rlwe.describe(), self.scale.log2())
    }
}

/// The ring, its primes and their security.
impl Deref for Params {
    type Target = rlwe::Params;

    fn deref(&self) -> &rlwe::Params {
        &self.rlwe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_the_design_s_and_within_the_table() {
        let bits =
            |p: &Params| (p.n(), p.basis().len(), p.special().map_or(0, |s| s.len()), p.log2_qp().round() as u32);
        assert_eq!(bits(&Params::cnn_small()), (8192, 4, 1, 214));
        assert_eq!(bits(&Params::cnn()), (16384, 5, 3, 400));
        assert_eq!(bits(&Params::fast()), (16384, 7, 2, 430));
        assert_eq!(bits(&Params::balanced()), (32768, 12, 5, 850));
        for params in [Params::cnn(), Params::balanced()] {
            assert_eq!(Params::from_bytes(&params.to_bytes()).unwrap(), params);
            assert!(Params::from_bytes(&params.to_bytes()[1..]).is_err());
        }
        let refused = Params::builder(8192).chain(50, &[50; 3]).special(&[50]).build().unwrap_err().to_string();
        assert!(refused.contains("under 128-bit security"), "{refused}");
    }
}
