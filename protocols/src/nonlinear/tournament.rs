//! Rounds of a knock-out tournament over columns of shared values: [comparisons](crate::compare), selection by OTs.
//!
//! In a round neighbours meet: columns 0 and 1, 2 and 3, ...; the last column of an odd number goes on unmatched. The
//! first of a pair wins where it is not smaller, so among equals the lowest column wins the tournament. A difference
//! has one bit more than its operands, so values of k bits need shares that are right mod 2^(k+1).
//!
//! Modulo a prime p, values are below p/4 in magnitude for the same reason.
//!
//! A round costs a match a sign of K = k + 1 bits (of k bits mod p) and, if its winners are wanted, a
//! [selection](crate::select) (16 bytes).

use blindvox_engine::simd::wide;

use crate::compare::{Compare, of_differences, shares};
use crate::error::Result;
use crate::peer::Peer;
use crate::share::{BitShares, Ring, Shares};
use crate::traffic::Bytes;

/// This party's part of a round's matches.
pub(super) struct Outcomes {
    /// First less second of each pair, pair after pair.
    differences: Shares,
    ring: Ring,
    /// "The first is not smaller", in the order of the differences.
    pub(super) first_wins: BitShares,
}

/// Compares the columns' pairs, of values of `ring` whose differences must fit: at most 31 bits, or magnitudes below
/// p/4.
pub(super) fn play(peer: &mut Peer, compare: &mut dyn Compare, columns: &[Shares], ring: Ring) -> Result<Outcomes> {
    let (pairs, _) = columns.as_chunks::<2>();
    let n = columns.first().map_or(0, |c| c.len());
    let (mut differences, shared) = (Shares::zeros(pairs.len() * n), shares(ring));
    for ([a, b], differences) in pairs.iter().zip(differences.chunks_exact_mut(n.max(1))) {
        let all = differences.iter_mut().zip(&**a).zip(&**b);
        wide(|| all.for_each(|((d, &a), &b)| *d = shared.sub(a, b)));
    }
    let first_wins = compare.signs(peer, &differences, of_differences(ring))?;
    Ok(Outcomes { differences, ring: shared, first_wins })
}

/// Bytes of [`play`] for `matches`, and with the winners.
pub(super) fn bytes(compare: &dyn Compare, matches: usize, ring: Ring, width: usize) -> [Bytes; 2] {
    let played = compare.bytes(matches, of_differences(ring), width);
    [played, played + compare.select_bytes(matches, shares(ring), width)]
}

impl Outcomes {
    /// The columns of the next round: max(a, b) = b + d·(a - b).
    pub(super) fn winners(
        &self,
        peer: &mut Peer,
        compare: &mut dyn Compare,
        columns: Vec<Shares>,
    ) -> Result<Vec<Shares>> {
        let gains = compare.select(peer, &self.first_wins, &self.differences, self.ring)?;
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
