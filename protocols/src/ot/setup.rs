//! Set-up of a direction of transfers: the base transfers and the trees of [the extension](super::softspoken).
//!
//! | # | from -> to | content | bytes | phase |
//! |---|---|---|---|---|
//! | 1 | receiver -> sender | k, nonce, point of the base OT | 1 + 32 + 32 | setup |
//! | 2 | sender -> receiver | points of the base OT, which choose by Delta | 128·32 | setup |
//! | 3 | receiver -> sender | both side sums of each tree level, masked by the base keys | 128·2·16 | setup |
//!
//! Between hosts the base transfers are those [on lattices](super::lattice), secure against parties that deviate and against
//! quantum computers: no point in message 1, 128·2336 bytes of keys as message 2, and 128·2176 of ciphertexts before 3.
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
//! **Why base transfers may come from an extension.** A set-up needs 128 transfers of random keys: the one party with
//! both keys of a pair, the other with the one that its secret bit selects, and nothing more on either side. Random
//! transfers (`rot`) are just that: the receiver's bits are masked by streams of seeds that the sender lacks, and a key
//! not chosen is the hash of a label at a distance of the first Delta, which the receiver doesn't know; so by
//! composition of semi-honest protocols either may stand in for the other. What that needs: the new Delta is drawn
//! afresh and independently of all before; the 128 transfers serve nothing else (stream and hash key counters of the
//! first direction move past them); the new identifier, and so all hash keys, depends on the first one's, on the place
//! in its stream, and on a new nonce. Directions are then as strong as the first of them, in one assumption each:
//! discrete logarithms (base), the generators, the hash (about 119 bits, as everywhere here). A party that deviates is
//! outside this model; a receiver that found the first Delta by deviating would find the other directions' seeds as
//! well.

use blindvox_engine::Prng;
use blindvox_engine::aes::{Aes128, KeySequence};
use blindvox_net::channel::{Channel, Party};
use zeroize::{Zeroize, Zeroizing};

use super::base::{BaseReceiver, BaseSender, POINT};
use super::lattice;
use super::softspoken::{LINK_WIDTH, LOCAL_WIDTH, OtReceiver, OtSender, Streams, extension_bytes, widths};
use super::stock::Stock;
use super::tree;
use crate::error::{Error, Result};
use crate::traffic::Bytes;

/// The largest block width.
const MAX_WIDTH: usize = 8;
const NONCE: usize = 32;

/// The block width over this channel: public, and the peer's is held to it.
fn width_of(channel: &Channel) -> usize {
    if channel.is_local() { LOCAL_WIDTH } else { LINK_WIDTH }
}

/// Bytes of the set-up of a direction, of which this party chooses: messages 1 to 3, whose base transfers are
/// public-key ones, on lattices at the width of a link.
pub(crate) fn setup_bytes(chooser: Party, width: usize) -> Bytes {
    if width == LINK_WIDTH {
        return Bytes::sent_by(chooser, 1 + NONCE + 128 * (lattice::REPLY + 32), 128 * lattice::KEYS);
    }
    Bytes::sent_by(chooser, 1 + NONCE + POINT + 128 * 32, 128 * POINT)
}

/// The same where the base transfers are taken from another direction of this block width.
pub(crate) fn setup_from_bytes(chooser: Party, width: usize) -> Bytes {
    Bytes::sent_by(chooser, 1 + NONCE + 128 * 32, extension_bytes(1, width))
}

impl OtSender {
    /// Agrees with the peer's [`OtReceiver::setup`], at the width of the channel's kind. Delta is random but for its
    /// lowest bit, which is 1 (the colour bit of garbled labels).
    pub fn setup(channel: &mut Channel, prng: &mut Prng) -> Result<Self> {
        Self::setup_with_width(channel, prng, width_of(channel))
    }

