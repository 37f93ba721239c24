//! The published forms, as the baseline: the sign by a parallel-prefix adder over the bits of both shares, bits to words and
//! selection by ring triples.
//!
//! | # | from -> to | content | bits an element |
//! |---|---|---|---|
//! | 1 | C <-> S | openings of g = e·f, bits 1 to 31 of each share | 62 each way a threshold |
//! | 2 to 6 | C <-> S | openings of the adder's nodes, two ANDs each | 120 each way a threshold |
//! | 7 | C <-> S | openings of a + b - 2ab for each piece's bit, and of x·x | 64 each way a product |
//! | 8 | C <-> S | openings of the bit times the polynomial | 64 each way a piece that isn't constant |
//!
//! As printed, (g, p) of two nodes joins them in the wrong order: here (g_hi ^ p_hi·g_lo, p_hi·p_lo). Bits of intervals are
//! the xor of two thresholds' bits. Truncation is [`super::wraps`]: on shares alone it would be wrong by 2^(32 - s) far too
//! often.

use std::collections::VecDeque;

use blindvox_engine::simd::widest;
use blindvox_models::integers::pieces::{Piece, Pieces};
use zeroize::Zeroizing;

use super::end::End;
use super::items::{Item, Material};
use super::lanes::{LANES, Nodes, Plane, Planes, WORDS, ZERO, blocks, planes, unpack, xor};
use super::masks::{MaskSpec, Masks};
use super::opening::climb;
use super::streams::Words;
use super::triples::{RingTriples, multiply};
use super::wraps;
use crate::error::{Error, Result};

/// Bits below the sign.
const BITS: usize = 31;

/// An activation as published.
#[derive(Clone, Debug)]
pub struct Published {
    pieces: Vec<Piece>,
    thresholds: Vec<i32>,
    /// Taken off sums of pieces that aren't whole.
    fine: u32,
}

/// ANDs of each round for a threshold: of the generate bits, then two a node.
fn rounds() -> Vec<usize> {
    let (mut width, mut rounds) = (BITS, vec![BITS]);
    while width > 1 {
        rounds.push(2 * (width / 2));
        width = width.div_ceil(2);
    }
    rounds
}

impl Published {
    /// Of these pieces.
    pub fn new(function: &Pieces) -> Self {
        let fine = if function.pieces.iter().all(|p| p.whole) { 0 } else { function.shift };
        Self { pieces: function.pieces.clone(), thresholds: function.thresholds(), fine }
    }

    fn squares(&self) -> usize {
        usize::from(self.pieces.iter().any(|p| p.degree() > 1))
    }

    fn selected(&self) -> usize {
        self.pieces.iter().filter(|p| p.degree() > 0 && !always(p)).count()
    }

    fn words(&self) -> usize {
        self.pieces.iter().filter(|p| !always(p)).count()
    }

    /// What the dealer shares, in order.
    pub fn items(&self, n: usize, items: &mut Vec<Item>) {
        if !self.thresholds.is_empty() {
            for ands in rounds() {
                items.push(Item::Masks(Box::new(MaskSpec::ands(self.thresholds.len() * ands)), n));
            }
        }
        let products = [self.words() + self.squares(), self.selected()];
        items.extend(products.iter().filter(|p| **p > 0).map(|p| Item::RingTriples(p * n)));
        if self.fine > 0 {
            items.push(Item::Wraps(self.fine, n));
        }
    }

