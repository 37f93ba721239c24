//! Sparse maps between lists of ciphertexts: a layer of a network by its terms.
//!
//! A term takes a source, rotates it by a baby step, and multiplies it by a plaintext; the terms of a row are summed,
//! and the sum rotated by the row's giant step is added to an output:
//!
//! ```text
//! y_o = sum over rows (o, g) of rot_g( sum over terms of the row of p rot_b(x_i) )
//! ```
//!
//! Each source is decomposed once. Rows that read the same rotated sources are one matrix product of plaintexts, which
//! are kept as half of their integer coefficients and transformed block by block as they are needed, times rotated
//! sources, of all jobs side by side: a job is the same map of other sources, as a plane is of a volume. Baby steps stay
//! over Q P where they are many beside the terms (double hoisting), else they are divided by P, and plaintexts need the
//! chain's primes alone. One division by P and the primes that the map drops takes the sum of an output to its scale.

use std::collections::{BTreeSet, HashMap};

use zeroize::Zeroizing;

use super::ciphertext::Ciphertext;
use super::encoding::{Encoder, Words};
use super::evaluator::Evaluator;
use super::params::Params;
use super::rotation::{Rotations, missing};
use crate::error::{Error, Result};
use crate::poly::{PolyBatch, Rows};
use crate::ring::Basis;
use crate::rlwe::key_switch::rotation_element;
use crate::{GemmShape, Integers};

/// Plaintexts and rotated sources of one matrix product at most: what a GPU binds holds them.
const BLOCK: usize = 16;

/// A plaintext times a rotated source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// The source.
    pub source: usize,
    /// It is rotated to the left by so many slots.
    pub baby: usize,
    /// The plaintext, by its number.
    pub plain: usize,
}

/// Terms whose sum is rotated by a giant step and added to an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The output.
    pub output: usize,
    /// The rotation to the left.
    pub giant: usize,
    /// What is summed.
    pub terms: Vec<Term>,
}

/// A sparse map without its numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sparse {
    /// Sources of a job.
    pub sources: usize,
    /// Outputs of a job.
    pub outputs: usize,
    /// What leads to the outputs.
    pub rows: Vec<Row>,
    /// Rotations by which an output is then added to itself, one after the other.
    pub folds: Vec<usize>,
}

/// A real plaintext by half its coefficients: those of real slots are a_(n - i) = -a_i.
pub struct Mirrored(Half);

enum Half {
    Narrow(Vec<i32>),
    Wide(Vec<i64>),
}

impl Mirrored {
    /// Of real values at a scale.
    ///
    /// # Errors
    /// Those of [`Encoder::real`]; [`Error::Parameters`] for coefficients of two words.
    pub fn encode(encoder: &Encoder, values: &[f64], scale: f64) -> Result<Self> {
        let text = encoder.real(values, scale)?;
        let Words::One(words) = &text.words else {
            return Err(Error::Parameters(format!("weights at scale 2^{:.1}: more than a word", scale.log2())));
        };
        let half = &words[..words.len() / 2];
        let narrow: Option<Vec<i32>> = half.iter().map(|&x| x.try_into().ok()).collect();
        Ok(Self(narrow.map_or_else(|| Half::Wide(half.to_vec()), Half::Narrow)))
    }

    /// All coefficients.
    fn write(&self, out: &mut [i64]) {
        let half = out.len() / 2;
        match &self.0 {
            Half::Narrow(words) => out.iter_mut().zip(words).for_each(|(o, &w)| *o = w.into()),
            Half::Wide(words) => out[..half].copy_from_slice(words),
        }
        out[half] = 0;
        (1..half).for_each(|i| out[2 * half - i] = -out[i]);
    }

    /// Bytes in memory.
    pub fn memory(&self) -> usize {
        match &self.0 {
            Half::Narrow(words) => 4 * words.len(),
            Half::Wide(words) => 8 * words.len(),
        }
    }
}

/// Rows that read the same rotated sources, or nearly so.
struct Group {
    /// Source and baby step.
    inner: Vec<(usize, usize)>,
    /// Row, and for each of `inner` its plaintext.
    rows: Vec<(usize, Vec<Option<usize>>)>,
}

/// A sparse map with its plaintexts, for sources of one level and results of one scale.
pub struct PreparedSparse {
    shape: Sparse,
    groups: Vec<Group>,
    plains: Vec<Mirrored>,
    level: usize,
    dropped: usize,
    target: f64,
    bound: f64,
    error: f64,
    /// Baby steps stay over Q P.
    undivided: bool,
}

