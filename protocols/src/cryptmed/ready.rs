//! What a party holds before a run's input is known, and the steps that spend it.

use std::collections::VecDeque;

use super::end::{End, to_bytes, to_words};
use super::items::Material;
use super::layer::{Map, add, sub};
use super::masks::Masks;
use super::opening::open;
use super::plan::Function;
use super::streams::Words;
use super::wraps::{self, Wraps};
use crate::error::{Error, Result};
use blindvox_net::channel::Party;

/// What a party holds before a run's input is known; spent by the run.
pub(super) struct Ready {
    pub(super) materials: VecDeque<Material>,
    /// The client's y_C of each layer.
    pub(super) sums: VecDeque<Words>,
    /// The client's halves of what is opened, at the server's end.
    pub(super) halves: VecDeque<Vec<u32>>,
}

/// A layer's sums: the client's are there already.
pub(super) fn sums(
    end: &mut End,
    map: &Map,
    weights: &[u32],
    [x, mask]: [&[u32]; 2],
    ready: Option<Words>,
    add_bias: impl FnOnce(&mut [u32]),
) -> Result<Words> {
    let message = end.hand_over(Party::Client, 4 * map.inputs(), || to_bytes(&sub(x, mask)))?;
    let Some(message) = message else { return ready.ok_or_else(|| missing("a layer's sums")) };
    let masked = to_words(&message)?;
    let mut y = add(&map.apply(weights, &add(&masked, x)), mask);
    add_bias(&mut y);
    Ok(y)
}

/// An activation's value from the opened c: both kinds of pieces at one scale.
pub(super) fn finish(end: &mut End, function: &Function, masks: &Masks, c: &[u32], ready: &mut Ready) -> Result<Words> {
    let [whole, fine] = function.activation.evaluate(end, masks, c)?;
    let rest = match (&function.exact, function.activation.fine) {
        (_, 0) => return Ok(whole),
        (Some(exact), _) => {
            let masks = take_masks(ready)?;
            let c = open(end, &fine, &masks, exact.offset())?;
            let [rest, _] = exact.evaluate(end, &masks, &c)?;
            rest
        }
        (None, shift) => wraps::truncate(end, &take_wraps(ready)?, &fine, shift)?,
    };
    Ok(add(&whole, &rest))
}

pub(super) fn take_masks(ready: &mut Ready) -> Result<Masks> {
    match ready.materials.pop_front() {
        Some(Material::Masks(masks)) => Ok(masks),
        _ => Err(missing("masks")),
    }
}

pub(super) fn take_wraps(ready: &mut Ready) -> Result<Wraps> {
    match ready.materials.pop_front() {
        Some(Material::Wraps(wraps)) => Ok(wraps),
        _ => Err(missing("a truncation's bits")),
    }
}

pub(super) fn missing(what: &str) -> Error {
    Error::Model(format!("{what} wanted where the plan has none"))
}

/// Elements of all rows side by side, as a list a row.
pub(super) fn apart<T: Copy>(values: &[T], rows: usize) -> Vec<Vec<T>> {
    (0..rows).map(|row| values.iter().skip(row).step_by(rows).copied().collect()).collect()
}
