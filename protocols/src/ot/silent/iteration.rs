//! One iteration: from base transfers to [`Set::outputs`] new ones, of which the first [`Set::base`] are the next one's
//! base.

use blindvox_engine::Prng;
use blindvox_engine::aes::{Aes128, KeySequence};
use blindvox_net::channel::Channel;
use rayon::prelude::*;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::check::{self, CHECK, DIGEST, Hash, MASKED};
use super::lpn::{ROWS, blocks, fold};
use super::sets::Set;
use super::trees::{grow, grow_punctured};
use crate::error::{Error, Result};

/// What both parties have: transfers with the receiver's choice as the lowest bit of its label, and where the public
/// streams are.
struct State {
    set: &'static Set,
    session: [u8; 32],
    /// Whether the sender proves that it keeps to the protocol.
    checked: bool,
    /// [`Set::base`] labels: the table, then a label a level and tree, then what the check takes.
    base: Zeroizing<Vec<u128>>,
    trees: KeySequence,
    matrix: Aes128,
    /// The next block of the index stream.
    row: u64,
}

impl State {
    fn new(set: &'static Set, session: &[u8; 32], checked: bool, base: Zeroizing<Vec<u128>>) -> Self {
        assert_eq!(base.len(), set.base(), "base transfers of {}", set.name);
        let mut matrix = [Aes128::default()];
        KeySequence::new(session, "silent OT matrix").next_keys(&mut matrix);
        let [matrix] = matrix;
        let trees = KeySequence::new(session, "silent OT tree");
        Self { set, session: *session, checked, base, trees, matrix, row: 0 }
    }

    /// A key for each tree.
    fn keys(&mut self) -> Vec<Aes128> {
        let mut keys = vec![Aes128::default(); self.set.trees];
        self.trees.next_keys(&mut keys);
        keys
    }

    /// Adds the matrix's rows to the leaves of tree number `tree`.
    fn fold(&self, tree: usize, leaves: &mut [u128], indices: &mut [u128]) {
        let at = self.row + (tree * blocks(leaves.len())) as u64;
        fold(&self.matrix, at, &self.base[..self.set.table()], indices, leaves);
    }

    /// The base labels of the levels of a tree.
    fn levels(&self, tree: usize) -> &[u128] {
        &self.base[self.set.table()..][tree * self.set.depth..][..self.set.depth]
    }

    /// The base labels that the check takes.
    fn kept(&self) -> &[u128; CHECK] {
        self.base.last_chunk().expect("a base ends with them")
    }

    /// The hash of a tree's leaves, whose message this is.
    fn tree_hash(&self, tree: usize, message: &[u128]) -> Hash {
        Hash::new(&self.session, [self.row, tree as u64], message).0
    }

    /// The hash of all trees' hashes, and what keys the digest.
    fn hash(&self, message: &[u128]) -> (Hash, [u8; 32]) {
        Hash::new(&self.session, [self.row, u64::MAX], message)
    }

    /// Keeps the first outputs as the next base.
    fn renew(&mut self, outputs: &[u128]) {
        self.base.copy_from_slice(&outputs[..self.set.base()]);
        self.row += blocks(outputs.len()) as u64;
    }
}

/// What a thread works on a tree with.
struct Room {
    sums: Zeroizing<Vec<u128>>,
    indices: Vec<u128>,
}

impl Room {
    fn new(set: &Set) -> Self {
        Self { sums: Zeroizing::new(vec![0; set.depth]), indices: vec![0; blocks(ROWS)] }
    }
}

/// The sender's state.
pub(in super::super) struct Sender {
    state: State,
    /// Where roots come from.
    roots: Prng,
    asked: Option<Asked>,
}

/// What the sender needs for its answer to the check.
struct Asked {
    hashed: Zeroizing<u128>,
    key: [u8; 32],
    labels: Zeroizing<[u128; CHECK]>,
}

impl Sender {
    /// From base labels with lowest bit 0, held to the protocol where `checked`; `roots` must be a generator of this
    /// direction's own.
    pub(in super::super) fn new(
        set: &'static Set,
        session: &[u8; 32],
        checked: bool,
        base: Zeroizing<Vec<u128>>,
        roots: Prng,
    ) -> Self {
        Self { state: State::new(set, session, checked, base), roots, asked: None }
    }

