//! How shared values enter garbled circuits and come out of them, in either kind of [`Ring`].
//!
//! | ring | values x | shares | the client enters | the server enters |
//! |---|---|---|---|---|
//! | `Pow2(k)` | k bits, signed | mod 2^32, of which the low k bits count | the low k bits | the low k bits |
//! | `Prime(p)`, p of k bits | residues, signed | mod p | k bits | p less its share ([`modular::entered`]) |
//!
//! | circuit of c or w values | ANDs mod 2^k | mod p |
//! |---|---|---|
//! | sign | k - 1 | k; of doubled shares |
//! | full ReLU | 3k - 3 | 6k - 4 at most |
//! | full max of w | (w + 1)(k - 1) + 2k(w - 1) | (w + 1)(2k - 1) + 2k(w - 1) |
//! | full argmax of c | c(k - 1) + k(2c - 3) + index | c(2k - 1) + k(2c - 3) + index |

use blindvox_net::channel::Party;

use crate::convert;
use crate::error::Result;
use crate::gc::{self, Circuit, Half, Planes, Schedule, arithmetic, modular};
use crate::peer::Peer;
use crate::share::{Ring, Shares};
use crate::traffic::Bytes;

/// The words of a ring's values.
#[derive(Clone, Copy)]
pub(crate) enum Words {
    /// Of so many bits.
    Pow2(u32),
    /// Residues of an odd prime.
    Prime(u32),
}

impl Words {
    /// For values of a ring that [`check`](super::check) takes.
    pub(crate) fn new(ring: Ring) -> Self {
        match ring {
            Ring::Pow2(bits) => Self::Pow2(bits),
            Ring::Prime(p) => Self::Prime(p),
        }
    }

    /// Bits of a word.
    pub(crate) fn width(self) -> usize {
        match self {
            Self::Pow2(bits) => bits as usize,
            Self::Prime(p) => modular::width(p),
        }
    }

    /// For [`Self::for_sign`].
    pub(super) fn sign(self) -> Circuit {
        match self {
            Self::Pow2(bits) => arithmetic::sign(bits as usize),
            Self::Prime(_) => modular::sign(self.width()),
        }
    }

    /// For [`Self::run_reshared`].
    pub(crate) fn relu(self) -> Circuit {
        match self {
            Self::Pow2(bits) => arithmetic::relu(bits as usize),
            Self::Prime(p) => modular::relu(p),
        }
    }

    /// For [`Self::run_reshared`], of values in order.
    pub(crate) fn max(self, window: usize) -> Circuit {
        match self {
            Self::Pow2(bits) => arithmetic::max(window, bits as usize),
            Self::Prime(p) => modular::max(window, p),
        }
    }

    /// The index of the greatest of [`Self::in_order`].
    pub(crate) fn argmax(self, classes: usize) -> Circuit {
        match self {
            Self::Pow2(bits) => arithmetic::argmax(classes, bits as usize),
            Self::Prime(p) => modular::argmax(classes, p),
        }
    }

    /// What the server adds to a value for its circuits to compare: residues are put in the order of unsigned words.
    fn order_offset(self) -> u32 {
        match self {
            Self::Pow2(_) => 0,
            Self::Prime(p) => modular::bias(p),
        }
    }

    /// What this party enters for shares of values, to which `offset` is added, where that is not the shares
    /// themselves.
    fn entered(self, party: Party, shares: &[u32], offset: u32) -> Option<Shares> {
        match (self, party) {
            (Self::Prime(p), Party::Server) => Some(shares.iter().map(|&s| modular::entered(s, offset, p)).collect()),
            _ => None,
        }
    }

