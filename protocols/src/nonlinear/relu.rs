//! ReLU: max(x, 0), by a [comparison](crate::compare) and a [selection](crate::select), x·\[x >= 0\].
//!
//! | # | from -> to | content | bytes an element | phase |
//! |---|---|---|---|---|
//! | 1 | | the comparison | its own: garbled, 4k + 32 (k - 1) | online |
//! | 2 | both ways | selection: 4 transfers of 4 bytes | 16 | online |
//!
//! By [transfers](crate::compare::transfers) a ReLU is one protocol of its own, of 21 bytes at 16 bits. At 16 bits with
//! garbled signs: 560 bytes, against 1512 of the [full circuit](super::full_circuit). It wins at every width: the
//! circuit is a third as large. For p = 2^32 - 2^20 + 1: 1168 against 6148. Choices are counted in whole chunks of 256
//! or 128 elements. The client learns nothing: not the sign either.

use crate::compare::{Compare, check};
use crate::error::Result;
use crate::peer::Peer;
use crate::share::{Ring, Shares};
use crate::traffic::{Bytes, batches};

/// Elements in flight at a time: bounds memory at any tensor size.
pub(crate) const BATCH: usize = 1 << 20;

/// Shares of max(x, 0), exactly. For `Ring::Pow2(k)` from shares mod 2^32 of |x| < 2^(k - 1), whose low k bits are
/// compared, to shares mod 2^32; for `Ring::Prime(p)` from shares mod p of residues read as signed, to shares mod p.
/// Both parties name the same `ring` and compare alike.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) unless 2 <= k <= 32 or p is odd; the comparison's and the channel's.
pub fn relu(peer: &mut Peer, compare: &mut dyn Compare, x: &[u32], ring: Ring) -> Result<Shares> {
    check("ReLU", ring, 32)?;
    let mut y = Shares::with_capacity(x.len());
    for x in x.chunks(BATCH) {
        y.extend_from_slice(&compare.relu(peer, x, ring)?);
    }
    Ok(y)
}

/// Bytes for `n` values, at a block width of transfers.
pub fn bytes(compare: &dyn Compare, n: usize, ring: Ring, width: usize) -> Bytes {
    batches(n, BATCH).map(|n| compare.relu_bytes(n, ring, width)).sum()
}

/// The greater of 0 and each value.
pub fn ideal(x: &[i64]) -> Vec<i64> {
    x.iter().map(|&x| x.max(0)).collect()
}

#[cfg(test)]
mod tests {
    use blindvox_net::channel::Party;

    use super::super::{Comparison, Nonlinear};
    use super::*;
    use crate::ot::LOCAL_WIDTH;
    use crate::share::P;
    use crate::testing::{run_garbled, sharings};

    #[test]
    fn both_forms_clear_the_negative_values() {
        for kind in [Comparison::SignSelect, Comparison::FullCircuit] {
            for bits in [2, 3, 16, 20, 31, 32] {
                let bound = (1i64 << (bits - 1)) - 1;
                let edges = [0, 1, -1, bound, -bound, bound / 2];
                let (values, client, server) = sharings(Ring::FULL, &edges, &[0, 1, -1, bound, -bound - 1], 500, bound);
                let n = values.len();
                let (c, s, traffic) = run_garbled(|peer| {
                    let x = if peer.party == Party::Client { &client } else { &server };
                    Nonlinear::new(kind).relu(peer, x, Ring::Pow2(bits)).unwrap()
                });
                assert_eq!(Ring::FULL.open(&c, &s), ideal(&values), "{bits} bits, {kind:?}");
                assert_eq!(Bytes::from(traffic), Nonlinear::new(kind).relu_bytes(n, Ring::Pow2(bits), LOCAL_WIDTH));
            }
        }
    }

    #[test]
    fn both_forms_clear_the_negative_residues() {
        for p in [P, 65537, 2_147_483_647] {
            let ring = Ring::Prime(p);
            let half = i64::from(p / 2);
            let (values, client, server) =
                sharings(ring, &[0, 1, -1, half, -half, half - 1], &[0, 1, -1, half, half + 1], 500, half);
            for kind in [Comparison::SignSelect, Comparison::FullCircuit] {
                let n = values.len();
                let (c, s, traffic) = run_garbled(|peer| {
                    let x = if peer.party == Party::Client { &client } else { &server };
                    Nonlinear::new(kind).relu(peer, x, ring).unwrap()
                });
                assert!(c.iter().chain(&*s).all(|&y| y < p), "shares are residues");
                assert_eq!(ring.open(&c, &s), ideal(&values), "mod {p}, {kind:?}");
                assert_eq!(Bytes::from(traffic), Nonlinear::new(kind).relu_bytes(n, ring, LOCAL_WIDTH));
            }
        }
    }

    #[test]
    fn impossible_widths_are_refused() {
        for kind in [Comparison::SignSelect, Comparison::FullCircuit] {
            run_garbled(|peer| {
                for ring in [Ring::Pow2(0), Ring::Pow2(1), Ring::Pow2(33), Ring::Prime(1 << 20)] {
                    let text = Nonlinear::new(kind).relu(peer, &[0], ring).unwrap_err().to_string();
                    assert!(text.contains("ReLU"), "{text}");
                }
            });
        }
    }
}
