//! Square pairs and Beaver triples by homomorphic encryption ([`ole`](blindvox_engine::bfv::ole)), 8192 in the slots of
//! a ciphertext.
//!
//! # | from -> to       | content                                                   | bytes            | phase
//! --|------------------|-----------------------------------------------------------|------------------|------
//! 1 | client -> server | public key                                                | 153 616          | setup
//! 2 | client -> server | seed, Enc(a_C): one seeded half, 3 limbs of 50 bits a slot | 16 + 18.75 a pair | before use
//!   |                  | triples: then as much for b_C                             | 32 + 37.5 a triple |
//! 3 | server -> client | Enc(2·a_C·a_S + r): both halves, 50 bits a slot each      | 12.5 a pair      | before use
//!   |                  | triples: Enc(a_C·b_S + b_C·a_S + r)                       | 12.5 a triple    |
//!
//! With a = a_C + a_S, a^2 = a_C^2 + 2·a_C·a_S + a_S^2 mod p: the client's share is a_C^2 + Dec(reply), the server's
//! a_S^2 - r for a uniform mask r. Likewise a·b, with a_C·b_C + Dec(reply) and a_S·b_S - r. Each party draws its own
//! shares of the factors. Messages cover up to [`BATCH`] ciphertexts of the client's, and it encrypts the next before
//! it waits for a reply.
//!
//! The server's factors are uniform mod p in every coefficient, so their norm is at most sqrt(n)·p/2 for a pair and
//! sqrt(2n)·p/2 for a triple, and the noise of a product is below 2^43.5. Dropping two primes of 50 bits leaves 2^-56.5
//! of what depends on them, which flooding of [`FLOOD_BITS`] bits, the most that fits, hides to a statistical distance
//! of 2^-72 a slot of pairs and 2^-71.5 of triples ([`distance`]): 2^-43.5 for 2^28 of either.

use std::fmt;
use std::ops::Range;

use blindvox_engine::bfv::noise::budget;
use blindvox_engine::bfv::ole::Term;
use blindvox_engine::bfv::{OleReceiver, OleSender, Params, PublicKey};

use blindvox_engine::simd::wide;
use blindvox_engine::{Device, Prng};
use blindvox_net::channel::{Channel, Party};
use zeroize::Zeroizing;

use super::products::{BeaverTriples, Correlated, SquarePairs};
use super::{Correlations, Kind};
use crate::error::Result;
use crate::link::Link;
use crate::share::{P, Ring};
use crate::traffic::Bytes;

/// Ciphertexts in a message of the client's at most: 2.5 MB there and 1.6 MB back, or 0.8 MB for triples.
pub const BATCH: usize = 16;

/// Width of the flooding; the noise of a reply stays below 2^16.1, and decryption corrects 2^17.
pub const FLOOD_BITS: u32 = 15;

/// Bound on the Euclidean norm of the server's factors that meet in one slot's coefficient, `factors` of them a
/// product.
fn factor_norm(params: &Params, factors: usize) -> f64 {
    ((factors * params.n()) as f64).sqrt() * f64::from(P) / 2.0
}

/// The statistical distance at which the replies for `count` square pairs hide the server's shares: a sum over all
/// slots of as many ciphertexts as it takes.
///
/// # Errors
/// None with the parameters as they are.
pub fn distance(count: usize) -> Result<f64> {
    let params = Params::square_pairs();
    let slot = budget(&params, factor_norm(&params, 1))?.distance_bits.exp2();
    Ok(slot * count.next_multiple_of(params.n()) as f64)
}

/// What the source sends: as much as requests for square pairs are short of what is left of ciphertexts.
#[derive(Clone, Copy, Debug, Default)]
pub struct PairTraffic {
    stock: usize,
}

impl PairTraffic {
    /// Bytes of the set-up: the public key.
    pub fn setup() -> Bytes {
        Bytes::sent_by(Party::Client, PublicKey::wire_len(&Params::square_pairs()), 0)
    }

    /// Bytes of the next request for `count` square pairs.
    pub fn request(&mut self, count: usize) -> Bytes {
        let params = Params::square_pairs();
        let (n, basis) = (params.n(), params.basis());
        let made = missing(count, self.stock, n);
        self.stock = self.stock + made - count;
        let bits = |limbs: Range<usize>| limbs.map(|l| basis.modulus(l).bits() as usize).sum::<usize>();
        // All limbs of one half come with a seed, and the first limb of both halves goes back.
        let messages = made.div_ceil(n * BATCH);
        Bytes::sent_by(Party::Client, 16 * messages + made * bits(0..basis.len()) / 8, 2 * made * bits(0..1) / 8)
    }
}

