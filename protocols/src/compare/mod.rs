//! Comparisons of shared values: which of them are not negative, and which are not below public thresholds.
//!
//! Layers call [`Compare`] and don't know which comparison it is; the outcomes stay shared.
//!
//! | module | what | needs |
//! |---|---|---|
//! | [`garbled`] | sign bits by garbled circuits | [`Peer::gates`] |
//! | `words` | how values of either ring enter circuits | |
//!
//! **Values.** With `Ring::Pow2(k)` values have k bits, |x| < 2^(k - 1), and are shared mod 2^32, of which the low k bits count;
//! with `Ring::Prime(p)` they are any residues, read as signed, and shared mod p.

pub mod garbled;
pub(crate) mod words;

pub use garbled::Garbled;

use blindvox_net::channel::Party;

use crate::error::{Error, Result};
use crate::peer::Peer;
use crate::share::{BitShares, Ring, Shares};
use crate::traffic::Bytes;

/// A way to compare. Both parties call the same with shares of the same values.
pub trait Compare: Send {
    /// Shares of \[x >= 0\] for each value.
    ///
    /// # Errors
    /// [`Error::Model`] for a ring that can't be compared in, or what the peer was not set up for; the peer's and the channel's.
    fn signs(&mut self, peer: &mut Peer, x: &[u32], ring: Ring) -> Result<BitShares>;

    /// Bytes of [`Self::signs`] of `n` values, at a block width of transfers.
    fn bytes(&self, n: usize, ring: Ring, width: usize) -> Bytes;

    /// Shares of \[x >= t\] for each value, one set for each of the public thresholds t; x - t must be in the range of `ring` too.
    /// All are compared at once.
    ///
    /// # Errors
    /// As of [`Self::signs`].
    fn thresholds(&mut self, peer: &mut Peer, x: &[u32], thresholds: &[i32], ring: Ring) -> Result<Vec<BitShares>> {
        let shared = shares(ring);
        let mut differences = Shares::with_capacity(x.len() * thresholds.len());
        for &t in thresholds {
            let t = if peer.party == Party::Server { shared.from_signed(i64::from(t)) } else { 0 };
            differences.extend_from_slice(&x.iter().map(|&x| shared.sub(x, t)).collect::<Shares>());
        }
        let signs = self.signs(peer, &differences, ring)?;
        if x.is_empty() {
            return Ok(thresholds.iter().map(|_| BitShares::default()).collect());
        }
        Ok(signs.split(x.len()))
    }
}

/// The ring that shares of such values add up in.
pub(crate) fn shares(ring: Ring) -> Ring {
    match ring {
        Ring::Pow2(_) => Ring::FULL,
        prime => prime,
    }
}

/// Refuses values below 2 and above `most` bits, which a circuit or the shares cannot hold.
pub(crate) fn check(what: &str, ring: Ring, most: u32) -> Result<()> {
    match ring {
        Ring::Pow2(bits) if (2..=most).contains(&bits) => Ok(()),
        Ring::Pow2(bits) => Err(Error::Model(format!("{what} of {bits} bits, possible are 2 to {most}"))),
        Ring::Prime(p) if p >= 3 && p % 2 == 1 => Ok(()),
        Ring::Prime(p) => Err(Error::Model(format!("{what} mod {p}, possible are odd primes"))),
    }
}

/// The ring that holds differences of two values: a bit more, or magnitudes below p/4 before.
pub(crate) fn of_differences(ring: Ring) -> Ring {
    match ring {
        Ring::Pow2(bits) => Ring::Pow2(32.min(bits + 1)),
        prime => prime,
    }
}

/// Whether the value is not below the threshold: what [`Compare::thresholds`] shares, for 0 also [`Compare::signs`].
pub fn ideal(x: i64, threshold: i32) -> bool {
    x >= i64::from(threshold)
}
