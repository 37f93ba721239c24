//! Tests of streams that break: a relay between the parties spoils one message of one of them.
//!
//! What lengths and counts can tell is an error at the receiver: a message cut short, lengthened, lost, sent twice or overtaken, and
//! a peer that stops. A late one only takes longer. A changed bit of the right length is not told from a right one in semi-honest protocols (transport encryption does
//! that), but it may neither panic nor hang.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use blindvox_engine::{Device, Prng};
use blindvox_net::channel::{Channel, Party};
use blindvox_net::transport::local;
use blindvox_net::transport::queue::{Popper, Pusher};

use crate::error::{Error, Result};
use crate::gc::{Half, Planes, Schedule, arithmetic};
use crate::nonlinear::relu::{ReluKind, relu};
use crate::ot::OtPair;
use crate::share::{P, Ring};
use crate::testing::sharings;
use crate::triples::{Correlations, HeSource};

const LONG: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Short,
    Long,
    Lost,
    Twice,
    Swapped,
    Flipped,
    Late,
    Stopped,
}

/// What is to be spoilt: the messages of a party from now on that pass, and then the fault.
struct Plan {
    from: Party,
    pass: usize,
    fault: Fault,
}

type Plans = Arc<Mutex<Option<Plan>>>;

/// Hands messages of `from` on until either end is gone.
fn relay(from: Party, inc: &Popper, out: &Pusher, plans: &Plans) -> Result<()> {
    let mut held = None;
    loop {
        let mut message = inc.pop(LONG)?;
        let due = {
            let mut plan = plans.lock().unwrap();
            match &mut *plan {
                Some(p) if p.from == from && p.pass == 0 => plan.take().map(|p| p.fault),
                Some(p) if p.from == from => {
                    p.pass -= 1;
                    None
                }
                _ => None,
            }
        };
        match due {
            Some(Fault::Short) => message.bytes.truncate(message.bytes.len() - 1),
            Some(Fault::Long) => message.bytes.push(0),
            Some(Fault::Lost) => continue,
            Some(Fault::Twice) => out.push(message.clone(), LONG)?,
            Some(Fault::Swapped) => {
                held = Some(message);
                continue;
            }
            Some(Fault::Flipped) => message.bytes.iter_mut().step_by(7).for_each(|b| *b ^= 0x81),
            Some(Fault::Late) => thread::sleep(Duration::from_millis(30)),
            // Until the party gives up and its end closes.
            Some(Fault::Stopped) => loop {
                inc.pop(LONG)?;
            },
            None => {}
        }
        out.push(message, LONG)?;
        held.take().map_or(Ok(()), |m| out.push(m, LONG))?;
    }
}

/// Both ends, with a relay between them.
fn relayed_pair(plans: &Plans) -> (Channel, Channel) {
    let (client, to_client) = local::pair();
    let (to_server, server) = local::pair();
    for (from, inc, out) in [(Party::Client, to_client.1, to_server.0), (Party::Server, to_server.1, to_client.0)] {
        let plans = plans.clone();
        thread::spawn(move || relay(from, &inc, &out, &plans));
    }
    (Channel::new(client), Channel::new(server))
}

/// Whatever comes next: surplus messages of the protocol are found here at the latest.
fn next(channel: &mut Channel) -> Result<()> {
    channel.send(vec![7; 3])?;
    Ok(channel.recv_exact(3).map(drop)?)
}

