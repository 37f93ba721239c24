//! Squares of shared values: x^2 / 2^shift.
//!
//! # | from -> to       | content                                       | bytes           | phase
//! --|------------------|-----------------------------------------------|-----------------|------
//! 0 | both ways        | a square pair an element ([`crate::correlations`]) | the source's    | before use
//! 1 | client <-> server | each party's share of d = x - a mod p        | 4 each way      | online
//! 2 | server -> client | choices of [`convert::convert_from_prime`]    | 4               | online
//! 3 | client -> server | its corrections                               | (12 + shift) / 8; 4 at 0 | online
//!
//! With shares mod p of a uniform a and of a^2, the opened d = x - a says nothing of x, and
//! x^2 = d^2 + 2·d·a + a^2 is linear in the shares: the client adds d^2 (Beaver's trick for squares).
//! For |x| < 2^15, x^2 < 2^30 < p/2, so the square converts to mod 2^32 as a non-negative value,
//! truncated on the way.
//!
//! **Quadratic activations** a·x^2 + b·x + c need no more than this: a layer hands on two streams, the squares and x
//! itself, and the server, which alone knows the coefficients, folds a and b into the columns of the next linear
//! layer and c into its bias.

use blindvox_engine::simd::wide;
use blindvox_net::channel::Party;

use crate::convert;
use crate::correlations::SquarePairs;
use crate::error::{Error, Result};
use crate::peer::Peer;
use crate::share::{P, Ring, Shares, mul_mod_p};
use crate::traffic::{Bytes, batches};

use super::open::open;

/// From shares mod [`P`] of |x| < 2^15 to shares mod 2^32 of x^2 / 2^`shift`: within one unit, and exact
/// for a shift of 0. Uses up `pairs`, one for each element.
///
/// # Errors
/// [`Error::Model`] for a shift above 20 or another number of pairs than of values; [`Error::Protocol`]
/// where the peer opens something that is no residue; the channel's.
pub fn square(peer: &mut Peer, mut pairs: SquarePairs, x: Shares, shift: u32) -> Result<Shares> {
    if pairs.len() != x.len() {
        return Err(Error::Model(format!("{} square pairs for {} values", pairs.len(), x.len())));
    }
    in_chunks(peer, x, shift, |_, count| pairs.take(count))
}

/// [`square`] with pairs of the peer's source, which makes them as they are used: no more than [`convert::CHUNK`] are
/// alive.
///
/// # Errors
/// As of [`square`], and the source's.
pub fn square_from(peer: &mut Peer, x: Shares, shift: u32) -> Result<Shares> {
    in_chunks(peer, x, shift, Peer::square_pairs)
}

fn in_chunks(
    peer: &mut Peer,
    mut x: Shares,
    shift: u32,
    mut pairs: impl FnMut(&mut Peer, usize) -> Result<SquarePairs>,
) -> Result<Shares> {
    convert::check_shift(shift)?;
    for x in x.chunks_mut(convert::CHUNK) {
        let pairs = pairs(peer, x.len())?;
        square_mod_p(peer, pairs, x)?;
        convert::chunk_from_prime(peer, x, shift)?;
    }
    Ok(x)
}

/// From shares mod [`P`] of x to shares mod [`P`] of x^2, at most what the channel queues.
fn square_mod_p(peer: &mut Peer, pairs: SquarePairs, x: &mut [u32]) -> Result<()> {
    let ([a, a2], ring) = (pairs.shares(), Ring::Prime(P));
    wide(|| x.iter_mut().zip(a).for_each(|(x, &a)| *x = ring.sub(*x, a)));
    open(&mut peer.channel, x)?;
    // d·(d + 2a) + a^2 here and d·2a + a^2 there.
    let mine = match peer.party {
        Party::Client => u32::MAX,
        Party::Server => 0,
    };
    wide(|| {
        for ((x, &a), &a2) in x.iter_mut().zip(a).zip(a2) {
            let d = *x;
            *x = ring.add(mul_mod_p(d, ring.add(d & mine, ring.add(a, a))), a2);
        }
    });
    Ok(())
}

/// The requests for pairs of a source, of [`square_from`] of `n` values.
pub fn chunks(n: usize) -> impl Iterator<Item = usize> {
    batches(n, convert::CHUNK)
}

/// Bytes of [`square`] of `n` values, at a block width of transfers.
pub fn bytes(n: usize, shift: u32, width: usize) -> Bytes {
    Bytes::each_way(4 * n) + convert::from_prime_bytes(n, shift, width)
}

