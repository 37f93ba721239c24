//! Leaves: for each digit of m bits, shares of [a > b] and [a = b] from one table of 2^m entries.
//!
//! The server, which has a, offers the table; the client, which has b, chooses. With m random transfers of random
//! choices c it sends b xor c; the server puts the entry of value v at place v xor b xor c. Place j is masked by the
//! sum of slice j of the hashes of the transfers' labels that the bits of j select: slices are disjoint, so that places
//! don't depend on each other. The server's own share is what makes place 0 a zero, which is not sent.
//!
//! A table is a word of 2^m slices, (gt, eq) from the lowest bit, in the lowest digit gt alone.

use blindvox_net::channel::{Channel, Party};
use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use super::wire::{Message, Received};
use crate::error::Result;
use crate::ot::{OtReceiver, OtSender};
use crate::peer::{Link, Peer};

/// A byte an element: this party's share of gt in bit 0 and of eq in bit 1.
pub(super) type Plane = Zeroizing<Vec<u8>>;

/// Elements whose pads are in cache at a time.
pub(super) const BLOCK: usize = 4096;
/// The fewest blocks that a thread is given: it clears its room once for all.
pub(super) const BLOCKS: usize = 4;
/// The widest digit.
const MAX_DIGIT: usize = 4;

/// A digit of compared words.
#[derive(Clone, Copy)]
pub(super) struct Digit {
    at: u32,
    width: u32,
}

/// The digits of words of `bits` bits, the lowest first.
pub(super) fn digits(bits: u32, most: u32) -> impl Iterator<Item = Digit> + Clone {
    (0..bits).step_by(most as usize).map(move |at| Digit { at, width: most.min(bits - at) })
}

impl Digit {
    /// Bits of an entry.
    fn entry(self) -> u32 {
        if self.at == 0 { 1 } else { 2 }
    }

    pub(super) fn width(self) -> u32 {
        self.width
    }

    /// Bits of a table that are sent.
    pub(super) fn table(self) -> u32 {
        ((1 << self.width) - 1) * self.entry()
    }

    fn of(self, word: u32) -> u32 {
        word >> self.at & ((1 << self.width) - 1)
    }

    /// The slices of the places whose bit `bit` is set.
    fn places(self, bit: u32) -> u32 {
        let slice = (1 << self.entry()) - 1;
        (0..1u32 << self.width).filter(|v| v >> bit & 1 == 1).fold(0, |all, v| all | slice << (v * self.entry()))
    }

    /// The slices of all places.
    fn all(self) -> u32 {
        u32::MAX >> (32 - (self.entry() << self.width))
    }

    /// Entry v in slice v: [a > v] and [a = v].
    fn entries(self, a: u32) -> u32 {
        match self.entry() {
            1 => (1 << a) - 1,
            _ => ((1 << (2 * a)) - 1) & 0x5555_5555 | 2 << (2 * a),
        }
    }
}

/// Planes of the digits of each element, from the server's a and the client's b, words of `bits` bits.
pub(super) fn leaves(peer: &mut Peer, mine: &[u32], bits: u32, most: u32) -> Result<Vec<Plane>> {
    let Link { party, channel, ot, .. } = &mut peer.link;
    match party {
        Party::Server => offer(&mut ot.send, channel, mine, digits(bits, most)),
        Party::Client => choose(&mut ot.recv, channel, mine, digits(bits, most)),
    }
}

fn offer(
    ot: &mut OtSender,
    channel: &mut Channel,
    a: &[u32],
    digits: impl Iterator<Item = Digit> + Clone,
) -> Result<Vec<Plane>> {
    let mut corrections = Received::new(channel, digits.clone().map(|d| (a.len(), d.width)))?;
    let mut message = Message::default();
    let room = || [MAX_DIGIT, MAX_DIGIT, 1].map(|parts| Zeroizing::new(vec![0u32; parts * BLOCK.min(a.len())]));
    let mut planes = Vec::new();
    for digit in digits {
        let mut moved = corrections.next(a.len(), digit.width);
        let mut plane = Zeroizing::new(vec![0; a.len()]);
        let masks: Vec<u32> = (0..digit.width).map(|bit| digit.places(bit)).collect();
        ot.with_lots(lots(a, digit), |lots| {
            let blocks = a.par_chunks(BLOCK).zip(moved.par_chunks_mut(BLOCK)).zip(plane.par_chunks_mut(BLOCK));
            blocks.zip(lots).with_min_len(BLOCKS).for_each_init(
                room,
                |[zero, one, pads], (((a, moved), plane), lot)| {
                    let count = digit.width as usize * a.len();
                    lot.both(&mut zero[..count], &mut one[..count]);
                    pads.fill(0);
                    for (j, &mask) in masks.iter().enumerate() {
                        let both = zero[j * a.len()..].iter().zip(&one[j * a.len()..]);
                        pads.iter_mut().zip(both).take(a.len()).for_each(|(p, (z, o))| *p ^= (z & !mask) | (o & mask));
                    }
                    for (((&a, e), plane), pad) in a.iter().zip(moved).zip(plane).zip(pads.iter()) {
                        let table = moved_by(digit, digit.entries(digit.of(a)), *e, &masks) ^ pad;
                        let entry = (1 << digit.entry()) - 1;
                        let own = table & entry;
                        *plane = own as u8;
                        // The same in every slice.
                        let everywhere = own.wrapping_mul(if entry == 1 { u32::MAX } else { 0x5555_5555 });
                        *e = ((table ^ everywhere) & digit.all()) >> digit.entry();
                    }
                },
            );
        });
        message.add(&moved, digit.table());
        planes.push(plane);
    }
    message.send(channel)?;
    Ok(planes)
}

