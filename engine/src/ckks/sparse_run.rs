//! Sparse maps computed: rotated sources, sums of their products, giant steps, the division at the end.
//!
//! On a CPU each plaintext is transformed where its products are summed, and ciphertexts go side by side through what is
//! done to each; elsewhere rows that read the same rotated sources are one matrix product of transformed plaintexts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::ciphertext::Ciphertext;
use super::evaluator::Evaluator;
use super::rotation::missing;
use super::sparse::{GroupRow, PreparedSparse};
use crate::backend::MirroredSums;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::poly::{PolyBatch, Rows};
use crate::ring::Basis;
use crate::rlwe::key_switch::rotation_element;
use crate::{DeviceKind, GemmShape, Integers};

/// Plaintexts and rotated sources of one matrix product at most: what a GPU binds holds them.
const BLOCK: usize = 16;
/// Sums that are held before they are rotated.
const HELD: usize = 64;

/// Sources of a job.
type Job<'a> = Vec<Option<&'a Ciphertext>>;
/// Rotated sources, by where the source lies in memory and its baby step.
type Rotated = HashMap<(usize, usize), PolyBatch<Rows>>;
/// A row and its sums, one a job.
type Sums = (usize, Vec<PolyBatch<Rows>>);

fn place(x: &Ciphertext) -> usize {
    std::ptr::from_ref(x) as usize
}

/// `f` of each, side by side on a CPU.
pub(super) fn each<T: Send, R: Send>(
    device: &Device,
    items: Vec<T>,
    f: impl Fn(T) -> Result<R> + Send + Sync,
) -> Result<Vec<R>> {
    match device.kind() {
        DeviceKind::Cpu => items.into_par_iter().map(f).collect(),
        _ => items.into_iter().map(f).collect(),
    }
}

