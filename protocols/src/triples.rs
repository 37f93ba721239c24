//! Correlated randomness made before the input is known: square pairs and Beaver triples.
//!
//! A square pair is a sharing mod [`P`] of a uniform a and of a^2, a triple one of uniform a and b and of a·b. It
//! hides one squared value, or the two factors of one product, and is then spent: protocols take it by value.
//!
//! Two sources give the same: [`HeSource`] by homomorphic encryption, [`Dealer`] in tests.

mod correlated;
pub(crate) mod he;

pub use correlated::{BeaverTriples, Correlated, SquarePairs};
pub use he::HeSource;

use blindvox_engine::prng::{Prng, Seed};
use blindvox_engine::ring::sampler::fill_residues;
use blindvox_net::channel::{Channel, Party};
use zeroize::Zeroizing;

use crate::error::Result;
use crate::share::{P, Ring, mul_mod_p};

/// A source of correlated randomness. Both parties ask for the same amounts in the same order.
pub trait Correlations {
    /// `count` fresh square pairs.
    ///
    /// # Errors
    /// The peer's and the channel's.
    fn square_pairs(&mut self, channel: &mut Channel, count: usize) -> Result<SquarePairs>;

    /// `count` fresh Beaver triples.
    ///
    /// # Errors
    /// The peer's and the channel's.
    fn triples(&mut self, channel: &mut Channel, count: usize) -> Result<BeaverTriples>;
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

    fn deal<const COLUMNS: usize>(&mut self, count: usize) -> Correlated<COLUMNS> {
        let [mut client, mut server] = std::array::from_fn(|_| Correlated::draw(&mut self.prng, count));
        let mut product = Zeroizing::new(vec![0; count]);
        fill_residues(&mut self.prng, P, &mut product);
        if self.party == Party::Client {
            client.product_mut().copy_from_slice(&product);
            return client;
        }
        let ring = Ring::Prime(P);
        let open = |factor: usize, i: usize| ring.add(client.shares()[factor][i], server.shares()[factor][i]);
        let last = Correlated::<COLUMNS>::FACTORS - 1;
        let theirs = product.iter().enumerate();
        let mine = theirs.map(|(i, &p)| ring.sub(mul_mod_p(open(0, i), open(last, i)), p)).collect();
        let mine = Zeroizing::<Vec<u32>>::new(mine);
        server.product_mut().copy_from_slice(&mine);
        server
    }
}

impl Correlations for Dealer {
    fn square_pairs(&mut self, _channel: &mut Channel, count: usize) -> Result<SquarePairs> {
        Ok(self.deal(count))
    }

    fn triples(&mut self, _channel: &mut Channel, count: usize) -> Result<BeaverTriples> {
        Ok(self.deal(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blindvox_net::channel::local_pair;

    /// Asserts that each opened product is that of the first and the last factor.
    pub(crate) fn assert_products<const C: usize>(client: &Correlated<C>, server: &Correlated<C>) {
        let ring = Ring::Prime(P);
        let shares = client.shares().into_iter().zip(server.shares());
        let opened: Vec<Vec<u32>> =
            shares.map(|(c, s)| c.iter().zip(s).map(|(&c, &s)| ring.add(c, s)).collect()).collect();
        let (first, last, product) = (&opened[0], &opened[C - 2], &opened[C - 1]);
        assert_eq!((client.len(), product.len()), (server.len(), client.len()));
        assert!((0..product.len()).all(|i| ring.mul(first[i], last[i]) == product[i]));
    }

    fn are_products_and_are_spent<const C: usize>(deal: impl Fn(Party) -> Correlated<C>) {
        let (mut client, mut server) = (deal(Party::Client), deal(Party::Server));
        assert_products(&client, &server);
        for (count, left) in [(0, 1000), (1, 999), (300, 699), (699, 0)] {
            let (c, s) = (client.take(count).unwrap(), server.take(count).unwrap());
            assert_products(&c, &s);
            assert_products(&client, &server);
            assert_eq!((c.len(), client.len()), (count, left));
        }
        assert!(client.take(1).is_err() && client.is_empty());
    }

    #[test]
    fn the_dealers_products_hold_and_are_spent() {
        let dealer = |party| (Dealer::for_tests(party, [3; 32]), local_pair().0);
        are_products_and_are_spent(|party| {
            let (mut dealer, mut channel) = dealer(party);
            dealer.square_pairs(&mut channel, 1000).unwrap()
        });
        are_products_and_are_spent(|party| {
            let (mut dealer, mut channel) = dealer(party);
            let triples = dealer.triples(&mut channel, 1000).unwrap();
            let [a, b, _] = triples.shares();
            assert_ne!(a, b);
            triples
        });
    }

    #[test]
    fn shares_are_not_printed() {
        let pairs = SquarePairs::new([vec![77_777], vec![88_888]]);
        assert_eq!(format!("{pairs:?}"), "SquarePairs(1 left)");
        let triples = BeaverTriples::new([vec![77_777], vec![88_888], vec![99_999]]);
        assert_eq!(format!("{triples:?}"), "BeaverTriples(1 left)");
    }
}
