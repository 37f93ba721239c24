//! ReLU, max pooling and argmax whole in garbled circuits, as BUNET publishes them: the circuit reconstructs the
//! values, compares, selects and re-shares. Kept as the baseline, and for where rounds cost more than bytes: argmax has
//! one.
//!
//! ReLU's output is shared mod 2^k, max pooling's mod 2^(k + 1), and [`convert`] brings them to mod 2^32 where they are
//! smaller. K below is k for ReLU and argmax, and min(k + 1, 32) for max pooling, which then needs no spare bit.
//!
//! | # | from -> to | content | bytes: ReLU | max of w | argmax of c | phase |
//! |---|---|---|---|---|---|---|
//! | 1 | client -> server | choices of the OTs of its shares' bits | 4K | 4Kw | 4Kc | online |
//! | 2 | server -> client | garbled tables | 96 (k - 1) | 32 times the ANDs | 32 times the ANDs | online |
//! | 3 | server -> client | output colours | K/8 | K/8 | bits of an index / 8 | online |
//! | 4 | both ways | conversion, K < 32 | 4 + (32 - K)/8 | 4 + (32 - K)/8 | - | online |
//!
//! The ANDs are those of [`arithmetic`](crate::gc::arithmetic). Modulo a prime p of k bits ([`Ring::Prime`]) x is any
//! residue, there are at most 6k - 4 ANDs for a ReLU and those of [`modular`](crate::gc::modular) for the others, and
//! no conversion.

use blindvox_net::channel::Party;

use super::argmax::{labels, labels_bytes, revealed};
use super::max_pool::{in_batches, windows_at_a_time};
use super::relu::BATCH;
use crate::compare::words::Words;
use crate::compare::{check, of_differences};
use crate::convert::convert;
use crate::error::Result;
use crate::gc::{self, Schedule};
use crate::peer::Peer;
use crate::share::{Ring, Shares};
use crate::traffic::{Bytes, batches};

/// As [`relu`](super::relu::relu).
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) unless 2 <= k <= 32 or p is odd; the channel's.
pub fn relu(peer: &mut Peer, x: &[u32], ring: Ring) -> Result<Shares> {
    check("ReLU", ring, 32)?;
    let words = Words::new(ring);
    let program = Schedule::new(&words.relu());
    let mut y = Shares::with_capacity(x.len());
    for x in x.chunks(BATCH) {
        let shares = words.run_reshared(peer, &program, &[x], false)?;
        y.extend_from_slice(&match ring {
            Ring::Pow2(bits) => widen_non_negative(peer, shares, bits)?,
            Ring::Prime(_) => shares,
        });
    }
    Ok(y)
}

/// Bytes of [`relu`] of `n` values, at a block width of transfers.
pub fn relu_bytes(n: usize, ring: Ring, width: usize) -> Bytes {
    let words = Words::new(ring);
    batches(n, BATCH).map(|n| words.reshared_bytes(&words.relu(), n, width)).sum()
}

/// From shares mod 2^`bits` of 0 <= y < 2^(`bits` - 1) to shares mod 2^32.
fn widen_non_negative(peer: &mut Peer, mut y: Shares, bits: u32) -> Result<Shares> {
    // Conversion takes signed values of one bit less: move down and back.
    let offset = if peer.party == Party::Server && bits < 32 { 1 << (bits - 2) } else { 0 };
    y.iter_mut().for_each(|y| *y = Ring::Pow2(bits).mask(y.wrapping_sub(offset)));
    let mut y = convert(peer, y, bits, Ring::FULL)?;
    y.iter_mut().for_each(|y| *y = y.wrapping_add(offset));
    Ok(y)
}

/// As [`max_pool`](super::max_pool::max_pool), of values of up to 32 bits and of any residues.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) unless 2 <= k <= 32 or p is odd; the channel's.
///
/// # Panics
/// If the values are not a number of whole windows.
pub fn max_pool(peer: &mut Peer, windows: &[u32], window: usize, ring: Ring) -> Result<Shares> {
    check("max pooling", ring, 32)?;
    let words = Words::new(of_differences(ring));
    let program = Schedule::new(&words.max(window));
    in_batches(windows, window, |columns| {
        let columns: Vec<_> = columns.iter().map(|c| &c[..]).collect();
        let shares = words.run_reshared(peer, &program, &columns, true)?;
        match ring {
            Ring::Pow2(_) => convert(peer, shares, words.width() as u32, Ring::FULL),
            Ring::Prime(_) => Ok(shares),
        }
    })
}

/// Bytes of [`max_pool`] for `count` windows, at a block width of transfers.
pub fn max_pool_bytes([count, window]: [usize; 2], ring: Ring, width: usize) -> Bytes {
    let words = Words::new(of_differences(ring));
    let circuit = words.max(window);
    batches(count, windows_at_a_time(window)).map(|n| words.reshared_bytes(&circuit, n, width)).sum()
}

/// As [`argmax`](super::argmax::argmax), of values of up to 32 bits, of which the low k need be right, and of any
/// residues.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) unless 1 <= `classes` <= 256, the logits are whole channels, and 2 <= k <= 32
/// or p is odd; the channel's.
pub fn argmax(peer: &mut Peer, logits: &[u32], classes: usize, ring: Ring) -> Result<Option<Vec<u8>>> {
    check("argmax", ring, 32)?;
    let words = Words::new(ring);
    let mut program = None;
    labels(peer, logits, classes, |peer, columns| {
        let program = program.get_or_insert_with(|| Schedule::new(&words.argmax(classes)));
        let inputs = words.in_order(peer.party, columns);
        let (gc, channel) = peer.gates()?;
        let shares = gc.run(channel, program, &inputs)?;
        revealed(peer, shares, classes)
    })
}

/// Bytes of [`argmax`] for as many voxels, at a block width of transfers.
pub fn argmax_bytes([voxels, classes]: [usize; 2], ring: Ring, width: usize) -> Bytes {
    let shown = |n| gc::traffic::reveal_bytes(gc::arithmetic::index_bits(classes), n);
    labels_bytes([voxels, classes], |n| gc::traffic::bytes(&Words::new(ring).argmax(classes), n, width) + shown(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Tampered, sharings};

    /// Words of five bits that are no residues are taken as residues; as much is sent as ever, and the end tells.
    #[test]
    fn every_bit_of_the_opened_words_may_be_wrong() {
        let ring = Ring::Prime(17);
        let (values, client, server) = sharings(ring, &[-8, -1, 0, 8], &[0, 5], 0, 8);
        let half = |peer: &mut Peer| {
            let x = if peer.party == Party::Client { &client } else { &server };
            relu(peer, x, ring).unwrap()
        };
        let mut parties = Tampered::new(5 * 32);
        let (_, traffic, verdict) = parties.run(None, half);
        assert!(verdict.is_ok() && values.len() == 8);
        let mut wrong = 0;
        for bit in 0..8 * 5 * 32 {
            let (shares, same, verdict) = parties.run(Some(bit), half);
            assert_eq!(same, traffic, "bit {bit}");
            assert!(shares.iter().all(|&y| y < 17), "bit {bit}");
            wrong += usize::from(verdict.is_err());
        }
        assert!((1..40).contains(&wrong), "{wrong}");
    }
}
