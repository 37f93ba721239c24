//! Max pooling: the greatest value of each window, by rounds of a tournament over pairs, max(a, b) = b + d·(a - b) with
//! d the sign of a - b by a [comparison](crate::compare) and a [selection](crate::select).
//!
//! A difference has a bit more than its operands; modulo a prime p of k bits ([`Ring::Prime`]) values are below p/4 in
//! magnitude.
//!
//! | # | from -> to | content | bytes a window of w | phase |
//! |---|---|---|---|---|
//! | 1 | | comparisons | w - 1 of k + 1 bits: garbled, 4 (k + 1) + 32k each | online |
//! | 2 | both ways | selection | 16 (w - 1) | online |

use super::relu::BATCH;
use super::tournament;
use crate::compare::{Compare, check};
use crate::error::Result;
use crate::peer::Peer;
use crate::share::{Ring, Shares};
use crate::traffic::{Bytes, batches};

/// The maxima of `windows`, \[windows\]\[`window`\] shares, one a window. For `Ring::Pow2(k)` from shares mod 2^32 of
/// |x| < 2^(k - 1) to shares mod 2^32; for `Ring::Prime(p)` from shares mod p of |x| < p/4 to shares mod p.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) unless 2 <= k <= 31 or p is odd; the comparison's and the channel's.
///
/// # Panics
/// If the values are not a number of whole windows.
pub fn max_pool(
    peer: &mut Peer,
    compare: &mut dyn Compare,
    windows: &[u32],
    window: usize,
    ring: Ring,
) -> Result<Shares> {
    check("max pooling", ring, 31)?;
    in_batches(windows, window, |mut columns| {
        while columns.len() > 1 {
            let outcomes = tournament::play(peer, compare, &columns, ring)?;
            columns = outcomes.winners(peer, compare, columns)?;
        }
        Ok(columns.remove(0))
    })
}

/// Bytes for `count` windows, at a block width of transfers.
pub fn bytes(compare: &dyn Compare, [count, window]: [usize; 2], ring: Ring, width: usize) -> Bytes {
    let rounds = |windows: usize| {
        let columns = std::iter::successors(Some(window), |&columns| (columns > 1).then(|| columns.div_ceil(2)));
        columns.map(|columns| tournament::bytes(compare, columns / 2 * windows, ring, width)[1]).sum::<Bytes>()
    };
    batches(count, windows_at_a_time(window)).map(rounds).sum()
}

/// Windows in flight at a time.
pub(crate) fn windows_at_a_time(window: usize) -> usize {
    (BATCH / window).max(1)
}

/// What `greatest` makes of the windows, a bounded number of them at a time: a column for each place of a window goes
/// in.
pub(super) fn in_batches(
    windows: &[u32],
    window: usize,
    mut greatest: impl FnMut(Vec<Shares>) -> Result<Shares>,
) -> Result<Shares> {
    assert!(window > 0 && windows.len().is_multiple_of(window), "{} values in windows of {window}", windows.len());
    let mut maxima = Shares::with_capacity(windows.len() / window);
    for windows in windows.chunks(windows_at_a_time(window) * window) {
        let columns = (0..window).map(|i| windows.chunks_exact(window).map(|w| w[i]).collect());
        maxima.extend_from_slice(&greatest(columns.collect())?);
    }
    Ok(maxima)
}

/// The greatest of each window.
pub fn ideal(x: &[i64], window: usize) -> Vec<i64> {
    x.chunks(window).map(|w| w.iter().copied().fold(i64::MIN, i64::max)).collect()
}

#[cfg(test)]
mod tests {
    use blindvox_net::channel::Party;

    use super::super::{Comparison, Nonlinear};
    use super::*;
    use crate::compare::Garbled;
    use crate::ot::LOCAL_WIDTH;
    use crate::share::P;
    use crate::testing::{run_garbled, sharings};

    #[test]
    fn both_forms_find_the_greatest_of_each_window() {
        for kind in [Comparison::SignSelect, Comparison::FullCircuit] {
            for (window, bits) in [(1, 8), (2, 31), (3, 2), (4, 16), (8, 16), (8, 20), (2, 32)] {
                if kind == Comparison::SignSelect && bits == 32 {
                    continue;
                }
                let bound = (1i64 << (bits - 1)) - 1;
                let edges = [0, -1, bound, -bound, bound, bound, -bound, -bound];
                let (values, client, server) = sharings(Ring::FULL, &edges, &[0, -1, bound], 264, bound);
                let keep = values.len() / window * window;
                let (c, s, traffic) = run_garbled(|peer| {
                    let x = if peer.party == Party::Client { &client } else { &server };
                    Nonlinear::new(kind).max_pool(peer, &x[..keep], window, Ring::Pow2(bits)).unwrap()
                });
                assert_eq!(Ring::FULL.open(&c, &s), ideal(&values[..keep], window), "{window} of {bits}, {kind:?}");
                let bytes = Nonlinear::new(kind).max_pool_bytes([keep / window, window], Ring::Pow2(bits), LOCAL_WIDTH);
                assert_eq!(Bytes::from(traffic), bytes, "{window} of {bits}, {kind:?}");
            }
        }
    }

    #[test]
    fn both_forms_find_the_greatest_residue() {
        for (p, window) in [(P, 1), (P, 2), (P, 8), (65537, 3), (2_147_483_647, 5)] {
            let ring = Ring::Prime(p);
            for kind in [Comparison::SignSelect, Comparison::FullCircuit] {
                let bound = i64::from(if kind == Comparison::SignSelect { p / 4 } else { p / 2 });
                let edges = [0, -1, bound, -bound, bound, bound, -bound, -bound];
                let (values, client, server) = sharings(ring, &edges, &[0, -1, bound], 264, bound);
                let keep = values.len() / window * window;
                let (c, s, traffic) = run_garbled(|peer| {
                    let x = if peer.party == Party::Client { &client } else { &server };
                    Nonlinear::new(kind).max_pool(peer, &x[..keep], window, ring).unwrap()
                });
                assert_eq!(ring.open(&c, &s), ideal(&values[..keep], window), "{window} mod {p}, {kind:?}");
                let bytes = Nonlinear::new(kind).max_pool_bytes([keep / window, window], ring, LOCAL_WIDTH);
                assert_eq!(Bytes::from(traffic), bytes, "{window} mod {p}, {kind:?}");
            }
        }
    }

    #[test]
    fn differences_need_a_spare_bit() {
        let (c, ..) = run_garbled(|peer| {
            max_pool(peer, &mut Garbled::default(), &[0, 0], 2, Ring::Pow2(32)).unwrap_err().to_string()
        });
        assert!(c.contains("32 bits, possible are 2 to 31"), "{c}");
    }
}
