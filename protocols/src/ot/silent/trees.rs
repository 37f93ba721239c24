//! Half trees (Guo, Yang, Wang, Zhang, Xie, Liu, Zhao: "Half-tree: halving the cost of tree expansion in COT and DPF",
//! 2023).
//!
//! The root's children are (s, s xor Delta); a node p has the children H(p) and p xor H(p), so that every level adds up
//! to Delta. In the last level lowest bits are cleared. The sender knows all; the receiver, from the sum of one side a
//! level, all but the leaf at its secret index, whose turn at level j is alpha_j, and there the leaf xor Delta.
//!
//! The turn at level j is bit j of a leaf's number: left children stay where their parents are, right ones follow
//! behind all of them. The receiver grows the node that it lacks as a zero and mends its children by comparing every node
//! with their places, so that no branch and no address depends on the index.

use blindvox_engine::aes::{Aes128, Mend, mend};

/// Clears the lowest bit in the last level.
fn kept(level: usize, depth: usize) -> u128 {
    if level + 1 == depth { !1 } else { !0 }
}

/// The `2^sums.len()` leaves, and the sum of the left nodes of each level.
pub(super) fn grow(key: &Aes128, root: u128, delta: u128, leaves: &mut [u128], sums: &mut [u128]) {
    let depth = sums.len();
    (leaves[0], leaves[1], sums[0]) = (root, root ^ delta, root);
    for (level, sum) in sums.iter_mut().enumerate().skip(1) {
        let (nodes, rights) = leaves[..2 << level].split_at_mut(1 << level);
        let keep = kept(level, depth);
        let [_, lefts] = key.half_tree_level(nodes, rights, &[Mend::default(); 2], keep);
        *sum = lefts & keep;
    }
}

/// The leaves, the one at the index whose bits are `turns` as leaf xor Delta. `sums[j]` is the sum of the nodes of
/// level j on the side that turn j does not take.
pub(super) fn grow_punctured(key: &Aes128, turns: impl Iterator<Item = u8>, sums: &[u128], leaves: &mut [u128]) {
    let depth = sums.len();
    let mut of_zero = [0];
    key.hash(&[0], 0, &mut of_zero);
    let [of_zero] = of_zero;
    let mut turns = turns.map(|turn| turn & 1);
    let first = turns.next().unwrap_or_default();
    let left = u128::from(first).wrapping_neg();
    (leaves[0], leaves[1]) = (sums[0] & left, sums[0] & !left);
    // Of the node that is lacking its place and, in the level that is not read yet, what becomes of its children.
    let mut place = usize::from(first);
    let mut mends = [Mend::default(); 2];
    for ((level, sum), bit) in sums.iter().enumerate().skip(1).zip(turns) {
        let (keep, turn) = (kept(level, depth), u128::from(bit).wrapping_neg());
        let (nodes, rights) = leaves[..2 << level].split_at_mut(1 << level);
        let [all, lefts] = key.half_tree_level(nodes, rights, &mends, keep);
        // Left is the other side where the turn is right. Both children of the hole are H(0) so far: the one on the
        // path becomes a zero, its sibling what its side lacks.
        let sibling = sum ^ lefts ^ (all & !turn);
        let [left, right] =
            [(sibling & turn) | (of_zero & !turn), (sibling & !turn) | (of_zero & turn)].map(|m| m & keep);
        // All leaves add up to Delta but for its lowest bit, which is 1; left and right children to their parents.
        let missing = if level + 1 == depth { 1 ^ (all & keep) ^ left ^ right } else { 0 };
        mends = [
            Mend { at: place, add: left ^ (missing & !turn) },
            Mend { at: place | 1 << level, add: right ^ (missing & turn) },
        ];
        place |= usize::from(bit) << level;
    }
    mend(leaves, &mends);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By recursion from the root: a leaf of the definition.
    fn leaf(key: &Aes128, root: u128, delta: u128, index: usize, depth: usize) -> u128 {
        let mut node = if index & 1 == 1 { root ^ delta } else { root };
        for level in 1..depth {
            let mut left = [0];
            key.hash(&[node], 0, &mut left);
            node = if index >> level & 1 == 1 { node ^ left[0] } else { left[0] };
        }
        node & !1
    }

    #[test]
    fn every_leaf_is_found_and_the_one_at_the_index_is_off_by_delta() {
        let (key, root, delta) = (Aes128::new(77), u128::MAX / 7, (u128::MAX / 11) | 1);
        for depth in 2..=7 {
            let n = 1 << depth;
            let (mut leaves, mut lefts) = (vec![0; n], vec![0; depth]);
            grow(&key, root, delta, &mut leaves, &mut lefts);
            for (i, l) in leaves.iter().enumerate() {
                assert_eq!(*l, leaf(&key, root, delta, i, depth));
            }
            for alpha in 0..n {
                let turns = (0..depth).map(|j| (alpha >> j & 1) as u8);
                // A level adds up to Delta, the last one without its lowest bit.
                let other = |j: usize| if alpha >> j & 1 == 1 { lefts[j] } else { lefts[j] ^ delta & kept(j, depth) };
                let sums: Vec<u128> = (0..depth).map(other).collect();
                let mut found = vec![3; n];
                grow_punctured(&key, turns, &sums, &mut found);
                for i in 0..n {
                    assert_eq!(found[i] ^ leaves[i], if i == alpha { delta } else { 0 }, "depth {depth}, hole {alpha}");
                }
            }
        }
    }
}
