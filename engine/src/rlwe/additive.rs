//! Additive encryption under one-time keys: who knows the sum of the keys opens the sum of the ciphertexts, and nothing
//! else.
//!
//! With a_m the uniform polynomial m of a public seed that all share, k <- chi^n one key for a whole vector, e <- chi^n
//! fresh for each polynomial, chi centred binomial with eta = 84:
//!
//! ```text
//! c_m = e - a_m k + sum_d v_d 2^(f + F d)                                  mod Q
//! x   = sum c_m + a_m sum k + 2^(f-1)                                      mod Q
//! sum v_d = (x >> (f + F d)) mod 2^F,    sum e = (x mod 2^f) - 2^(f-1)
//! ```
//!
//! f leaves room for 8.5 deviations of the noise of the most terms, and [`Layout::open`] holds every coefficient to 8 of
//! those that were added: a sum of keys that is wrong in one coefficient makes all of it uniform, and is found out by
//! all polynomials but one in 2^350.
//! Opening tells sum e beside the sums, so chi is twice as wide as the noise of other ciphertexts.

use std::fmt;

use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use super::params::Params;
use super::wire;
use crate::chain::{Chain, Each, Item};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::poly::{Ntt, PolyBatch};
use crate::prng::Prng;
use crate::ring::primes::DEFAULT_50;
use crate::ring::sampler::{self, PublicSeed, WIDE_NOISE_SIGMA};

/// Polynomials of one batch, on devices that take a batch at once.
const BATCH: usize = 256;
/// Bits of the product of the primes that values and noise may take: the rest keeps the largest sum below it.
const USABLE_BITS: u32 = 99;

/// A key for one vector: secret, and spent by sealing it.
pub struct OneTimeKey(Zeroizing<Vec<i32>>);

impl fmt::Debug for OneTimeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeKey(..)")
    }
}

impl OneTimeKey {
    /// A fresh key for a layout's ring.
    pub fn generate(layout: &Layout, prng: &mut Prng) -> Self {
        Self(Zeroizing::new(sampler::wide_noise(prng, layout.params.n())))
    }

    /// Its n coefficients in [-84, 84], to be shared.
    pub fn coefficients(&self) -> &[i32] {
        &self.0
    }
}

/// Where values lie in a polynomial: `fields` values of `width` bits a coefficient above `noise_bits` of noise.
#[derive(Clone, Debug)]
pub struct Layout {
    device: Device,
    params: Params,
    noise_bits: u32,
    width: u32,
    fields: usize,
}

/// f for so many terms: 1 + ceil(log2(8.5 sigma sqrt(terms))).
fn noise_bits(terms: usize) -> u32 {
    1 + (8.5 * WIDE_NOISE_SIGMA * (terms as f64).sqrt()).log2().ceil() as u32
}

impl Layout {
    /// n = 4096, two primes of 50 bits; sums of at most `terms` values fit `width` bits, and as many fields as there is
    /// room for lie in a coefficient.
    ///
    /// # Errors
    /// [`Error::Parameters`] for no terms, and for widths outside 1 to 31 bits.
    pub fn new(device: &Device, terms: usize, width: u32) -> Result<Self> {
        let params = Params::new(4096, &DEFAULT_50[..2], &[])?;
        if terms == 0 || terms > 1 << 20 || !(1..=31).contains(&width) {
            return Err(Error::Parameters(format!(
                "sums of {terms} values in {width} bits: at most 2^20 in 1 to 31 bits"
            )));
        }
        let noise_bits = noise_bits(terms);
        let fields = ((USABLE_BITS - noise_bits) / width) as usize;
        Ok(Self { device: device.clone(), params, noise_bits, width, fields })
    }

    /// The widest sums of `terms` values of which `fields` lie in a coefficient, in bits.
    pub fn widest(terms: usize, fields: u32) -> u32 {
        ((USABLE_BITS - noise_bits(terms)) / fields).min(31)
    }

    /// Ring and primes.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Values of a polynomial.
    pub fn capacity(&self) -> usize {
        self.fields * self.params.n()
    }

    /// Polynomials that hold so many values.
    pub fn polynomials(&self, values: usize) -> usize {
        values.div_ceil(self.capacity())
    }

    /// Bytes of one polynomial.
    pub fn polynomial_len(&self) -> usize {
        wire::packed_rows_len(self.params.basis(), 1)
    }

    /// 2^(f + F field) modulo each prime.
    fn scale(&self, field: usize) -> Vec<u64> {
        let power = 1u128 << (self.noise_bits + self.width * field as u32);
        self.params.basis().primes().iter().map(|q| (power % u128::from(q.value())) as u64).collect()
    }

    /// The points of small values.
    fn points(&self, key: &[i32]) -> Result<PolyBatch<Ntt>> {
        let basis = self.params.basis();
        if key.len() != self.params.n() {
            return Err(Error::Shape(format!("a key of {} coefficients, expected {}", key.len(), self.params.n())));
        }
        PolyBatch::lift(&self.device, basis, key, &vec![1; basis.len()])?.into_ntt()
    }

