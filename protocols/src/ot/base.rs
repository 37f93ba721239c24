//! Base oblivious transfer of random 128-bit keys: Chou and Orlandi, "The simplest protocol for oblivious
//! transfer" (2015), over ristretto255, in semi-honest form.
//!
//! | # | from -> to | content | bytes | phase |
//! |---|---|---|---|---|
//! | 1 | sender -> receiver | A = a·G | 32 | setup |
//! | 2 | receiver -> sender | B_i = b_i·G + c_i·A for every i | 32 n | setup |
//!
//! Keys: the sender's pair is KDF(i, a·B_i), KDF(i, a·(B_i - A)); the receiver's is KDF(i, b_i·A), the one
//! that its choice c_i selects. The sender sees only uniform points; the receiver would need a·A for the other key.
//! The receiver makes its keys after message 2 is on its way, while the sender makes its own.

use blindvox_engine::Prng;
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE as G;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity, IsIdentity};
use subtle::{Choice, ConditionallySelectable};
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, Result};

/// The size of an encoded point in bytes.
pub(super) const POINT: usize = 32;

fn scalar(prng: &mut Prng) -> Zeroizing<Scalar> {
    let mut wide = Zeroizing::new([0; 64]);
    prng.fill_bytes(&mut *wide);
    Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide))
}

fn point(bytes: &[u8]) -> Result<RistrettoPoint> {
    CompressedRistretto::from_slice(bytes)
        .ok()
        .and_then(|c| c.decompress())
        .filter(|p| !p.is_identity())
        .ok_or_else(|| Error::protocol("base OT: 32 bytes that encode no point other than the identity"))
}

/// The key of the `index`-th transfer; `public` hashes both messages.
fn derive(public: &blake3::Hash, index: usize, shared: &RistrettoPoint) -> u128 {
    let mut h = blake3::Hasher::new_keyed(public.as_bytes());
    let encoded = Zeroizing::new(shared.compress().to_bytes());
    h.update(b"base OT key").update(&(index as u64).to_le_bytes()).update(&*encoded);
    let mut key = Zeroizing::new([0; 16]);
    let mut output = h.finalize_xof();
    output.fill(&mut *key);
    h.zeroize();
    output.zeroize();
    u128::from_le_bytes(*key)
}

fn public(first: &[u8], second: &[u8]) -> blake3::Hash {
    blake3::Hasher::new().update(first).update(second).finalize()
}

/// The sender between its message and the receiver's.
pub(super) struct BaseSender {
    secret: Zeroizing<Scalar>,
    point: RistrettoPoint,
}

impl BaseSender {
    /// The sender and message 1.
    pub(super) fn new(prng: &mut Prng) -> (Self, [u8; POINT]) {
        let secret = scalar(prng);
        let point = &*secret * G;
        (Self { secret, point }, point.compress().to_bytes())
    }

    /// The key pairs from message 2 (a point for every transfer) and a hash of both messages.
    pub(super) fn finish(self, points: &[u8]) -> Result<(Zeroizing<Vec<[u128; 2]>>, blake3::Hash)> {
        let public = public(self.point.compress().as_bytes(), points);
        let square = Zeroizing::new(self.point * *self.secret);
        // Of the right size at once: a vector that grows leaves its former block uncleared.
        let mut pairs = Zeroizing::new(Vec::with_capacity(points.len() / POINT));
        for (i, bytes) in points.chunks(POINT).enumerate() {
            let shared = Zeroizing::new(point(bytes)? * *self.secret);
            // a (B - A) = a B - a A.
            let other = Zeroizing::new(*shared - *square);
            pairs.push([derive(&public, i, &shared), derive(&public, i, &other)]);
        }
        Ok((pairs, public))
    }
}

/// The receiver once it has chosen.
pub(super) struct BaseReceiver {
    point: RistrettoPoint,
    secrets: Vec<Zeroizing<Scalar>>,
    public: blake3::Hash,
}

impl BaseReceiver {
    /// From message 1 and secret choices (0 or 1): the receiver and message 2.
    pub(super) fn new(message: &[u8], choices: &[u8], prng: &mut Prng) -> Result<(Self, Vec<u8>)> {
        let a = point(message)?;
        let secrets: Vec<_> = choices.iter().map(|_| scalar(prng)).collect();
        let mut reply = Vec::with_capacity(choices.len() * POINT);
        for (b, &c) in secrets.iter().zip(choices) {
            let mut added = RistrettoPoint::conditional_select(&RistrettoPoint::identity(), &a, Choice::from(c));
            reply.extend_from_slice((&**b * G + added).compress().as_bytes());
            added.zeroize();
        }
        let public = public(message, &reply);
        Ok((Self { point: a, secrets, public }, reply))
    }

    /// The keys that were chosen and a hash of both messages.
    pub(super) fn finish(self) -> (Zeroizing<Vec<u128>>, blake3::Hash) {
        let shared = self.secrets.iter().map(|b| Zeroizing::new(self.point * **b));
        let keys = shared.enumerate().map(|(i, shared)| derive(&self.public, i, &shared)).collect();
        (Zeroizing::new(keys), self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receiver_gets_the_chosen_key_of_each_pair() {
        let mut prng = Prng::from_seed_for_tests([3; 32]);
        let choices: Vec<u8> = (0..40).map(|i| u8::from(i % 3 == 0)).collect();
        let (sender, message) = BaseSender::new(&mut prng);
        let (receiver, reply) = BaseReceiver::new(&message, &choices, &mut prng).unwrap();
        let (keys, hash) = receiver.finish();
        let (pairs, same) = sender.finish(&reply).unwrap();
        assert_eq!(hash, same);
        for ((pair, key), c) in pairs.iter().zip(keys.iter()).zip(choices) {
            assert_eq!(pair[usize::from(c)], *key);
            assert_ne!(pair[usize::from(1 - c)], *key);
        }
    }

    #[test]
    fn bytes_that_encode_no_point_are_refused() {
        let mut prng = Prng::from_seed_for_tests([3; 32]);
        for bad in [[0xff; 32], [0; 32]] {
            assert!(matches!(BaseReceiver::new(&bad, &[0], &mut prng), Err(Error::Protocol(_))));
            let (sender, _) = BaseSender::new(&mut prng);
            assert!(matches!(sender.finish(&bad), Err(Error::Protocol(_))));
        }
        assert!(BaseReceiver::new(&[1; 31], &[0], &mut prng).is_err());
    }
}
