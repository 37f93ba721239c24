//! OT extension: Roy, "SoftSpokenOT" (CRYPTO 2022); at width k = 1 it is IKNP (2003).
//!
//! Delta's 128 bits are cut into blocks of k bits. For each block the receiver holds 2^k seeds and the sender all but
//! the one numbered by its block alpha of Delta. With r_x the streams of the seeds, the receiver has u = xor of all r_x
//! and v = sum of x·r_x, the sender w = sum of (x xor alpha)·r_x = v xor alpha·u, to which alpha's own stream adds
//! nothing. The receiver sends c = u xor b; then w xor alpha·c = v xor alpha·b, which over all blocks is q = v xor
//! b·Delta. A transfer costs 128/k bits and 2^k·128/k bits of stream.
//!
//! [Set-up](super::setup) takes messages 1 to 3. Then:
//!
//! | # | from -> to | content | bytes | phase |
//! |---|---|---|---|---|
//! | 4 | receiver -> sender | c, for every 128 transfers begun | 16·ceil(128/k) | extension |
//!
//! Transfers are numbered in words of 128; a tile of 4096 is worked on at a time (a column of a tile is 512 bytes, so
//! the 2^k streams of a block stay in the nearest cache), and a message covers at most [`CHUNK_WORDS`] words.
//!
//! Between hosts a message has a word of transfers more, whose choices are random, and ends in a proof that all its choices
//! are the same in every block: [`super::check`]. In one process nothing is gained by that.
//!
//! **The width** is public. A wider block costs fewer bytes and more stream: on a link 4 bytes a transfer (k = 4), in
//! one process, where bytes are free, 8 of them (k = 2). The channel says which; the first message carries it, and a
//! party that uses another refuses it.

use blindvox_engine::aes::{Aes128, KeySequence};
use blindvox_net::channel::Channel;
use blindvox_net::transport::recycle;
use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use super::check::{Check, PROOF};
use super::columns::{self, Column, TILE, WORDS};
use super::silent;
use super::stock::Stock;
use crate::error::{Error, Result};

/// The block width on a link: 4 bytes a transfer.
pub const LINK_WIDTH: usize = 4;
/// The block width in one process: 8 bytes a transfer, and a third less work.
pub const LOCAL_WIDTH: usize = 2;
/// Transfers of one message, in words of 128.
pub(crate) const CHUNK_WORDS: usize = 512;

/// Widths of the blocks: k each, the last one what is left of 128.
pub(super) fn widths(k: usize) -> impl Iterator<Item = usize> + Clone {
    (0..128).step_by(k).map(move |at| k.min(128 - at))
}

/// The streams of all leaves, and room for as many threads as there are.
pub(super) struct Streams {
    pub(super) k: usize,
    /// Whether parties prove that they keep to the protocol.
    pub(super) checked: bool,
    leaves: Vec<Aes128>,
    /// Words of 128 transfers used so far.
    pub(super) used: u64,
    rooms: Vec<Room>,
}

/// What a thread works on a tile in.
struct Room {
    work: Vec<Column>,
    columns: Box<[Column; 128]>,
    rows: Box<[u128; TILE]>,
}

/// The leaves' streams from some word on.
#[derive(Clone, Copy)]
struct Place<'a> {
    leaves: &'a [Aes128],
    at: u64,
    /// Leaf 0 is not known and counts as zero.
    sender: bool,
}

impl Streams {
    pub(super) fn new(k: usize, checked: bool, seeds: &[u128]) -> Self {
        let mut leaves = vec![Aes128::default(); seeds.len()];
        Aes128::expand(seeds, &mut leaves);
        // No message has more tiles.
        let threads = rayon::current_num_threads().clamp(1, CHUNK_WORDS / WORDS);
        Self { k, checked, leaves, used: 0, rooms: (0..threads).map(|_| Room::new(k)).collect() }
    }

    /// Takes the next `words` words: where they begin, and the threads' rooms with the tiles that each of them does.
    fn take(&mut self, words: usize, sender: bool) -> (Place<'_>, &mut [Room], usize) {
        let from = Place { leaves: &self.leaves, at: self.used, sender };
        self.used += words as u64;
        let tiles = words.div_ceil(WORDS).div_ceil(self.rooms.len()).max(1);
        (from, &mut self.rooms, tiles)
    }

    /// Bytes of the corrections of so many words.
    fn corrections_len(&self, words: usize) -> usize {
        128_usize.div_ceil(self.k) * 16 * words
    }

