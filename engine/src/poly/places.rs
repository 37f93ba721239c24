//! Where the elements of a tensor lie among the coefficients of polynomials, as data: what goes into a batch of
//! polynomials and what is taken out of one crosses the border of this crate in one piece.

use std::ops::Range;

use crate::error::{Error, Result};

/// A box of elements of a tensor: element (i, j, k), `i < len[0]`, `j < len[1]`, `k < len[2]`, is number
/// `index + i stride[0] + j stride[1] + k stride[2]` of the tensor, in coefficient
/// `place + i step[0] + j step[1] + k step[2]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The polynomial.
    pub polynomial: usize,
    /// The first coefficient.
    pub place: usize,
    /// From one coefficient to the next, each dimension.
    pub step: [usize; 3],
    /// The first element.
    pub index: usize,
    /// From one element to the next, each dimension.
    pub stride: [usize; 3],
    /// Elements, each dimension; none is 0.
    pub len: [usize; 3],
}

impl Run {
    /// `len` neighbours at neighbouring coefficients.
    pub fn line(polynomial: usize, place: usize, index: usize, len: usize) -> Self {
        Self { polynomial, place, step: [1; 3], index, stride: [1; 3], len: [1, 1, len] }
    }

    /// Elements.
    pub fn count(&self) -> usize {
        self.len.iter().product()
    }

    /// The first coefficient and element of each line of `len[2]`.
    fn lines(&self) -> impl Iterator<Item = (usize, usize)> {
        let Self { place, step, index, stride, len, .. } = *self;
        (0..len[0]).flat_map(move |i| {
            (0..len[1]).map(move |j| (place + i * step[0] + j * step[1], index + i * stride[0] + j * stride[1]))
        })
    }

    /// The last of numbers that begin at `first` and go by `by`; none beyond what a word holds.
    fn last(&self, first: usize, by: [usize; 3]) -> Option<usize> {
        by.iter()
            .zip(self.len)
            .try_fold(first, |last, (by, len)| last.checked_add(by.checked_mul(len.checked_sub(1)?)?))
    }
}

/// The runs of each of some polynomials of n coefficients. An element may lie in several; coefficients outside of all
/// runs are 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    n: usize,
    elements: usize,
    runs: Vec<Run>,
    /// Where the runs of each polynomial begin, and the end.
    starts: Vec<usize>,
}

impl Places {
    /// Of a tensor of `elements` elements in `polynomials` polynomials, with the runs in the order of the polynomials.
    ///
    /// # Errors
    /// [`Error::Shape`] for runs that are empty, out of order, or beyond the polynomials or the tensor.
    pub fn new(n: usize, elements: usize, polynomials: usize, runs: Vec<Run>) -> Result<Self> {
        let mut starts = Vec::with_capacity(polynomials + 1);
        for (at, run) in runs.iter().enumerate() {
            let inside = |last: Option<usize>, end: usize| last.is_some_and(|last| last < end);
            let fits = inside(run.last(run.place, run.step), n)
                && inside(run.last(run.index, run.stride), elements)
                && run.polynomial < polynomials
                && run.polynomial + 1 >= starts.len();
            if !fits {
                let bounds = format!("{polynomials} polynomials of {n} coefficients for {elements} elements");
                return Err(Error::Shape(format!("run {at}, {run:?}, in {bounds}")));
            }
            starts.resize(run.polynomial + 1, at);
        }
        starts.resize(polynomials + 1, runs.len());
        Ok(Self { n, elements, runs, starts })
    }

    /// Every coefficient of every polynomial, one after the other.
    pub fn whole(n: usize, polynomials: usize) -> Self {
        let runs = (0..polynomials).map(|i| Run::line(i, 0, i * n, n)).collect();
        Self { n, elements: n * polynomials, runs, starts: (0..=polynomials).collect() }
    }

    /// Coefficients of a polynomial.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Elements of the tensor.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// Polynomials.
    pub fn polynomials(&self) -> usize {
        self.starts.len() - 1
    }

    /// The runs of all polynomials.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The runs of one polynomial.
    pub fn of(&self, polynomial: usize) -> &[Run] {
        &self.runs[self.starts[polynomial]..self.starts[polynomial + 1]]
    }

    /// Elements in one polynomial.
    pub fn count(&self, polynomial: usize) -> usize {
        self.of(polynomial).iter().map(Run::count).sum()
    }

