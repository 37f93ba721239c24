//! Rounds of a knock-out tournament over columns of shared values: comparisons by garbled circuits, selection by OTs.
//!
//! In a round neighbours meet: columns 0 and 1, 2 and 3, ...; the last column of an odd number goes on unmatched. The first of
//! a pair wins where it is not smaller, so among equals the lowest column wins the tournament. A difference has one bit more than
//! its operands, so values of k bits need shares that are right mod 2^(k+1).
//!
//! Modulo a prime p, values are below p/4 in magnitude for the same reason.
//!
//! A round costs a match of K = k + 1 bits a sign (4K bytes of OTs, 32 (K - 1) of tables; of k bits mod p 4k and 32k) and, if its
//! winners are wanted, a [`select`] (16 bytes).

use blindvox_engine::simd::wide;
use blindvox_net::channel::{Channel, Party};
use zeroize::Zeroizing;

use super::select::select;
use super::words::Words;
use crate::error::Result;
use crate::gc::{Half, Schedule};
use crate::ot::OtPair;
use crate::share::{Ring, Shares};

/// The comparison of all rounds.
pub(super) struct Tournament {
    program: Schedule,
    /// Of differences.
    words: Words,
}

/// This party's part of a round's matches.
pub(super) struct Outcomes {
    /// First less second of each pair, pair after pair.
    differences: Shares,
    ring: Ring,
    /// Shares by xor of "the first is not smaller", a byte each in the order of the differences.
    pub(super) first_wins: Zeroizing<Vec<u8>>,
}

impl Tournament {
    /// Among values of these words, whose differences must fit: at most 31 bits, or magnitudes below p/4.
    pub(super) fn new(words: Words) -> Self {
        let words = words.of_differences();
        Self { program: Schedule::new(&words.sign()), words }
    }

    /// Compares the columns' pairs.
    pub(super) fn compare(
        &self,
        party: Party,
        channel: &mut Channel,
        gc: &mut Half,
        columns: &[Shares],
    ) -> Result<Outcomes> {
        let (pairs, _) = columns.as_chunks::<2>();
        let n = columns.first().map_or(0, |c| c.len());
        let (mut differences, ring) = (Shares::zeros(pairs.len() * n), self.words.shares());
        for ([a, b], differences) in pairs.iter().zip(differences.chunks_exact_mut(n.max(1))) {
            let all = differences.iter_mut().zip(&**a).zip(&**b);
            wide(|| all.for_each(|((d, &a), &b)| *d = ring.sub(a, b)));
        }
        let first_wins = self.words.signs(party, channel, gc, &self.program, &differences)?;
        Ok(Outcomes { differences, ring, first_wins })
    }
}

impl Outcomes {
    /// The columns of the next round: max(a, b) = b + d·(a - b).
    pub(super) fn winners(
        &self,
        party: Party,
        channel: &mut Channel,
        ot: &mut OtPair,
        columns: Vec<Shares>,
    ) -> Result<Vec<Shares>> {
        let gains = select(party, channel, ot, &self.first_wins, &self.differences, self.ring)?;
        let mut columns = columns.into_iter();
        let mut winners = Vec::with_capacity(columns.len().div_ceil(2));
        let mut gains = gains.chunks_exact(columns.as_slice().first().map_or(1, |c| c.len().max(1)));
        while let Some(first) = columns.next() {
            let Some(mut second) = columns.next() else {
                winners.push(first);
                break;
            };
            let all = second.iter_mut().zip(gains.next().unwrap_or_default());
            wide(|| all.for_each(|(b, &gain)| *b = self.ring.add(*b, gain)));
            winners.push(second);
        }
        Ok(winners)
    }
}
