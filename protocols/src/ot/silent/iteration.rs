//! One iteration: from base transfers to [`Set::outputs`] new ones, of which the first [`Set::base`] are the next one's
//! base.

use blindvox_engine::Prng;
use blindvox_engine::aes::{Aes128, KeySequence};
use blindvox_net::channel::Channel;
use rayon::prelude::*;
use zeroize::Zeroizing;

use super::lpn::{blocks, fold};
use super::sets::Set;
use super::trees::{grow, grow_punctured};
use crate::error::Result;

/// What both parties have: transfers with the receiver's choice as the lowest bit of its label, and where the public
/// streams are.
struct State {
    set: &'static Set,
    /// [`Set::base`] labels: the table, then a label a level and tree, then what a check would take.
    base: Zeroizing<Vec<u128>>,
    trees: KeySequence,
    matrix: Aes128,
    /// The next block of the index stream.
    row: u64,
}

impl State {
    fn new(set: &'static Set, session: &[u8; 32], base: Zeroizing<Vec<u128>>) -> Self {
        assert_eq!(base.len(), set.base(), "base transfers of {}", set.name);
        let mut matrix = [Aes128::default()];
        KeySequence::new(session, "silent OT matrix").next_keys(&mut matrix);
        let [matrix] = matrix;
        Self { set, base, trees: KeySequence::new(session, "silent OT tree"), matrix, row: 0 }
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

    /// Keeps the first outputs as the next base.
    fn renew(&mut self, outputs: &[u128]) {
        self.base.copy_from_slice(&outputs[..self.set.base()]);
        self.row += blocks(outputs.len()) as u64;
    }
}

/// What a thread works on a tree with.
struct Room {
    hashed: Zeroizing<Vec<u128>>,
    hole: Zeroizing<Vec<u128>>,
    sums: Zeroizing<Vec<u128>>,
    indices: Vec<u128>,
}

impl Room {
    fn new(set: &Set) -> Self {
        let zeros = |n| Zeroizing::new(vec![0; n]);
        let (leaves, depth) = (set.leaves(), set.depth);
        Self { hashed: zeros(leaves / 2), hole: zeros(leaves), sums: zeros(depth), indices: vec![0; blocks(leaves)] }
    }
}

/// The sender's state.
pub(in super::super) struct Sender {
    state: State,
    /// Where roots come from.
    roots: Prng,
}

impl Sender {
    /// From base labels with lowest bit 0; `roots` must be a generator of this direction's own.
    pub(in super::super) fn new(
        set: &'static Set,
        session: &[u8; 32],
        base: Zeroizing<Vec<u128>>,
        roots: Prng,
    ) -> Self {
        Self { state: State::new(set, session, base), roots }
    }

    pub(in super::super) fn set(&self) -> &'static Set {
        self.state.set
    }

    /// Fills `out`, of [`Set::outputs`], and sends one message. The first [`Set::base`] of them are spent.
    pub(in super::super) fn iterate(&mut self, delta: u128, channel: &mut Channel, out: &mut [u128]) -> Result<()> {
        let Self { state, roots } = self;
        let (set, keys) = (state.set, state.keys());
        let roots = Zeroizing::new(roots.fill::<u128>(set.trees));
        let mut message = vec![0; set.trees * set.depth];
        let trees = out.par_chunks_mut(set.leaves()).zip(message.par_chunks_mut(set.depth)).enumerate();
        trees.for_each_init(
            || Room::new(set),
            |room, (tree, (leaves, masked))| {
                grow(&keys[tree], roots[tree], delta, leaves, &mut room.hashed, &mut room.sums);
                let sums = room.sums.iter().zip(state.levels(tree));
                masked.iter_mut().zip(sums).for_each(|(m, (sum, v))| *m = sum ^ v);
                state.fold(tree, leaves, &mut room.indices);
            },
        );
        channel.send_pod(&message)?;
        state.renew(out);
        Ok(())
    }
}

/// The receiver's state.
pub(in super::super) struct Receiver {
    state: State,
}

impl Receiver {
    /// From base labels whose lowest bit is the choice.
    pub(in super::super) fn new(set: &'static Set, session: &[u8; 32], base: Zeroizing<Vec<u128>>) -> Self {
        Self { state: State::new(set, session, base) }
    }

    pub(in super::super) fn set(&self) -> &'static Set {
        self.state.set
    }

    /// Fills `out`, of [`Set::outputs`], from one message. The first [`Set::base`] of them are spent.
    pub(in super::super) fn iterate(&mut self, channel: &mut Channel, out: &mut [u128]) -> Result<()> {
        let state = &mut self.state;
        let (set, keys) = (state.set, state.keys());
        let message: Vec<u128> = channel.recv_pod(set.trees * set.depth)?;
        let trees = out.par_chunks_mut(set.leaves()).zip(message.par_chunks(set.depth)).enumerate();
        trees.for_each_init(
            || Room::new(set),
            |room, (tree, (leaves, masked))| {
                let levels = state.levels(tree);
                let sums = room.sums.iter_mut().zip(masked.iter().zip(levels));
                sums.for_each(|(sum, (m, w))| *sum = m ^ w);
                if let Some(last) = room.sums.last_mut() {
                    *last &= !1;
                }
                let turns = levels.iter().map(|w| !*w as u8 & 1);
                grow_punctured(&keys[tree], turns, &room.sums, leaves, &mut room.hashed, &mut room.hole);
                state.fold(tree, leaves, &mut room.indices);
            },
        );
        state.renew(out);
        Ok(())
    }
}
