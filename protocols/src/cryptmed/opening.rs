//! Activations, comparisons and exact truncation by one opening c = y + r of a shared y, r the dealer's.
//!
//! | # | from -> to | content | bits an element, ReLU |
//! |---|---|---|---|
//! | 1 | C -> S, S -> C | shares of c; the client's goes in preprocessing where it is known | 32 each |
//! | 2, 3 | C <-> S | openings of the prefix tree's levels, a threshold each | 13, 2 each way |
//! | 4 | C <-> S | the pieces' bits under masks | 1 each way a piece |
//!
//! \[y < t\] = \[r' > c'\] ^ r31 ^ c'31 for c' = c - t, r' and c' their low 31 bits, as |y - t| < 2^31. With q = 2^(32-s),
//! x = floor(y / 2^s) is (c >> s) - (r >> s) + w·r31 less \[r mod 2^s > c mod 2^s\], where w = q·(1 - c31) for y >= 0, and
//! w = q·c31 with q·c31 taken off for y < 0. w^2 = 0 mod 2^32 for s <= 16, so polynomials of degree two are linear in
//! what the dealer shares. What the last bracket leaves is 0 or 1: the rounding; where a run is exact it is taken off.
//!
//! A value that is read whether it is negative or not is shifted by 2^30 before it is opened.

use blindvox_engine::simd::widest;
use blindvox_models::integers::pieces::{Piece, Pieces};
use blindvox_net::channel::Party;
use zeroize::Zeroizing;

use super::end::{End, to_bytes, to_words};
use super::lanes::{self, LANES, Nodes, Plane, Planes, Reader, WORDS, Writer, ZERO, blocks, filled, planes, xor};
use super::masks::{DIGITS, MaskSpec, Masks, PieceSpec, Value, compare_digit, one_hot};
use super::streams::Words;
use crate::error::{Error, Result};

/// Added to y where its sign is not known.
const OFFSET: u32 = 1 << 30;

/// An activation of a y from which bits are taken off.
#[derive(Clone, Debug)]
pub struct Activation {
    /// What the dealer shares for it.
    pub spec: MaskSpec,
    pieces: Vec<Piece>,
    /// Rising, of y.
    thresholds: Vec<u32>,
    /// The places of each piece's ends among them.
    ends: Vec<[Option<usize>; 2]>,
    offset: bool,
    /// Taken off sums of pieces that aren't whole.
    pub fine: u32,
}

/// A block of lanes whose pieces are selected.
#[derive(Clone, Copy)]
struct Selected<'a> {
    block: usize,
    /// The opened words.
    c: &'a [u32],
    /// The opened bits of pieces.
    opened: &'a [Plane],
}

impl Activation {
    /// The pieces of x = y / 2^shift, for |y| < 2^30.
    pub fn new(function: &Pieces, shift: u32, exact: bool) -> Self {
        let limit = 1i64 << (30 - shift);
        let inside = |t: Option<i32>| t.filter(|t| i64::from(*t).abs() < limit);
        let reached =
            |p: &&Piece| p.lo.is_none_or(|lo| i64::from(lo) < limit) && p.hi.is_none_or(|hi| i64::from(hi) > -limit);
        let bounded = |p: &Piece| Piece { lo: inside(p.lo), hi: inside(p.hi), ..*p };
        let pieces: Vec<Piece> = function.pieces.iter().filter(reached).map(bounded).collect();
        let mut all: Vec<i32> = pieces.iter().flat_map(|p| [p.lo, p.hi]).flatten().collect();
        all.sort_unstable();
        all.dedup();
        let place = |t: Option<i32>| t.and_then(|t| all.binary_search(&t).ok());
        let ends: Vec<_> = pieces.iter().map(|p| [place(p.lo), place(p.hi)]).collect();
        // Of a constant the sign does not matter, nor without bits taken off.
        let crosses = |p: &Piece| p.degree() > 0 && p.lo.is_none_or(|lo| lo < 0) && p.hi.is_none_or(|hi| hi > 0);
        let offset = shift > 0 && pieces.iter().any(crosses);
        let base = if offset { OFFSET } else { 0 };
        let thresholds: Vec<u32> = all.iter().map(|&t| ((t as u32) << shift).wrapping_add(base)).collect();
        let of = |p: &Piece| PieceSpec { degree: p.degree(), always: p.lo.is_none() && p.hi.is_none() };
        let spec = MaskSpec::activation(shift, thresholds.len(), pieces.iter().map(of).collect(), exact);
        let fine = if pieces.iter().all(|p| p.whole) { 0 } else { function.shift };
        Self { spec, pieces, thresholds, ends, offset, fine }
    }

