//! Comparisons of shared values: which of them are not negative, and which are not below public thresholds.
//!
//! Layers call [`Compare`] and don't know which comparison it is; the outcomes stay shared.
//!
//! | module | what | needs |
//! |---|---|---|
//! | [`garbled`] | sign bits by garbled circuits | [`Peer::gates`] |
//! | [`transfers`] | all by random transfers, in a few dozen bytes | |
//! | `words` | how values of either ring enter circuits | |
//!
//! **Values.** With `Ring::Pow2(k)` values have k bits, |x| < 2^(k - 1), and are shared mod 2^32, of which the low k
//! bits count; with `Ring::Prime(p)` they are any residues, read as signed, and shared mod p.

pub mod garbled;
pub mod transfers;
pub(crate) mod words;

pub use garbled::Garbled;
pub use transfers::Transfers;

use blindvox_net::channel::Party;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::peer::Peer;
use crate::select::{self, select};
use crate::share::{BitShares, Ring, Shares};
use crate::traffic::Bytes;

/// A way to compare. Both parties call the same with shares of the same values.
pub trait Compare: Send {
    /// Shares of \[x >= 0\] for each value.
    ///
    /// # Errors
    /// [`Error::Model`] for a ring that can't be compared in, or what the peer was not set up for; the peer's and the
    /// channel's.
    fn signs(&mut self, peer: &mut Peer, x: &[u32], ring: Ring) -> Result<BitShares>;

    /// Bytes of [`Self::signs`] of `n` values, at a block width of transfers.
    fn bytes(&self, n: usize, ring: Ring, width: usize) -> Bytes;

    /// Shares of \[x >= t\] for each value, one set for each of the public thresholds t; x - t must be in the range of
    /// `ring` too. All are compared at once.
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

    /// Shares in `ring` of d·x, from shares of the bits d and of x in `ring`.
    ///
    /// # Errors
    /// The peer's and the channel's.
    fn select(&mut self, peer: &mut Peer, bits: &BitShares, x: &[u32], ring: Ring) -> Result<Shares> {
        select(peer, bits, x, ring)
    }

    /// Bytes of [`Self::select`] of `n` values, at a block width of transfers.
    fn select_bytes(&self, n: usize, ring: Ring, width: usize) -> Bytes {
        select::bytes(n, ring, width)
    }

    /// Bytes of [`Self::relu`] of `n` values, at a block width of transfers.
    fn relu_bytes(&self, n: usize, ring: Ring, width: usize) -> Bytes {
        self.bytes(n, ring, width) + self.select_bytes(n, shares(ring), width)
    }

    /// Bytes of [`Self::and`] of `n` words of `bits` bits, at a block width of transfers.
    fn and_bytes(&self, n: usize, bits: u32, width: usize) -> Bytes {
        let _ = (n, bits, width);
        Bytes::default()
    }

    /// Shares of max(x, 0): what [`crate::nonlinear::relu::relu`] gives.
    ///
    /// # Errors
    /// As of [`Self::signs`].
    fn relu(&mut self, peer: &mut Peer, x: &[u32], ring: Ring) -> Result<Shares> {
        let d = self.signs(peer, x, ring)?;
        self.select(peer, &d, x, shares(ring))
    }

    /// Whether [`Self::relu`] mod 2^k is right for shares of which the low k bits alone are.
    fn reads_low_bits(&self) -> bool {
        false
    }

    /// Whether [`Self::and`] is there; indices are found by circuits otherwise.
    fn ands_words(&self) -> bool {
        false
    }

    /// Shares of the words, of `bits` <= 8 bits, where the bits d are 1, and of zeros elsewhere.
    ///
    /// # Errors
    /// [`Error::Model`] where it is not there; the peer's and the channel's.
    fn and(&mut self, peer: &mut Peer, d: &BitShares, words: &[u8], bits: u32) -> Result<Zeroizing<Vec<u8>>> {
        let _ = (peer, d, words, bits);
        Err(Error::Model("this comparison selects no words".to_owned()))
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