impl Evaluator {
    /// The outputs of each job, whose sources some may be missing of: those count as zeros.
    ///
    /// # Errors
    /// [`Error::Parameters`] for sources of another level or number of slots, without a key for a rotation, and where
    /// a result may wrap around; [`Error::Shape`] for another number of sources.
    pub fn sparse(&self, map: &PreparedSparse, jobs: &[Job<'_>]) -> Result<Vec<Vec<Ciphertext>>> {
        for x in jobs.iter().flatten().flatten() {
            if x.level() != map.level || x.slots != self.params.slots() {
                let (level, slots) = (x.level(), x.slots);
                let want = format!("a map for level {} and {} slots", map.level, self.params.slots());
                return Err(Error::Parameters(format!("{want}, given level {level} and {slots}")));
            }
        }
        if jobs.iter().any(|job| job.len() != map.shape.sources) {
            return Err(Error::Shape(format!("jobs of other than {} sources", map.shape.sources)));
        }
        let extended = self.params.extended(map.level)?;
        let rotated = self.rotated_sources(map, jobs)?;
        let total = || PolyBatch::<Rows>::zeros(&self.device, &extended, 2);
        let mut totals = (0..jobs.len() * map.shape.outputs).map(|_| total()).collect::<Result<Vec<_>>>()?;
        for group in &map.groups {
            for rows in group.rows.chunks((HELD / jobs.len().max(1)).max(1)) {
                let inner = &group.inner;
                let sums = match self.mirrored_sums(map, (inner, rows), jobs, &rotated)? {
                    Some(sums) => sums,
                    None => self.products_of(map, (inner, rows), jobs, &rotated)?,
                };
                self.add_rows(map, sums, &mut totals)?;
            }
        }
        drop(rotated);
        let done = each(&self.device, totals, |total| self.finished(map, &total))?;
        let mut done = done.into_iter();
        Ok((0..jobs.len()).map(|_| done.by_ref().take(map.shape.outputs).collect()).collect())
    }

    /// What the terms read: over Q P, P times it, or over Q.
    fn rotated_sources(&self, map: &PreparedSparse, jobs: &[Job<'_>]) -> Result<Rotated> {
        let mut wanted: BTreeMap<usize, (&Ciphertext, BTreeSet<usize>)> = BTreeMap::new();
        for t in map.shape.rows.iter().flat_map(|row| &row.terms) {
            for x in jobs.iter().filter_map(|job| job[t.source]) {
                wanted.entry(place(x)).or_insert_with(|| (x, BTreeSet::new())).1.insert(t.baby);
            }
        }
        let hoisted = each(&self.device, wanted.values().collect(), |(x, babies)| {
            if babies.iter().any(|&b| b != 0) { self.hoist(x).map(Some) } else { Ok(None) }
        })?;
        // By step, so that a key is read once for all sources.
        let mut steps: Vec<_> = wanted
            .iter()
            .zip(&hoisted)
            .flat_map(|((&at, (x, babies)), hoisted)| babies.iter().map(move |&baby| (baby, at, *x, hoisted)))
            .collect();
        steps.sort_by_key(|&(baby, at, ..)| (baby, at));
        let rotated = each(&self.device, steps, |(baby, at, x, hoisted)| {
            let element = rotation_element(self.params.n(), baby as i64);
            let pair = match (hoisted, map.undivided) {
                (Some(h), true) if baby != 0 => {
                    let pair = self.keys()?.whole_automorphism_times_p(&h.hoisted, element);
                    pair.map_err(|e| missing(baby as i64, x.level(), &e))?
                }
                (Some(h), false) if baby != 0 => self.rotated(&h.hoisted, baby as i64)?,
                (_, true) => self.times_p(&x.pair)?,
                (_, false) => x.pair.duplicate()?,
            };
            Ok(((at, baby), pair))
        })?;
        Ok(rotated.into_iter().collect())
    }

    /// P times two polynomials over Q, over Q P.
    fn times_p(&self, pair: &PolyBatch<Rows>) -> Result<PolyBatch<Rows>> {
        let level = pair.basis().len();
        let mut out = PolyBatch::zeros(&self.device, &self.params.extended(level)?, pair.batch())?;
        out.add_scaled(pair, &self.params.special_scalars(level))?;
        Ok(out)
    }

    /// What sums of terms are over.
    fn basis_of(&self, map: &PreparedSparse) -> Result<Basis> {
        if map.undivided { self.params.extended(map.level) } else { self.params.basis().level(map.level) }
    }

    /// The sums of rows' terms, where the device has a way of its own.
    fn mirrored_sums(
        &self,
        map: &PreparedSparse,
        (inner, rows): (&[(usize, usize)], &[GroupRow]),
        jobs: &[Job<'_>],
        rotated: &Rotated,
    ) -> Result<Option<Vec<Sums>>> {
        let (mut sources, mut numbers) = (Vec::new(), HashMap::new());
        let mut number = |x: &Ciphertext, baby: usize| {
            *numbers.entry((place(x), baby)).or_insert_with(|| {
                sources.push(&rotated[&(place(x), baby)]);
                sources.len() - 1
            })
        };
        let mut of =
            |&(source, baby): &(usize, usize)| jobs.iter().map(|job| job[source].map(|x| number(x, baby))).collect();
        let sums = MirroredSums {
            sources: inner.iter().map(&mut of).collect(),
            rows: rows.iter().map(|(_, plains)| plains.clone()).collect(),
            plains: map.plains.iter().map(|plain| plain.parts()).collect(),
            jobs: jobs.len(),
        };
        let made = PolyBatch::sums_of_mirrored(&self.device, &self.basis_of(map)?, &sums, &sources)?;
        Ok(made.map(|made| {
            let mut made = made.into_iter();
            rows.iter().map(|(at, _)| (*at, made.by_ref().take(jobs.len()).collect())).collect()
        }))
    }

    /// The sums of the terms of a group's rows, as matrix products.
    fn products_of(
        &self,
        map: &PreparedSparse,
        (inner, rows): (&[(usize, usize)], &[GroupRow]),
        jobs: &[Job<'_>],
        rotated: &Rotated,
    ) -> Result<Vec<Sums>> {
        let all = rows;
        let basis = self.basis_of(map)?;
        let zero = PolyBatch::zeros(&self.device, &basis, 2)?;
        let cols = 2 * jobs.len();
        let mut sums: Vec<Option<PolyBatch<Rows>>> = all.iter().map(|_| None).collect();
        for (block, inner) in inner.chunks(BLOCK).enumerate() {
            let mut sources = Vec::with_capacity(inner.len() * jobs.len());
            for &(source, baby) in inner {
                sources.extend(jobs.iter().map(|job| job[source].map_or(&zero, |x| &rotated[&(place(x), baby)])));
            }
            let sources = PolyBatch::stack(&sources)?;
            let rows = (BLOCK / inner.len()).max(1);
            for (i, part) in all.chunks(rows).enumerate() {
                let from = block * BLOCK;
                let plains = part.iter().flat_map(|(_, plains)| &plains[from..from + inner.len()]).copied();
                let plains = self.points_of(map, &basis, &plains.collect::<Vec<_>>())?;
                let size = GemmShape { rows: part.len(), inner: inner.len(), cols };
                let [products] = plains.gemm([&sources], size)?;
                for r in 0..part.len() {
                    let product = products.extract(r * cols..(r + 1) * cols)?;
                    match &mut sums[i * rows + r] {
                        Some(sum) => sum.add_assign(&product)?,
                        none => *none = Some(product),
                    }
                }
            }
        }
        let by_job = |((at, _), sum): (&(usize, _), Option<PolyBatch<Rows>>)| {
            let pairs = sum.iter().flat_map(|sum| (0..jobs.len()).map(|job| sum.extract(2 * job..2 * job + 2)));
            Ok((*at, pairs.collect::<Result<_>>()?))
        };
        all.iter().zip(sums).map(by_job).collect()
    }

    /// The plaintexts' points; zeros where there is none.
    fn points_of(&self, map: &PreparedSparse, basis: &Basis, plains: &[Option<usize>]) -> Result<PolyBatch<Rows>> {
        let n = self.params.n();
        let mut words = Zeroizing::new(vec![0i64; n * plains.len()]);
        for (out, plain) in words.chunks_exact_mut(n).zip(plains) {
            if let &Some(plain) = plain {
                map.plains[plain].write(out);
            }
        }
        PolyBatch::reduce(&self.device, basis, Integers::One(&words))?.into_rows()
    }

    /// Adds rows' sums, rotated, to P times their outputs over Q P, which are in the order of jobs.
    fn add_rows(&self, map: &PreparedSparse, sums: Vec<Sums>, totals: &mut [PolyBatch<Rows>]) -> Result<()> {
        let outputs = map.shape.outputs;
        let all = sums.into_iter().flat_map(|(at, sums)| {
            let row = &map.shape.rows[at];
            sums.into_iter().enumerate().map(move |(job, pair)| (job * outputs + row.output, row.giant, pair))
        });
        let rotated = each(&self.device, all.collect(), |(output, giant, pair)| {
            Ok((output, self.giant_step(map, pair, giant)?))
        })?;
        rotated.iter().try_for_each(|(output, pair)| totals[*output].add_assign(pair))
    }

    /// P times a row's sum, rotated, over Q P.
    fn giant_step(&self, map: &PreparedSparse, pair: PolyBatch<Rows>, giant: usize) -> Result<PolyBatch<Rows>> {
        if giant == 0 {
            return if map.undivided { Ok(pair) } else { self.times_p(&pair) };
        }
        let (first, second) = (pair.extract(0..1)?, pair.extract(1..2)?);
        let (first, second) =
            if map.undivided { (first, second.mod_down(map.level)?) } else { (self.times_p(&first)?, second) };
        let element = rotation_element(self.params.n(), giant as i64);
        let switched = self.keys()?.automorphism_of_sum(&first, &second, element);
        switched.map_err(|e| missing(giant as i64, map.level, &e))
    }

    /// An output at its scale, of P times it over Q P.
    fn finished(&self, map: &PreparedSparse, total: &PolyBatch<Rows>) -> Result<Ciphertext> {
        let (slots, kept) = (self.params.slots(), map.level - map.dropped);
        let out =
            |pair, scale| Ciphertext { pair, scale, slots, bound: map.bound, error: map.error, flood: 0.0 }.checked();
        if map.shape.folds.is_empty() {
            return out(total.mod_down(kept)?, map.target);
        }
        let basis = self.params.basis();
        let scale = (kept..map.level).fold(map.target, |scale, i| scale * basis.modulus(i).value() as f64);
        let mut sum = out(total.mod_down(map.level)?, scale)?;
        for &fold in &map.shape.folds {
            let rotated = self.rotate(&sum, fold as i64)?;
            sum.pair.add_assign(&rotated.pair)?;
        }
        out(sum.pair.mod_down(kept)?, map.target)
    }
}
