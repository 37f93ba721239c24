//! Max pooling: the greatest value of each window.
//!
//! - **Sign and select** (the default): rounds of a tournament over pairs, max(a, b) = b + d·(a - b) with d
//!   the sign of a - b by a garbled circuit of k ANDs (a difference has a bit more than its operands) and a
//!   [selection](super::select).
//! - **Full circuit**: the whole window in one circuit that re-shares its result, in k + 1 bits so that it can be converted to
//!   mod 2^32 ([`arithmetic::max`](crate::gc::arithmetic::max) has the count).
//!
//! Modulo a prime p of k bits ([`Ring::Prime`]) a comparison takes k ANDs, and the full circuit those of
//! [`modular::max`](crate::gc::modular::max), without a conversion. Sign and select takes values below p/4 in magnitude.
//!
//! | # | from -> to | content | bytes a window of w: sign and select | full circuit, K = min(k + 1, 32) | phase |
//! |---|---|---|---|---|---|
//! | 1 | client -> server | choices of the OTs of its shares' bits | 4 (k + 1)(w - 1) | 4 K w | online |
//! | 2 | server -> client | garbled tables | 32 k (w - 1) | 32 times the ANDs at K bits | online |
//! | 3 | server -> client | output colours | - | K/8 | online |
//! | 4 | both ways | selection | 16 (w - 1) | - | online |
//! | 5 | both ways | conversion, K < 32 | - | 4 + (32 - K)/8 | online |

use blindvox_net::channel::{Channel, Party};

use super::relu::ReluKind;
use super::tournament::Tournament;
use super::words::Words;
use crate::convert::convert;
use crate::error::Result;
use crate::gc::{Half, Schedule};
use crate::ot::OtPair;
use crate::share::{Ring, Shares};

/// Values in flight at a time: bounds memory at any tensor size.
const BATCH: usize = 1 << 20;

/// What is garbled.
enum Form {
    Rounds(Tournament),
    Circuit(Schedule),
}

/// The maxima of `windows`, \[windows\]\[`window`\] shares, one a window. For `Ring::Pow2(k)` from shares mod 2^32 of
/// |x| < 2^(k - 1) to shares mod 2^32; for `Ring::Prime(p)` from shares mod p to shares mod p, where sign and select takes |x| < p/4.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) unless 2 <= k <= 31 (32 for the full circuit) or p is odd; the channel's.
///
/// # Panics
/// If the values are not a number of whole windows.
#[expect(clippy::too_many_arguments, reason = "the parts of a session, the tensor and its shape")]
pub fn max_pool(
    party: Party,
    channel: &mut Channel,
    ot: &mut OtPair,
    gc: &mut Half,
    windows: &[u32],
    window: usize,
    ring: Ring,
    kind: ReluKind,
) -> Result<Shares> {
    assert!(window > 0 && windows.len().is_multiple_of(window), "{} values in windows of {window}", windows.len());
    let words = Words::new("max pooling", ring, if kind == ReluKind::SignSelect { 31 } else { 32 })?;
    let wide = words.of_differences();
    let form = match kind {
        ReluKind::SignSelect => Form::Rounds(Tournament::new(words)),
        ReluKind::FullCircuit => Form::Circuit(Schedule::new(&wide.max(window))),
    };
    let mut maxima = Shares::with_capacity(windows.len() / window);
    for windows in windows.chunks((BATCH / window).max(1) * window) {
        let mut columns: Vec<Shares> =
            (0..window).map(|i| windows.chunks_exact(window).map(|w| w[i]).collect()).collect();
        maxima.extend_from_slice(&match &form {
            Form::Rounds(tournament) => {
                while columns.len() > 1 {
                    let outcomes = tournament.compare(party, channel, gc, &columns)?;
                    columns = outcomes.winners(party, channel, ot, columns)?;
                }
                columns.remove(0)
            }
            Form::Circuit(program) => {
                let columns: Vec<_> = columns.iter().map(|c| &c[..]).collect();
                let shares = wide.run_reshared(party, channel, gc, program, &columns, true)?;
                match ring {
                    Ring::Pow2(_) => convert(party, channel, ot, shares, wide.width() as u32, Ring::FULL)?,
                    Ring::Prime(_) => shares,
                }
            }
        });
    }
    Ok(maxima)
}

#[cfg(test)]
mod tests {
    use super::super::relu::tests::{LABELS, run_garbled};
    use super::*;
    use crate::gc::arithmetic;
    use crate::ot::{LOCAL_WIDTH, cot_bytes};
    use crate::share::P;
    use crate::testing::sharings;

    fn ideal(x: &[i64], window: usize) -> Vec<i64> {
        x.chunks(window).map(|w| *w.iter().max().unwrap()).collect()
    }

