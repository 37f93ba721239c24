//! How the offsets between slots of a layer's sources and of its output become baby and giant steps.
//!
//! An offset is what a term rotates by in all. It splits into a baby step, of the source, and a giant step, of a sum of
//! terms: by size, or by the parts of the layout that it comes from. What a split costs follows from the distinct
//! offsets alone, and those from the structure of the layer.

use std::collections::{BTreeSet, HashSet};

use super::layout::Layout;
use super::matrix::Slabs;

/// What a rotation of a source costs, one of a sum, a term, and a ciphertext of the output, which is squared.
const BABY: f64 = 1.0;
const GIANT: f64 = 2.2;
const TERM: f64 = 0.06;
const OUTPUT: f64 = 3.0;

/// Where an offset comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Offset {
    /// Ciphertexts of the source's column and the output's.
    pub ciphertexts: [u32; 2],
    /// Spatial, sub, block: source less output, modulo the slots.
    pub parts: [u32; 3],
}

/// A rule that splits offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// Babies are the remainders by a power of two, from 0 or about it.
    Size { step: u32, centred: bool },
    /// Babies are the sums of these parts.
    Parts([bool; 3]),
}

impl Split {
    /// Baby and giant step of an offset.
    pub(super) fn of(self, offset: &Offset, slots: u32) -> (u32, u32) {
        let sum = |parts: [bool; 3]| {
            let chosen = offset.parts.iter().zip(parts).filter(|(_, chosen)| *chosen);
            chosen.map(|(part, _)| part).sum::<u32>() % slots
        };
        let all = sum([true; 3]);
        let baby = match self {
            Self::Parts(parts) => sum(parts),
            Self::Size { step, centred: false } => all % step,
            Self::Size { step, centred: true } => (slots + (all + step / 2) % step - step / 2) % slots,
        };
        (baby, (slots + all - baby) % slots)
    }

    fn all(slots: u32, by_parts: bool) -> impl Iterator<Item = Self> {
        let sizes =
            (1..=slots.ilog2()).flat_map(|bits| [false, true].map(|centred| Self::Size { step: 1 << bits, centred }));
        let parts = (0..8u32).filter(move |_| by_parts).map(|set| Self::Parts([0, 1, 2].map(|i| set >> i & 1 == 1)));
        sizes.chain(parts)
    }
}

/// Where a term of a fold's output goes: to the copy that lies as high as its source.
pub(super) fn offset(from: &Layout, to: &Layout, fold: Option<usize>, [col, row]: [u32; 2]) -> (Offset, usize) {
    let (source, out) = (from.place(col as usize), to.place(row as usize));
    let slots = to.slots;
    let ciphertexts = [source.ciphertext as u32, out.ciphertext as u32];
    match fold {
        None => {
            let part = |i: usize| ((slots + source.parts[i] - out.parts[i]) % slots) as u32;
            (Offset { ciphertexts, parts: [part(0), part(1), part(2)] }, out.slot())
        }
        Some(period) => {
            let at = out.slot() + source.slot() / period * period;
            let parts = [((slots + source.slot() - at) % slots) as u32, 0, 0];
            (Offset { ciphertexts, parts }, at)
        }
    }
}

/// What a layer's terms are: for each source and class the distinct offsets.
pub(super) type Offsets = Vec<Vec<BTreeSet<Offset>>>;

/// All offsets of a layer.
pub(super) fn offsets(sources: &[(&Layout, &Slabs)], to: &Layout, fold: Option<usize>) -> Offsets {
    let class = |from: &Layout, entries: &Vec<super::matrix::Entry>| {
        let mut seen = HashSet::new();
        let mut last = None;
        for e in entries {
            let (offset, _) = offset(from, to, fold, [e.col, e.row]);
            if last != Some(offset) {
                seen.insert(offset);
                last = Some(offset);
            }
        }
        seen.into_iter().collect()
    };
    sources.iter().map(|(from, slabs)| slabs.classes.iter().map(|c| class(from, c)).collect()).collect()
}

/// What a split of a layer takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Rotations of sources.
    pub babies: usize,
    /// Rotations of sums, those of a fold included.
    pub giants: usize,
    /// Products with plaintexts.
    pub terms: usize,
    /// Plaintexts.
    pub plaintexts: usize,
}

/// The cheapest split, what it costs and what it takes.
pub(super) fn best(sources: &[(&Layout, &Slabs)], to: &Layout, fold: Option<usize>) -> (Split, f64, Counts) {
    let all = offsets(sources, to, fold);
    let slots = to.slots as u32;
    let cost = |split: Split| {
        let counts = counts(sources, &all, split, slots);
        let Counts { babies, giants, terms, .. } = counts;
        let outputs = (to.ciphertexts() * to.columns()) as f64;
        (split, babies as f64 * BABY + giants as f64 * GIANT + terms as f64 * TERM + outputs * OUTPUT, counts)
    };
    let cheapest = Split::all(slots, fold.is_none()).map(cost).reduce(|a, b| if b.1 < a.1 { b } else { a });
    let (split, cost, mut counts) = cheapest.expect("splits of two slots at least");
    if let Some(period) = fold {
        counts.giants += (to.slots / period).ilog2() as usize * to.ciphertexts() * to.columns();
    }
    (split, cost, counts)
}

fn counts(sources: &[(&Layout, &Slabs)], all: &Offsets, split: Split, slots: u32) -> Counts {
    let mut counts = Counts::default();
    let mut giants: HashSet<(usize, u32, u32)> = HashSet::new();
    for ((from, slabs), classes) in sources.iter().zip(all) {
        let mut babies = HashSet::new();
        let outputs = |class: usize| slabs.uses.iter().filter(move |(_, c)| **c == class).map(|((zo, _), _)| *zo);
        for (class, offsets) in classes.iter().enumerate() {
            let mut terms = HashSet::new();
            for offset in offsets {
                let ((baby, giant), [source, out]) = (split.of(offset, slots), offset.ciphertexts);
                if baby != 0 {
                    babies.insert((source, baby));
                }
                terms.insert((source, out, baby, giant));
            }
            counts.plaintexts += terms.len();
            counts.terms += terms.len() * outputs(class).count();
            let distinct: HashSet<_> = terms.into_iter().filter(|t| t.3 != 0).map(|(_, out, _, g)| (out, g)).collect();
            for z in outputs(class) {
                giants.extend(distinct.iter().map(|&(out, giant)| (z, out, giant)));
            }
        }
        counts.babies += babies.len() * from.columns();
    }
    counts.giants = giants.len();
    counts
}
