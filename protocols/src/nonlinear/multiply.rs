//! Products of shared values mod p: x·y.
//!
//! # | from -> to        | content                                              | bytes        | phase
//! --|-------------------|------------------------------------------------------|--------------|------
//! 0 | both ways         | a Beaver triple an element ([`crate::correlations`])      | the source's | preprocessing
//! 1 | client <-> server | each party's shares of d = x - a and e = y - b mod p | 8 each way   | online
//!
//! With shares mod p of uniform a and b and of c = a·b, the opened d and e say nothing of x and y, and
//! x·y = d·e + d·b + e·a + c is linear in the shares: the client adds d·e (Beaver, "Efficient Multiparty Protocols
//! Using Circuit Randomization", 1991).

use blindvox_net::channel::Party;

use crate::convert;
use crate::correlations::BeaverTriples;
use crate::error::{Error, Result};
use crate::peer::Peer;
use crate::share::{P, Ring, Shares, mul_mod_p};

use super::open::open;

/// Elements of a round: their two openings fill one message.
const CHUNK: usize = convert::CHUNK / 2;

/// From shares mod [`P`] of x and of y to shares mod [`P`] of x·y. Uses up `triples`, one for each element.
///
/// # Errors
/// [`Error::Model`] where the numbers of triples and of factors differ; [`Error::Protocol`] where the peer
/// opens something that is no residue; the channel's.
pub fn multiply(peer: &mut Peer, triples: BeaverTriples, mut x: Shares, y: Shares) -> Result<Shares> {
    if triples.len() != x.len() || y.len() != x.len() {
        return Err(Error::Model(format!("{} triples for products of {} by {}", triples.len(), x.len(), y.len())));
    }
    let ring = Ring::Prime(P);
    let mine = match peer.party {
        Party::Client => u32::MAX,
        Party::Server => 0,
    };
    let [a, b, c] = triples.shares().map(|share| share.chunks(CHUNK));
    for ((((x, y), a), b), c) in x.chunks_mut(CHUNK).zip(y.chunks(CHUNK)).zip(a).zip(b).zip(c) {
        let minus = |(&x, &a)| ring.sub(x, a);
        let mut opened: Vec<u32> = x.iter().zip(a).map(minus).chain(y.iter().zip(b).map(minus)).collect();
        open(&mut peer.channel, &mut opened)?;
        let (d, e) = opened.split_at(x.len());
        // d·(e + b) + e·a + c here and d·b + e·a + c there.
        for (i, z) in x.iter_mut().enumerate() {
            let first = mul_mod_p(d[i], ring.add(e[i] & mine, b[i]));
            *z = ring.add(ring.add(first, mul_mod_p(e[i], a[i])), c[i]);
        }
    }
    Ok(x)
}

/// x·y mod [`P`]: what [`multiply`] gives.
pub fn ideal(x: u32, y: u32) -> u32 {
    (u64::from(x) * u64::from(y) % u64::from(P)) as u32
}

#[cfg(test)]
mod tests {
    use blindvox_engine::Device;

    use super::*;
    use crate::correlations::{Dealer, HeSource};
    use crate::testing::{run_both, sharings};

    const HALF: i64 = (P as i64) / 2;

    /// Multiplies random values and each edge value by each, under edge and uniform shares, with triples of the source.
    fn check(random: usize, triples: impl Fn(&mut Peer, usize) -> BeaverTriples + Sync) {
        let edges = [0, 1, -1, 2, HALF, -HALF, 1 << 15, -(1 << 20)];
        let (values, client, server) = sharings(Ring::Prime(P), &edges, &[0, 1, -1, HALF, HALF + 1], random, HALF);
        let n = values.len();
        // An edge value has five sharings, so rotating by fives brings any two edges together.
        for distance in [0, 5, 10, 15, 20, 25, 30, 35, n - 1] {
            let rotated = |shares: &[u32]| [&shares[distance..], &shares[..distance]].concat();
            let (c, s, _) = run_both(|peer| {
                let triples = triples(peer, n);
                let x = if peer.party == Party::Client { &client } else { &server };
                let before = peer.channel.stats().total;
                let z = multiply(peer, triples, x.clone().into(), rotated(x).into()).unwrap();
                (z, peer.channel.stats().total - before)
            });
            let ring = Ring::Prime(P);
            let residue = |i: usize| ring.from_signed(values[i % n]);
            for i in 0..n {
                assert_eq!(ring.add(c.0[i], s.0[i]), ideal(residue(i), residue(i + distance)), "{i} by {distance}");
            }
            let rounds = n.div_ceil(CHUNK) as u64;
            assert_eq!((c.1.sent, c.1.received, c.1.rounds), (8 * n as u64, 8 * n as u64, rounds));
            if random > CHUNK {
                return;
            }
        }
    }

    fn dealt(peer: &mut Peer, count: usize) -> BeaverTriples {
        Dealer::for_tests(peer.party, [5; 32]).deal(count)
    }

    #[test]
    fn equals_the_product_on_random_and_edge_values() {
        check(1000, dealt);
    }

    #[test]
    fn crosses_chunks() {
        check(CHUNK + 3, dealt);
    }

    #[test]
    fn works_with_triples_made_by_encryption() {
        check(10, |peer, count| {
            peer.source = Box::new(HeSource::setup(peer, &Device::cpu()).unwrap());
            peer.triples(count).unwrap()
        });
    }

    #[test]
    fn refuses_missing_triples_and_values_outside_the_field() {
        let (client, server, _) = run_both(|peer| {
            for [t, x, y] in [[2, 3, 3], [3, 3, 2], [3, 2, 3]] {
                let triples = dealt(peer, t);
                let product = multiply(peer, triples, Shares::zeros(x), Shares::zeros(y));
                assert!(matches!(product, Err(Error::Model(_))));
            }
            if peer.party == Party::Server {
                peer.channel.send_pod(&[0, 0, 0, P]).unwrap();
                return Ok(peer.channel.recv_pod::<u32>(4).map(drop)?);
            }
            let triples = dealt(peer, 2);
            multiply(peer, triples, Shares::zeros(2), Shares::zeros(2)).map(drop)
        });
        assert!(matches!(client, Err(Error::Protocol(_))) && server.is_ok());
    }
}
