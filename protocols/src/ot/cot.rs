//! Hashed transfers: random OT, OT of chosen messages, and correlated OT in a ring.
//!
//! With q the zero label, H the re-keyed hash and h(x) its value in the ring:
//!
//! | # | from -> to | content | bytes for each chunk of n <= 65536 transfers |
//! |---|---|---|---|
//! | 1 | receiver -> sender | extension | 16·ceil(128/k)·ceil(n/128) |
//! | 2 | sender -> receiver | `cot` only: d_i = h(q_i) - h(q_i xor Delta) + c_i | ceil(n·bits/8) |
//!
//! The sender keeps s_i = -h(q_i); the receiver, whose label is q_i xor b_i·Delta, takes r_i = h(label) + b_i·d_i, so
//! that s_i + r_i = b_i·c_i. The receiver sends the next chunk's message 1 before it waits for message 2.
//!
//! Modulo 2^k an element is the hash's low bits, modulo a prime all of its 128 bits reduced (2^-96 from uniform).

use blindvox_engine::aes::{Aes128, INSTANCES_PER_KEY, KeySequence};
use blindvox_engine::simd::wide;
use blindvox_net::channel::{Channel, Party};
use blindvox_net::transport::recycle;
use zeroize::Zeroizing;

use super::pack::{bits, pack, pack_choices, packed_len, unpack};
use super::softspoken::{CHUNK_WORDS, chunks, extension_bytes};
use super::{OtReceiver, OtSender};
use crate::error::Result;
use crate::share::{Ring, Shares};
use crate::traffic::Bytes;

const CHUNK: usize = 128 * CHUNK_WORDS;

/// What both parties must compute: s_i + r_i = choice_i·correlation_i.
#[cfg(test)]
fn ideal(correlations: &[u32], choices: &[u8], ring: Ring) -> Vec<u32> {
    correlations.iter().zip(choices).map(|(&c, &b)| ring.mul(c, u32::from(b))).collect()
}

/// Reduces hashes modulo a number below 2^32 by multiplication with its reciprocal.
#[derive(Clone, Copy)]
struct Reducer {
    p: u64,
    reciprocal: u64,
    /// 2^64 modulo p.
    fold: u64,
}

impl Reducer {
    fn new(p: u32) -> Self {
        let p = u64::from(p);
        let reciprocal = u64::MAX / p;
        Self { p, reciprocal, fold: ((1u128 << 64) % u128::from(p)) as u64 }
    }

    /// x modulo p for x < 2p; without branches, as hashes are secret.
    #[inline]
    fn subtract_once(self, x: u64) -> u64 {
        let less = x.wrapping_sub(self.p);
        less.wrapping_add(self.p & (less >> 63).wrapping_neg())
    }

    /// x modulo p: the quotient by the reciprocal is at most one too small.
    #[inline]
    fn narrow(self, x: u64) -> u64 {
        self.subtract_once(x - ((u128::from(x) * u128::from(self.reciprocal)) >> 64) as u64 * self.p)
    }

    #[inline]
    fn reduce(self, x: u128) -> u32 {
        let high = self.narrow((x >> 64) as u64) * self.fold;
        self.subtract_once(self.narrow(high) + self.narrow(x as u64)) as u32
    }
}

/// The ring's value of every hash.
fn to_ring(hashes: &[u128], ring: Ring, out: &mut [u32]) {
    match ring {
        Ring::Pow2(bits) => {
            let mask = u32::MAX >> (32 - bits);
            wide(|| out.iter_mut().zip(hashes).for_each(|(o, h)| *o = *h as u32 & mask));
        }
        Ring::Prime(p) => {
            let reducer = Reducer::new(p);
            out.iter_mut().zip(hashes).for_each(|(o, h)| *o = reducer.reduce(*h));
        }
    }
}

/// Calls `each(range, key)` for the pieces of 0..n that share a hash key.
fn keyed(keys: &mut KeySequence, n: usize, mut each: impl FnMut(std::ops::Range<usize>, &Aes128)) {
    let mut ciphers = vec![Aes128::default(); n.div_ceil(INSTANCES_PER_KEY)];
    keys.next_keys(&mut ciphers);
    for (i, key) in ciphers.iter().enumerate() {
        let at = i * INSTANCES_PER_KEY;
        each(at..n.min(at + INSTANCES_PER_KEY), key);
    }
}

