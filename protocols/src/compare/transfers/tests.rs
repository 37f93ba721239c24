//! Leaves and nodes over all small words, whole protocols at the edges, bytes against the table.

use blindvox_engine::Prng;
use blindvox_net::channel::Channel;

use super::super::ideal;
use super::leaves::Digit;
use super::*;
use crate::error::Error;
use crate::nonlinear::{Nonlinear, argmax, index, max_pool, relu};
use crate::ot::pack::packed_len;
use crate::ot::silent::B10;
use crate::peer::Link;
use crate::share::P;
use crate::testing::{run_after, run_both, sharings};

/// A peer whose directions are both silent.
fn silent_peer(party: Party, channel: Channel) -> Peer {
    let mut peer = crate::testing::peer(party, channel);
    let Link { channel, ot, prng, .. } = &mut peer.link;
    ot.go_silent(party, channel, prng, [Some(&B10); 2]).unwrap();
    peer
}

fn run_silent<T: Send>(half: impl Fn(&mut Peer) -> T + Sync) -> (T, T, blindvox_net::channel::Traffic) {
    run_after(silent_peer, half)
}

fn pick<'a>(peer: &Peer, client: &'a [u32], server: &'a [u32]) -> &'a [u32] {
    if peer.party == Party::Client { client } else { server }
}

/// Every pair of words, under digits of every width: outcomes of the leaves, then of the whole tree.
#[test]
fn all_small_words_compare() {
    for bits in 1..=6u32 {
        let all = 1u32 << bits;
        let a: Vec<u32> = (0..all * all).map(|i| i / all).collect();
        let b: Vec<u32> = (0..all * all).map(|i| i % all).collect();
        for most in 1..=4 {
            let (c, s, _) = run_both(|peer| {
                let count = digits(bits, most).count();
                reserve(peer, a.len(), [bits as usize + count - 1, count - 1]).unwrap();
                let planes = leaves(peer, pick(peer, &b, &a), bits, most).unwrap();
                let copies: Vec<Plane> = planes.clone();
                (planes, Tree::new(count).greater(peer, copies).unwrap())
            });
            for (d, digit) in digits(bits, most).enumerate() {
                let (at, mask) = (d as u32 * most, (1 << most.min(bits - d as u32 * most)) - 1);
                for i in 0..a.len() {
                    let (a, b) = (a[i] >> at & mask, b[i] >> at & mask);
                    let expected = u8::from(a > b) | if digit.table() > mask { u8::from(a == b) << 1 } else { 0 };
                    assert_eq!(c.0[d][i] ^ s.0[d][i], expected, "{a} and {b}, digit {d} of {most} bits");
                }
            }
            for i in 0..a.len() {
                assert_eq!((c.1[i] ^ s.1[i]) & 1 == 1, a[i] > b[i], "{} > {}, {bits} bits by {most}", a[i], b[i]);
            }
        }
    }
}

/// Every sharing of every bit and word of up to three bits, and full bytes at random.
#[test]
fn nodes_are_ands() {
    for bits in [1u32, 2, 3, 8] {
        let mut prng = Prng::from_seed_for_tests([bits as u8; 32]);
        let n = 4 << (2 * bits);
        let mask = (0xff >> (8 - bits)) as u8;
        let field = |i: usize, at: u32| (i >> at) as u8;
        let exhaustive = |i: usize| [field(i, 0) & 1, field(i, 1) & 1, field(i, 2) & mask, field(i, 2 + bits) & mask];
        let cases: Vec<[u8; 4]> = match bits {
            8 => prng.fill::<[u8; 4]>(5000).into_iter().map(|[p, q, v, w]| [p & 1, q & 1, v, w]).collect(),
            _ => (0..n).map(exhaustive).collect(),
        };
        let column = |at: usize| Zeroizing::new(cases.iter().map(|case| case[at]).collect::<Vec<_>>());
        let (c, s, traffic) = run_silent(|peer| {
            reserve(peer, cases.len(), [1, 1]).unwrap();
            let me = usize::from(peer.party == Party::Server);
            ands(peer, &[And { p: column(me), v: column(2 + me), bits }]).unwrap().remove(0)
        });
        for (i, [p, q, v, w]) in cases.iter().enumerate() {
            assert_eq!(c[i] ^ s[i], (p ^ q).wrapping_neg() & (v ^ w) & mask);
        }
        let each = packed_len(cases.len(), 1) + packed_len(cases.len(), bits);
        assert_eq!((traffic.sent as usize, traffic.received as usize), (each + B10.message(), each + B10.message()));
    }
}