    /// Some of the polynomials, numbered from 0.
    pub fn part(&self, polynomials: Range<usize>) -> Self {
        let runs = &self.runs[self.starts[polynomials.start]..self.starts[polynomials.end]];
        let runs = runs.iter().map(|run| Run { polynomial: run.polynomial - polynomials.start, ..*run }).collect();
        let first = self.starts[polynomials.start];
        let starts = self.starts[polynomials.start..=polynomials.end].iter().map(|start| start - first).collect();
        Self { runs, starts, ..*self }
    }

    /// Whether some coefficient stands for two elements, so that one of them would be lost.
    pub fn collide(&self) -> bool {
        (0..self.polynomials()).any(|polynomial| {
            let mut taken = vec![false; self.n];
            let runs = self.of(polynomial).iter();
            let mut places = runs.flat_map(|run| {
                run.lines().flat_map(move |(at, _)| (0..run.len[2]).map(move |k| at + k * run.step[2]))
            });
            places.any(|place| std::mem::replace(&mut taken[place], true))
        })
    }

    /// Writes the elements of one polynomial to their coefficients, and nothing to the others.
    pub fn gather<T: Copy>(&self, polynomial: usize, tensor: &[T], poly: &mut [T]) {
        for run in self.of(polynomial) {
            let (step, stride, len) = (run.step[2], run.stride[2], run.len[2]);
            for (place, index) in run.lines() {
                copy(&tensor[index..], stride, &mut poly[place..], step, len);
            }
        }
    }

    /// Brings the coefficients of one polynomial to their elements.
    pub fn scatter<T: Copy>(&self, polynomial: usize, poly: &[T], tensor: &mut [T]) {
        for run in self.of(polynomial) {
            let (step, stride, len) = (run.step[2], run.stride[2], run.len[2]);
            for (place, index) in run.lines() {
                copy(&poly[place..], step, &mut tensor[index..], stride, len);
            }
        }
    }

    /// The coefficients of one polynomial that stand for elements, in the order of its runs.
    pub fn pick<T: Copy + Default>(&self, polynomial: usize, poly: &[T], picked: &mut [T]) {
        let mut at = 0;
        for run in self.of(polynomial) {
            for (place, _) in run.lines() {
                copy(&poly[place..], run.step[2], &mut picked[at..], 1, run.len[2]);
                at += run.len[2];
            }
        }
    }

    /// The way back of [`Self::pick`], to coefficients.
    pub fn put<T: Copy>(&self, polynomial: usize, picked: &[T], poly: &mut [T]) {
        let mut at = 0;
        for run in self.of(polynomial) {
            for (place, _) in run.lines() {
                copy(&picked[at..], 1, &mut poly[place..], run.step[2], run.len[2]);
                at += run.len[2];
            }
        }
    }

    /// Brings what [`Self::pick`] picked to its elements.
    pub fn spread<T: Copy>(&self, polynomial: usize, picked: &[T], tensor: &mut [T]) {
        let mut at = 0;
        for run in self.of(polynomial) {
            for (_, index) in run.lines() {
                copy(&picked[at..], 1, &mut tensor[index..], run.stride[2], run.len[2]);
                at += run.len[2];
            }
        }
    }
}

/// `len` values, `from_step` apart, to places `to_step` apart.
#[inline]
fn copy<T: Copy>(from: &[T], from_step: usize, to: &mut [T], to_step: usize, len: usize) {
    if (from_step, to_step) == (1, 1) {
        return to[..len].copy_from_slice(&from[..len]);
    }
    // A step of 0 stands for one place, as `step_by` has no such.
    let (from_step, to_step) = (from_step.max(1), to_step.max(1));
    to.iter_mut().step_by(to_step).zip(from.iter().step_by(from_step)).take(len).for_each(|(to, from)| *to = *from);
}

/// Values of a tensor, to be brought to their coefficients.
#[derive(Clone, Copy)]
pub struct Gather<'a> {
    /// Where they go.
    pub places: &'a Places,
    /// The tensor.
    pub values: &'a [u32],
}

