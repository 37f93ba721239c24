//! What a dealer shares so that one opening c = y + r compares and selects: one-hot digits of r, mask bits with their
//! products, and words that activations are linear in.
//!
//! | part | of | known to |
//! |---|---|---|
//! | r | 32 bits, uniform | shares of both parties from their seeds |
//! | one-hot digits of r's low 31 bits, without each one's last entry; its top bit | 113 bits | the client's share from its seed, the server's is sent |
//! | mask bits of trees and of pieces | uniform | shares of both from their seeds |
//! | products of mask bits within a node | bits | as one-hot digits |
//! | r >> s, r31, their products, and each times a piece's mask bit | words | as one-hot digits |
//!
//! With r~ = r >> s: words times 2^(32 - s) at most are needed of r31 (s bits), times 2^(33 - s) of r31·r~ (s - 1 bits).

use zeroize::Zeroizing;

use super::lanes::{
    self, LANES, Plane, Planes, Reader, WORDS, Writer, ZERO, add_product, and, blocks, filled, planes, xor,
};
use super::prefix::Tree;
use super::streams::{Part, Streams, Words};
use crate::error::Result;

/// Bits of the digits, lowest first: 31 in all.
pub const DIGITS: [u32; 8] = [4, 4, 4, 4, 4, 4, 4, 3];
/// One-hot entries but the last of each digit, and the top bit.
pub const ONE_HOT: usize = 7 * 15 + 7 + 1;

/// A word that a polynomial of x = (y >> s) is linear in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// 1.
    One,
    /// r >> s.
    Shifted,
    /// r's top bit.
    Top,
    /// (r >> s)^2.
    Square,
    /// Both together.
    TopShifted,
}

/// A word that is shared, times mask bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Times the mask bit of this piece.
    pub piece: Option<usize>,
    /// Times the mask bit of the rounding.
    pub low: bool,
    /// The word.
    pub value: Value,
}

/// What a piece needs of its polynomial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceSpec {
    /// The highest power of x.
    pub degree: u32,
    /// Whether it holds everywhere: nothing is selected.
    pub always: bool,
}

/// The shape of masks: public.
#[derive(Clone, Debug)]
pub struct MaskSpec {
    /// Bits that are taken off y.
    pub shift: u32,
    /// Whether r has digits: without, there are trees over bits alone.
    pub digits: bool,
    /// One a threshold, then that of the rounding.
    pub trees: Vec<Tree>,
    /// The polynomials.
    pub pieces: Vec<PieceSpec>,
    /// Whether the rounding is undone.
    pub exact: bool,
    columns: Vec<Column>,
}

impl MaskSpec {
    /// For an activation of values from which `shift` bits are taken off, exactly or with up to one unit too much.
    pub fn activation(shift: u32, thresholds: usize, pieces: Vec<PieceSpec>, exact: bool) -> Self {
        let exact = exact && shift > 0;
        let mut trees = vec![Tree::greater(DIGITS.len()); thresholds];
        if exact {
            trees.push(Tree::greater(shift.div_ceil(4) as usize));
        }
        let degree = pieces.iter().map(|p| p.degree).max().unwrap_or(0);
        let mut columns = columns(None, degree, shift, exact);
        for (at, piece) in pieces.iter().enumerate().filter(|(_, p)| !p.always) {
            columns.push(Column { piece: Some(at), low: false, value: Value::One });
            columns.extend(self::columns(Some(at), piece.degree, shift, exact));
        }
        Self { shift, digits: true, trees, pieces, exact, columns }
    }

    /// For comparing with zero alone.
    pub fn sign() -> Self {
        Self::activation(0, 1, Vec::new(), false)
    }

    /// For the AND of so many bits.
    pub fn all(bits: usize) -> Self {
        let trees = vec![Tree::all(bits)];
        Self { shift: 0, digits: false, trees, pieces: Vec::new(), exact: false, columns: Vec::new() }
    }

    /// For so many ANDs of two bits an element.
    pub fn ands(count: usize) -> Self {
        Self { trees: vec![Tree::all(2); count], ..Self::all(1) }
    }

    /// The words, in their order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Planes that both parties' seeds give: mask bits of trees, of pieces, of the rounding.
    pub fn free(&self) -> usize {
        self.trees.iter().map(Tree::variables).sum::<usize>() + self.pieces.len() + usize::from(self.exact)
    }

    /// Planes that the dealer sends.
    pub fn dealt(&self) -> usize {
        self.one_hot() + self.trees.iter().map(Tree::monomials).sum::<usize>()
    }

    fn one_hot(&self) -> usize {
        if self.digits { ONE_HOT } else { 0 }
    }