/// x^2 over 2^`shift`, rounded down: what [`square`] gives to within one unit.
pub fn ideal(x: i64, shift: u32) -> i64 {
    (x * x) >> shift
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::correlations::{Correlations, Dealer, Kind};
    use crate::ot::LOCAL_WIDTH;
    use crate::peer::Link;
    use crate::testing::{run_both, sharings};

    fn dealt(party: Party, count: usize) -> SquarePairs {
        Dealer::for_tests(party, [5; 32]).deal(count)
    }

    fn check(shift: u32, random: usize) {
        let (p, bound) = (i64::from(P), (1 << 15) - 1);
        let (values, client, server) = sharings(
            Ring::Prime(P),
            &[0, 1, -1, 2, bound, -bound, 181, -182, 1 << 10],
            &[0, 1, -1, p / 2, p / 2 + 1, bound, -bound],
            random,
            bound,
        );
        let (c, s, traffic) = run_both(|peer| {
            let pairs = dealt(peer.party, values.len());
            let x = if peer.party == Party::Client { &client } else { &server };
            square(peer, pairs, x.clone().into(), shift).unwrap()
        });
        assert_eq!(Bytes::from(traffic), bytes(values.len(), shift, LOCAL_WIDTH));
        for (result, &x) in Ring::FULL.open(&c, &s).into_iter().zip(&values) {
            let error = (result << shift) - x * x;
            assert!(error.abs() <= 1 << shift && (shift > 0 || error == 0), "{x}^2 >> {shift}: {result}");
            assert!((result - ideal(x, shift)).abs() <= 1);
        }
    }

    #[test]
    fn is_exact_without_a_shift_and_within_a_unit_with_one() {
        for shift in [0, 1, 2, 7, 10, 12, 15, 20] {
            check(shift, 1000);
        }
    }

    #[test]
    fn crosses_chunks() {
        check(10, convert::CHUNK + 3);
    }

    /// The source is asked chunk by chunk, and by both parties alike.
    #[test]
    fn takes_pairs_from_a_source_as_it_goes() {
        #[derive(Debug)]
        struct Counted(Dealer, Arc<Mutex<Vec<usize>>>);
        impl Correlations for Counted {
            fn offers(&self, kind: Kind) -> bool {
                self.0.offers(kind)
            }
            fn square_pairs(&mut self, link: &mut Link, count: usize) -> Result<SquarePairs> {
                self.1.lock().unwrap().push(count);
                self.0.square_pairs(link, count)
            }
        }
        let n = 2 * convert::CHUNK + 1;
        let (c, s, _) = run_both(|peer| {
            let counts = Arc::new(Mutex::new(vec![]));
            peer.source = Box::new(Counted(Dealer::for_tests(peer.party, [5; 32]), counts.clone()));
            let x = if peer.party == Party::Client { vec![5; n] } else { vec![P - 305; n] };
            let y = square_from(peer, x.into(), 0).unwrap();
            (y, counts.lock().unwrap().clone())
        });
        assert!(Ring::FULL.open(&c.0, &s.0).iter().all(|&y| y == 90_000));
        assert_eq!(c.1, [convert::CHUNK, convert::CHUNK, 1]);
        assert_eq!(c.1, s.1);
    }

    #[test]
    fn a_quadratic_activation_is_two_streams_and_a_linear_layer() {
        let (k, bound) = (20, (1 << 14) - 1);
        let (values, client, server) =
            sharings(Ring::Pow2(k), &[0, 1, -1, bound, -bound], &[0, 1, -1, 1 << 19], 1000, bound);
        for (shift, [a, b, c]) in [(0, [3, -7, 100]), (10, [-5, 11, -1])] {
            let (x, y, _) = run_both(|peer| {
                let x = if peer.party == Party::Client { &client } else { &server };
                let residues = convert::convert(peer, x.clone().into(), k, Ring::Prime(P)).unwrap();
                let pairs = dealt(peer.party, residues.len());
                let squares = square(peer, pairs, residues, shift).unwrap();
                let x = convert::convert(peer, x.clone().into(), k, Ring::FULL).unwrap();
                let full = Ring::FULL;
                let bias = if peer.party == Party::Server { full.from_signed(c) } else { 0 };
                let term = |coefficient: i64, x: u32| full.mul(full.from_signed(coefficient), x);
                squares
                    .iter()
                    .zip(&x)
                    .map(|(&s, &x)| full.add(full.add(term(a, s), term(b, x)), bias))
                    .collect::<Vec<_>>()
            });
            for (result, &x) in Ring::FULL.open(&x, &y).into_iter().zip(&values) {
                let error = ((result - b * x - c) << shift) - a * x * x;
                let unit = if shift == 0 { 0 } else { a.abs() << shift };
                assert!(error.abs() <= unit, "{a}·{x}^2 + {b}·{x} + {c} = {result}");
            }
        }
    }

    #[test]
    fn the_opening_is_eight_bytes_an_element() {
        let n = 777;
        let (_, _, traffic) = run_both(|peer| {
            let pairs = dealt(peer.party, n);
            square_mod_p(peer, pairs, &mut vec![1; n]).unwrap();
        });
        assert_eq!((traffic.sent, traffic.received, traffic.rounds), (4 * n as u64, 4 * n as u64, 1));
    }

    #[test]
    fn refuses_missing_pairs_and_values_outside_the_field() {
        let (client, server, _) = run_both(|peer| {
            let pairs = dealt(peer.party, 2);
            assert!(matches!(square(peer, pairs, Shares::zeros(3), 0), Err(Error::Model(_))));
            if peer.party == Party::Server {
                peer.channel.send_pod(&[P, 0]).unwrap();
                return Ok(peer.channel.recv_pod::<u32>(2).map(drop)?);
            }
            let pairs = dealt(peer.party, 2);
            square_mod_p(peer, pairs, &mut [0; 2])
        });
        assert!(matches!(client, Err(Error::Protocol(_))) && server.is_ok());
    }
}
