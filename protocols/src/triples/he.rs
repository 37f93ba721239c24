//! Square pairs and Beaver triples by homomorphic encryption, 8192 in the slots of a ciphertext.
//!
//! # | from -> to       | content                                                   | bytes            | phase
//! --|------------------|-----------------------------------------------------------|------------------|------
//! 1 | client -> server | public key                                                | 153 616          | setup
//! 2 | client -> server | seed, Enc(a_C): one seeded half, 3 limbs of 50 bits a slot | 16 + 18.75 a pair | preprocessing
//!   |                  | triples: then as much for b_C                             | 32 + 37.5 a triple |
//! 3 | server -> client | Enc(2·a_C·a_S + r): both halves, 50 bits a slot each      | 12.5 a pair      | preprocessing
//!   |                  | triples: Enc(a_C·b_S + b_C·a_S + r)                       | 12.5 a triple    |
//!
//! With a = a_C + a_S, a^2 = a_C^2 + 2·a_C·a_S + a_S^2 mod p: the client's share is a_C^2 + Dec(reply), the server's
//! a_S^2 - r for a uniform mask r. Likewise a·b, with a_C·b_C + Dec(reply) and a_S·b_S - r. Each party draws its own
//! shares of the factors. Messages cover up to [`BATCH`] ciphertexts of the client's, and it encrypts the next before it
//! waits for a reply.
//!
//! The server's factors are uniform mod p in every coefficient, so their norm is at most sqrt(n)·p/2 for a pair and
//! sqrt(2n)·p/2 for a triple, and the noise of a product is below 2^43.5. Dropping two primes of 50 bits leaves 2^-56.5
//! of what depends on them, which flooding of [`FLOOD_BITS`] bits hides to a statistical distance of 2^-71 a slot of
//! pairs and 2^-70.5 of triples: 2^-42 for 2^28 of either.

use blindvox_engine::bfv::{ReplyParams, SlotEncoder};
use blindvox_engine::ring::RnsBasis;
use blindvox_engine::rlwe::{Ciphertexts, Params, PublicKey, SecretKey, SeededCiphertexts, wire};
use blindvox_engine::{Coeff, Device, PolyBatch, Prng};
use zeroize::Zeroizing;

use super::Correlations;
use super::correlated::{BeaverTriples, Correlated, SquarePairs, uniform_residues};
use crate::channel::{Channel, Party};
use crate::error::Result;
use crate::share::{P, Ring};

/// Ciphertexts in a message of the client's at most: 2.5 MB there and 1.6 MB back, or 0.8 MB for triples.
pub const BATCH: usize = 16;

/// Width of the flooding; the noise of a reply stays below 2^15.1, and decryption corrects 2^17.
pub const FLOOD_BITS: u32 = 14;

/// One party's half of the source. What is left of a ciphertext that was not used up is kept for the next request.
pub struct HeSource {
    half: Half,
    tools: Tools,
    pairs: SquarePairs,
    triples: BeaverTriples,
}

enum Half {
    Client(SecretKey),
    Server(PublicKey),
}

/// What both halves work with.
struct Tools {
    params: Params,
    /// The first prime alone: where replies are.
    first: RnsBasis,
    device: Device,
    slots: SlotEncoder,
    prng: Prng,
}

impl HeSource {
    /// Sets up with the peer: the client draws a key of its own for this and sends the public one.
    ///
    /// # Errors
    /// The peer's, the channel's and the device's.
    pub fn setup(party: Party, channel: &mut Channel, device: &Device, prng: &mut Prng) -> Result<Self> {
        let params = Params::square_pairs();
        let mut prng = prng.fork("square pairs");
        let half = match party {
            Party::Client => {
                let key = SecretKey::generate(&params, device, &mut prng)?;
                channel.send(key.public_key(&mut prng)?.to_bytes())?;
                Half::Client(key)
            }
            Party::Server => {
                let bytes = channel.recv_exact(PublicKey::wire_len(&params))?;
                Half::Server(PublicKey::from_bytes(&params, device, &bytes)?)
            }
        };
        let mut first = params.basis().clone();
        while first.len() > 1 {
            first = first.dropped()?;
        }
        let slots = SlotEncoder::new(device, params.n(), u64::from(P))?;
        Ok(Self {
            half,
            tools: Tools { params, first, device: device.clone(), slots, prng },
            pairs: SquarePairs::default(),
            triples: BeaverTriples::default(),
        })
    }