    /// y / 2^shift, rounded down, for |y| < 2^30 - 2^shift.
    pub fn truncation(shift: u32) -> Self {
        let whole = Piece { lo: None, hi: None, a: 0, b: 1, c: 0, whole: true };
        Self::new(&Pieces { pieces: vec![whole], shift: 0 }, shift, true)
    }

    /// What the server adds to y before it is opened.
    pub fn offset(&self) -> u32 {
        if self.offset { OFFSET } else { 0 }
    }

    /// The levels of openings: flights after the first.
    pub fn flights(&self) -> usize {
        let levels = self.spec.trees.iter().map(|t| t.levels.len()).max().unwrap_or(0);
        levels + usize::from(self.selected() > 0)
    }

    /// Planes opened by the selection.
    fn selected(&self) -> usize {
        self.spec.pieces.iter().filter(|p| !p.always).count() + usize::from(self.spec.exact)
    }

    /// Bytes each way after c is open.
    pub fn bytes(&self, elements: usize) -> usize {
        climbed_bytes(&self.spec, elements) + lanes::bytes(self.selected(), elements)
    }

    /// Shares of the function of y, from the opened c: of whole pieces, and 2^fine times those of the others, where
    /// there are such.
    ///
    /// # Errors
    /// The peer's and the channel's.
    pub fn evaluate(&self, end: &mut End, masks: &Masks, c: &[u32]) -> Result<[Words; 2]> {
        let results = compare(end, &self.spec, masks, c, &self.thresholds)?;
        self.select(end, masks, c, &results)
    }

    fn select(&self, end: &mut End, masks: &Masks, c: &[u32], results: &[Plane]) -> Result<[Words; 2]> {
        let (n, first, trees) = (c.len(), end.first(), self.spec.trees.len());
        let one = [if first { u32::MAX } else { 0 }; WORDS];
        let mut mine = Planes::new(Vec::with_capacity(blocks(n) * self.selected()));
        for block in 0..blocks(n) {
            let below = |t: usize| &results[block * trees + t];
            for (at, ends) in self.ends.iter().enumerate() {
                let indicator = match *ends {
                    [None, None] => continue,
                    [None, Some(hi)] => *below(hi),
                    [Some(lo), None] => xor(below(lo), &one),
                    [Some(lo), Some(hi)] => xor(below(lo), below(hi)),
                };
                mine.push(xor(&indicator, masks.free(&self.spec, block, self.spec.piece_at(at))));
            }
            if self.spec.exact {
                let mask = masks.free(&self.spec, block, self.spec.piece_at(self.pieces.len()));
                mine.push(xor(below(trees - 1), mask));
            }
        }
        let opened = open_planes(end, &mine, self.selected(), n)?;
        let mut sums = [Zeroizing::new(vec![0; n]), Zeroizing::new(vec![0; if self.fine > 0 { n } else { 0 }])];
        for (block, c) in c.chunks(LANES).enumerate() {
            let opened = &opened[block * self.selected()..(block + 1) * self.selected()];
            let words = Selected { block, c, opened };
            widest(|| self.select_block(masks, words, first, &mut sums));
        }
        Ok(sums)
    }