    fn message_len(&self, words: usize) -> usize {
        self.corrections_len(words) + if self.checked { check_bytes(self.k) } else { 0 }
    }
}

impl Place<'_> {
    /// Tile number `tile` of those that begin here.
    fn tile(self, tile: usize) -> Self {
        Self { at: self.at + (tile * WORDS) as u64, ..self }
    }
}

impl Room {
    fn new(k: usize) -> Self {
        let columns = vec![[0; WORDS]; 128].try_into().expect("128 columns");
        let rows = vec![0; TILE].try_into().expect("a tile of rows");
        Self { work: vec![[0; WORDS]; 1 << k], columns, rows }
    }

    /// A tile or the beginning of one: `each` gets a block's number, its columns and the xor of its leaves. `rows` are
    /// 128 a word.
    fn tile(&mut self, from: Place<'_>, rows: &mut [u128], mut each: impl FnMut(usize, &mut [Column], &Column)) {
        let words = rows.len() / 128;
        let k = self.work.len().ilog2() as usize;
        let (mut leaves, mut columns) = (from.leaves, &mut self.columns[..]);
        for (block, width) in widths(k).enumerate() {
            let (own, rest) = leaves.split_at(1 << width);
            let (block_columns, other) = std::mem::take(&mut columns).split_at_mut(width);
            (leaves, columns) = (rest, other);
            let work = &mut self.work[..1 << width];
            work[0] = [0; WORDS];
            for (stream, leaf) in work.iter_mut().zip(own).skip(usize::from(from.sender)) {
                leaf.counter(0, from.at, &mut stream[..words]);
            }
            columns::fold(work, block_columns);
            each(block, block_columns, &work[0]);
        }
        match rows.first_chunk_mut() {
            Some(rows) => columns::transpose(&self.columns, rows),
            None => {
                columns::transpose(&self.columns, &mut self.rows);
                rows.copy_from_slice(&self.rows[..128 * words]);
            }
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.work.zeroize();
        self.columns.iter_mut().for_each(Zeroize::zeroize);
        self.rows.zeroize();
    }
}

/// What a message has more where it is checked.
fn check_bytes(width: usize) -> usize {
    128_usize.div_ceil(width) * 16 + PROOF
}

/// Bytes that the receiver sends for `words` words of 128 transfers, at a block width: that of a link is checked.
pub(crate) fn extension_bytes(words: usize, width: usize) -> usize {
    let checks = if width == LINK_WIDTH { words.div_ceil(CHUNK_WORDS) * check_bytes(width) } else { 0 };
    128_usize.div_ceil(width) * 16 * words + checks
}

/// Sizes of the messages that `words` words are sent in.
pub(super) fn chunks(words: usize) -> impl Iterator<Item = usize> {
    (0..words).step_by(CHUNK_WORDS).map(move |at| CHUNK_WORDS.min(words - at))
}

/// The party that holds Delta and both values of every transfer.
pub struct OtSender {
    /// Boxed: wherever a sender is moved, Delta stays in one place.
    pub(super) delta: Box<Zeroizing<u128>>,
    pub(super) hash_keys: KeySequence,
    pub(super) session: [u8; 32],
    pub(super) streams: Streams,
    pub(super) stock: Stock,
    pub(super) silent: Option<silent::Sender>,
}

/// The party that chooses.
pub struct OtReceiver {
    /// Makes choices of transfers that are given up.
    pub(super) mask: Box<Aes128>,
    pub(super) hash_keys: KeySequence,
    pub(super) session: [u8; 32],
    pub(super) streams: Streams,
    pub(super) stock: Stock,
    pub(super) silent: Option<silent::Receiver>,
}

impl OtSender {
    /// Delta: labels of one wire differ by it.
    pub(crate) fn delta(&self) -> u128 {
        **self.delta
    }

    /// The public identifier of this pairing of a sender and a receiver.
    pub(crate) fn session(&self) -> &[u8; 32] {
        &self.session
    }

    /// The zero labels of the next transfers, 128 for each of at most [`CHUNK_WORDS`] words, from one message.
    pub(crate) fn extend(&mut self, channel: &mut Channel, labels: &mut [u128]) -> Result<()> {
        match self.silent {
            Some(_) => self.extend_silent(channel, labels),
            None => self.extend_softspoken(channel, labels),
        }
    }

