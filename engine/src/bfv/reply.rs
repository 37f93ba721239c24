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
//! 3. Switching to the first prime divides the noise that depends on w by the dropped primes, to some small delta < 1;
//!    what rounding adds depends on the uniform c1 alone.
//! 4. Flooding: moving a reply by delta changes its distribution by at most delta * 2/3 * 2^-bits a coefficient.

use std::ops::Range;

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::cipher::add_messages;
use crate::error::{Error, Result};
use crate::poly::{Coeff, PolyBatch};
use crate::prng::{Prng, PrngSeries};
use crate::ring::sampler;
use crate::rlwe::{Ciphertexts, PublicKey};

/// How replies are flooded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyParams {
    /// Width of the uniforms in [`sampler::flood`], 1..=16; none only to show in tests what flooding hides.
    pub flood_bits: Option<u32>,
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
    pub fn reply(&self, products: Ciphertexts, messages: &[u32], how: ReplyParams, prng: &mut Prng) -> Result<Reply> {
        let batch = self.check(&products)?;
        if messages.len() != batch * self.params().n() {
            return Err(Error::Shape(format!("{} messages for {batch} products", messages.len())));
        }
        let draws = Draws::new(&prng.series(), 0..batch, self.params().n(), how);
        self.randomise(products, messages, &draws)
    }

    pub(super) fn check(&self, products: &Ciphertexts) -> Result<usize> {
        let Ciphertexts { c0, c1 } = products;
        if c0.basis() != self.params().basis() || c0.batch() != c1.batch() {
            return Err(Error::Shape(format!("products of {} and {} polynomials", c0.batch(), c1.batch())));
        }
        Ok(c0.batch())
    }

    pub(super) fn randomise(&self, products: Ciphertexts, messages: &[u32], draws: &Draws) -> Result<Reply> {
        let Ciphertexts { mut c0, mut c1 } = products;
        let ones = vec![1; c0.basis().len()];

        let u = PolyBatch::<Coeff>::lift(c0.device(), c0.basis(), &draws.u, &ones)?;
        u.mul_add_into([&mut c0, &mut c1], [&self.b, &self.a])?;
        let (mut c0, mut c1) = (c0.into_coeff()?, c1.into_coeff()?);
        c0.add_lifted(&draws.noise0, &ones)?;
        c1.add_lifted(&draws.noise1, &ones)?;
        add_messages(&mut c0, messages, self.params().plain())?;

        while c0.basis().len() > 1 {
            let kept = c0.basis().len() - 1;
            (c0, c1) = (c0.mod_down(kept)?, c1.mod_down(kept)?);
        }
        if let Some(flood) = &draws.flood {
            c0.add_lifted(flood, &[1])?;
        }
        Ok(Reply { c0, c1 })
    }
}

/// What is drawn for a reply.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// The ephemeral secret u.
    Secret,
    /// The errors of both halves.
    Noise0,
    Noise1,
    /// Flooding of so many bits.
    Flood(u32),
}

impl Kind {
    /// Fills `out` with what belongs to reply `i`: each kind of each reply has a generator of its own.
    pub(super) fn fill(self, series: &PrngSeries, i: usize, out: &mut [i32]) {
        let prng = |kind| series.at(4 * i + kind);
        match self {
            Self::Secret => sampler::fill_ternary(&mut prng(0), out),
            Self::Noise0 => sampler::fill_noise(&mut prng(1), out),
            Self::Noise1 => sampler::fill_noise(&mut prng(2), out),
            Self::Flood(bits) => sampler::fill_flood(&mut prng(3), out, bits),
        }
    }
}

/// What makes replies private, `[batch, n]` each: the ephemeral secret, both noises, the flooding.
pub(super) struct Draws {
    u: Zeroizing<Vec<i32>>,
    noise0: Zeroizing<Vec<i32>>,
    noise1: Zeroizing<Vec<i32>>,
    flood: Option<Zeroizing<Vec<i32>>>,
}

impl Draws {
    /// Those of replies `range`.
    pub(super) fn new(series: &PrngSeries, range: Range<usize>, n: usize, how: ReplyParams) -> Self {
        let of = |kind: Kind| {
            let mut values = Zeroizing::new(vec![0; range.len() * n]);
            values.par_chunks_exact_mut(n).zip(range.clone()).for_each(|(values, i)| kind.fill(series, i, values));
            values
        };
        Self {
            u: of(Kind::Secret),
            noise0: of(Kind::Noise0),
            noise1: of(Kind::Noise1),
            flood: how.flood_bits.map(|bits| of(Kind::Flood(bits))),
        }
    }
}
