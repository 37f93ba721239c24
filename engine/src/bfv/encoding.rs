//! Messages mod t as multiples of Q / t.
//!
//! round(Q m / t) = (Q m - r) / t with r the residue of Q m mod t nearest zero, so modulo each prime of Q it is
//! -r / t: a signed 32-bit value times one constant a limb. For t = 2^32 and primes that are 1 mod 2^32, r = m.

use crate::error::{Error, Result};
use crate::ring::{Basis, Modulus};
use crate::simd::wide;

/// Encodes messages for one basis.
#[derive(Clone, Debug)]
pub struct Encoder {
    plain: u64,
    /// Q mod t.
    q_mod_t: u64,
    scale: Vec<u64>,
}

impl Encoder {
    /// For plaintext modulus `plain` in 2..=2^32.
    pub fn new(basis: &Basis, plain: u64) -> Self {
        let minus_inverse = |q: Modulus| q.neg(q.inv(q.reduce(plain)));
        Self {
            plain,
            q_mod_t: basis.product_mod(plain),
            scale: (0..basis.len()).map(|l| minus_inverse(basis.modulus(l))).collect(),
        }
    }

    /// What to multiply the values of [`Self::signed`] by, a limb.
    pub fn scale(&self) -> &[u64] {
        &self.scale
    }

    /// The signed values to lift, for messages in `[0, t)`.
    pub fn signed(&self, messages: &[u32]) -> Vec<i32> {
        let mut values = vec![0; messages.len()];
        self.fill_signed(messages, &mut values);
        values
    }

    /// The same for as many values as there is room for, of messages in words of either width.
    pub fn fill_signed<M: Copy + Into<u64>>(&self, messages: &[M], values: &mut [i32]) {
        let out = values.iter_mut().zip(messages).map(|(v, &m)| (v, m.into()));
        if self.plain == 1 << 32 {
            return wide(|| out.for_each(|(v, m)| *v = (m as u32).wrapping_mul(self.q_mod_t as u32) as i32));
        }
        // A division would take a time that depends on the message: Shoup's product with floor(Q 2^32 / t) instead,
        // whose quotient is at most one too small, as m < 2^32. All of it fits 64-bit lanes. Masks are sign bits, as
        // compilers make branches of comparisons where there are no wide registers.
        let (t, half, factor) = (self.plain, self.plain / 2, self.q_mod_t);
        let companion = (factor << 32) / t;
        wide(|| {
            for (v, m) in out {
                let rest = m * factor - ((m * companion) >> 32) * t;
                let less = rest.wrapping_sub(t);
                let r = less.wrapping_add(t & sign(less));
                *v = r.wrapping_sub(t & sign(half.wrapping_sub(r))) as i32;
            }
        });
    }
}

/// All ones for a negative number in two's complement, and zero.
#[inline(always)]
fn sign(x: u64) -> u64 {
    (x as i64 >> 63) as u64
}

/// Rounds one-limb phases q m / t + noise back to m.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    plain: u64,
    /// floor(t * 2^shift / q), below 2^64.
    ratio: u64,
    shift: u32,
}

impl Decoder {
    /// For prime `q` and plaintext modulus `plain` in 2..=2^32.
    pub fn new(q: Modulus, plain: u64) -> Result<Self> {
        if q.bits() < 34 {
            return Err(Error::Parameters(format!("prime {}: decoding needs at least 34 bits", q.value())));
        }
        // t 2^shift / q <= 2^(32 + bits + 30 - (bits - 1)) < 2^64 holds with one bit to spare for every t.
        let shift = q.bits() + 30;
        Ok(Self { plain, ratio: ((u128::from(plain) << shift) / u128::from(q.value())) as u64, shift })
    }

    /// The message of a phase in `[0, q)`.
    #[inline]
    pub fn decode(self, phase: u64) -> u32 {
        let half = 1u128 << (self.shift - 1);
        let m = ((u128::from(phase) * u128::from(self.ratio) + half) >> self.shift) as u64;
        // m = t stands for 0.
        m.min(m.wrapping_sub(self.plain)) as u32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ring::primes::{DEFAULT_50, DEFAULT_60, ntt_primes};

    proptest! {
        #[test]
        fn encodes_the_nearest_multiple_and_decodes_it_with_noise(m: u32, noise in -100_000i64..100_000) {
            let primes = [DEFAULT_50[0], DEFAULT_60[0], ntt_primes(55, 64, 1).unwrap()[0]];
            for (q, t) in primes.into_iter().flat_map(|q| [(q, 1 << 32), (q, 1 << 20), (q, 4_293_918_721), (q, 65_537)]) {
                let basis = Basis::new(64, &[q]).unwrap();
                let (modulus, m) = (basis.modulus(0), (u64::from(m) % t) as u32);
                let encoder = Encoder::new(&basis, t);
                let signed = encoder.signed(&[m])[0];
                let residue = modulus.mul(modulus.from_signed(i64::from(signed)), encoder.scale()[0]);
                let exact = (u128::from(q) * u128::from(m) * 2 + u128::from(t)) / (2 * u128::from(t));
                prop_assert!(modulus.to_signed(modulus.sub(residue, modulus.reduce_wide(exact))).abs() <= 1);
                let phase = modulus.add(residue, modulus.from_signed(noise));
                prop_assert_eq!(Decoder::new(modulus, t).unwrap().decode(phase), m);
            }
        }
    }
}
