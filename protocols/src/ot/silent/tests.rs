//! Silent OT against a slow reference and against its definition.

use std::sync::{Barrier, Mutex};

use blindvox_engine::Prng;
use blindvox_engine::aes::{Aes128, KeySequence};
use blindvox_engine::stack::leaving_nothing;
use blindvox_net::channel::{Channel, Party, local_pair};
use blindvox_net::testing::{Fault, Harm, Relay};
use rayon::prelude::*;
use zeroize::Zeroizing;

use super::super::OtPair;
use super::check::{DIGEST, MASKED};
use super::*;
use crate::error::{Error, Result};
use crate::memory::{Pattern, find};
use crate::share::Ring;

/// Both parties' transfers, silent by these sets.
fn pairs(sets: [Option<&'static Set>; 2]) -> [(OtPair, Channel); 2] {
    let (client, server) = local_pair();
    let half = move |party, mut channel: Channel| {
        let mut prng = Prng::from_seed_for_tests([party as u8 + 1; 32]);
        let mut ot = OtPair::setup(party, &mut channel, &mut prng).unwrap();
        ot.go_silent(party, &mut channel, &mut prng, sets).unwrap();
        (ot, channel)
    };
    let there = std::thread::spawn(move || half(Party::Server, server));
    [half(Party::Client, client), there.join().unwrap()]
}

/// Runs both parties' halves.
fn both<T: Send>(
    [c, s]: &mut [(OtPair, Channel); 2],
    half: impl Fn(Party, &mut OtPair, &mut Channel) -> T + Sync,
) -> [T; 2] {
    std::thread::scope(|scope| {
        let there = scope.spawn(|| half(Party::Server, &mut s.0, &mut s.1));
        [half(Party::Client, &mut c.0, &mut c.1), there.join().unwrap()]
    })
}

/// The outputs of an iteration by its definition, node by node and term by term: of the sender, whose roots and base
/// these are.
fn reference(set: &Set, session: &[u8; 32], iteration: usize, roots: &[u128], base: &[u128], delta: u128) -> Vec<u128> {
    let mut keys = vec![Aes128::default(); set.trees * (iteration + 1)];
    KeySequence::new(session, "silent OT tree").next_keys(&mut keys);
    let mut matrix = [Aes128::default()];
    KeySequence::new(session, "silent OT matrix").next_keys(&mut matrix);
    let leaf = |tree: usize, index: usize| {
        let key = &keys[iteration * set.trees + tree];
        let root = roots[tree];
        let mut node = if index & 1 == 1 { root ^ delta } else { root };
        for level in 1..set.depth {
            let mut left = [0];
            key.hash(&[node], 0, &mut left);
            node = if index >> level & 1 == 1 { node ^ left[0] } else { left[0] };
        }
        let mut sum = node & !1;
        // Ten indices of 32 bits: two and a half blocks.
        let first = (iteration * set.outputs() + tree * set.leaves() + index) * 10;
        for at in first..first + 10 {
            let mut block = [0];
            matrix[0].counter(0, at as u64 / 4, &mut block);
            sum ^= base[(block[0] >> (32 * (at % 4))) as u32 as usize % set.table()];
        }
        sum
    };
    (0..set.outputs()).into_par_iter().map(|i| leaf(i / set.leaves(), i % set.leaves())).collect()
}

/// Three iterations of a set: every one against the definition, at the sender by the reference in full or, where `step`
/// is more than 1, for all trees of the last one only.
fn check(set: &'static Set) {
    let (session, delta) = ([9; 32], (u128::MAX / 13) | 1);
    let mut prng = Prng::from_seed_for_tests([3; 32]);
    let v: Vec<u128> = prng.fill::<u128>(set.base()).iter().map(|v| v & !1).collect();
    let b = prng.fill::<u8>(set.base());
    let w: Vec<u128> = v.iter().zip(&b).map(|(v, b)| v ^ (delta * u128::from(b & 1))).collect();
    let seed = [5; 32];
    let mut sender = Sender::new(set, &session, false, v.clone().into(), Prng::from_seed_for_tests(seed));
    let mut receiver = Receiver::new(set, &session, false, w.into());
    let (mut here, mut there) = local_pair();
    let mut roots = Prng::from_seed_for_tests(seed);
    let mut base = v;
    for iteration in 0..3 {
        let (mut sent, mut received) = (vec![1; set.outputs()], vec![2; set.outputs()]);
        sender.begin(delta, &mut here, &mut sent).unwrap();
        receiver.begin(&mut there, &mut received).unwrap();
        assert_eq!(there.stats().total.received as usize, set.message() * (iteration + 1));
        let expected = reference(set, &session, iteration, &roots.fill(set.trees), &base, delta);
        assert!(sent == expected, "{} of {}", iteration, set.name);
        let mut ones = 0usize;
        for (v, w) in sent.iter().zip(&received) {
            assert_eq!(v & 1, 0);
            assert_eq!(v ^ w, delta * (w & 1));
            ones += (w & 1) as usize;
        }
        // Within six deviations of half.
        let n = sent.len() as f64;
        assert!((ones as f64 - n / 2.0).abs() < 3.0 * n.sqrt(), "{ones} of {n}");
        base.copy_from_slice(&sent[..set.base()]);
    }
}

#[test]
fn three_iterations_are_those_of_the_definition() {
    check(&B10);
}

/// `cargo test --release --workspace --lib -- --ignored ot::silent`.
#[test]
#[ignore = "takes minutes: the larger sets against the slow reference"]
fn three_iterations_of_the_larger_sets_are_those_of_the_definition() {
    [&B11, &B12, &B13].into_iter().for_each(check);
}

#[test]
fn threads_give_the_same_stream() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let set = &B10;
        let base = Prng::from_seed_for_tests([1; 32]).fill::<u128>(set.base());
        let mut sender = Sender::new(set, &[7; 32], false, base.into(), Prng::from_seed_for_tests([2; 32]));
        let (mut here, _there) = local_pair();
        let mut out = vec![0; set.outputs()];
        pool.install(|| sender.begin(1, &mut here, &mut out).unwrap());
        out
    };
    assert!(run(1) == run(2));
}

