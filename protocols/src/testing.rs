//! What the tests of two-party protocols share.

use blindvox_engine::prng::Prng;

use crate::channel::{Channel, Party, Traffic, local_pair};
use crate::ot::OtPair;
use crate::share::Ring;

/// Runs both parties' halves over a local channel, each in its thread with its OTs set up, and gives the
/// client's result, the server's, and the traffic after the set-up as the client saw it.
pub(crate) fn run_both<T: Send>(half: impl Fn(Party, &mut Channel, &mut OtPair) -> T + Sync) -> (T, T, Traffic) {
    let (client, server) = local_pair();
    let run = |party: Party, mut channel: Channel| {
        let mut prng = Prng::from_seed_for_tests([party as u8 + 1; 32]);
        let mut ot = OtPair::setup(party, &mut channel, &mut prng).unwrap();
        let before = channel.stats().total;
        let result = half(party, &mut channel, &mut ot);
        (result, channel.stats().total - before)
    };
    std::thread::scope(|scope| {
        let there = scope.spawn(|| run(Party::Server, server).0);
        let (mine, traffic) = run(Party::Client, client);
        (mine, there.join().unwrap(), traffic)
    })
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
