//! Chains on a CPU: each item is taken from its first step to its last while it is in cache. Between divisions, which
//! read all limbs, steps go limb by limb, so a register that lives between two of them takes one row.

use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::body::Body;
use super::buffer::{CpuBuffer, Layout};
use super::groups;
use super::panels::{Order, Panels, exchange};
use super::tables::CpuTables;
use crate::backend::recorded::{Factor, Item, Items, Recorded, Source, Step};
use crate::backend::{Domain, Shape, parts};
use crate::error::Result;
use crate::ring::sampler::uniform_poly;

/// Polynomials of a batch that are read from memory together.
const NEIGHBOURS: usize = 4;

/// The rows of a register.
#[derive(Clone, Copy)]
struct Place {
    first: usize,
    /// Rows of an item: one a limb, or one for all limbs.
    rows: usize,
    /// Items that have rows of their own at a time.
    copies: usize,
}

impl Place {
    fn row(self, copy: usize, limb: usize) -> usize {
        let copy = if self.copies == 1 { 0 } else { copy };
        self.first + copy * self.rows + limb.min(self.rows - 1)
    }
}

/// Space for a group of items.
struct Scratch {
    /// The registers' rows, and one for the item.
    words: CpuBuffer,
    small: Zeroizing<Vec<i32>>,
}

/// A chain laid out for this processor.
pub(super) struct Runner<'a> {
    t: &'a CpuTables,
    chain: &'a Recorded,
    buffers: &'a [&'a CpuBuffer],
    batch: usize,
    order: Order,
    /// Items at a time.
    group: usize,
    /// Steps with the limbs they work on, cut at divisions.
    parts: Vec<Vec<(usize, &'a Step)>>,
    places: Vec<Place>,
    rows: usize,
    /// The shared polynomials, `[limbs, n]` in the chain's order.
    shared: Vec<Zeroizing<Vec<u64>>>,
}