/// Draws of any size, over iterations, in both directions, hashed and not.
#[test]
fn both_directions_give_transfers_of_every_kind() {
    let mut parties = pairs([Some(&B10), Some(&B10)]);
    assert!(parties[0].0.is_silent());
    for n in [1, 127, 70_001, 600_000] {
        let bits: Vec<u8> = (0..n).map(|i| u8::from(i % 3 == 0)).collect();
        let correlations: Vec<u32> = (0..n as u32).collect();
        for sends in [Party::Server, Party::Client] {
            let labels = both(&mut parties, |party, ot, channel| match party == sends {
                true => (ot.send.labels(channel, n).unwrap(), ot.send.delta()),
                false => (ot.recv.labels(channel, &bits).unwrap(), 0),
            });
            let delta = labels[0].1 | labels[1].1;
            for ((a, b), bit) in labels[0].0.iter().zip(&labels[1].0).zip(&bits) {
                assert_eq!(a ^ b, delta * u128::from(*bit));
            }
            let ring = Ring::Pow2(13);
            let [c, s] = both(&mut parties, |party, ot, channel| match party == sends {
                true => ot.send.cot(channel, &correlations, ring).unwrap(),
                false => ot.recv.cot(channel, &bits, ring).unwrap(),
            });
            for ((c, s), (d, bit)) in c.iter().zip(&s).zip(correlations.iter().zip(&bits)) {
                assert_eq!(ring.add(*c, *s), ring.mask(d * u32::from(*bit)));
            }
        }
    }
}

