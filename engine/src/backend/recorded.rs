//! A chain as it is recorded: steps by number over registers, whatever runs them, and what items bring.

use super::*;

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

/// A recorded chain.
pub(crate) struct Recorded {
    pub(crate) basis: Basis,
    pub(crate) steps: Vec<Step>,
    pub(crate) sources: Vec<Source>,
    pub(crate) small: usize,
    pub(crate) loads: usize,
    /// Polynomials of each batch that steps read: one for all items, or those that items have one of.
    pub(crate) batches: Vec<usize>,
    pub(crate) outputs: Vec<(usize, Domain)>,
    /// The register whose points are gathered in a batch.
    pub(crate) gathered: Option<usize>,
    /// Limbs that each register has at the end of what is recorded.
    pub(crate) limbs: Vec<usize>,
}

impl Recorded {
    /// Whether nothing but `rest`, and nothing there, touches a register any more.
    pub(crate) fn is_last(&self, register: usize, rest: &[Step]) -> bool {
        let output = self.outputs.iter().any(|&(at, _)| at == register) || self.gathered == Some(register);
        !output && !rest.iter().any(|step| step.touches(register))
    }
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