#[test]
fn trees_have_the_least_depth_and_bits() {
    for (digits, depth, bits) in [(1, 0, 0), (2, 1, 2), (4, 2, 7), (5, 3, 9), (7, 3, 15), (8, 3, 18), (11, 4, 26)] {
        let tree = Tree::new(digits);
        assert_eq!((tree.depth(), tree.bits()), (depth, bits), "{digits} digits");
    }
}

/// Both sources, thresholds at and beside each value's neighbours, rings of every kind, shares at their edges.
#[test]
fn tells_what_is_not_below_a_threshold() {
    for (ring, bits) in [2, 3, 8, 16, 20, 31, 32].map(|k| (Ring::Pow2(k), k)).into_iter().chain([(Ring::Prime(P), 31)])
    {
        let shared = super::super::shares(ring);
        let bound = (1i64 << (bits - 1)) / 2 - 1;
        let thresholds: Vec<i32> = [0, 1, -1, bound, -bound].map(|t| t.clamp(-bound, bound) as i32).to_vec();
        let edges = [0, 1, -1, bound, -bound, bound - 1].map(|x: i64| x.clamp(-bound, bound));
        let (values, client, server) = sharings(shared, &edges, &[0, 1, -1, 1 << 31, (1 << 31) - 1, bound], 300, bound);
        for set_up in [crate::testing::peer, silent_peer] {
            let (c, s, _) = run_after(set_up, |peer| {
                let x = pick(peer, &client, &server);
                Transfers::default().thresholds(peer, x, &thresholds, ring).unwrap()
            });
            for ((c, s), &t) in c.iter().zip(&s).zip(&thresholds) {
                let opened: Vec<bool> = c.iter().zip(&**s).map(|(c, s)| c ^ s == 1).collect();
                let expected: Vec<bool> = values.iter().map(|&x| ideal(x, t)).collect();
                assert_eq!(opened, expected, "{ring}, from {t}");
            }
        }
    }
}

/// Right for shares of which the low k bits alone count.
#[test]
fn relu_is_right_at_every_width() {
    for bits in [2, 3, 15, 16, 17, 20, 31, 32] {
        let bound = (1i64 << (bits - 1)) - 1;
        let (values, mut client, server) = sharings(
            Ring::FULL,
            &[0, 1, -1, bound, -bound, bound / 2],
            &[0, 1, -1, bound, -bound - 1, 1 << 31],
            700,
            bound,
        );
        for (i, c) in client.iter_mut().enumerate() {
            *c ^= if bits < 32 { (i as u32).wrapping_mul(0x9e37_79b9) << bits } else { 0 };
        }
        for set_up in [crate::testing::peer, silent_peer] {
            let (c, s, _) = run_after(set_up, |peer| {
                let x = pick(peer, &client, &server);
                Nonlinear::Compared(Box::new(Transfers::default())).relu(peer, x, Ring::Pow2(bits)).unwrap()
            });
            assert_eq!(Ring::FULL.open(&c, &s), relu::ideal(&values), "{bits} bits");
        }
    }
    let ring = Ring::Prime(P);
    let half = i64::from(P / 2);
    let (values, client, server) = sharings(ring, &[0, 1, -1, half, -half], &[0, 1, -1, half, half + 1], 500, half);
    let (c, s, _) = run_silent(|peer| Transfers::default().relu(peer, pick(peer, &client, &server), ring).unwrap());
    assert_eq!(ring.open(&c, &s), relu::ideal(&values));
}

