//! Chains: a straight line of steps over a few polynomials, the same for every item of a batch, written once and run as
//! suits the device.
//!
//! A CPU takes each item from its first step to its last while it is in cache; other devices take all items through one
//! step after the other. What is random or comes from outside is an item's own, by number, so both give the same
//! residues, and neither order nor threads matter.
//!
//! Registers are typed by their domain, so a product of coefficients does not compile:
//!
//! ```
//! use blindvox_engine::chain::{Chain, Each, Item};
//! use blindvox_engine::{Basis, Device, Ntt, PolyBatch};
//!
//! let (device, basis) = (Device::cpu(), Basis::new(64, &[257])?);
//! let s = PolyBatch::<Ntt>::uniform(&device, &basis, &[1; 16], 0, 1)?;
//! let mut chain = Chain::new(&basis);
//! let small = chain.small();
//! let x = chain.lift(small);
//! let x = chain.forward(x);
//! chain.mul(&x, &s);
//! let x = chain.inverse(x);
//! chain.output(x);
//! let each = Each::new(
//!     |mut item: Item<'_>| Ok(item.small[0].fill(item.number as i32)),
//!     |_: Item<'_>, outputs: &[&[u64]]| Ok(outputs[0].to_vec()),
//! );
//! assert_eq!(chain.run(&device, 3, &each)?[0], vec![0; 64]);
//! # Ok::<(), blindvox_engine::Error>(())
//! ```

mod steps;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use crate::backend::Run;
pub use crate::backend::recorded::Item;
#[doc(hidden)]
pub use crate::backend::recorded::Items;
use crate::backend::recorded::{Factor, Recorded, Source, Step};
pub(crate) use crate::cpu::RowTransform;
use crate::device::{Device, DeviceBuffer};
use crate::error::{Error, Result};
use crate::poly::{Coeff, DomainTag, Ntt, PolyBatch};
use crate::ring::Basis;
use crate::ring::sampler::PublicSeed;

/// A polynomial of an item, in one domain.
pub struct Register<D>(usize, PhantomData<D>);

/// A row of n small values that an item brings.
#[derive(Clone, Copy)]
pub struct Small(usize);

/// A recorded chain. It borrows the batches that its steps read.
pub struct Chain<'a> {
    recorded: Recorded,
    /// Batches: single polynomials for all items, and those that items have one of.
    batches: Vec<&'a PolyBatch<Ntt>>,
}

/// Items by closures, see [`Items`].
pub struct Each<P, F, L = fn(usize, usize, usize, &mut [u64]) -> Result<()>> {
    prepare: P,
    finish: F,
    load: L,
}

impl<P, F> Each<P, F> {
    /// Items that load nothing limb by limb.
    pub fn new(prepare: P, finish: F) -> Self {
        fn none(_: usize, number: usize, _: usize, _: &mut [u64]) -> Result<()> {
            Err(Error::Shape(format!("load {number} of items that load nothing")))
        }
        Self { prepare, finish, load: none }
    }
}

impl<P, F, L> Each<P, F, L> {
    /// Items that load some registers limb by limb.
    pub fn with_loads(prepare: P, load: L, finish: F) -> Self {
        Self { prepare, finish, load }
    }
}