/// What results of a map are: scale, the primes that the map drops, what no value exceeds, and the predicted error.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Scale.
    pub scale: f64,
    /// Primes dropped.
    pub dropped: usize,
    /// What no value exceeds.
    pub bound: f64,
    /// Predicted standard deviation of a value's error.
    pub error: f64,
}

impl Sparse {
    /// The rotations that it takes.
    pub fn rotations(&self) -> Rotations {
        let rows = self.rows.iter().flat_map(|row| row.terms.iter().map(|t| t.baby).chain([row.giant]));
        let steps: BTreeSet<usize> = rows.chain(self.folds.iter().copied()).filter(|&step| step != 0).collect();
        Rotations::exact(&steps.into_iter().map(|step| step as i64).collect::<Vec<_>>())
    }

    /// (source, baby step) of all terms but those that are not rotated.
    fn babies(&self) -> BTreeSet<(usize, usize)> {
        let terms = self.rows.iter().flat_map(|row| &row.terms);
        terms.filter(|t| t.baby != 0).map(|t| (t.source, t.baby)).collect()
    }

    /// Terms of all rows.
    pub fn terms(&self) -> usize {
        self.rows.iter().map(|row| row.terms.len()).sum()
    }

    /// Rows together where little of their union is missing of each.
    fn groups(&self) -> Vec<Group> {
        // The union, the rows, and the terms of all of them.
        type Set = (BTreeSet<(usize, usize)>, Vec<usize>, usize);
        let mut sets: Vec<Set> = Vec::new();
        for (at, row) in self.rows.iter().enumerate() {
            let own: BTreeSet<_> = row.terms.iter().map(|t| (t.source, t.baby)).collect();
            let fits =
                |(set, rows, terms): &Set| 4 * set.union(&own).count() * (rows.len() + 1) <= 5 * (terms + own.len());
            match sets.iter_mut().find(|group| fits(group)) {
                Some((set, rows, terms)) => {
                    *terms += own.len();
                    set.extend(own);
                    rows.push(at);
                }
                None => {
                    let count = own.len();
                    sets.push((own, vec![at], count));
                }
            }
        }
        let group = |(set, rows, _): Set| {
            let inner: Vec<_> = set.into_iter().collect();
            let plains = |at: usize| {
                let of: HashMap<_, _> = self.rows[at].terms.iter().map(|t| ((t.source, t.baby), t.plain)).collect();
                (at, inner.iter().map(|key| of.get(key).copied()).collect())
            };
            let rows = rows.into_iter().map(plains).collect();
            Group { inner, rows }
        };
        sets.into_iter().map(group).collect()
    }
}

impl PreparedSparse {
    /// With plaintexts in the order of their numbers, for sources at `level`.
    ///
    /// # Errors
    /// [`Error::Shape`] where numbers don't fit together, [`Error::Parameters`] unless a prime is left.
    pub fn new(params: &Params, shape: Sparse, plains: Vec<Mirrored>, level: usize, to: Target) -> Result<Self> {
        let terms = || shape.rows.iter().flat_map(|row| &row.terms);
        if terms().any(|t| t.source >= shape.sources || t.plain >= plains.len())
            || shape.rows.iter().any(|row| row.output >= shape.outputs)
        {
            return Err(Error::Shape("a sparse map of more sources, plaintexts or outputs than there are".to_owned()));
        }
        if to.dropped == 0 || to.dropped >= level || level > params.basis().len() {
            return Err(Error::Parameters(format!("a map that drops {} primes at level {level}", to.dropped)));
        }
        let special = params.special().map_or(0, Basis::len);
        let undivided = shape.terms() * special <= 4 * (special + level) * shape.babies().len();
        let Target { scale: target, dropped, bound, error } = to;
        Ok(Self { groups: shape.groups(), shape, plains, level, dropped, target, bound, error, undivided })
    }

    /// What it computes.
    pub fn shape(&self) -> &Sparse {
        &self.shape
    }

    /// Bytes of its plaintexts.
    pub fn memory(&self) -> usize {
        self.plains.iter().map(Mirrored::memory).sum()
    }
}

/// Rotated sources, by where the source lies in memory and its baby step.
type Rotated = HashMap<(usize, usize), PolyBatch<Rows>>;

fn place(x: &Ciphertext) -> usize {
    std::ptr::from_ref(x) as usize
}