    /// Bits of a word that are needed.
    fn width(&self, column: &Column) -> u32 {
        match column.value {
            Value::Top => self.shift,
            Value::TopShifted => self.shift - 1,
            _ => 32,
        }
    }

    /// Bits that the dealer sends the server for an element.
    pub fn bits(&self) -> usize {
        self.dealt() + self.columns.iter().map(|c| self.width(c) as usize).sum::<usize>()
    }

    /// Bytes of the dealer's message for so many elements.
    pub fn bytes(&self, elements: usize) -> usize {
        lanes::bytes(self.bits(), elements)
    }

    /// Bytes of a party's masks for so many elements.
    pub fn held(&self, elements: usize) -> u64 {
        let words =
            if self.digits { LANES } else { 0 } + WORDS * (self.free() + self.dealt()) + LANES * self.columns.len();
        4 * (blocks(elements) * words) as u64
    }

    /// The place of a tree's first mask bit, and of its first product among all dealt planes.
    pub fn tree_at(&self, tree: usize) -> [usize; 2] {
        let before = &self.trees[..tree];
        [before.iter().map(Tree::variables).sum(), self.one_hot() + before.iter().map(Tree::monomials).sum::<usize>()]
    }

    /// The place of a piece's mask bit, or, after all pieces, of the rounding's.
    pub fn piece_at(&self, piece: usize) -> usize {
        self.trees.iter().map(Tree::variables).sum::<usize>() + piece
    }

    /// The client's masks: all from its seed.
    pub fn client(&self, elements: usize, item: usize, streams: &Streams) -> Masks {
        let mut masks = self.server_part(elements, item, streams);
        let n = blocks(elements);
        masks.dealt = streams.draw(item, Part::Bits, n * self.dealt() * WORDS);
        masks.columns = streams.draw(item, Part::Columns, n * self.columns.len() * LANES);
        masks
    }

    /// What the server's seed gives: the rest is zero.
    fn server_part(&self, elements: usize, item: usize, streams: &Streams) -> Masks {
        let n = blocks(elements);
        let words = if self.digits { n * LANES } else { 0 };
        Masks {
            elements,
            mask: streams.draw(item, Part::Mask, words),
            free: streams.draw(item, Part::Free, n * self.free() * WORDS),
            dealt: Zeroizing::new(vec![0; n * self.dealt() * WORDS]),
            columns: Zeroizing::new(vec![0; n * self.columns.len() * LANES]),
        }
    }

    /// The server's masks: from its seed, and from the dealer's message.
    ///
    /// # Errors
    /// [`crate::Error::Protocol`] for a message of another length.
    pub fn server(&self, elements: usize, item: usize, streams: &Streams, message: &[u8]) -> Result<Masks> {
        let mut masks = self.server_part(elements, item, streams);
        let mut reader = Reader::new(message, self.bytes(elements))?;
        for block in 0..blocks(elements) {
            let filled = filled(elements, block);
            for at in 0..self.dealt() {
                masks.dealt_mut(self, block, at).copy_from_slice(&reader.plane(filled));
            }
            for (at, column) in self.columns.iter().enumerate() {
                let width = self.width(column);
                let words = masks.column_mut(self, block, at);
                words[..filled].iter_mut().for_each(|w| *w = reader.word(width));
            }
        }
        Ok(masks)
    }

    /// The dealer's message, from both parties' seeds.
    pub fn deal(&self, elements: usize, item: usize, client: &Streams, server: &Streams) -> Vec<u8> {
        let (theirs, ours) = (self.client(elements, item, client), self.server_part(elements, item, server));
        let mut writer = Writer::new(self.bytes(elements) + 8);
        for block in 0..blocks(elements) {
            blindvox_engine::simd::widest(|| self.deal_block(block, &theirs, &ours, &mut writer));
        }
        writer.finish()
    }

