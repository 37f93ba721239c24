//! Silent OT: Ferret (Yang, Weng, Lan, Zhang, Wang, 2020) from primal LPN with regular noise, half trees and a public
//! matrix of ten entries a row.
//!
//! A direction's transfers are v at the sender, w = v xor b·Delta at the receiver, where b, which nobody chose, is the
//! lowest bit of w: Delta is odd and v is even. An iteration spends [`Set::base`] of them and makes `Set::outputs`:
//!
//! | # | from -> to | content | bytes | phase |
//! |---|---|---|---|---|
//! | 1 | receiver -> sender | base transfers by SoftSpoken, of random choices | M of them | once |
//! | 2 | sender -> receiver | for every level of every tree: the sum of its left nodes xor a base label v | 16·t·d | each iteration |
//! | 3, 4 | receiver -> sender, back | between hosts: the check | 16, 32 | each iteration |
//!
//! Tree tau's hole has the turns 1 - b of its base transfers, so the receiver sends nothing for it; unmasked by w, row 2 is
//! the sum of the side that it may know. Output i is leaf i xor ten entries of the table, the first k base labels. The
//! first M outputs are the next base and go nowhere else; a base label masks one level once. Every tree hashes under a
//! key of its own.
//!
//! Security: LPN for the [sets](SETS), on top of SoftSpoken's assumptions. Between hosts it holds against a sender that
//! deviates, as it is checked, and a receiver that does: all that it sends is one masked value, whose change it gains
//! nothing by. In one process, where both halves are one's own, nothing is checked.

mod check;
mod iteration;
mod lpn;
mod sets;
#[cfg(test)]
mod tests;
mod trees;

pub(super) use iteration::{Receiver, Sender};
pub use sets::{B10, B11, B12, B13, SETS, Set};