/// What is made where `count` are wanted and `stock` are left: whole ciphertexts of n.
fn missing(count: usize, stock: usize, n: usize) -> usize {
    count.saturating_sub(stock).next_multiple_of(n)
}

/// Square pairs that are made where so many are asked for and so many in stock.
pub(crate) fn missing_pairs(count: usize, stock: usize) -> usize {
    missing(count, stock, Params::square_pairs().n())
}

/// Messages of the client's for so many square pairs, which are whole ciphertexts; the second leaves before the first is
/// answered.
pub(crate) fn messages(pairs: usize) -> usize {
    pairs.div_ceil(Params::square_pairs().n() * BATCH)
}

/// One party's half of the source. What is left of a ciphertext that was not used up is kept for the next request.
pub struct HeSource {
    maker: Maker,
    pairs: SquarePairs,
    triples: BeaverTriples,
}

/// Makes whole ciphertexts of them.
struct Maker {
    role: Role,
    /// Slots of a ciphertext.
    n: usize,
    prng: Prng,
}

/// What a party can do with the other's ciphertexts.
enum Role {
    Client(OleReceiver),
    Server(OleSender),
}

impl HeSource {
    /// Sets up with the peer: the client draws a key of its own for this and sends the public one.
    ///
    /// # Errors
    /// The peer's, the channel's and the device's.
    pub fn setup(link: &mut Link, device: &Device) -> Result<Self> {
        let params = Params::square_pairs();
        let Link { party, channel, prng, .. } = link;
        let mut prng = prng.fork("square pairs");
        let role = match party {
            Party::Client => {
                let receiver = OleReceiver::new(&params, device, &mut prng)?;
                channel.send(receiver.public_key(&mut prng)?)?;
                Role::Client(receiver)
            }
            Party::Server => {
                let bytes = channel.recv_exact(PublicKey::wire_len(&params))?;
                Role::Server(OleSender::new(&params, device, &bytes, FLOOD_BITS)?)
            }
        };
        let maker = Maker { role, n: params.n(), prng };
        Ok(Self { maker, pairs: SquarePairs::default(), triples: BeaverTriples::default() })
    }
}

/// Says how many are in stock and no secret.
impl fmt::Debug for HeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeSource({:?}, {:?})", self.pairs, self.triples)
    }
}

impl Correlations for HeSource {
    fn offers(&self, kind: Kind) -> bool {
        matches!(kind, Kind::SquarePairs | Kind::Triples)
    }

    fn square_pairs(&mut self, link: &mut Link, count: usize) -> Result<SquarePairs> {
        self.maker.supply(&mut self.pairs, &mut link.channel, count)
    }

    fn triples(&mut self, link: &mut Link, count: usize) -> Result<BeaverTriples> {
        self.maker.supply(&mut self.triples, &mut link.channel, count)
    }
}

impl Maker {
    /// `count` of those in `stock`, which is filled up by as many ciphertexts as it takes.
    fn supply<const C: usize>(
        &mut self,
        stock: &mut Correlated<C>,
        channel: &mut Channel,
        count: usize,
    ) -> Result<Correlated<C>> {
        let missing = missing(count, stock.len(), self.n);
        if missing > 0 {
            // Until all are made, none is in stock: a failure must not leave half-made ones.
            let mut pool = std::mem::take(stock);
            let from = pool.len();
            pool.make_room(missing);
            self.fill(&mut pool, from, channel)?;
            *stock = pool;
        }
        stock.take(count)
    }

    /// Makes all of the pool from `from` on, whole ciphertexts.
    fn fill<const C: usize>(&mut self, pool: &mut Correlated<C>, from: usize, channel: &mut Channel) -> Result<()> {
        let (end, most) = (pool.len(), self.n * BATCH / Correlated::<C>::FACTORS);
        let batches = (from..end).step_by(most).map(|at| at..end.min(at + most));
        let prng = &mut self.prng;
        match &self.role {
            Role::Client(half) => {
                let mut asked: Option<Range<usize>> = None;
                for batch in batches.map(Some).chain([None]) {
                    if let Some(batch) = batch.clone() {
                        ask(half, prng, channel, pool, batch)?;
                    }
                    if let Some(asked) = std::mem::replace(&mut asked, batch) {
                        receive(half, channel, &mut pool.product_mut()[asked])?;
                    }
                }
            }
            Role::Server(half) => {
                for batch in batches {
                    answer(half, prng, channel, pool, batch)?;
                }
            }
        }
        Ok(())
    }
}

