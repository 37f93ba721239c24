//! One party's shares of factors and their product, column by column.
//!
//! Columns are vectors of residues mod [`P`], one item an element: the factors, then the product of the first and the
//! last of them. A square pair has the columns (a, a^2), a triple (a, b, a·b).

use std::fmt;
use std::ops::Range;

use blindvox_engine::prng::Prng;
use blindvox_engine::ring::sampler::fill_residues;
use blindvox_engine::simd::wide;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Correlations, Kind};
use crate::error::{Error, Result};
use crate::link::Link;
use crate::share::{P, mul_mod_p};

/// One party's shares mod [`P`] of square pairs: a uniform a, and a^2. Each is good for one use.
///
/// ```
/// # use blindvox_protocols::{Result, peer::Peer, share::Shares, nonlinear::square::square};
/// # use blindvox_protocols::correlations::SquarePairs;
/// fn once(pairs: SquarePairs, x: Shares, peer: &mut Peer) -> Result<Shares> {
///     square(peer, pairs, x, 8)
/// }
/// ```
///
/// Squaring with the same pairs again does not compile:
///
/// ```compile_fail,E0382
/// # use blindvox_protocols::{Result, peer::Peer, share::Shares, nonlinear::square::square};
/// # use blindvox_protocols::correlations::SquarePairs;
/// fn twice(pairs: SquarePairs, x: Shares, peer: &mut Peer) -> Result<Shares> {
///     let y = square(peer, pairs, x, 8)?;
///     square(peer, pairs, y, 8)
/// }
/// ```
pub type SquarePairs = Correlated<2>;

/// One party's shares mod [`P`] of Beaver triples: uniform a and b, and c = a·b. Each is good for one use.
///
/// Multiplying with the same triples again does not compile:
///
/// ```compile_fail,E0382
/// # use blindvox_protocols::{Result, peer::Peer, share::Shares, nonlinear::multiply::multiply};
/// # use blindvox_protocols::correlations::BeaverTriples;
/// fn twice(triples: BeaverTriples, x: Shares, peer: &mut Peer) -> Result<Shares> {
///     let y = multiply(peer, triples, x.clone(), x)?;
///     multiply(peer, triples, y.clone(), y)
/// }
/// ```
pub type BeaverTriples = Correlated<3>;

/// What [`SquarePairs`] and [`BeaverTriples`] have in common. Neither printed nor cloned.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Correlated<const COLUMNS: usize> {
    columns: [Vec<u32>; COLUMNS],
}

impl<const COLUMNS: usize> Correlated<COLUMNS> {
    /// The alias, for messages.
    const NAME: &str = match COLUMNS {
        2 => "SquarePairs",
        3 => "BeaverTriples",
        _ => panic!("pairs or triples"),
    };

    /// Independent factors that both come into the product: 1 where it is a square.
    pub(super) const FACTORS: usize = COLUMNS - 1;

    /// From shares mod [`P`] of the factors and of the product.
    ///
    /// # Panics
    /// Where the lengths differ.
    pub(crate) fn new(columns: [Vec<u32>; COLUMNS]) -> Self {
        assert!(columns.iter().all(|c| c.len() == columns[0].len()), "a product for each factor");
        Self { columns }
    }

