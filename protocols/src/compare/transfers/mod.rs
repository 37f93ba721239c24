//! Comparisons from random transfers alone, a few dozen bytes each; selections and what follows ReLU too.
//!
//! A value x shared mod 2^k is negative where the shares' highest bits and the carry into them add up to 1, and the
//! carry is \[a > not b\] on k - 1 bits. Modulo a prime p, x is not negative where 2x mod p is even: the parities of
//! the doubled shares a, b and \[a > p - 1 - b\] tell. Words are compared digit by digit (`leaves`), the digits joined
//! by a tree of ANDs (`nodes`). All transfers are random ones, which either source makes ([`crate::ot`]), and are
//! corrected as they are used, so that flights are few.
//!
//! | # | from -> to | content | bits, k = 16, m = 3 | flight | phase |
//! |---|---|---|---|---|---|
//! | 0 | both ways | random transfers: 20 that the server sends, 6 that the client sends | the source's | 0 | online |
//! | 1 | client -> server | digits of not b, corrected | 15 | 1 | online |
//! | 2 | server -> client | tables: 7·2 a digit, 7 the lowest | 63 | 2 | online |
//! | 3 | both ways | ANDs of (g, e): 3 a pair, 2 where e is not needed | 9 each way | 3 to 5 | online |
//! | 4 | both ways | selection, mod 2^k | 17 each way | 6 | online |
//! | 5 | server -> client | widening to 2^32: corrections | 1 | 7 | online |
//! | 6 | client -> server | its words, mod 2^(32-k) | 16 | 7 | online |
//!
//! Rows 1 to 3 are a comparison, all a ReLU: 147 bits and 26 transfers. Digits have m = 3 bits on silent OT, where bits
//! count, and m = 4 on SoftSpoken, whose transfers are dear. Sections are packed to whole bytes for every 2^18
//! elements. The idea is CrypTFlow2's (Rathee et al., 2020) with SIRNN's tables.

mod leaves;
mod nodes;
mod select;
#[cfg(test)]
mod tests;
mod wire;

use blindvox_net::channel::Party;
use zeroize::Zeroizing;

use self::leaves::{Plane, digits, leaves};
use self::nodes::{And, Tree, ands};
use super::{Compare, check, shares};
use crate::error::Result;
use crate::gc::modular;
use crate::ot::extension_bytes;
use crate::ot::pack::packed_len;
use crate::peer::{Link, Peer};
use crate::share::{BitShares, Ring, Shares};
use crate::traffic::{Bytes, batches};

/// Elements in flight at a time: transfers made ahead take 16 bytes each.
pub(crate) const BATCH: usize = 1 << 18;

/// Comparison by transfers. What it does follows from the peer's source; estimates follow from `silent`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transfers {
    /// Whether bytes are estimated for silent OT.
    pub silent: bool,
}

/// Bits of digits for this peer's source.
fn digit(peer: &Peer) -> u32 {
    digit_for(peer.ot.is_silent())
}

pub(crate) fn digit_for(silent: bool) -> u32 {
    if silent { 3 } else { 4 }
}

impl Transfers {
    /// Bytes that so many random transfers of the server's sending and of the client's take; silent ones are counted
    /// where they are made.
    fn random(self, counts: [usize; 2], width: usize) -> Bytes {
        if self.silent {
            return Bytes::default();
        }
        let [server, client] = counts.map(|count| extension_bytes(count.div_ceil(128), width));
        Bytes { up: server as u64, down: client as u64 }
    }

    /// Bytes of a comparison but for its transfers.
    fn joined(self, n: usize, ring: Ring) -> Bytes {
        let digits = digits(compared(ring), digit_for(self.silent));
        let up = digits.clone().map(|d| packed_len(n, d.width())).sum();
        let down = digits.clone().map(|d| packed_len(n, d.table())).sum();
        let tree = Tree::new(digits.count());
        Bytes::sent_by(Party::Client, up, down) + Bytes::each_way(tree.message(n))
    }
}

/// Bits of the words that are compared for signs in this ring.
fn compared(ring: Ring) -> u32 {
    match ring {
        Ring::Pow2(bits) => bits - 1,
        Ring::Prime(p) => modular::width(p) as u32,
    }
}

/// Random transfers that a comparison takes: of the server's sending, of the client's.
pub(crate) fn of_signs(ring: Ring, digit: u32) -> [usize; 2] {
    let joins = digits(compared(ring), digit).count() - 1;
    [compared(ring) as usize + joins, joins]
}

/// Flights of the tree over the digits of a comparison.
pub(crate) fn depth(ring: Ring, digit: u32) -> usize {
    Tree::new(digits(compared(ring), digit).count()).depth()
}

/// Makes so many transfers an element ready: of the server's sending, of the client's.
fn reserve(peer: &mut Peer, count: usize, [server, client]: [usize; 2]) -> Result<()> {
    let (send, recv) = match peer.party {
        Party::Server => (server, client),
        Party::Client => (client, server),
    };
    let Link { channel, ot, prng, .. } = &mut peer.link;
    ot.reserve(channel, prng, send * count, recv * count)
}

