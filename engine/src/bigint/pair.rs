//! The scalar definition of [`Numbers::multiply`], which every body must match digit by digit.

use super::natural::mask;
use super::numbers::{Constants, Line, Line1, Numbers, Scratch};

/// One number in digits of `BITS` bits.
pub(super) struct Definition<const BITS: u32>(Constants<Line1>);

impl<const BITS: u32> Definition<BITS> {
    /// With as many digits as a body has that takes them in multiples of `step`.
    pub(super) fn new(n: &[u64], step: usize) -> Self {
        Self(Constants::new(n, BITS, step))
    }

    /// `t += a b`, digit by digit, from digit `at` on.
    fn add_product(t: &mut [u64], at: usize, a: u64, b: &[Line1]) {
        let mut carry = 0_u128;
        for (i, t) in t[at..].iter_mut().enumerate() {
            let b = b.get(i).map_or(0, |b| b.0[0]);
            carry += u128::from(*t) + u128::from(a) * u128::from(b);
            *t = carry as u64 & mask(BITS);
            carry >>= BITS;
        }
        assert_eq!(carry, 0, "a sum of 2 digits + 1 digits");
    }

    /// x y + rest, of 2 digits + 1 digits.
    fn product(x: &[Line1], y: &[Line1]) -> Vec<u64> {
        let mut t = vec![0; 2 * x.len() + 1];
        for (i, x) in x.iter().enumerate() {
            Self::add_product(&mut t, i, x.0[0], y);
        }
        t
    }

    /// mu, and (t + mu n) / R.
    fn reduce(&self, mut t: Vec<u64>) -> (Vec<u64>, Vec<u64>) {
        let mut mu = vec![];
        for i in 0..self.0.digits {
            let q = t[i].wrapping_mul(self.0.inverse) & mask(BITS);
            Self::add_product(&mut t, i, q, &self.0.n);
            mu.push(q);
        }
        let quotient = t.split_off(self.0.digits);
        assert!(t.iter().all(|&t| t == 0) && quotient[self.0.digits] == 0);
        (mu, quotient)
    }
}

impl<const BITS: u32> Numbers for Definition<BITS> {
    type Line = Line1;
    const BITS: u32 = BITS;

    fn constants(&self) -> &Constants<Line1> {
        &self.0
    }

    fn multiply(&self, x: &[Line1], y: &[Line1], _: &mut Scratch<Line1>, out: &mut [Line1]) {
        let digits = self.0.digits;
        let ((x0, x1), (y0, y1)) = (x.split_at(digits), y.split_at(digits));
        let (mu, r0) = self.reduce(Self::product(x0, y0));
        let mut z = Self::product(x0, y1);
        let one = [Line1::splat(1)];
        for (i, (x1, mu)) in x1.iter().zip(&mu).enumerate() {
            Self::add_product(&mut z, i, x1.0[0], y0);
            Self::add_product(&mut z, i, mask(BITS) - mu, &one);
        }
        Self::add_product(&mut z, 0, 1, &one);
        Self::add_product(&mut z, digits, 1, &self.0.n_minus_one);
        let (_, r1) = self.reduce(z);
        out.iter_mut().zip(r0[..digits].iter().chain(&r1)).for_each(|(out, r)| *out = Line1::splat(*r));
    }

    fn square(&self, x: &[Line1], scratch: &mut Scratch<Line1>, out: &mut [Line1]) {
        self.multiply(x, x, scratch, out);
    }

    fn select(&self, table: &[Line1], index: &Line1, out: &mut [Line1]) {
        out.copy_from_slice(&table[index.0[0] as usize * out.len()..][..out.len()]);
    }

    fn look_up(&self, table: &[u64], index: &Line1, out: &mut [Line1]) {
        let entry = &table[index.0[0] as usize * out.len()..];
        out.iter_mut().zip(entry).for_each(|(out, &entry)| *out = Line1::splat(entry));
    }
}
