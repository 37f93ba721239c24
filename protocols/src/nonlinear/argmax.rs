//! Argmax over classes, to the client alone: the labels of a segmentation. The lowest index wins among equals.
//!
//! For c classes of k <= 31 bits c - 1 [comparisons](crate::compare) of differences: a tournament over the classes, of
//! which the index of the winner is found in a last small garbled circuit from the outcomes, which stay shared
//! ([`arithmetic::winner`] has its ANDs). Scores keep a spare bit: a difference has one more than its operands. In
//! ceil(log2 c) + 1 rounds.
//!
//! | # | from -> to | content | bytes a voxel | phase |
//! |---|---|---|---|---|
//! | 1 | | comparisons | c - 1 of k + 1 bits: garbled, 4 (k + 1) + 32k each | online |
//! | 2 | both ways | selection of a match's winner, unless it is the last | 16 (c - 2) | online |
//! | 3 | client -> server | choices of the OTs of its shares of the outcomes | 4 (c - 1) | online |
//! | 4 | server -> client | tables of the winner's index | 32 times the ANDs | online |
//! | 5 | server -> client | colours of the index | bits of an index / 8 | online |
//!
//! By [transfers](crate::compare::transfers) indices are selected as values are, match by match, and rows 3 to 5 become
//! one message of the server's shares of the index.
//!
//! For 3 classes of 24 bits, garbled: 1792 bytes, against 4832 of the [full circuit](super::full_circuit). The server
//! learns nothing, the client the labels.

use blindvox_net::channel::Party;

use super::index::{by_selection, open};
use super::relu::BATCH;
use super::tournament;
use crate::compare::{Compare, check};
use crate::error::{Error, Result};
use crate::gc::{self, INSTANCES, Planes, Schedule, arithmetic};
use crate::ot::pack::packed_len;
use crate::peer::Peer;
use crate::share::{Ring, Shares};
use crate::traffic::{Bytes, batches};

/// The index of the greatest of `classes` logits at each voxel, from \[classes\]\[voxels\] shares. For `Ring::Pow2(k)`
/// they are mod 2^32 of |x| < 2^(k - 1), and the low k + 1 bits need be right; for `Ring::Prime(p)` they are mod p of
/// |x| < p/4. The client gets the labels, the server `None`.
///
/// # Errors
/// [`Error::Model`] unless 1 <= `classes` <= 256, the logits are whole channels, and 2 <= k <= 31 or p is odd; the
/// comparison's and the channel's.
pub fn argmax(
    peer: &mut Peer,
    compare: &mut dyn Compare,
    logits: &[u32],
    classes: usize,
    ring: Ring,
) -> Result<Option<Vec<u8>>> {
    check("argmax", ring, 31)?;
    if compare.ands_words() {
        return labels(peer, logits, classes, |peer, columns| {
            let shares = by_selection(peer, compare, columns, ring)?;
            open(peer, &shares, arithmetic::index_bits(classes))
        });
    }
    let mut winner = None;
    labels(peer, logits, classes, |peer, columns| {
        let outcomes = outcomes(peer, compare, columns, ring)?;
        let outcomes: Vec<_> = outcomes.iter().map(|c| &c[..]).collect();
        let winner = winner.get_or_insert_with(|| Schedule::new(&arithmetic::winner(classes)));
        let (gc, channel) = peer.gates()?;
        let shares = gc.run(channel, winner, &Planes::from_columns(&outcomes, 1))?;
        revealed(peer, shares, classes)
    })
}

/// The evaluator learns an index from the shares of its bits.
pub(super) fn revealed(peer: &mut Peer, shares: Planes, classes: usize) -> Result<Option<Vec<u32>>> {
    let (gc, channel) = peer.gates()?;
    let opened = gc.reveal_to_evaluator(channel, shares)?;
    Ok(opened.map(|index| index.to_column(0, arithmetic::index_bits(classes))))
}

/// Bytes for as many voxels, at a block width of transfers.
pub fn bytes(compare: &dyn Compare, [voxels, classes]: [usize; 2], ring: Ring, width: usize) -> Bytes {
    let bits = arithmetic::index_bits(classes);
    labels_bytes([voxels, classes], |voxels| {
        let columns = std::iter::successors(Some(classes), |&columns| (columns > 2).then(|| columns.div_ceil(2)));
        let rounds = columns.map(|columns| {
            let [last, others] = tournament::bytes(compare, columns / 2 * voxels, ring, width);
            let selected = compare.and_bytes(columns / 2 * voxels, bits as u32, width);
            selected + if columns == 2 { last } else { others }
        });
        let shown = if compare.ands_words() {
            Bytes { up: 0, down: packed_len(voxels, bits as u32) as u64 }
        } else {
            gc::traffic::bytes(&arithmetic::winner(classes), voxels, width) + gc::traffic::reveal_bytes(bits, voxels)
        };
        rounds.sum::<Bytes>() + shown
    })
}