/// Message 2, from the client: its shares of the factors, encrypted. They go in with their own products.
fn ask<const C: usize>(
    half: &OleReceiver,
    prng: &mut Prng,
    channel: &mut Channel,
    pool: &mut Correlated<C>,
    batch: Range<usize>,
) -> Result<()> {
    pool.redraw(prng, batch.clone());
    let mut bytes = Vec::new();
    for factor in &pool.shares()[..Correlated::<C>::FACTORS] {
        half.ask(&factor[batch.clone()], prng, &mut bytes)?;
    }
    Ok(channel.send(bytes)?)
}

/// Messages 2 and 3 at the server. Each of the client's factors meets what multiplies it in the product of the sums:
/// 2·a_S for a square, the server's share of the other factor for a triple.
fn answer<const C: usize>(
    half: &OleSender,
    prng: &mut Prng,
    channel: &mut Channel,
    pool: &mut Correlated<C>,
    batch: Range<usize>,
) -> Result<()> {
    let len = half.asked_len(batch.len())?;
    let bytes = channel.recv_exact(len * Correlated::<C>::FACTORS)?;
    pool.redraw(prng, batch.clone());
    let mut factors: Vec<Zeroizing<Vec<u32>>> =
        pool.shares()[..Correlated::<C>::FACTORS].iter().map(|f| Zeroizing::new(f[batch.clone()].to_vec())).collect();
    factors.reverse();
    if let [factor] = &mut factors[..] {
        wide(|| factor.iter_mut().for_each(|b| *b = Ring::Prime(P).add(*b, *b)));
    }
    let terms: Vec<_> = bytes.chunks_exact(len).zip(&factors).map(|(asked, factor)| Term { asked, factor }).collect();
    let mut reply = Vec::new();
    half.answer(&terms, prng, &mut pool.product_mut()[batch], &mut reply)?;
    Ok(channel.send(reply)?)
}

/// Message 3 at the client: the cross terms, added to the products of its own shares.
fn receive(half: &OleReceiver, channel: &mut Channel, products: &mut [u32]) -> Result<()> {
    let bytes = channel.recv_exact(half.reply_len(products.len())?)?;
    Ok(half.receive(&bytes, products)?)
}

#[cfg(test)]
mod tests {
    use blindvox_engine::bfv::noise::switch_bound;

    use super::super::products::tests::assert_products;
    use super::*;
    use crate::testing::run_both;
    use blindvox_net::channel::Traffic;

    /// Both halves, one request after the other; the client's traffic of each.
    fn run<T: Send>(
        requests: &[usize],
        ask: impl Fn(&mut HeSource, &mut Link, usize) -> Result<T> + Sync,
    ) -> Vec<(T, T, Traffic)> {
        let (client, server, _) = run_both(|peer| {
            let mut source = HeSource::setup(peer, &Device::cpu()).unwrap();
            let ask = |&n: &usize| {
                let before = peer.channel.stats().total;
                (ask(&mut source, peer, n).unwrap(), peer.channel.stats().total - before)
            };
            requests.iter().map(ask).collect::<Vec<_>>()
        });
        client.into_iter().zip(server).map(|((c, t), (s, _))| (c, s, t)).collect()
    }

    /// What `ciphertexts` of products in `messages` cost, from the table.
    fn assert_traffic(traffic: Traffic, factors: u64, ciphertexts: u64, messages: u64) {
        let sent = factors * (messages * 16 + ciphertexts * 8192 * 150 / 8);
        assert_eq!((traffic.sent, traffic.received), (sent, ciphertexts * 8192 * 100 / 8));
    }

    /// Uniform, and never the same twice.
    fn assert_fresh(mut drawn: Vec<u32>) {
        let mean = drawn.iter().map(|&a| f64::from(a) / f64::from(P)).sum::<f64>() / drawn.len() as f64;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        let count = drawn.len();
        drawn.sort_unstable();
        drawn.dedup();
        assert!(count - drawn.len() < 20, "{} of {count} repeat", count - drawn.len());
    }

