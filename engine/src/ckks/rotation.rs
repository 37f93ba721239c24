//! Rotations, conjugation, and sums over slots.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::ciphertext::Ciphertext;
use super::evaluator::Evaluator;
use super::noise;
use super::params::Params;
use crate::error::{Error, Result};
use crate::poly::{PolyBatch, Rows};
use crate::rlwe::key_switch::{conjugation_element, rotation_element};
use crate::rlwe::{Hoisted, KeyRequest};

/// Which rotations keys are made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotations(BTreeSet<i64>);

impl Rotations {
    /// By exactly these steps, to the left.
    pub fn exact(steps: &[i64]) -> Self {
        Self(steps.iter().copied().collect())
    }

    /// By all powers of two below `slots` in both directions, of which any rotation is composed.
    pub fn powers(slots: usize) -> Self {
        let powers = (0..slots.max(1).ilog2()).flat_map(|i| [1 << i, -(1i64 << i)]);
        Self(powers.collect())
    }

    /// The steps.
    pub fn steps(&self) -> impl Iterator<Item = i64> {
        self.0.iter().copied()
    }

    /// The keys for them at a level and below.
    pub fn request(&self, params: &Params, level: usize) -> KeyRequest {
        let element = |step| rotation_element(params.n(), step);
        self.0.iter().fold(KeyRequest::new(), |request, &step| request.galois(element(step), level))
    }
}

impl KeyRequest {
    /// And for conjugation.
    pub fn conjugation(self, params: &Params, level: usize) -> Self {
        self.galois(conjugation_element(params.n()), level)
    }

    /// And for what another asks for.
    pub fn and(self, other: &Self) -> Self {
        let all = other.elements().iter().fold(self, |request, (&element, &level)| request.galois(element, level));
        other.relinearisation_level().into_iter().fold(all, |request, level| request.relinearisation(level))
    }
}

/// A ciphertext decomposed once, to be rotated many times.
pub struct HoistedCiphertext<'a> {
    source: &'a Ciphertext,
    pub(crate) hoisted: Hoisted,
}