    /// Seals a vector under a key, which is spent: packed polynomials, `[limbs, n]` coefficients each. `fill(i, row)`
    /// writes values i, i + 1, .. below 2^width, zeros beyond the last; `seed` must not have served this key before.
    ///
    /// # Errors
    /// Those of the device.
    pub fn seal(&self, key: OneTimeKey, seed: &PublicSeed, values: &Vector<'_>, prng: &mut Prng) -> Result<Vec<u8>> {
        let k = self.points(&key.0)?;
        let (count, len) = (self.polynomials(values.len), self.polynomial_len());
        let mut out = vec![0; count * len];
        for (part, out) in out.chunks_mut(BATCH * len).enumerate() {
            self.seal_batch(&k, (seed, part * BATCH), values, prng, out)?;
        }
        Ok(out)
    }

    fn seal_batch(
        &self,
        k: &PolyBatch<Ntt>,
        (seed, first): (&PublicSeed, usize),
        values: &Vector<'_>,
        prng: &mut Prng,
        out: &mut [u8],
    ) -> Result<()> {
        let (basis, n, len) = (self.params.basis(), self.params.n(), self.polynomial_len());
        let series = prng.series();
        let scales: Vec<Vec<u64>> = (0..self.fields).map(|d| self.scale(d)).collect();
        let mut chain = Chain::new(basis);
        let noise = chain.small();
        let texts: Vec<_> = scales.iter().map(|_| chain.small()).collect();
        let c = chain.uniform(seed, number(first)?);
        chain.mul(&c, k);
        let c = chain.inverse(c);
        chain.negate(&c);
        chain.add_lifted(&c, noise, &vec![1; basis.len()]);
        for (text, scale) in texts.into_iter().zip(&scales) {
            chain.add_lifted(&c, text, scale);
        }
        chain.output(c);
        let prepare = |item: Item<'_>| {
            let mut rows = item.small.into_iter();
            let noise = rows.next().ok_or_else(|| Error::Shape("no row of noise".to_owned()))?;
            sampler::fill_wide_noise(&mut series.at(item.number), noise);
            for (d, row) in rows.enumerate() {
                values.write(((first + item.number) * self.fields + d) * n, row);
            }
            Ok(())
        };
        let parts: Vec<_> = out.chunks_mut(len).map(std::sync::Mutex::new).collect();
        let finish = |item: Item<'_>, outputs: &[&[u64]]| {
            wire::pack_rows_into(basis, outputs[0], &mut parts[item.number].lock().unwrap_or_else(|e| e.into_inner()));
            Ok(())
        };
        chain.run(&self.device, parts.len(), &Each::new(prepare, finish)).map(drop)
    }

    /// Holds packed polynomials to their form.
    ///
    /// # Errors
    /// [`Error::Decode`] for another length than some polynomials', and for residues that are not reduced.
    pub fn check(&self, packed: &[u8]) -> Result<()> {
        let (basis, len) = (self.params.basis(), self.polynomial_len());
        if !packed.len().is_multiple_of(len) {
            return Err(Error::Decode(format!("{} bytes of polynomials of {len} bytes", packed.len())));
        }
        let words = || vec![0u64; basis.len() * basis.n()];
        packed.par_chunks(len).try_for_each_init(words, |words, packed| {
            wire::unpack_rows_into(basis, packed, words)?;
            basis.check_reduced(words)
        })
    }

    /// Adds packed polynomials, as [`Layout::seal`] made them, to others.
    ///
    /// # Errors
    /// [`Error::Decode`] for another length, and for residues that are not reduced; the sum is unchanged then.
    pub fn add(&self, sum: &mut [u8], packed: &[u8]) -> Result<()> {
        let (basis, len) = (self.params.basis(), self.polynomial_len());
        if sum.len() != packed.len() {
            return Err(Error::Decode(format!("{} bytes of a sum of {} bytes", packed.len(), sum.len())));
        }
        self.check(packed)?;
        let words = || vec![0u64; basis.len() * basis.n()];
        let pair = || (words(), words());
        sum.par_chunks_mut(len).zip(packed.par_chunks(len)).try_for_each_init(pair, |(x, y), (sum, packed)| {
            wire::unpack_rows_into(basis, sum, x)?;
            wire::unpack_rows_into(basis, packed, y)?;
            for (row, (x, y)) in x.chunks_exact_mut(basis.n()).zip(y.chunks_exact(basis.n())).enumerate() {
                let q = basis.modulus(row);
                x.iter_mut().zip(y).for_each(|(x, y)| *x = q.add(*x, *y));
            }
            wire::pack_rows_into(basis, x, sum);
            Ok(())
        })
    }

    /// Opens polynomials `first..` of a sum of `terms` vectors by the sum of their keys: `take(i, row)` is given the sums
    /// of values i, i + 1, ..; batch by batch, in order.
    ///
    /// # Errors
    /// [`Error::Decode`] where the noise is larger than `terms` vectors leave: the keys are not those of the sum, and
    /// what was taken is worth nothing; or for residues that are not reduced.
    pub fn open(
        &self,
        keys: &[i32],
        seed: &PublicSeed,
        (packed, first): (&[u8], usize),
        terms: usize,
        take: &mut dyn FnMut(usize, &[u32]),
    ) -> Result<()> {
        let k = self.points(keys)?;
        for (part, packed) in packed.chunks(BATCH * self.polynomial_len()).enumerate() {
            let first = first + part * BATCH;
            for (i, sums) in self.open_batch(&k, (seed, first), packed, terms)?.iter().enumerate() {
                take((first + i) * self.capacity(), sums);
            }
        }
        Ok(())
    }

    fn open_batch(
        &self,
        k: &PolyBatch<Ntt>,
        (seed, first): (&PublicSeed, usize),
        packed: &[u8],
        terms: usize,
    ) -> Result<Vec<Vec<u32>>> {
        let (basis, len) = (self.params.basis(), self.polynomial_len());
        let parts: Vec<&[u8]> = packed.chunks(len).collect();
        let mut chain = Chain::new(basis);
        let sum = chain.given();
        let a = chain.uniform(seed, number(first)?);
        chain.mul(&a, k);
        let a = chain.inverse(a);
        chain.add(&a, &sum);
        chain.output(a);
        let prepare = |mut item: Item<'_>| {
            let part = parts[item.number];
            if part.len() != len {
                return Err(Error::Decode(format!("{} bytes of a polynomial, expected {len}", part.len())));
            }
            wire::unpack_rows_into(basis, part, item.given[0])?;
            basis.check_reduced(item.given[0])
        };
        let split = Split::new(self, terms);
        let finish = |_: Item<'_>, outputs: &[&[u64]]| split.fields(outputs[0]);
        chain.run(&self.device, parts.len(), &Each::new(prepare, finish))
    }
}