/// The sizes of the lots of transfers for a digit: a block of elements each.
fn lots(words: &[u32], digit: Digit) -> impl Iterator<Item = usize> + Clone {
    words.chunks(BLOCK).map(move |words| digit.width as usize * words.len())
}

/// The table whose place v has what was at v xor e.
#[inline(always)]
fn moved_by(digit: Digit, mut table: u32, e: u32, masks: &[u32]) -> u32 {
    for (i, mask) in masks.iter().enumerate() {
        let shift = digit.entry() << i;
        let swap = (table >> shift ^ table) & !mask & digit.all() & (e >> i & 1).wrapping_neg();
        table ^= swap ^ swap << shift;
    }
    table
}

fn choose(
    ot: &mut OtReceiver,
    channel: &mut Channel,
    b: &[u32],
    digits: impl Iterator<Item = Digit> + Clone,
) -> Result<Vec<Plane>> {
    let mut message = Message::default();
    let count = MAX_DIGIT * BLOCK.min(b.len());
    let room = || (Zeroizing::new(vec![0u32; count]), Zeroizing::new(vec![0u8; count]));
    let mut chosen = Vec::new();
    for digit in digits.clone() {
        // The place that is chosen, and the mask of its entry.
        let mut places = Zeroizing::new(vec![0u8; b.len()]);
        let mut plane = Zeroizing::new(vec![0u8; b.len()]);
        let mut corrections = vec![0; b.len()];
        ot.with_lots(lots(b, digit), |lots| {
            let blocks = b.par_chunks(BLOCK).zip(corrections.par_chunks_mut(BLOCK));
            let kept = places.par_chunks_mut(BLOCK).zip(plane.par_chunks_mut(BLOCK));
            let all = blocks.zip(kept).zip(lots).with_min_len(BLOCKS);
            all.for_each_init(room, |(pads, bits), (((b, corrections), (places, plane)), lot)| {
                let (n, count) = (b.len(), digit.width as usize * b.len());
                lot.chosen(&mut pads[..count], &mut bits[..count]);
                let (sums, more) = pads.split_at_mut(n);
                for j in 1..digit.width as usize {
                    sums.iter_mut().zip(&more[(j - 1) * n..]).for_each(|(s, p)| *s ^= p);
                }
                for (j, bits) in bits[..count].chunks_exact(n).enumerate() {
                    places.iter_mut().zip(bits).for_each(|(c, bit)| *c |= bit << j);
                }
                let all = b.iter().zip(corrections).zip(places.iter().zip(plane)).zip(sums.iter());
                for (((&b, e), (&c, plane)), sum) in all {
                    *e = digit.of(b) ^ u32::from(c);
                    *plane = (sum >> (u32::from(c) * digit.entry())) as u8 & ((1 << digit.entry()) - 1);
                }
            });
        });
        message.add(&corrections, digit.width);
        chosen.push((places, plane));
    }
    message.send(channel)?;
    let mut tables = Received::new(channel, digits.clone().map(|d| (b.len(), d.table())))?;
    let mut planes = Vec::with_capacity(chosen.len());
    for (digit, (mut places, mut plane)) in digits.zip(chosen) {
        let tables = tables.next(b.len(), digit.table());
        for ((table, &c), plane) in tables.iter().zip(places.iter()).zip(plane.iter_mut()) {
            *plane ^= (table << digit.entry() >> (u32::from(c) * digit.entry())) as u8 & ((1 << digit.entry()) - 1);
        }
        places.zeroize();
        planes.push(plane);
    }
    Ok(planes)
}
