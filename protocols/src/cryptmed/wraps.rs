//! Truncation of shares mod 2^32 by s bits: both parties take s bits off their shares, and whether the rest wraps around
//! 2^(32 - s), an OR of a bit of each, comes from a shared product alpha·beta.
//!
//! | # | from -> to | content | bits an element |
//! |---|---|---|---|
//! | 1 | C <-> S | top bit ^ alpha, top bit ^ beta | 1 each way |
//!
//! The result is floor(x / 2^s) or one more, for -2^30 <= x < 2^30 - 2^s.

use zeroize::Zeroizing;

use super::end::End;
use super::lanes::{self, LANES, Plane, Reader, WORDS, Writer, ZERO, blocks, xor};
use super::opening::open_planes;
use super::streams::{Part, Streams, Words};
use crate::error::Result;

/// One party's bit (alpha is the client's, beta the server's) and its share of their product, of which the low s bits
/// count. Good for one use.
pub struct Wraps {
    elements: usize,
    bits: Words,
    products: Words,
}

/// Bytes of the dealer's message.
pub fn dealt_bytes(elements: usize, shift: u32) -> usize {
    lanes::bytes(shift as usize, elements)
}

impl Wraps {
    /// The client's: all from its seed.
    pub fn client(elements: usize, item: usize, streams: &Streams) -> Self {
        let bits = streams.draw(item, Part::Free, blocks(elements) * WORDS);
        Self { elements, bits, products: streams.draw(item, Part::Columns, elements) }
    }

    /// The server's: its bits from its seed, its shares from the dealer.
    ///
    /// # Errors
    /// [`crate::Error::Protocol`] for a message of another length.
    pub fn server(elements: usize, shift: u32, item: usize, streams: &Streams, message: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(message, dealt_bytes(elements, shift))?;
        let products = Zeroizing::new((0..elements).map(|_| reader.word(shift)).collect());
        Ok(Self { elements, bits: streams.draw(item, Part::Free, blocks(elements) * WORDS), products })
    }

    /// The dealer's message.
    pub fn deal(elements: usize, shift: u32, item: usize, client: &Streams, server: &Streams) -> Vec<u8> {
        let theirs = Self::client(elements, item, client);
        let beta = server.draw(item, Part::Free, blocks(elements) * WORDS);
        let mut writer = Writer::new(dealt_bytes(elements, shift) + 8);
        for (i, share) in theirs.products.iter().enumerate() {
            let both = (theirs.bits[i / 32] & beta[i / 32]) >> (i % 32) & 1;
            writer.word(both.wrapping_sub(*share), shift);
        }
        writer.finish()
    }
}

/// x / 2^shift.
///
/// # Errors
/// The peer's and the channel's.
pub fn truncate(end: &mut End, wraps: &Wraps, x: &[u32], shift: u32) -> Result<Words> {
    let first = end.first();
    let k = 32 - shift;
    let mask = (1u32 << k) - 1;
    let half = 1u32 << (k - 2);
    let added = if first { half + 1 } else { 0 };
    let y: Words = Zeroizing::new(x.iter().map(|x| (x >> shift).wrapping_add(added) & mask).collect());
    let mut mine = vec![ZERO; blocks(y.len())];
    for (i, y) in y.iter().enumerate() {
        mine[i / LANES][i % LANES / 32] |= (y >> (k - 1)) << (i % 32);
    }
    let bits: Vec<Plane> = wraps.bits.chunks_exact(WORDS).map(|w| w.try_into().expect("a plane")).collect();
    let mine: Vec<Plane> = mine.iter().zip(&bits).map(|(m, b)| xor(m, b)).collect();
    let opened = open_planes(end, &mine, 1, wraps.elements)?;
    let at = |planes: &[Plane], i: usize| planes[i / LANES][i % LANES / 32] >> (i % 32) & 1;
    let result = |(i, y): (usize, &u32)| {
        // Of both parties: what was opened is the xor of both; each knows its own.
        let (own, theirs) = (at(&mine, i), at(&opened, i) ^ at(&mine, i));
        let sign = |bit: u32| 1u32.wrapping_sub(2 * bit);
        let bit = at(&bits, i);
        // (own + s·bit)·(theirs + s'·bit') less what the peer adds.
        let mut both = sign(own).wrapping_mul(sign(theirs)).wrapping_mul(wraps.products[i]);
        both = both.wrapping_add(theirs.wrapping_mul(sign(own)).wrapping_mul(bit));
        if !first {
            both = both.wrapping_add(own & theirs);
        }
        let wrapped = (y >> (k - 1)).wrapping_sub(both);
        y.wrapping_sub(wrapped << k).wrapping_sub(if first { half } else { 0 })
    };
    Ok(Zeroizing::new(y.iter().enumerate().map(result).collect()))
}

/// Bytes each way.
pub fn bytes(elements: usize) -> usize {
    lanes::bytes(1, elements)
}

/// Both parties' shares of x in the clear: what [`truncate`] gives.
pub fn ideal(client: u32, server: u32, shift: u32) -> i64 {
    let x = client.wrapping_add(server) as i32;
    let low = |v: u32| v & ((1 << shift) - 1);
    // The client's part is rounded up, the server's down.
    let carry = u64::from(low(client)) + u64::from(low(server)) >= 1 << shift;
    i64::from(x >> shift) + i64::from(!carry)
}