impl OtSender {
    /// Pairs of random keys for `n` transfers; the peer calls [`OtReceiver::rot`].
    pub fn rot(&mut self, channel: &mut Channel, n: usize) -> Result<Vec<[u128; 2]>> {
        let labels = Zeroizing::new(self.labels(channel, n)?);
        let mut pairs = vec![[0; 2]; n];
        let mut hashes = Zeroizing::new([0; INSTANCES_PER_KEY]);
        let delta = self.delta();
        keyed(&mut self.hash_keys, n, |range, key| {
            let hashes = &mut hashes[..range.len()];
            for (side, offset) in [0, delta].into_iter().enumerate() {
                key.hash(&labels[range.clone()], offset, hashes);
                pairs[range.clone()].iter_mut().zip(&*hashes).for_each(|(p, h)| p[side] = *h);
            }
        });
        Ok(pairs)
    }

    /// OT of chosen messages; the peer calls [`OtReceiver::choose`]. Sends 32 bytes a transfer.
    pub fn offer(&mut self, channel: &mut Channel, messages: &[[u128; 2]]) -> Result<()> {
        let mut masked = self.rot(channel, messages.len())?;
        masked.iter_mut().zip(messages).for_each(|(k, m)| *k = [k[0] ^ m[0], k[1] ^ m[1]]);
        Ok(channel.send_pod(&masked)?)
    }

    /// Correlated OT: this party's s_i for its correlations c_i, reduced in `ring`; the peer calls
    /// [`OtReceiver::cot`].
    pub fn cot(&mut self, channel: &mut Channel, correlations: &[u32], ring: Ring) -> Result<Shares> {
        self.ahead(channel, correlations.len().next_multiple_of(128))?;
        let mut shares = Shares::with_capacity(correlations.len());
        let mut room = Zeroizing::new(vec![0; correlations.len().min(CHUNK).next_multiple_of(128)]);
        let mut hashes = Zeroizing::new([0; INSTANCES_PER_KEY]);
        let mut values = Zeroizing::new([[0; INSTANCES_PER_KEY]; 2]);
        for correlations in correlations.chunks(CHUNK) {
            let labels = &mut room[..correlations.len().next_multiple_of(128)];
            self.extend(channel, labels)?;
            let mut message = vec![0; correlations.len()];
            let delta = self.delta();
            keyed(&mut self.hash_keys, correlations.len(), |range, key| {
                let hashes = &mut hashes[..range.len()];
                let [zero, one] = values.each_mut().map(|v| &mut v[..range.len()]);
                key.hash(&labels[range.clone()], 0, hashes);
                to_ring(hashes, ring, zero);
                key.hash(&labels[range.clone()], delta, hashes);
                to_ring(hashes, ring, one);
                let sums = message[range.clone()].iter_mut().zip(&correlations[range]).zip(&*zero).zip(&*one);
                wide(|| sums.for_each(|(((d, &c), &zero), &one)| *d = ring.add(ring.sub(zero, one), c)));
                wide(|| zero.iter_mut().for_each(|h| *h = ring.neg(*h)));
                shares.extend_from_slice(zero);
            });
            channel.send(pack(&message, bits(ring)))?;
        }
        Ok(shares)
    }
}

impl OtReceiver {
    /// The key of each pair that `choices` (0 or 1 each) select.
    pub fn rot(&mut self, channel: &mut Channel, choices: &[u8]) -> Result<Vec<u128>> {
        let labels = Zeroizing::new(self.labels(channel, choices)?);
        let mut keys = vec![0; choices.len()];
        keyed(&mut self.hash_keys, choices.len(), |range, key| key.hash(&labels[range.clone()], 0, &mut keys[range]));
        Ok(keys)
    }

    /// The message of each of the peer's pairs ([`OtSender::offer`]) that `choices` select.
    pub fn choose(&mut self, channel: &mut Channel, choices: &[u8]) -> Result<Vec<u128>> {
        let mut keys = self.rot(channel, choices)?;
        let masked: Vec<[u128; 2]> = channel.recv_pod(choices.len())?;
        for ((key, pair), &c) in keys.iter_mut().zip(&masked).zip(choices) {
            *key ^= pair[0] ^ ((pair[0] ^ pair[1]) & u128::from(c).wrapping_neg());
        }
        Ok(keys)
    }