    /// The same with a block width of 1 (IKNP) to 8; both parties must name the same.
    pub fn setup_with_width(channel: &mut Channel, prng: &mut Prng, k: usize) -> Result<Self> {
        if !channel.is_local() {
            return Self::agree(channel, prng, k, 0, |channel, prng, hello, choices| {
                let (receiver, keys) = lattice::Receiver::new(hello, choices, prng);
                channel.send(keys)?;
                receiver.finish(&channel.recv_exact(128 * lattice::REPLY)?)
            });
        }
        Self::agree(channel, prng, k, POINT, |channel, prng, hello, choices| {
            let (receiver, reply) = BaseReceiver::new(&hello[1 + NONCE..], choices, prng)?;
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

    /// `base` makes the base transfers: from what the first message holds behind the nonce, `extra` bytes, and secret
    /// choices, the keys chosen and a public value that identifies the transfers.
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
        // Base transfers run block by block, the highest bit of a block first. The sender needs the sums of the sides
        // that its path does not take, so it chooses by the complement.
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
        let (keys, public) = base(channel, prng, &hello, &choices)?;
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
        let streams = Streams::new(k, !channel.is_local(), &seeds);
        Ok(Self { delta, hash_keys, session, streams, stock: Stock::default(), silent: None })
    }

    /// Where in its transfers this direction is: public, alike for both parties, and never the same twice.
    pub(crate) fn place(&self) -> [u8; 32] {
        place(&self.session, self.streams.used)
    }
}

impl OtReceiver {
    /// Agrees with the peer's [`OtSender::setup`].
    pub fn setup(channel: &mut Channel, prng: &mut Prng) -> Result<Self> {
        Self::setup_with_width(channel, prng, width_of(channel))
    }

    /// The same with a block width of 1 (IKNP) to 8; both parties must name the same.
    pub fn setup_with_width(channel: &mut Channel, prng: &mut Prng, k: usize) -> Result<Self> {
        if !channel.is_local() {
            return Self::agree(channel, prng, k, &[], |channel, prng, hello| {
                let keys = channel.recv_exact(128 * lattice::KEYS)?;
                let (reply, pairs, public) = lattice::send(hello, &keys, prng)?;
                channel.send(reply)?;
                Ok((pairs, public))
            });
        }
        let (sender, point) = BaseSender::new(prng);
        Self::agree(channel, prng, k, &point, |channel, _, _| {
            let (pairs, public) = sender.finish(&channel.recv_exact(128 * POINT)?)?;
            Ok((pairs, *public.as_bytes()))
        })
    }

    /// Takes the base transfers from the other direction; agrees with the peer's [`OtSender::setup_from`].
    pub fn setup_from(first: &mut OtSender, channel: &mut Channel, prng: &mut Prng) -> Result<Self> {
        Self::agree(channel, prng, width_of(channel), &[], |channel, _, _| {
            let place = first.place();
            Ok((Zeroizing::new(first.rot(channel, 128)?), place))
        })
    }

    /// `base` makes the base transfers, whose first message is `extra`: both keys of each and a public value that
    /// identifies them.
    fn agree(
        channel: &mut Channel,
        prng: &mut Prng,
        k: usize,
        extra: &[u8],
        base: impl FnOnce(&mut Channel, &mut Prng, &[u8]) -> Result<(Zeroizing<Vec<[u128; 2]>>, [u8; 32])>,
    ) -> Result<Self> {
        check_width(k)?;
        let nonce: [u8; NONCE] = prng.seed();
        let hello = [&[k as u8][..], &nonce, extra].concat();
        channel.send(hello.clone())?;
        let (pairs, public) = base(channel, prng, &hello)?;
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
        let streams = Streams::new(k, !channel.is_local(), &seeds);
        let mask = mask(&roots);
        Ok(Self { mask, hash_keys, session, streams, stock: Stock::default(), silent: None })
    }

    /// As the sender's.
    pub(crate) fn place(&self) -> [u8; 32] {
        place(&self.session, self.streams.used)
    }
}

/// What makes the choices that are given up for checks: from the trees' roots, of which the sender never learns one.
fn mask(roots: &[u128]) -> Box<Aes128> {
    let mut hasher = blake3::Hasher::new_derive_key("blindvox 2026 OT choices that are given up");
    let mut output = hasher.update(bytemuck::cast_slice(roots)).finalize_xof();
    let mut key = Zeroizing::new([0; 16]);
    output.fill(&mut *key);
    hasher.zeroize();
    output.zeroize();
    Box::new(Aes128::new(u128::from_le_bytes(*key)))
}

fn check_width(k: usize) -> Result<()> {
    if (1..=MAX_WIDTH).contains(&k) {
        Ok(())
    } else {
        Err(Error::Input(format!("OT extension of width {k}, possible are 1 to {MAX_WIDTH}")))
    }
}

/// Both parties added randomness to what is hashed here, so no two sessions or directions share hash keys; nor do
/// parties that have agreed on different things before.
fn session(channel: &Channel, hello: &[u8], public: &[u8; 32]) -> [u8; 32] {
    *blake3::Hasher::new_keyed(channel.binding()).update(hello).update(public).finalize().as_bytes()
}

/// Identifies the transfers of a session from word `used` on.
fn place(session: &[u8; 32], used: u64) -> [u8; 32] {
    *blake3::Hasher::new_keyed(session).update(b"base of a direction").update(&used.to_le_bytes()).finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use blindvox_net::channel::local_pair;

    use super::super::OtPair;
    use super::*;

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
    fn broken_hellos_are_errors() {
        for (len, corrupt) in [(64, 3), (66, 3), (65, 0xff)] {
            let (mut client, mut server) = local_pair();
            let mut hello = vec![corrupt; len];
            hello[0] = LOCAL_WIDTH as u8;
            client.send(hello).unwrap();
            let result = OtSender::setup(&mut server, &mut Prng::from_seed_for_tests([1; 32]));
            assert!(matches!(result, Err(Error::Protocol(_))));
        }
    }
}