    #[inline(always)]
    fn select_block(&self, masks: &Masks, words: Selected<'_>, first: bool, sums: &mut [Words; 2]) {
        let Selected { block, c, opened } = words;
        let mut padded = [0; LANES];
        padded[..c.len()].copy_from_slice(c);
        let mut next = opened.iter();
        let mut low = [[0; LANES]; 2];
        if self.spec.exact {
            signs(&opened[opened.len() - 1], &mut low);
        }
        for (at, piece) in self.pieces.iter().enumerate() {
            let negative = !self.offset && piece.hi.is_some_and(|hi| hi <= 0);
            let wraps = self.wraps(&padded, negative);
            let mut bits = [[1; LANES], [0; LANES]];
            if !self.spec.pieces[at].always
                && let Some(plane) = next.next()
            {
                signs(plane, &mut bits);
            }
            let gather = Gather { spec: &self.spec, masks, block, first, at, bits: &bits, low: &low };
            let mut sum = Zeroizing::new([0u32; LANES]);
            let mut coefficients = [0; LANES];
            let mut shares = Zeroizing::new([0; LANES]);
            let mut add = |lowered: bool, value: Value, degree: u32| {
                if piece.degree() < degree || (self.spec.shift == 0 && matches!(value, Value::Top | Value::TopShifted))
                {
                    return;
                }
                coefficient(piece, value, lowered, &wraps, &mut coefficients);
                gather.shares(lowered, value, &mut shares);
                for i in 0..LANES {
                    sum[i] = sum[i].wrapping_add(coefficients[i].wrapping_mul(shares[i]));
                }
            };
            add(false, Value::One, 0);
            add(false, Value::Shifted, 1);
            add(false, Value::Top, 1);
            add(false, Value::Square, 2);
            add(false, Value::TopShifted, 2);
            if self.spec.exact {
                add(true, Value::One, 1);
                add(true, Value::Shifted, 2);
                add(true, Value::Top, 2);
            }
            let out = &mut sums[usize::from(!piece.whole && self.fine > 0)][block * LANES..][..c.len()];
            out.iter_mut().zip(sum.iter()).for_each(|(out, s)| *out = out.wrapping_add(*s));
        }
    }

    /// For x = base - (r >> s) + w·r31: base and w.
    #[inline(always)]
    fn wraps(&self, c: &[u32; LANES], negative: bool) -> [[u32; LANES]; 2] {
        let shift = self.spec.shift;
        let mut both = [*c, [0; LANES]];
        if shift == 0 {
            return both;
        }
        let q = 1u32 << (32 - shift);
        let less = if self.offset { OFFSET >> shift } else { 0 };
        let [base, w] = &mut both;
        for i in 0..LANES {
            let top = q.wrapping_mul(c[i] >> 31);
            let shifted = (c[i] >> shift).wrapping_sub(less);
            (base[i], w[i]) = if negative { (shifted.wrapping_sub(top), top) } else { (shifted, q.wrapping_sub(top)) };
        }
        both
    }
}

/// An opened plane as e and 1 - 2e: a bit is e + (1 - 2e)·mask.
#[inline(always)]
fn signs(plane: &Plane, out: &mut [[u32; LANES]; 2]) {
    let [e, sign] = out;
    lanes::unpack(plane, e);
    for i in 0..LANES {
        sign[i] = 1u32.wrapping_sub(2 * e[i]);
    }
}

