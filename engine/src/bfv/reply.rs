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

use zeroize::Zeroizing;

use super::encoding::Encoder;
use crate::error::{Error, Result};
use crate::poly_batch::{Coeff, PolyBatch};
use crate::prng::Prng;
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
        let Ciphertexts { mut c0, mut c1 } = products;
        let (batch, n, basis) = (c0.batch(), self.params().n(), self.params().basis().clone());
        if c0.basis() != &basis || messages.len() != batch * n {
            return Err(Error::Shape(format!("{} messages for {batch} products of n = {n}", messages.len())));
        }
        let ones = vec![1; basis.len()];
        let device = c0.device().clone();

        let u = Zeroizing::new(sampler::ternary(prng, batch * n));
        let u = PolyBatch::lift(&device, &basis, &u, &ones)?.into_ntt()?;
        c0.mul_add_assign(&u, &self.b)?;
        c1.mul_add_assign(&u, &self.a)?;
        let (mut c0, mut c1) = (c0.into_coeff()?, c1.into_coeff()?);
        c0.add_lifted(&Zeroizing::new(sampler::noise(prng, batch * n)), &ones)?;
        c1.add_lifted(&Zeroizing::new(sampler::noise(prng, batch * n)), &ones)?;

        let encoder = Encoder::new(&basis, self.params().plain());
        c0.add_lifted(&Zeroizing::new(encoder.signed(messages)), encoder.scale())?;

        while c0.basis().len() > 1 {
            c0 = c0.drop_last_limb()?;
            c1 = c1.drop_last_limb()?;
        }
        if let Some(bits) = how.flood_bits {
            c0.add_lifted(&Zeroizing::new(sampler::flood(prng, batch * n, bits)), &[1])?;
        }
        Ok(Reply { c0, c1 })
    }
}
