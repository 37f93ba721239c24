//! Nodes: shares of p AND v, for a shared bit p and a shared word v, in one flight.
//!
//! p AND v is local but for p_A·v_B and p_B·v_A. For each the party with the word sends by a random transfer, of choice
//! c: at once the chooser sends p xor c, and the sender pad_0 xor pad_1 xor v. The sender's share is the pad of p xor
//! c; the chooser's is its own pad, to which it adds what it was sent if p is 1.
//!
//! The digits' planes (g, e) are joined by a tree of the least depth, of those with the fewest bits: g = g_high xor
//! e_high·g_low, e = e_high·e_low, of which the lowest digit's ancestors need no e.

use blindvox_net::channel::Channel;
use rayon::prelude::*;
use zeroize::Zeroizing;

use super::leaves::{BLOCK, BLOCKS, Plane};
use super::wire::{Message, Received};
use crate::error::Result;
use crate::ot::OtPair;
use crate::ot::pack::packed_len;
use crate::peer::{Link, Peer};

/// A bit and a word of `bits` bits for each element, as this party shares them.
pub(super) struct And {
    pub(super) p: Plane,
    pub(super) v: Plane,
    pub(super) bits: u32,
}

/// What is kept of a node until the peer's message is there.
struct Begun {
    /// Both pads that this party sends by.
    zero: Plane,
    one: Plane,
    /// The pad that it chose, with the local part.
    share: Plane,
}

/// This party's shares of p AND v for all nodes of a level. As many transfers are drawn in each direction as there are
/// bits p.
pub(super) fn ands(peer: &mut Peer, nodes: &[And]) -> Result<Vec<Plane>> {
    let Link { channel, ot, .. } = &mut peer.link;
    let mut message = Message::default();
    let begun: Vec<Begun> = nodes.iter().map(|node| begin(ot, node, &mut message)).collect();
    message.send(channel)?;
    end(channel, nodes, begun)
}

fn begin(ot: &mut OtPair, node: &And, message: &mut Message) -> Begun {
    let (n, mask) = (node.p.len(), (0xff >> (8 - node.bits)) as u8);
    let plane = || Zeroizing::new(vec![0u8; n]);
    let mut begun = Begun { zero: plane(), one: plane(), share: plane() };
    let (mut chosen, mut words) = (vec![0; n], vec![0; n]);
    let words32 = || Zeroizing::new(vec![0u32; BLOCK.min(n)]);
    let lots = node.p.chunks(BLOCK).map(<[u8]>::len);
    ot.send.with_lots(lots.clone(), |lots| {
        let pads = begun.zero.par_chunks_mut(BLOCK).zip(begun.one.par_chunks_mut(BLOCK));
        let all = pads.zip(words.par_chunks_mut(BLOCK)).zip(node.v.par_chunks(BLOCK)).zip(lots);
        all.with_min_len(BLOCKS).for_each_init(
            || [words32(), words32()],
            |[zero, one], ((((own_zero, own_one), words), v), lot)| {
                let (zero, one) = (&mut zero[..v.len()], &mut one[..v.len()]);
                lot.both(zero, one);
                let pads = zero.iter().zip(&*one).zip(v);
                let masked = words.iter_mut().zip(pads);
                masked.for_each(|(w, ((z, o), v))| *w = (z ^ o ^ u32::from(*v)) & u32::from(mask));
                own_zero.iter_mut().zip(&*zero).for_each(|(k, z)| *k = *z as u8 & mask);
                own_one.iter_mut().zip(&*one).for_each(|(k, o)| *k = *o as u8 & mask);
            },
        );
    });
    ot.recv.with_lots(lots, |lots| {
        let own = node.p.par_chunks(BLOCK).zip(node.v.par_chunks(BLOCK));
        let all = begun.share.par_chunks_mut(BLOCK).zip(chosen.par_chunks_mut(BLOCK)).zip(own).zip(lots);
        all.with_min_len(BLOCKS).for_each_init(
            || (words32(), Zeroizing::new(vec![0u8; BLOCK.min(n)])),
            |(pads, choices), (((share, chosen), (p, v)), lot)| {
                let (pads, choices) = (&mut pads[..p.len()], &mut choices[..p.len()]);
                lot.chosen(pads, choices);
                chosen.iter_mut().zip(p.iter().zip(&*choices)).for_each(|(e, (p, c))| *e = u32::from(p ^ c));
                let own = p.iter().zip(v).zip(&*pads);
                let shares = share.iter_mut().zip(own);
                shares.for_each(|(s, ((p, v), pad))| *s = (p.wrapping_neg() & v ^ *pad as u8) & mask);
            },
        );
    });
    message.add(&chosen, 1);
    message.add(&words, node.bits);
    begun
}

