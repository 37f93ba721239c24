//! Updates as integers, and sums of integers as averages.
//!
//! With b the Plan's bits, c a tensor's clip, w = examples / n_max a client's weight, x = local - base:
//!
//! ```text
//! field 0    round(w 2^(b-1))
//! field 1    round(clipped entries / entries 2^b), at most 2^b - 1
//! the rest   v = round_ties_even(w x / c 2^(b-1)), held to [-2^(b-1), 2^(b-1) - 1], + 2^(b-1);    x held to [-c, c]
//! average    (sum v - |U| 2^(b-1)) c / sum of field 0
//! ```
//!
//! All of it is f64 arithmetic in a fixed order, so everybody who knows the sums finds the same average, bit for bit.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::plan::{Averaged, Plan};

/// Fields before the tensors'.
const HEAD: usize = 2;
/// Elements that are read at a time.
const CHUNK: usize = 1 << 12;
/// The share of clipped entries that is warned of.
const MOST_CLIPPED: f64 = 1e-3;

/// A client's update: local - base, tensor by tensor in the Plan's order.
pub trait Update: Sync {
    /// Elements `first..` of a tensor.
    fn read(&self, tensor: usize, first: usize, out: &mut [f64]);
}

/// Where averages go.
pub trait Target {
    /// Takes the average of elements `first..` of a tensor.
    fn write(&mut self, tensor: usize, first: usize, averages: &[f64]);
}

/// Whole tensors in order.
impl Update for Vec<Vec<f64>> {
    fn read(&self, tensor: usize, first: usize, out: &mut [f64]) {
        out.copy_from_slice(&self[tensor][first..first + out.len()]);
    }
}

/// Whole tensors in order, each as long as it is.
impl Target for Vec<Vec<f64>> {
    fn write(&mut self, tensor: usize, first: usize, averages: &[f64]) {
        self[tensor][first..first + averages.len()].copy_from_slice(averages);
    }
}

/// Where the tensors' elements lie among fields.
struct Places<'p> {
    tensors: &'p [Averaged],
    /// The first field of each.
    first: Vec<usize>,
}

impl<'p> Places<'p> {
    fn new(plan: &'p Plan) -> Self {
        let mut next = HEAD;
        let place = |t: &Averaged| {
            next += t.elements as usize;
            next - t.elements as usize
        };
        let first = plan.tensors.iter().map(place).collect();
        Self { tensors: &plan.tensors, first }
    }

    /// The pieces of fields `at..at + len`, `at` not below [`HEAD`]: (tensor, first element, elements).
    fn pieces(&self, mut at: usize, len: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let end = at + len;
        let mut tensor = self.first.partition_point(|first| *first <= at).saturating_sub(1);
        std::iter::from_fn(move || {
            while at < end && tensor < self.tensors.len() {
                let first = at - self.first[tensor];
                let count = (self.tensors[tensor].elements as usize).saturating_sub(first).min(end - at);
                let piece = (tensor, first, count);
                if first + count >= self.tensors[tensor].elements as usize {
                    tensor += 1;
                }
                at += count;
                if count > 0 {
                    return Some(piece);
                }
            }
            None
        })
    }
}

/// An update that was looked through, to be encoded piece by piece.
pub struct Encoder<'a, U: ?Sized> {
    places: Places<'a>,
    update: &'a U,
    /// Fields 0 and 1.
    head: [u32; HEAD],
    weight: f64,
    half: f64,
    /// Entries beyond the clip.
    pub clipped: usize,
    /// Entries of all tensors.
    pub entries: usize,
}

impl<'a, U: Update + ?Sized> Encoder<'a, U> {
    /// Of a client with so many examples.
    ///
    /// # Errors
    /// [`Error::Input`] for a count that the Plan has no room for, and for values that are not finite, naming the tensor.
    pub fn new(plan: &'a Plan, update: &'a U, examples: u64) -> Result<Self> {
        if !(1..=plan.most_examples).contains(&examples) {
            return Err(Error::Input(format!("examples: found {examples}, expected 1 to {}", plan.most_examples)));
        }
        let places = Places::new(plan);
        let clipped = (0..plan.tensors.len()).map(|t| clipped(plan, update, t)).sum::<Result<usize>>()?;
        let half = f64::from(1u32 << (plan.bits - 1));
        let weight = examples as f64 / plan.most_examples as f64;
        let entries = plan.fields() - HEAD;
        let share = (clipped as f64 / entries as f64 * 2.0 * half).round_ties_even().min(2.0 * half - 1.0);
        let head = [(weight * half).round_ties_even() as u32, share as u32];
        Ok(Self { places, update, head, weight, half, clipped, entries })
    }

