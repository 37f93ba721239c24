//! What a device must be able to do: batched kernels on residues that stay on it.
//!
//! | trait | kernels |
//! |---|---|
//! | [`Memory`] | residues to a device, from it, and copies there |
//! | [`Lift`] | polynomials from host integers and seeds |
//! | [`Transform`] | between coefficients and points |
//! | [`Pointwise`] | residue by residue |
//! | [`Product`] | matrix products at every point |
//! | [`Rns`] | between bases |
//! | [`GaloisMaps`] | the automorphisms x -> x^g |
//! | [`Gates`] | garbled gates over many instances |
//! | [`Run`] | chains, and sums of products with real plaintexts |
//!
//! Coefficient-domain data is `[batch, limbs, n]`, each residue in `[0, q_limb)`. In the NTT domain the *order* of
//! points is that of [`NttTable`](crate::ring::NttTable) everywhere, while the *layout* in memory is the backend's own;
//! `upload` and `download` always speak `[batch, limbs, n]`. Kernels may only be enqueued; `download` waits. All shapes
//! and reduced inputs are checked by [`PolyBatch`](crate::PolyBatch), the only caller. Gates work on labels of their
//! own, which [`GateRoom`](crate::GateRoom) checks.
//!
//! Every kernel has a scalar twin in [`crate::cpu::scalar`], must agree with it bit for bit, and is in the one list of
//! them, `KERNELS` in `kernels.rs`.

pub(crate) mod adapters;
mod galois;
pub(crate) mod gates;
mod lift;
mod memory;
mod mirrored;
mod pointwise;
mod product;
pub(crate) mod recorded;
mod rns;
mod run;
mod transform;

pub(crate) use adapters::Rates;
pub(crate) use galois::GaloisMaps;
pub use gates::{Colours, Pending, RoomSize};
pub(crate) use gates::{Gates, Room};
pub(crate) use lift::Lift;
pub(crate) use memory::Memory;
pub(crate) use mirrored::{MirroredSums, PART_BITS};
pub(crate) use pointwise::Pointwise;
pub(crate) use product::Product;
pub(crate) use rns::Rns;
pub(crate) use run::{Ran, Run};
pub(crate) use transform::Transform;

use std::ops::Range;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::ring::sampler::PublicSeed;
use crate::ring::{Basis, Galois};

/// `batch` polynomials of `limbs` residue rows of `n` words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Polynomials.
    pub batch: usize,
    /// Primes of the basis.
    pub limbs: usize,
    /// Ring dimension.
    pub n: usize,
}

impl Shape {
    /// Words in all.
    pub(crate) fn words(self) -> usize {
        self.batch * self.limbs * self.n
    }
}

/// A batch whose polynomials are multiplied point by point by `factors` others: one each, or one for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MulShape {
    /// The batch.
    pub shape: Shape,
    /// Polynomials of each factor: `shape.batch` or 1.
    pub factors: usize,
}

impl MulShape {
    /// A batch that has a factor, if any, for each of its polynomials.
    #[cfg(feature = "wgpu")]
    pub(crate) fn each(shape: Shape) -> Self {
        Self { shape, factors: shape.batch }
    }
}

/// A basis in digits of `digit` primes each, the last of fewer where they don't divide.
#[derive(Clone, Copy)]
pub(crate) struct InDigits<'a> {
    /// The basis.
    pub basis: &'a Basis,
    /// Primes of a digit.
    pub digit: usize,
}

/// Which representation a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Coefficients.
    Coeff,
    /// Values at the roots, laid out as suits matrix products.
    Ntt,
    /// Values at the roots, one polynomial after the other.
    Rows,
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
pub(crate) struct Limbs<'a, B> {
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
pub(crate) type Part<'a, B> = &'a (dyn Fn(Range<usize>) -> Result<B> + Sync);

/// What a device's kernels run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// The CPU backend.
    Cpu,
    /// A GPU.
    Gpu,
    /// A Vulkan driver that runs shaders on the CPU: right, and slower than the CPU backend at everything.
    SoftwareGpu,
}

/// A device with its kernels.
pub(crate) trait Backend: Lift + Transform + Product + Rns + GaloisMaps + Gates + Run {
    /// The device in words, for reports.
    fn describe(&self) -> String;

    /// What the device's kernels run on.
    fn kind(&self) -> DeviceKind;

    /// Waits until all that was asked of the device is done.
    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    /// What a GPU can do at best, measured for about half a second.
    fn rates(&self) -> Result<Rates> {
        Err(Error::Device(format!("only GPUs are probed, this is: {}", self.describe())))
    }

    /// Keeps a GPU at work for so long: an idle one lowers its clock, and takes tens of milliseconds of work to raise
    /// it.
    fn keep_busy(&self, _: Duration) -> Result<()> {
        Err(Error::Device(format!("only GPUs are kept busy, this is: {}", self.describe())))
    }
}