/// Bits of a ReLU after its transfers, to and from the server.
fn relu_bits(k: u32, m: u32) -> [usize; 2] {
    let leaves: u32 = digits(k - 1, m).map(Digit::table).sum();
    let joins = Tree::new(digits(k - 1, m).count()).bits();
    let (up, down) = if k < 32 { (32 - k, 1) } else { (0, 0) };
    [k - 1 + joins + 1 + k + up, leaves + joins + 1 + k + down].map(|bits| bits as usize)
}

/// What the table says, and what the two sources add to it.
#[test]
fn bytes_and_flights_are_those_of_the_table() {
    assert_eq!(relu_bits(16, 3), [57, 90]);
    let of_relu = |k, m| {
        let [server, client] = of_signs(Ring::Pow2(k), m);
        server + client + 2 + usize::from(k < 32)
    };
    assert_eq!((of_relu(16, 3), of_signs(Ring::Pow2(16), 3)), (26, [19, 4]));
    let bytes = |k, m, cot: f64| (relu_bits(k, m).iter().sum::<usize>() as f64 + of_relu(k, m) as f64 * cot) / 8.0;
    // A silent transfer in the set for large amounts.
    let silent = 8.0 * crate::ot::silent::B11.message() as f64 / crate::ot::silent::B11.usable() as f64;
    assert!(silent < 0.762);
    for (k, most, soft) in [(16, 21.0, 117.2), (20, 26.2, 146.4), (32, 41.0, 231.2)] {
        assert!(bytes(k, 3, silent) <= most, "{k} bits: {}", bytes(k, 3, silent));
        assert!(bytes(k, 4, 32.0) <= soft, "{k} bits: {}", bytes(k, 4, 32.0));
    }
    // Multiples of eight, so that no section has spare bits.
    const N: usize = 8 * 1000;
    let x = vec![5; N];
    for (k, flights) in [(16, 7), (32, 7)] {
        let (_, _, traffic) = run_silent(|peer| {
            // What is in stock already is not counted.
            reserve(peer, 40 * N, [1, 1]).unwrap();
            peer.channel.set_phase("relu");
            Transfers::default().relu(peer, &x, Ring::Pow2(k)).unwrap();
            assert!(peer.channel.stats().phases[1].1.rounds <= flights);
        });
        let [up, down] = relu_bits(k, 3).map(|bits| bits * N / 8);
        assert_eq!((traffic.sent as usize, traffic.received as usize), (up + B10.message(), down + B10.message()));
    }
}

/// A layer's level is sent as a whole: flights don't grow with elements, up to 2^18 of them.
#[test]
fn flights_grow_with_layers() {
    for n in [1, 3000, 200_000] {
        let x = vec![5; n];
        let (_, _, traffic) = run_both(|peer| Transfers::default().relu(peer, &x, Ring::Pow2(16)).unwrap());
        assert!((1..=7).contains(&traffic.rounds), "{} rounds for {n}", traffic.rounds);
        let (_, _, traffic) = run_silent(|peer| Transfers::default().relu(peer, &x, Ring::Pow2(16)).unwrap());
        assert!((1..=8).contains(&traffic.rounds), "{} rounds for {n}", traffic.rounds);
    }
}

