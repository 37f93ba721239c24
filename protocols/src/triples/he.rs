//! Square pairs by homomorphic encryption, 8192 in the slots of a ciphertext.
//!
//! # | from -> to       | content                                                   | bytes            | phase
//! --|------------------|-----------------------------------------------------------|------------------|------
//! 1 | client -> server | public key                                                | 153 616          | setup
//! 2 | client -> server | seed, Enc(a_C): one seeded half, 3 limbs of 50 bits a slot | 16 + 18.75 a pair | preprocessing
//! 3 | server -> client | Enc(2·a_C·a_S + r): both halves, 50 bits a slot each      | 12.5 a pair      | preprocessing
//!
//! With a = a_C + a_S, a^2 = a_C^2 + 2·a_C·a_S + a_S^2 mod p: the client's share is a_C^2 + Dec(reply), the server's
//! a_S^2 - r for a uniform mask r. Each party draws its own share of a. Messages cover up to [`BATCH`] ciphertexts,
//! and the client encrypts the next before it waits for a reply.
//!
//! The factor 2·a_S is uniform mod p in every coefficient, so its norm is at most sqrt(n)·p/2 and the noise of a product
//! below 2^43. Dropping two primes of 50 bits leaves 2^-57 of what depends on a_S, which flooding of
//! [`FLOOD_BITS`] bits hides to a statistical distance of 2^-71 a slot, 2^-43 for 2^28 pairs.

use blindvox_engine::bfv::{ReplyParams, SlotEncoder};
use blindvox_engine::ring::RnsBasis;
use blindvox_engine::rlwe::{Ciphertexts, Params, PublicKey, SecretKey, SeededCiphertexts, wire};
use blindvox_engine::{Coeff, Device, PolyBatch, Prng};
use zeroize::Zeroizing;

use super::{Correlations, SquarePairs, uniform_residues};
use crate::channel::{Channel, Party};
use crate::error::Result;
use crate::share::{P, Ring, mul_mod_p};

/// Ciphertexts of one message at most: 2.5 MB there and 1.6 MB back.
pub const BATCH: usize = 16;

/// Width of the flooding; the noise of a reply stays below 2^15.1, and decryption corrects 2^17.
pub const FLOOD_BITS: u32 = 14;

/// One party's half of the source. Pairs of a ciphertext that was not used up are kept for the next request.
pub struct HeSquarePairs {
    half: Half,
    tools: Tools,
    spare: SquarePairs,
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

impl HeSquarePairs {
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
            spare: SquarePairs::default(),
        })
    }
}

impl Correlations for HeSquarePairs {
    fn square_pairs(&mut self, channel: &mut Channel, count: usize) -> Result<SquarePairs> {
        let ciphertexts = count.saturating_sub(self.spare.len()).div_ceil(self.tools.params.n());
        let batches = (0..ciphertexts).step_by(BATCH).map(|at| BATCH.min(ciphertexts - at));
        let mut pool = SquarePairs::with_capacity(self.spare.len() + ciphertexts * self.tools.params.n());
        pool.append(std::mem::take(&mut self.spare));
        match &self.half {
            Half::Client(key) => {
                let mut asked = None;
                for batch in batches.map(Some).chain([None]) {
                    let next = batch.map(|b| self.tools.ask(channel, key, b)).transpose()?;
                    if let Some(a) = std::mem::replace(&mut asked, next) {
                        pool.append(self.tools.receive(channel, key, a)?);
                    }
                }
            }
            Half::Server(key) => {
                for batch in batches {
                    pool.append(self.tools.answer(channel, key, batch)?);
                }
            }
        }
        let taken = pool.take(count)?;
        self.spare = pool;
        Ok(taken)
    }
}

impl Tools {
    /// Message 2, from the client: its shares of a, encrypted.
    fn ask(&mut self, channel: &mut Channel, key: &SecretKey, batch: usize) -> Result<Zeroizing<Vec<u32>>> {
        let a = Zeroizing::new(uniform_residues(&mut self.prng, batch * self.params.n()));
        let message = Zeroizing::new(self.slots.encode(&a)?);
        channel.send(key.encrypt_seeded(&message, &mut self.prng)?.to_bytes()?)?;
        Ok(a)
    }

    /// Messages 2 and 3 at the server: its own pairs.
    fn answer(&mut self, channel: &mut Channel, key: &PublicKey, batch: usize) -> Result<SquarePairs> {
        let bytes = channel.recv_exact(SeededCiphertexts::wire_len(&self.params, batch))?;
        let fresh = SeededCiphertexts::from_bytes(&self.params, &self.device, batch, &bytes)?;

        let field = Ring::Prime(P);
        let a = Zeroizing::new(uniform_residues(&mut self.prng, batch * self.params.n()));
        let twice = Zeroizing::new(a.iter().map(|&a| field.add(a, a)).collect::<Vec<_>>());
        let factor = Zeroizing::new(self.slots.encode_signed(&twice)?);
        let basis = self.params.basis();
        let factor = PolyBatch::<Coeff>::lift(&self.device, basis, &factor, &vec![1; basis.len()])?.into_ntt()?;
        let Ciphertexts { mut c0, mut c1 } = fresh.expand()?;
        c0.mul_assign(&factor)?;
        c1.mul_assign(&factor)?;

        let mask = Zeroizing::new(uniform_residues(&mut self.prng, a.len()));
        let how = ReplyParams { flood_bits: Some(FLOOD_BITS) };
        let reply = key.reply(Ciphertexts { c0, c1 }, &mask, how, &mut self.prng)?;
        let mut bytes = Vec::with_capacity(self.reply_len(batch));
        for half in [&reply.c0, &reply.c1] {
            wire::pack_rows(half.basis(), &half.download()?, &mut bytes);
        }
        channel.send(bytes)?;

        let r = Zeroizing::new(self.slots.decode(&mask)?);
        let a2 = a.iter().zip(r.iter()).map(|(&a, &r)| field.sub(mul_mod_p(a, a), r)).collect();
        Ok(SquarePairs::new(a.to_vec(), a2))
    }