    /// The planes of columns of values, to which `offset` is added, and of a last column of masks, from which it is
    /// taken off.
    fn planes(self, party: Party, columns: &[&[u32]], mask: Option<&[u32]>, offset: u32) -> Planes {
        let mut entered: Vec<_> = columns.iter().map(|c| (*c, self.entered(party, c, offset))).collect();
        if let Some(mask) = mask {
            let back = if offset == 0 { 0 } else { self.itself().neg(offset) };
            entered.push((mask, self.entered(party, mask, back)));
        }
        let columns: Vec<_> = entered.iter().map(|(shares, entered)| entered.as_deref().unwrap_or(shares)).collect();
        Planes::from_columns(&columns, self.width())
    }

    /// A column an operand, ready for a circuit that compares them.
    pub(crate) fn in_order(self, party: Party, columns: &[&[u32]]) -> Planes {
        self.planes(party, columns, None, self.order_offset())
    }

    /// The planes of a column for the circuit of [`Self::sign`].
    pub(super) fn for_sign(self, party: Party, x: &[u32]) -> Planes {
        match self {
            Self::Pow2(_) => self.planes(party, &[x], None, 0),
            Self::Prime(p) => {
                let ring = Ring::Prime(p);
                let twice: Shares = x.iter().map(|&x| ring.add(x, x)).collect();
                self.planes(party, &[&twice], None, 0)
            }
        }
    }

    /// Runs a circuit whose last garbler's input is added to its one output word; the parties' shares of the columns
    /// come before it, `in_order` where the circuit compares them. Shares of the word come out, in this ring itself.
    pub(crate) fn run_reshared(
        self,
        peer: &mut Peer,
        program: &Schedule,
        columns: &[&[u32]],
        in_order: bool,
    ) -> Result<Shares> {
        let (ring, n) = (self.itself(), columns.first().map_or(0, |c| c.len()));
        let offset = if in_order { self.order_offset() } else { 0 };
        let party = peer.party;
        let (gc, channel) = peer.gates()?;
        let mask = self.draw_masks(gc, n);
        let shares = gc.run(channel, program, &self.planes(party, columns, mask.as_deref(), offset))?;
        let opened = gc.reveal_to_evaluator(channel, shares)?;
        Ok(match (opened, mask) {
            (Some(masked), _) => self.reduced(gc, masked.to_column(0, self.width()).into()),
            (None, mask) => mask.unwrap_or_default().iter().map(|&r| ring.neg(r)).collect(),
        })
    }

    /// Bytes of [`Self::run_reshared`] and of the conversion of what comes out to shares mod 2^32, where it is needed.
    pub(crate) fn reshared_bytes(self, circuit: &Circuit, n: usize, width: usize) -> Bytes {
        let converted = match self {
            Self::Pow2(bits) => convert::bytes(n, bits, Ring::FULL, width),
            Self::Prime(_) => Bytes::default(),
        };
        gc::traffic::bytes(circuit, n, width) + gc::traffic::reveal_bytes(self.width(), n) + converted
    }

    /// The ring of k bits, or of the prime.
    fn itself(self) -> Ring {
        match self {
            Self::Pow2(bits) => Ring::Pow2(bits),
            Self::Prime(p) => Ring::Prime(p),
        }
    }

    /// What the evaluator learns must be residues: others are reduced, and noted, as they are below 2p.
    fn reduced(self, gc: &mut Half, mut words: Shares) -> Shares {
        if let Self::Prime(p) = self {
            let most = words.iter_mut().fold(0, |most, w| {
                let word = *w;
                *w = Ring::Prime(p).add(word, 0);
                most.max(word)
            });
            gc.note(most < p);
        }
        words
    }

    /// Uniform masks of this ring at the garbler.
    fn draw_masks(self, gc: &mut Half, count: usize) -> Option<Shares> {
        let mut masks = Shares::from(gc.draw_masks(count)?);
        let (low, below) = (u32::MAX >> (32 - self.width()), self.itself().modulus());
        for r in masks.iter_mut() {
            *r &= low;
            // What is drawn again says nothing of what stays.
            while u64::from(*r) >= below {
                *r = gc.draw_masks(1)?[0] & low;
            }
        }
        Some(masks)
    }
}
