//! What the kernels of the list work on: residues, values and scalars that follow from a case and a salt.

use std::ops::Range;

use super::{Call, Case, Fill, call, change};
use crate::error::Result;
use crate::poly::{Coeff, DomainTag, Ntt, PolyBatch, Rows};
use crate::prng::Prng;
use crate::ring::Basis;
use crate::ring::primes::ntt_primes;

impl Case<'_> {
    pub(super) fn prng(&self, salt: u8) -> Prng {
        Prng::from_seed_for_tests([salt; 32])
    }

    pub(super) fn residues(&self, salt: u8, batch: usize) -> Vec<u64> {
        let mut prng = self.prng(salt);
        let n = self.basis.n();
        let mut out = Vec::with_capacity(batch * self.basis.len() * n);
        for row in 0..batch * self.basis.len() {
            let q = self.basis.modulus(row % self.basis.len());
            let v = q.value();
            let ends = [0, v - 1, v / 2, v / 2 + 1, 1, v - 2, 2];
            out.extend((0..n).map(|i| match self.fill {
                Fill::Random if row < self.basis.len() && i < ends.len() => ends[i],
                Fill::Random => q.reduce(prng.next_u64()),
                Fill::Zero => 0,
                Fill::Largest => v - 1,
                Fill::Ends => ends[prng.next_u32() as usize % ends.len()],
                Fill::Uniform => q.reduce(prng.next_u64()),
            }));
        }
        out
    }

    pub(super) fn coefficients(&self, salt: u8) -> Result<PolyBatch<Coeff>> {
        match self.fill {
            Fill::Uniform => self.points(salt)?.into_coeff(),
            _ => PolyBatch::upload(self.device, self.basis, &self.residues(salt, self.batch)),
        }
    }

    pub(super) fn points(&self, salt: u8) -> Result<PolyBatch<Ntt>> {
        self.some(salt, self.batch)
    }

    pub(super) fn rows(&self, salt: u8) -> Result<PolyBatch<Rows>> {
        self.points(salt)?.into_rows()
    }

    pub(super) fn one(&self, salt: u8) -> Result<PolyBatch<Ntt>> {
        self.some(salt, 1)
    }

    pub(super) fn zero<D: DomainTag>(&self) -> Result<PolyBatch<D>> {
        PolyBatch::zeros(self.device, self.basis, 2)
    }

    pub(super) fn some(&self, salt: u8, batch: usize) -> Result<PolyBatch<Ntt>> {
        match self.fill {
            Fill::Uniform => self.uniform(salt, 0..batch),
            _ => PolyBatch::upload(self.device, self.basis, &self.residues(salt, batch)),
        }
    }

    pub(super) fn uniform(&self, salt: u8, range: Range<usize>) -> Result<PolyBatch<Ntt>> {
        PolyBatch::uniform(self.device, self.basis, &[salt; 16], range.start as u32, range.len())
    }

    /// Entries of `gemm`'s left factor, `[rows, inner]`; single ones by [`Fill::Uniform`] alone.
    ///
    /// # Errors
    /// Those of the device.
    pub fn left_factor(&self, entries: Range<usize>) -> Result<PolyBatch<Ntt>> {
        self.factor(33, entries)
    }

    /// Entries of `gemm`'s first right factor, `[inner, cols]`, in the same way.
    ///
    /// # Errors
    /// Those of the device.
    pub fn right_factor(&self, entries: Range<usize>) -> Result<PolyBatch<Ntt>> {
        self.factor(34, entries)
    }

    pub(super) fn factor(&self, salt: u8, entries: Range<usize>) -> Result<PolyBatch<Ntt>> {
        match self.fill {
            Fill::Uniform => self.uniform(salt, entries),
            _ => self.some(salt, entries.end)?.extract(entries),
        }
    }

    pub(super) fn lift(&self, scale: Vec<u64>) -> Result<Call> {
        let (device, basis, values) = (self.device.clone(), self.basis.clone(), self.values(8, self.batch));
        call(move || PolyBatch::lift(&device, &basis, &values, &scale))
    }

    /// A kernel of two batches, of salts `salt` and the next.
    pub(super) fn binary(
        &self,
        salt: u8,
        kernel: fn(&mut PolyBatch<Coeff>, &PolyBatch<Coeff>) -> Result<()>,
    ) -> Result<Call> {
        let y = self.coefficients(salt + 1)?;
        change(self.coefficients(salt)?, move |x| kernel(x, &y))
    }

    pub(super) fn binary_of_points(
        &self,
        salt: u8,
        kernel: fn(&mut PolyBatch<Ntt>, &PolyBatch<Ntt>) -> Result<()>,
    ) -> Result<Call> {
        let y = self.points(salt + 1)?;
        change(self.points(salt)?, move |x| kernel(x, &y))
    }

    pub(super) fn binary_of_rows(
        &self,
        salt: u8,
        kernel: fn(&mut PolyBatch<Rows>, &PolyBatch<Rows>) -> Result<()>,
    ) -> Result<Call> {
        let y = self.rows(salt + 1)?;
        change(self.rows(salt)?, move |x| kernel(x, &y))
    }

    pub(super) fn multiply_add(&self, [f0, f1]: [PolyBatch<Ntt>; 2]) -> Result<Call> {
        let (x, mut s0, mut s1) = (self.coefficients(48)?, self.points(46)?, self.points(47)?);
        call(move || {
            x.mul_add_into([&mut s0, &mut s1], [&f0, &f1])?;
            Ok([s0, s1])
        })
    }

    /// `[batch, n]` small values.
    pub(super) fn values(&self, salt: u8, batch: usize) -> Vec<i32> {
        let mut values: Vec<i32> = self.prng(salt).fill(batch * self.basis.n());
        let ends = [i32::MIN, i32::MAX, -1, 0];
        match self.fill {
            Fill::Random | Fill::Uniform => values[..4].copy_from_slice(&ends),
            Fill::Zero => values.fill(0),
            Fill::Largest => values.fill(i32::MIN),
            Fill::Ends => values.iter_mut().for_each(|v| *v = ends[*v as usize % 4]),
        }
        values
    }

    /// `[batch, n]` integers of two words.
    pub(super) fn integers(&self, salt: u8) -> Vec<i128> {
        let mut values: Vec<i128> = self.prng(salt).fill(self.batch * self.basis.n());
        let ends = [i128::MIN, i128::MAX, -1, 0];
        match self.fill {
            Fill::Random | Fill::Uniform => values[..4].copy_from_slice(&ends),
            Fill::Zero => values.fill(0),
            Fill::Largest => values.fill(i128::MIN),
            Fill::Ends => values.iter_mut().for_each(|v| *v = ends[*v as usize % 4]),
        }
        values
    }

    /// A scalar a limb.
    pub(super) fn scalars(&self, salt: u8) -> Vec<u64> {
        let mut prng = self.prng(salt);
        let scalar = |q: u64| match self.fill {
            Fill::Largest => q - 1,
            _ => prng.next_u64() % q,
        };
        self.basis.values().into_iter().map(scalar).collect()
    }

    /// The last prime and the first: a view whose limbs do not follow each other.
    pub(super) fn ends(&self) -> Result<Basis> {
        let last = self.basis.range(self.basis.len() - 1..self.basis.len())?;
        if self.basis.len() == 1 { Ok(last) } else { last.joined(&self.basis.level(1)?) }
    }

    /// A wider prime, a narrower one and one of the most usual width, to convert to.
    pub(super) fn others(&self) -> Result<Basis> {
        let prime = |bits| Ok(ntt_primes(bits, self.basis.n(), 4)?[3]);
        Basis::new(self.basis.n(), &[prime(60)?, prime(36)?, prime(50)?])
    }

    /// Elements of the Galois group: the identity, a small one, one that keeps even powers, and the conjugation.
    pub(super) fn elements(&self) -> [usize; 4] {
        let n = self.basis.n();
        [1, 3, n + 1, 2 * n - 1]
    }
}