/// What a word is multiplied by in a piece's polynomial of x, or of x less the rounding: there its square is itself.
#[inline(always)]
fn coefficient(piece: &Piece, value: Value, low: bool, [base, w]: &[[u32; LANES]; 2], out: &mut [u32; LANES]) {
    let (a, b, c) = (piece.a as u32, piece.b as u32, piece.c as u32);
    for i in 0..LANES {
        let (base, w) = (base[i], w[i]);
        let slope = b.wrapping_add(c.wrapping_mul(base).wrapping_mul(2));
        out[i] = match (low, value) {
            (false, Value::One) => a.wrapping_add(base.wrapping_mul(b.wrapping_add(c.wrapping_mul(base)))),
            (false, Value::Shifted) => slope.wrapping_neg(),
            (false, Value::Top) => w.wrapping_mul(slope),
            (false, Value::Square) => c,
            (false, Value::TopShifted) => w.wrapping_mul(c).wrapping_mul(2).wrapping_neg(),
            (true, Value::One) => c.wrapping_sub(slope),
            (true, Value::Shifted) => c.wrapping_mul(2),
            (true, _) => c.wrapping_mul(w).wrapping_mul(2).wrapping_neg(),
        };
    }
}

/// Shares of a word times a piece's bit, and perhaps the rounding's.
struct Gather<'a> {
    spec: &'a MaskSpec,
    masks: &'a Masks,
    block: usize,
    first: bool,
    at: usize,
    bits: &'a [[u32; LANES]; 2],
    low: &'a [[u32; LANES]; 2],
}

impl Gather<'_> {
    #[inline(always)]
    fn shares(&self, lowered: bool, value: Value, out: &mut [u32; LANES]) {
        self.selected(false, value, out);
        if lowered {
            let mut times = Zeroizing::new([0; LANES]);
            self.selected(true, value, &mut times);
            let [e, sign] = self.low;
            for i in 0..LANES {
                out[i] = e[i].wrapping_mul(out[i]).wrapping_add(sign[i].wrapping_mul(times[i]));
            }
        }
    }

    /// Times the piece's bit: e·word + (1 - 2e)·(mask·word).
    #[inline(always)]
    fn selected(&self, low: bool, value: Value, out: &mut [u32; LANES]) {
        let column = |piece: Option<usize>| {
            let at = self.spec.columns().iter().position(|c| (c.piece, c.low, c.value) == (piece, low, value));
            at.map(|at| self.masks.column(self.spec, self.block, at))
        };
        match column(None) {
            Some(word) => *out = *word,
            None => out.fill(u32::from(self.first && !low && value == Value::One)),
        }
        if let Some(word) = column(Some(self.at)) {
            let [e, sign] = self.bits;
            for i in 0..LANES {
                out[i] = e[i].wrapping_mul(out[i]).wrapping_add(sign[i].wrapping_mul(word[i]));
            }
        }
    }
}

/// Opens y + r, from both parties' shares: a flight of 4 bytes each way. The server adds `offset`.
///
/// # Errors
/// The peer's and the channel's.
pub fn open(end: &mut End, y: &[u32], masks: &Masks, offset: u32) -> Result<Vec<u32>> {
    let mine = masked(y, masks, if end.first() { 0 } else { offset });
    let theirs = to_words(&end.exchange(to_bytes(&mine))?)?;
    let c: Vec<u32> = mine.iter().zip(theirs).map(|(a, b)| a.wrapping_add(b)).collect();
    note_words(end, &c);
    Ok(c)
}

/// The same where the server has the client's half already: 4 bytes down.
///
/// # Errors
/// The peer's and the channel's.
pub fn open_down(end: &mut End, y: &[u32], masks: &Masks, offset: u32, clients: &[u32]) -> Result<Vec<u32>> {
    let mut c = Vec::new();
    let elements = masks.elements();
    let received = end.hand_over(Party::Server, 4 * elements, || {
        c = masked(y, masks, offset).iter().zip(clients).map(|(a, b)| a.wrapping_add(*b)).collect();
        to_bytes(&c)
    })?;
    if let Some(bytes) = received {
        c = to_words(&bytes)?;
    }
    note_words(end, &c);
    Ok(c)
}

