//! Max pooling: the greatest value of each window.
//!
//! - **Sign and select** (the default): rounds of a [`tournament`](super::tournament) over pairs, max(a, b) = b + d·(a - b) with d
//!   the sign of a - b by a garbled circuit of k ANDs (a difference has a bit more than its operands) and a
//!   [selection](super::select).
//! - **Full circuit**: the whole window in one circuit that re-shares its result, in k + 1 bits so that it can be converted to
//!   mod 2^32 ([`arithmetic::max`] has the count).
//!
//! | # | from -> to | content | bytes a window of w: sign and select | full circuit, K = min(k + 1, 32) | phase |
//! |---|---|---|---|---|---|
//! | 1 | client -> server | choices of the OTs of its shares' bits | 4 (k + 1)(w - 1) | 4 K w | online |
//! | 2 | server -> client | garbled tables | 32 k (w - 1) | 32 times the ANDs at K bits | online |
//! | 3 | server -> client | output colours | - | K/8 | online |
//! | 4 | both ways | selection | 16 (w - 1) | - | online |
//! | 5 | both ways | conversion, K < 32 | - | 4 + (32 - K)/8 | online |

use super::relu::{ReluKind, check_bits, run_reshared};
use super::tournament::Tournament;
use crate::channel::{Channel, Party};
use crate::convert::convert;
use crate::error::Result;
use crate::gc::{Half, Program, arithmetic};
use crate::ot::OtPair;
use crate::share::Ring;

/// Values in flight at a time: bounds memory at any tensor size.
const BATCH: usize = 1 << 20;

/// What is garbled.
enum Form {
    Rounds(Tournament),
    Circuit(Program),
}

/// The maxima of `windows`, \[windows\]\[`window`\] shares mod 2^32 of |x| < 2^(`bits` - 1): shares mod 2^32, one a window.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) unless 2 <= `bits` <= 31 (32 for the full circuit); the channel's.
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
    bits: u32,
    kind: ReluKind,
) -> Result<Vec<u32>> {
    assert!(window > 0 && windows.len().is_multiple_of(window), "{} values in windows of {window}", windows.len());
    check_bits("max pooling", bits, if kind == ReluKind::SignSelect { 31 } else { 32 })?;
    let wide = (bits + 1).min(32);
    let form = match kind {
        ReluKind::SignSelect => Form::Rounds(Tournament::new(bits)),
        ReluKind::FullCircuit => Form::Circuit(Program::new(&arithmetic::max(window, wide as usize))),
    };
    let mut maxima = Vec::with_capacity(windows.len() / window);
    for windows in windows.chunks((BATCH / window).max(1) * window) {
        let mut columns: Vec<Vec<u32>> =
            (0..window).map(|i| windows.iter().skip(i).step_by(window).copied().collect()).collect();
        maxima.extend(match &form {
            Form::Rounds(tournament) => {
                while columns.len() > 1 {
                    columns = tournament.compare(channel, gc, &columns)?.winners(party, channel, ot, &columns)?;
                }
                columns.remove(0)
            }
            Form::Circuit(program) => {
                let columns: Vec<_> = columns.iter().map(Vec::as_slice).collect();
                let shares = run_reshared(channel, gc, program, &columns, wide)?;
                convert(party, channel, ot, shares, wide, Ring::FULL)?
            }
        });
    }
    Ok(maxima)
}

#[cfg(test)]
mod tests {
    use super::super::relu::tests::run_garbled;
    use super::*;
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
                    max_pool(party, channel, ot, gc, &x[..keep], window, bits, kind).unwrap()
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
                                bytes += 1024 * wide * m.div_ceil(256)
                                    + 32 * (wide - 1) * m
                                    + 2 * (512 * m.div_ceil(128) + 4 * m);
                                columns = columns.div_ceil(2);
                            }
                            bytes
                        }
                        ReluKind::FullCircuit => {
                            let conversion =
                                if wide < 32 { 512 * n.div_ceil(128) + (n * (32 - wide)).div_ceil(8) } else { 0 };
                            let tables = 32 * arithmetic::max(window, wide).ands() * n;
                            1024 * wide * window * chunks + tables + 32 * wide * chunks + conversion
                        }
                    }
                );
            }
        }
    }

    #[test]
    fn differences_need_a_spare_bit() {
        let (c, ..) = run_garbled(|party, channel, ot, gc| {
            max_pool(party, channel, ot, gc, &[0, 0], 2, 32, ReluKind::SignSelect).unwrap_err().to_string()
        });
        assert!(c.contains("32 bits, possible are 2 to 31"), "{c}");
    }
}
