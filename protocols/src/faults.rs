//! Tests of streams that break: every protocol against a relay between the parties that spoils one message of one of
//! them, see [`blindvox_net::testing`].

use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use blindvox_engine::Device;
use blindvox_net::channel::{Channel, Party};
use blindvox_net::testing::{Fault, Harm, Relay};

use crate::compare::{Garbled, Transfers};
use crate::correlations::HeSource;
use crate::error::{Error, Result};
use crate::gc::{Planes, Schedule, arithmetic};
use crate::nonlinear::relu::relu;
use crate::peer::{Link, Peer};
use crate::share::{P, Ring};
use crate::testing::{garbling_peer, sharings};

const LONG: Duration = Duration::from_secs(60);

/// Whatever comes next: surplus messages of the protocol are found here at the latest.
fn next(channel: &mut Channel) -> Result<()> {
    channel.send(vec![7; 3])?;
    Ok(channel.recv_exact(3).map(drop)?)
}

/// Runs both halves after a set-up that nothing spoils; the results of client and server.
fn run<T: Send>(harm: Harm, timeout: Duration, half: impl Fn(&mut Peer) -> Result<T> + Sync) -> [Result<T>; 2] {
    let (relay, client, server) = Relay::between(None);
    let (ready, relay) = (Barrier::new(2), Mutex::new(relay));
    let party = |party: Party, channel: Channel| {
        let mut peer = garbling_peer(party, channel);
        next(&mut peer.channel).unwrap();
        ready.wait();
        if party == Party::Client {
            relay.lock().unwrap().plan(harm);
        }
        ready.wait();
        peer.channel.set_timeout(timeout);
        let result = half(&mut peer)?;
        next(&mut peer.channel).map(|()| result)
    };
    thread::scope(|scope| {
        let server = scope.spawn(|| party(Party::Server, server));
        let client = party(Party::Client, client);
        [client, server.join().expect("no panic")]
    })
}

/// Spoils the first, a middle and the last of the messages that each party sends, in every way.
fn check<T: Send>(messages: [usize; 2], half: impl Fn(&mut Peer) -> Result<T> + Sync, right: impl Fn(&T, &T) -> bool) {
    for (from, count) in [Party::Client, Party::Server].into_iter().zip(messages) {
        // The last one belongs to what comes next.
        let mut at: Vec<_> = [0, count / 2, count.saturating_sub(1)].into_iter().filter(|&i| i < count).collect();
        at.dedup();
        for pass in at {
            for fault in Fault::all(8 * pass + 3) {
                let timeout = if fault.is_silence() { Duration::from_millis(300) } else { LONG };
                let start = Instant::now();
                let results = run(Harm { from, pass, fault }, timeout, &half);
                let what = format!("message {pass} of {count} of the {from:?}, {fault:?}");
                assert!(start.elapsed() < LONG / 2, "{what}: not noticed in time");
                let [client, server] = &results;
                let receiver = if from == Party::Client { server } else { client };
                match fault {
                    Fault::Short | Fault::Long | Fault::Oversized | Fault::Twice => {
                        assert!(matches!(receiver, Err(Error::Protocol(_))), "{what}: {:?}", receiver.as_ref().err());
                    }
                    Fault::Lost | Fault::Swapped | Fault::Stopped | Fault::Closed => {
                        assert!(receiver.is_err(), "{what}")
                    }
                    Fault::Late => match (client, server) {
                        (Ok(c), Ok(s)) => assert!(right(c, s), "{what}"),
                        _ => panic!("{what}: {:?} {:?}", client.as_ref().err(), server.as_ref().err()),
                    },
                    Fault::Turned { .. } | Fault::Scrambled => {}
                }
            }
        }
    }
}

#[test]
fn transfers() {
    const N: usize = 100_000;
    let ring = Ring::Pow2(13);
    let correlations: Vec<u32> = (0..N as u32).map(|i| i % 8192).collect();
    let choices: Vec<u8> = (0..N).map(|i| u8::from(i % 3 == 0)).collect();
    // Two chunks of choices one way, two of corrections the other.
    check(
        [2, 2],
        |Peer { link: Link { party, channel, ot, .. }, .. }| match party {
            Party::Server => ot.send.cot(channel, &correlations, ring),
            Party::Client => ot.recv.cot(channel, &choices, ring),
        },
        |r, s| (0..N).all(|i| ring.add(r[i], s[i]) == correlations[i] * u32::from(choices[i])),
    );
}

#[test]
fn garbled_circuits() {
    // Five chunks: 45 units of labels, 120 of tables, and the colours that show the result.
    const N: usize = 1100;
    let program = Schedule::new(&arithmetic::relu(9));
    let (server, client) = (vec![300; N], (0..N as u32).collect::<Vec<_>>());
    let mask = vec![0; N];
    check(
        [1, 3],
        |peer| {
            let inputs = match peer.party {
                Party::Server => Planes::from_columns(&[&server, &mask], 9),
                Party::Client => Planes::from_columns(&[&client], 9),
            };
            let (gc, channel) = peer.gates()?;
            let shares = gc.run(channel, &program, &inputs)?;
            Ok(gc.reveal_to_evaluator(channel, shares)?.map(|planes| planes.to_column(0, 9)))
        },
        |values, _| {
            let expected = (0..N as u32).map(|i| Ring::Pow2(9).to_signed((i + 300) % 512).max(0) as u32);
            values.as_ref().is_some_and(|v| v.iter().copied().eq(expected))
        },
    );
}

#[test]
fn a_layer() {
    let (values, client, server) = sharings(Ring::FULL, &[], &[], 5000, 1000);
    // Labels, choices and corrections; tables, corrections and choices.
    check(
        [4, 6],
        |peer| {
            let x = if peer.party == Party::Client { &client } else { &server };
            relu(peer, &mut Garbled::default(), x, Ring::Pow2(11))
        },
        |c, s| Ring::FULL.open(c, s).iter().zip(&values).all(|(y, x)| *y == *x.max(&0)),
    );
}

#[test]
fn a_layer_by_transfers() {
    let (values, client, server) = sharings(Ring::FULL, &[], &[], 5000, 1000);
    // Extensions; digits or tables; two levels of ANDs; selection; widening.
    check(
        [6, 6],
        |peer| {
            let x = if peer.party == Party::Client { &client } else { &server };
            relu(peer, &mut Transfers::default(), x, Ring::Pow2(11))
        },
        |c, s| Ring::FULL.open(c, s).iter().zip(&values).all(|(y, x)| *y == *x.max(&0)),
    );
}

/// Seventeen ciphertexts each way, in two messages.
#[test]
fn square_pairs() {
    check(
        [3, 2],
        |peer| {
            peer.source = Box::new(HeSource::setup(peer, &Device::cpu())?);
            peer.square_pairs(17 * 8192 - 1)
        },
        |c, s| {
            let ([a, a2], [b, b2], ring) = (c.shares(), s.shares(), Ring::Prime(P));
            let open = |x: &[u32], y: &[u32], i: usize| ring.add(x[i], y[i]);
            (0..c.len()).all(|i| ring.mul(open(a, b, i), open(a, b, i)) == open(a2, b2, i))
        },
    );
}
