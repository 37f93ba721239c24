//! Random transfers: made ahead by either source, SoftSpoken or [silent](super::silent), and drawn from stock.
//!
//! The sender has v, even, the receiver w = v xor b·Delta with its random choice b as lowest bit.
//!
//! | # | from -> to | content | bytes for n missing | phase |
//! |---|---|---|---|---|
//! | 1 | receiver -> sender | SoftSpoken: extension by random choices | 16·ceil(128/k)·ceil(n/128) | ahead |
//! | 2 | sender -> receiver | silent: iterations' messages | [`Set::message`] for every [`Set::usable`] begun | ahead |
//! | 3, 4 | receiver -> sender, back | silent, between hosts: an iteration's check, before it serves | 16, 32 | ahead |
//!
//! A silent direction makes its chosen transfers of random ones as well: the receiver sends b xor its choice, a bit
//! each.

use blindvox_engine::Prng;
use blindvox_net::channel::{Channel, Party};
use rayon::prelude::*;
use zeroize::Zeroizing;

use super::columns::TILE;
use super::silent::{Receiver, Sender, Set};
use super::softspoken::{CHUNK_WORDS, chunks};
use super::{OtPair, OtReceiver, OtSender};
use crate::error::Result;

impl OtPair {
    /// Makes each direction silent that a set is given for, the server's sending one first; in both parties alike.
    pub fn go_silent(
        &mut self,
        party: Party,
        channel: &mut Channel,
        prng: &mut Prng,
        [server_sends, client_sends]: [Option<&'static Set>; 2],
    ) -> Result<()> {
        let (send, recv) = match party {
            Party::Server => (server_sends, client_sends),
            Party::Client => (client_sends, server_sends),
        };
        // The extension's message of each direction leaves before either is waited for.
        recv.map_or(Ok(()), |set| self.recv.go_silent(channel, prng, set))?;
        send.map_or(Ok(()), |set| self.send.go_silent(channel, prng, set))
    }

    /// Whether either direction is silent.
    pub fn is_silent(&self) -> bool {
        self.send.silent.is_some() || self.recv.silent.is_some()
    }

    /// Makes so many random transfers ready in each direction, as this party sees them; in both parties alike. One
    /// flight. What is left of SoftSpoken's last words is thrown away, so that every call takes what it says.
    pub(crate) fn reserve(&mut self, channel: &mut Channel, prng: &mut Prng, send: usize, recv: usize) -> Result<()> {
        if self.send.silent.is_none() {
            self.send.stock.pass_all();
        }
        if self.recv.silent.is_none() {
            self.recv.stock.pass_all();
        }
        self.recv.offer(channel, prng, recv)?;
        let checked = self.send.streams.checked;
        if self.send.silent.is_none() || !checked {
            self.send.fill(channel, send)?;
        }
        if !checked {
            return self.recv.fill(channel, recv);
        }
        // An iteration that is checked has answers: both directions go on side by side, and what either party sends leaves
        // before it waits.
        loop {
            let sent = if self.send.stock.len() < send { self.send.begin(channel)? } else { None };
            let received = if self.recv.stock.len() < recv { self.recv.begin(channel)? } else { None };
            if sent.is_none() && received.is_none() {
                return Ok(());
            }
            sent.map_or(Ok(()), |labels| self.send.end(channel, labels))?;
            received.map_or(Ok(()), |labels| self.recv.end(channel, labels))?;
        }
    }
}

impl OtSender {
    fn go_silent(&mut self, channel: &mut Channel, prng: &mut Prng, set: &'static Set) -> Result<()> {
        let mut base = self.fresh(channel, set.base().div_ceil(128))?;
        base.truncate(set.base());
        let checked = self.streams.checked;
        self.silent = Some(Sender::new(set, self.session(), checked, base, prng.fork("silent OT roots")));
        Ok(())
    }

    /// So many words of random transfers by SoftSpoken.
    fn fresh(&mut self, channel: &mut Channel, words: usize) -> Result<Zeroizing<Vec<u128>>> {
        let mut labels = self.stock.buffer(128 * words);
        labels.chunks_mut(128 * CHUNK_WORDS).try_for_each(|labels| self.extend_softspoken(channel, labels))?;
        labels.par_iter_mut().with_min_len(TILE).for_each(|v| *v &= !1);
        Ok(labels)
    }

    /// Stocks up to `count`; the peer calls [`OtReceiver::offer`] and [`OtReceiver::fill`].
    pub(super) fn fill(&mut self, channel: &mut Channel, count: usize) -> Result<()> {
        while self.stock.len() < count {
            match self.begin(channel)? {
                Some(labels) => self.end(channel, labels)?,
                None => {
                    let words = chunks((count - self.stock.len()).div_ceil(128)).next().unwrap_or_default();
                    let labels = self.fresh(channel, words)?;
                    self.stock.push(labels, 0);
                }
            }
        }
        Ok(())
    }

    /// Sends a silent iteration's message; nothing where the direction isn't silent.
    fn begin(&mut self, channel: &mut Channel) -> Result<Option<Zeroizing<Vec<u128>>>> {
        let delta = self.delta();
        let Some(silent) = &mut self.silent else { return Ok(None) };
        let mut labels = self.stock.buffer(silent.set().outputs());
        silent.begin(delta, channel, &mut labels)?;
        Ok(Some(labels))
    }

