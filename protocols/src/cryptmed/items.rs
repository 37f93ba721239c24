//! What a dealer shares at a time, and what a party has of it.

use super::masks::{MaskSpec, Masks};
use super::streams::Words;
use super::triples::RingTriples;
use super::wraps::Wraps;

/// What the dealer shares at once.
#[derive(Clone, Debug)]
pub enum Item {
    /// Masks of an opening or of a tree.
    Masks(Box<MaskSpec>, usize),
    /// Truncation of so many elements by so many bits.
    Wraps(u32, usize),
    /// So many products mod 2^32.
    RingTriples(usize),
    /// A layer's input mask and masked output: its number among the layers.
    Layer(usize),
}

/// One party's part of an item, good for one use.
pub enum Material {
    /// Of an opening or a tree.
    Masks(Masks),
    /// Of a truncation.
    Wraps(Wraps),
    /// Of products.
    RingTriples(RingTriples),
    /// Of a layer: the client's u and a2, the server's v.
    Layer(Words, Words),
}
