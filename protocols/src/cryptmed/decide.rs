//! The end of a run: the class of the largest score, or the scores themselves, to the client alone.
//!
//! | # | from -> to | content | bits an element |
//! |---|---|---|---|
//! | 1 | as [`super::opening`] | all differences of two classes' scores, compared with 0 | 47 each way a pair |
//! | 2 | C <-> S | openings of the AND of each class's comparisons, a flight a level | |
//! | 3 | S -> C | shares of whether each class but the last is the largest | 1 a class |
//!
//! A class is the largest if it beats all others; of equal ones the lowest does.

use blindvox_net::channel::Party;
use zeroize::Zeroizing;

use super::end::{End, to_bytes, to_words};
use super::lanes::{self, LANES, Nodes, Plane, Planes, Reader, Writer, ZERO, blocks, filled};
use super::masks::{MaskSpec, Masks};
use super::opening::climb;
use super::streams::Words;
use crate::error::{Error, Result};

/// The most classes: all pairs of them are compared.
pub const MAX_CLASSES: usize = 64;

/// All pairs of classes, the lower one first.
pub fn pairs(classes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..classes).flat_map(move |i| (i + 1..classes).map(move |j| (i, j)))
}

/// Shares of the differences of all pairs, \[pair\]\[element\], from scores \[class\]\[element\].
pub fn differences(scores: &[u32], classes: usize) -> Words {
    let n = scores.len() / classes;
    let of = |(i, j): (usize, usize)| (0..n).map(move |e| scores[i * n + e].wrapping_sub(scores[j * n + e]));
    Zeroizing::new(pairs(classes).flat_map(of).collect())
}

/// Shares of whether each class is the largest, \[class\]\[element\], from those of whether the differences are negative.
///
/// # Errors
/// The peer's and the channel's.
pub fn largest(end: &mut End, masks: Option<&Masks>, negative: &[Plane], classes: usize, n: usize) -> Result<Planes> {
    let bit = |at: usize| negative[at / LANES][at % LANES / 32] >> (at % 32) & 1;
    let all: Vec<_> = pairs(classes).collect();
    let first = u32::from(end.first());
    let of_block = |_| Nodes::new(vec![[ZERO; 2]; classes - 1]);
    let mut leaves: Vec<Nodes> = (0..blocks(classes * n)).map(of_block).collect();
    for class in 0..classes {
        let others = all.iter().enumerate().filter(|(_, (i, j))| *i == class || *j == class);
        for (leaf, (pair, (i, _))) in others.enumerate() {
            for e in 0..n {
                // The lower of a pair beats the other where the difference is not negative.
                let wins = bit(pair * n + e) ^ if *i == class { first } else { 0 };
                let at = class * n + e;
                leaves[at / LANES][leaf][1][at % LANES / 32] |= wins << (at % 32);
            }
        }
    }
    match masks {
        None => Ok(Planes::new(leaves.iter().map(|l| l[0][1]).collect())),
        Some(masks) => {
            let climbed = climb(end, &MaskSpec::all(classes - 1), masks, leaves)?;
            Ok(Planes::new(climbed.iter().map(|[_, p]| *p).collect()))
        }
    }
}

/// Tells the client which class is the largest: the labels, none at the server's end.
///
/// # Errors
/// [`Error::Protocol`] where two classes are; the peer's and the channel's.
pub fn tell(end: &mut End, shares: &[Plane], classes: usize, n: usize) -> Result<Option<Vec<u8>>> {
    let elements = (classes - 1) * n;
    let length = lanes::bytes(1, elements);
    let kept = |block: usize| filled(elements, block);
    let message = end.hand_over(Party::Server, length, || {
        let mut writer = Writer::new(length + 8);
        (0..blocks(elements)).for_each(|block| writer.plane(&shares[block], kept(block)));
        writer.finish()
    })?;
    let Some(message) = message else { return Ok(None) };
    let mut reader = Reader::new(&message, length)?;
    let theirs = Planes::new((0..blocks(elements)).map(|block| reader.plane(kept(block))).collect());
    let bit = |at: usize| {
        let word = |planes: &[Plane]| planes[at / LANES][at % LANES / 32];
        (word(&theirs) ^ word(shares)) >> (at % 32) & 1
    };
    let mut labels = vec![(classes - 1) as u8; n];
    for (e, label) in labels.iter_mut().enumerate() {
        let mut found = (0..classes - 1).filter(|class| bit(class * n + e) == 1);
        if let Some(class) = found.next() {
            *label = class as u8;
        }
        if found.next().is_some() {
            return Err(Error::protocol(
                "two classes are the largest: the peer or somebody between has tampered with it",
            ));
        }
    }
    Ok(Some(labels))
}

/// Opens values to the client: the sums, none at the server's end.
///
/// # Errors
/// The peer's and the channel's.
pub fn reveal(end: &mut End, shares: &[u32]) -> Result<Option<Vec<i32>>> {
    let message = end.hand_over(Party::Server, 4 * shares.len(), || to_bytes(shares))?;
    let Some(message) = message else { return Ok(None) };
    let theirs = to_words(&message)?;
    Ok(Some(shares.iter().zip(theirs).map(|(a, b)| a.wrapping_add(b) as i32).collect()))
}