impl Evaluator {
    /// Decomposes for rotations.
    pub fn hoist<'a>(&self, a: &'a Ciphertext) -> Result<HoistedCiphertext<'a>> {
        Ok(HoistedCiphertext { source: a, hoisted: Hoisted::new(&self.params, &a.pair)? })
    }

    /// Value i of the result is value i + `step`, counted around.
    ///
    /// # Errors
    /// [`Error::Parameters`] without a key for exactly this rotation: none is composed of others silently.
    pub fn rotate(&self, a: &Ciphertext, step: i64) -> Result<Ciphertext> {
        if step.rem_euclid(a.slots as i64) == 0 {
            return a.duplicate();
        }
        self.rotate_hoisted(&self.hoist(a)?, step)
    }

    /// [`Self::rotate`] of what is decomposed.
    ///
    /// # Errors
    /// Those of [`Self::rotate`].
    pub fn rotate_hoisted(&self, a: &HoistedCiphertext<'_>, step: i64) -> Result<Ciphertext> {
        if step.rem_euclid(a.source.slots as i64) == 0 {
            return a.source.duplicate();
        }
        let pair = self.rotated(&a.hoisted, step)?;
        self.switched(a.source, pair)
    }

    pub(crate) fn rotated(&self, hoisted: &Hoisted, step: i64) -> Result<PolyBatch<Rows>> {
        let element = rotation_element(self.params.n(), step);
        self.keys()?.automorphism(hoisted, element).map_err(|e| missing(step, hoisted.level(), &e))
    }

    fn switched(&self, source: &Ciphertext, pair: PolyBatch<Rows>) -> Result<Ciphertext> {
        Ok(source.with(pair)?.and_error(noise::switching(&self.params, source.level(), source.scale)))
    }

    /// The rotations by each step, decomposed once.
    ///
    /// # Errors
    /// Those of [`Self::rotate`].
    pub fn rotate_many(&self, a: &HoistedCiphertext<'_>, steps: &[i64]) -> Result<Vec<Ciphertext>> {
        steps.iter().map(|&step| self.rotate_hoisted(a, step)).collect()
    }

    /// The rotation by the fewest hops over the keys at hand, and how many those were.
    ///
    /// # Errors
    /// [`Error::Parameters`] where no sequence of them leads there.
    pub fn rotate_composed(&self, a: &Ciphertext, step: i64) -> Result<(Ciphertext, usize)> {
        let hops = self.hops(a, step)?;
        let mut out = a.duplicate()?;
        for &hop in &hops {
            out = self.rotate(&out, hop)?;
        }
        Ok((out, hops.len()))
    }

    /// The steps of the fewest rotations with keys at the ciphertext's level that come to `step`.
    fn hops(&self, a: &Ciphertext, step: i64) -> Result<Vec<i64>> {
        let (slots, keys) = (a.slots as i64, self.keys()?.request());
        let goal = step.rem_euclid(slots);
        // With repeated values, steps that differ by a multiple of the slots are one.
        let steps = (0..self.params.slots() as i64).map(|step| (step, rotation_element(self.params.n(), step)));
        let usable = |element: &usize| keys.elements().get(element).is_some_and(|&level| level >= a.level());
        let steps: Vec<i64> = steps.filter(|(_, element)| usable(element)).map(|(step, _)| step).collect();
        let mut from: HashMap<i64, (i64, i64)> = HashMap::from([(0, (0, 0))]);
        let mut queue = VecDeque::from([0]);
        while let Some(at) = queue.pop_front() {
            if at == goal {
                let mut path = Vec::new();
                let mut at = goal;
                while at != 0 {
                    let (before, hop) = from[&at];
                    path.push(hop);
                    at = before;
                }
                return Ok(path);
            }
            for &hop in &steps {
                let next = (at + hop).rem_euclid(slots);
                from.entry(next).or_insert_with(|| {
                    queue.push_back(next);
                    (at, hop)
                });
            }
        }
        Err(Error::Parameters(format!("no rotations with keys at level {} come to {step}", a.level())))
    }

    /// The complex conjugates.
    ///
    /// # Errors
    /// [`Error::Parameters`] without the key for it at this level.
    pub fn conjugate(&self, a: &Ciphertext) -> Result<Ciphertext> {
        let hoisted = self.hoist(a)?.hoisted;
        let pair = self.keys()?.automorphism(&hoisted, conjugation_element(self.params.n()));
        let level = a.level();
        self.switched(a, pair.map_err(|e| Error::Parameters(format!("conjugation at level {level}: {e}")))?)
    }

    /// In slot i the sum of values i..i + `count`, counted around, by log2 `count` rotations: by 1, 2, 4 and so on.
    ///
    /// # Errors
    /// [`Error::Parameters`] unless `count` is a power of two up to the slots, and without a key for each.
    pub fn sum(&self, a: &Ciphertext, count: usize) -> Result<Ciphertext> {
        if !count.is_power_of_two() || count > a.slots {
            return Err(Error::Parameters(format!("a sum of {count} of {} slots: a power of two", a.slots)));
        }
        let mut sum = a.duplicate()?;
        let mut step = 1;
        while step < count {
            // The errors of different slots are independent, the bounds are not.
            let error = sum.error;
            let rotated = self.rotate(&sum, step as i64)?;
            sum = Ciphertext { error: noise::together(&[error, rotated.error]), ..self.add(&sum, &rotated)? };
            step *= 2;
        }
        Ok(sum)
    }

    /// The steps whose keys [`Self::sum`] needs.
    pub fn sum_rotations(count: usize) -> Rotations {
        Rotations((0..count.max(1).ilog2()).map(|i| 1 << i).collect())
    }
}

pub(super) fn missing(step: i64, level: usize, why: &Error) -> Error {
    Error::Parameters(format!("rotation by {step} at level {level}: {why}"))
}
