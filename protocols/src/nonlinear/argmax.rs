//! Argmax over classes, to the client alone: the labels of a segmentation. The lowest index wins among equals.
//!
//! - **Sign and select** (the default), for c classes of k <= 31 bits in c - 1 comparisons of differences: a
//!   tournament over the classes, of which the index of the winner is found in a last small circuit
//!   from the outcomes, which stay shared ([`arithmetic::winner`] has its ANDs). Scores keep a spare bit: a difference has one
//!   more than its operands. In ceil(log2 c) + 1 rounds.
//! - **Full circuit** (the published form): one circuit reconstructs the scores of a voxel and keeps the greatest and its index
//!   ([`arithmetic::argmax`]), k <= 32 bits, in one round. For where rounds cost more than bytes.
//!
//! | # | from -> to | content | bytes a voxel: sign and select, K = k + 1 | full circuit | phase |
//! |---|---|---|---|---|---|
//! | 1 | client -> server | choices of the OTs of its shares' bits | 4K (c - 1) | 4kc | online |
//! | 2 | server -> client | garbled tables | 32 (K - 1)(c - 1) | 32 times the ANDs | online |
//! | 3 | both ways | selection of a match's winner, unless it is the last | 16 (c - 2) | - | online |
//! | 4 | client -> server | choices of the OTs of its shares of the outcomes | 4 (c - 1) | - | online |
//! | 5 | server -> client | tables of the winner's index | 32 times the ANDs | - | online |
//! | 6 | server -> client | colours of the index | bits of an index / 8 | the same | online |
//!
//! Modulo a prime p of k bits ([`Ring::Prime`]) a comparison takes k ANDs and choices of k bits, and the full circuit the ANDs of
//! [`modular::argmax`](crate::gc::modular::argmax).
//!
//! For 3 classes of 24 bits: 1792 bytes against 4832. The server learns nothing, the client the labels.

use blindvox_net::channel::{Channel, Party};

use super::relu::ReluKind;
use super::tournament::Tournament;
use super::words::Words;
use crate::error::{Error, Result};
use crate::gc::{Half, INSTANCES, Planes, Schedule, arithmetic};
use crate::ot::OtPair;
use crate::share::{Ring, Shares};

/// Scores in flight at a time: bounds memory at any size.
const BATCH: usize = 1 << 20;

/// The index of the greatest of `classes` logits at each voxel, from \[classes\]\[voxels\] shares. For `Ring::Pow2(k)` they are mod
/// 2^32 of |x| < 2^(k - 1), and the low k + 1 (full circuit: k) bits need be right; for `Ring::Prime(p)` they are mod p, where sign and
/// select takes |x| < p/4. The client gets the labels, the server `None`.
///
/// # Errors
/// [`Error::Model`] unless 1 <= `classes` <= 256, the logits are whole channels, and 2 <= k <= 31 (32 for the full
/// circuit) or p is odd; the channel's.
#[expect(clippy::too_many_arguments, reason = "the parts of a session, the tensor and its shape")]
pub fn argmax(
    party: Party,
    channel: &mut Channel,
    ot: &mut OtPair,
    gc: &mut Half,
    logits: &[u32],
    classes: usize,
    ring: Ring,
    kind: ReluKind,
) -> Result<Option<Vec<u8>>> {
    let words = Words::new("argmax", ring, if kind == ReluKind::SignSelect { 31 } else { 32 })?;
    if !(1..=256).contains(&classes) || !logits.len().is_multiple_of(classes) {
        return Err(Error::Model(format!("argmax over {classes} classes of {} logits", logits.len())));
    }
    let voxels = logits.len() / classes;
    let mut labels = (party == Party::Client).then(|| Vec::with_capacity(voxels));
    if classes == 1 {
        return Ok(labels.map(|_| vec![0; voxels]));
    }
    let form = match kind {
        ReluKind::SignSelect => Form::Rounds(Tournament::new(words), Schedule::new(&arithmetic::winner(classes))),
        ReluKind::FullCircuit => Form::Circuit(Schedule::new(&words.argmax(classes))),
    };
    let batch = (BATCH / classes).next_multiple_of(INSTANCES);
    for start in (0..voxels).step_by(batch) {
        let columns: Vec<_> = (0..classes).map(|c| &logits[c * voxels..][start..voxels.min(start + batch)]).collect();
        let shares = match &form {
            Form::Rounds(tournament, winner) => {
                let outcomes = play(party, channel, ot, gc, tournament, &columns)?;
                let outcomes: Vec<_> = outcomes.iter().map(|c| &c[..]).collect();
                gc.run(channel, winner, &Planes::from_columns(&outcomes, 1))?
            }
            Form::Circuit(program) => gc.run(channel, program, &words.in_order(party, &columns))?,
        };
        let opened = gc.reveal_to_evaluator(channel, shares)?;
        if let (Some(labels), Some(index)) = (&mut labels, opened) {
            let (mut index, below) = (index.to_column(0, arithmetic::index_bits(classes)), classes as u32);
            // An honest garbler's are all below; others become class 0, and nothing else differs until the run is over.
            let most = index.iter_mut().fold(0, |most, i| {
                let found = *i;
                // All ones where found - below is negative.
                *i &= (found.wrapping_sub(below) as i32 >> 31) as u32;
                most.max(found)
            });
            gc.note(most < below);
            labels.extend(index.into_iter().map(|i| i as u8));
        }
    }
    Ok(labels)
}