impl Gather<'_> {
    /// # Errors
    /// [`Error::Shape`] where the polynomials or the tensor have other sizes than the places say.
    pub(crate) fn check(&self, n: usize, polynomials: usize) -> Result<()> {
        check(self.places, n, polynomials, self.values.len())
    }

    /// Writes polynomial `i`, all of it.
    pub(crate) fn write(&self, i: usize, poly: &mut [u32]) {
        poly.fill(0);
        self.places.gather(i, self.values, poly);
    }
}

/// A tensor that coefficients are brought to.
pub struct Scatter<'a> {
    /// Where they come from.
    pub places: &'a Places,
    /// The tensor.
    pub values: &'a mut [u32],
}

impl Scatter<'_> {
    /// # Errors
    /// [`Error::Shape`] where the polynomials or the tensor have other sizes than the places say.
    pub(crate) fn check(&self, n: usize, polynomials: usize) -> Result<()> {
        check(self.places, n, polynomials, self.values.len())
    }
}

fn check(places: &Places, n: usize, polynomials: usize, values: usize) -> Result<()> {
    if (places.n(), places.polynomials(), places.elements()) != (n, polynomials, values) {
        return Err(Error::Shape(format!(
            "places of {} elements in {} polynomials of {} coefficients, for {values} in {polynomials} of {n}",
            places.elements(),
            places.polynomials(),
            places.n()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A box with gaps both ways, a line, and a polynomial between them without any.
    fn places() -> Places {
        let gaps = Run { polynomial: 0, place: 1, step: [8, 4, 2], index: 3, stride: [20, 5, 1], len: [2, 1, 2] };
        Places::new(16, 40, 3, vec![gaps, Run::line(2, 0, 30, 3), Run::line(2, 8, 0, 2)]).unwrap()
    }

    #[test]
    fn elements_go_to_their_coefficients_and_back() {
        let (places, tensor) = (places(), (100..140).collect::<Vec<u32>>());
        let mut polys = [[0; 16]; 3];
        (0..3).for_each(|i| places.gather(i, &tensor, &mut polys[i]));
        assert_eq!(polys[0], [0, 103, 0, 104, 0, 0, 0, 0, 0, 123, 0, 124, 0, 0, 0, 0]);
        assert_eq!(
            (polys[1], polys[2][..3].to_vec(), polys[2][8..10].to_vec()),
            ([0; 16], vec![130, 131, 132], vec![100, 101])
        );
        let [mut there, mut by_picking] = [[0u32; 40]; 2];
        for (i, poly) in polys.iter().enumerate() {
            places.scatter(i, poly, &mut there);
            let (mut picked, mut again) = (vec![0; places.count(i)], [0; 16]);
            places.pick(i, poly, &mut picked);
            places.spread(i, &picked, &mut by_picking);
            places.put(i, &picked, &mut again);
            assert_eq!(&again, poly);
        }
        let held = [0, 1, 3, 4, 23, 24, 30, 31, 32];
        let expected: Vec<u32> = (0..40).map(|i| if held.contains(&i) { 100 + i } else { 0 }).collect();
        assert_eq!((&there[..], &by_picking[..]), (&expected[..], &expected[..]));
        let part = places.part(1..3);
        assert_eq!((part.polynomials(), part.of(0), part.of(1)[0]), (2, &[][..], Run::line(1, 0, 30, 3)));
        assert_eq!(Places::whole(8, 2).of(1), [Run::line(1, 0, 8, 8)]);
    }

    #[test]
    fn runs_outside_or_out_of_order_are_errors() {
        let line = Run::line(1, 4, 10, 4);
        let refused = |runs: Vec<Run>| matches!(Places::new(8, 14, 2, runs), Err(Error::Shape(_)));
        assert!(!refused(vec![line]) && !refused(vec![]));
        for wrong in [
            Run { place: 5, ..line },
            Run { index: 11, ..line },
            Run { polynomial: 2, ..line },
            Run { step: [1, 1, 2], ..line },
            Run { stride: [1, 1, 2], ..line },
            Run { len: [1, 0, 4], ..line },
            Run { len: [usize::MAX, 3, 4], stride: [usize::MAX, 2, 1], ..line },
        ] {
            assert!(refused(vec![wrong]), "{wrong:?}");
        }
        assert!(refused(vec![line, Run { polynomial: 0, ..line }]));
        assert!(!Places::whole(8, 2).collide() && !places().collide());
        assert!(Places::new(8, 14, 2, vec![line, Run { index: 0, len: [1, 1, 1], ..line }]).unwrap().collide());
    }
}