fn end(channel: &mut Channel, nodes: &[And], begun: Vec<Begun>) -> Result<Vec<Plane>> {
    let mut received = Received::new(channel, nodes.iter().flat_map(|a| [(a.p.len(), 1), (a.p.len(), a.bits)]))?;
    let ends = nodes.iter().zip(begun).map(|(node, begun)| {
        let (chosen, words) = (received.next(node.p.len(), 1), received.next(node.p.len(), node.bits));
        let Begun { zero, one, mut share } = begun;
        for ((s, (z, o)), e) in share.iter_mut().zip(zero.iter().zip(one.iter())).zip(&chosen) {
            *s ^= z ^ (z ^ o) & (*e as u8).wrapping_neg();
        }
        for ((s, p), w) in share.iter_mut().zip(node.p.iter()).zip(&words) {
            *s ^= p.wrapping_neg() & *w as u8;
        }
        share
    });
    Ok(ends.collect())
}

/// Two neighbouring spans of digits become one, which is kept where the higher one's is: at its highest digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Join {
    high: usize,
    low: usize,
    /// The lower one holds the lowest digit: no e is needed.
    lowest: bool,
}

/// The joins, in levels that are one flight each.
pub(super) struct Tree(Vec<Vec<Join>>);

/// Depth, bits that a party sends, digits of the lower part.
type Cost = (usize, u32, usize);

impl Tree {
    /// The tree over so many digits, at least one.
    pub(super) fn new(digits: usize) -> Self {
        // For spans that hold the lowest digit, and for others.
        let mut costs: Vec<[Cost; 2]> = vec![[(0, 0, 0); 2]; digits + 1];
        for len in 2..=digits {
            costs[len] = [true, false].map(|lowest| {
                let kind = usize::from(!lowest);
                let splits = (1..len).map(|low| {
                    let (l, h) = (costs[low][kind], costs[len - low][1]);
                    (l.0.max(h.0) + 1, l.1 + h.1 + if lowest { 2 } else { 3 }, low)
                });
                splits.min().expect("a split")
            });
        }
        let mut levels = vec![Vec::new(); costs[digits][0].0];
        join(&costs, 0, digits, &mut levels);
        Self(levels)
    }

    /// Flights.
    pub(super) fn depth(&self) -> usize {
        self.0.len()
    }

    /// Bytes that a party sends for `n` elements.
    pub(super) fn message(&self, n: usize) -> usize {
        let sections = |join: &Join| packed_len(n, 1) + packed_len(n, if join.lowest { 1 } else { 2 });
        self.0.iter().flatten().map(sections).sum()
    }

    /// Bits that a party sends.
    #[cfg(test)]
    pub(super) fn bits(&self) -> u32 {
        self.0.iter().flatten().map(|join| if join.lowest { 2 } else { 3 }).sum()
    }

    /// Joins the planes of all digits to the one that says which word is greater.
    pub(super) fn greater(&self, peer: &mut Peer, mut planes: Vec<Plane>) -> Result<Plane> {
        for level in &self.0 {
            let bit = |plane: &Plane, at: u32| Zeroizing::new(plane.iter().map(|b| b >> at & 1).collect::<Vec<_>>());
            let nodes: Vec<And> = level
                .iter()
                .map(|j| And {
                    p: bit(&planes[j.high], 1),
                    v: planes[j.low].clone(),
                    bits: if j.lowest { 1 } else { 2 },
                })
                .collect();
            let products = ands(peer, &nodes)?;
            for (join, product) in level.iter().zip(products) {
                planes[join.high].iter_mut().zip(product.iter()).for_each(|(high, t)| *high = *high & 1 ^ t);
            }
        }
        Ok(planes.pop().expect("a digit"))
    }
}

/// Adds the joins of the span of `len` digits from `at`; returns its depth.
fn join(costs: &[[Cost; 2]], at: usize, len: usize, levels: &mut [Vec<Join>]) -> usize {
    if len == 1 {
        return 0;
    }
    let (_, _, low) = costs[len][usize::from(at > 0)];
    let depth = join(costs, at, low, levels).max(join(costs, at + low, len - low, levels));
    levels[depth].push(Join { high: at + len - 1, low: at + low - 1, lowest: at == 0 });
    depth + 1
}