    /// Uniform factors, with the products of these very values.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn draw(prng: &mut Prng, count: usize) -> Self {
        let mut drawn = Self::default();
        drawn.make_room(count);
        drawn.redraw(prng, 0..count);
        drawn
    }

    /// Puts uniform factors, with the products of these very values, in the place of some.
    pub(super) fn redraw(&mut self, prng: &mut Prng, at: Range<usize>) {
        let (factors, product) = self.columns.split_at_mut(Self::FACTORS);
        let mut factors: Vec<&mut [u32]> = factors.iter_mut().map(|f| &mut f[at.clone()]).collect();
        factors.iter_mut().for_each(|f| fill_residues(prng, P, f));
        let (first, last) = (&*factors[0], &*factors[Self::FACTORS - 1]);
        let products = product[0][at].iter_mut().zip(first.iter().zip(last));
        wide(|| products.for_each(|(c, (&a, &b))| *c = mul_mod_p(a, b)));
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.columns[0].len()
    }

    /// True where none is left.
    pub fn is_empty(&self) -> bool {
        self.columns[0].is_empty()
    }

    /// Takes out `count`; both parties get matching ones as long as both take alike.
    ///
    /// # Errors
    /// [`Error::Model`] where fewer are left.
    pub fn take(&mut self, count: usize) -> Result<Self> {
        let Some(rest) = self.len().checked_sub(count) else {
            return Err(Error::Model(format!("{count} {} wanted, {} left", Self::NAME, self.len())));
        };
        if rest < count {
            let kept = Self::new(self.columns.each_ref().map(|share| share[..rest].to_vec()));
            // The larger part stays where it is.
            let mut taken = std::mem::replace(self, kept);
            for share in &mut taken.columns {
                share.copy_within(rest.., 0);
                shorten(share, count);
            }
            return Ok(taken);
        }
        let taken = Self::new(self.columns.each_ref().map(|share| share[rest..].to_vec()));
        for share in &mut self.columns {
            shorten(share, rest);
        }
        Ok(taken)
    }

    /// Adds `count` zeros at the end, to be filled.
    pub(super) fn make_room(&mut self, count: usize) {
        let len = self.len() + count;
        for share in &mut self.columns {
            // Growing in place would leave a copy of the shares behind.
            let mut longer = vec![0; len];
            longer[..share.len()].copy_from_slice(share);
            std::mem::replace(share, longer).zeroize();
        }
    }

    /// The shares, factors first: secret, and spent by who computes with them.
    pub fn shares(&self) -> [&[u32]; COLUMNS] {
        self.columns.each_ref().map(Vec::as_slice)
    }

    /// The shares of the product.
    pub(super) fn product_mut(&mut self) -> &mut [u32] {
        &mut self.columns[Self::FACTORS]
    }
}

/// Pairs that were made before, as a source.
impl Correlations for SquarePairs {
    fn offers(&self, kind: Kind) -> bool {
        kind == Kind::SquarePairs
    }

    fn square_pairs(&mut self, _link: &mut Link, count: usize) -> Result<SquarePairs> {
        self.take(count)
    }
}

impl<const COLUMNS: usize> Default for Correlated<COLUMNS> {
    fn default() -> Self {
        Self { columns: std::array::from_fn(|_| Vec::new()) }
    }
}

impl<const COLUMNS: usize> fmt::Debug for Correlated<COLUMNS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({} left)", Self::NAME, self.len())
    }
}

/// Truncates, zeroizing what is cut off.
fn shorten(share: &mut Vec<u32>, len: usize) {
    share[len..].zeroize();
    share.truncate(len);
}

#[cfg(test)]
pub(super) mod tests {
    use blindvox_net::channel::Party;

    use super::*;
    use crate::share::Ring;

    /// Asserts that each opened product is that of the first and the last factor.
    pub(in super::super) fn assert_products<const C: usize>(client: &Correlated<C>, server: &Correlated<C>) {
        let ring = Ring::Prime(P);
        let shares = client.shares().into_iter().zip(server.shares());
        let opened: Vec<Vec<u32>> =
            shares.map(|(c, s)| c.iter().zip(s).map(|(&c, &s)| ring.add(c, s)).collect()).collect();
        let (first, last, product) = (&opened[0], &opened[C - 2], &opened[C - 1]);
        assert_eq!((client.len(), product.len()), (server.len(), client.len()));
        assert!((0..product.len()).all(|i| ring.mul(first[i], last[i]) == product[i]));
    }

    /// Of a thousand that `deal` gives a party.
    pub(in super::super) fn are_products_and_are_spent<const C: usize>(deal: impl Fn(Party) -> Correlated<C>) {
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
    fn shares_are_not_printed() {
        let pairs = SquarePairs::new([vec![77_777], vec![88_888]]);
        assert_eq!(format!("{pairs:?}"), "SquarePairs(1 left)");
        let triples = BeaverTriples::new([vec![77_777], vec![88_888], vec![99_999]]);
        assert_eq!(format!("{triples:?}"), "BeaverTriples(1 left)");
    }
}
