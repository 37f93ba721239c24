//! ReLU: max(x, 0).
//!
//! Two forms, for x of `bits` = k bits (|x| < 2^(k-1)):
//!
//! - **Sign and select** (the default): the sign bit by a garbled circuit of k - 1 ANDs, whose output stays shared in the colours
//!   of its labels at no cost, then [`select`]. It wins at every width: the circuit is a third as large.
//! - **Full circuit** (the published form): reconstruct, select and re-share in the circuit, 3k - 3 ANDs. Its output is shared
//!   mod 2^k, and [`convert`](crate::convert) brings it to mod 2^32 where k < 32. Kept as the baseline.
//!
//! | # | from -> to | content | bytes an element: sign and select | full circuit | phase |
//! |---|---|---|---|---|---|
//! | 1 | client -> server | choices of the OTs of its share's bits | 4k | 4k | online |
//! | 2 | server -> client | garbled tables | 32 (k - 1) | 96 (k - 1) | online |
//! | 3 | server -> client | output colours | - | k/8 | online |
//! | 4 | both ways | selection: 4 transfers of 4 bytes | 16 | - | online |
//! | 5 | both ways | conversion, k < 32 | - | 4 + (32 - k)/8 | online |
//!
//! At 16 bits: 560 bytes against 1512. Rows 1, 3 and the choices of 4 and 5 are counted in whole chunks of 256 or 128 elements.
//! The client learns nothing: not the sign either.

use zeroize::Zeroizing;

use crate::channel::{Channel, Party};
use crate::convert::convert;
use crate::error::{Error, Result};
use crate::gc::{Half, Planes, Program, arithmetic};
use crate::nonlinear::select::select;
use crate::ot::OtPair;
use crate::share::Ring;

/// Elements in flight at a time: bounds memory at any tensor size.
const BATCH: usize = 1 << 20;

/// How comparisons of garbled circuits and selections are combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReluKind {
    /// Only comparisons are garbled; correlated OTs select.
    #[default]
    SignSelect,
    /// Everything is garbled.
    FullCircuit,
}

impl ReluKind {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::SignSelect => "sign-select",
            Self::FullCircuit => "full-circuit",
        }
    }
}

/// From shares mod 2^32 of |x| < 2^(`bits` - 1) to shares mod 2^32 of max(x, 0), exactly. Only the low `bits` bits of
/// shares enter the circuit. Both parties name the same `bits` and `kind`.
///
/// # Errors
/// [`Error::Model`] unless 2 <= `bits` <= 32; the channel's.
pub fn relu(
    party: Party,
    channel: &mut Channel,
    ot: &mut OtPair,
    gc: &mut Half,
    x: &[u32],
    bits: u32,
    kind: ReluKind,
) -> Result<Vec<u32>> {
    check_bits("ReLU", bits, 32)?;
    let circuit = match kind {
        ReluKind::SignSelect => arithmetic::sign(bits as usize),
        ReluKind::FullCircuit => arithmetic::relu(bits as usize),
    };
    let program = Program::new(&circuit);
    let mut y = Vec::with_capacity(x.len());
    for x in x.chunks(BATCH) {
        y.extend(match kind {
            ReluKind::SignSelect => {
                let d = gc.run(channel, &program, &Planes::from_columns(&[x], bits as usize))?;
                let d = Zeroizing::new(d.to_bytes(0));
                select(party, channel, ot, &d, x)?
            }
            ReluKind::FullCircuit => {
                let y = run_reshared(channel, gc, &program, &[x], bits)?;
                widen_non_negative(party, channel, ot, y, bits)?
            }
        });
    }
    Ok(y)
}

/// Refuses widths that a circuit or the ring cannot hold.
pub(super) fn check_bits(what: &str, bits: u32, most: u32) -> Result<()> {
    if (2..=most).contains(&bits) {
        Ok(())
    } else {
        Err(Error::Model(format!("{what} of {bits} bits, possible are 2 to {most}")))
    }
}

