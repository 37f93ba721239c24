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
//! Modulo a prime p of k bits ([`Ring::Prime`]) x is any residue, read as signed, and the result is shared mod p: 4k bytes of choices, tables
//! of k or at most 6k - 4 ANDs, then the selection in Z_p or the output colours. For p = 2^32 - 2^20 + 1: 1168 and 6148 bytes.
//!
//! At 16 bits: 560 bytes against 1512. Rows 1, 3 and the choices of 4 and 5 are counted in whole chunks of 256 or 128 elements.
//! The client learns nothing: not the sign either.

use blindvox_net::channel::{Channel, Party};

use crate::convert::convert;
use crate::error::Result;
use crate::gc::{Half, Schedule};
use crate::ot::OtPair;
use crate::share::{Ring, Shares};

use super::select::select;
use super::words::Words;

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

/// Shares of max(x, 0), exactly. For `Ring::Pow2(k)` from shares mod 2^32 of |x| < 2^(k - 1), whose low k bits enter the circuit,
/// to shares mod 2^32; for `Ring::Prime(p)` from shares mod p of residues read as signed, to shares mod p. Both parties name the
/// same `ring` and `kind`.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) unless 2 <= k <= 32 or p is odd; the channel's.
pub fn relu(
    party: Party,
    channel: &mut Channel,
    ot: &mut OtPair,
    gc: &mut Half,
    x: &[u32],
    ring: Ring,
    kind: ReluKind,
) -> Result<Shares> {
    let words = Words::new("ReLU", ring, 32)?;
    let program = Schedule::new(&match kind {
        ReluKind::SignSelect => words.sign(),
        ReluKind::FullCircuit => words.relu(),
    });
    let mut y = Shares::with_capacity(x.len());
    for x in x.chunks(BATCH) {
        y.extend_from_slice(&match kind {
            ReluKind::SignSelect => {
                let d = words.signs(party, channel, gc, &program, x)?;
                select(party, channel, ot, &d, x, words.shares())?
            }
            ReluKind::FullCircuit => {
                let y = words.run_reshared(party, channel, gc, &program, &[x], false)?;
                match ring {
                    Ring::Pow2(bits) => widen_non_negative(party, channel, ot, y, bits)?,
                    Ring::Prime(_) => y,
                }
            }
        });
    }
    Ok(y)
}

/// From shares mod 2^`bits` of 0 <= y < 2^(`bits` - 1) to shares mod 2^32.
fn widen_non_negative(
    party: Party,
    channel: &mut Channel,
    ot: &mut OtPair,
    mut y: Shares,
    bits: u32,
) -> Result<Shares> {
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
    use crate::gc::modular;
    use crate::ot::{LOCAL_WIDTH, cot_bytes};
    use crate::share::P;
    use crate::testing::{Tampered, run_both, sharings};
    use blindvox_net::channel::Traffic;

    /// Bytes by which the evaluator chooses the labels of an input bit of 256 instances.
    pub(in super::super) const LABELS: usize = 256 * 16 / LOCAL_WIDTH;

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
                    relu(party, channel, ot, gc, x, Ring::Pow2(bits), kind).unwrap()
                });
                assert_eq!(Ring::FULL.open(&c, &s), ideal(&values), "{bits} bits, {kind:?}");
                let (k, chunks, words) = (bits as usize, n.div_ceil(256), n.div_ceil(128));
                let inputs = LABELS * k * chunks;
                let total = (traffic.sent + traffic.received) as usize;
                assert_eq!(
                    total,
                    match kind {
                        ReluKind::SignSelect => inputs + 32 * (k - 1) * n + 2 * (LABELS / 2 * words + 4 * n),
                        ReluKind::FullCircuit => {
                            let conversion = if k < 32 { LABELS / 2 * words + (n * (32 - k)).div_ceil(8) } else { 0 };
                            inputs + 96 * (k - 1) * n + 32 * k * chunks + conversion
                        }
                    }
                );
            }
        }
    }

    #[test]
    fn both_forms_clear_the_negative_residues() {
        for p in [P, 65537, 2_147_483_647] {
            let (ring, k) = (Ring::Prime(p), (u32::BITS - p.leading_zeros()) as usize);
            let half = i64::from(p / 2);
            let (values, client, server) =
                sharings(ring, &[0, 1, -1, half, -half, half - 1], &[0, 1, -1, half, half + 1], 500, half);
            for (kind, ands) in [(ReluKind::SignSelect, k), (ReluKind::FullCircuit, modular::relu(p).ands())] {
                let n = values.len();
                let (c, s, traffic) = run_garbled(|party, channel, ot, gc| {
                    let x = if party == Party::Client { &client } else { &server };
                    relu(party, channel, ot, gc, x, ring, kind).unwrap()
                });
                assert!(c.iter().chain(&*s).all(|&y| y < p), "shares are residues");
                assert_eq!(ring.open(&c, &s), ideal(&values), "mod {p}, {kind:?}");
                let (choices, corrections) = cot_bytes(n, ring, LOCAL_WIDTH);
                let chunks = n.div_ceil(256);
                let out = if kind == ReluKind::SignSelect { 2 * (choices + corrections) } else { 32 * k * chunks };
                assert_eq!((traffic.sent + traffic.received) as usize, LABELS * k * chunks + 32 * ands * n + out);
            }
        }
    }

    /// Words of five bits that are no residues are taken as residues; as much is sent as ever, and the end tells.
    #[test]
    fn every_bit_of_the_opened_words_may_be_wrong() {
        let ring = Ring::Prime(17);
        let (values, client, server) = sharings(ring, &[-8, -1, 0, 8], &[0, 5], 0, 8);
        let half = |party, channel: &mut _, ot: &mut _, gc: &mut _| {
            let x = if party == Party::Client { &client } else { &server };
            relu(party, channel, ot, gc, x, ring, ReluKind::FullCircuit).unwrap()
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

    #[test]
    fn impossible_widths_are_refused() {
        let (c, s, _) = run_garbled(|party, channel, ot, gc| {
            [0, 1, 33].map(|bits| relu(party, channel, ot, gc, &[0], Ring::Pow2(bits), ReluKind::default()).is_err())
        });
        assert_eq!((c, s), ([true; 3], [true; 3]));
        run_garbled(|party, channel, ot, gc| {
            assert!(relu(party, channel, ot, gc, &[0], Ring::Prime(1 << 20), ReluKind::default()).is_err());
        });
    }
}