    /// Message 3 at the client: its pairs for the shares of a that it sent.
    fn receive(&mut self, channel: &mut Channel, key: &SecretKey, a: Zeroizing<Vec<u32>>) -> Result<SquarePairs> {
        let batch = a.len() / self.params.n();
        let bytes = channel.recv_exact(self.reply_len(batch))?;
        let (c0, c1) = bytes.split_at(bytes.len() / 2);
        let read = |half| -> Result<PolyBatch<Coeff>> {
            let words = wire::unpack_rows(&self.first, batch, half)?;
            Ok(PolyBatch::upload(&self.device, &self.first, &words)?)
        };
        let product = Zeroizing::new(key.decrypt(read(c0)?, read(c1)?)?);
        let product = Zeroizing::new(self.slots.decode(&product)?);
        let field = Ring::Prime(P);
        let a2 = a.iter().zip(product.iter()).map(|(&a, &m)| field.add(mul_mod_p(a, a), m)).collect();
        Ok(SquarePairs::new(a.to_vec(), a2))
    }

    fn reply_len(&self, batch: usize) -> usize {
        2 * wire::packed_rows_len(&self.first, batch)
    }
}

#[cfg(test)]
mod tests {
    use blindvox_engine::bfv::noise::{budget, switch_bound};

    use super::super::tests::assert_square_pairs;
    use super::*;
    use crate::channel::local_pair;

    /// Both halves, one request after the other; the client's traffic of the last.
    fn run(requests: &[usize]) -> Vec<(SquarePairs, SquarePairs, crate::channel::Traffic)> {
        let (client, server) = local_pair();
        let half = |party: Party, mut channel: Channel| {
            let mut prng = Prng::from_seed_for_tests([party as u8; 32]);
            let mut source = HeSquarePairs::setup(party, &mut channel, &Device::cpu(), &mut prng).unwrap();
            let ask = |&n: &usize| {
                let before = channel.stats().total;
                (source.square_pairs(&mut channel, n).unwrap(), channel.stats().total - before)
            };
            requests.iter().map(ask).collect::<Vec<_>>()
        };
        std::thread::scope(|scope| {
            let there = scope.spawn(|| half(Party::Server, server));
            let here = half(Party::Client, client);
            here.into_iter().zip(there.join().unwrap()).map(|((c, t), (s, _))| (c, s, t)).collect()
        })
    }

    #[test]
    fn pairs_are_squares_and_cost_what_the_table_says() {
        let batches = run(&[1000, 8192 - 1000, 17 * 8192 - 5, 5, 0]);
        let traffic = |ciphertexts: u64, messages: u64| {
            (messages * 16 + ciphertexts * 8192 * 150 / 8, ciphertexts * 8192 * 100 / 8)
        };
        let expected = [traffic(1, 1), (0, 0), traffic(17, 2), (0, 0), (0, 0)];
        for ((client, server, t), expected) in batches.iter().zip(expected) {
            assert_eq!(client.len(), server.len());
            assert_square_pairs(client, server);
            assert_eq!((t.sent, t.received), expected);
        }
        // Uniform, and never the same twice.
        let mut a: Vec<u32> = batches.iter().flat_map(|(c, ..)| c.shares().0.to_vec()).collect();
        let mean = a.iter().map(|&a| f64::from(a) / f64::from(P)).sum::<f64>() / a.len() as f64;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        let drawn = a.len();
        a.sort_unstable();
        a.dedup();
        assert!(drawn - a.len() < 20, "{} of {drawn} repeat", drawn - a.len());
    }

    #[test]
    fn the_flooding_hides_the_factor_and_fits() {
        let params = Params::square_pairs();
        let norm = (params.n() as f64).sqrt() * f64::from(P) / 2.0;
        let budget = budget(&params, norm).unwrap();
        let distance = budget.distance_bits + f64::from(budget.flood_bits) - f64::from(FLOOD_BITS);
        assert!(distance < -71.0, "{distance}");
        let noise = 2.0 * switch_bound(params.n()) + f64::from(1 << (FLOOD_BITS + 1)) + 1.0;
        assert!(noise.log2() < 15.1 && budget.have_bits > 16.9);
    }

    #[test]
    fn a_peers_broken_bytes_are_errors() {
        let (mut client, mut server) = local_pair();
        client.send(vec![0; 7]).unwrap();
        let mut prng = Prng::from_seed_for_tests([1; 32]);
        assert!(HeSquarePairs::setup(Party::Server, &mut server, &Device::cpu(), &mut prng).is_err());
        client.send(vec![0xff; PublicKey::wire_len(&Params::square_pairs())]).unwrap();
        assert!(HeSquarePairs::setup(Party::Server, &mut server, &Device::cpu(), &mut prng).is_err());

        let mut source = HeSquarePairs::setup(Party::Client, &mut client, &Device::cpu(), &mut prng).unwrap();
        server.send(vec![0xff; 2 * 51_200]).unwrap();
        assert!(source.square_pairs(&mut client, 10).is_err(), "unreduced residues");
        server.send(vec![0; 51_200]).unwrap();
        assert!(source.square_pairs(&mut client, 10).is_err(), "a short reply");
        drop(server);
        assert!(source.square_pairs(&mut client, 10).is_err());
    }
}