    #[test]
    fn both_forms_find_the_greatest_of_each_window() {
        for kind in [ReluKind::SignSelect, ReluKind::FullCircuit] {
            for (window, bits) in [(1, 8), (2, 31), (3, 2), (4, 16), (8, 16), (8, 20), (2, 32)] {
                if kind == ReluKind::SignSelect && bits == 32 {
                    continue;
                }
                let bound = (1i64 << (bits - 1)) - 1;
                let edges = [0, -1, bound, -bound, bound, bound, -bound, -bound];
                let (values, client, server) = sharings(Ring::FULL, &edges, &[0, -1, bound], 264, bound);
                let keep = values.len() / window * window;
                let (c, s, traffic) = run_garbled(|party, channel, ot, gc| {
                    let x = if party == Party::Client { &client } else { &server };
                    max_pool(party, channel, ot, gc, &x[..keep], window, Ring::Pow2(bits), kind).unwrap()
                });
                assert_eq!(Ring::FULL.open(&c, &s), ideal(&values[..keep], window), "{window} of {bits}, {kind:?}");
                let total = (traffic.sent + traffic.received) as usize;
                let (n, wide) = (keep / window, (bits as usize + 1).min(32));
                let chunks = n.div_ceil(256);
                assert_eq!(
                    total,
                    match kind {
                        ReluKind::SignSelect => {
                            let mut columns = window;
                            let mut bytes = 0;
                            while columns > 1 {
                                let m = n * (columns / 2);
                                bytes += LABELS * wide * m.div_ceil(256)
                                    + 32 * (wide - 1) * m
                                    + 2 * (LABELS / 2 * m.div_ceil(128) + 4 * m);
                                columns = columns.div_ceil(2);
                            }
                            bytes
                        }
                        ReluKind::FullCircuit => {
                            let conversion = if wide < 32 {
                                LABELS / 2 * n.div_ceil(128) + (n * (32 - wide)).div_ceil(8)
                            } else {
                                0
                            };
                            let tables = 32 * arithmetic::max(window, wide).ands() * n;
                            LABELS * wide * window * chunks + tables + 32 * wide * chunks + conversion
                        }
                    }
                );
            }
        }
    }

    #[test]
    fn both_forms_find_the_greatest_residue() {
        for (p, window) in [(P, 1), (P, 2), (P, 8), (65537, 3), (2_147_483_647, 5)] {
            let (ring, k) = (Ring::Prime(p), (u32::BITS - p.leading_zeros()) as usize);
            for kind in [ReluKind::SignSelect, ReluKind::FullCircuit] {
                let bound = i64::from(if kind == ReluKind::SignSelect { p / 4 } else { p / 2 });
                let edges = [0, -1, bound, -bound, bound, bound, -bound, -bound];
                let (values, client, server) = sharings(ring, &edges, &[0, -1, bound], 264, bound);
                let keep = values.len() / window * window;
                let (c, s, traffic) = run_garbled(|party, channel, ot, gc| {
                    let x = if party == Party::Client { &client } else { &server };
                    max_pool(party, channel, ot, gc, &x[..keep], window, ring, kind).unwrap()
                });
                assert_eq!(ring.open(&c, &s), ideal(&values[..keep], window), "{window} mod {p}, {kind:?}");
                let n = keep / window;
                let expected = match kind {
                    ReluKind::SignSelect => {
                        let rounds = std::iter::successors(Some(window), |&c| (c > 1).then(|| c.div_ceil(2)));
                        let bytes = rounds.map(|columns| {
                            let m = n * (columns / 2);
                            let (choices, corrections) = cot_bytes(m, ring, LOCAL_WIDTH);
                            LABELS * k * m.div_ceil(256) + 32 * k * m + 2 * (choices + corrections)
                        });
                        bytes.sum()
                    }
                    ReluKind::FullCircuit => {
                        let tables = 32 * ((window + 1) * (2 * k - 1) + 2 * k * (window - 1)) * n;
                        LABELS * k * window * n.div_ceil(256) + tables + 32 * k * n.div_ceil(256)
                    }
                };
                assert_eq!((traffic.sent + traffic.received) as usize, expected, "{window} mod {p}, {kind:?}");
            }
        }
    }

    #[test]
    fn differences_need_a_spare_bit() {
        let (c, ..) = run_garbled(|party, channel, ot, gc| {
            max_pool(party, channel, ot, gc, &[0, 0], 2, Ring::Pow2(32), ReluKind::SignSelect).unwrap_err().to_string()
        });
        assert!(c.contains("32 bits, possible are 2 to 31"), "{c}");
    }
}
