//! Selection and widening in one flight each.
//!
//! **Select.** d·x = d_A·x_A + (1 - 2 d_A)·d_B·x_A + the same with parties exchanged. For the product of B's bit d and
//! A's word v = (1 - 2 d_A)·x_A, by a random transfer with pads h_0, h_1 and choice c: at once B sends e = d xor c, and
//! A sends h_0 - h_1 + v. So A has -h_0 and B h_c + c·(h_0 - h_1 + v), which add up to c·v; d·v = e·v + (1 - 2e)·c·v.
//!
//! **Widen.** A value 0 <= y < 2^(k-1), shared mod 2^k, wraps where either share has its highest bit set: u OR v = u +
//! (1 - u)·v, of which the product goes as above, one way, mod 2^(32-k); 2^k times as much is taken off.

use blindvox_net::channel::Party;
use rayon::prelude::*;
use zeroize::Zeroizing;

use super::leaves::BLOCK;
use super::wire::{Message, Received};
use crate::error::Result;
use crate::ot::{OtReceiver, OtSender};
use crate::peer::{Link, Peer};
use crate::share::{Ring, Shares};

/// The sender's half of products d·v: its words, and what its share is before it knows e.
struct Sent<'a> {
    words: &'a [u32],
    minus: Shares,
}

impl<'a> Sent<'a> {
    /// Adds the sender's section to the message.
    fn begin(ot: &mut OtSender, words: &'a [u32], bits: u32, message: &mut Message) -> Self {
        let ring = Ring::Pow2(bits);
        let (mut zero, mut one) = (Shares::zeros(words.len()), Shares::zeros(words.len()));
        ot.with_lots(words.chunks(BLOCK).map(<[u32]>::len), |lots| {
            let pads = zero.par_chunks_mut(BLOCK).zip(one.par_chunks_mut(BLOCK));
            pads.zip(words.par_chunks(BLOCK)).zip(lots).for_each(|(((zero, one), words), lot)| {
                lot.both(zero, one);
                let all = one.iter_mut().zip(&*zero).zip(words);
                all.for_each(|((o, z), v)| *o = ring.mask(z.wrapping_sub(*o).wrapping_add(*v)));
            });
        });
        message.add(&one, bits);
        Self { words, minus: zero }
    }

    /// The share, to which the peer's e lead; the caller reduces it.
    fn end(mut self, e: &[u32]) -> Shares {
        for ((share, &v), &e) in self.minus.iter_mut().zip(self.words).zip(e) {
            // (1 - 2e)·(-h_0) + e·v
            *share = signed(share.wrapping_neg(), e).wrapping_add(v & e.wrapping_neg());
        }
        self.minus
    }
}

/// x, or -x where e is 1.
fn signed(x: u32, e: u32) -> u32 {
    let mask = e.wrapping_neg();
    (x ^ mask).wrapping_add(e)
}

/// The chooser's half.
struct Chosen {
    pads: Shares,
    choices: Zeroizing<Vec<u8>>,
    e: Vec<u32>,
}

impl Chosen {
    fn begin(ot: &mut OtReceiver, bits: &[u8], message: &mut Message) -> Self {
        let (mut pads, mut choices) = (Shares::zeros(bits.len()), Zeroizing::new(vec![0; bits.len()]));
        ot.with_lots(bits.chunks(BLOCK).map(<[u8]>::len), |lots| {
            let drawn = pads.par_chunks_mut(BLOCK).zip(choices.par_chunks_mut(BLOCK)).zip(lots);
            drawn.for_each(|((pads, choices), lot)| lot.chosen(pads, choices));
        });
        let e: Vec<u32> = bits.iter().zip(choices.iter()).map(|(d, c)| u32::from(d ^ c)).collect();
        message.add(&e, 1);
        Self { pads, choices, e }
    }

    fn end(mut self, words: &[u32]) -> Shares {
        for (((share, &c), &e), &w) in self.pads.iter_mut().zip(self.choices.iter()).zip(&self.e).zip(words) {
            *share = signed(share.wrapping_add(w & u32::from(c).wrapping_neg()), e);
        }
        self.pads
    }
}

/// This party's shares mod 2^`bits` of d·x, from such of x; one transfer in each direction is drawn.
pub(super) fn select(peer: &mut Peer, d: &[u8], x: &[u32], bits: u32) -> Result<Shares> {
    let Link { channel, ot, .. } = &mut peer.link;
    let ring = Ring::Pow2(bits);
    let words: Shares = x.iter().zip(d).map(|(&x, &d)| ring.mask(signed(x, u32::from(d)))).collect();
    let mut message = Message::default();
    let sent = Sent::begin(&mut ot.send, &words, bits, &mut message);
    let chosen = Chosen::begin(&mut ot.recv, d, &mut message);
    message.send(channel)?;
    let mut received = Received::new(channel, [(x.len(), bits), (x.len(), 1)].into_iter())?;
    let (words, e) = (received.next(x.len(), bits), received.next(x.len(), 1));
    let (mut sum, chosen) = (sent.end(&e), chosen.end(&words));
    for (((s, r), &x), &d) in sum.iter_mut().zip(&chosen).zip(x).zip(d) {
        *s = ring.mask(s.wrapping_add(*r).wrapping_add(x & u32::from(d).wrapping_neg()));
    }
    Ok(sum)
}

/// From shares mod 2^`bits` of 0 <= y < 2^(bits - 1) to such mod 2^32; one transfer that the client sends is drawn.
pub(super) fn widen(peer: &mut Peer, mut y: Shares, bits: u32) -> Result<Shares> {
    let Link { party, channel, ot, .. } = &mut peer.link;
    let (n, more) = (y.len(), 32 - bits);
    let mut message = Message::default();
    let mut high: Shares = y.iter().map(|y| y >> (bits - 1) & 1).collect();
    let wraps = match party {
        Party::Client => {
            let words: Shares = high.iter().map(|u| 1 - u).collect();
            let sent = Sent::begin(&mut ot.send, &words, more, &mut message);
            message.send(channel)?;
            let e = Received::new(channel, [(n, 1)].into_iter())?.next(n, 1);
            high.iter_mut().zip(&sent.end(&e)).for_each(|(u, w)| *u = u.wrapping_add(*w));
            high
        }
        Party::Server => {
            let high = Zeroizing::new(high.iter().map(|&v| v as u8).collect::<Vec<_>>());
            let chosen = Chosen::begin(&mut ot.recv, &high, &mut message);
            message.send(channel)?;
            let words = Received::new(channel, [(n, more)].into_iter())?.next(n, more);
            chosen.end(&words)
        }
    };
    y.iter_mut().zip(&wraps).for_each(|(y, w)| *y = y.wrapping_sub(w << bits));
    Ok(y)
}
