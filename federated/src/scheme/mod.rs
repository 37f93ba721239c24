//! How sums are hidden: [`Scheme`], and what implements it.
//!
//! | module | what |
//! |---|---|
//! | [`plain`] | not at all: the definition |
//! | [`rlwe`] | additive RLWE encryption under one-time keys, shared among holders |
//! | [`paillier`] | threshold Paillier under a dealer's key: keys, ciphertexts, answers |
//! | [`dealt`] | that as a scheme of rounds |

use blindvox_engine::Prng;
use zeroize::Zeroizing;

use crate::error::Result;

pub mod dealt;
pub mod paillier;
pub mod plain;
pub mod rlwe;

/// The numbers of an upload, each below 2^b: how many, and what writes those from the i-th on.
pub struct Fields<'a> {
    /// Numbers.
    pub len: usize,
    /// Writes numbers i, i + 1, ..
    pub fill: &'a (dyn Fn(usize, &mut [u32]) + Sync),
}

/// What a client sends.
pub struct Uploaded {
    /// Its encrypted numbers, [`Lengths::ciphertexts`] bytes.
    pub ciphertexts: Vec<u8>,
    /// For each point 1, 2, .. its share, [`Lengths::share`] bytes; none where nothing is shared.
    pub shares: Vec<Zeroizing<Vec<u8>>>,
}

/// Bytes of what a round's parties send. All are known before anything is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Of an upload, and of a sum.
    pub ciphertexts: usize,
    /// Of a share before it is sealed; 0 where nothing is shared.
    pub share: usize,
    /// Of what all holders get to answer.
    pub closed: usize,
    /// Of a holder's part.
    pub part: usize,
}

/// A way to hide sums that any t of h holders open. All of it is bytes; the round's messages carry them.
pub trait Scheme: Send + Sync {
    /// Bytes of what is sent.
    fn lengths(&self) -> Lengths;

    /// A client's numbers, encrypted.
    ///
    /// # Errors
    /// Those of the engine.
    fn upload(&self, fields: &Fields<'_>, prng: &mut Prng) -> Result<Uploaded>;

    /// Adds an upload's ciphertexts to a sum, which is empty before the first.
    ///
    /// # Errors
    /// [`Error::Message`](crate::Error::Message) or [`Error::Engine`](crate::Error::Engine) for bytes that are no
    /// ciphertexts; the sum is as it was.
    fn accumulate(&self, sum: &mut Vec<u8>, ciphertexts: &[u8]) -> Result<()>;

    /// What all holders get of a sum.
    ///
    /// # Errors
    /// Those of [`Self::accumulate`].
    fn close(&self, sum: &[u8]) -> Result<Vec<u8>>;

    /// The part of the holder at a point: from the shares that the clients of the sum have for it, or from what
    /// [`Self::close`] gave. Only a proof of it is drawn.
    ///
    /// # Errors
    /// [`Error::Message`](crate::Error::Message) for bytes that are neither.
    fn answer(&self, point: usize, shares: &[&[u8]], closed: &[u8], prng: &mut Prng) -> Result<Zeroizing<Vec<u8>>>;

    /// Checks what a part of the holder at a point proves of itself; nothing where parts have no proofs.
    ///
    /// # Errors
    /// [`Error::Message`](crate::Error::Message) where the proof does not hold.
    fn check(&self, _sum: &[u8], _point: usize, _part: &[u8]) -> Result<()> {
        Ok(())
    }

    /// Opens a sum of `uploads` by the parts of at least t holders, whose points are with them: `take(i, row)` is given the
    /// sums of numbers i, i + 1, .., in order.
    ///
    /// # Errors
    /// [`Error::Message`](crate::Error::Message) where no t parts fit the sum; what was taken is worth nothing then.
    fn combine(
        &self,
        sum: &[u8],
        uploads: usize,
        parts: &[(usize, &[u8])],
        take: &mut dyn FnMut(usize, &[u32]),
    ) -> Result<()>;
}
