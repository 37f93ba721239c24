//! Replies as they travel: all of c1, and c0 where messages are, in residues of the first prime.

use zeroize::Zeroizing;

use super::params::Params;
use crate::error::{Error, Result};
use crate::poly::Places;
use crate::rlwe::wire;

/// How the replies at some places are packed.
pub(super) struct Packing<'a> {
    places: &'a Places,
    bits: u32,
}

/// Bytes of a reply that carries `messages` messages.
pub fn packed_reply_len(params: &Params, messages: usize) -> usize {
    let bits = params.basis().modulus(0).bits();
    wire::packed_len(params.n(), bits) + wire::packed_len(messages, bits)
}

impl<'a> Packing<'a> {
    pub(super) fn new(params: &Params, places: &'a Places) -> Self {
        Self { places, bits: params.basis().modulus(0).bits() }
    }

    fn whole(&self) -> usize {
        wire::packed_len(self.places.n(), self.bits)
    }

    fn len(&self, i: usize) -> usize {
        self.whole() + wire::packed_len(self.places.count(i), self.bits)
    }

    /// # Errors
    /// [`Error::Decode`] for replies of other lengths.
    pub(super) fn check(&self, replies: &[&[u8]]) -> Result<()> {
        match replies.iter().enumerate().find(|(i, reply)| reply.len() != self.len(*i)) {
            Some((i, reply)) => {
                Err(Error::Decode(format!("reply {i} has {} bytes, expected {}", reply.len(), self.len(i))))
            }
            None => Ok(()),
        }
    }

    pub(super) fn pack(&self, i: usize, c0: &[u64], c1: &[u64]) -> Vec<u8> {
        let mut used = vec![0; self.places.count(i)];
        self.places.pick(i, c0, &mut used);
        let mut bytes = Vec::with_capacity(self.len(i));
        wire::pack(c1, self.bits, &mut bytes);
        wire::pack(&used, self.bits, &mut bytes);
        bytes
    }

    /// Of a reply that was checked.
    pub(super) fn unpack(&self, i: usize, reply: &[u8], c0: &mut [u64], c1: &mut [u64]) {
        let (whole, rest) = reply.split_at(self.whole());
        wire::unpack_into(whole, self.bits, c1);
        let mut used = vec![0; self.places.count(i)];
        wire::unpack_into(rest, self.bits, &mut used);
        self.places.put(i, &used, c0);
    }

    /// The messages of reply `i` among its coefficients.
    pub(super) fn pick(&self, i: usize, poly: &[u32]) -> Zeroizing<Vec<u32>> {
        let mut picked = Zeroizing::new(vec![0; self.places.count(i)]);
        self.places.pick(i, poly, &mut picked);
        picked
    }
}