/// y + r of one party.
pub fn masked(y: &[u32], masks: &Masks, offset: u32) -> Vec<u32> {
    y.iter().zip(masks.masks()).map(|(y, r)| y.wrapping_add(*r).wrapping_add(offset)).collect()
}

/// Shares of \[y < t\] for each threshold t of y, in the order \[block\]\[threshold\], and of the rounding at the end of
/// each block where the masks are exact.
///
/// # Errors
/// The peer's and the channel's.
pub fn compare(end: &mut End, spec: &MaskSpec, masks: &Masks, c: &[u32], thresholds: &[u32]) -> Result<Planes> {
    if c.len() != masks.elements() {
        return Err(Error::Model(format!("{} values, masks for {}", c.len(), masks.elements())));
    }
    let (first, trees) = (end.first(), spec.trees.len());
    let mut signs = Planes::new(vec![ZERO; blocks(c.len()) * trees]);
    let mut leaves = Vec::with_capacity(signs.len());
    for (block, c) in c.chunks(LANES).enumerate() {
        widest(|| {
            let digits: [[Plane; 16]; 8] =
                if trees > 0 { std::array::from_fn(|d| masks.digit(spec, block, d, first)) } else { [[ZERO; 16]; 8] };
            for tree in 0..trees {
                let threshold = thresholds.get(tree).copied();
                let mut less = [0u32; LANES];
                let t = threshold.unwrap_or(0);
                less.iter_mut().zip(c).for_each(|(less, c)| *less = c.wrapping_sub(t));
                let bits = planes(&less);
                if threshold.is_some() {
                    let top = masks.dealt(spec, block, super::masks::ONE_HOT - 1);
                    signs[block * trees + tree] = if first { xor(top, &bits[31]) } else { *top };
                }
                let leaf = |d: usize| {
                    let public = one_hot(&bits[4 * d..4 * d + DIGITS[d] as usize]);
                    // Of the rounding, the bits that are taken off alone.
                    let left = if threshold.is_some() { 31 } else { spec.shift } - 4 * d as u32;
                    compare_digit(&digits[d], &public, DIGITS[d], left.min(DIGITS[d]))
                };
                leaves.push(Nodes::new((0..spec.trees[tree].leaves).map(leaf).collect()));
            }
        });
    }
    let climbed = climb(end, spec, masks, leaves)?;
    Ok(Planes::new(climbed.iter().zip(&*signs).map(|([g, _], sign)| xor(g, sign)).collect()))
}

/// Bytes each way of [`climb`].
pub fn climbed_bytes(spec: &MaskSpec, elements: usize) -> usize {
    let levels = spec.trees.iter().map(|t| t.levels.len()).max().unwrap_or(0);
    (0..levels).map(|level| lanes::bytes(spec.trees.iter().map(|t| t.opened(level)).sum(), elements)).sum()
}

/// Climbs all trees of all blocks together, a flight a level: from \[block, tree\]\[leaf\] to \[block, tree\].
///
/// # Errors
/// The peer's and the channel's.
pub fn climb(end: &mut End, spec: &MaskSpec, masks: &Masks, mut nodes: Vec<Nodes>) -> Result<Nodes> {
    let (first, n, trees) = (end.first(), masks.elements(), spec.trees.len());
    let levels = spec.trees.iter().map(|t| t.levels.len()).max().unwrap_or(0);
    for level in 0..levels {
        let width: usize = spec.trees.iter().map(|t| t.opened(level)).sum();
        let mut mine = Planes::new(Vec::with_capacity(blocks(n) * width));
        for (at, children) in nodes.iter().enumerate() {
            let (block, tree) = (at / trees, at % trees);
            each_node(spec, tree, level, children, |node, group, [free, _]| {
                for v in 0..node.variables {
                    mine.push(xor(&node.variable(group, v), masks.free(spec, block, free + v)));
                }
            });
        }
        let opened = open_planes(end, &mine, width, n)?;
        let mut next = 0;
        for (at, children) in nodes.iter_mut().enumerate() {
            let (block, tree) = (at / trees, at % trees);
            if level >= spec.trees[tree].levels.len() {
                continue;
            }
            // As much room as there may be: growing would leave copies behind.
            let mut joined = Nodes::new(Vec::with_capacity(children.len()));
            let singles: Vec<_> = spec.trees[tree].levels[level].iter().map(|n| n.children).collect();
            each_node(spec, tree, level, children, |node, group, [free, product]| {
                let opened = &opened[next..next + node.variables];
                next += node.variables;
                let free = masks.free_from(spec, block, free, node.variables);
                let products = masks.dealt_from(spec, block, product, node.monomials.len());
                joined.push(widest(|| node.join(&group[0][0], opened, &free, &products, first)));
            });
            if singles.last() == Some(&1) {
                joined.push(children[children.len() - 1]);
            }
            *children = joined;
        }
    }
    Ok(Nodes::new(nodes.iter().map(|n| n[0]).collect()))
}