impl<'a> Runner<'a> {
    pub(super) fn new(
        body: Body,
        t: &'a CpuTables,
        chain: &'a Recorded,
        buffers: &'a [&'a CpuBuffer],
        batch: usize,
    ) -> Self {
        let shape = Shape { batch, limbs: t.limbs.len(), n: t.n };
        let of_batch = |source: &Source| matches!(source, Source::Batch { .. });
        let group = match chain.gathered {
            Some(_) => groups::size(shape),
            None if chain.sources.iter().any(of_batch) => NEIGHBOURS,
            None => 1,
        };
        let order = order(body, chain);
        let (places, rows) = places(chain, shape.limbs, group);
        let shared = buffers.iter().zip(&chain.batches).map(|(buffer, &polys)| {
            if polys != 1 {
                return Zeroizing::default();
            }
            let mut points = Zeroizing::new(buffer.words().to_vec());
            if order == Order::Canonical {
                points.chunks_exact_mut(t.n).for_each(exchange);
            }
            points
        });
        let shared = shared.collect();
        Self { t, chain, buffers, batch, order, group, parts: cut(chain), places, rows, shared }
    }

    /// What the items come to, and the points that are gathered.
    pub(super) fn run<I: Items>(&self, items: &I) -> Result<(Vec<I::Output>, Option<CpuBuffer>)> {
        let shape = Shape { batch: self.batch, limbs: self.t.limbs.len(), n: self.t.n };
        let mut points = self.chain.gathered.map(|_| CpuBuffer::new(shape.words(), Layout::Panels));
        let panels = points.as_mut().map(|points| Panels::new(points.words_mut(), shape));
        let pool: Mutex<Vec<Scratch>> = Mutex::default();
        let lock = || pool.lock().unwrap_or_else(|e| e.into_inner());
        let one = |range: Range<usize>| {
            let free = lock().pop();
            let mut scratch = free.unwrap_or_else(|| self.scratch());
            let outputs = self.run_group(&mut scratch, range, panels.as_ref(), items)?;
            lock().push(scratch);
            Ok(outputs)
        };
        let groups: Vec<_> = parts(self.batch, self.group).collect();
        let outputs: Vec<Vec<_>> = groups.into_par_iter().map(one).collect::<Result<_>>()?;
        Ok((outputs.into_iter().flatten().collect(), points))
    }

    fn scratch(&self) -> Scratch {
        let n = self.t.n;
        Scratch {
            words: CpuBuffer::new((self.rows + 1) * n, Layout::Rows),
            small: Zeroizing::new(vec![0; self.chain.small * n]),
        }
    }

    fn run_group<I: Items>(
        &self,
        scratch: &mut Scratch,
        range: Range<usize>,
        panels: Option<&Panels<'_>>,
        items: &I,
    ) -> Result<Vec<I::Output>> {
        let n = self.t.n;
        let (words, row) = scratch.words.words_mut().split_at_mut(self.rows * n);
        self.read_batches(range.clone(), words);
        let mut outputs = Vec::with_capacity(range.len());
        for (copy, i) in range.clone().enumerate() {
            self.prepare((i, copy), words, &mut scratch.small, row, items)?;
            let mut rows: Vec<&mut [u64]> = words.chunks_exact_mut(n).collect();
            for part in &self.parts {
                if let [(_, Step::DropLast { at, limbs })] = part[..] {
                    self.drop_last(&mut rows, self.places[*at], copy, *limbs);
                    continue;
                }
                for limb in 0..part.iter().map(|(limbs, _)| *limbs).max().unwrap_or(0) {
                    for (_, step) in part.iter().filter(|(limbs, _)| limb < *limbs) {
                        self.step(step, &mut rows, &scratch.small, (i, copy, limb), items)?;
                    }
                }
            }
            drop(rows);
            outputs.push(self.finish((i, copy), words, &mut scratch.small, row, items)?);
        }
        if let (Some(panels), Some(at)) = (panels, self.chain.gathered) {
            let rows: Vec<&[u64]> = words.chunks_exact(n).collect();
            for limb in 0..self.t.limbs.len() {
                let rows: Vec<_> = (0..range.len()).map(|copy| rows[self.places[at].row(copy, limb)]).collect();
                // SAFETY: each group is taken once.
                unsafe { panels.write(range.start, limb, &rows) };
            }
        }
        Ok(outputs)
    }

    /// Copies what the items have of batches, several items' lines of a panel together.
    fn read_batches(&self, range: Range<usize>, words: &mut [u64]) {
        for (source, place) in self.chain.sources.iter().zip(&self.places) {
            let Source::Batch { number, first } = *source else { continue };
            let (polys, limbs, n) = (self.chain.batches[number], self.t.limbs.len(), self.t.n);
            let shape = Shape { batch: polys, limbs, n };
            let own = &mut words[place.first * n..][..place.copies * limbs * n];
            for limb in 0..limbs {
                let rows = own.chunks_exact_mut(n).skip(limb).step_by(limbs).take(range.len());
                let mut rows: Vec<_> = rows.collect();
                groups::read(self.buffers[number].words(), shape, first + range.start, limb, &mut rows);
            }
        }
    }

    fn prepare<I: Items>(
        &self,
        (number, copy): (usize, usize),
        words: &mut [u64],
        small: &mut [i32],
        row: &mut [u64],
        items: &I,
    ) -> Result<()> {
        let n = self.t.n;
        // Given registers come first.
        let given = |place: &Place| place.row(copy, 0) * n..(place.row(copy, 0) + place.rows) * n;
        let places = self.places.iter().zip(&self.chain.sources).filter(|(_, source)| **source == Source::Given);
        let places: Vec<&Place> = places.map(|(place, _)| place).collect();
        let (mut rest, mut passed, mut slices) = (&mut *words, 0, Vec::with_capacity(places.len()));
        for range in places.iter().map(|place| given(place)) {
            let (head, tail) = rest.split_at_mut(range.end - passed);
            let slice = &mut head[range.start - passed..];
            slice.fill(0);
            slices.push(slice);
            (rest, passed) = (tail, range.end);
        }
        items.prepare(Item { number, small: small.chunks_exact_mut(n).collect(), given: slices, row })?;
        places.into_iter().try_for_each(|place| self.chain.basis.check_reduced(&words[given(place)]))
    }

    fn finish<I: Items>(
        &self,
        (number, copy): (usize, usize),
        words: &mut [u64],
        small: &mut [i32],
        row: &mut [u64],
        items: &I,
    ) -> Result<I::Output> {
        let n = self.t.n;
        let range = |at: usize| {
            let first = self.places[at].row(copy, 0) * n;
            first..first + self.chain.limbs[at] * n
        };
        for &(at, domain) in &self.chain.outputs {
            if domain != Domain::Coeff && self.order == Order::Panel {
                words[range(at)].chunks_exact_mut(n).for_each(exchange);
            }
        }
        let outputs: Vec<&[u64]> = self.chain.outputs.iter().map(|&(at, _)| &words[range(at)]).collect();
        items.finish(Item { number, small: small.chunks_exact_mut(n).collect(), given: Vec::new(), row }, &outputs)
    }

    /// Of item `i`, number `copy` of its group, on one limb.
    fn step<I: Items>(
        &self,
        step: &Step,
        rows: &mut [&mut [u64]],
        small: &[i32],
        (i, copy, limb): (usize, usize, usize),
        items: &I,
    ) -> Result<()> {
        let (n, kernels) = (self.t.n, &self.t.limbs[limb]);
        let at = |register: usize| self.places[register].row(copy, limb);
        let small = |number: usize| &small[number * n..][..n];
        let shared = |number: usize| &self.shared[number][limb * n..][..n];
        let canonical = |row: &mut [u64]| {
            if self.order == Order::Panel {
                exchange(row);
            }
        };
        let two = "registers of a step differ";
        match *step {
            Step::Uniform { to, ref seed, first } => {
                let row = &mut *rows[at(to)];
                uniform_poly(seed, kernels.modulus(), first + i as u32, limb as u32, row);
                canonical(row);
            }
            Step::Load { to, number } => {
                let row = &mut *rows[at(to)];
                items.load(i, number, limb, row)?;
                kernels.modulus().check_reduced(row)?;
                canonical(row);
            }
            Step::Lift { to, small: number } => kernels.lift(rows[at(to)], small(number)),
            Step::AddLifted { to, small: number, ref scale } => {
                kernels.add_lifted(rows[at(to)], small(number), scale[limb]);
            }
            Step::Forward { at: x } => kernels.forward(rows[at(x)], self.order),
            Step::Inverse { at: x } => kernels.inverse(rows[at(x)], self.order),
            Step::Copy { to, from } => {
                let [to, from] = rows.get_disjoint_mut([at(to), at(from)]).expect(two);
                to.copy_from_slice(from);
            }
            Step::Mul { at: x, by } => kernels.mul(rows[at(x)], shared(by)),
            Step::MulAdd { to, a, by: Factor::Shared(number) } => {
                let [to, a] = rows.get_disjoint_mut([at(to), at(a)]).expect(two);
                kernels.mul_add(to, a, shared(number));
            }
            Step::MulAdd { to, a, by: Factor::Own(b) } => {
                let [to, a, b] = rows.get_disjoint_mut([at(to), at(a), at(b)]).expect(two);
                kernels.mul_add(to, a, b);
            }
            Step::Add { to, from } => {
                let [to, from] = rows.get_disjoint_mut([at(to), at(from)]).expect(two);
                kernels.add(to, from);
            }
            Step::Sub { to, from } => {
                let [to, from] = rows.get_disjoint_mut([at(to), at(from)]).expect(two);
                kernels.sub(to, from);
            }
            Step::Negate { at: x } => kernels.negate(rows[at(x)]),
            Step::DropLast { .. } => unreachable!("a part of its own"),
        }
        Ok(())
    }

    fn drop_last(&self, rows: &mut [&mut [u64]], place: Place, copy: usize, limbs: usize) {
        let rows = &mut rows[place.row(copy, 0)..][..limbs];
        let (kept, last) = rows.split_at_mut(limbs - 1);
        for (limb, row) in kept.iter_mut().enumerate() {
            self.t.limbs[limb].drop_limb(self.t.modulus(limbs - 1), row, last[0]);
        }
    }
}