    /// `count` out of those that were `spare` and as many more as it takes, and what is spare now.
    fn make<const COLUMNS: usize>(
        &mut self,
        spare: Correlated<COLUMNS>,
        channel: &mut Channel,
        count: usize,
    ) -> Result<(Correlated<COLUMNS>, Correlated<COLUMNS>)> {
        let products = count.saturating_sub(spare.len()).div_ceil(self.tools.params.n());
        let most = BATCH / Correlated::<COLUMNS>::FACTORS;
        let batches = (0..products).step_by(most).map(|at| most.min(products - at));
        let mut pool = Correlated::with_capacity(spare.len() + products * self.tools.params.n());
        pool.append(spare);
        match &self.half {
            Half::Client(key) => {
                let mut asked = None;
                for batch in batches.map(Some).chain([None]) {
                    let next = batch.map(|b| self.tools.ask(channel, key, b)).transpose()?;
                    if let Some(mine) = std::mem::replace(&mut asked, next) {
                        pool.append(self.tools.receive(channel, key, mine)?);
                    }
                }
            }
            Half::Server(key) => {
                for batch in batches {
                    pool.append(self.tools.answer(channel, key, batch)?);
                }
            }
        }
        Ok((pool.take(count)?, pool))
    }
}

impl Correlations for HeSource {
    fn square_pairs(&mut self, channel: &mut Channel, count: usize) -> Result<SquarePairs> {
        let spare = std::mem::take(&mut self.pairs);
        let (taken, spare) = self.make(spare, channel, count)?;
        self.pairs = spare;
        Ok(taken)
    }

    fn triples(&mut self, channel: &mut Channel, count: usize) -> Result<BeaverTriples> {
        let spare = std::mem::take(&mut self.triples);
        let (taken, spare) = self.make(spare, channel, count)?;
        self.triples = spare;
        Ok(taken)
    }
}

impl Tools {
    /// Message 2, from the client: its shares of the factors, encrypted. They come back with their own products.
    fn ask<const C: usize>(&mut self, channel: &mut Channel, key: &SecretKey, batch: usize) -> Result<Correlated<C>> {
        let mine = Correlated::<C>::draw(&mut self.prng, batch * self.params.n());
        let len = SeededCiphertexts::wire_len(&self.params, batch);
        let mut bytes = Vec::with_capacity(len * Correlated::<C>::FACTORS);
        for factor in &mine.shares()[..Correlated::<C>::FACTORS] {
            let message = Zeroizing::new(self.slots.encode(factor)?);
            bytes.extend(key.encrypt_seeded(&message, &mut self.prng)?.to_bytes()?);
        }
        channel.send(bytes)?;
        Ok(mine)
    }

    /// Messages 2 and 3 at the server: its own shares.
    fn answer<const C: usize>(
        &mut self,
        channel: &mut Channel,
        key: &PublicKey,
        batch: usize,
    ) -> Result<Correlated<C>> {
        let len = SeededCiphertexts::wire_len(&self.params, batch);
        let bytes = channel.recv_exact(len * Correlated::<C>::FACTORS)?;
        let mut mine = Correlated::<C>::draw(&mut self.prng, batch * self.params.n());
        let cross = self.cross_terms(&mine, batch, &bytes)?;

        let mask = Zeroizing::new(uniform_residues(&mut self.prng, mine.len()));
        let how = ReplyParams { flood_bits: Some(FLOOD_BITS) };
        let reply = key.reply(cross, &mask, how, &mut self.prng)?;
        let mut bytes = Vec::with_capacity(self.reply_len(batch));
        for half in [&reply.c0, &reply.c1] {
            wire::pack_rows(half.basis(), &half.download()?, &mut bytes);
        }
        channel.send(bytes)?;

        let field = Ring::Prime(P);
        let r = Zeroizing::new(self.slots.decode(&mask)?);
        mine.product_mut().iter_mut().zip(r.iter()).for_each(|(c, &r)| *c = field.sub(*c, r));
        Ok(mine)
    }

    /// Each of the client's encrypted factors times what it meets in the product of the sums, added up: 2·a_S for a
    /// square, the server's share of the other factor for a triple.
    fn cross_terms<const C: usize>(&self, mine: &Correlated<C>, batch: usize, bytes: &[u8]) -> Result<Ciphertexts> {
        let field = Ring::Prime(P);
        let basis = self.params.basis();
        let factors = &mine.shares()[..Correlated::<C>::FACTORS];
        let len = SeededCiphertexts::wire_len(&self.params, batch);
        let mut sum: Option<Ciphertexts> = None;
        for (theirs, &other) in bytes.chunks_exact(len).zip(factors.iter().rev()) {
            let fresh = SeededCiphertexts::from_bytes(&self.params, &self.device, batch, theirs)?;
            let times = if factors.len() == 1 { 2 } else { 1 };
            let other = Zeroizing::new(other.iter().map(|&b| field.mul(b, times)).collect::<Vec<_>>());
            let other = Zeroizing::new(self.slots.encode_signed(&other)?);
            let other = PolyBatch::<Coeff>::lift(&self.device, basis, &other, &vec![1; basis.len()])?.into_ntt()?;
            let mut fresh = fresh.expand()?;
            match &mut sum {
                None => {
                    fresh.c0.mul_assign(&other)?;
                    fresh.c1.mul_assign(&other)?;
                    sum = Some(fresh);
                }
                Some(sum) => {
                    sum.c0.mul_add_assign(&fresh.c0, &other)?;
                    sum.c1.mul_add_assign(&fresh.c1, &other)?;
                }
            }
        }
        Ok(sum.expect("at least one factor"))
    }