    #[inline(always)]
    fn deal_block(&self, block: usize, theirs: &Masks, ours: &Masks, writer: &mut Writer) {
        let filled = filled(theirs.elements, block);
        let mut r = Zeroizing::new([0u32; LANES]);
        let mut at = 0;
        if self.digits {
            let (a, b) = (theirs.mask(block), ours.mask(block));
            r.iter_mut().zip(a.iter().zip(b)).for_each(|(r, (a, b))| *r = a.wrapping_add(*b));
            let bits = Zeroizing::new(planes(&*r));
            let mut low = 0;
            for width in DIGITS {
                let one_hot = one_hot(&bits[low..low + width as usize]);
                for entry in &one_hot[..(1 << width) - 1] {
                    writer.plane(&xor(entry, theirs.dealt(self, block, at)), filled);
                    at += 1;
                }
                low += width as usize;
            }
            writer.plane(&xor(&bits[31], theirs.dealt(self, block, at)), filled);
            at += 1;
        }
        let free = |at: usize| xor(theirs.free(self, block, at), ours.free(self, block, at));
        let mut first = 0;
        for node in self.trees.iter().flat_map(Tree::nodes) {
            let bits = Planes::new((0..node.variables).map(|v| free(first + v)).collect());
            for &monomial in &node.monomials {
                let members = bits.iter().enumerate().filter(|(v, _)| monomial >> v & 1 == 1);
                let product = members.fold([u32::MAX; WORDS], |product, (_, bit)| and(&product, bit));
                writer.plane(&xor(&product, theirs.dealt(self, block, at)), filled);
                at += 1;
            }
            first += node.variables;
        }
        let mut words = Zeroizing::new([0u32; LANES]);
        let mut bit = Zeroizing::new([0u32; LANES]);
        let shift = self.shift;
        for (at, column) in self.columns.iter().enumerate() {
            for (word, r) in words.iter_mut().zip(r.iter()) {
                let (shifted, top) = (r >> shift, r >> 31);
                *word = match column.value {
                    Value::One => 1,
                    Value::Shifted => shifted,
                    Value::Top => top,
                    Value::Square => shifted.wrapping_mul(shifted),
                    Value::TopShifted => top * shifted,
                };
            }
            for place in column.piece.into_iter().chain(column.low.then_some(self.pieces.len())) {
                lanes::unpack(&free(self.piece_at(place)), &mut *bit);
                words.iter_mut().zip(bit.iter()).for_each(|(w, b)| *w = w.wrapping_mul(*b));
            }
            let shares = theirs.column(self, block, at);
            let width = self.width(column);
            for (word, share) in words[..filled].iter().zip(shares) {
                writer.word(word.wrapping_sub(*share), width);
            }
        }
    }
}

/// The words of a polynomial of this degree, times the mask bit of a piece and perhaps that of the rounding.
fn columns(piece: Option<usize>, degree: u32, shift: u32, exact: bool) -> Vec<Column> {
    let column = |low: bool| move |value: Value| Column { piece, low, value };
    let powers = |degree: u32| {
        let linear = [(degree > 0, Value::Shifted), (degree > 0 && shift > 0, Value::Top)];
        let square = [(degree > 1, Value::Square), (degree > 1 && shift > 1, Value::TopShifted)];
        linear.into_iter().chain(square).filter_map(|(needed, value)| needed.then_some(value))
    };
    let mut all: Vec<Column> = powers(degree).map(column(false)).collect();
    if exact && degree > 0 {
        all.push(column(true)(Value::One));
        all.extend(powers(degree - 1).map(column(true)));
    }
    all
}

/// The one-hot vector of a digit from its bits.
#[inline(always)]
pub fn one_hot(bits: &[Plane]) -> [Plane; 16] {
    let mut entries = [[u32::MAX; WORDS]; 16];
    for (b, bit) in bits.iter().enumerate() {
        for (j, entry) in entries.iter_mut().enumerate().take(1 << bits.len()) {
            let flip = if j >> b & 1 == 1 { 0 } else { u32::MAX };
            entry.iter_mut().zip(bit).for_each(|(e, b)| *e &= b ^ flip);
        }
    }
    entries
}

/// One party's masks, good for one use: cleared when dropped, neither printed nor cloned.
pub struct Masks {
    elements: usize,
    mask: Words,
    free: Words,
    dealt: Words,
    columns: Words,
}

fn plane(words: &[u32], at: usize) -> &Plane {
    words[at * WORDS..(at + 1) * WORDS].try_into().expect("a plane")
}

impl Masks {
    /// Elements.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// This party's share of r, for all elements.
    pub fn masks(&self) -> &[u32] {
        &self.mask[..self.elements]
    }

    fn mask(&self, block: usize) -> &[u32] {
        &self.mask[block * LANES..(block + 1) * LANES]
    }

    /// Share of mask bit `at`.
    #[inline(always)]
    pub fn free(&self, spec: &MaskSpec, block: usize, at: usize) -> &Plane {
        plane(&self.free, block * spec.free() + at)
    }

    /// Shares of mask bits from `at` on.
    #[inline(always)]
    pub fn free_from(&self, spec: &MaskSpec, block: usize, at: usize, count: usize) -> Planes {
        Planes::new((at..at + count).map(|at| *self.free(spec, block, at)).collect())
    }