    /// Correlated OT: this party's r_i for its choices (0 or 1 each), with s_i + r_i = choice_i·c_i in `ring`.
    pub fn cot(&mut self, channel: &mut Channel, choices: &[u8], ring: Ring) -> Result<Shares> {
        let packed = Zeroizing::new(pack_choices(choices));
        self.ahead(channel, 128 * packed.len())?;
        let mut words = packed.chunks(CHUNK_WORDS);
        let room = || Zeroizing::new(vec![0; 128 * packed.len().min(CHUNK_WORDS)]);
        let (mut labels, mut ahead) = (room(), room());
        let mut begin = |this: &mut Self, channel: &mut Channel, labels: &mut [u128]| match words.next() {
            Some(words) => this.extend(channel, words, &mut labels[..128 * words.len()]),
            None => Ok(()),
        };
        begin(self, channel, &mut ahead)?;
        let mut shares = Shares::zeros(choices.len());
        let mut hashes = Zeroizing::new([0; INSTANCES_PER_KEY]);
        for (choices, shares) in choices.chunks(CHUNK).zip(shares.chunks_mut(CHUNK)) {
            std::mem::swap(&mut labels, &mut ahead);
            begin(self, channel, &mut ahead)?;
            keyed(&mut self.hash_keys, choices.len(), |range, key| {
                let hashes = &mut hashes[..range.len()];
                key.hash(&labels[range.clone()], 0, hashes);
                to_ring(hashes, ring, &mut shares[range]);
            });
            let message = channel.recv_exact(packed_len(choices.len(), bits(ring)))?;
            let received = unpack(&message, choices.len(), bits(ring));
            recycle::give(message);
            add_chosen(ring, shares, &received, choices);
        }
        Ok(shares)
    }
}

/// `shares += choice * received`. A peer's value may be out of range; reducing it keeps arithmetic defined.
fn add_chosen(ring: Ring, shares: &mut [u32], received: &[u32], choices: &[u8]) {
    let all = shares.iter_mut().zip(received).zip(choices);
    match ring {
        // One subtraction reduces any word.
        Ring::Prime(p) if p > 1 << 31 => wide(|| {
            all.for_each(|((r, &d), &b)| *r = ring.add(*r, d.min(d.wrapping_sub(p)) & u32::from(b).wrapping_neg()));
        }),
        _ => wide(|| all.for_each(|((r, &d), &b)| *r = ring.add(*r, ring.mask(d) & u32::from(b).wrapping_neg()))),
    }
}

/// Messages of choices of a COT of `n` transfers; the second leaves before the first is answered.
pub(crate) fn messages(n: usize) -> usize {
    n.div_ceil(CHUNK)
}

/// Bytes of a COT of `n` transfers at a block width, of which this party chooses.
pub fn bytes(n: usize, ring: Ring, width: usize, chooser: Party) -> Bytes {
    let (choices, corrections) = cot_bytes(n, ring, width);
    Bytes::sent_by(chooser, choices, corrections)
}

/// Bytes (receiver to sender, sender to receiver) of a COT of `n` transfers at a block width.
pub fn cot_bytes(n: usize, ring: Ring, width: usize) -> (usize, usize) {
    let words: usize = chunks(n.div_ceil(128)).sum();
    let back = (0..n).step_by(CHUNK).map(|at| packed_len(CHUNK.min(n - at), bits(ring))).sum();
    (extension_bytes(words, width), back)
}

#[cfg(test)]
mod tests {
    use blindvox_engine::Prng;
    use proptest::prelude::*;

    use super::super::LINK_WIDTH;
    use super::super::softspoken::tests::{linked, pair};
    use super::*;
    use crate::error::Error;
    use crate::share::P;

    const RINGS: [Ring; 6] =
        [Ring::FULL, Ring::Pow2(1), Ring::Pow2(13), Ring::Pow2(16), Ring::Prime(P), Ring::Prime(65537)];