/// Calls `f` with each node of a level that opens something, its children, the highest first, and the places of its
/// mask bits and their products.
fn each_node(
    spec: &MaskSpec,
    tree: usize,
    level: usize,
    children: &[[Plane; 2]],
    mut f: impl FnMut(&super::prefix::Node, &[[Plane; 2]], [usize; 2]),
) {
    let [mut free, mut product] = spec.tree_at(tree);
    for (at, nodes) in spec.trees[tree].levels.iter().enumerate().take(level + 1) {
        let mut rest = children;
        for node in nodes {
            if at == level {
                let (group, after) = rest.split_at(node.children);
                rest = after;
                if node.children > 1 {
                    let group = Nodes::new(group.iter().rev().copied().collect());
                    f(node, &group, [free, product]);
                }
            }
            if node.children > 1 {
                free += node.variables;
                product += node.monomials.len();
            }
        }
    }
}

/// Opens planes, `width` a block: a flight.
pub fn open_planes(end: &mut End, mine: &[Plane], width: usize, elements: usize) -> Result<Vec<Plane>> {
    if width == 0 || elements == 0 {
        return Ok(Vec::new());
    }
    let mut writer = Writer::new(lanes::bytes(width, elements) + 8);
    for (at, plane) in mine.iter().enumerate() {
        writer.plane(plane, filled(elements, at / width));
    }
    let message = writer.finish();
    let length = message.len();
    let theirs = end.exchange(message)?;
    let mut reader = Reader::new(&theirs, length)?;
    let opened: Vec<Plane> =
        mine.iter().enumerate().map(|(at, plane)| xor(plane, &reader.plane(filled(elements, at / width)))).collect();
    #[cfg(test)]
    for (at, plane) in opened.iter().enumerate() {
        let filled = filled(elements, at / width) / 32;
        end.opened.extend(plane[..filled].iter().flat_map(|w| w.to_le_bytes()));
    }
    Ok(opened)
}

#[cfg(test)]
fn note_words(end: &mut End, c: &[u32]) {
    end.opened.extend(to_bytes(c));
}

#[cfg(not(test))]
fn note_words(_end: &mut End, _c: &[u32]) {}

/// What [`Activation::evaluate`] gives in the clear, from y and the opened c (without the offset): with the rounding
/// that c and y say, both known to whoever has both shares.
pub fn ideal(function: &Pieces, shift: u32, exact: bool, y: i64, c: u32) -> [i64; 2] {
    let low = |v: u32| v & (((1u64 << shift) - 1) as u32);
    let r = c.wrapping_sub(y as u32);
    let rounding = i64::from(!exact && low(r) > low(c));
    let x = y >> shift;
    let on = function.pieces.iter().filter(|p| p.holds(x));
    on.fold([0; 2], |mut sums, p| {
        sums[usize::from(!p.whole && function.shift > 0)] += p.at(x + rounding);
        sums
    })
}
