//! Sign bits by garbled circuits, whose outputs stay shared in the colours of their labels at no cost.
//!
//! | # | from -> to | content | bytes a value of k bits | phase |
//! |---|---|---|---|---|
//! | 1 | client -> server | choices of the OTs of its share's bits | 4k | online |
//! | 2 | server -> client | garbled tables | 32 (k - 1); 32k mod p | online |
//!
//! Row 1 is counted in whole chunks of 256 values. Modulo a prime p of k bits the circuit takes doubled shares: x is
//! not negative where 2x mod p is even.

use std::collections::HashMap;

use super::words::Words;
use super::{Compare, check};
use crate::error::Result;
use crate::gc::{self, Schedule};
use crate::peer::Peer;
use crate::share::{BitShares, Ring};
use crate::traffic::Bytes;

/// The circuits that it has been asked for so far.
#[derive(Default)]
pub struct Garbled {
    programs: HashMap<Ring, Schedule>,
}

impl Compare for Garbled {
    fn signs(&mut self, peer: &mut Peer, x: &[u32], ring: Ring) -> Result<BitShares> {
        check("a comparison", ring, 32)?;
        let words = Words::new(ring);
        let program = self.programs.entry(ring).or_insert_with(|| Schedule::new(&words.sign()));
        let inputs = words.for_sign(peer.party, x);
        let (gc, channel) = peer.gates()?;
        Ok(gc.run(channel, program, &inputs)?.to_bytes(0).into())
    }

    fn bytes(&self, n: usize, ring: Ring, width: usize) -> Bytes {
        gc::traffic::bytes(&Words::new(ring).sign(), n, width)
    }
}

#[cfg(test)]
mod tests {
    use blindvox_net::channel::Party;

    use super::super::ideal;
    use super::*;
    use crate::ot::LOCAL_WIDTH;
    use crate::share::P;
    use crate::testing::{run_garbled, sharings};

    #[test]
    fn tells_what_is_not_below_a_threshold() {
        for (ring, bits) in [2, 3, 8, 16, 31].map(|k| (Ring::Pow2(k), k)).into_iter().chain([(Ring::Prime(P), 31)]) {
            let shared = super::super::shares(ring);
            // Differences with thresholds keep the range.
            let bound = (1i64 << (bits - 1)) / 2 - 1;
            let thresholds: Vec<i32> = [0, 1, -1, bound, -bound].map(|t| t.clamp(-bound, bound) as i32).to_vec();
            let edges = [0, 1, -1, bound, -bound, bound - 1].map(|x: i64| x.clamp(-bound, bound));
            let (values, client, server) = sharings(shared, &edges, &[0, 1, -1, bound], 300, bound);
            let (c, s, traffic) = run_garbled(|peer| {
                let x = if peer.party == Party::Client { &client } else { &server };
                Garbled::default().thresholds(peer, x, &thresholds, ring).unwrap()
            });
            for ((c, s), &t) in c.iter().zip(&s).zip(&thresholds) {
                let opened: Vec<bool> = c.iter().zip(&**s).map(|(c, s)| c ^ s == 1).collect();
                let expected: Vec<bool> = values.iter().map(|&x| ideal(x, t)).collect();
                assert_eq!(opened, expected, "{ring}, from {t}");
            }
            assert_eq!(Bytes::from(traffic), Garbled::default().bytes(5 * values.len(), ring, LOCAL_WIDTH), "{ring}");
        }
    }

    #[test]
    fn nothing_and_no_thresholds_compare_to_nothing() {
        let counts = run_garbled(|peer| {
            let mut compare = Garbled::default();
            let none = compare.thresholds(peer, &[], &[1, 2], Ring::Pow2(8)).unwrap();
            let no_thresholds = compare.thresholds(peer, &[1, 2], &[], Ring::Pow2(8)).unwrap();
            (none.len(), none.iter().map(|b| b.len()).sum::<usize>(), no_thresholds.len())
        });
        assert_eq!((counts.0, counts.1), ((2, 0, 0), (2, 0, 0)));
    }

    #[test]
    fn rings_that_do_not_fit_and_peers_without_gates_are_refused() {
        run_garbled(|peer| {
            for ring in [Ring::Pow2(0), Ring::Pow2(1), Ring::Pow2(33), Ring::Prime(1 << 20)] {
                assert!(Garbled::default().signs(peer, &[0], ring).is_err(), "{ring:?}");
            }
            peer.gc = None;
            let text = Garbled::default().signs(peer, &[0], Ring::Pow2(8)).err().expect("refused").to_string();
            assert_eq!(text, "model: garbled circuits were not set up");
        });
    }
}