    /// Ends the iteration of these labels, which are then in stock.
    fn end(&mut self, channel: &mut Channel, labels: Zeroizing<Vec<u128>>) -> Result<()> {
        let delta = self.delta();
        let Some(silent) = &mut self.silent else { return Ok(()) };
        silent.end(delta, channel)?;
        let spent = silent.set().base();
        self.stock.push(labels, spent);
        Ok(())
    }

    /// Before chosen transfers: a silent direction stocks up for all of them, so that nothing comes between their
    /// messages.
    pub(super) fn ahead(&mut self, channel: &mut Channel, count: usize) -> Result<()> {
        if self.silent.is_some() { self.fill(channel, count) } else { Ok(()) }
    }

    /// A chosen transfer of a silent direction is a random one that the receiver corrects.
    pub(super) fn extend_silent(&mut self, channel: &mut Channel, labels: &mut [u128]) -> Result<()> {
        self.fill(channel, labels.len())?;
        let corrections = channel.recv_exact(labels.len() / 8)?;
        self.stock.draw(labels);
        let delta = self.delta();
        let words = corrections.chunks_exact(16).map(bytemuck::pod_read_unaligned::<u128>);
        for (labels, word) in labels.chunks_exact_mut(128).zip(words) {
            labels.iter_mut().enumerate().for_each(|(i, v)| *v ^= delta & (word >> i & 1).wrapping_neg());
        }
        Ok(())
    }
}

impl OtReceiver {
    fn go_silent(&mut self, channel: &mut Channel, prng: &mut Prng, set: &'static Set) -> Result<()> {
        let mut base = self.fresh(channel, prng, set.base().div_ceil(128))?;
        base.truncate(set.base());
        self.silent = Some(Receiver::new(set, self.session(), self.streams.checked, base));
        Ok(())
    }

    /// So many words of random transfers by SoftSpoken.
    fn fresh(&mut self, channel: &mut Channel, prng: &mut Prng, words: usize) -> Result<Zeroizing<Vec<u128>>> {
        let choices = Zeroizing::new(prng.fill::<u128>(words));
        let mut labels = self.stock.buffer(128 * words);
        for (choices, labels) in choices.chunks(CHUNK_WORDS).zip(labels.chunks_mut(128 * CHUNK_WORDS)) {
            self.extend_softspoken(channel, choices, labels)?;
        }
        let words = labels.par_chunks_exact_mut(128).zip(&choices[..]).with_min_len(TILE / 128);
        words.for_each(|(labels, word)| {
            labels.iter_mut().enumerate().for_each(|(i, w)| *w = (*w & !1) | (word >> i & 1));
        });
        Ok(labels)
    }

    /// What leaves this party for `count` in stock: SoftSpoken's messages.
    pub(super) fn offer(&mut self, channel: &mut Channel, prng: &mut Prng, count: usize) -> Result<()> {
        while self.silent.is_none() && self.stock.len() < count {
            let words = chunks((count - self.stock.len()).div_ceil(128)).next().unwrap_or_default();
            let labels = self.fresh(channel, prng, words)?;
            self.stock.push(labels, 0);
        }
        Ok(())
    }

    /// What comes to this party for `count` in stock: silent iterations.
    pub(super) fn fill(&mut self, channel: &mut Channel, count: usize) -> Result<()> {
        while self.stock.len() < count {
            let Some(labels) = self.begin(channel)? else { return Ok(()) };
            self.end(channel, labels)?;
        }
        Ok(())
    }

    /// Takes a silent iteration's message; nothing where the direction isn't silent.
    fn begin(&mut self, channel: &mut Channel) -> Result<Option<Zeroizing<Vec<u128>>>> {
        let Some(silent) = &mut self.silent else { return Ok(None) };
        let mut labels = self.stock.buffer(silent.set().outputs());
        silent.begin(channel, &mut labels)?;
        Ok(Some(labels))
    }

    /// As the sender's.
    fn end(&mut self, channel: &mut Channel, labels: Zeroizing<Vec<u128>>) -> Result<()> {
        let Some(silent) = &mut self.silent else { return Ok(()) };
        silent.end(channel)?;
        let spent = silent.set().base();
        self.stock.push(labels, spent);
        Ok(())
    }

    /// As the sender's.
    pub(super) fn ahead(&mut self, channel: &mut Channel, count: usize) -> Result<()> {
        self.fill(channel, count)
    }

    /// As the sender's.
    pub(super) fn extend_silent(&mut self, channel: &mut Channel, choices: &[u128], labels: &mut [u128]) -> Result<()> {
        self.fill(channel, labels.len())?;
        self.stock.draw(labels);
        let mut message = Vec::with_capacity(16 * choices.len());
        for (labels, chosen) in labels.chunks_exact(128).zip(choices) {
            let random = labels.iter().rev().fold(0, |word, w| word << 1 | (w & 1));
            message.extend_from_slice(&(random ^ chosen).to_le_bytes());
        }
        Ok(channel.send(message)?)
    }
}
