//! Chains on a device that wants large batches: all items go through one step after the other.

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::Chain;
use crate::backend::recorded::{Factor, Item, Items, Source, Step};
use crate::backend::{Domain, Ran};
use crate::device::Device;
use crate::error::Result;
use crate::poly::{Coeff, Ntt, PolyBatch};

/// A register of all items.
enum Held {
    Nothing,
    Coeff(PolyBatch<Coeff>),
    Ntt(PolyBatch<Ntt>),
}

type Registers = Vec<Held>;

fn coeff(held: &mut Held) -> &mut PolyBatch<Coeff> {
    match held {
        Held::Coeff(x) => x,
        _ => unreachable!("registers are typed by their domain"),
    }
}

fn ntt(held: &mut Held) -> &mut PolyBatch<Ntt> {
    match held {
        Held::Ntt(x) => x,
        _ => unreachable!("registers are typed by their domain"),
    }
}

fn take_coeff(held: &mut Held) -> PolyBatch<Coeff> {
    match std::mem::replace(held, Held::Nothing) {
        Held::Coeff(x) => x,
        _ => unreachable!("registers are typed by their domain"),
    }
}

fn take_ntt(held: &mut Held) -> PolyBatch<Ntt> {
    match std::mem::replace(held, Held::Nothing) {
        Held::Ntt(x) => x,
        _ => unreachable!("registers are typed by their domain"),
    }
}

/// What the items come to, and the points that are gathered.
pub(super) fn run<I: Items>(
    chain: &Chain<'_>,
    device: &Device,
    batch: usize,
    items: &I,
) -> Ran<I::Output, PolyBatch<Ntt>> {
    let (n, basis) = (chain.recorded.basis.n(), &chain.recorded.basis);
    let size = basis.len() * n;
    let mut small = vec![Zeroizing::new(vec![0; batch * n]); chain.recorded.small];
    let given = chain.recorded.sources.iter().filter(|s| matches!(s, Source::Given)).count();
    let mut given = vec![Zeroizing::new(vec![0; batch * size]); given];
    let row = || Zeroizing::new(vec![0; n]);
    let parts = by_item(&mut small, n, batch).into_par_iter().zip(by_item(&mut given, size, batch)).enumerate();
    parts.try_for_each_init(row, |row, (number, (small, given))| items.prepare(Item { number, small, given, row }))?;

    let mut given = given.iter();
    let mut registers = Registers::new();
    for source in &chain.recorded.sources {
        registers.push(match *source {
            Source::Steps => Held::Nothing,
            Source::Given => {
                Held::Coeff(PolyBatch::upload(device, basis, given.next().expect("as many as were counted"))?)
            }
            Source::Batch { number, first } => Held::Ntt(chain.batches[number].extract(first..first + batch)?),
        });
    }
    let mut at = 0;
    while at < chain.recorded.steps.len() {
        at += Walk { chain, device, batch, small: &small, items }.step(at, &mut registers)?;
    }

    let outputs = chain.recorded.outputs.iter().map(|&(at, domain)| {
        Ok(Zeroizing::new(match domain {
            Domain::Coeff => coeff(&mut registers[at]).download()?,
            Domain::Ntt | Domain::Rows => ntt(&mut registers[at]).download()?,
        }))
    });
    let outputs = outputs.collect::<Result<Vec<_>>>()?;
    let finish = |row: &mut Zeroizing<Vec<u64>>, (number, small): (usize, Vec<&mut [i32]>)| {
        let part = |o: &Zeroizing<Vec<u64>>| number * (o.len() / batch)..(number + 1) * (o.len() / batch);
        let outputs: Vec<&[u64]> = outputs.iter().map(|o| &o[part(o)]).collect();
        items.finish(Item { number, small, given: Vec::new(), row }, &outputs)
    };
    let parts = by_item(&mut small, n, batch).into_par_iter().enumerate();
    let done = parts.map_init(row, finish).collect::<Result<Vec<_>>>()?;
    Ok((done, chain.recorded.gathered.map(|at| take_ntt(&mut registers[at]))))
}

/// Each item's part of every vector.
fn by_item<T>(vectors: &mut [Zeroizing<Vec<T>>], size: usize, batch: usize) -> Vec<Vec<&mut [T]>>
where
    Vec<T>: zeroize::Zeroize,
{
    let mut items: Vec<Vec<&mut [T]>> = (0..batch).map(|_| Vec::new()).collect();
    for vector in vectors {
        items.iter_mut().zip(vector.chunks_exact_mut(size)).for_each(|(item, part)| item.push(part));
    }
    items
}

/// What all steps of a run share.
struct Walk<'a, I> {
    chain: &'a Chain<'a>,
    device: &'a Device,
    batch: usize,
    small: &'a [Zeroizing<Vec<i32>>],
    items: &'a I,
}