#[test]
fn pools_and_labels_come_out_right() {
    for set_up in [crate::testing::peer, silent_peer] {
        for (window, bits) in [(1, 8), (2, 31), (3, 2), (8, 16)] {
            let bound = (1i64 << (bits - 1)) - 1;
            let edges = [0, -1, bound, -bound, bound, bound, -bound, -bound];
            let (values, client, server) = sharings(Ring::FULL, &edges, &[0, -1, bound], 264, bound);
            let keep = values.len() / window * window;
            let (c, s, _) = run_after(set_up, |peer| {
                let x = &pick(peer, &client, &server)[..keep];
                Nonlinear::Compared(Box::new(Transfers::default())).max_pool(peer, x, window, Ring::Pow2(bits)).unwrap()
            });
            assert_eq!(Ring::FULL.open(&c, &s), max_pool::ideal(&values[..keep], window), "{window} of {bits}");
        }
        for (classes, ring) in
            [(1, Ring::Pow2(8)), (2, Ring::Pow2(31)), (3, Ring::Pow2(16)), (7, Ring::Pow2(4)), (3, Ring::Prime(P))]
        {
            let (shared, bound) = match ring {
                Ring::Pow2(bits) => (Ring::FULL, (1i64 << (bits - 1)) - 1),
                Ring::Prime(p) => (ring, i64::from(p / 4)),
            };
            let (values, client, server) = sharings(shared, &[0, 0, -1, bound, -bound], &[0, -1, bound], 987, bound);
            let keep = values.len() / classes * classes;
            let (c, s, _) = run_after(set_up, |peer| {
                let x = &pick(peer, &client, &server)[..keep];
                let labels =
                    Nonlinear::Compared(Box::new(Transfers::default())).argmax(peer, x, classes, ring).unwrap();
                (labels, peer.verdict().is_ok())
            });
            assert_eq!(c, (Some(argmax::ideal(&values[..keep], classes)), true), "{classes} in {ring}");
            assert_eq!(s, (None, true));
        }
    }
}

/// A server that opens an index beyond the classes: the label is one of them, and the end tells.
#[test]
fn an_index_beyond_the_classes_is_noted() {
    let (c, ..) = run_both(|peer| {
        // A tournament of three, of which the server turns the last message.
        let logits = vec![0; 3 * 8];
        if peer.party == Party::Client {
            let labels =
                Nonlinear::Compared(Box::new(Transfers::default())).argmax(peer, &logits, 3, Ring::Pow2(8)).unwrap();
            return (labels, peer.verdict().is_err());
        }
        let columns: Vec<&[u32]> = logits.chunks(8).collect();
        let mut indices = index::by_selection(peer, &mut Transfers::default(), &columns, Ring::Pow2(8)).unwrap();
        indices.iter_mut().for_each(|i| *i ^= 3);
        index::open(peer, &indices, 2).unwrap();
        (None, false)
    });
    // All are equal: index 0, turned to 3.
    assert_eq!(c, (Some(vec![0; 8]), true));
}

#[test]
fn nothing_compares_to_nothing_and_rings_that_do_not_fit_are_refused() {
    let (c, ..) = run_both(|peer| {
        for ring in [Ring::Pow2(0), Ring::Pow2(1), Ring::Pow2(33), Ring::Prime(1 << 20)] {
            assert!(matches!(Transfers::default().signs(peer, &[0], ring), Err(Error::Model(_))));
            assert!(matches!(Transfers::default().relu(peer, &[0], ring), Err(Error::Model(_))));
        }
        let none = Transfers::default().signs(peer, &[], Ring::Pow2(8)).unwrap().len();
        none + Transfers::default().relu(peer, &[], Ring::Pow2(8)).unwrap().len()
    });
    assert_eq!(c, 0);
}

#[test]
fn broken_messages_are_errors() {
    for len in [0, 1, 500] {
        let (c, s, _) = run_silent(|peer| {
            reserve(peer, 8, [20, 6]).unwrap();
            match peer.party {
                // Its digits leave, and something else than tables comes.
                Party::Client => Transfers::default().relu(peer, &[1; 8], Ring::Pow2(16)).map(drop),
                Party::Server => {
                    peer.channel.recv().unwrap();
                    peer.channel.send(vec![0xff; len]).unwrap();
                    Ok(())
                }
            }
        });
        assert!(matches!(c, Err(Error::Protocol(_))) && s.is_ok());
    }
    // Of the right length, wrong bits give wrong values and no more.
    let (c, ..) = run_silent(|peer| {
        reserve(peer, 8, [20, 6]).unwrap();
        match peer.party {
            Party::Client => Transfers::default().signs(peer, &[1; 8], Ring::Pow2(2)).unwrap().iter().all(|&b| b < 2),
            Party::Server => {
                peer.channel.recv().unwrap();
                peer.channel.send(vec![0xff; 1]).is_ok()
            }
        }
    });
    assert!(c);
}