    /// Share of dealt plane `at`.
    #[inline(always)]
    pub fn dealt(&self, spec: &MaskSpec, block: usize, at: usize) -> &Plane {
        plane(&self.dealt, block * spec.dealt() + at)
    }

    /// Shares of dealt planes from `at` on.
    #[inline(always)]
    pub fn dealt_from(&self, spec: &MaskSpec, block: usize, at: usize, count: usize) -> Planes {
        Planes::new((at..at + count).map(|at| *self.dealt(spec, block, at)).collect())
    }

    fn dealt_mut(&mut self, spec: &MaskSpec, block: usize, at: usize) -> &mut [u32] {
        let at = block * spec.dealt() + at;
        &mut self.dealt[at * WORDS..(at + 1) * WORDS]
    }

    /// Shares of word `at`.
    #[inline(always)]
    pub fn column(&self, spec: &MaskSpec, block: usize, at: usize) -> &[u32; LANES] {
        let at = block * spec.columns.len() + at;
        self.columns[at * LANES..(at + 1) * LANES].try_into().expect("a block")
    }

    fn column_mut(&mut self, spec: &MaskSpec, block: usize, at: usize) -> &mut [u32] {
        let at = block * spec.columns.len() + at;
        &mut self.columns[at * LANES..(at + 1) * LANES]
    }

    /// Shares of all one-hot entries of digit `digit`: the last is 1 xor the others, 1 being the first party's.
    #[inline(always)]
    pub fn digit(&self, spec: &MaskSpec, block: usize, digit: usize, first: bool) -> [Plane; 16] {
        let entries = (1 << DIGITS[digit]) - 1;
        let mut all = [ZERO; 16];
        let mut last = [if first { u32::MAX } else { 0 }; WORDS];
        for (j, entry) in all.iter_mut().enumerate().take(entries) {
            *entry = *self.dealt(spec, block, 15 * digit + j);
            last = xor(&last, entry);
        }
        all[entries] = last;
        all
    }
}

/// Shares of whether the digit of r is above, and equal to, the public one whose one-hot vector is given, both of them
/// modulo 2^`bits`.
#[inline(always)]
pub fn compare_digit(shares: &[Plane; 16], public: &[Plane; 16], width: u32, bits: u32) -> [Plane; 2] {
    let (mut greater, mut equal) = (ZERO, ZERO);
    let low = (1usize << bits) - 1;
    // The shares of the entries that are congruent, lowest first; and where the public digit lies below.
    let mut below = ZERO;
    for value in 0..1 << bits {
        let (mut share, mut here) = (ZERO, ZERO);
        for j in (0..1usize << width).filter(|j| j & low == value) {
            share = xor(&share, &shares[j]);
            here = xor(&here, &public[j]);
        }
        add_product(&mut equal, &share, &here);
        add_product(&mut greater, &share, &below);
        below = xor(&below, &here);
    }
    [greater, equal]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bits a dealer sends for an element, as the table of activations has them.
    #[test]
    fn activations_take_the_bits_of_the_table() {
        let piece = |degree: u32| PieceSpec { degree, always: false };
        for (shift, thresholds, degrees, bits) in [
            (12, 1, &[0][..], 183),
            (12, 1, &[1], 271),
            (12, 2, &[1, 0], 341),
            // Without what converts the truncated sum: 10 bits.
            (12, 1, &[1, 1], 347),
            // 17 bits, 15 bits, 14 bits.
            (12, 3, &[2, 2, 0], 601 - 17),
            (12, 3, &[0, 2, 2, 0], 630 - 14),
            (12, 2, &[0, 2, 1], 517 - 14),
            (10, 5, &[0, 2, 2, 2, 2, 0], 930 - 20),
        ] {
            let spec = MaskSpec::activation(shift, thresholds, degrees.iter().map(|&d| piece(d)).collect(), false);
            assert_eq!(spec.bits(), bits, "{degrees:?}");
        }
    }

    #[test]
    fn digits_compare_for_all_values_and_widths() {
        for width in [3, 4] {
            for bits in 1..=width {
                for (r, c) in (0..1 << width).flat_map(|r| (0..1 << width).map(move |c| (r, c))) {
                    let hot = |v: usize| -> [Plane; 16] {
                        std::array::from_fn(|j| [if j == v { u32::MAX } else { 0 }; WORDS])
                    };
                    let low = (1 << bits) - 1;
                    let [greater, equal] = compare_digit(&hot(r), &hot(c), width, bits);
                    assert_eq!(greater[0] != 0, r & low > c & low, "{r} > {c} mod 2^{bits}");
                    assert_eq!(equal[0] != 0, r & low == c & low, "{r} = {c} mod 2^{bits}");
                }
            }
        }
    }
}
