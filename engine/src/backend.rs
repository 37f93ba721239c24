//! What a device must be able to do: batched kernels on residues that stay on it.
//!
//! Coefficient-domain data is `[batch, limbs, n]`, each residue in `[0, q_limb)`. In the NTT domain the *order* of
//! points is that of [`NttTable`](crate::ring::NttTable) everywhere, while the *layout* in memory is the backend's own; `upload` and
//! `download` always speak `[batch, limbs, n]`. Kernels may only be enqueued; `download` waits.
//!
//! Every kernel has a scalar twin in [`crate::cpu::scalar`] and must agree with it bit for bit.

use std::ops::Range;

use crate::error::Result;
use crate::ring::sampler::PublicSeed;
use crate::ring::{Basis, Galois};

/// `batch` polynomials of `limbs` residue rows of `n` words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Polynomials.
    pub batch: usize,
    /// Primes of the basis.
    pub limbs: usize,
    /// Ring dimension.
    pub n: usize,
}

impl Shape {
    /// Words in all.
    pub fn words(self) -> usize {
        self.batch * self.limbs * self.n
    }
}

/// Which representation a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Coefficients.
    Coeff,
    /// Values at the roots.
    Ntt,
}

/// The sizes of a matrix product whose entries are polynomials in the NTT domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GemmShape {
    /// Rows of the left factor and of the product.
    pub rows: usize,
    /// Columns of the left, rows of the right factor.
    pub inner: usize,
    /// Columns of the right factor and of the product.
    pub cols: usize,
}

/// Limbs of a buffer in the order of a basis: what a level or a digit sees of elements over a larger basis.
pub struct Limbs<'a, B> {
    /// The elements.
    pub buffer: &'a B,
    /// Limbs of each element in the buffer.
    pub limbs: usize,
    /// Which of them is each limb of the view.
    pub map: &'a [usize],
}