/// Random transfers from stock, whichever source made them: the receiver's pad is the one of its choice.
#[test]
fn pads_are_the_chosen_ones_from_either_source() {
    for sets in [[None, None], [Some(&B10), None], [None, Some(&B10)]] {
        let mut parties = pairs(sets);
        for n in [5, 3000, 70_000] {
            let [c, s] = both(&mut parties, |_, ot, channel| {
                let mut prng = Prng::from_os().unwrap();
                ot.reserve(channel, &mut prng, n, n).unwrap();
                let (mut zero, mut one, mut pads, mut bits) = (vec![0; n], vec![0; n], vec![0; n], vec![0; n]);
                // In two lots, of which the second may lie in several buffers.
                let part = n / 3;
                let sizes = [part, n - part].into_iter();
                ot.send.with_lots(sizes.clone(), |lots| {
                    lots[0].both(&mut zero[..part], &mut one[..part]);
                    lots[1].both(&mut zero[part..], &mut one[part..]);
                });
                ot.recv.with_lots(sizes, |lots| {
                    lots[0].chosen(&mut pads[..part], &mut bits[..part]);
                    lots[1].chosen(&mut pads[part..], &mut bits[part..]);
                });
                ([zero, one], pads, bits)
            });
            for (sent, received) in [(&c, &s), (&s, &c)] {
                for i in 0..n {
                    let bit = usize::from(received.2[i]);
                    assert_eq!(received.1[i], sent.0[bit][i]);
                    assert_ne!(received.1[i], sent.0[1 - bit][i]);
                }
                let ones: usize = received.2.iter().map(|b| usize::from(*b)).sum();
                assert!(n < 1000 || ones.abs_diff(n / 2) < n / 10, "{ones} of {n}");
            }
        }
    }
}

/// The first draw after the start: one iteration's message in, a bit a transfer out.
#[test]
fn bytes_are_those_of_the_table() {
    let mut parties = pairs([Some(&B10), None]);
    for (n, iterations) in [(500_000, 1), (22_200, 0), (60_000, 1)] {
        let traffic = both(&mut parties, |party, ot, channel| {
            let before = channel.stats().total;
            match party {
                Party::Server => drop(ot.send.labels(channel, n).unwrap()),
                Party::Client => drop(ot.recv.labels(channel, &vec![1; n]).unwrap()),
            }
            channel.stats().total - before
        });
        let expected = (n.div_ceil(128) * 16, iterations * B10.message());
        assert_eq!((traffic[0].sent as usize, traffic[0].received as usize), expected);
    }
}

#[test]
fn broken_messages_are_errors() {
    for len in [0, 1, B10.message() - 16, B10.message() + 16] {
        let [(mut client, mut to_server), (_, mut to_client)] = pairs([Some(&B10), None]);
        to_client.send(vec![0; len]).unwrap();
        assert!(matches!(client.recv.labels(&mut to_server, &[1; 5]), Err(Error::Protocol(_))));
    }
    // A sender whose peer corrects too few or too many.
    for len in [0, 15, 32] {
        let [(_, mut to_server), (mut server, mut to_client)] = pairs([Some(&B10), None]);
        to_server.send(vec![0; len]).unwrap();
        assert!(matches!(server.send.labels(&mut to_client, 5), Err(Error::Protocol(_))));
    }
    // Changed bits are wrong values and no more.
    let [(mut client, mut to_server), (_, mut to_client)] = pairs([Some(&B10), None]);
    to_client.send(vec![0xff; B10.message()]).unwrap();
    assert_eq!(client.recv.labels(&mut to_server, &[1; 5]).unwrap().len(), 5);
    drop(to_client);
    assert!(matches!(client.recv.labels(&mut to_server, &[1; 600_000]), Err(Error::Connection(_))));
}

