//! Prefix trees over shared bits: which of two numbers is greater from digits that are greater or equal, and the AND of
//! many bits.
//!
//! A node of up to four children, highest first, makes G = g3 ^ p3·g2 ^ p3·p2·g1 ^ p3·p2·p1·g0 and P = p3·p2·p1·p0 in
//! one flight: every variable but the highest g is opened under a mask bit of its own, and the dealer shares the
//! products of the mask bits that occur. The lowest node of a level needs no P.

use super::lanes::{Plane, ZERO, add_product, xor};

/// Children of a node.
const RADIX: usize = 4;

/// Where a share of a product of mask bits is.
#[derive(Clone, Copy, Debug)]
enum Mask {
    /// The product of none: 1.
    One,
    /// A mask bit.
    Free(usize),
    /// A product of several.
    Product(usize),
}

/// The product of opened bits and of mask bits that a sum has.
#[derive(Clone, Copy, Debug)]
struct Term {
    /// In P's sum, else in G's.
    product: bool,
    /// Opened variables, a bit each.
    opened: u8,
    mask: Mask,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// How many children.
    pub children: usize,
    /// Whether they have g, and this G.
    greater: bool,
    /// Whether it makes P.
    product: bool,
    /// Variables that are opened: of child and kind, in the order of their mask bits.
    pub variables: usize,
    /// Products of mask bits: a bit a variable.
    pub monomials: Vec<u8>,
    terms: Vec<Term>,
}

impl Node {
    fn new(children: usize, greater: bool, product: bool) -> Self {
        let p = |j: usize| 1u8 << if greater { 2 * j } else { j };
        let ps = |count: usize| (0..count).map(p).sum::<u8>();
        let mut sums = Vec::new();
        if greater {
            sums.extend((1..children).map(|j| (false, ps(j) | 1 << (2 * j - 1))));
        }
        if product {
            sums.push((true, ps(children)));
        }
        let variables = if greater { 2 * (children - 1) + usize::from(product) } else { children };
        let mut monomials: Vec<u8> = (0..=u8::MAX >> (8 - variables))
            .filter(|m| m.count_ones() > 1 && sums.iter().any(|(_, of)| m & !of == 0))
            .collect();
        monomials.sort_unstable();
        let mask = |m: u8| match m.count_ones() {
            0 => Mask::One,
            1 => Mask::Free(m.trailing_zeros() as usize),
            _ => Mask::Product(monomials.binary_search(&m).expect("a part of a sum")),
        };
        let mut terms = Vec::new();
        for &(product, of) in &sums {
            let parts = (0..=of).filter(|m| m & !of == 0);
            terms.extend(parts.map(|m| Term { product, opened: of & !m, mask: mask(m) }));
        }
        Self { children, greater, product, variables, monomials, terms }
    }

    /// The share of a variable among those of the children (g, p), highest child first.
    pub fn variable(&self, children: &[[Plane; 2]], at: usize) -> Plane {
        match self.greater {
            false => children[at][1],
            true if at % 2 == 1 => children[at.div_ceil(2)][0],
            true => children[at / 2][1],
        }
    }

    /// Shares of G and P from the opened variables and this party's shares of mask bits and their products; the first
    /// party adds what is public.
    #[inline(always)]
    pub fn join(&self, top: &Plane, opened: &[Plane], free: &[Plane], products: &[Plane], first: bool) -> [Plane; 2] {
        let mut sums = [if self.greater { *top } else { ZERO }, ZERO];
        let one = [if first { u32::MAX } else { 0 }; 16];
        for term in &self.terms {
            let mut value = match term.mask {
                Mask::One => one,
                Mask::Free(at) => free[at],
                Mask::Product(at) => products[at],
            };
            let mut left = term.opened;
            while left & left.wrapping_sub(1) != 0 {
                let bits = &opened[left.trailing_zeros() as usize];
                value.iter_mut().zip(bits).for_each(|(v, b)| *v &= b);
                left &= left - 1;
            }
            let sum = &mut sums[usize::from(term.product)];
            match left {
                0 => *sum = xor(sum, &value),
                _ => add_product(sum, &value, &opened[left.trailing_zeros() as usize]),
            }
        }
        sums
    }
}

