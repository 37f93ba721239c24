//! Parameter sets: constants, with the bits that known attacks leave them (estimates of July 2026).
//!
//! `estimators` is the least of pooled Gauss, the hybrid attack (ePrint 2025/1284) and regular information-set decoding
//! (2023/1568); `sparse` is our own search of algebraic attacks on rows of ten terms, block Wiedemann over monomials of
//! degree 2 to 5. Fewer trees are a part of the larger instance, so a lower count makes no attack easier; the table
//! must stay well above 2^depth·sqrt(trees), so counts are upper limits.

use super::check::{CHECK, DIGEST, MASKED};

/// A parameter set of silent OT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name in reports.
    pub name: &'static str,
    /// Blocks of the regular noise, a tree each.
    pub(super) trees: usize,
    /// log2 of the public matrix's columns: base transfers that outputs are folded from.
    pub(super) log_table: u32,
    /// Levels of a tree, log2 of a block.
    pub(super) depth: usize,
    /// Bits of security by published estimators.
    pub estimators: u32,
    /// Bits of security against attacks on sparse rows.
    pub sparse: u32,
}

/// For draws of a few hundred thousand.
pub const B10: Set = Set { name: "b10", trees: 580, log_table: 16, depth: 10, estimators: 133, sparse: 132 };
/// The usual one.
pub const B11: Set = Set { name: "b11", trees: 700, log_table: 17, depth: 11, estimators: 137, sparse: 132 };
/// Fewer bytes, a table of 4 MiB.
pub const B12: Set = Set { name: "b12", trees: 800, log_table: 18, depth: 12, estimators: 141, sparse: 132 };
/// The fewest bytes, a table of 8 MiB.
pub const B13: Set = Set { name: "b13", trees: 960, log_table: 19, depth: 13, estimators: 145, sparse: 132 };

/// All of them; nothing else is accepted.
pub const SETS: [Set; 4] = [B10, B11, B12, B13];

impl Set {
    /// Columns of the public matrix.
    pub(super) fn table(&self) -> usize {
        1 << self.log_table
    }

    /// Base transfers of an iteration, which the one before it makes.
    pub fn base(&self) -> usize {
        self.table() + self.trees * self.depth + CHECK
    }

    /// Leaves of a tree.
    pub(super) fn leaves(&self) -> usize {
        1 << self.depth
    }

    /// Transfers that an iteration makes, the next one's base included.
    pub(in super::super) fn outputs(&self) -> usize {
        self.trees << self.depth
    }

    /// Transfers that an iteration makes for use.
    pub fn usable(&self) -> usize {
        self.outputs() - self.base()
    }

    /// Bytes of an iteration's message of trees.
    pub fn message(&self) -> usize {
        16 * self.trees * self.depth
    }

    /// Bytes of an iteration from the receiver, and from the sender, held to the protocol where `checked`.
    pub fn bytes(&self, checked: bool) -> [usize; 2] {
        if checked { [MASKED, self.message() + DIGEST] } else { [0, self.message()] }
    }

    /// Bits of security: of LPN, and of a tree's hash key and check, which 2^depth nodes share.
    pub fn bits(&self) -> u32 {
        self.estimators.min(self.sparse).min(128 - self.depth as u32)
    }

    /// The least of the sets that [`Self::for_total`] chooses among.
    pub fn least_bits() -> u32 {
        B10.bits().min(B11.bits())
    }

    /// What serves `count` transfers of a direction best: none below 2^17, where SoftSpoken takes fewer bytes than the
    /// start.
    pub fn for_total(count: usize) -> Option<&'static Self> {
        match count {
            0..0x2_0000 => None,
            0x2_0000..0x20_0000 => Some(&B10),
            _ => Some(&B11),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_have_the_sizes_that_were_estimated() {
        let sizes = SETS.map(|s| (s.usable(), s.message(), s.base()));
        assert_eq!(sizes[0], (522_456, 92_800, 71_464));
        assert_eq!(sizes[1], (1_294_700, 123_200, 138_900));
        assert_eq!(sizes[2], (3_004_928, 153_600, 271_872));
        assert_eq!(sizes[3], (7_327_424, 199_680, 536_896));
        for set in SETS {
            // The margin of the table over the noise.
            assert!(set.table() as f64 > 2.0 * set.leaves() as f64 * (set.trees as f64).sqrt(), "{set:?}");
            assert!(set.estimators.min(set.sparse) >= 128);
            assert_eq!(set.bits(), 128 - set.depth as u32);
        }
        assert_eq!(Set::for_total((1 << 17) - 1), None);
        assert_eq!(Set::for_total(1 << 17), Some(&B10));
        assert_eq!(Set::for_total(1 << 21), Some(&B11));
    }
}