    /// Shares of the function of x.
    ///
    /// # Errors
    /// The peer's and the channel's.
    pub fn evaluate(&self, end: &mut End, x: &[u32], ready: &mut VecDeque<Material>) -> Result<Words> {
        let (n, first) = (x.len(), end.first());
        let below = if self.thresholds.is_empty() { Planes::default() } else { self.below(end, x, ready)? };
        // Bits of pieces to words: a + b - 2ab of the parties' shares a and b.
        let one = [if first { u32::MAX } else { 0 }; WORDS];
        let place = |t: Option<i32>| t.and_then(|t| self.thresholds.binary_search(&t).ok());
        let mut bits = Vec::with_capacity((self.words() + self.squares()) * n);
        for p in self.pieces.iter().filter(|p| !always(p)) {
            let mut words = Zeroizing::new([0; LANES]);
            for block in 0..blocks(n) {
                let at = |t: usize| below[block * self.thresholds.len() + t];
                let plane = match (place(p.lo), place(p.hi)) {
                    (Some(lo), Some(hi)) => xor(&at(lo), &at(hi)),
                    (Some(lo), None) => xor(&at(lo), &one),
                    (None, Some(hi)) => at(hi),
                    (None, None) => one,
                };
                unpack(&plane, &mut *words);
                bits.extend_from_slice(&words[..LANES.min(n - block * LANES)]);
            }
        }
        let zeros = vec![0; bits.len()];
        let (mut left, mut right) = if first { (bits.clone(), zeros) } else { (zeros, bits.clone()) };
        if self.squares() > 0 {
            left.extend_from_slice(x);
            right.extend_from_slice(x);
        }
        let products = if left.is_empty() { Words::default() } else { multiply(end, &triples(ready)?, &left, &right)? };
        let words: Words = Zeroizing::new(
            bits.iter().zip(products.iter()).map(|(b, ab)| b.wrapping_sub(ab.wrapping_mul(2))).collect(),
        );
        let square = &products[bits.len()..];
        // The polynomials, then those that hold.
        let polynomial = |p: &Piece, i: usize| {
            let constant = if first { p.a as u32 } else { 0 };
            let linear = constant.wrapping_add((p.b as u32).wrapping_mul(x[i]));
            if p.c == 0 { linear } else { linear.wrapping_add((p.c as u32).wrapping_mul(square[i])) }
        };
        let mut sums = [Zeroizing::new(vec![0u32; n]), Zeroizing::new(vec![0u32; n])];
        let (mut factors, mut values, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        let mut word = words.chunks_exact(n.max(1));
        for p in &self.pieces {
            let kind = usize::from(!p.whole && self.fine > 0);
            if always(p) {
                (0..n).for_each(|i| sums[kind][i] = sums[kind][i].wrapping_add(polynomial(p, i)));
                continue;
            }
            let Some(word) = word.next() else { continue };
            if p.degree() == 0 {
                (0..n).for_each(|i| sums[kind][i] = sums[kind][i].wrapping_add(word[i].wrapping_mul(p.a as u32)));
            } else {
                factors.extend_from_slice(word);
                values.extend((0..n).map(|i| polynomial(p, i)));
                whole.push(kind);
            }
        }
        if !whole.is_empty() {
            let chosen = multiply(end, &triples(ready)?, &factors, &values)?;
            for (kind, chosen) in whole.into_iter().zip(chosen.chunks_exact(n)) {
                sums[kind].iter_mut().zip(chosen).for_each(|(s, c)| *s = s.wrapping_add(*c));
            }
        }
        let [total, fine] = sums;
        if self.fine == 0 {
            return Ok(total);
        }
        let Some(Material::Wraps(bits)) = ready.pop_front() else { return Err(missing("a truncation's bits")) };
        Ok(super::layer::add(&total, &wraps::truncate(end, &bits, &fine, self.fine)?))
    }

    /// Shares of \[x < t\], \[block\]\[threshold\]: the sign of x - t.
    fn below(&self, end: &mut End, x: &[u32], ready: &mut VecDeque<Material>) -> Result<Planes> {
        let (first, count) = (end.first(), self.thresholds.len());
        let mut own = Zeroizing::new(Vec::with_capacity(blocks(x.len()) * count));
        for x in x.chunks(LANES) {
            for &t in &self.thresholds {
                let mut less = Zeroizing::new([0; LANES]);
                let t = if first { t as u32 } else { 0 };
                less.iter_mut().zip(x).for_each(|(less, x)| *less = x.wrapping_sub(t));
                own.push(widest(|| planes(&*less)));
            }
        }
        // e·f of each bit: each party knows one factor.
        let pair = |bit: &Plane| if first { [*bit, ZERO] } else { [ZERO, *bit] };
        let asked = |own: &[Plane; 32]| Nodes::new(own[..BITS].iter().map(pair).collect());
        let mut g = ands(end, ready, x.len(), count, own.iter().map(asked).collect())?;
        let mut p: Vec<Planes> = own.iter().map(|own| Planes::new(own[..BITS].to_vec())).collect();
        while g[0].len() > 1 {
            let odd = g[0].len() % 2;
            let asked = |(g, p): (&Planes, &Planes)| {
                let nodes = g[odd..].chunks_exact(2).zip(p[odd..].chunks_exact(2));
                let mut all = Nodes::new(Vec::with_capacity(g.len()));
                nodes.for_each(|(g, p)| all.extend([[p[1], g[0]], [p[1], p[0]]]));
                all
            };
            let joined = ands(end, ready, x.len(), count, g.iter().zip(&p).map(asked).collect())?;
            for ((g, p), joined) in g.iter_mut().zip(&mut p).zip(joined) {
                let high = Planes::new(g[odd..].chunks_exact(2).map(|g| g[1]).collect());
                // An odd lowest node goes on as it is.
                g.truncate(odd);
                p.truncate(odd);
                g.extend(high.iter().zip(joined.chunks_exact(2)).map(|(g, j)| xor(g, &j[0])));
                p.extend(joined.chunks_exact(2).map(|j| j[1]));
            }
        }
        Ok(Planes::new(g.iter().zip(&*own).map(|(g, own)| xor(&g[0], &own[BITS])).collect()))
    }
}

/// Shares of the products of pairs of bits, \[block, threshold\]\[pair\].
fn ands(
    end: &mut End,
    ready: &mut VecDeque<Material>,
    n: usize,
    thresholds: usize,
    pairs: Vec<Nodes>,
) -> Result<Vec<Planes>> {
    let Some(Material::Masks(masks)) = ready.pop_front() else { return Err(missing("bit triples")) };
    let masks: Masks = masks;
    let width = pairs[0].len();
    let leaves = pairs.iter().flat_map(|pairs| pairs.iter());
    let leaves = leaves.map(|[a, b]| Nodes::new(vec![[ZERO, *b], [ZERO, *a]])).collect();
    debug_assert_eq!(masks.elements(), n);
    let products = climb(end, &MaskSpec::ands(thresholds * width), &masks, leaves)?;
    Ok(products.chunks_exact(width).map(|p| Planes::new(p.iter().map(|[_, p]| *p).collect())).collect())
}

fn always(p: &Piece) -> bool {
    p.lo.is_none() && p.hi.is_none()
}

fn triples(ready: &mut VecDeque<Material>) -> Result<RingTriples> {
    match ready.pop_front() {
        Some(Material::RingTriples(triples)) => Ok(triples),
        _ => Err(missing("ring triples")),
    }
}

fn missing(what: &str) -> Error {
    Error::Model(format!("{what} wanted where the plan has none"))
}