/// Bytes of [`labels`] where those of an index, shown, for some voxels are known.
pub(super) fn labels_bytes([voxels, classes]: [usize; 2], index: impl Fn(usize) -> Bytes) -> Bytes {
    if classes == 1 {
        return Bytes::default();
    }
    batches(voxels, voxels_at_a_time(classes)).map(index).sum()
}

/// Voxels in flight at a time.
pub(crate) fn voxels_at_a_time(classes: usize) -> usize {
    (BATCH / classes).next_multiple_of(INSTANCES)
}

/// The labels of logits, whose `index` is found for a bounded number of voxels at a time: the columns of the classes go
/// in, the greatest one's index comes out at the client.
pub(super) fn labels(
    peer: &mut Peer,
    logits: &[u32],
    classes: usize,
    mut index: impl FnMut(&mut Peer, &[&[u32]]) -> Result<Option<Vec<u32>>>,
) -> Result<Option<Vec<u8>>> {
    if !(1..=256).contains(&classes) || !logits.len().is_multiple_of(classes) {
        return Err(Error::Model(format!("argmax over {classes} classes of {} logits", logits.len())));
    }
    let voxels = logits.len() / classes;
    let mut labels = (peer.party == Party::Client).then(|| Vec::with_capacity(voxels));
    if classes == 1 {
        return Ok(labels.map(|_| vec![0; voxels]));
    }
    let batch = voxels_at_a_time(classes);
    for start in (0..voxels).step_by(batch) {
        let columns: Vec<_> = (0..classes).map(|c| &logits[c * voxels..][start..voxels.min(start + batch)]).collect();
        let opened = index(peer, &columns)?;
        if let (Some(labels), Some(mut index)) = (&mut labels, opened) {
            let below = classes as u32;
            // An honest peer's are all below; others become class 0, and nothing else differs until the run is over.
            let most = index.iter_mut().fold(0, |most, i| {
                let found = *i;
                // All ones where found - below is negative.
                *i &= (found.wrapping_sub(below) as i32 >> 31) as u32;
                most.max(found)
            });
            peer.note(most < below);
            labels.extend(index.into_iter().map(|i| i as u8));
        }
    }
    Ok(labels)
}

/// Shares of the outcomes of all matches among the columns, a column a match.
fn outcomes(peer: &mut Peer, compare: &mut dyn Compare, columns: &[&[u32]], ring: Ring) -> Result<Vec<Shares>> {
    let mut columns: Vec<Shares> = columns.iter().map(|&c| c.into()).collect();
    let n = columns[0].len();
    let mut all = Vec::with_capacity(columns.len() - 1);
    loop {
        let outcomes = tournament::play(peer, compare, &columns, ring)?;
        all.extend(outcomes.first_wins.chunks(n).map(|d| d.iter().map(|&d| u32::from(d)).collect()));
        if columns.len() == 2 {
            return Ok(all);
        }
        columns = outcomes.winners(peer, compare, columns)?;
    }
}