    #[test]
    fn pairs_are_squares_and_cost_what_the_table_says() {
        let batches = run(&[1000, 8192 - 1000, 17 * 8192 - 5, 5, 0], HeSource::square_pairs);
        let mut estimate = PairTraffic::default();
        for ((client, server, t), expected) in batches.iter().zip([(1, 1), (0, 0), (17, 2), (0, 0), (0, 0)]) {
            assert_products(client, server);
            assert_eq!(estimate.request(client.len()), (*t).into());
            assert_traffic(*t, 1, expected.0, expected.1);
        }
        assert_fresh(batches.iter().flat_map(|(c, ..)| c.shares()[0].to_vec()).collect());
    }

    #[test]
    fn triples_are_products_and_cost_what_the_table_says() {
        let batches = run(&[1000, 8192 - 1000, 9 * 8192 - 5, 5, 0], HeSource::triples);
        let counts: Vec<_> = batches.iter().map(|(c, ..)| c.len()).collect();
        assert_eq!(counts, [1000, 8192 - 1000, 9 * 8192 - 5, 5, 0]);
        for ((client, server, t), expected) in batches.iter().zip([(1, 1), (0, 0), (9, 2), (0, 0), (0, 0)]) {
            assert_products(client, server);
            assert_traffic(*t, 2, expected.0, expected.1);
        }
        for column in 0..2 {
            assert_fresh(batches.iter().flat_map(|(_, s, _)| s.shares()[column].to_vec()).collect());
        }
        assert_fresh(batches.iter().flat_map(|(c, ..)| c.shares()[..2].concat()).collect());
        assert_fresh(batches.iter().flat_map(|(c, ..)| c.shares()[2].to_vec()).collect());
    }

    #[test]
    fn pairs_and_triples_come_from_one_source_in_turn() {
        let mixed = run(&[10, 20], |source, link, n| Ok((source.triples(link, n)?, source.square_pairs(link, n)?)));
        for ((triples, pairs), (triples2, pairs2), _) in &mixed {
            assert_products(triples, triples2);
            assert_products(pairs, pairs2);
        }
        assert_eq!(mixed[1].2.sent, 0, "both kinds were spare");
    }

    #[test]
    fn the_flooding_hides_the_factor_and_fits() {
        let params = Params::square_pairs();
        for (factors, most) in [(1, -72.0), (2, -71.5)] {
            let budget = budget(&params, factor_norm(&params, factors)).unwrap();
            assert_eq!(budget.flood_bits, FLOOD_BITS, "the largest that fits");
            assert!(budget.distance_bits < most, "{}", budget.distance_bits);
            assert!(budget.have_bits > 16.9);
        }
        assert!(distance(0).unwrap() == 0.0 && distance(1).unwrap() == distance(8192).unwrap());
        assert!((distance(1 << 28).unwrap().log2() + 44.1).abs() < 0.1);
        let noise = 2.0 * switch_bound(params.n()) + f64::from(1 << (FLOOD_BITS + 1)) + 1.0;
        assert!(noise.log2() < 16.1);
    }

    #[test]
    fn a_peers_broken_bytes_are_errors() {
        run_both(|peer| {
            let key = PublicKey::wire_len(&Params::square_pairs());
            if peer.party == Party::Client {
                peer.channel.send(vec![0; 7]).unwrap();
                peer.channel.send(vec![0xff; key]).unwrap();
                let mut source = HeSource::setup(peer, &Device::cpu()).unwrap();
                for what in ["unreduced residues", "a short reply"] {
                    assert!(source.square_pairs(peer, 10).is_err(), "{what}");
                }
                assert!(source.triples(peer, 10).is_err(), "unreduced residues");
                assert!(source.square_pairs(peer, 10).is_err(), "nobody there");
            } else {
                for what in ["a short key", "unreduced residues"] {
                    assert!(HeSource::setup(peer, &Device::cpu()).is_err(), "{what}");
                }
                peer.channel.recv().unwrap();
                for reply in [vec![0xff; 2 * 51_200], vec![0; 51_200], vec![0xff; 2 * 51_200]] {
                    peer.channel.send(reply).unwrap();
                    peer.channel.recv().unwrap();
                }
            }
        });
    }
}