/// The order of points: that of batches if there are any, that of what comes from outside if anything does, else the
/// one that costs less.
fn order(body: Body, chain: &Recorded) -> Order {
    let batches = chain.gathered.is_some() || chain.sources.iter().any(|s| matches!(s, Source::Batch { .. }));
    let outside = chain.steps.iter().any(|s| matches!(s, Step::Uniform { .. } | Step::Load { .. }))
        || chain.outputs.iter().any(|&(_, domain)| domain == Domain::Ntt);
    if batches || !outside && body == Body::Avx512 { Order::Panel } else { Order::Canonical }
}

/// Steps with the limbs they work on, in parts of which all steps go limb by limb, or which are one division.
fn cut(chain: &Recorded) -> Vec<Vec<(usize, &Step)>> {
    let mut limbs = vec![chain.basis.len(); chain.sources.len()];
    let mut parts = vec![Vec::new()];
    for step in &chain.steps {
        if let Step::DropLast { at, limbs: of } = *step {
            limbs[at] = of - 1;
            parts.push(vec![(of, step)]);
            parts.push(Vec::new());
            continue;
        }
        let written = step.written();
        if let Step::Copy { to, from } = *step {
            limbs[to] = limbs[from];
        }
        parts.last_mut().expect("one at least").push((limbs[written], step));
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Where registers are, those that items give first, and how many rows that takes.
fn places(chain: &Recorded, limbs: usize, group: usize) -> (Vec<Place>, usize) {
    let parts = cut(chain);
    let lives = |register: usize| parts.iter().filter(|part| part.iter().any(|(_, s)| s.touches(register))).count();
    let shape = |register: usize| {
        let batch = matches!(chain.sources[register], Source::Batch { .. });
        let output = chain.outputs.iter().any(|&(at, _)| at == register);
        let gathered = chain.gathered == Some(register);
        let copies = if batch || gathered { group } else { 1 };
        let one = chain.sources[register] == Source::Steps && !output && !gathered && lives(register) <= 1;
        (if one { 1 } else { limbs }, copies)
    };
    let mut places = vec![Place { first: 0, rows: 0, copies: 0 }; chain.sources.len()];
    let mut first = 0;
    for given in [true, false] {
        for (register, place) in places.iter_mut().enumerate() {
            if matches!(chain.sources[register], Source::Given) == given {
                let (rows, copies) = shape(register);
                *place = Place { first, rows, copies };
                first += rows * copies;
            }
        }
    }
    (places, first)
}
