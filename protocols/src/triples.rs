//! Correlated randomness made before the input is known: square pairs.
//!
//! A square pair is a sharing mod [`P`] of a uniform a and of a^2. It hides one squared value and is then
//! spent: squaring takes it by value.

//!
//! Two sources give the same pairs: [`HeSquarePairs`] by homomorphic encryption, [`Dealer`] in tests.

mod he;

pub use he::HeSquarePairs;

use std::fmt;

use blindvox_engine::prng::{Prng, Seed};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::channel::{Channel, Party};
use crate::error::{Error, Result};
use crate::share::{P, Ring, mul_mod_p};

/// One party's shares of square pairs, each good for one use. Neither printed nor cloned.
///
/// ```
/// # use blindvox_protocols::{Result, channel::{Channel, Party}, nonlinear::square::square, ot::OtPair};
/// # use blindvox_protocols::triples::SquarePairs;
/// fn once(pairs: SquarePairs, x: Vec<u32>, channel: &mut Channel, ot: &mut OtPair) -> Result<Vec<u32>> {
///     square(Party::Client, channel, ot, pairs, x, 8)
/// }
/// ```
///
/// Squaring with the same pairs again does not compile:
///
/// ```compile_fail,E0382
/// # use blindvox_protocols::{Result, channel::{Channel, Party}, nonlinear::square::square, ot::OtPair};
/// # use blindvox_protocols::triples::SquarePairs;
/// fn twice(pairs: SquarePairs, x: Vec<u32>, channel: &mut Channel, ot: &mut OtPair) -> Result<Vec<u32>> {
///     let y = square(Party::Client, channel, ot, pairs, x, 8)?;
///     square(Party::Client, channel, ot, pairs, y, 8)
/// }
/// ```
#[derive(Default, Zeroize, ZeroizeOnDrop)]
pub struct SquarePairs {
    a: Vec<u32>,
    a2: Vec<u32>,
}

impl SquarePairs {
    /// From shares mod [`P`] of a and of a^2.
    ///
    /// # Panics
    /// Where the lengths differ.
    pub(crate) fn new(a: Vec<u32>, a2: Vec<u32>) -> Self {
        assert_eq!(a.len(), a2.len(), "a square for each a");
        Self { a, a2 }
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.a.len()
    }

    /// True where none is left.
    pub fn is_empty(&self) -> bool {
        self.a.is_empty()
    }

    /// Takes out `count` pairs; both parties get matching ones as long as both take alike.
    ///
    /// # Errors
    /// [`Error::Model`] where fewer are left.
    pub fn take(&mut self, count: usize) -> Result<Self> {
        let Some(rest) = self.len().checked_sub(count) else {
            return Err(Error::Model(format!("{count} square pairs wanted, {} left", self.len())));
        };
        if rest < count {
            let kept = Self { a: self.a[..rest].to_vec(), a2: self.a2[..rest].to_vec() };
            // The larger part stays where it is.
            let mut taken = std::mem::replace(self, kept);
            for share in [&mut taken.a, &mut taken.a2] {
                share.copy_within(rest.., 0);
                shorten(share, count);
            }
            return Ok(taken);
        }
        let taken = Self { a: self.a[rest..].to_vec(), a2: self.a2[rest..].to_vec() };
        for share in [&mut self.a, &mut self.a2] {
            shorten(share, rest);
        }
        Ok(taken)
    }

    /// None, with room for `count`.
    fn with_capacity(count: usize) -> Self {
        Self { a: Vec::with_capacity(count), a2: Vec::with_capacity(count) }
    }

    /// Adds pairs at the end. Room must have been made: growing would leave a copy of the shares behind.
    fn append(&mut self, other: Self) {
        self.a.extend_from_slice(&other.a);
        self.a2.extend_from_slice(&other.a2);
    }

    /// The shares of a and of a^2.
    pub(crate) fn shares(&self) -> (&[u32], &[u32]) {
        (&self.a, &self.a2)
    }
}

impl fmt::Debug for SquarePairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SquarePairs({} left)", self.len())
    }
}

/// A source of correlated randomness. Both parties ask for the same amounts in the same order.
pub trait Correlations {
    /// `count` fresh square pairs.
    ///
    /// # Errors
    /// The peer's and the channel's.
    fn square_pairs(&mut self, channel: &mut Channel, count: usize) -> Result<SquarePairs>;
}

/// A dealer that both parties play themselves from one seed: each could work out the other's shares, so it
/// is **for tests only**.
pub struct Dealer {
    party: Party,
    prng: Prng,
}

impl Dealer {
    /// This party's copy of the dealer; the peer needs the same seed.
    pub fn for_tests(party: Party, seed: Seed) -> Self {
        Self { party, prng: Prng::from_seed_for_tests(seed) }
    }
}

/// Truncates, zeroizing what is cut off.
fn shorten(share: &mut Vec<u32>, len: usize) {
    share[len..].zeroize();
    share.truncate(len);
}

/// `count` uniform residues mod [`P`]. A word at or above it, one in 4096, is drawn again.
fn uniform_residues(prng: &mut Prng, count: usize) -> Vec<u32> {
    let mut residues = Vec::with_capacity(count);
    while residues.len() < count {
        let words = Zeroizing::new(prng.fill::<u32>(count - residues.len()));
        residues.extend(words.iter().filter(|&&x| x < P));
    }
    residues
}

impl Correlations for Dealer {
    fn square_pairs(&mut self, _channel: &mut Channel, count: usize) -> Result<SquarePairs> {
        let [client, server, client2] = std::array::from_fn(|_| uniform_residues(&mut self.prng, count));
        if self.party == Party::Client {
            return Ok(SquarePairs::new(client, client2));
        }
        let ring = Ring::Prime(P);
        let server2 = (0..count).map(|i| {
            let a = ring.add(client[i], server[i]);
            ring.sub(mul_mod_p(a, a), client2[i])
        });
        let server2 = server2.collect();
        Ok(SquarePairs::new(server, server2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::local_pair;

    /// Asserts that each a2 is the square of its a.
    pub(crate) fn assert_square_pairs(client: &SquarePairs, server: &SquarePairs) {
        let ring = Ring::Prime(P);
        let open = |c: &[u32], s: &[u32]| c.iter().zip(s).map(|(&c, &s)| ring.add(c, s)).collect::<Vec<_>>();
        let (a, a2) = (open(&client.a, &server.a), open(&client.a2, &server.a2));
        assert!(a.iter().zip(&a2).all(|(&a, &a2)| ring.mul(a, a) == a2));
    }

    #[test]
    fn the_dealers_pairs_are_squares_and_are_spent() {
        let (mut channel, _peer) = local_pair();
        let mut deal = |party| Dealer::for_tests(party, [3; 32]).square_pairs(&mut channel, 1000).unwrap();
        let (mut client, mut server) = (deal(Party::Client), deal(Party::Server));
        assert_square_pairs(&client, &server);
        for (count, left) in [(0, 1000), (1, 999), (999, 0)] {
            let (c, s) = (client.take(count).unwrap(), server.take(count).unwrap());
            assert_square_pairs(&c, &s);
            assert_eq!((c.len(), client.len()), (count, left));
        }
        assert!(client.take(1).is_err() && client.is_empty());
    }

    #[test]
    fn shares_are_not_printed() {
        let pairs = SquarePairs::new(vec![77_777], vec![88_888]);
        assert_eq!(format!("{pairs:?}"), "SquarePairs(1 left)");
    }
}
