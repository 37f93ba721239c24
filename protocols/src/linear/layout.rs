//! Where a tensor's elements lie among polynomials.

use std::ops::{Deref, Range};

use blindvox_engine::poly::{Gather, Places, Run, Scatter};
use ndarray::{ArrayViewD, IxDyn};
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, Result};

/// A tensor's dimensions and the coefficients that hold its elements. An element may lie in several places, as voxels
/// that neighbouring tiles need do, and in none where only a part is laid out; coefficients that hold none are 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    shape: Vec<usize>,
    places: Places,
}

impl Layout {
    /// A tensor of dimensions `shape` in `polynomials` polynomials of `n` coefficients, by runs in the order of the
    /// polynomials.
    ///
    /// # Errors
    /// [`Error::Model`] for dimensions that are too many or large and for runs that put two elements in one place;
    /// [`Error::Engine`] for those that are empty, out of order or beyond the tensor.
    pub fn new(shape: &[usize], n: usize, polynomials: usize, runs: Vec<Run>) -> Result<Self> {
        let elements = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        let elements = elements.ok_or_else(|| Error::Model(format!("a tensor of {shape:?}: too large")))?;
        let places = Places::new(n, elements, polynomials, runs)?;
        if places.collide() {
            return Err(Error::Model(format!("a layout of a tensor of {shape:?} puts two elements in one place")));
        }
        Ok(Self { shape: shape.to_vec(), places })
    }

    /// One that a planner made.
    pub(super) fn planned(shape: &[usize], places: Places) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), places.elements());
        Self { shape: shape.to_vec(), places }
    }

    /// Dimensions of the tensor.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Where each polynomial's elements are.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Coefficients of a polynomial.
    pub fn n(&self) -> usize {
        self.places.n()
    }

    /// Polynomials.
    pub fn polynomials(&self) -> usize {
        self.places.polynomials()
    }

    /// Of some of the polynomials.
    pub(super) fn part(&self, polynomials: Range<usize>) -> Self {
        Self { shape: self.shape.clone(), places: self.places.part(polynomials) }
    }

    /// The values of a tensor on their way to these places.
    pub(super) fn gather<'a>(&'a self, values: &'a [u32]) -> Gather<'a> {
        Gather { places: &self.places, values }
    }

    /// The values of a tensor on their way from these places.
    pub(super) fn scatter<'a>(&'a self, values: &'a mut [u32]) -> Scatter<'a> {
        Scatter { places: &self.places, values }
    }

    /// # Errors
    /// [`Error::Model`] for a tensor of other dimensions.
    pub(super) fn check(&self, shape: &[usize]) -> Result<()> {
        if shape != self.shape {
            return Err(Error::Model(format!("a tensor of {shape:?} for a layout of {:?}", self.shape)));
        }
        Ok(())
    }
}

/// The values of a tensor one after the other: the tensor's own memory if they lie so there, else a copy.
pub(super) enum Line<'a, T: Copy + Zeroize> {
    Own(&'a [T]),
    Copy(Zeroizing<Vec<T>>),
}

impl<'a, T: Copy + Zeroize> Line<'a, T> {
    pub(super) fn new(tensor: &'a ArrayViewD<'_, T>) -> Self {
        tensor.as_slice().map_or_else(|| Self::Copy(Zeroizing::new(tensor.iter().copied().collect())), Self::Own)
    }
}

impl<T: Copy + Zeroize> Deref for Line<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Own(values) => values,
            Self::Copy(values) => values,
        }
    }
}

/// A slice as a tensor.
///
/// # Panics
/// For another number of elements.
pub(super) fn view<'a, T>(shape: &[usize], values: &'a [T]) -> ArrayViewD<'a, T> {
    ArrayViewD::from_shape(IxDyn(shape), values).expect("as many values as the tensor has")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_that_lose_an_element_are_refused() {
        let runs = vec![Run::line(0, 0, 0, 4), Run::line(1, 2, 4, 2)];
        let layout = Layout::new(&[2, 3], 8, 2, runs.clone()).unwrap();
        assert_eq!((layout.shape(), layout.n(), layout.polynomials()), (&[2, 3][..], 8, 2));
        assert!(layout.check(&[3, 2]).is_err() && layout.check(&[2, 3]).is_ok());
        let error = |shape: &[usize], runs: Vec<Run>| Layout::new(shape, 8, 2, runs).unwrap_err().to_string();
        assert!(
            error(&[2, 3], vec![Run::line(0, 0, 0, 4), Run::line(0, 3, 4, 2)]).contains("two elements in one place")
        );
        assert!(error(&[2, 2], runs).contains("run 1"));
        assert!(error(&[usize::MAX, 3], vec![]).contains("too large"));
    }

    #[test]
    fn values_that_lie_otherwise_are_copied() {
        let values = [1, 2, 3, 4, 5, 6];
        let tensor = view(&[2, 3], &values);
        assert!(matches!(Line::new(&tensor), Line::Own(line) if line == values));
        let turned = tensor.reversed_axes();
        assert_eq!(*Line::new(&turned), [1, 4, 2, 5, 3, 6]);
    }
}
