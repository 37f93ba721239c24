//! Sparse maps between lists of ciphertexts: a layer of a network by its terms.
//!
//! A term takes a source, rotates it by a baby step, and multiplies it by a plaintext; the terms of a row are summed,
//! and the sum rotated by the row's giant step is added to an output:
//!
//! ```text
//! y_o = sum over rows (o, g) of rot_g( sum over terms of the row of p rot_b(x_i) )
//! ```
//!
//! Each source is decomposed once. Plaintexts are kept as half of their integer coefficients and transformed as they are
//! needed, once for all jobs: a job is the same map of other sources, as a plane is of a volume. Baby steps stay over Q P
//! where they are many beside the terms (double hoisting), else they are divided by P, and plaintexts need the chain's
//! primes alone. One division by P and the primes that the map drops takes the sum of an output to its scale. What a map
//! is, is here; `sparse_run` computes it.

use std::collections::{BTreeSet, HashMap};

use super::encoding::{Encoder, Words};
use super::params::Params;
use super::rotation::Rotations;
use crate::backend::PART_BITS;
use crate::error::{Error, Result};
use crate::ring::Basis;

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

/// A real plaintext by half its coefficients: those of real slots are a_(n - i) = -a_i. Wide ones are cut in parts.
pub struct Mirrored {
    parts: Vec<Vec<i32>>,
}

/// Coefficients in parts of which part k counts 2^([`PART_BITS`] k): one where all fit.
fn parts(words: &[i64]) -> Vec<Vec<i32>> {
    if let Some(narrow) = words.iter().map(|&x| x.try_into().ok()).collect() {
        return vec![narrow];
    }
    let low = |x: i64| (x << (64 - PART_BITS)) >> (64 - PART_BITS);
    let first = words.iter().map(|&x| low(x) as i32).collect();
    let rest: Vec<i64> = words.iter().map(|&x| (x - low(x)) >> PART_BITS).collect();
    [vec![first], parts(&rest)].concat()
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
        Ok(Self { parts: parts(&words[..words.len() / 2]) })
    }

    /// By parts the coefficients of the first half.
    pub(super) fn parts(&self) -> &[Vec<i32>] {
        &self.parts
    }

    /// All coefficients.
    pub(super) fn write(&self, out: &mut [i64]) {
        let half = out.len() / 2;
        out[..half].fill(0);
        for (k, part) in self.parts.iter().enumerate() {
            let add = |(o, &w): (&mut i64, &i32)| *o += i64::from(w) << (PART_BITS * k as u32);
            out.iter_mut().zip(part).for_each(add);
        }
        out[half] = 0;
        (1..half).for_each(|i| out[2 * half - i] = -out[i]);
    }

    /// Bytes in memory.
    pub fn memory(&self) -> usize {
        self.parts.iter().map(|part| size_of_val(&part[..])).sum()
    }
}

/// Rows that read the same rotated sources, or nearly so.
pub(super) struct Group {
    /// Source and baby step.
    pub(super) inner: Vec<(usize, usize)>,
    pub(super) rows: Vec<GroupRow>,
}

/// A row, and for each source and step of its group the plaintext.
pub(super) type GroupRow = (usize, Vec<Option<usize>>);

/// A sparse map with its plaintexts, for sources of one level and results of one scale.
pub struct PreparedSparse {
    pub(super) shape: Sparse,
    pub(super) groups: Vec<Group>,
    pub(super) plains: Vec<Mirrored>,
    pub(super) level: usize,
    pub(super) dropped: usize,
    pub(super) target: f64,
    pub(super) bound: f64,
    pub(super) error: f64,
    /// Baby steps stay over Q P.
    pub(super) undivided: bool,
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
