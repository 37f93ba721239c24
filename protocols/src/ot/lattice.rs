//! Base oblivious transfer of random 128-bit keys on lattices: Masny and Rindal, "Endemic oblivious transfer" (CCS 2019), over
//! ML-KEM-768 (FIPS 203). Secure against parties that deviate, in the random-oracle model, and against quantum computers.
//!
//! An encapsulation key is a vector t of 768 residues mod 3329, which looks uniform without the secret (module LWE), and the
//! seed rho of a matrix. The receiver makes one key of its own, (rho, t), and hides which of two it is:
//!
//! | # | from -> to | content | bytes | phase |
//! |---|---|---|---|---|
//! | 1 | receiver -> sender | for every transfer rho, r_0, r_1 | 2336 n | setup |
//! | 2 | sender -> receiver | for every transfer a ciphertext for each of the two keys | 2176 n | setup |
//!
//! Key j of a transfer is t_j = r_j + H_j(r_(1-j)). The receiver draws r_(1-c) at random and sets r_c = t - H_c(r_(1-c)), so
//! that t_c = t; the other key is t_(1-c) = r_(1-c) + H_(1-c)(r_c), which it can't steer: H is a random oracle, bound to the
//! set-up's first message, the transfer and rho. Both vectors are uniform, so the sender sees no choice. What either
//! encapsulates is hashed, with both messages, to the transfer's keys. A ciphertext that is none gives a key that nobody
//! knows (implicit rejection), and no error.

use blindvox_engine::Prng;
use ml_kem::ml_kem_768::{Ciphertext, DecapsulationKey, EncapsulationKey};
use ml_kem::{Decapsulate, Key, KeyExport};
use subtle::{Choice, ConditionallySelectable};
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, Result};

/// ML-KEM's modulus.
const Q: u16 = 3329;
/// Residues of a key's vector.
const LEN: usize = 768;
/// Bytes of the vector: two residues in three.
const VECTOR: usize = LEN / 2 * 3;
const RHO: usize = 32;
const CIPHERTEXT: usize = 1088;
/// Bytes of message 1 a transfer.
pub(super) const KEYS: usize = RHO + 2 * VECTOR;
/// Bytes of message 2 a transfer.
pub(super) const REPLY: usize = 2 * CIPHERTEXT;

type Vector = [u16; LEN];

/// Residues from 16 random bytes each: 2^-116 from uniform, and the same work for all.
fn residues(mut fill: impl FnMut(&mut [u8])) -> Vector {
    let mut bytes = [0; 16 * LEN];
    fill(&mut bytes);
    let q = u64::from(Q);
    let fold = ((1u128 << 64) % u128::from(Q)) as u64;
    std::array::from_fn(|i| {
        let wide: u128 = bytemuck::pod_read_unaligned(&bytes[16 * i..][..16]);
        (((wide >> 64) as u64 % q * fold + wide as u64 % q) % q) as u16
    })
}

/// H_j of a vector, within one transfer.
fn oracle(hello: &[u8], index: usize, side: u8, rho: &[u8], other: &[u8]) -> Vector {
    let mut hasher = blake3::Hasher::new_derive_key("blindvox 2026 base OT on lattices");
    hasher.update(&(hello.len() as u64).to_le_bytes()).update(hello).update(&(index as u64).to_le_bytes());
    let mut output = hasher.update(&[side]).update(rho).update(other).finalize_xof();
    residues(|bytes| output.fill(bytes))
}

fn pack(vector: &Vector) -> [u8; VECTOR] {
    let mut bytes = [0; VECTOR];
    for (three, two) in bytes.chunks_exact_mut(3).zip(vector.chunks_exact(2)) {
        three.copy_from_slice(&(u32::from(two[0]) | u32::from(two[1]) << 12).to_le_bytes()[..3]);
    }
    bytes
}

/// Residues below q, or `None`.
fn unpack(bytes: &[u8]) -> Option<Vector> {
    let mut vector = [0; LEN];
    for (three, two) in bytes.chunks_exact(3).zip(vector.chunks_exact_mut(2)) {
        let both = u32::from_le_bytes([three[0], three[1], three[2], 0]);
        two.copy_from_slice(&[both as u16 & 0xfff, (both >> 12) as u16]);
    }
    vector.iter().all(|&x| x < Q).then_some(vector)
}