/// Shares of [x >= 0], from transfers that are ready.
fn signs(peer: &mut Peer, x: &[u32], ring: Ring) -> Result<Plane> {
    let bits = compared(ring);
    let low = u32::MAX >> (32 - bits);
    // The word to compare, and what the share itself adds to the outcome.
    let (words, mut own): (Shares, Plane) = match ring {
        Ring::Pow2(_) => {
            let word = |x: u32| if peer.party == Party::Server { x & low } else { !x & low };
            let top = x.iter().map(|x| (x >> bits & 1) as u8).collect();
            (x.iter().map(|&x| word(x)).collect(), Zeroizing::new(top))
        }
        Ring::Prime(p) => {
            let twice: Shares = x.iter().map(|&x| ring.add(x, x)).collect();
            let parity = twice.iter().map(|x| (x & 1) as u8).collect();
            let word = |x: u32| if peer.party == Party::Server { x } else { p - 1 - x };
            (twice.iter().map(|&x| word(x)).collect(), Zeroizing::new(parity))
        }
    };
    let digit = digit(peer);
    let planes = leaves(peer, &words, bits, digit)?;
    let greater = Tree::new(planes.len()).greater(peer, planes)?;
    let not = u8::from(peer.party == Party::Client);
    own.iter_mut().zip(greater.iter()).for_each(|(own, g)| *own ^= g & 1 ^ not);
    Ok(own)
}

impl Compare for Transfers {
    fn signs(&mut self, peer: &mut Peer, x: &[u32], ring: Ring) -> Result<BitShares> {
        check("a comparison", ring, 32)?;
        let mut all = Zeroizing::new(Vec::with_capacity(x.len()));
        for x in x.chunks(BATCH) {
            reserve(peer, x.len(), of_signs(ring, digit(peer)))?;
            all.extend_from_slice(&signs(peer, x, ring)?);
        }
        Ok(std::mem::take(&mut *all).into())
    }

    fn bytes(&self, n: usize, ring: Ring, width: usize) -> Bytes {
        let transfers = of_signs(ring, digit_for(self.silent));
        batches(n, BATCH).map(|n| self.joined(n, ring) + self.random(transfers.map(|t| t * n), width)).sum()
    }

    fn select_bytes(&self, n: usize, ring: Ring, width: usize) -> Bytes {
        let Ring::Pow2(k) = ring else { return crate::select::bytes(n, ring, width) };
        let each = |n| Bytes::each_way(packed_len(n, k) + packed_len(n, 1)) + self.random([n, n], width);
        batches(n, BATCH).map(each).sum()
    }

    fn relu_bytes(&self, n: usize, ring: Ring, width: usize) -> Bytes {
        let Ring::Pow2(k) = ring else { return self.bytes(n, ring, width) + self.select_bytes(n, ring, width) };
        let [server, client] = of_signs(ring, digit_for(self.silent));
        let widened = usize::from(k < 32);
        let each = |n| {
            let select = Bytes::each_way(packed_len(n, k) + packed_len(n, 1));
            let widen = Bytes::sent_by(Party::Client, packed_len(n, 32 - k), packed_len(n, 1)) * widened;
            let transfers = [(server + 1) * n, (client + 1 + widened) * n];
            self.joined(n, ring) + select + widen + self.random(transfers, width)
        };
        batches(n, BATCH).map(each).sum()
    }

    fn and_bytes(&self, n: usize, bits: u32, width: usize) -> Bytes {
        let each = |n| Bytes::each_way(packed_len(n, 1) + packed_len(n, bits)) + self.random([n, n], width);
        batches(n, BATCH).map(each).sum()
    }

    fn select(&mut self, peer: &mut Peer, bits: &BitShares, x: &[u32], ring: Ring) -> Result<Shares> {
        let Ring::Pow2(k) = ring else { return crate::select::select(peer, bits, x, ring) };
        let mut all = Shares::with_capacity(x.len());
        for (d, x) in bits.chunks(BATCH).zip(x.chunks(BATCH)) {
            reserve(peer, x.len(), [1, 1])?;
            all.extend_from_slice(&select::select(peer, d, x, k)?);
        }
        Ok(all)
    }

    fn relu(&mut self, peer: &mut Peer, x: &[u32], ring: Ring) -> Result<Shares> {
        check("ReLU", ring, 32)?;
        let Ring::Pow2(k) = ring else {
            let d = self.signs(peer, x, ring)?;
            return self.select(peer, &d, x, shares(ring));
        };
        let mut all = Shares::with_capacity(x.len());
        for x in x.chunks(BATCH) {
            let [server, client] = of_signs(ring, digit(peer));
            let widened = usize::from(k < 32);
            reserve(peer, x.len(), [server + 1, client + 1 + widened])?;
            let d = signs(peer, x, ring)?;
            let y = select::select(peer, &d, x, k)?;
            all.extend_from_slice(&if k < 32 { select::widen(peer, y, k)? } else { y });
        }
        Ok(all)
    }

    fn reads_low_bits(&self) -> bool {
        true
    }

    fn ands_words(&self) -> bool {
        true
    }

    fn and(&mut self, peer: &mut Peer, d: &BitShares, words: &[u8], bits: u32) -> Result<Zeroizing<Vec<u8>>> {
        let mut all = Zeroizing::new(Vec::with_capacity(words.len()));
        for (d, words) in d.chunks(BATCH).zip(words.chunks(BATCH)) {
            reserve(peer, d.len(), [1, 1])?;
            let node = And { p: Zeroizing::new(d.to_vec()), v: Zeroizing::new(words.to_vec()), bits };
            all.extend_from_slice(&ands(peer, &[node])?[0]);
        }
        Ok(all)
    }
}