    fn choices(n: usize) -> Vec<u8> {
        Prng::from_os().unwrap().fill::<u8>(n).iter().map(|b| b & 1).collect()
    }

    #[test]
    fn correlated_shares_add_up_in_every_ring() {
        let ((mut s, mut server), (mut r, mut client)) = linked(LINK_WIDTH);
        for ring in RINGS {
            for n in [0, 1, 300, CHUNK + 77, 3 * CHUNK] {
                let mut correlations: Vec<u32> =
                    Prng::from_os().unwrap().fill::<u32>(n).into_iter().map(|c| ring.mask(c)).collect();
                if n > 2 {
                    correlations[..2].copy_from_slice(&[0, (ring.modulus() - 1) as u32]);
                }
                let choices = choices(n);
                let expected = ideal(&correlations, &choices, ring);
                let before = client.stats().total;
                let theirs = std::thread::scope(|scope| {
                    let sender = scope.spawn(|| s.cot(&mut server, &correlations, ring).unwrap());
                    let r = r.cot(&mut client, &choices, ring).unwrap();
                    (sender.join().unwrap(), r)
                });
                let traffic = client.stats().total - before;
                assert_eq!((traffic.sent as usize, traffic.received as usize), cot_bytes(n, ring, LINK_WIDTH));
                for ((s, r), e) in theirs.0.iter().zip(&theirs.1).zip(&expected) {
                    assert!(u64::from(*s) < ring.modulus() && u64::from(*r) < ring.modulus());
                    assert_eq!(ring.add(*s, *r), *e);
                }
                assert_eq!((theirs.0.len(), theirs.1.len()), (n, n));
            }
        }
    }

    #[test]
    fn random_and_chosen_transfers_give_the_chosen_one() {
        let ((mut s, mut server), (mut r, mut client)) = pair(2);
        let choices = choices(1000);
        let keys = r.rot(&mut client, &choices).unwrap();
        let pairs = s.rot(&mut server, choices.len()).unwrap();
        for ((pair, key), &c) in pairs.iter().zip(&keys).zip(&choices) {
            assert_eq!(pair[usize::from(c)], *key);
            assert_ne!(pair[usize::from(1 - c)], *key);
        }
        let messages: Vec<[u128; 2]> = (0..1000).map(|i| [i, i + 7000]).collect();
        let got = std::thread::scope(|scope| {
            scope.spawn(|| s.offer(&mut server, &messages).unwrap());
            r.choose(&mut client, &choices).unwrap()
        });
        for ((m, got), &c) in messages.iter().zip(got).zip(&choices) {
            assert_eq!(m[usize::from(c)], got);
        }
    }

    #[test]
    fn a_second_run_shares_no_key_with_the_first() {
        let ((mut s, mut server), (mut r, mut client)) = pair(3);
        let mut all = vec![];
        for _ in 0..3 {
            r.rot(&mut client, &[0; 100]).unwrap();
            all.extend(s.rot(&mut server, 100).unwrap().into_flattened());
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 600);
    }

    #[test]
    fn a_short_long_or_missing_correction_is_an_error() {
        for len in [0, 39, 41, 400] {
            let ((_, mut server), (mut r, mut client)) = pair(4);
            server.send(vec![0xff; len]).unwrap();
            assert!(matches!(r.cot(&mut client, &[1; 10], Ring::Prime(P)), Err(Error::Protocol(_))));
        }
        let ((_, mut server), (mut r, mut client)) = pair(4);
        // Values beyond the prime are wrong but harmless.
        server.send(vec![0xff; 40]).unwrap();
        assert!(r.cot(&mut client, &[1; 10], Ring::Prime(P)).unwrap().iter().all(|&x| x < P));
        drop(server);
        assert!(matches!(r.cot(&mut client, &[1; 10], Ring::FULL), Err(Error::Connection(_))));
    }

    proptest! {
        #[test]
        fn reduction_is_the_remainder(x: u128, p in 3u32..) {
            for x in [x, u128::MAX, u128::from(p), u128::from(p) - 1, 0] {
                prop_assert_eq!(u128::from(Reducer::new(p).reduce(x)), x % u128::from(p));
            }
        }
    }
}