    /// A warning where more than a thousandth was clipped.
    pub fn warning(&self) -> Option<String> {
        let share = self.clipped as f64 / self.entries as f64;
        (share > MOST_CLIPPED).then(|| {
            format!(
                "{} of {} entries of the update ({:.2} %) were clipped: a larger --clip keeps them",
                self.clipped,
                self.entries,
                share * 100.0
            )
        })
    }

    /// Writes fields `at..`.
    pub fn fill(&self, at: usize, row: &mut [u32]) {
        let (head, rest) = row.split_at_mut(HEAD.saturating_sub(at).min(row.len()));
        head.iter_mut().enumerate().for_each(|(i, field)| *field = self.head[at + i]);
        let (mut done, mut values) = (0, [0.0; CHUNK]);
        for (tensor, first, count) in self.places.pieces(at.max(HEAD), rest.len()) {
            let clip = self.places.tensors[tensor].clip;
            let scale = self.weight / clip * self.half;
            for start in (0..count).step_by(CHUNK) {
                let values = &mut values[..CHUNK.min(count - start)];
                self.update.read(tensor, first + start, values);
                for (field, x) in rest[done..].iter_mut().zip(&*values) {
                    let v = (x.clamp(-clip, clip) * scale).round_ties_even();
                    *field = (v.clamp(-self.half, self.half - 1.0) + self.half) as u32;
                }
                done += values.len();
            }
        }
    }
}

/// Entries of a tensor beyond its clip.
fn clipped<U: Update + ?Sized>(plan: &Plan, update: &U, tensor: usize) -> Result<usize> {
    let Averaged { name, elements, clip } = &plan.tensors[tensor];
    let elements = *elements as usize;
    let part = |number: usize| {
        let mut values = [0.0; CHUNK];
        let values = &mut values[..CHUNK.min(elements - number * CHUNK)];
        update.read(tensor, number * CHUNK, values);
        match values.iter().position(|x| !x.is_finite()) {
            Some(at) => {
                let (found, at) = (values[at], number * CHUNK + at);
                Err(Error::Input(format!("tensor {name:?}: element {at}: found {found}, expected a finite number")))
            }
            None => Ok(values.iter().filter(|x| x.abs() > *clip).count()),
        }
    };
    (0..elements.div_ceil(CHUNK)).into_par_iter().map(part).sum()
}

/// Sums that are made averages as they come, in order.
pub struct Decoder<'a, T: ?Sized> {
    places: Places<'a>,
    target: &'a mut T,
    half: f64,
    uploads: usize,
    /// The sum of the weights, in units of 2^-(b-1).
    weights: f64,
    /// The mean share of clipped entries.
    pub clipped: f64,
    /// The sum of the squares of each tensor's average.
    squares: Vec<f64>,
}

impl<'a, T: Target + ?Sized> Decoder<'a, T> {
    /// For sums of so many uploads.
    pub fn new(plan: &'a Plan, uploads: usize, target: &'a mut T) -> Self {
        let half = f64::from(1u32 << (plan.bits - 1));
        let squares = vec![0.0; plan.tensors.len()];
        Self { places: Places::new(plan), target, half, uploads, weights: 0.0, clipped: 0.0, squares }
    }

    /// Takes the sums of fields `at..`; what is beyond the last field counts for nothing.
    pub fn take(&mut self, at: usize, row: &[u32]) {
        let (head, rest) = row.split_at(HEAD.saturating_sub(at).min(row.len()));
        for (i, sum) in head.iter().enumerate() {
            match at + i {
                0 => self.weights = f64::from(*sum),
                _ => self.clipped = f64::from(*sum) / (2.0 * self.half * self.uploads as f64),
            }
        }
        let offset = self.half * self.uploads as f64;
        let mut done = 0;
        let mut averages = Vec::new();
        for (tensor, first, count) in self.places.pieces(at.max(HEAD), rest.len()) {
            let clip = self.places.tensors[tensor].clip;
            averages.clear();
            averages
                .extend(rest[done..done + count].iter().map(|&sum| (f64::from(sum) - offset) * clip / self.weights));
            self.squares[tensor] += averages.iter().map(|x| x * x).sum::<f64>();
            self.target.write(tensor, first, &averages);
            done += count;
        }
    }

    /// What the next round's clips should be: the power of two above 8 times the root mean square of each tensor's
    /// average, or what it was for a tensor that didn't change.
    ///
    /// # Errors
    /// [`Error::Message`] where the weights come to nothing.
    pub fn finish(self) -> Result<Vec<f64>> {
        if self.weights == 0.0 {
            return Err(Error::message("the sum of the clients' weights is 0"));
        }
        let next = |(tensor, squares): (&Averaged, &f64)| {
            let root = (squares / tensor.elements.max(1) as f64).sqrt();
            let above = (8.0 * root).log2().floor() + 1.0;
            if root > 0.0 && above.abs() < 500.0 { above.exp2() } else { tensor.clip }
        };
        Ok(self.places.tensors.iter().zip(&self.squares).map(next).collect())
    }
}
