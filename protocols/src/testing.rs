//! What the tests of two-party protocols share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use blindvox_engine::prng::Prng;
use blindvox_net::channel::{Channel, Party, Traffic, local_pair};
use blindvox_net::transport::queue::queue;

use crate::gc::Garbling;
use crate::peer::Peer;
use crate::share::Ring;

/// A party's end with fixed randomness, its OTs set up.
pub(crate) fn peer(party: Party, channel: Channel) -> Peer {
    Peer::setup(party, channel, Prng::from_seed_for_tests([party as u8 + 1; 32])).unwrap()
}

/// [`peer`] with garbled circuits.
pub(crate) fn garbling_peer(party: Party, channel: Channel) -> Peer {
    peer(party, channel).garbling(Garbling::default()).unwrap()
}

/// Runs both parties' halves over a local channel, each in its thread with its OTs set up, and gives the
/// client's result, the server's, and the traffic after the set-up as the client saw it.
pub(crate) fn run_both<T: Send>(half: impl Fn(&mut Peer) -> T + Sync) -> (T, T, Traffic) {
    run_after(peer, half)
}

/// The same with garbled circuits.
pub(crate) fn run_garbled<T: Send>(half: impl Fn(&mut Peer) -> T + Sync) -> (T, T, Traffic) {
    run_after(garbling_peer, half)
}

fn run_after<T: Send>(
    set_up: impl Fn(Party, Channel) -> Peer + Sync,
    half: impl Fn(&mut Peer) -> T + Sync,
) -> (T, T, Traffic) {
    let (client, server) = local_pair();
    let run = |party, channel| measured(&mut set_up(party, channel), &half);
    std::thread::scope(|scope| {
        let there = scope.spawn(|| run(Party::Server, server).0);
        let (mine, traffic) = run(Party::Client, client);
        (mine, there.join().unwrap(), traffic)
    })
}

fn measured<T>(peer: &mut Peer, half: impl Fn(&mut Peer) -> T) -> (T, Traffic) {
    let before = peer.channel.stats().total;
    let result = half(peer);
    (result, peer.channel.stats().total - before)
}

/// The given values shared with these shares on the client's side.
pub(crate) fn share(ring: Ring, values: &[i64], client: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let server = values.iter().zip(client).map(|(&x, &c)| ring.sub(ring.from_signed(x), c)).collect();
    (client.to_vec(), server)
}

/// Each of the values with each of the client's shares, then `random` more values drawn from
/// `[-bound, bound]` under uniform shares. Returns (values, client's shares, server's shares).
pub(crate) fn sharings(
    ring: Ring,
    values: &[i64],
    shares: &[i64],
    random: usize,
    bound: i64,
) -> (Vec<i64>, Vec<u32>, Vec<u32>) {
    let mut prng = Prng::from_seed_for_tests([9; 32]);
    let mut all: Vec<(i64, u32)> =
        values.iter().flat_map(|&x| shares.iter().map(move |&c| (x, ring.from_signed(c)))).collect();
    all.extend((0..random).map(|_| {
        let x = (prng.next_u64() % (2 * bound as u64 + 1)) as i64 - bound;
        (x, (prng.next_u64() % ring.modulus()) as u32)
    }));
    let (values, client): (Vec<i64>, Vec<u32>) = all.into_iter().unzip();
    let (client, server) = share(ring, &values, &client);
    (values, client, server)
}

/// Two parties, and somebody between them who turns a bit of what the server sends the client.
pub(crate) struct Tampered {
    client: Peer,
    server: Peer,
    turn: Arc<AtomicUsize>,
}

impl Tampered {
    const NOTHING: usize = usize::MAX;

    /// Messages of `length` bytes are those to be tampered with.
    pub(crate) fn new(length: usize) -> Self {
        const LONG: Duration = Duration::from_secs(600);
        let (turn, (client_out, server_in), (server_out, from), (to, client_in)) =
            (Arc::new(AtomicUsize::new(Self::NOTHING)), queue(), queue(), queue());
        let bit = turn.clone();
        std::thread::spawn(move || {
            while let Ok(mut message) = from.pop(LONG) {
                let bit = bit.load(Ordering::SeqCst);
                if message.bytes.len() == length && bit != Self::NOTHING {
                    message.bytes[bit / 8] ^= 1 << (bit % 8);
                }
                if to.push(message, LONG).is_err() {
                    break;
                }
            }
        });
        let (client, server) = (Channel::new((client_out, client_in)), Channel::new((server_out, server_in)));
        let (client, server) = std::thread::scope(|scope| {
            let server = scope.spawn(|| garbling_peer(Party::Server, server));
            (garbling_peer(Party::Client, client), server.join().unwrap())
        });
        Self { client, server, turn }
    }

    /// Runs both halves with this bit turned: the client's result, its traffic, and what it says in the end.
    pub(crate) fn run<T: Send>(
        &mut self,
        turn: Option<usize>,
        half: impl Fn(&mut Peer) -> T + Sync,
    ) -> (T, Traffic, crate::Result<()>) {
        self.turn.store(turn.unwrap_or(Self::NOTHING), Ordering::SeqCst);
        let Self { client, server, .. } = self;
        let (result, traffic) = std::thread::scope(|scope| {
            let there = scope.spawn(|| measured(server, &half));
            let here = measured(client, &half);
            there.join().unwrap();
            here
        });
        let verdict = self.client.verdict();
        self.client.gates().unwrap().0.forget();
        (result, traffic, verdict)
    }
}