    /// The same by SoftSpoken.
    pub(super) fn extend_softspoken(&mut self, channel: &mut Channel, labels: &mut [u128]) -> Result<()> {
        let words = labels.len() / 128;
        assert!(labels.len().is_multiple_of(128) && words <= CHUNK_WORDS, "{} labels in one message", labels.len());
        let message = channel.recv_exact(self.streams.message_len(words))?;
        let used = self.streams.used;
        let (corrections, more) = message.split_at(self.streams.corrections_len(words));
        self.correct(corrections, labels);
        if self.streams.checked {
            let (given_up, proof) = more.split_at(more.len() - PROOF);
            let mut last = Zeroizing::new([0; 128]);
            self.correct(given_up, &mut *last);
            let check = Check::new(&self.session, used, &message[..message.len() - PROOF]);
            if !check.holds(proof, self.delta(), &[labels, &*last]) {
                labels.zeroize();
                let what = "the peer's choices of transfers contradict each other: it deviates from the protocol";
                return Err(Error::protocol(what));
            }
        }
        recycle::give(message);
        Ok(())
    }

    /// The zero labels of the next words, of which these are the receiver's corrections.
    fn correct(&mut self, corrections: &[u8], labels: &mut [u128]) {
        let (k, delta, size) = (self.streams.k, self.delta(), self.streams.corrections_len(WORDS));
        let (from, rooms, tiles) = self.streams.take(labels.len() / 128, true);
        let parts = labels.par_chunks_mut(tiles * TILE).zip(corrections.par_chunks(tiles * size)).zip(rooms);
        parts.enumerate().for_each(|(part, ((labels, message), room))| {
            let mut corrections = message.chunks_exact(16).map(bytemuck::pod_read_unaligned::<u128>);
            for (tile, rows) in labels.chunks_mut(TILE).enumerate() {
                let words = rows.len() / 128;
                room.tile(from.tile(part * tiles + tile), rows, |block, columns, _| {
                    let mut c = [0; WORDS];
                    c.iter_mut().zip(corrections.by_ref().take(words)).for_each(|(c, w)| *c = w);
                    for (bit, column) in columns.iter_mut().enumerate() {
                        let keep = (delta >> (block * k + bit) & 1).wrapping_neg();
                        column.iter_mut().zip(&c).for_each(|(q, c)| *q ^= c & keep);
                    }
                });
            }
        });
    }

    /// The zero labels of `n` transfers; the peer calls [`OtReceiver::labels`].
    pub fn labels(&mut self, channel: &mut Channel, n: usize) -> Result<Vec<u128>> {
        self.ahead(channel, n.next_multiple_of(128))?;
        let mut labels = vec![0; n.next_multiple_of(128)];
        labels.chunks_mut(128 * CHUNK_WORDS).try_for_each(|labels| self.extend(channel, labels))?;
        labels.truncate(n);
        Ok(labels)
    }
}

impl OtReceiver {
    /// The public identifier of this pairing of a sender and a receiver.
    pub(crate) fn session(&self) -> &[u8; 32] {
        &self.session
    }

    /// The chosen labels of the next transfers, 128 for each of at most [`CHUNK_WORDS`] words of choices; sends one
    /// message.
    pub(crate) fn extend(&mut self, channel: &mut Channel, choices: &[u128], labels: &mut [u128]) -> Result<()> {
        match self.silent {
            Some(_) => self.extend_silent(channel, choices, labels),
            None => self.extend_softspoken(channel, choices, labels),
        }
    }

    /// The same by SoftSpoken.
    pub(super) fn extend_softspoken(
        &mut self,
        channel: &mut Channel,
        choices: &[u128],
        labels: &mut [u128],
    ) -> Result<()> {
        assert!(choices.len() <= CHUNK_WORDS, "{} words in one message", choices.len());
        assert_eq!(labels.len(), 128 * choices.len(), "128 labels a word");
        let len = self.streams.message_len(choices.len());
        let mut message = recycle::with_capacity(len);
        message.resize(len, 0);
        let used = self.streams.used;
        let (corrections, more) = message.split_at_mut(self.streams.corrections_len(choices.len()));
        self.choose_words(choices, labels, corrections);
        if self.streams.checked {
            // Random choices, of transfers that are given up for the check.
            let mut mask = Zeroizing::new([0]);
            self.mask.counter(0, used, &mut *mask);
            let mut last = Zeroizing::new([0; 128]);
            let (given_up, _) = more.split_at_mut(more.len() - PROOF);
            self.choose_words(&*mask, &mut *last, given_up);
            let (said, proof) = message.split_at_mut(len - PROOF);
            let check = Check::new(&self.session, used, said);
            proof.copy_from_slice(&check.prove(&[choices, &*mask], &[labels, &*last]));
        }
        Ok(channel.send(message)?)
    }