impl<I: Items> Walk<'_, I> {
    /// Runs step `at`, and those after it that one kernel does with it; returns how many that were.
    fn step(&self, at: usize, registers: &mut Registers) -> Result<usize> {
        let Self { chain, device, batch, small, items } = *self;
        let basis = &chain.recorded.basis;
        match chain.recorded.steps[at..] {
            // A product on its way to coefficients.
            [Step::Mul { at, by: number }, Step::Inverse { at: same }, ..] if at == same => {
                let product = take_ntt(&mut registers[at]).into_product(chain.batches[number])?;
                registers[at] = Held::Coeff(product);
                return Ok(2);
            }
            // Points that nothing reads but two sums of products.
            [
                Step::Forward { at: x },
                Step::MulAdd { to: s0, a: a0, by: f0 },
                Step::MulAdd { to: s1, a: a1, by: f1 },
                ref rest @ ..,
            ] if a0 == x && a1 == x && s0 != s1 && chain.recorded.is_last(x, rest) => {
                let x = take_coeff(&mut registers[x]);
                let (mut sum0, mut sum1) = (take_ntt(&mut registers[s0]), take_ntt(&mut registers[s1]));
                let factors = [f0, f1].map(|f| match f {
                    Factor::Shared(number) => chain.batches[number],
                    Factor::Own(at) => match &registers[at] {
                        Held::Ntt(x) => x,
                        _ => unreachable!("registers are typed by their domain"),
                    },
                });
                x.mul_add_into([&mut sum0, &mut sum1], factors)?;
                (registers[s0], registers[s1]) = (Held::Ntt(sum0), Held::Ntt(sum1));
                return Ok(3);
            }
            _ => {}
        }
        match chain.recorded.steps[at] {
            Step::Uniform { to, ref seed, first } => {
                registers[to] = Held::Ntt(PolyBatch::uniform(device, basis, seed, first, batch)?);
            }
            Step::Load { to, number } => {
                let (n, limbs) = (basis.n(), basis.len());
                let mut words = Zeroizing::new(vec![0; batch * limbs * n]);
                let rows = words.par_chunks_exact_mut(n).enumerate();
                rows.try_for_each(|(row, words)| items.load(row / limbs, number, row % limbs, words))?;
                registers[to] = Held::Ntt(PolyBatch::upload(device, basis, &words)?);
            }
            Step::Lift { to, small: number } => {
                registers[to] = Held::Coeff(PolyBatch::lift(device, basis, &small[number], &vec![1; basis.len()])?);
            }
            Step::AddLifted { to, small: number, ref scale } => {
                coeff(&mut registers[to]).add_lifted(&small[number], scale)?
            }
            Step::Forward { at } => registers[at] = Held::Ntt(take_coeff(&mut registers[at]).into_ntt()?),
            Step::Inverse { at } => registers[at] = Held::Coeff(take_ntt(&mut registers[at]).into_coeff()?),
            Step::Copy { to, from } => {
                registers[to] = match &registers[from] {
                    Held::Coeff(x) => Held::Coeff(x.duplicate()?),
                    Held::Ntt(x) => Held::Ntt(x.duplicate()?),
                    Held::Nothing => Held::Nothing,
                };
            }
            Step::Mul { at, by: number } => ntt(&mut registers[at]).mul_assign(chain.batches[number])?,
            Step::MulAdd { to, a, by } => {
                let mut sum = take_ntt(&mut registers[to]);
                let a = take_ntt(&mut registers[a]);
                match by {
                    Factor::Shared(number) => sum.mul_add_assign(&a, chain.batches[number])?,
                    Factor::Own(b) => sum.mul_add_assign(&a, ntt(&mut registers[b]))?,
                }
                registers[to] = Held::Ntt(sum);
                if let Step::MulAdd { a: at, .. } = chain.recorded.steps[at] {
                    registers[at] = Held::Ntt(a);
                }
            }
            Step::Add { to, from } => change(registers, to, from, |x, y| x.add_assign(y), |x, y| x.add_assign(y))?,
            Step::Sub { to, from } => change(registers, to, from, |x, y| x.sub_assign(y), |x, y| x.sub_assign(y))?,
            Step::Negate { at } => match &mut registers[at] {
                Held::Coeff(x) => x.negate()?,
                Held::Ntt(x) => x.negate()?,
                Held::Nothing => {}
            },
            Step::DropLast { at, limbs } => {
                registers[at] = Held::Coeff(take_coeff(&mut registers[at]).mod_down(limbs - 1)?);
            }
        }
        Ok(1)
    }
}

fn change(
    registers: &mut Registers,
    to: usize,
    from: usize,
    coeff: impl Fn(&mut PolyBatch<Coeff>, &PolyBatch<Coeff>) -> Result<()>,
    ntt: impl Fn(&mut PolyBatch<Ntt>, &PolyBatch<Ntt>) -> Result<()>,
) -> Result<()> {
    let [to, from] = registers.get_disjoint_mut([to, from]).expect("registers of a step differ");
    match (to, from) {
        (Held::Coeff(x), Held::Coeff(y)) => coeff(x, y),
        (Held::Ntt(x), Held::Ntt(y)) => ntt(x, y),
        _ => unreachable!("registers are typed by their domain"),
    }
}
