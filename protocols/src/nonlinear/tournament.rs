//! Rounds of a knock-out tournament over columns of shared values: comparisons by garbled circuits, selection by OTs.
//!
//! In a round neighbours meet: columns 0 and 1, 2 and 3, ...; the last column of an odd number goes on unmatched. The first of
//! a pair wins where it is not smaller, so among equals the lowest column wins the tournament. A difference has one bit more than
//! its operands, so values of k bits need shares that are right mod 2^(k+1).
//!
//! A round costs a match of K = k + 1 bits: [`arithmetic::sign`] (4K bytes of OTs, 32 (K - 1) of tables) and, if its
//! winners are wanted, a [`select`] (16 bytes).

use zeroize::Zeroizing;

use super::select::select;
use crate::channel::{Channel, Party};
use crate::error::Result;
use crate::gc::{Half, Planes, Program, arithmetic};
use crate::ot::OtPair;

/// The comparison of all rounds.
pub(super) struct Tournament {
    program: Program,
    wide: usize,
}

/// This party's part of a round's matches.
pub(super) struct Outcomes {
    /// First less second of each pair, pair after pair.
    differences: Zeroizing<Vec<u32>>,
    /// Shares by xor of "the first is not smaller", a byte each in the order of the differences.
    pub(super) first_wins: Zeroizing<Vec<u8>>,
}

impl Tournament {
    /// Among values of `bits` bits, at most 31.
    pub(super) fn new(bits: u32) -> Self {
        let wide = bits as usize + 1;
        Self { program: Program::new(&arithmetic::sign(wide)), wide }
    }

    /// Compares the columns' pairs.
    pub(super) fn compare(&self, channel: &mut Channel, gc: &mut Half, columns: &[Vec<u32>]) -> Result<Outcomes> {
        let (pairs, _) = columns.as_chunks::<2>();
        let differences = Zeroizing::new(
            pairs.iter().flat_map(|[a, b]| a.iter().zip(b).map(|(a, b)| a.wrapping_sub(*b))).collect::<Vec<_>>(),
        );
        let shares = gc.run(channel, &self.program, &Planes::from_columns(&[&differences], self.wide))?;
        Ok(Outcomes { differences, first_wins: Zeroizing::new(shares.to_bytes(0)) })
    }
}

impl Outcomes {
    /// The columns of the next round: max(a, b) = b + d·(a - b).
    pub(super) fn winners(
        &self,
        party: Party,
        channel: &mut Channel,
        ot: &mut OtPair,
        columns: &[Vec<u32>],
    ) -> Result<Vec<Vec<u32>>> {
        let (pairs, odd) = columns.as_chunks::<2>();
        let n = columns.first().map_or(0, Vec::len);
        let gains = select(party, channel, ot, &self.first_wins, &self.differences)?;
        let winners = pairs.iter().enumerate().map(|(i, [_, b])| {
            let gains = &gains[i * n..(i + 1) * n];
            b.iter().zip(gains).map(|(b, gain)| b.wrapping_add(*gain)).collect()
        });
        Ok(winners.chain(odd.iter().cloned()).collect())
    }
}
