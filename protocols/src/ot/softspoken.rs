//! OT extension: Roy, "SoftSpokenOT" (CRYPTO 2022), semi-honest; at width k = 1 it is IKNP (2003).
//!
//! Delta's 128 bits are cut into blocks of k bits. For each block the receiver holds 2^k seeds and the sender all but the
//! one numbered by its block alpha of Delta. With r_x the streams of the seeds, the receiver has u = xor of all r_x and
//! v = sum of x·r_x, the sender w = sum of (x xor alpha)·r_x = v xor alpha·u, to which alpha's own stream adds nothing.
//! The receiver sends c = u xor b; then w xor alpha·c = v xor alpha·b, which over all blocks is q = v xor b·Delta.
//! A transfer costs 128/k bits and 2^k·128/k bits of stream.
//!
//! | # | from -> to | content | bytes | phase |
//! |---|---|---|---|---|
//! | 1 | receiver -> sender | k, nonce, point of the base OT | 1 + 32 + 32 | setup |
//! | 2 | sender -> receiver | points of the base OT, which choose by Delta | 128·32 | setup |
//! | 3 | receiver -> sender | both side sums of each tree level, masked by the base keys | 128·2·16 | setup |
//!
//! A second direction takes its 128 base transfers from the first one, whose *sender* has pairs of keys and is its
//! receiver (`setup_from`):
//!
//! | # | from -> to | content | bytes | phase |
//! |---|---|---|---|---|
//! | 1 | receiver -> sender | k, nonce | 1 + 32 | setup |
//! | 2 | sender -> receiver | 128 transfers of the first direction, which choose by the new Delta | 16·ceil(128/k) | setup |
//! | 3 | receiver -> sender | both side sums of each tree level, masked by their keys | 128·2·16 | setup |
//!
//! Then:
//!
//! | # | from -> to | content | bytes | phase |
//! |---|---|---|---|---|
//! | 4 | receiver -> sender | c, for every 128 transfers begun | 16·ceil(128/k) | extension |
//!
//! Transfers are numbered in words of 128; a tile of 4096 is worked on at a time (a column of a tile is 512 bytes, so the
//! 2^k streams of a block stay in the nearest cache), and a message covers at most [`CHUNK_WORDS`] words.
//!
//! **The width** is public. A wider block costs fewer bytes and more stream: on a link 4 bytes a transfer (k = 4), in one process, where
//! bytes are free, 8 of them (k = 2). The channel says which; the first message carries it, and a party that uses another refuses it.
//!
//! **Why base transfers may come from an extension.** A set-up needs 128 transfers of random keys: the one party with both keys of a
//! pair, the other with the one that its secret bit selects, and nothing more on either side. Random transfers (`rot`)
//! are just that: the receiver's bits are masked by streams of seeds that the sender lacks, and a key not chosen is the hash of a label at a
//! distance of the first Delta, which the receiver doesn't know; so by composition of semi-honest protocols either may stand in for the other. What that
//! needs: the new Delta is drawn afresh and independently of all before; the 128 transfers serve nothing else (stream and
//! hash key counters of the first direction move past them); the new identifier, and so all hash keys, depends on the first one's, on the
//! place in its stream, and on a new nonce. Directions are then as strong as the first of them, in one assumption each: discrete logarithms (base),
//! the generators, the hash (about 119 bits, as everywhere here). A party that deviates is outside this model; a receiver that found the first
//! Delta by deviating would find the other directions' seeds as well.

use blindvox_engine::Prng;
use blindvox_engine::aes::{Aes128, KeySequence};
use blindvox_net::channel::Channel;
use blindvox_net::transport::recycle;
use zeroize::{Zeroize, Zeroizing};

use super::base::{BaseReceiver, BaseSender, POINT};
use super::columns::{self, Column, TILE, WORDS};
use super::silent;
use super::stock::Stock;
use super::tree;
use crate::error::{Error, Result};

/// The block width on a link: 4 bytes a transfer.
pub const LINK_WIDTH: usize = 4;
/// The block width in one process: 8 bytes a transfer, and a third less work.
pub const LOCAL_WIDTH: usize = 2;