/// The first of the greatest at each voxel.
pub fn ideal(logits: &[i64], classes: usize) -> Vec<u8> {
    let voxels = logits.len() / classes;
    let greatest = |v: usize| {
        (1..classes).fold(0, |best, c| if logits[c * voxels + v] > logits[best * voxels + v] { c } else { best })
    };
    (0..voxels).map(|v| greatest(v) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Comparison, Nonlinear};
    use super::*;
    use crate::compare::Garbled;
    use crate::ot::LOCAL_WIDTH;
    use crate::share::P;
    use crate::testing::{Tampered, run_garbled, sharings};

    #[test]
    fn the_client_learns_the_first_greatest() {
        for kind in [Comparison::SignSelect, Comparison::FullCircuit] {
            let words = [(1, 8), (2, 31), (3, 16), (3, 31), (5, 20), (8, 2), (3, 32)].map(|(c, k)| (c, Ring::Pow2(k)));
            let primes = [(1, P), (2, P), (3, P), (5, 65537), (4, 2_147_483_647)].map(|(c, p)| (c, Ring::Prime(p)));
            for (classes, ring) in words.into_iter().chain(primes) {
                if kind == Comparison::SignSelect && ring == Ring::FULL {
                    continue;
                }
                let (shared, bound) = match ring {
                    Ring::Pow2(bits) => (Ring::FULL, (1i64 << (bits - 1)) - 1),
                    Ring::Prime(p) => (ring, i64::from(if kind == Comparison::SignSelect { p / 4 } else { p / 2 })),
                };
                let (values, client, server) =
                    sharings(shared, &[0, 0, -1, bound, -bound], &[0, -1, bound], 985, bound);
                let keep = values.len() / classes * classes;
                let (c, s, traffic) = run_garbled(|peer| {
                    let x = if peer.party == Party::Client { &client } else { &server };
                    Nonlinear::new(kind).argmax(peer, &x[..keep], classes, ring).unwrap()
                });
                assert_eq!(s, None);
                assert_eq!(c.unwrap(), ideal(&values[..keep], classes), "{classes} classes in {ring}, {kind:?}");
                let bytes = Nonlinear::new(kind).argmax_bytes([keep / classes, classes], ring, LOCAL_WIDTH);
                assert_eq!(Bytes::from(traffic), bytes, "{classes} classes in {ring}, {kind:?}");
            }
        }
    }

    /// Ties at every place, under shares that are wrong above the bits that count.
    #[test]
    fn the_lowest_index_wins_among_equals() {
        const BITS: u32 = 4;
        let values: Vec<i64> =
            (0..3usize.pow(4)).flat_map(|i| (0..4).map(move |c| (i / 3usize.pow(c) % 3) as i64 - 1)).collect();
        let voxels = values.len() / 4;
        let by_class: Vec<i64> = (0..values.len()).map(|i| values[i % voxels * 4 + i / voxels]).collect();
        let client: Vec<u32> = (0..values.len() as u32).map(|i| i.wrapping_mul(0x9e37_79b9)).collect();
        let server: Vec<u32> = by_class
            .iter()
            .zip(&client)
            .map(|(&x, c)| (x as u32).wrapping_sub(*c) ^ (c.rotate_left(9) << (BITS + 1)))
            .collect();
        let (c, ..) = run_garbled(|peer| {
            let x = if peer.party == Party::Client { &client } else { &server };
            argmax(peer, &mut Garbled::default(), x, 4, Ring::Pow2(BITS)).unwrap()
        });
        assert_eq!(c.unwrap(), ideal(&by_class, 4));
    }

    /// The garbler as it is, but for one bit of what it reveals: the evaluator takes and sends as much as ever, every
    /// label is one of the classes, and that one was none of them is only told when asked for.
    #[test]
    fn every_bit_of_the_revealed_index_may_be_wrong() {
        const CLASSES: usize = 3;
        let values: Vec<i64> = (0..8 * CLASSES as i64).map(|i| i * 37 % 9 - 4).collect();
        let ring = Ring::Prime(17);
        let (_, client, server) = sharings(ring, &values, &[3], 0, 4);
        for kind in [Comparison::SignSelect, Comparison::FullCircuit] {
            let bytes = 32 * arithmetic::index_bits(CLASSES);
            let mut parties = Tampered::new(bytes);
            let half = |peer: &mut Peer| {
                let x = if peer.party == Party::Client { &client } else { &server };
                Nonlinear::new(kind).argmax(peer, x, CLASSES, ring).unwrap()
            };
            let (honest, traffic, verdict) = parties.run(None, half);
            assert!(honest.unwrap() == ideal(&values, CLASSES) && verdict.is_ok());
            let mut wrong = 0;
            for bit in 0..8 * bytes {
                let (labels, same, verdict) = parties.run(Some(bit), half);
                assert_eq!(same, traffic, "bit {bit}");
                assert!(labels.unwrap().iter().all(|&l| usize::from(l) < CLASSES), "bit {bit}");
                wrong += usize::from(verdict.is_err());
            }
            // Eight of the 256 places of a plane are labels.
            assert!((1..16).contains(&wrong), "{wrong} of {}", 8 * bytes);
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let (c, ..) = run_garbled(|peer| {
            [(3, 8, 4), (0, 8, 4), (257, 8, 257), (2, 32, 4), (2, 1, 4)].map(|(classes, bits, n)| {
                argmax(peer, &mut Garbled::default(), &vec![0; n], classes, Ring::Pow2(bits)).is_err()
            })
        });
        assert_eq!(c, [true; 5]);
    }
}
