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

use crate::backend::{Domain, Run};
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

/// What a product's second factor is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Factor {
    /// A polynomial for all items: its number among the chain's.
    Shared(usize),
    /// A register.
    Own(usize),
}

/// One step; numbers are those of registers unless said otherwise.
#[derive(Clone, PartialEq)]
pub(crate) enum Step {
    /// Points of polynomial `first` + item of a public seed.
    Uniform {
        to: usize,
        seed: PublicSeed,
        first: u32,
    },
    /// Limb by limb from the item, by the number of the load.
    Load {
        to: usize,
        number: usize,
    },
    Lift {
        to: usize,
        small: usize,
    },
    AddLifted {
        to: usize,
        small: usize,
        scale: Vec<u64>,
    },
    Forward {
        at: usize,
    },
    Inverse {
        at: usize,
    },
    Copy {
        to: usize,
        from: usize,
    },
    /// By a shared polynomial.
    Mul {
        at: usize,
        by: usize,
    },
    MulAdd {
        to: usize,
        a: usize,
        by: Factor,
    },
    Add {
        to: usize,
        from: usize,
    },
    Sub {
        to: usize,
        from: usize,
    },
    Negate {
        at: usize,
    },
    /// Divides by the last prime, of so many limbs.
    DropLast {
        at: usize,
        limbs: usize,
    },
}

impl Step {
    /// The register that it changes.
    pub(crate) fn written(&self) -> usize {
        match *self {
            Self::Uniform { to, .. }
            | Self::Load { to, .. }
            | Self::Lift { to, .. }
            | Self::AddLifted { to, .. }
            | Self::Copy { to, .. }
            | Self::MulAdd { to, .. }
            | Self::Add { to, .. }
            | Self::Sub { to, .. } => to,
            Self::Forward { at }
            | Self::Inverse { at }
            | Self::Mul { at, .. }
            | Self::Negate { at }
            | Self::DropLast { at, .. } => at,
        }
    }

    /// Whether it reads or changes a register.
    pub(crate) fn touches(&self, register: usize) -> bool {
        let read = match *self {
            Self::Copy { from, .. } | Self::Add { from, .. } | Self::Sub { from, .. } => from == register,
            Self::MulAdd { a, by, .. } => a == register || by == Factor::Own(register),
            _ => false,
        };
        read || self.written() == register
    }
}

/// Where a register's contents come from before the first step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A step makes them.
    Steps,
    /// The item gives coefficients, all limbs.
    Given,
    /// Polynomial `first` + item of a batch, by its number among the chain's.
    Batch { number: usize, first: usize },
}

/// A recorded chain. It borrows the batches that its steps read.
pub struct Chain<'a> {
    pub(crate) basis: Basis,
    pub(crate) steps: Vec<Step>,
    pub(crate) sources: Vec<Source>,
    pub(crate) small: usize,
    pub(crate) loads: usize,
    /// Batches: single polynomials for all items, and those that items have one of.
    pub(crate) batches: Vec<&'a PolyBatch<Ntt>>,
    pub(crate) outputs: Vec<(usize, Domain)>,
    /// The register whose points are gathered in a batch.
    pub(crate) gathered: Option<usize>,
    /// Limbs that each register has at the end of what is recorded.
    pub(crate) limbs: Vec<usize>,
}

/// An item's space beside its registers.
pub struct Item<'a> {
    /// Its number.
    pub number: usize,
    /// Its small values, n each in the order of recording; they stay until the item is finished.
    pub small: Vec<&'a mut [i32]>,
    /// The limbs of its given registers, `[limbs, n]` each; none when it is finished.
    pub given: Vec<&'a mut [u64]>,
    /// n words for its own use.
    pub row: &'a mut [u64],
}

/// What items bring, and what is made of each.
pub trait Items: Sync {
    /// What an item comes to.
    type Output: Send;