    /// The labels that the next words of choices select, and the corrections that leave for them.
    fn choose_words(&mut self, choices: &[u128], labels: &mut [u128], corrections: &mut [u8]) {
        let size = self.streams.corrections_len(WORDS);
        let (from, rooms, tiles) = self.streams.take(choices.len(), false);
        let parts = labels.par_chunks_mut(tiles * TILE).zip(choices.par_chunks(tiles * WORDS));
        let parts = parts.zip(corrections.par_chunks_mut(tiles * size)).zip(rooms);
        parts.enumerate().for_each(|(part, (((labels, choices), mut message), room))| {
            for (tile, (chosen, rows)) in choices.chunks(WORDS).zip(labels.chunks_mut(TILE)).enumerate() {
                room.tile(from.tile(part * tiles + tile), rows, |_, _, sum| {
                    let mut c = *sum;
                    c.iter_mut().zip(chosen).for_each(|(c, b)| *c ^= b);
                    let (section, rest) = std::mem::take(&mut message).split_at_mut(16 * chosen.len());
                    section.copy_from_slice(bytemuck::cast_slice(&c[..chosen.len()]));
                    message = rest;
                });
            }
        });
    }

    /// The labels that `choices` (0 or 1 each) select; the peer calls [`OtSender::labels`].
    pub fn labels(&mut self, channel: &mut Channel, choices: &[u8]) -> Result<Vec<u128>> {
        let packed = Zeroizing::new(super::pack::pack_choices(choices));
        self.ahead(channel, 128 * packed.len())?;
        let mut labels = vec![0; 128 * packed.len()];
        for (words, labels) in packed.chunks(CHUNK_WORDS).zip(labels.chunks_mut(128 * CHUNK_WORDS)) {
            self.extend(channel, words, labels)?;
        }
        labels.truncate(choices.len());
        Ok(labels)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use blindvox_engine::stack::leaving_nothing;

    use blindvox_engine::Prng;

    use super::*;
    use crate::error::Error;
    use crate::memory::{Pattern, find};
    use crate::share::Ring;
    use blindvox_net::channel::{Party, local_pair};
    use blindvox_net::testing::{Fault, Harm, Relay};

    pub(in super::super) fn pair(k: usize) -> ((OtSender, Channel), (OtReceiver, Channel)) {
        over(local_pair(), k)
    }

    /// The same as between hosts.
    pub(in super::super) fn linked(k: usize) -> ((OtSender, Channel), (OtReceiver, Channel)) {
        let (client, server) = blindvox_net::transport::local::pair();
        over((Channel::new(client), Channel::new(server)), k)
    }

    fn over((mut client, mut server): (Channel, Channel), k: usize) -> ((OtSender, Channel), (OtReceiver, Channel)) {
        let receiver = std::thread::spawn(move || {
            let r = OtReceiver::setup_with_width(&mut client, &mut Prng::from_seed_for_tests([1; 32]), k).unwrap();
            (r, client)
        });
        let s = OtSender::setup_with_width(&mut server, &mut Prng::from_seed_for_tests([2; 32]), k).unwrap();
        ((s, server), receiver.join().unwrap())
    }

    #[test]
    fn labels_differ_by_the_chosen_multiple_of_delta_at_every_width() {
        for k in 1..=8 {
            let ((mut s, mut server), (mut r, mut client)) = pair(k);
            assert_eq!(s.delta() & 1, 1);
            assert_eq!((client.stats().total.sent, client.stats().total.received), (65 + 4096, 4096));
            for n in [0, 1, 127, 128, 129, 5000, 70_001] {
                let choices = Prng::from_os().unwrap().fill::<u8>(n).iter().map(|b| b & 1).collect::<Vec<_>>();
                let before = client.stats().total;
                let active = r.labels(&mut client, &choices).unwrap();
                let zero = s.labels(&mut server, n).unwrap();
                assert_eq!((client.stats().total - before).sent as usize, n.div_ceil(128) * 16 * 128usize.div_ceil(k));
                assert_eq!(zero.len(), n);
                for ((z, a), b) in zero.iter().zip(&active).zip(choices) {
                    assert_eq!(z ^ a, s.delta() * u128::from(b));
                }
                let mut distinct = zero;
                distinct.sort_unstable();
                distinct.dedup();
                assert_eq!(distinct.len(), n);
            }
        }
    }

    /// A party leaves neither its Delta in memory nor the seed of a leaf, which begins that leaf's round keys, nor a
    /// label.
    #[test]
    fn no_leaf_and_no_delta_is_left_in_memory() {
        let (mut client, mut server) = local_pair();
        let patterns = std::thread::scope(|scope| {
            let receiver = scope.spawn(move || {
                leaving_nothing(|| {
                    let mut r = OtReceiver::setup(&mut client, &mut Prng::from_os().unwrap()).unwrap();
                    r.cot(&mut client, &[1; 5000], Ring::FULL).unwrap();
                    let active = Zeroizing::new(r.labels(&mut client, &[1; 128]).unwrap());
                    Pattern::new("a chosen label", bytemuck::bytes_of(&active[77]))
                })
            });
            let [delta, seed] = leaving_nothing(|| {
                let mut prng = Prng::from_os().unwrap();
                let mut s = OtSender::setup(&mut server, &mut prng).unwrap();
                s.cot(&mut server, &[7; 5000], Ring::FULL).unwrap();
                drop(Zeroizing::new(s.labels(&mut server, 128).unwrap()));
                let seeds = Zeroizing::new(prng.fill::<u128>(1 << 4));
                let streams = Streams::new(4, false, &seeds);
                let patterns = [("Delta", &**s.delta), ("a leaf", &seeds[5])];
                let patterns = patterns.map(|(name, secret)| Pattern::new(name, bytemuck::bytes_of(secret)));
                // The looking itself: both have their places.
                assert!(find(&patterns).is_none_or(|counts| counts[0].1 >= 1 && counts[1].1 >= 2));
                drop(streams);
                patterns
            });
            [delta, seed, receiver.join().unwrap()]
        });
        rayon::broadcast(|_| ());
        let Some(counts) = find(&patterns) else { return };
        assert!(counts.iter().all(|(_, count)| *count == 0), "{counts:?}");
    }

    /// Two extensions as between hosts, a message of the receiver's harmed: what the sender makes of each.
    fn harmed(k: usize, harm: Option<(usize, Fault)>) -> Vec<Result<Vec<u128>>> {
        // The receiver's messages of the set-up: hello, ciphertexts, sums.
        let harm = harm.map(|(at, fault)| Harm { from: Party::Client, pass: 3 + at, fault });
        let (_relay, mut client, mut server) = Relay::between(harm);
        std::thread::scope(move |scope| {
            scope.spawn(move || {
                let mut prng = Prng::from_seed_for_tests([1; 32]);
                let mut r = OtReceiver::setup_with_width(&mut client, &mut prng, k).unwrap();
                (0..2).for_each(|_| drop(r.labels(&mut client, &[1; 5000])));
                let _ = client.recv();
            });
            let mut s = OtSender::setup_with_width(&mut server, &mut Prng::from_seed_for_tests([2; 32]), k).unwrap();
            let found = (0..2).map(|_| s.labels(&mut server, 5000)).collect();
            // The receiver waits for that.
            drop(server);
            found
        })
    }

    #[test]
    fn choices_that_differ_between_blocks_are_noticed() {
        for k in [2, 4, 7] {
            assert!(harmed(k, None).iter().all(Result::is_ok));
        }
        let length = 8 * (extension_bytes(40, 4) - PROOF);
        // A choice of the first block, one of the last tile, one that is given up; the hash of the choices, the digest; and
        // many.
        let turned = [0, 8 * 16 * 32 * 32 + 5, length - 1, length, length + 128, length + 8 * PROOF - 1];
        for fault in turned.map(|bit| Fault::Turned { bit }).into_iter().chain([Fault::Scrambled]) {
            for at in 0..2 {
                let results = harmed(4, Some((at, fault)));
                assert!(at == 0 || results[0].is_ok());
                let text = results[at].as_ref().unwrap_err().to_string();
                assert!(text.contains("contradict each other"), "{fault:?}: {text}");
            }
        }
    }

    #[test]
    fn broken_messages_are_errors() {
        let ((mut s, mut server), (_, mut client)) = pair(4);
        client.send(vec![0; 17]).unwrap();
        assert!(matches!(s.labels(&mut server, 128), Err(Error::Protocol(_))));
        drop(client);
        assert!(matches!(s.labels(&mut server, 128), Err(Error::Connection(_))));
    }
}