impl Evaluator {
    /// The outputs of each job, whose sources some may be missing of: those count as zeros.
    ///
    /// # Errors
    /// [`Error::Parameters`] for sources of another level or number of slots, without a key for a rotation, and where
    /// a result may wrap around; [`Error::Shape`] for another number of sources.
    pub fn sparse(&self, map: &PreparedSparse, jobs: &[Vec<Option<&Ciphertext>>]) -> Result<Vec<Vec<Ciphertext>>> {
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
            let sums = self.sums_of(map, group, jobs, &rotated)?;
            for ((at, _), of_row) in group.rows.iter().zip(&sums) {
                let row = &map.shape.rows[*at];
                for job in 0..jobs.len() {
                    let pair = of_row.extract(2 * job..2 * job + 2)?;
                    let total = &mut totals[job * map.shape.outputs + row.output];
                    self.add_row(map, &pair, row.giant, total)?;
                }
            }
        }
        drop(rotated);
        let mut done = totals.into_iter().map(|total| self.finished(map, &total));
        (0..jobs.len()).map(|_| done.by_ref().take(map.shape.outputs).collect()).collect()
    }

    /// What the terms read: over Q P, P times it, or over Q.
    fn rotated_sources(&self, map: &PreparedSparse, jobs: &[Vec<Option<&Ciphertext>>]) -> Result<Rotated> {
        let mut wanted: HashMap<usize, (&Ciphertext, BTreeSet<usize>)> = HashMap::new();
        for t in map.shape.rows.iter().flat_map(|row| &row.terms) {
            for x in jobs.iter().filter_map(|job| job[t.source]) {
                wanted.entry(place(x)).or_insert_with(|| (x, BTreeSet::new())).1.insert(t.baby);
            }
        }
        let mut rotated = Rotated::new();
        for (at, (x, babies)) in wanted {
            let hoisted = if babies.iter().any(|&b| b != 0) { Some(self.hoist(x)?) } else { None };
            for baby in babies {
                let element = rotation_element(self.params.n(), baby as i64);
                let pair = match (&hoisted, map.undivided) {
                    (Some(h), true) if baby != 0 => {
                        let pair = self.keys()?.whole_automorphism_times_p(&h.hoisted, element);
                        pair.map_err(|e| missing(baby as i64, x.level(), &e))?
                    }
                    (Some(h), false) if baby != 0 => self.rotated(&h.hoisted, baby as i64)?,
                    (_, true) => self.times_p(&x.pair)?,
                    (_, false) => x.pair.duplicate()?,
                };
                rotated.insert((at, baby), pair);
            }
        }
        Ok(rotated)
    }

    /// P times two polynomials over Q, over Q P.
    fn times_p(&self, pair: &PolyBatch<Rows>) -> Result<PolyBatch<Rows>> {
        let level = pair.basis().len();
        let mut out = PolyBatch::zeros(&self.device, &self.params.extended(level)?, pair.batch())?;
        out.add_scaled(pair, &self.params.special_scalars(level))?;
        Ok(out)
    }

    /// For each row of a group the sums of its terms, two polynomials a job.
    fn sums_of(
        &self,
        map: &PreparedSparse,
        group: &Group,
        jobs: &[Vec<Option<&Ciphertext>>],
        rotated: &Rotated,
    ) -> Result<Vec<PolyBatch<Rows>>> {
        let basis =
            if map.undivided { self.params.extended(map.level)? } else { self.params.basis().level(map.level)? };
        let zero = PolyBatch::zeros(&self.device, &basis, 2)?;
        let cols = 2 * jobs.len();
        let mut sums: Vec<Option<PolyBatch<Rows>>> = group.rows.iter().map(|_| None).collect();
        for (block, inner) in group.inner.chunks(BLOCK).enumerate() {
            let mut sources = Vec::with_capacity(inner.len() * jobs.len());
            for &(source, baby) in inner {
                sources.extend(jobs.iter().map(|job| job[source].map_or(&zero, |x| &rotated[&(place(x), baby)])));
            }
            let sources = PolyBatch::stack(&sources)?;
            let rows = (BLOCK / inner.len()).max(1);
            for (i, part) in group.rows.chunks(rows).enumerate() {
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
        Ok(sums.into_iter().flatten().collect())
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

    /// Adds a row's sum, rotated, to P times its output over Q P.
    fn add_row(
        &self,
        map: &PreparedSparse,
        pair: &PolyBatch<Rows>,
        giant: usize,
        total: &mut PolyBatch<Rows>,
    ) -> Result<()> {
        if giant == 0 {
            return match map.undivided {
                true => total.add_assign(pair),
                false => total.add_scaled(pair, &self.params.special_scalars(map.level)),
            };
        }
        let (first, second) = (pair.extract(0..1)?, pair.extract(1..2)?);
        let (first, second) =
            if map.undivided { (first, second.mod_down(map.level)?) } else { (self.times_p(&first)?, second) };
        let element = rotation_element(self.params.n(), giant as i64);
        let switched = self.keys()?.automorphism_of_sum(&first, &second, element);
        total.add_assign(&switched.map_err(|e| missing(giant as i64, map.level, &e))?)
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