/// Signed integers of one or two words.
#[derive(Clone, Copy)]
pub enum Integers<'a> {
    /// Of 64 bits.
    One(&'a [i64]),
    /// Of 128 bits.
    Two(&'a [i128]),
}

impl Integers<'_> {
    /// How many.
    pub fn len(self) -> usize {
        match self {
            Self::One(values) => values.len(),
            Self::Two(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// What a device keeps of the primes that it has worked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableUse {
    /// Pairs of a ring dimension and a prime.
    pub primes: usize,
    /// Bytes of their roots, those that bases share with the device included.
    pub bytes: usize,
}

/// `0..batch` in ranges of at most `grain`, all but the last of that size.
pub(crate) fn parts(batch: usize, grain: usize) -> impl Iterator<Item = Range<usize>> {
    (0..batch).step_by(grain).map(move |first| first..batch.min(first.saturating_add(grain)))
}

/// Makes the polynomials of a range, coefficient domain.
pub type Part<'a, B> = &'a (dyn Fn(Range<usize>) -> Result<B> + Sync);

/// A device with its kernels. All shapes and reduced inputs are checked by [`PolyBatch`](crate::PolyBatch), the only caller.
pub trait Backend {
    /// Residues on the device. Contents are cleared before the memory is used for anything else.
    type Buffer;
    /// The primes of a basis on the device. Cheap to make: each prime's roots are there once, whatever bases have it.
    type Tables;

    /// The device in words, for reports.
    fn describe(&self) -> String;

    /// The primes of a basis, whose roots are made ready at the first use of each.
    fn tables(&self, basis: &Basis) -> Result<Self::Tables>;

    /// What is kept of the primes so far.
    fn table_use(&self) -> TableUse;

    /// Copies `[batch, limbs, n]` residues to the device.
    fn upload(&self, t: &Self::Tables, shape: Shape, domain: Domain, host: &[u64]) -> Result<Self::Buffer>;

    /// Copies back to `[batch, limbs, n]`.
    fn download(&self, t: &Self::Tables, shape: Shape, domain: Domain, buffer: &Self::Buffer) -> Result<Vec<u64>>;

    /// All zero.
    fn zeros(&self, t: &Self::Tables, shape: Shape) -> Result<Self::Buffer>;

    /// A second copy on the same device.
    fn duplicate(&self, buffer: &Self::Buffer) -> Result<Self::Buffer>;

    /// Coefficient domain: `acc[b][l][i] += values[b][i] * scale[l] mod q_l` for signed 32-bit host `values` `[batch, n]`
    /// and `scale[l]` in `[0, q_l)`.
    fn add_lifted(
        &self,
        t: &Self::Tables,
        shape: Shape,
        acc: &mut Self::Buffer,
        values: &[i32],
        scale: &[u64],
    ) -> Result<()>;

    /// Coefficient domain: signed 32-bit host `values` `[batch, n]` times `scale[l]` in `[0, q_l)`.
    fn lift(&self, t: &Self::Tables, shape: Shape, values: &[i32], scale: &[u64]) -> Result<Self::Buffer> {
        let mut zeros = self.zeros(t, shape)?;
        self.add_lifted(t, shape, &mut zeros, values, scale)?;
        Ok(zeros)
    }

    /// NTT domain: residue `i` of limb `l` of polynomial `b` is
    /// [`uniform_residue`](crate::ring::sampler::uniform_residue)`(seed, q_l, first + b, l, i)`.
    fn expand_uniform(&self, t: &Self::Tables, shape: Shape, seed: &PublicSeed, first: u32) -> Result<Self::Buffer>;

    /// Coefficient to NTT domain.
    fn ntt_forward(&self, t: &Self::Tables, shape: Shape, buffer: Self::Buffer) -> Result<Self::Buffer>;

    /// Coefficient to NTT domain, the coefficients being made part by part, of sizes that suit the device.
    fn ntt_forward_parts(&self, t: &Self::Tables, shape: Shape, part: Part<'_, Self::Buffer>) -> Result<Self::Buffer> {
        self.ntt_forward(t, shape, part(0..shape.batch)?)
    }

    /// NTT domain: a copy of the polynomials `range` of a batch of `shape`.
    fn extract(
        &self,
        t: &Self::Tables,
        shape: Shape,
        buffer: &Self::Buffer,
        range: Range<usize>,
    ) -> Result<Self::Buffer>;

    /// Either domain: a copy of some limbs, as elements of `shape`.
    fn limbs(
        &self,
        t: &Self::Tables,
        shape: Shape,
        domain: Domain,
        from: Limbs<'_, Self::Buffer>,
    ) -> Result<Self::Buffer>;

    /// NTT to coefficient domain, 1/n included.
    fn ntt_inverse(&self, t: &Self::Tables, shape: Shape, buffer: Self::Buffer) -> Result<Self::Buffer>;

    /// NTT to coefficient domain: the polynomials `a * b`, `b` as in [`Self::mul_assign`].
    fn ntt_inverse_of_product(
        &self,
        t: &Self::Tables,
        shape: Shape,
        mut a: Self::Buffer,
        b: &Self::Buffer,
        b_batch: usize,
    ) -> Result<Self::Buffer> {
        self.mul_assign(t, shape, &mut a, b, b_batch)?;
        self.ntt_inverse(t, shape, a)
    }

    /// `sums[k] += x * factors[k]` in the NTT domain, for `x` in the coefficient domain; factors as `b` in
    /// [`Self::mul_assign`].
    fn ntt_forward_mul_add(
        &self,
        t: &Self::Tables,
        shape: Shape,
        x: Self::Buffer,
        sums: [&mut Self::Buffer; 2],
        factors: [&Self::Buffer; 2],
        factor_batch: usize,
    ) -> Result<()> {
        let x = self.ntt_forward(t, shape, x)?;
        let mut all = sums.into_iter().zip(factors);
        all.try_for_each(|(sum, factor)| self.mul_add_assign(t, shape, sum, &x, factor, factor_batch))
    }

    /// `a += b`, either domain, both of `shape`.
    fn add_assign(&self, t: &Self::Tables, shape: Shape, a: &mut Self::Buffer, b: &Self::Buffer) -> Result<()>;

    /// `a -= b`, either domain.
    fn sub_assign(&self, t: &Self::Tables, shape: Shape, a: &mut Self::Buffer, b: &Self::Buffer) -> Result<()>;

    /// `a = -a`, either domain.
    fn negate_assign(&self, t: &Self::Tables, shape: Shape, a: &mut Self::Buffer) -> Result<()>;

    /// NTT domain: `a *= b` point by point; `b` has `b_batch` polynomials, either `shape.batch` or 1 (used for all).
    fn mul_assign(
        &self,
        t: &Self::Tables,
        shape: Shape,
        a: &mut Self::Buffer,
        b: &Self::Buffer,
        b_batch: usize,
    ) -> Result<()>;

    /// NTT domain: `acc += a * b` point by point, `b` as in [`Self::mul_assign`].
    fn mul_add_assign(
        &self,
        t: &Self::Tables,
        shape: Shape,
        acc: &mut Self::Buffer,
        a: &Self::Buffer,
        b: &Self::Buffer,
        b_batch: usize,
    ) -> Result<()>;

    /// Either domain: limb `l` times `scalars[l]` in `[0, q_l)`.
    fn mul_scalar_assign(&self, t: &Self::Tables, shape: Shape, a: &mut Self::Buffer, scalars: &[u64]) -> Result<()>;

    /// NTT domain: `y[r * cols + c] = sum over k of w[r * inner + k] * x[k * cols + c]`, at every point and limb, for each of
    /// several right factors `x`. The limbs of `w` are a view, those of `x` all there are.
    fn gemm(
        &self,
        t: &Self::Tables,
        size: GemmShape,
        w: Limbs<'_, Self::Buffer>,
        x: &[&Self::Buffer],
    ) -> Result<Vec<Self::Buffer>>;

    /// NTT domain: [`Self::gemm`] whose left factor holds signed constants `w` `[rows, inner]` from the host.
    ///
    /// A constant is the same at every point, so a backend need neither transform nor store polynomials for it; as
    /// provided here it does store them.
    fn gemm_constants(
        &self,
        t: &Self::Tables,
        basis: &Basis,
        size: GemmShape,
        w: &[i32],
        x: &[&Self::Buffer],
    ) -> Result<Vec<Self::Buffer>> {
        let (limbs, n) = (basis.len(), basis.n());
        let mut host = Vec::with_capacity(w.len() * limbs * n);
        for &constant in w {
            for limb in 0..limbs {
                host.resize(host.len() + n, basis.modulus(limb).from_signed(i64::from(constant)));
            }
        }
        let shape = Shape { batch: w.len(), limbs, n };
        let map: Vec<usize> = (0..limbs).collect();
        let buffer = &self.upload(t, shape, Domain::Ntt, &host)?;
        self.gemm(t, size, Limbs { buffer, limbs, map: &map }, x)
    }

    /// Coefficient domain: the residues modulo the primes of `to` of the representative nearest zero, as
    /// [`Conversion`](crate::ring::Conversion) defines it. `t` is of the view's primes, `shape` that of the result.
    fn mod_up(
        &self,
        t: &Self::Tables,
        to: &Self::Tables,
        shape: Shape,
        from: Limbs<'_, Self::Buffer>,
    ) -> Result<Self::Buffer>;

    /// Coefficient domain: divides by the product D of all primes but the first `kept`, rounding, in the limbs of those:
    /// `(x_l - [x]) / D mod q_l`, with `[x]` what [`Self::mod_up`] makes of the other limbs. `shape` is that of the buffer.
    fn mod_down(&self, t: &Self::Tables, shape: Shape, kept: usize, buffer: Self::Buffer) -> Result<Self::Buffer>;

    /// Coefficient domain: the residues of host integers `[batch, n]`.
    fn reduce(&self, t: &Self::Tables, shape: Shape, values: Integers<'_>) -> Result<Self::Buffer>;

    /// Either domain: each polynomial a(x) becomes a(x^g).
    fn automorphism(
        &self,
        t: &Self::Tables,
        shape: Shape,
        domain: Domain,
        buffer: &Self::Buffer,
        galois: Galois,
    ) -> Result<Self::Buffer>;
}
