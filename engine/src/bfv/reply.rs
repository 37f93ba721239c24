//! Replies that are private for the circuit: the key's holder learns the masked message and nothing of the factors.
//!
//! The client knows c1 of what it sent, so c1 * w in the clear would give the factor w away, and so would noise that
//! grows with w. In order:
//!
//! 1. A fresh encryption of zero under the public key, (u b + e1, u a + e2) with u ternary, makes c1 uniform to
//!    anyone who does not know u, the key's holder included.
//! 2. The message (a mask, and what is to be added) joins **on the whole basis**. The phase is then Q (M + r) / t + e
//!    with M + r known to the client anyway. Were the mask added after step 3 as round(q0 r / t), the fractional part
//!    of q0 M / t would move the noise by up to a unit, and flooding hides a whole unit only to 2/3 * 2^-bits.
//! 3. Switching to the first prime divides the noise that depends on w by the dropped primes, to some small delta < 1:
//!    it moves a rounded coefficient, by one, with a probability of 2 delta; what rounding adds besides depends on the
//!    uniform c1 alone.
//! 4. Flooding hides a move by one to 2/3 * 2^-bits ([`noise::distance`](super::noise::distance) has the exact
//!    constants).

use std::ops::Range;

use zeroize::Zeroizing;

use super::encoding::Encoder;
use super::items::rows;
use super::keys::PublicKey;
use super::packing::Packing;
use crate::chain::{Chain, Each, Item};
use crate::error::{Error, Result};
use crate::poly::{Coeff, PolyBatch, Scatter};
use crate::prng::Prng;
use crate::ring::sampler;
use crate::rlwe::Ciphertexts;

/// How replies are flooded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyParams {
    /// Width of the uniforms in [`sampler::flood`], 1..=16; none only to show in tests what flooding hides.
    pub flood_bits: Option<u32>,
}

/// Some of the products, numbered from 0.
#[derive(Clone)]
pub struct Products<'a> {
    /// All of them.
    pub all: &'a Ciphertexts,
    /// Those that are replied with.
    pub range: Range<usize>,
}

/// Ciphertexts on the first prime, `[batch, n]` each half, coefficient domain.
pub struct Reply {
    /// The halves that hold the messages.
    pub c0: PolyBatch<Coeff>,
    /// The halves that multiply the secret key.
    pub c1: PolyBatch<Coeff>,
}

impl PublicKey {
    /// Turns products into replies that carry `product + messages`, `messages` `[batch, n]` in `[0, t)`.
    pub fn reply(&self, products: &Ciphertexts, messages: &[u32], how: ReplyParams, prng: &mut Prng) -> Result<Reply> {
        let (batch, n) = (products.c0.batch(), self.params().n());
        if messages.len() != batch * n {
            return Err(Error::Shape(format!("{} messages for {batch} products", messages.len())));
        }
        let message = |i: usize, m: &mut [u32]| m.copy_from_slice(&messages[i * n..][..n]);
        let take = |_: usize, c0: &[u64], c1: &[u64], _: &[u32]| Ok((c0.to_vec(), c1.to_vec()));
        let (c0, c1): (Vec<_>, Vec<_>) =
            self.reply_each(Products { all: products, range: 0..batch }, how, prng, message, take)?.into_iter().unzip();
        let first = self.params().basis().level(1)?;
        let upload = |half: Vec<Vec<u64>>| PolyBatch::upload(self.device(), &first, &half.concat());
        Ok(Reply { c0: upload(c0)?, c1: upload(c1)? })
    }