    /// Message 3 at the client: the cross terms, added to the products of its own shares.
    fn receive<const C: usize>(
        &mut self,
        channel: &mut Channel,
        key: &SecretKey,
        mut mine: Correlated<C>,
    ) -> Result<Correlated<C>> {
        let batch = mine.len() / self.params.n();
        let bytes = channel.recv_exact(self.reply_len(batch))?;
        let (c0, c1) = bytes.split_at(bytes.len() / 2);
        let read = |half| -> Result<PolyBatch<Coeff>> {
            let words = wire::unpack_rows(&self.first, batch, half)?;
            Ok(PolyBatch::upload(&self.device, &self.first, &words)?)
        };
        let cross = Zeroizing::new(key.decrypt(read(c0)?, read(c1)?)?);
        let cross = Zeroizing::new(self.slots.decode(&cross)?);
        let field = Ring::Prime(P);
        mine.product_mut().iter_mut().zip(cross.iter()).for_each(|(c, &m)| *c = field.add(*c, m));
        Ok(mine)
    }

    fn reply_len(&self, batch: usize) -> usize {
        2 * wire::packed_rows_len(&self.first, batch)
    }
}

#[cfg(test)]
mod tests {
    use blindvox_engine::bfv::noise::{budget, switch_bound};

    use super::super::tests::assert_products;
    use super::*;
    use crate::channel::{Traffic, local_pair};

    /// Both halves, one request after the other; the client's traffic of each.
    fn run<T: Send>(
        requests: &[usize],
        ask: impl Fn(&mut HeSource, &mut Channel, usize) -> Result<T> + Sync,
    ) -> Vec<(T, T, Traffic)> {
        let (client, server) = local_pair();
        let half = |party: Party, mut channel: Channel| {
            let mut prng = Prng::from_seed_for_tests([party as u8; 32]);
            let mut source = HeSource::setup(party, &mut channel, &Device::cpu(), &mut prng).unwrap();
            let ask = |&n: &usize| {
                let before = channel.stats().total;
                (ask(&mut source, &mut channel, n).unwrap(), channel.stats().total - before)
            };
            requests.iter().map(ask).collect::<Vec<_>>()
        };
        std::thread::scope(|scope| {
            let there = scope.spawn(|| half(Party::Server, server));
            let here = half(Party::Client, client);
            here.into_iter().zip(there.join().unwrap()).map(|((c, t), (s, _))| (c, s, t)).collect()
        })
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
        for ((client, server, t), expected) in batches.iter().zip([(1, 1), (0, 0), (17, 2), (0, 0), (0, 0)]) {
            assert_products(client, server);
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
        let mixed =
            run(&[10, 20], |source, channel, n| Ok((source.triples(channel, n)?, source.square_pairs(channel, n)?)));
        for ((triples, pairs), (triples2, pairs2), _) in &mixed {
            assert_products(triples, triples2);
            assert_products(pairs, pairs2);
        }
        assert_eq!(mixed[1].2.sent, 0, "both kinds were spare");
    }

    #[test]
    fn the_flooding_hides_the_factor_and_fits() {
        let params = Params::square_pairs();
        for (factors, most) in [(1.0, -71.0), (2.0, -70.5)] {
            let norm = (factors * params.n() as f64).sqrt() * f64::from(P) / 2.0;
            let budget = budget(&params, norm).unwrap();
            let distance = budget.distance_bits + f64::from(budget.flood_bits) - f64::from(FLOOD_BITS);
            assert!(distance < most, "{distance}");
            assert!(budget.have_bits > 16.9);
        }
        let noise = 2.0 * switch_bound(params.n()) + f64::from(1 << (FLOOD_BITS + 1)) + 1.0;
        assert!(noise.log2() < 15.1);
    }

    #[test]
    fn a_peers_broken_bytes_are_errors() {
        let (mut client, mut server) = local_pair();
        client.send(vec![0; 7]).unwrap();
        let mut prng = Prng::from_seed_for_tests([1; 32]);
        assert!(HeSource::setup(Party::Server, &mut server, &Device::cpu(), &mut prng).is_err());
        client.send(vec![0xff; PublicKey::wire_len(&Params::square_pairs())]).unwrap();
        assert!(HeSource::setup(Party::Server, &mut server, &Device::cpu(), &mut prng).is_err());

        let mut source = HeSource::setup(Party::Client, &mut client, &Device::cpu(), &mut prng).unwrap();
        server.send(vec![0xff; 2 * 51_200]).unwrap();
        assert!(source.square_pairs(&mut client, 10).is_err(), "unreduced residues");
        server.send(vec![0; 51_200]).unwrap();
        assert!(source.square_pairs(&mut client, 10).is_err(), "a short reply");
        server.send(vec![0xff; 2 * 51_200]).unwrap();
        assert!(source.triples(&mut client, 10).is_err(), "unreduced residues");
        drop(server);
        assert!(source.square_pairs(&mut client, 10).is_err());
    }
}
