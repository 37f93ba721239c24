//! What the lowering of a graph may cost.
//!
//! A few hundred nodes can ask for any amount of memory or time: concatenations multiply parts, layers share one tensor
//! of weights. Each kind of cost has a bound, far above any network's, and is spent before anything is made.

use crate::error::{Error, Result};
use crate::integers::program::{MAX_STEPS, MAX_TOTAL_ELEMENTS};

/// The most parts that one value may be made of.
const MAX_PARTS: usize = 1024;
/// The most coefficients and constants of all values together.
const MAX_COEFFICIENTS: usize = 1 << 24;
/// The most weights and offsets of all linear steps together.
const MAX_WEIGHTS: usize = 1 << 28;
/// The most multiply-adds that maps of constants against zero padding may take together.
const MAX_MAP_WORK: usize = 1 << 36;

/// What a graph has cost so far.
#[derive(Default)]
pub(crate) struct Spent {
    streams: usize,
    elements: usize,
    coefficients: usize,
    weights: usize,
    map_work: usize,
}

/// Adds `more` to a sum that may reach `most`.
fn spend(sum: &mut usize, more: Option<usize>, most: usize, node: &str, what: &str) -> Result<()> {
    match more.and_then(|more| sum.checked_add(more)).filter(|&s| s <= most) {
        Some(total) => *sum = total,
        None => {
            return Err(Error::Model(format!("node {node:?}: {what}: found more than {most}, expected at most that")));
        }
    }
    Ok(())
}

/// The product, unless it overflows.
fn product(factors: &[usize]) -> Option<usize> {
    factors.iter().try_fold(1usize, |product, &f| product.checked_mul(f))
}

impl Spent {
    /// A node's value of so many parts, coefficients and constants.
    pub(crate) fn value(&mut self, node: &str, parts: usize, coefficients: usize) -> Result<()> {
        spend(&mut 0, Some(parts), MAX_PARTS, node, "parts of its value")?;
        spend(&mut self.coefficients, Some(coefficients), MAX_COEFFICIENTS, node, "coefficients up to here")
    }

    /// A tensor. As many as there are steps: the first has no step of its own, the last step, an argmax, no tensor.
    pub(crate) fn stream(&mut self, node: &str, channels: usize, [d, h, w]: [usize; 3]) -> Result<()> {
        spend(&mut self.streams, Some(1), MAX_STEPS, node, "steps up to here")?;
        let elements = product(&[channels, d, h, w]);
        spend(&mut self.elements, elements, MAX_TOTAL_ELEMENTS, node, "elements of all tensors up to here")
    }

    /// A layer's weights, as many as the product of `sizes`.
    pub(crate) fn weights(&mut self, node: &str, sizes: &[usize]) -> Result<()> {
        spend(&mut self.weights, product(sizes), MAX_WEIGHTS, node, "weights of all layers up to here")
    }

    /// A map of `channels` and `dims` of what constants add, made with `taps` multiply-adds an element.
    pub(crate) fn map(&mut self, node: &str, channels: usize, [d, h, w]: [usize; 3], taps: usize) -> Result<()> {
        self.weights(node, &[channels, d, h, w])?;
        let work = product(&[channels, d, h, w, taps]);
        spend(&mut self.map_work, work, MAX_MAP_WORK, node, "multiply-adds for constants up to here")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_cost_has_its_bound() {
        let mut spent = Spent::default();
        assert!(spent.weights("a", &[1 << 14, 1 << 13]).is_ok() && spent.weights("b", &[1 << 27]).is_ok());
        assert!(spent.weights("c", &[1]).is_err_and(|e| e.to_string().contains("node \"c\": weights")));
        assert!(Spent::default().weights("a", &[usize::MAX, 2]).is_err());

        let mut spent = Spent::default();
        assert!((0..MAX_STEPS).all(|_| spent.stream("a", 1, [1, 1, 1]).is_ok()));
        assert!(spent.stream("b", 1, [1, 1, 1]).is_err_and(|e| e.to_string().contains("node \"b\": steps")));
        assert!(Spent::default().stream("a", 3, [1 << 15, 1 << 15, 1]).is_err());

        let mut spent = Spent::default();
        assert!(spent.value("a", MAX_PARTS, MAX_COEFFICIENTS).is_ok() && spent.value("b", 1, 1).is_err());
        assert!(Spent::default().value("a", MAX_PARTS + 1, 1).is_err());
        assert!(Spent::default().map("a", 2, [1 << 9, 1 << 9, 1 << 9], 1 << 9).is_err());
    }
}
