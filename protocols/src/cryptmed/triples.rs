//! Products mod 2^32 of shared words by triples of the dealer's.

use zeroize::Zeroizing;

use super::end::{End, to_bytes, to_words};
use super::streams::{Part, Streams, Words};
use crate::error::{Error, Result};

/// Shares of factors a, b and of a·b mod 2^32; good for one use.
pub struct RingTriples {
    factors: [Words; 2],
    products: Words,
}

impl RingTriples {
    fn factors(count: usize, item: usize, streams: &Streams) -> [Words; 2] {
        [streams.draw(item, Part::Factor, count), streams.draw(item, Part::Mask, count)]
    }

    /// The client's: all from its seed.
    pub fn client(count: usize, item: usize, streams: &Streams) -> Self {
        let products = streams.draw(item, Part::Product, count);
        Self { factors: Self::factors(count, item, streams), products }
    }

    /// The server's: factors from its seed, products from the dealer.
    ///
    /// # Errors
    /// [`Error::Protocol`] for a message of another length.
    pub fn server(count: usize, item: usize, streams: &Streams, message: &[u8]) -> Result<Self> {
        let products = Zeroizing::new(to_words(message)?);
        if products.len() != count {
            return Err(Error::protocol(format!("{} products where {count} were expected", products.len())));
        }
        Ok(Self { factors: Self::factors(count, item, streams), products })
    }

    /// The dealer's message.
    pub fn deal(count: usize, item: usize, client: &Streams, server: &Streams) -> Vec<u8> {
        let theirs = Self::client(count, item, client);
        let ours = Self::factors(count, item, server);
        let product = |i: usize| {
            let factor = |f: usize| theirs.factors[f][i].wrapping_add(ours[f][i]);
            factor(0).wrapping_mul(factor(1)).wrapping_sub(theirs.products[i])
        };
        to_bytes(&Zeroizing::new((0..count).map(product).collect::<Vec<_>>()))
    }
}

/// Shares of x·y: both are opened under the triples' factors, a flight of 8 bytes each way.
///
/// # Errors
/// The peer's and the channel's.
pub fn multiply(end: &mut End, triples: &RingTriples, x: &[u32], y: &[u32]) -> Result<Words> {
    let n = x.len();
    if [n, y.len()] != [triples.products.len(); 2] {
        return Err(Error::Model(format!("{n} products, triples for {}", triples.products.len())));
    }
    let masked = |x: &[u32], a: &[u32]| x.iter().zip(a).map(|(x, a)| x.wrapping_sub(*a)).collect::<Vec<_>>();
    let [a, b] = &triples.factors;
    let mine = [masked(x, a), masked(y, b)].concat();
    let theirs = to_words(&end.exchange(to_bytes(&mine))?)?;
    let opened: Vec<u32> = mine.iter().zip(theirs).map(|(m, t)| m.wrapping_add(t)).collect();
    #[cfg(test)]
    end.opened.extend(to_bytes(&opened));
    let first = u32::from(end.first());
    let product = |i: usize| {
        let (d, e) = (opened[i], opened[n + i]);
        let cross = d.wrapping_mul(b[i]).wrapping_add(e.wrapping_mul(a[i]));
        triples.products[i].wrapping_add(cross).wrapping_add(first.wrapping_mul(d.wrapping_mul(e)))
    };
    Ok(Zeroizing::new((0..n).map(product).collect()))
}