impl<T, P, F, L> Items for Each<P, F, L>
where
    T: Send,
    P: Fn(Item<'_>) -> Result<()> + Sync,
    F: Fn(Item<'_>, &[&[u64]]) -> Result<T> + Sync,
    L: Fn(usize, usize, usize, &mut [u64]) -> Result<()> + Sync,
{
    type Output = T;

    fn prepare(&self, item: Item<'_>) -> Result<()> {
        (self.prepare)(item)
    }

    fn load(&self, i: usize, number: usize, limb: usize, row: &mut [u64]) -> Result<()> {
        (self.load)(i, number, limb, row)
    }

    fn finish(&self, item: Item<'_>, outputs: &[&[u64]]) -> Result<T> {
        (self.finish)(item, outputs)
    }
}

impl<'a> Chain<'a> {
    /// An empty chain over a basis.
    pub fn new(basis: &Basis) -> Self {
        let recorded = Recorded {
            basis: basis.clone(),
            steps: Vec::new(),
            sources: Vec::new(),
            small: 0,
            loads: 0,
            batches: Vec::new(),
            outputs: Vec::new(),
            gathered: None,
            limbs: Vec::new(),
        };
        Self { recorded, batches: Vec::new() }
    }

    fn register<D>(&mut self, source: Source) -> Register<D> {
        self.recorded.sources.push(source);
        self.recorded.limbs.push(self.recorded.basis.len());
        Register(self.recorded.sources.len() - 1, PhantomData)
    }

    fn batch(&mut self, batch: &'a PolyBatch<Ntt>) -> usize {
        self.batches.push(batch);
        self.recorded.batches.push(batch.batch());
        self.batches.len() - 1
    }

    /// A row of small values that each item writes.
    pub fn small(&mut self) -> Small {
        self.recorded.small += 1;
        Small(self.recorded.small - 1)
    }

    /// Coefficients that each item writes, all limbs at once.
    pub fn given(&mut self) -> Register<Coeff> {
        self.register(Source::Given)
    }

    /// Points, canonical, that each item writes limb by limb.
    pub fn load(&mut self) -> Register<Ntt> {
        let to = self.register(Source::Steps);
        self.recorded.steps.push(Step::Load { to: to.0, number: self.recorded.loads });
        self.recorded.loads += 1;
        to
    }

    /// Item i has polynomial `first` + i of a batch.
    pub fn item_of(&mut self, batch: &'a PolyBatch<Ntt>, first: usize) -> Register<Ntt> {
        let number = self.batch(batch);
        self.register(Source::Batch { number, first })
    }

    /// Item i has uniform polynomial `first` + i of a public seed.
    pub fn uniform(&mut self, seed: &PublicSeed, first: u32) -> Register<Ntt> {
        let to = self.register(Source::Steps);
        self.recorded.steps.push(Step::Uniform { to: to.0, seed: *seed, first });
        to
    }

    /// Small values as a polynomial.
    pub fn lift(&mut self, small: Small) -> Register<Coeff> {
        let to = self.register(Source::Steps);
        self.recorded.steps.push(Step::Lift { to: to.0, small: small.0 });
        to
    }

    /// Adds small values times a scalar for each limb that the register has.
    pub fn add_lifted(&mut self, to: &Register<Coeff>, small: Small, scale: &[u64]) {
        let scale = scale[..self.recorded.limbs[to.0]].to_vec();
        self.recorded.steps.push(Step::AddLifted { to: to.0, small: small.0, scale });
    }

    /// To points.
    pub fn forward(&mut self, at: Register<Coeff>) -> Register<Ntt> {
        self.recorded.steps.push(Step::Forward { at: at.0 });
        Register(at.0, PhantomData)
    }

    /// To coefficients.
    pub fn inverse(&mut self, at: Register<Ntt>) -> Register<Coeff> {
        self.recorded.steps.push(Step::Inverse { at: at.0 });
        Register(at.0, PhantomData)
    }

    /// A second one.
    pub fn copy<D>(&mut self, from: &Register<D>) -> Register<D> {
        let to = self.register(Source::Steps);
        self.recorded.limbs[to.0] = self.recorded.limbs[from.0];
        self.recorded.steps.push(Step::Copy { to: to.0, from: from.0 });
        to
    }

    /// Times a single polynomial.
    pub fn mul(&mut self, at: &Register<Ntt>, by: &'a PolyBatch<Ntt>) {
        let by = self.batch(by);
        self.recorded.steps.push(Step::Mul { at: at.0, by });
    }

    /// `to += a * by`, `by` a single polynomial.
    pub fn mul_add(&mut self, to: &Register<Ntt>, a: &Register<Ntt>, by: &'a PolyBatch<Ntt>) {
        let by = Factor::Shared(self.batch(by));
        self.recorded.steps.push(Step::MulAdd { to: to.0, a: a.0, by });
    }

    /// `to += a * b` of registers.
    pub fn mul_add_own(&mut self, to: &Register<Ntt>, a: &Register<Ntt>, b: &Register<Ntt>) {
        self.recorded.steps.push(Step::MulAdd { to: to.0, a: a.0, by: Factor::Own(b.0) });
    }

    /// `to += from`.
    pub fn add<D>(&mut self, to: &Register<D>, from: &Register<D>) {
        self.recorded.steps.push(Step::Add { to: to.0, from: from.0 });
    }

    /// `to -= from`.
    pub fn sub<D>(&mut self, to: &Register<D>, from: &Register<D>) {
        self.recorded.steps.push(Step::Sub { to: to.0, from: from.0 });
    }

    /// Its negative.
    pub fn negate<D>(&mut self, at: &Register<D>) {
        self.recorded.steps.push(Step::Negate { at: at.0 });
    }

    /// Divides by one prime after the other, each time rounding, until only the first is left.
    pub fn mod_down_to_first(&mut self, at: &Register<Coeff>) {
        for limbs in (2..=self.recorded.limbs[at.0]).rev() {
            self.recorded.steps.push(Step::DropLast { at: at.0, limbs });
        }
        self.recorded.limbs[at.0] = 1;
    }

    /// Hands the register to the item at the end: coefficients, or canonical points.
    pub fn output<D: DomainTag>(&mut self, at: Register<D>) {
        self.recorded.outputs.push((at.0, D::DOMAIN));
    }

    /// What each of `batch` items comes to.
    ///
    /// # Errors
    /// Those of the items, [`Error::Decode`] for residues from an item that are not reduced, [`Error::Shape`] for
    /// batches of other sizes or primes than the chain's.
    pub fn run<I: Items>(&self, device: &Device, batch: usize, items: &I) -> Result<Vec<I::Output>> {
        self.check(device, batch)?;
        if let Some(done) = device.run(&self.recorded, &self.buffers(), batch, items) {
            return Ok(done?.0);
        }
        Ok(steps::run(self, device, batch, items)?.0)
    }

    /// A batch of what `at` is in every item, after all steps.
    ///
    /// # Errors
    /// Those of [`Self::run`].
    pub fn gather<I: Items>(
        mut self,
        at: Register<Ntt>,
        device: &Device,
        batch: usize,
        items: &I,
    ) -> Result<PolyBatch<Ntt>> {
        self.check(device, batch)?;
        self.recorded.gathered = Some(at.0);
        let missing = || Error::Shape("a chain that gathers nothing".to_owned());
        if let Some(done) = device.run(&self.recorded, &self.buffers(), batch, items) {
            let buffer = done?.1.ok_or_else(missing)?;
            return PolyBatch::from_buffer(device, &self.recorded.basis, batch, buffer);
        }
        steps::run(&self, device, batch, items)?.1.ok_or_else(missing)
    }

    fn buffers(&self) -> Vec<&DeviceBuffer> {
        self.batches.iter().map(|polys| polys.buffer()).collect()
    }

    fn check(&self, device: &Device, batch: usize) -> Result<()> {
        if batch == 0 {
            return Err(Error::Shape("a chain for no items".to_owned()));
        }
        for (number, polys) in self.batches.iter().enumerate() {
            let reads = self.recorded.sources.iter().find_map(|source| match *source {
                Source::Batch { number: n, first } if n == number => Some(first + batch),
                _ => None,
            });
            if !polys.device().same(device) {
                return Err(Error::DeviceMismatch(format!("{:?} and {device:?}", polys.device())));
            }
            let fits = reads.map_or(polys.batch() == 1, |end| end <= polys.batch());
            if polys.basis() != &self.recorded.basis || !fits {
                let (values, found) = (polys.basis().values(), polys.batch());
                return Err(Error::Shape(format!("a batch of {found} over {values:?} for a chain of {batch} items")));
            }
        }
        Ok(())
    }
}