/// Runs both halves after a set-up that nothing spoils; the results of client and server.
fn run<T: Send>(
    plan: Option<Plan>,
    timeout: Duration,
    half: impl Fn(Party, &mut Channel, &mut OtPair, &mut Half) -> Result<T> + Sync,
) -> [Result<T>; 2] {
    let plans = Plans::default();
    let (client, server) = relayed_pair(&plans);
    let ready = std::sync::Barrier::new(2);
    let plan = Mutex::new(plan);
    let party = |party: Party, mut channel: Channel| {
        let mut prng = Prng::from_seed_for_tests([party as u8 + 1; 32]);
        let mut ot = OtPair::setup(party, &mut channel, &mut prng).unwrap();
        let mut gc = Half::setup(party, &mut channel, &mut prng).unwrap();
        next(&mut channel).unwrap();
        ready.wait();
        if party == Party::Client {
            *plans.lock().unwrap() = plan.lock().unwrap().take();
        }
        ready.wait();
        channel.set_timeout(timeout);
        let result = half(party, &mut channel, &mut ot, &mut gc)?;
        next(&mut channel).map(|()| result)
    };
    thread::scope(|scope| {
        let server = scope.spawn(|| party(Party::Server, server));
        let client = party(Party::Client, client);
        [client, server.join().expect("no panic")]
    })
}

/// Spoils the first, a middle and the last of the messages that each party sends, in every way.
fn check<T: Send>(
    messages: [usize; 2],
    half: impl Fn(Party, &mut Channel, &mut OtPair, &mut Half) -> Result<T> + Sync,
    right: impl Fn(&T, &T) -> bool,
) {
    for (from, count) in [Party::Client, Party::Server].into_iter().zip(messages) {
        // The last one belongs to what comes next.
        let mut at: Vec<_> = [0, count / 2, count.saturating_sub(1)].into_iter().filter(|&i| i < count).collect();
        at.dedup();
        for pass in at {
            for fault in [
                Fault::Short,
                Fault::Long,
                Fault::Lost,
                Fault::Twice,
                Fault::Swapped,
                Fault::Flipped,
                Fault::Late,
                Fault::Stopped,
            ] {
                let waits = matches!(fault, Fault::Lost | Fault::Swapped | Fault::Stopped);
                let timeout = if waits { Duration::from_millis(300) } else { LONG };
                let start = Instant::now();
                let results = run(Some(Plan { from, pass, fault }), timeout, &half);
                let what = format!("message {pass} of {count} of the {from:?}, {fault:?}");
                assert!(start.elapsed() < LONG / 2, "{what}: not noticed in time");
                let [client, server] = &results;
                let receiver = if from == Party::Client { server } else { client };
                match fault {
                    Fault::Short | Fault::Long | Fault::Twice => {
                        assert!(matches!(receiver, Err(Error::Protocol(_))), "{what}: {:?}", receiver.as_ref().err());
                    }
                    Fault::Lost | Fault::Swapped | Fault::Stopped => assert!(receiver.is_err(), "{what}"),
                    Fault::Late => match (client, server) {
                        (Ok(c), Ok(s)) => assert!(right(c, s), "{what}"),
                        _ => panic!("{what}: {:?} {:?}", client.as_ref().err(), server.as_ref().err()),
                    },
                    Fault::Flipped => {}
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
        |party, channel, ot, _| match party {
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
        |party, channel, _, gc| {
            let inputs = match party {
                Party::Server => Planes::from_columns(&[&server, &mask], 9),
                Party::Client => Planes::from_columns(&[&client], 9),
            };
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
        |party, channel, ot, gc| {
            let x = if party == Party::Client { &client } else { &server };
            relu(party, channel, ot, gc, x, Ring::Pow2(11), ReluKind::SignSelect)
        },
        |c, s| Ring::FULL.open(c, s).iter().zip(&values).all(|(y, x)| *y == *x.max(&0)),
    );
}

/// Seventeen ciphertexts each way, in two messages.
#[test]
fn square_pairs() {
    check(
        [3, 2],
        |party, channel, _, _| {
            let mut prng = Prng::from_seed_for_tests([party as u8 + 1; 32]);
            let mut source = HeSource::setup(party, channel, &Device::cpu(), &mut prng)?;
            source.square_pairs(channel, 17 * 8192 - 1)
        },
        |c, s| {
            let ([a, a2], [b, b2], ring) = (c.shares(), s.shares(), Ring::Prime(P));
            let open = |x: &[u32], y: &[u32], i: usize| ring.add(x[i], y[i]);
            (0..c.len()).all(|i| ring.mul(open(a, b, i), open(a, b, i)) == open(a2, b2, i))
        },
    );
}