/// Neither a label that was drawn nor Delta is left when both ends are gone.
#[test]
fn no_label_is_left_in_memory() {
    let patterns = {
        let (client, server) = local_pair();
        let half = |party, mut channel: Channel| {
            leaving_nothing(|| {
                let mut prng = Prng::from_os().unwrap();
                let mut ot = OtPair::setup(party, &mut channel, &mut prng).unwrap();
                ot.go_silent(party, &mut channel, &mut prng, [Some(&B10), None]).unwrap();
                let labels = Zeroizing::new(match party {
                    Party::Server => ot.send.labels(&mut channel, 1000).unwrap(),
                    Party::Client => ot.recv.labels(&mut channel, &[1; 1000]).unwrap(),
                });
                let delta = (party == Party::Server).then(|| ot.send.delta());
                // The sender's labels are corrected by Delta: what was in stock is one of two.
                let stocked = [labels[700], labels[700] ^ delta.unwrap_or_default()];
                let [a, b] = stocked.map(|label| Pattern::new("a label", &label.to_le_bytes()));
                [a, b, Pattern::new("Delta or a label", &delta.unwrap_or(labels[701]).to_le_bytes())]
            })
        };
        std::thread::scope(|scope| {
            let there = scope.spawn(|| half(Party::Server, server));
            [half(Party::Client, client), there.join().unwrap()].into_iter().flatten().collect::<Vec<_>>()
        })
    };
    rayon::broadcast(|_| ());
    let Some(counts) = find(&patterns) else { return };
    assert!(counts.iter().all(|(_, count)| *count == 0), "{counts:?}");
}

/// Two draws in both directions as between hosts, a message harmed after the start; what each party made of the second.
fn between_hosts(harm: Option<Harm>) -> [Result<[Vec<u128>; 2]>; 2] {
    let (relay, client, server) = Relay::between(None);
    let (ready, relay) = (Barrier::new(2), Mutex::new(relay));
    let half = |party: Party, mut channel: Channel| {
        let mut prng = Prng::from_os().unwrap();
        let mut ot = OtPair::setup(party, &mut channel, &mut prng).unwrap();
        ot.go_silent(party, &mut channel, &mut prng, [Some(&B10), Some(&B10)]).unwrap();
        channel.send(vec![1]).and_then(|()| channel.recv_exact(1)).unwrap();
        ready.wait();
        if let (Party::Client, Some(harm)) = (party, &harm) {
            relay.lock().unwrap().plan(*harm);
        }
        ready.wait();
        let mut before = channel.stats().total;
        for n in [1000, B10.usable() + 1000] {
            ot.reserve(&mut channel, &mut prng, n, n)?;
            let now = channel.stats().total;
            let gone = now - before;
            let each = (B10.message() + MASKED + DIGEST) as u64;
            assert_eq!((gone.sent, gone.received), (each, each));
            before = now;
        }
        let mut drawn = [vec![0; 600_000], vec![0; 600_000]];
        ot.send.stock.draw(&mut drawn[0]);
        ot.recv.stock.draw(&mut drawn[1]);
        drawn[0].push(ot.send.delta());
        Ok(drawn)
    };
    std::thread::scope(|scope| {
        let there = scope.spawn(|| half(Party::Server, server));
        [half(Party::Client, client), there.join().unwrap()]
    })
}

#[test]
fn checked_transfers_are_right_and_take_the_bytes_of_the_table() {
    let [client, server] = between_hosts(None).map(Result::unwrap);
    for (sent, received) in [(&client[0], &server[1]), (&server[0], &client[1])] {
        let delta = sent[600_000];
        assert!(sent.iter().zip(received).all(|(v, w)| v ^ w == delta * (w & 1)));
    }
}

/// A tree that is changed anywhere, a masked value, a proof: whoever receives transfers gives up, in either direction and
/// iteration.
#[test]
fn senders_that_deviate_are_noticed() {
    let of_trees = 8 * B10.message() - 1;
    // Of each iteration a party sends its trees, what it asks the other for, and its proof.
    let harms = [(0, 0), (0, of_trees), (0, of_trees / 3), (1, 7), (2, 0), (2, 255), (3, 128 * 10 * 40 + 3), (5, 9)];
    for from in [Party::Client, Party::Server] {
        for (pass, bit) in harms {
            let [client, server] = between_hosts(Some(Harm { from, pass, fault: Fault::Turned { bit } }));
            // Of a changed question the answer is wrong for who asked.
            let notices = if (from == Party::Client) == (pass % 3 == 1) { client } else { server };
            let text = notices.expect_err("a deviation").to_string();
            assert!(text.contains("contradict each other"), "{from:?}, message {pass}: {text}");
        }
    }
}