/// What is garbled.
enum Form {
    Rounds(Tournament, Schedule),
    Circuit(Schedule),
}

/// Shares of the outcomes of all matches among the columns, a column a match.
fn play(
    party: Party,
    channel: &mut Channel,
    ot: &mut OtPair,
    gc: &mut Half,
    tournament: &Tournament,
    columns: &[&[u32]],
) -> Result<Vec<Shares>> {
    let mut columns: Vec<Shares> = columns.iter().map(|&c| c.into()).collect();
    let n = columns[0].len();
    let mut all = Vec::with_capacity(columns.len() - 1);
    loop {
        let outcomes = tournament.compare(party, channel, gc, &columns)?;
        all.extend(outcomes.first_wins.chunks(n).map(|d| d.iter().map(|&d| u32::from(d)).collect()));
        if columns.len() == 2 {
            return Ok(all);
        }
        columns = outcomes.winners(party, channel, ot, columns)?;
    }
}

#[cfg(test)]
mod tests {
    use super::super::relu::tests::{LABELS, run_garbled};
    use super::*;
    use crate::gc::modular;
    use crate::ot::{LOCAL_WIDTH, cot_bytes};
    use crate::share::P;
    use crate::testing::{Tampered, sharings};

    fn ideal(logits: &[i64], classes: usize) -> Vec<u8> {
        let voxels = logits.len() / classes;
        let first_greatest = |v: usize| (0..classes).rev().max_by_key(|c| logits[c * voxels + v]);
        (0..voxels).map(|v| first_greatest(v).unwrap() as u8).collect()
    }

    /// Bits of words, of the words of their differences, and ANDs of the full circuit and of a match.
    fn sizes(ring: Ring, classes: usize) -> [usize; 4] {
        match ring {
            Ring::Pow2(bits) => {
                let k = bits as usize;
                [k, k + 1, arithmetic::argmax(classes, k).ands(), k]
            }
            Ring::Prime(p) => {
                let k = modular::width(p);
                [k, k, modular::argmax(classes, p).ands(), k]
            }
        }
    }

    /// Bytes that the client sends and receives for `n` voxels.
    fn bytes(n: usize, classes: usize, ring: Ring, kind: ReluKind) -> [usize; 2] {
        let [k, wide, full, comparison] = sizes(ring, classes);
        let shared = if let Ring::Prime(_) = ring { ring } else { Ring::FULL };
        let chunks = n.div_ceil(256);
        let colours = 32 * arithmetic::index_bits(classes) * chunks;
        if kind == ReluKind::FullCircuit {
            return [LABELS * classes * k * chunks, 32 * full * n + colours];
        }
        let mut sent = LABELS * (classes - 1) * chunks;
        let mut received = 32 * arithmetic::winner(classes).ands() * n + colours;
        let mut left = classes;
        while left > 1 {
            let matches = left / 2 * n;
            sent += LABELS * wide * matches.div_ceil(256);
            received += 32 * comparison * matches;
            if left > 2 {
                let (choices, corrections) = cot_bytes(matches, shared, LOCAL_WIDTH);
                let selection = choices + corrections;
                sent += selection;
                received += selection;
            }
            left = left.div_ceil(2);
        }
        [sent, received]
    }