/// The number of a polynomial under its seed.
fn number(first: usize) -> Result<u32> {
    u32::try_from(first).map_err(|_| Error::Shape("more than 2^32 polynomials under one seed".to_owned()))
}

/// Values to seal: how many, and what writes those from the i-th on.
pub struct Vector<'a> {
    /// Values.
    pub len: usize,
    /// Writes values i, i + 1, .. of the vector.
    pub fill: &'a (dyn Fn(usize, &mut [u32]) + Sync),
}

impl Vector<'_> {
    fn write(&self, at: usize, row: &mut [i32]) {
        let used = self.len.saturating_sub(at).min(row.len());
        let (head, tail) = row.split_at_mut(used);
        tail.zeroize();
        if used > 0 {
            (self.fill)(at, bytemuck::cast_slice_mut(head));
        }
    }
}

/// Noise and fields of coefficients.
struct Split<'a> {
    layout: &'a Layout,
    q: [crate::ring::modulus::Modulus; 2],
    /// q_0^-1 mod q_1.
    inverse: u64,
    bound: i64,
}

impl<'a> Split<'a> {
    fn new(layout: &'a Layout, terms: usize) -> Self {
        let basis = layout.params.basis();
        let q = [basis.modulus(0), basis.modulus(1)];
        let bound = (8.0 * WIDE_NOISE_SIGMA * (terms as f64).sqrt()).floor() as i64;
        Self { layout, q, inverse: q[1].inv(q[1].reduce(q[0].value())), bound }
    }

    /// The sums of `[2, n]` coefficients, `[fields, n]`.
    fn fields(&self, words: &[u64]) -> Result<Vec<u32>> {
        let Layout { params, noise_bits: f, width, fields, .. } = self.layout;
        let (n, half) = (params.n(), 1u128 << (f - 1));
        let (low, high) = words.split_at(n);
        let q = u128::from(self.q[0].value()) * u128::from(self.q[1].value());
        let mut sums = vec![0u32; fields * n];
        let mut outside = false;
        for (i, (&x0, &x1)) in low.iter().zip(high).enumerate() {
            // x = x0 + q0 ((x1 - x0) / q0 mod q1), in [0, q0 q1).
            let difference = self.q[1].sub(x1, self.q[1].reduce(x0));
            let x =
                u128::from(x0) + u128::from(self.q[0].value()) * u128::from(self.q[1].mul(difference, self.inverse));
            let x = x + half;
            let x = if x >= q { x - q } else { x };
            let noise = (x as u64 & ((1 << f) - 1)) as i64 - half as i64;
            outside |= noise.abs() > self.bound;
            for d in 0..*fields {
                sums[d * n + i] = (x >> (f + width * d as u32)) as u32 & ((1 << width) - 1);
            }
        }
        if outside {
            return Err(Error::Decode(
                "the noise of a sum is too large: the opened keys are not those of the sum".to_owned(),
            ));
        }
        Ok(sums)
    }
}