fn add(a: &Vector, b: &Vector) -> Vector {
    std::array::from_fn(|i| (a[i] + b[i]) % Q)
}

fn sub(a: &Vector, b: &Vector) -> Vector {
    std::array::from_fn(|i| (a[i] + Q - b[i]) % Q)
}

fn public(hello: &[u8], keys: &[u8], reply: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(hello.len() as u64).to_le_bytes()).update(hello).update(keys).update(reply);
    hasher.finalize()
}

/// The key of one side of a transfer, from what was encapsulated.
fn derive(public: &blake3::Hash, index: usize, side: Choice, shared: &[u8]) -> u128 {
    let mut hasher = blake3::Hasher::new_keyed(public.as_bytes());
    hasher.update(b"base OT key").update(&(index as u64).to_le_bytes()).update(&[side.unwrap_u8()]).update(shared);
    let mut key = Zeroizing::new([0; 16]);
    let mut output = hasher.finalize_xof();
    output.fill(&mut *key);
    hasher.zeroize();
    output.zeroize();
    u128::from_le_bytes(*key)
}

/// The receiver between its message and the sender's.
pub(super) struct Receiver {
    secrets: Vec<DecapsulationKey>,
    choices: Zeroizing<Vec<u8>>,
    hello: Vec<u8>,
    keys: Vec<u8>,
}

impl Receiver {
    /// With secret choices (0 or 1): the receiver and message 1. `hello` is the set-up's first message.
    pub(super) fn new(hello: &[u8], choices: &[u8], prng: &mut Prng) -> (Self, Vec<u8>) {
        let mut keys = Vec::with_capacity(KEYS * choices.len());
        let mut secrets = Vec::with_capacity(choices.len());
        for (index, &choice) in choices.iter().enumerate() {
            let mut seed = Zeroizing::new([0; 64]);
            prng.fill_bytes(&mut *seed);
            let secret = DecapsulationKey::from_seed((*seed).into());
            let own = secret.encapsulation_key().to_bytes();
            let (t, rho) = own.split_at(VECTOR);
            let t = Zeroizing::new(unpack(t).expect("a key of residues"));
            let other = Zeroizing::new(pack(&residues(|bytes| prng.fill_bytes(bytes))));
            let choice = Choice::from(choice);
            let hashed = [0, 1].map(|side| Zeroizing::new(oracle(hello, index, side, rho, &*other)));
            let mut hidden = Zeroizing::new([0; LEN]);
            for (h, (zero, one)) in hidden.iter_mut().zip(hashed[0].iter().zip(hashed[1].iter())) {
                *h = u16::conditional_select(zero, one, choice);
            }
            let mut sides = Zeroizing::new([pack(&sub(&t, &hidden)), *other]);
            let [own, other] = &mut *sides;
            own.iter_mut().zip(other).for_each(|(a, b)| u8::conditional_swap(a, b, choice));
            keys.extend_from_slice(rho);
            keys.extend_from_slice(sides.as_flattened());
            secrets.push(secret);
        }
        let choices = Zeroizing::new(choices.to_vec());
        (Self { secrets, choices, hello: hello.to_vec(), keys: keys.clone() }, keys)
    }

    /// The keys that were chosen, from message 2, and a hash of all messages.
    pub(super) fn finish(self, reply: &[u8]) -> Result<(Zeroizing<Vec<u128>>, [u8; 32])> {
        let public = public(&self.hello, &self.keys, reply);
        let mut keys = Zeroizing::new(Vec::with_capacity(self.secrets.len()));
        for (index, ((secret, &choice), both)) in
            self.secrets.iter().zip(self.choices.iter()).zip(reply.chunks_exact(REPLY)).enumerate()
        {
            let (choice, (zero, one)) = (Choice::from(choice), both.split_at(CIPHERTEXT));
            let mut chosen = Ciphertext::default();
            for (c, (zero, one)) in chosen.iter_mut().zip(zero.iter().zip(one)) {
                *c = u8::conditional_select(zero, one, choice);
            }
            let mut shared = secret.decapsulate(&chosen);
            keys.push(derive(&public, index, choice, &shared));
            shared.zeroize();
            chosen.zeroize();
        }
        Ok((keys, *public.as_bytes()))
    }
}

/// Message 2, the key pairs and a hash of all messages.
type Sent = (Vec<u8>, Zeroizing<Vec<[u128; 2]>>, [u8; 32]);