    pub(in super::super) fn set(&self) -> &'static Set {
        self.state.set
    }

    /// Fills `out`, of [`Set::outputs`], and sends one message. The first [`Set::base`] of them are spent.
    pub(in super::super) fn begin(&mut self, delta: u128, channel: &mut Channel, out: &mut [u128]) -> Result<()> {
        let Self { state, roots, asked } = self;
        let (set, keys) = (state.set, state.keys());
        let roots = Zeroizing::new(roots.fill::<u128>(set.trees));
        let (mut message, mut hashes) = (vec![0; set.trees * set.depth], Zeroizing::new(vec![0; set.trees]));
        let trees = out.par_chunks_mut(set.leaves()).zip(message.par_chunks_mut(set.depth)).zip(hashes.par_iter_mut());
        trees.enumerate().for_each_init(
            || Room::new(set),
            |room, (tree, ((leaves, masked), hash))| {
                grow(&keys[tree], roots[tree], delta, leaves, &mut room.sums);
                let sums = room.sums.iter().zip(state.levels(tree));
                masked.iter_mut().zip(sums).for_each(|(m, (sum, v))| *m = sum ^ v);
                if state.checked {
                    *hash = state.tree_hash(tree, masked).of(leaves);
                }
                state.fold(tree, leaves, &mut room.indices);
            },
        );
        channel.send_pod(&message)?;
        *asked = state.checked.then(|| {
            let (hash, key) = state.hash(&message);
            Asked { hashed: Zeroizing::new(hash.of(&hashes)), key, labels: Zeroizing::new(*state.kept()) }
        });
        state.renew(out);
        Ok(())
    }

    /// Answers the receiver's check of what was begun, where there is one.
    pub(in super::super) fn end(&mut self, delta: u128, channel: &mut Channel) -> Result<()> {
        let Some(Asked { hashed, key, labels }) = self.asked.take() else { return Ok(()) };
        let masked = bytemuck::pod_read_unaligned(&channel.recv_exact(MASKED)?);
        let packed = check::packed(&check::corrected(&labels, masked, delta));
        Ok(channel.send(check::digest(&key, *hashed ^ packed).to_vec())?)
    }
}

/// The receiver's state.
pub(in super::super) struct Receiver {
    state: State,
    /// What the sender's answer to the check must be.
    expected: Option<[u8; DIGEST]>,
}

impl Receiver {
    /// From base labels whose lowest bit is the choice; holds the sender to the protocol where `checked`.
    pub(in super::super) fn new(
        set: &'static Set,
        session: &[u8; 32],
        checked: bool,
        base: Zeroizing<Vec<u128>>,
    ) -> Self {
        Self { state: State::new(set, session, checked, base), expected: None }
    }

    pub(in super::super) fn set(&self) -> &'static Set {
        self.state.set
    }

    /// Fills `out`, of [`Set::outputs`], from one message, and asks for a proof where it is checked. The first
    /// [`Set::base`] of them are spent; none may serve before [`Self::end`].
    pub(in super::super) fn begin(&mut self, channel: &mut Channel, out: &mut [u128]) -> Result<()> {
        let Self { state, expected } = self;
        let (set, keys) = (state.set, state.keys());
        let message: Vec<u128> = channel.recv_pod(set.trees * set.depth)?;
        // Of each tree the hash of its leaves, and of a one at its place.
        let mut hashes = Zeroizing::new(vec![[0; 2]; set.trees]);
        let trees = out.par_chunks_mut(set.leaves()).zip(message.par_chunks(set.depth)).zip(hashes.par_iter_mut());
        trees.enumerate().for_each_init(
            || Room::new(set),
            |room, (tree, ((leaves, masked), hashes))| {
                let levels = state.levels(tree);
                let sums = room.sums.iter_mut().zip(masked.iter().zip(levels));
                sums.for_each(|(sum, (m, w))| *sum = m ^ w);
                if let Some(last) = room.sums.last_mut() {
                    *last &= !1;
                }
                let turns = levels.iter().map(|w| !*w as u8 & 1);
                grow_punctured(&keys[tree], turns.clone(), &room.sums, leaves);
                if state.checked {
                    let hash = state.tree_hash(tree, masked);
                    *hashes = [hash.of(leaves), hash.of_one_at(turns)];
                }
                state.fold(tree, leaves, &mut room.indices);
            },
        );
        let masked = state.checked.then(|| {
            let ((hash, key), kept) = (state.hash(&message), state.kept());
            let [leaves, places] =
                [0, 1].map(|of| hash.of(&Zeroizing::new(hashes.iter().map(|h| h[of]).collect::<Vec<_>>())));
            *expected = Some(check::digest(&key, leaves ^ check::packed(kept)));
            places ^ check::choices(kept)
        });
        state.renew(out);
        masked.map_or(Ok(()), |masked| Ok(channel.send(masked.to_le_bytes().to_vec())?))
    }

    /// Takes the sender's proof for what was begun, where it is checked.
    ///
    /// # Errors
    /// [`Error::Protocol`] where it deviated: nothing of the iteration may be used then.
    pub(in super::super) fn end(&mut self, channel: &mut Channel) -> Result<()> {
        let Some(expected) = self.expected.take() else { return Ok(()) };
        if bool::from(channel.recv_exact(DIGEST)?.ct_eq(&expected)) {
            return Ok(());
        }
        Err(Error::protocol("the peer's silent transfers contradict each other: it deviates from the protocol"))
    }
}
