//! Vectors mod t: n values in two rows of n/2, whose products and sums are those of polynomials.
//!
//! Value j of row 0 is the one at psi^(5^j), of row 1 at psi^(-5^j): x -> x^5 rotates both rows, x -> x^-1 exchanges
//! them.

use zeroize::Zeroizing;

use super::params::Params;
use crate::Integers;
use crate::chain::RowTransform;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::poly::{PolyBatch, Rows};
use crate::ring::{Basis, Modulus};

/// A message polynomial, coefficients in `[0, t)`. Its contents are cleared when dropped.
pub struct Plaintext(pub(super) Zeroizing<Vec<u64>>);

/// Encodes vectors for one set of parameters.
pub struct BatchEncoder {
    transform: RowTransform,
    /// Where value j of row r is among the points, at r n/2 + j.
    places: Vec<u32>,
}

impl BatchEncoder {
    /// For the ring and t of parameters.
    pub fn new(params: &Params) -> Result<Self> {
        let n = params.n();
        let place = |exponent: usize| ((exponent / 2) as u32).reverse_bits() >> (32 - n.ilog2());
        let powers = std::iter::successors(Some(1), |e| Some(e * 5 % (2 * n))).take(n / 2);
        let row: Vec<usize> = powers.collect();
        let places = row.iter().map(|&e| place(e)).chain(row.iter().map(|&e| place(2 * n - e)));
        Ok(Self { transform: RowTransform::new(n, params.plain())?, places: places.collect() })
    }

    /// Values of a vector: n.
    pub fn slots(&self) -> usize {
        self.places.len()
    }

    /// Values in `[0, t)`, row after row, at most n; the others are 0.
    ///
    /// # Errors
    /// [`Error::Shape`] for too many, [`Error::Parameters`] for one that is not below t.
    pub fn encode(&self, values: &[u64]) -> Result<Plaintext> {
        let t = self.transform.modulus();
        if values.len() > self.slots() {
            return Err(Error::Shape(format!("{} values for {} slots", values.len(), self.slots())));
        }
        if t.check_reduced(values).is_err() {
            return Err(Error::Parameters(format!("a value is not below t = {}", t.value())));
        }
        let mut points = Zeroizing::new(vec![0; self.slots()]);
        values.iter().zip(&self.places).for_each(|(&x, &place)| points[place as usize] = x);
        self.transform.inverse(&mut points);
        Ok(Plaintext(points))
    }

    /// The n values, row after row.
    pub fn decode(&self, text: &Plaintext) -> Zeroizing<Vec<u64>> {
        let mut points = text.0.clone();
        self.transform.forward(&mut points);
        Zeroizing::new(self.places.iter().map(|&place| points[place as usize]).collect())
    }
}

impl Plaintext {
    /// Of coefficients in `[0, t)`.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there are n, [`Error::Parameters`] for one that is not below t.
    pub fn from_coefficients(params: &Params, coefficients: Vec<u64>) -> Result<Self> {
        let coefficients = Zeroizing::new(coefficients);
        if coefficients.len() != params.n() {
            return Err(Error::Shape(format!("{} coefficients for n = {}", coefficients.len(), params.n())));
        }
        let t = params.plain_basis().modulus(0);
        t.check_reduced(&coefficients).map_err(|e| Error::Parameters(format!("t = {}: {e}", t.value())))?;
        Ok(Self(coefficients))
    }

    /// Its coefficients.
    pub fn coefficients(&self) -> &[u64] {
        &self.0
    }

    /// The representatives nearest zero.
    fn centred(&self, t: Modulus) -> Zeroizing<Vec<i64>> {
        Zeroizing::new(self.0.iter().map(|&m| t.to_signed(m)).collect())
    }

    /// As a factor: points of the message itself.
    pub(super) fn factor(&self, params: &Params, device: &Device, basis: &Basis) -> Result<PolyBatch<Rows>> {
        let t = params.plain_basis().modulus(0);
        PolyBatch::reduce(device, basis, Integers::One(&self.centred(t)))?.into_rows()
    }

    /// What round(Q m / t) is modulo each prime: the values and their factor a prime. (Q m - r) / t with r the residue
    /// of Q m nearest zero.
    pub(super) fn scaled(&self, params: &Params, basis: &Basis) -> (Zeroizing<Vec<i64>>, Vec<u64>) {
        let t = params.plain_basis().modulus(0);
        let q_mod_t = basis.product_mod(t.value());
        let values = self.0.iter().map(|&m| t.to_signed(t.mul(m, q_mod_t))).collect();
        let factor = |q: Modulus| q.neg(q.inv(q.reduce(t.value())));
        (Zeroizing::new(values), basis.primes().iter().map(|q| factor(q.modulus())).collect())
    }

    /// As a summand: points of round(Q m / t).
    pub(super) fn summand(&self, params: &Params, device: &Device, basis: &Basis) -> Result<PolyBatch<Rows>> {
        let (values, factors) = self.scaled(params, basis);
        let mut out = PolyBatch::reduce(device, basis, Integers::One(&values))?;
        out.mul_scalar(&factors)?;
        out.into_rows()
    }
}