/// A tree over leaves, lowest first.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Leaves.
    pub leaves: usize,
    /// The nodes of each level, lowest first; one of a single child hands it on.
    pub levels: Vec<Vec<Node>>,
}

impl Tree {
    /// Which of two numbers of so many digits is greater.
    pub fn greater(leaves: usize) -> Self {
        Self::new(leaves, true)
    }

    /// The AND of so many bits.
    pub fn all(leaves: usize) -> Self {
        Self::new(leaves, false)
    }

    fn new(leaves: usize, greater: bool) -> Self {
        let (mut width, mut levels) = (leaves, Vec::new());
        while width > 1 {
            let node = |at: usize| Node::new(RADIX.min(width - at), greater, at > 0 || !greater);
            levels.push((0..width).step_by(RADIX).map(node).collect());
            width = width.div_ceil(RADIX);
        }
        Self { leaves, levels }
    }

    /// Variables opened at a level.
    pub fn opened(&self, level: usize) -> usize {
        self.levels.get(level).map_or(0, |nodes| nodes.iter().filter(|n| n.children > 1).map(|n| n.variables).sum())
    }

    /// Mask bits.
    pub fn variables(&self) -> usize {
        (0..self.levels.len()).map(|level| self.opened(level)).sum()
    }

    /// Products of mask bits.
    pub fn monomials(&self) -> usize {
        self.nodes().map(|n| n.monomials.len()).sum()
    }

    /// All nodes that open something, in the order of their mask bits.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.levels.iter().flatten().filter(|n| n.children > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_message_table() {
        let tree = Tree::greater(8);
        let sizes: Vec<_> = tree.nodes().map(|n| (n.variables, n.monomials.len())).collect();
        assert_eq!(sizes, [(6, 15), (7, 22), (2, 1)]);
        assert_eq!((tree.variables(), tree.monomials(), tree.levels.len()), (15, 38, 2));
        let low = Tree::greater(3);
        assert_eq!((low.variables(), low.monomials()), (4, 5));
        assert_eq!((Tree::greater(1).levels.len(), Tree::all(9).levels.len()), (0, 2));
    }

    /// Every assignment of variables and masks, in lanes: nodes of all sizes give G and P.
    #[test]
    fn nodes_are_exact_for_all_bits_and_masks() {
        for children in 2..=RADIX {
            for (greater, product) in [(true, true), (true, false), (false, true)] {
                let node = Node::new(children, greater, product);
                let bit = |word: u32, at: usize| if word >> at & 1 == 1 { u32::MAX } else { 0 };
                for values in 0..1u32 << (2 * children) {
                    let child = |i: usize| [[bit(values, 2 * i); 16], [bit(values, 2 * i + 1); 16]];
                    let children: Vec<_> = (0..children).map(child).collect();
                    let (mut g, mut p) = (false, true);
                    for c in children.iter().rev() {
                        g = c[0][0] != 0 || (c[1][0] != 0 && g);
                        p &= c[1][0] != 0;
                    }
                    // g and p of a child are never both 1.
                    if greater && children.iter().any(|c| c[0][0] & c[1][0] != 0) {
                        continue;
                    }
                    for masks in 0..1u32 << node.variables {
                        // All of each share in one party's hands: the shares are those of a trivial sharing.
                        let free: Vec<Plane> = (0..node.variables).map(|v| [bit(masks, v); 16]).collect();
                        let opened: Vec<Plane> =
                            (0..node.variables).map(|v| xor(&node.variable(&children, v), &free[v])).collect();
                        let products: Vec<Plane> = node
                            .monomials
                            .iter()
                            .map(|&m| [if masks & u32::from(m) == u32::from(m) { u32::MAX } else { 0 }; 16])
                            .collect();
                        let out = node.join(&children[0][0], &opened, &free, &products, true);
                        if greater {
                            assert_eq!(out[0][0] != 0, g);
                        }
                        if product {
                            assert_eq!(out[1][0] != 0, p);
                        }
                    }
                }
            }
        }
    }
}
