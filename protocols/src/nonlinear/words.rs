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

use blindvox_net::channel::{Channel, Party};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::gc::{Circuit, Half, Planes, Schedule, arithmetic, modular};
use crate::share::{Ring, Shares};

/// The words of a ring's values.
#[derive(Clone, Copy)]
pub(super) enum Words {
    /// Of so many bits.
    Pow2(u32),
    /// Residues of an odd prime.
    Prime(u32),
}

impl Words {
    /// For values of a ring; refuses words below 2 and above `most` bits, which a circuit or the shares cannot hold.
    pub(super) fn new(what: &str, ring: Ring, most: u32) -> Result<Self> {
        match ring {
            Ring::Pow2(bits) if (2..=most).contains(&bits) => Ok(Self::Pow2(bits)),
            Ring::Pow2(bits) => Err(Error::Model(format!("{what} of {bits} bits, possible are 2 to {most}"))),
            Ring::Prime(p) if p >= 3 && p % 2 == 1 => Ok(Self::Prime(p)),
            Ring::Prime(p) => Err(Error::Model(format!("{what} mod {p}, possible are odd primes"))),
        }
    }

    /// Those that hold differences of two values.
    pub(super) fn of_differences(self) -> Self {
        match self {
            Self::Pow2(bits) => Self::Pow2(32.min(bits + 1)),
            prime => prime,
        }
    }

    /// The ring of the shares.
    pub(super) fn shares(self) -> Ring {
        match self {
            Self::Pow2(_) => Ring::FULL,
            Self::Prime(p) => Ring::Prime(p),
        }
    }

    /// Bits of a word.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Pow2(bits) => bits as usize,
            Self::Prime(p) => modular::width(p),
        }
    }

    /// For [`Self::signs`].
    pub(super) fn sign(self) -> Circuit {
        match self {
            Self::Pow2(bits) => arithmetic::sign(bits as usize),
            Self::Prime(_) => modular::sign(self.width()),
        }
    }

    /// For [`Self::run_reshared`].
    pub(super) fn relu(self) -> Circuit {
        match self {
            Self::Pow2(bits) => arithmetic::relu(bits as usize),
            Self::Prime(p) => modular::relu(p),
        }
    }

    /// For [`Self::run_reshared`], of values in order.
    pub(super) fn max(self, window: usize) -> Circuit {
        match self {
            Self::Pow2(bits) => arithmetic::max(window, bits as usize),
            Self::Prime(p) => modular::max(window, p),
        }
    }

    /// The index of the greatest of [`Self::in_order`].
    pub(super) fn argmax(self, classes: usize) -> Circuit {
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

    /// What this party enters for shares of values, to which `offset` is added, where that is not the shares themselves.
    fn entered(self, party: Party, shares: &[u32], offset: u32) -> Option<Shares> {
        match (self, party) {
            (Self::Prime(p), Party::Server) => Some(shares.iter().map(|&s| modular::entered(s, offset, p)).collect()),
            _ => None,
        }
    }

    /// The planes of columns of values, to which `offset` is added, and of a last column of masks, from which it is taken off.
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
    pub(super) fn in_order(self, party: Party, columns: &[&[u32]]) -> Planes {
        self.planes(party, columns, None, self.order_offset())
    }

    /// Shares by xor of "is not negative", a byte a value. The program is that of [`Self::sign`].
    pub(super) fn signs(
        self,
        party: Party,
        channel: &mut Channel,
        gc: &mut Half,
        program: &Schedule,
        x: &[u32],
    ) -> Result<Zeroizing<Vec<u8>>> {
        let inputs = match self {
            Self::Pow2(_) => self.planes(party, &[x], None, 0),
            Self::Prime(p) => {
                let ring = Ring::Prime(p);
                let twice: Shares = x.iter().map(|&x| ring.add(x, x)).collect();
                self.planes(party, &[&twice], None, 0)
            }
        };
        Ok(Zeroizing::new(gc.run(channel, program, &inputs)?.to_bytes(0)))
    }

    /// Runs a circuit whose last garbler's input is added to its one output word; the parties' shares of the columns come before
    /// it, `in_order` where the circuit compares them. Shares of the word come out, in this ring itself.
    pub(super) fn run_reshared(
        self,
        party: Party,
        channel: &mut Channel,
        gc: &mut Half,
        program: &Schedule,
        columns: &[&[u32]],
        in_order: bool,
    ) -> Result<Shares> {
        let (ring, n) = (self.itself(), columns.first().map_or(0, |c| c.len()));
        let offset = if in_order { self.order_offset() } else { 0 };
        let mask = self.draw_masks(gc, n);
        let shares = gc.run(channel, program, &self.planes(party, columns, mask.as_deref(), offset))?;
        let opened = gc.reveal_to_evaluator(channel, shares)?;
        Ok(match (opened, mask) {
            (Some(masked), _) => self.reduced(gc, masked.to_column(0, self.width()).into()),
            (None, mask) => mask.unwrap_or_default().iter().map(|&r| ring.neg(r)).collect(),
        })
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