/// The sender's whole part: message 2, the key pairs and a hash of all messages, from message 1.
///
/// # Errors
/// [`Error::Protocol`] for a vector that is none.
pub(super) fn send(hello: &[u8], keys: &[u8], prng: &mut Prng) -> Result<Sent> {
    let transfers = keys.len() / KEYS;
    let mut reply = Vec::with_capacity(REPLY * transfers);
    let mut shared = Zeroizing::new(Vec::with_capacity(2 * transfers));
    for (index, key) in keys.chunks_exact(KEYS).enumerate() {
        let (rho, sides) = key.split_at(RHO);
        let packed = [&sides[..VECTOR], &sides[VECTOR..]];
        let wrong = || Error::protocol("base OT: a vector with residues that are none");
        let vectors = [unpack(packed[0]).ok_or_else(wrong)?, unpack(packed[1]).ok_or_else(wrong)?];
        for side in 0..2 {
            let t = add(&vectors[side], &oracle(hello, index, side as u8, rho, packed[1 - side]));
            let mut bytes = Key::<EncapsulationKey>::default();
            bytes[..VECTOR].copy_from_slice(&pack(&t));
            bytes[VECTOR..].copy_from_slice(rho);
            let key = EncapsulationKey::new(&bytes).map_err(|_| wrong())?;
            let mut message = Zeroizing::new([0; 32]);
            prng.fill_bytes(&mut *message);
            let mut message = ml_kem::B32::from(*message);
            let (ciphertext, mut secret) = key.encapsulate_deterministic(&message);
            message.zeroize();
            reply.extend_from_slice(&ciphertext);
            shared.push(<[u8; 32]>::from(secret));
            secret.zeroize();
        }
    }
    let public = public(hello, keys, &reply);
    let pairs = shared
        .chunks_exact(2)
        .enumerate()
        .map(|(index, both)| [0, 1].map(|side| derive(&public, index, Choice::from(side as u8), &both[side])));
    Ok((reply, Zeroizing::new(pairs.collect()), *public.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receiver_gets_the_chosen_key_of_each_pair() {
        let mut prng = Prng::from_seed_for_tests([3; 32]);
        let choices: Vec<u8> = (0..20).map(|i| u8::from(i % 3 == 0)).collect();
        let (receiver, keys) = Receiver::new(b"hello", &choices, &mut prng);
        assert_eq!(keys.len(), 20 * KEYS);
        let (reply, pairs, hash) = send(b"hello", &keys, &mut prng).unwrap();
        assert_eq!(reply.len(), 20 * REPLY);
        let (chosen, same) = receiver.finish(&reply).unwrap();
        assert_eq!(hash, same);
        for ((pair, key), c) in pairs.iter().zip(chosen.iter()).zip(choices) {
            assert_eq!(pair[usize::from(c)], *key);
            assert_ne!(pair[usize::from(1 - c)], *key);
        }
    }

    /// Who has heard another greeting, or whose message was changed, shares no key.
    #[test]
    fn keys_are_bound_to_all_that_was_said() {
        let mut prng = Prng::from_seed_for_tests([4; 32]);
        let (receiver, keys) = Receiver::new(b"hello", &[1, 0], &mut prng);
        let (mut reply, pairs, _) = send(b"other", &keys, &mut prng).unwrap();
        // A ciphertext of the side that was not chosen.
        reply[0] ^= 1;
        let (chosen, _) = receiver.finish(&reply).unwrap();
        assert!(pairs.as_flattened().iter().all(|key| !chosen.contains(key)));
    }

    #[test]
    fn both_vectors_are_residues_of_an_even_spread() {
        let mut prng = Prng::from_seed_for_tests([5; 32]);
        let (_, keys) = Receiver::new(b"hello", &[0, 1, 0, 1], &mut prng);
        for vector in keys.chunks_exact(KEYS).flat_map(|key| key[RHO..].chunks_exact(VECTOR)) {
            let mean = unpack(vector).unwrap().iter().map(|&x| f64::from(x)).sum::<f64>() / LEN as f64;
            // 5 sigma of 768 uniform residues.
            assert!((mean - 1664.0).abs() < 175.0, "{mean}");
        }
        let mut bad = keys;
        bad[RHO..RHO + 2].copy_from_slice(&[0xff, 0xff]);
        assert!(matches!(send(b"hello", &bad, &mut prng), Err(Error::Protocol(_))));
    }
}