    /// Writes the item's small values, over anything, and its given registers, over zeros.
    fn prepare(&self, item: Item<'_>) -> Result<()>;

    /// Writes limb `limb` of load `number` of item `i` over anything.
    fn load(&self, i: usize, number: usize, limb: usize, row: &mut [u64]) -> Result<()>;

    /// Takes the outputs, `[limbs, n]` each in the order of recording.
    fn finish(&self, item: Item<'_>, outputs: &[&[u64]]) -> Result<Self::Output>;
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
        Self {
            basis: basis.clone(),
            steps: Vec::new(),
            sources: Vec::new(),
            small: 0,
            loads: 0,
            batches: Vec::new(),
            outputs: Vec::new(),
            gathered: None,
            limbs: Vec::new(),
        }
    }

    fn register<D>(&mut self, source: Source) -> Register<D> {
        self.sources.push(source);
        self.limbs.push(self.basis.len());
        Register(self.sources.len() - 1, PhantomData)
    }

    fn batch(&mut self, batch: &'a PolyBatch<Ntt>) -> usize {
        self.batches.push(batch);
        self.batches.len() - 1
    }

    /// A row of small values that each item writes.
    pub fn small(&mut self) -> Small {
        self.small += 1;
        Small(self.small - 1)
    }

    /// Coefficients that each item writes, all limbs at once.
    pub fn given(&mut self) -> Register<Coeff> {
        self.register(Source::Given)
    }

    /// Points, canonical, that each item writes limb by limb.
    pub fn load(&mut self) -> Register<Ntt> {
        let to = self.register(Source::Steps);
        self.steps.push(Step::Load { to: to.0, number: self.loads });
        self.loads += 1;
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
        self.steps.push(Step::Uniform { to: to.0, seed: *seed, first });
        to
    }

    /// Small values as a polynomial.
    pub fn lift(&mut self, small: Small) -> Register<Coeff> {
        let to = self.register(Source::Steps);
        self.steps.push(Step::Lift { to: to.0, small: small.0 });
        to
    }

    /// Adds small values times a scalar for each limb that the register has.
    pub fn add_lifted(&mut self, to: &Register<Coeff>, small: Small, scale: &[u64]) {
        let scale = scale[..self.limbs[to.0]].to_vec();
        self.steps.push(Step::AddLifted { to: to.0, small: small.0, scale });
    }

    /// To points.
    pub fn forward(&mut self, at: Register<Coeff>) -> Register<Ntt> {
        self.steps.push(Step::Forward { at: at.0 });
        Register(at.0, PhantomData)
    }

    /// To coefficients.
    pub fn inverse(&mut self, at: Register<Ntt>) -> Register<Coeff> {
        self.steps.push(Step::Inverse { at: at.0 });
        Register(at.0, PhantomData)
    }

    /// A second one.
    pub fn copy<D>(&mut self, from: &Register<D>) -> Register<D> {
        let to = self.register(Source::Steps);
        self.limbs[to.0] = self.limbs[from.0];
        self.steps.push(Step::Copy { to: to.0, from: from.0 });
        to
    }

    /// Times a single polynomial.
    pub fn mul(&mut self, at: &Register<Ntt>, by: &'a PolyBatch<Ntt>) {
        let by = self.batch(by);
        self.steps.push(Step::Mul { at: at.0, by });
    }

    /// `to += a * by`, `by` a single polynomial.
    pub fn mul_add(&mut self, to: &Register<Ntt>, a: &Register<Ntt>, by: &'a PolyBatch<Ntt>) {
        let by = Factor::Shared(self.batch(by));
        self.steps.push(Step::MulAdd { to: to.0, a: a.0, by });
    }

    /// `to += a * b` of registers.
    pub fn mul_add_own(&mut self, to: &Register<Ntt>, a: &Register<Ntt>, b: &Register<Ntt>) {
        self.steps.push(Step::MulAdd { to: to.0, a: a.0, by: Factor::Own(b.0) });
    }

    /// `to += from`.
    pub fn add<D>(&mut self, to: &Register<D>, from: &Register<D>) {
        self.steps.push(Step::Add { to: to.0, from: from.0 });
    }

    /// `to -= from`.
    pub fn sub<D>(&mut self, to: &Register<D>, from: &Register<D>) {
        self.steps.push(Step::Sub { to: to.0, from: from.0 });
    }

    /// Its negative.
    pub fn negate<D>(&mut self, at: &Register<D>) {
        self.steps.push(Step::Negate { at: at.0 });
    }

    /// Divides by one prime after the other, each time rounding, until only the first is left.
    pub fn mod_down_to_first(&mut self, at: &Register<Coeff>) {
        for limbs in (2..=self.limbs[at.0]).rev() {
            self.steps.push(Step::DropLast { at: at.0, limbs });
        }
        self.limbs[at.0] = 1;
    }

    /// Hands the register to the item at the end: coefficients, or canonical points.
    pub fn output<D: DomainTag>(&mut self, at: Register<D>) {
        self.outputs.push((at.0, D::DOMAIN));
    }

    /// What each of `batch` items comes to.
    ///
    /// # Errors
    /// Those of the items, [`Error::Decode`] for residues from an item that are not reduced, [`Error::Shape`] for
    /// batches of other sizes or primes than the chain's.
    pub fn run<I: Items>(&self, device: &Device, batch: usize, items: &I) -> Result<Vec<I::Output>> {
        self.check(device, batch)?;
        if let Some(done) = device.run(self, &self.buffers(), batch, items) {
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
        self.gathered = Some(at.0);
        let missing = || Error::Shape("a chain that gathers nothing".to_owned());
        if let Some(done) = device.run(&self, &self.buffers(), batch, items) {
            let buffer = done?.1.ok_or_else(missing)?;
            return PolyBatch::from_buffer(device, &self.basis, batch, buffer);
        }
        steps::run(&self, device, batch, items)?.1.ok_or_else(missing)
    }

    fn buffers(&self) -> Vec<&DeviceBuffer> {
        self.batches.iter().map(|polys| polys.buffer()).collect()
    }

    /// Whether nothing but `rest`, and nothing there, touches a register any more.
    fn is_last(&self, register: usize, rest: &[Step]) -> bool {
        let output = self.outputs.iter().any(|&(at, _)| at == register) || self.gathered == Some(register);
        !output && !rest.iter().any(|step| step.touches(register))
    }

    fn check(&self, device: &Device, batch: usize) -> Result<()> {
        if batch == 0 {
            return Err(Error::Shape("a chain for no items".to_owned()));
        }
        for (number, polys) in self.batches.iter().enumerate() {
            let reads = self.sources.iter().find_map(|source| match *source {
                Source::Batch { number: n, first } if n == number => Some(first + batch),
                _ => None,
            });
            if !polys.device().same(device) {
                return Err(Error::DeviceMismatch(format!("{:?} and {device:?}", polys.device())));
            }
            let fits = reads.map_or(polys.batch() == 1, |end| end <= polys.batch());
            if polys.basis() != &self.basis || !fits {
                let (values, found) = (polys.basis().values(), polys.batch());
                return Err(Error::Shape(format!("a batch of {found} over {values:?} for a chain of {batch} items")));
            }
        }
        Ok(())
    }
}