/// Runs a circuit whose last garbler input, of `bits` bits, is added to its one output word; the parties' shares of the
/// columns come before it. Returns shares of the word mod 2^`bits`.
pub(super) fn run_reshared(
    channel: &mut Channel,
    gc: &mut Half,
    program: &Program,
    columns: &[&[u32]],
    bits: u32,
) -> Result<Vec<u32>> {
    let ring = Ring::Pow2(bits);
    let n = columns.first().map_or(0, |c| c.len());
    let mask = gc.draw_masks(n).map(|r| r.into_iter().map(|r| ring.mask(r)).collect::<Vec<_>>());
    let all: Vec<&[u32]> = columns.iter().copied().chain(mask.as_deref()).collect();
    let shares = gc.run(channel, program, &Planes::from_columns(&all, bits as usize))?;
    let opened = gc.reveal_to_evaluator(channel, shares)?;
    Ok(match (opened, mask) {
        (Some(masked), _) => masked.to_column(0, bits as usize),
        (None, mask) => mask.unwrap_or_default().into_iter().map(|r| ring.neg(r)).collect(),
    })
}

/// From shares mod 2^`bits` of 0 <= y < 2^(`bits` - 1) to shares mod 2^32.
fn widen_non_negative(
    party: Party,
    channel: &mut Channel,
    ot: &mut OtPair,
    mut y: Vec<u32>,
    bits: u32,
) -> Result<Vec<u32>> {
    // Conversion takes signed values of one bit less: move down and back.
    let offset = if party == Party::Server && bits < 32 { 1 << (bits - 2) } else { 0 };
    y.iter_mut().for_each(|y| *y = Ring::Pow2(bits).mask(y.wrapping_sub(offset)));
    let mut y = convert(party, channel, ot, y, bits, Ring::FULL)?;
    y.iter_mut().for_each(|y| *y = y.wrapping_add(offset));
    Ok(y)
}

#[cfg(test)]
pub(super) mod tests {
    use blindvox_engine::Prng;

    use super::*;
    use crate::channel::Traffic;
    use crate::testing::{run_both, sharings};

    /// Both parties with their garbling halves; the traffic is the protocol's alone.
    pub(in super::super) fn run_garbled<T: Send>(
        half: impl Fn(Party, &mut Channel, &mut OtPair, &mut Half) -> T + Sync,
    ) -> (T, T, Traffic) {
        let ((client, traffic), (server, _), _) = run_both(|party, channel, ot| {
            let mut prng = Prng::from_seed_for_tests([party as u8 + 7; 32]);
            let mut gc = Half::setup(party, channel, &mut prng).unwrap();
            let before = channel.stats().total;
            let result = half(party, channel, ot, &mut gc);
            (result, channel.stats().total - before)
        });
        (client, server, traffic)
    }

    fn ideal(x: &[i64]) -> Vec<i64> {
        x.iter().map(|&x| x.max(0)).collect()
    }

    #[test]
    fn both_forms_clear_the_negative_values() {
        for kind in [ReluKind::SignSelect, ReluKind::FullCircuit] {
            for bits in [2, 3, 16, 20, 31, 32] {
                let bound = (1i64 << (bits - 1)) - 1;
                let edges = [0, 1, -1, bound, -bound, bound / 2];
                let (values, client, server) = sharings(Ring::FULL, &edges, &[0, 1, -1, bound, -bound - 1], 500, bound);
                let n = values.len();
                let (c, s, traffic) = run_garbled(|party, channel, ot, gc| {
                    let x = if party == Party::Client { &client } else { &server };
                    relu(party, channel, ot, gc, x, bits, kind).unwrap()
                });
                assert_eq!(Ring::FULL.open(&c, &s), ideal(&values), "{bits} bits, {kind:?}");
                let (k, chunks, words) = (bits as usize, n.div_ceil(256), n.div_ceil(128));
                let inputs = 1024 * k * chunks;
                let total = (traffic.sent + traffic.received) as usize;
                assert_eq!(
                    total,
                    match kind {
                        ReluKind::SignSelect => inputs + 32 * (k - 1) * n + 2 * (512 * words + 4 * n),
                        ReluKind::FullCircuit => {
                            let conversion = if k < 32 { 512 * words + (n * (32 - k)).div_ceil(8) } else { 0 };
                            inputs + 96 * (k - 1) * n + 32 * k * chunks + conversion
                        }
                    }
                );
            }
        }
    }

    #[test]
    fn impossible_widths_are_refused() {
        let (c, s, _) = run_garbled(|party, channel, ot, gc| {
            [0, 1, 33].map(|bits| relu(party, channel, ot, gc, &[0], bits, ReluKind::default()).is_err())
        });
        assert_eq!((c, s), ([true; 3], [true; 3]));
    }
}
