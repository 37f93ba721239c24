//! A dealer that both parties play themselves from one seed: each could work out the other's shares.

use std::fmt;

use blindvox_engine::prng::{Prng, Seed};
use blindvox_engine::ring::sampler::fill_residues;
use blindvox_net::channel::Party;
use zeroize::Zeroizing;

use super::{BeaverTriples, Correlated, Correlations, Kind, SquarePairs};
use crate::error::Result;
use crate::link::Link;
use crate::share::{P, Ring, mul_mod_p};

/// One party's copy of the dealer, **for tests only**.
pub struct Dealer {
    party: Party,
    prng: Prng,
}

impl Dealer {
    /// This party's copy of the dealer; the peer needs the same seed.
    pub fn for_tests(party: Party, seed: Seed) -> Self {
        Self { party, prng: Prng::from_seed_for_tests(seed) }
    }

    /// `count` fresh square pairs or triples.
    pub fn deal<const COLUMNS: usize>(&mut self, count: usize) -> Correlated<COLUMNS> {
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

impl fmt::Debug for Dealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dealer(..)")
    }
}

impl Correlations for Dealer {
    fn offers(&self, kind: Kind) -> bool {
        matches!(kind, Kind::SquarePairs | Kind::Triples)
    }

    fn square_pairs(&mut self, _link: &mut Link, count: usize) -> Result<SquarePairs> {
        Ok(self.deal(count))
    }

    fn triples(&mut self, _link: &mut Link, count: usize) -> Result<BeaverTriples> {
        Ok(self.deal(count))
    }
}

#[cfg(test)]
mod tests {
    use super::super::products::tests::are_products_and_are_spent;
    use super::*;

    #[test]
    fn the_dealers_products_hold_and_are_spent() {
        are_products_and_are_spent(|party| -> SquarePairs { Dealer::for_tests(party, [3; 32]).deal(1000) });
        are_products_and_are_spent(|party| {
            let triples: BeaverTriples = Dealer::for_tests(party, [3; 32]).deal(1000);
            let [a, b, _] = triples.shares();
            assert_ne!(a, b);
            triples
        });
    }
}