/// The block width over this channel: public, and the peer's is held to it.
fn width_of(channel: &Channel) -> usize {
    if channel.is_local() { LOCAL_WIDTH } else { LINK_WIDTH }
}
/// Transfers of one message, in words of 128.
pub(crate) const CHUNK_WORDS: usize = 512;
/// The largest block width.
const MAX_WIDTH: usize = 8;
const NONCE: usize = 32;

/// Widths of the blocks: k each, the last one what is left of 128.
fn widths(k: usize) -> impl Iterator<Item = usize> + Clone {
    (0..128).step_by(k).map(move |at| k.min(128 - at))
}

/// The streams of all leaves and the room to work on a tile of them.
struct Streams {
    k: usize,
    leaves: Vec<Aes128>,
    /// Words of 128 transfers used so far.
    used: u64,
    work: Vec<Column>,
    columns: Box<[Column; 128]>,
    rows: Box<[u128; TILE]>,
}

impl Streams {
    fn new(k: usize, seeds: &[u128]) -> Self {
        let mut leaves = vec![Aes128::default(); seeds.len()];
        Aes128::expand(seeds, &mut leaves);
        let columns = vec![[0; WORDS]; 128].try_into().expect("128 columns");
        let rows = vec![0; TILE].try_into().expect("a tile of rows");
        Self { k, leaves, used: 0, work: vec![[0; WORDS]; 1 << k], columns, rows }
    }

