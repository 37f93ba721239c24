//! Correlated randomness made before the input is known.
//!
//! | module | what |
//! |---|---|
//! | [`products`] | square pairs and Beaver triples, good for one use each |
//! | [`he`] | both by homomorphic encryption between the two parties |
//! | `for_tests` | a dealer that both parties play, with feature `testing` |
//!
//! Layers ask their [`Peer`](crate::peer::Peer) for what they need and don't know which source it has. What a source
//! gives is spent by who takes it: protocols take it by value.

#[cfg(any(test, feature = "testing"))]
mod for_tests;
pub mod he;
pub mod products;

#[cfg(any(test, feature = "testing"))]
pub use for_tests::Dealer;
pub use he::HeSource;
pub use products::{BeaverTriples, Correlated, SquarePairs};

use std::fmt;

use crate::error::{Error, Result};
use crate::link::Link;

/// What sources can offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// [`SquarePairs`].
    SquarePairs,
    /// [`BeaverTriples`].
    Triples,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SquarePairs => "square pairs",
            Self::Triples => "Beaver triples",
        })
    }
}

/// A source of correlated randomness. Both parties ask for the same amounts in the same order; what a source does not
/// offer it need not define. Debug output says what is in stock and nothing secret.
pub trait Correlations: fmt::Debug + Send {
    /// Whether there are such: asked before a run, so that none stops midway.
    fn offers(&self, kind: Kind) -> bool;

    /// `count` fresh square pairs.
    ///
    /// # Errors
    /// [`Error::Model`] where they are not offered; the peer's and the channel's.
    fn square_pairs(&mut self, link: &mut Link, count: usize) -> Result<SquarePairs> {
        let _ = link;
        Err(lacks(self, Kind::SquarePairs, count))
    }

    /// `count` fresh Beaver triples.
    ///
    /// # Errors
    /// [`Error::Model`] where they are not offered; the peer's and the channel's.
    fn triples(&mut self, link: &mut Link, count: usize) -> Result<BeaverTriples> {
        let _ = link;
        Err(lacks(self, Kind::Triples, count))
    }
}

fn lacks<S: Correlations + ?Sized>(source: &S, kind: Kind, count: usize) -> Error {
    Error::Model(format!("{count} {kind} wanted of a source without: {source:?}"))
}

/// A source that offers nothing.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

impl Correlations for Nothing {
    fn offers(&self, _kind: Kind) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::run_both;

    #[test]
    fn sources_say_what_they_offer() {
        let all = [Kind::SquarePairs, Kind::Triples];
        let stock = SquarePairs::default();
        let offers = |source: &dyn Correlations| all.map(|kind| source.offers(kind));
        assert_eq!(offers(&Nothing), [false, false]);
        assert_eq!(offers(&stock), [true, false]);
        run_both(|peer| {
            // Nobody set up a source.
            assert_eq!(offers(&*peer.source), [false, false]);
            for (source, name) in [
                (Box::new(Nothing) as Box<dyn Correlations>, "Nothing"),
                (Box::new(SquarePairs::default()), "SquarePairs(0 left)"),
            ] {
                peer.source = source;
                let text = peer.triples(3).unwrap_err().to_string();
                assert_eq!(text, format!("model: 3 Beaver triples wanted of a source without: {name}"));
                assert!(peer.square_pairs(3).is_err());
                // It is still there.
                assert_eq!(format!("{:?}", peer.source), name);
            }
        });
    }
}