    /// Replies that carry the products plus masks, uniform in `[0, t)`, at `masks.places`, packed: all of c1, and c0 at
    /// these places. The masks are left at their elements.
    ///
    /// # Errors
    /// [`Error::Shape`] for places or values of other sizes than the products.
    pub fn reply_packed(
        &self,
        products: Products<'_>,
        how: ReplyParams,
        prng: &mut Prng,
        masks: Scatter<'_>,
    ) -> Result<Vec<Vec<u8>>> {
        masks.check(self.params().n(), products.range.len())?;
        let Scatter { places, values } = masks;
        let (packing, series, plain) = (Packing::new(self.params(), places), prng.series(), self.params().plain());
        let mask = |i: usize, poly: &mut [u32]| {
            let mut fresh = Zeroizing::new(vec![0; places.count(i)]);
            fill_messages(&mut series.at(i), plain, &mut fresh);
            places.put(i, &fresh, poly);
        };
        let take =
            |i: usize, c0: &[u64], c1: &[u64], mask: &[u32]| Ok((packing.pack(i, c0, c1), packing.pick(i, mask)));
        let (packed, picked): (Vec<_>, Vec<_>) = self.reply_each(products, how, prng, mask, take)?.into_iter().unzip();
        picked.iter().enumerate().for_each(|(i, mask)| places.spread(i, mask, values));
        Ok(packed)
    }

    /// `message(i, m)` writes what reply i carries besides its product over n zeros, in `[0, t)`, and
    /// `take(i, c0, c1, m)` is given the reply on the first prime, coefficients, and that message again.
    fn reply_each<T: Send>(
        &self,
        products: Products<'_>,
        how: ReplyParams,
        prng: &mut Prng,
        message: impl Fn(usize, &mut [u32]) + Sync,
        take: impl Fn(usize, &[u64], &[u64], &[u32]) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let Products { all, range } = products;
        let basis = self.params().basis();
        let (encoder, series, ones) = (Encoder::new(basis, self.params().plain()), prng.series(), vec![1; basis.len()]);
        let mut chain = Chain::new(basis);
        let [u, noise0, noise1, text, flood, _] = std::array::from_fn(|_| chain.small());
        let (c0, c1) = (chain.item_of(&all.c0, range.start), chain.item_of(&all.c1, range.start));
        // The order is the argument: see above.
        let u = chain.lift(u);
        let u = chain.forward(u);
        chain.mul_add(&c0, &u, &self.key.b);
        chain.mul_add(&c1, &u, &self.key.a);
        let c0 = chain.inverse(c0);
        chain.add_lifted(&c0, noise0, &ones);
        chain.add_lifted(&c0, text, encoder.scale());
        let c1 = chain.inverse(c1);
        chain.add_lifted(&c1, noise1, &ones);
        chain.mod_down_to_first(&c0);
        chain.mod_down_to_first(&c1);
        if how.flood_bits.is_some() {
            chain.add_lifted(&c0, flood, &ones);
        }
        chain.output(c0);
        chain.output(c1);
        // Each kind of each reply has a generator of its own.
        let prepare = |item: Item<'_>| {
            let i = item.number;
            let [u, noise0, noise1, text, flood, words] = rows(item.small);
            sampler::fill_ternary(&mut series.at(4 * i), u);
            sampler::fill_noise(&mut series.at(4 * i + 1), noise0);
            sampler::fill_noise(&mut series.at(4 * i + 2), noise1);
            if let Some(bits) = how.flood_bits {
                sampler::fill_flood(&mut series.at(4 * i + 3), flood, bits);
            }
            let words: &mut [u32] = bytemuck::cast_slice_mut(words);
            words.fill(0);
            message(i, words);
            encoder.fill_signed(words, text);
            Ok(())
        };
        let finish = |item: Item<'_>, outputs: &[&[u64]]| {
            let [.., words] = rows::<6>(item.small);
            take(item.number, outputs[0], outputs[1], bytemuck::cast_slice(words))
        };
        chain.run(self.device(), range.len(), &Each::new(prepare, finish))
    }
}

/// Fills `out` with uniform messages in `[0, plain)`.
fn fill_messages(prng: &mut Prng, plain: u64, out: &mut [u32]) {
    match u32::try_from(plain) {
        Ok(plain) => sampler::fill_residues(prng, plain, out),
        Err(_) => prng.fill_bytes(bytemuck::cast_slice_mut(out)),
    }
}