    /// The next `words` (at most a tile) of every block: `each` gets the block's columns and the xor of its leaves.
    /// A sender's leaf 0 is not known and counts as zero. `rows` are 128 a word.
    fn tile(
        &mut self,
        words: usize,
        sender: bool,
        rows: &mut [u128],
        mut each: impl FnMut(usize, &mut [Column], &Column),
    ) {
        let (mut leaves, mut columns) = (&self.leaves[..], &mut self.columns[..]);
        for (block, width) in widths(self.k).enumerate() {
            let (own, rest) = leaves.split_at(1 << width);
            let (block_columns, other) = std::mem::take(&mut columns).split_at_mut(width);
            (leaves, columns) = (rest, other);
            let work = &mut self.work[..1 << width];
            work[0] = [0; WORDS];
            for (stream, leaf) in work.iter_mut().zip(own).skip(usize::from(sender)) {
                leaf.counter(0, self.used, &mut stream[..words]);
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
        self.used += words as u64;
    }

    fn message_len(&self, words: usize) -> usize {
        widths(self.k).count() * 16 * words
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.work.zeroize();
        self.columns.iter_mut().for_each(Zeroize::zeroize);
        self.rows.zeroize();
    }
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
    session: [u8; 32],
    streams: Streams,
    pub(super) stock: Stock,
    pub(super) silent: Option<silent::Sender>,
}

/// The party that chooses.
pub struct OtReceiver {
    pub(super) hash_keys: KeySequence,
    session: [u8; 32],
    streams: Streams,
    pub(super) stock: Stock,
    pub(super) silent: Option<silent::Receiver>,
}

impl OtSender {
    /// Agrees with the peer's [`OtReceiver::setup`], at the width of the channel's kind. Delta is random but for its lowest bit, which is 1
    /// (the colour bit of garbled labels).
    pub fn setup(channel: &mut Channel, prng: &mut Prng) -> Result<Self> {
        Self::setup_with_width(channel, prng, width_of(channel))
    }

    /// The same with a block width of 1 (IKNP) to 8; both parties must name the same.
    pub fn setup_with_width(channel: &mut Channel, prng: &mut Prng, k: usize) -> Result<Self> {
        Self::agree(channel, prng, k, POINT, |channel, prng, point, choices| {
            let (receiver, reply) = BaseReceiver::new(point, choices, prng)?;
            channel.send(reply)?;
            let (keys, public) = receiver.finish();
            Ok((keys, *public.as_bytes()))
        })
    }

    /// Takes the base transfers from the other direction; agrees with the peer's [`OtReceiver::setup_from`].
    pub fn setup_from(first: &mut OtReceiver, channel: &mut Channel, prng: &mut Prng) -> Result<Self> {
        Self::agree(channel, prng, width_of(channel), 0, |channel, _, _, choices| {
            let place = first.place();
            Ok((Zeroizing::new(first.rot(channel, choices)?), place))
        })
    }

    /// `base` makes the base transfers: from what the first message holds behind the nonce, `extra` bytes, and secret choices, the keys
    /// chosen and a public value that identifies the transfers.
    fn agree(
        channel: &mut Channel,
        prng: &mut Prng,
        k: usize,
        extra: usize,
        base: impl FnOnce(&mut Channel, &mut Prng, &[u8], &[u8]) -> Result<(Zeroizing<Vec<u128>>, [u8; 32])>,
    ) -> Result<Self> {
        check_width(k)?;
        let mut delta = Box::new(Zeroizing::new(0u128));
        prng.fill_bytes(bytemuck::bytes_of_mut(&mut **delta));
        **delta |= 1;
        // Base transfers run block by block, the highest bit of a block first. The sender needs the sums of the sides that
        // its path does not take, so it chooses by the complement.
        let turns: Zeroizing<Vec<u8>> = Zeroizing::new(
            widths(k)
                .scan(0, |at, w| Some((std::mem::replace(at, *at + w), w)))
                .flat_map(|(at, w)| (at..at + w).rev())
                .map(|bit| (**delta >> bit) as u8 & 1)
                .collect(),
        );
        let hello = channel.recv_exact(1 + NONCE + extra)?;
        if usize::from(hello[0]) != k {
            return Err(Error::protocol(format!("OT extension of width {}, this party uses {k}", hello[0])));
        }
        let choices: Zeroizing<Vec<u8>> = Zeroizing::new(turns.iter().map(|t| 1 - t).collect());
        let (keys, public) = base(channel, prng, &hello[1 + NONCE..], &choices)?;
        let masked = channel.recv_exact(128 * 32)?;
        let sums: Zeroizing<Vec<u128>> = Zeroizing::new(
            masked
                .chunks_exact(32)
                .zip(keys.iter().zip(choices.iter()))
                .map(|(pair, (key, &choice))| {
                    let [left, right] = [&pair[..16], &pair[16..]].map(bytemuck::pod_read_unaligned::<u128>);
                    key ^ left ^ ((left ^ right) & u128::from(choice).wrapping_neg())
                })
                .collect(),
        );
        // Of the right size at once: a vector that grows leaves its former block uncleared.
        let mut seeds = Zeroizing::new(Vec::with_capacity(widths(k).map(|w| 1 << w).sum()));
        let mut at = 0;
        for (block, width) in widths(k).enumerate() {
            let range = at..at + width;
            seeds.extend_from_slice(&tree::grow_punctured(&turns[range.clone()], &sums[range], block));
            at += width;
        }
        let session = session(channel, &hello, &public);
        let hash_keys = KeySequence::new(&session, "OT output hash");
        Ok(Self { delta, hash_keys, session, streams: Streams::new(k, &seeds), stock: Stock::default(), silent: None })
    }

    /// Where in its transfers this direction is: public, alike for both parties, and never the same twice.
    fn place(&self) -> [u8; 32] {
        place(&self.session, self.streams.used)
    }

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
        let mut corrections = message.chunks_exact(16).map(bytemuck::pod_read_unaligned::<u128>);
        let (k, delta) = (self.streams.k, self.delta());
        for rows in labels.chunks_mut(TILE) {
            let words = rows.len() / 128;
            self.streams.tile(words, true, rows, |block, columns, _| {
                let mut c = [0; WORDS];
                c.iter_mut().zip(corrections.by_ref().take(words)).for_each(|(c, w)| *c = w);
                for (bit, column) in columns.iter_mut().enumerate() {
                    let keep = (delta >> (block * k + bit) & 1).wrapping_neg();
                    column.iter_mut().zip(&c).for_each(|(q, c)| *q ^= c & keep);
                }
            });
        }
        recycle::give(message);
        Ok(())
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
    /// Agrees with the peer's [`OtSender::setup`].
    pub fn setup(channel: &mut Channel, prng: &mut Prng) -> Result<Self> {
        Self::setup_with_width(channel, prng, width_of(channel))
    }

    /// The same with a block width of 1 (IKNP) to 8; both parties must name the same.
    pub fn setup_with_width(channel: &mut Channel, prng: &mut Prng, k: usize) -> Result<Self> {
        let (sender, point) = BaseSender::new(prng);
        Self::agree(channel, prng, k, &point, |channel| {
            let (pairs, public) = sender.finish(&channel.recv_exact(128 * POINT)?)?;
            Ok((pairs, *public.as_bytes()))
        })
    }

    /// Takes the base transfers from the other direction; agrees with the peer's [`OtSender::setup_from`].
    pub fn setup_from(first: &mut OtSender, channel: &mut Channel, prng: &mut Prng) -> Result<Self> {
        Self::agree(channel, prng, width_of(channel), &[], |channel| {
            let place = first.place();
            Ok((Zeroizing::new(first.rot(channel, 128)?), place))
        })
    }

    /// `base` makes the base transfers, whose first message is `extra`: both keys of each and a public value that identifies them.
    fn agree(
        channel: &mut Channel,
        prng: &mut Prng,
        k: usize,
        extra: &[u8],
        base: impl FnOnce(&mut Channel) -> Result<(Zeroizing<Vec<[u128; 2]>>, [u8; 32])>,
    ) -> Result<Self> {
        check_width(k)?;
        let nonce: [u8; NONCE] = prng.seed();
        let hello = [&[k as u8][..], &nonce, extra].concat();
        channel.send(hello.clone())?;
        let (pairs, public) = base(channel)?;
        let roots = Zeroizing::new(prng.fill::<u128>(128_usize.div_ceil(k)));
        // Of the right size at once: a vector that grows leaves its former block uncleared.
        let mut seeds = Zeroizing::new(Vec::with_capacity(widths(k).map(|w| 1 << w).sum()));
        let mut masked = Vec::with_capacity(128 * 32);
        let mut keys = pairs.iter();
        for (block, (width, &root)) in widths(k).zip(roots.iter()).enumerate() {
            let (leaves, sums) = tree::grow(root, block, width);
            for (sum, key) in sums.iter().zip(keys.by_ref()) {
                masked.extend_from_slice(&(sum[0] ^ key[0]).to_le_bytes());
                masked.extend_from_slice(&(sum[1] ^ key[1]).to_le_bytes());
            }
            seeds.extend_from_slice(&leaves);
        }
        channel.send(masked)?;
        let session = session(channel, &hello, &public);
        let hash_keys = KeySequence::new(&session, "OT output hash");
        Ok(Self { hash_keys, session, streams: Streams::new(k, &seeds), stock: Stock::default(), silent: None })
    }

    /// As the sender's.
    fn place(&self) -> [u8; 32] {
        place(&self.session, self.streams.used)
    }

    /// The public identifier of this pairing of a sender and a receiver.
    pub(crate) fn session(&self) -> &[u8; 32] {
        &self.session
    }

    /// The chosen labels of the next transfers, 128 for each of at most [`CHUNK_WORDS`] words of choices; sends one message.
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
        let mut message = recycle::with_capacity(self.streams.message_len(choices.len()));
        for (chosen, rows) in choices.chunks(WORDS).zip(labels.chunks_mut(TILE)) {
            self.streams.tile(chosen.len(), false, rows, |_, _, sum| {
                let mut c = *sum;
                c.iter_mut().zip(chosen).for_each(|(c, b)| *c ^= b);
                message.extend_from_slice(bytemuck::cast_slice(&c[..chosen.len()]));
            });
        }
        Ok(channel.send(message)?)
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

fn check_width(k: usize) -> Result<()> {
    if (1..=MAX_WIDTH).contains(&k) {
        Ok(())
    } else {
        Err(Error::Input(format!("OT extension of width {k}, possible are 1 to {MAX_WIDTH}")))
    }
}

/// Both parties added randomness to what is hashed here, so no two sessions or directions share hash keys; nor do parties that have agreed
/// on different things before.
fn session(channel: &Channel, hello: &[u8], public: &[u8; 32]) -> [u8; 32] {
    *blake3::Hasher::new_keyed(channel.binding()).update(hello).update(public).finalize().as_bytes()
}

/// Identifies the transfers of a session from word `used` on.
fn place(session: &[u8; 32], used: u64) -> [u8; 32] {
    *blake3::Hasher::new_keyed(session).update(b"base of a direction").update(&used.to_le_bytes()).finalize().as_bytes()
}

#[cfg(test)]
pub(super) mod tests {
    use blindvox_engine::stack::leaving_nothing;

    use super::super::OtPair;
    use super::*;
    use crate::memory::{Pattern, find};
    use crate::share::Ring;
    use blindvox_net::channel::{Party, local_pair};

    pub(in super::super) fn pair(k: usize) -> ((OtSender, Channel), (OtReceiver, Channel)) {
        let (mut client, mut server) = local_pair();
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

    /// A party leaves neither its Delta in memory nor the seed of a leaf, which begins that leaf's round keys, nor a label.
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
                let streams = Streams::new(4, &seeds);
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

    /// Both parties with two directions each, of which the second took its base transfers from the first.
    fn directions() -> ((OtPair, Channel), (OtPair, Channel)) {
        let (mut client, mut server) = local_pair();
        let there = std::thread::spawn(move || {
            (OtPair::setup(Party::Client, &mut client, &mut Prng::from_seed_for_tests([1; 32])).unwrap(), client)
        });
        let here = OtPair::setup(Party::Server, &mut server, &mut Prng::from_seed_for_tests([2; 32])).unwrap();
        (there.join().unwrap(), (here, server))
    }

    #[test]
    fn a_direction_out_of_another_is_as_good_and_independent() {
        let ((mut client, mut to_server), (mut server, mut to_client)) = directions();
        let base = 65 + 2 * 4096;
        let from_first = 33 + 16 * 128 / LOCAL_WIDTH + 4096;
        assert_eq!(to_server.stats().total.sent + to_server.stats().total.received, (base + from_first) as u64);
        assert_ne!(client.send.delta(), server.send.delta());
        assert_eq!(client.send.session(), server.recv.session());
        assert_eq!(client.recv.session(), server.send.session());
        assert_ne!(client.send.session(), client.recv.session());
        let choices = Prng::from_os().unwrap().fill::<u8>(5000).iter().map(|b| b & 1).collect::<Vec<_>>();
        for (s, r) in [(&mut client.send, &mut server.recv), (&mut server.send, &mut client.recv)] {
            let (mut here, mut there) = local_pair();
            let active = r.labels(&mut here, &choices).unwrap();
            let zero = s.labels(&mut there, choices.len()).unwrap();
            for ((z, a), b) in zero.iter().zip(&active).zip(&choices) {
                assert_eq!(z ^ a, s.delta() * u128::from(*b));
            }
        }
        // A third one, the garbler's: again new labels, Delta and identifier.
        let third = std::thread::scope(|scope| {
            let (ot, channel) = (&mut client.send, &mut to_server);
            let there = scope.spawn(move || {
                let mut prng = Prng::from_seed_for_tests([3; 32]);
                OtReceiver::setup_from(ot, channel, &mut prng).unwrap()
            });
            let mut prng = Prng::from_seed_for_tests([4; 32]);
            let sender = OtSender::setup_from(&mut server.recv, &mut to_client, &mut prng).unwrap();
            (sender, there.join().unwrap())
        });
        assert_eq!(third.0.session(), third.1.session());
        for other in [client.send.session(), client.recv.session()] {
            assert_ne!(third.0.session(), other);
        }
        assert!(third.0.delta() != client.send.delta() && third.0.delta() != server.send.delta());
    }

    #[test]
    fn identifiers_differ_where_the_place_in_the_first_direction_does() {
        let places: Vec<_> = [(1, 0), (1, 1), (2, 0)].map(|(session, used)| place(&[session; 32], used)).into();
        assert!(places[0] != places[1] && places[0] != places[2] && places[1] != places[2]);
    }

    #[test]
    fn broken_messages_of_a_second_direction_are_errors() {
        let hello = |width: u8, len: usize| [&[width][..], &vec![7; len - 1]].concat();
        let width = LOCAL_WIDTH as u8;
        // The peer of a new sender: its first and its last message.
        for (first, last) in [
            (hello(width, 32), vec![]),
            (hello(width, 34), vec![]),
            (hello(width + 1, 33), vec![]),
            (hello(width, 33), vec![0; 4095]),
            (hello(width, 33), vec![0; 4097]),
        ] {
            let ((mut client, mut to_server), (_, mut to_client)) = directions();
            to_client.send(first).unwrap();
            to_client.send(last).unwrap();
            let mut prng = Prng::from_seed_for_tests([3; 32]);
            let found = OtSender::setup_from(&mut client.recv, &mut to_server, &mut prng);
            assert!(matches!(found, Err(Error::Protocol(_))));
        }
        // The peer of a new receiver: its transfers.
        for len in [0, 16 * 128 / LOCAL_WIDTH - 1, 16 * 128 / LOCAL_WIDTH + 16] {
            let ((mut client, mut to_server), (_, mut to_client)) = directions();
            to_client.send(vec![0; len]).unwrap();
            let mut prng = Prng::from_seed_for_tests([3; 32]);
            let found = OtReceiver::setup_from(&mut client.send, &mut to_server, &mut prng);
            assert!(matches!(found, Err(Error::Protocol(_))));
            drop(to_client);
            let found = OtReceiver::setup_from(&mut client.send, &mut to_server, &mut prng);
            assert!(matches!(found, Err(Error::Connection(_))));
        }
    }

    #[test]
    fn the_channel_decides_the_width() {
        let (mut client, mut server) = local_pair();
        assert_eq!((width_of(&client), width_of(&server)), (LOCAL_WIDTH, LOCAL_WIDTH));
        // A peer that took the other kind's width.
        let mut prng = Prng::from_seed_for_tests([1; 32]);
        let there = std::thread::spawn(move || {
            let mut prng = Prng::from_seed_for_tests([2; 32]);
            OtReceiver::setup_with_width(&mut client, &mut prng, LINK_WIDTH).err()
        });
        let text = OtSender::setup(&mut server, &mut prng).err().unwrap().to_string();
        assert!(text.contains("width 4, this party uses 2"), "{text}");
        drop(server);
        assert!(there.join().unwrap().is_some());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(width_of(&Channel::tcp(socket).unwrap()), LINK_WIDTH);
    }

    #[test]
    fn widths_must_agree_and_be_possible() {
        let (mut client, mut server) = local_pair();
        let mut prng = Prng::from_seed_for_tests([1; 32]);
        assert!(matches!(OtSender::setup_with_width(&mut server, &mut prng, 9), Err(Error::Input(_))));
        let there = std::thread::spawn(move || {
            let mut prng = Prng::from_seed_for_tests([2; 32]);
            OtReceiver::setup_with_width(&mut client, &mut prng, 2).err()
        });
        assert!(matches!(OtSender::setup_with_width(&mut server, &mut prng, 3), Err(Error::Protocol(_))));
        drop(server);
        assert!(there.join().unwrap().is_some());
    }

    #[test]
    fn broken_messages_are_errors() {
        for (len, corrupt) in [(64, 3), (66, 3), (65, 0xff)] {
            let (mut client, mut server) = local_pair();
            let mut hello = vec![corrupt; len];
            hello[0] = LOCAL_WIDTH as u8;
            client.send(hello).unwrap();
            let result = OtSender::setup(&mut server, &mut Prng::from_seed_for_tests([1; 32]));
            assert!(matches!(result, Err(Error::Protocol(_))));
        }
        let ((mut s, mut server), (_, mut client)) = pair(4);
        client.send(vec![0; 17]).unwrap();
        assert!(matches!(s.labels(&mut server, 128), Err(Error::Protocol(_))));
        drop(client);
        assert!(matches!(s.labels(&mut server, 128), Err(Error::Connection(_))));
    }
}