    #[test]
    fn the_client_learns_the_first_greatest() {
        for kind in [ReluKind::SignSelect, ReluKind::FullCircuit] {
            let words = [(1, 8), (2, 31), (3, 16), (3, 31), (5, 20), (8, 2), (3, 32)].map(|(c, k)| (c, Ring::Pow2(k)));
            let primes = [(1, P), (2, P), (3, P), (5, 65537), (4, 2_147_483_647)].map(|(c, p)| (c, Ring::Prime(p)));
            for (classes, ring) in words.into_iter().chain(primes) {
                if kind == ReluKind::SignSelect && ring == Ring::FULL {
                    continue;
                }
                let (shared, bound) = match ring {
                    Ring::Pow2(bits) => (Ring::FULL, (1i64 << (bits - 1)) - 1),
                    Ring::Prime(p) => (ring, i64::from(if kind == ReluKind::SignSelect { p / 4 } else { p / 2 })),
                };
                let (values, client, server) =
                    sharings(shared, &[0, 0, -1, bound, -bound], &[0, -1, bound], 985, bound);
                let keep = values.len() / classes * classes;
                let (c, s, traffic) = run_garbled(|party, channel, ot, gc| {
                    let x = if party == Party::Client { &client } else { &server };
                    argmax(party, channel, ot, gc, &x[..keep], classes, ring, kind).unwrap()
                });
                assert_eq!(s, None);
                assert_eq!(c.unwrap(), ideal(&values[..keep], classes), "{classes} classes in {ring}, {kind:?}");
                let expected = if classes > 1 { bytes(keep / classes, classes, ring, kind) } else { [0, 0] };
                assert_eq!([traffic.sent as usize, traffic.received as usize], expected);
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
        let (c, ..) = run_garbled(|party, channel, ot, gc| {
            let x = if party == Party::Client { &client } else { &server };
            argmax(party, channel, ot, gc, x, 4, Ring::Pow2(BITS), ReluKind::SignSelect).unwrap()
        });
        assert_eq!(c.unwrap(), ideal(&by_class, 4));
    }

    /// The garbler as it is, but for one bit of what it reveals: the evaluator takes and sends as much as ever, every label is one of
    /// the classes, and that one was none of them is only told when asked for.
    #[test]
    fn every_bit_of_the_revealed_index_may_be_wrong() {
        const CLASSES: usize = 3;
        let values: Vec<i64> = (0..8 * CLASSES as i64).map(|i| i * 37 % 9 - 4).collect();
        let ring = Ring::Prime(17);
        let (_, client, server) = sharings(ring, &values, &[3], 0, 4);
        for kind in [ReluKind::SignSelect, ReluKind::FullCircuit] {
            let bytes = 32 * arithmetic::index_bits(CLASSES);
            let mut parties = Tampered::new(bytes);
            let half = |party, channel: &mut _, ot: &mut _, gc: &mut _| {
                let x = if party == Party::Client { &client } else { &server };
                argmax(party, channel, ot, gc, x, CLASSES, ring, kind).unwrap()
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
        let (c, ..) = run_garbled(|party, channel, ot, gc| {
            [(3, 8, 4), (0, 8, 4), (257, 8, 257), (2, 32, 4), (2, 1, 4)].map(|(classes, bits, n)| {
                argmax(party, channel, ot, gc, &vec![0; n], classes, Ring::Pow2(bits), ReluKind::SignSelect).is_err()
            })
        });
        assert_eq!(c, [true; 5]);
    }
}
