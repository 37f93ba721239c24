//! Half trees (Guo, Yang, Wang, Zhang, Xie, Liu, Zhao: "Half-tree: halving the cost of tree expansion in COT and DPF",
//! 2023).
//!
//! The root's children are (s, s xor Delta); a node p has the children H(p) and p xor H(p), so that every level adds up
//! to Delta. In the last level lowest bits are cleared. The sender knows all; the receiver, from the sum of one side a
//! level, all but the leaf at its secret index, whose turn at level j is alpha_j, and there the leaf xor Delta.
//!
//! The turn at level j is bit j of a leaf's number: left children stay where their parents are, right ones follow
//! behind all of them. The receiver grows the node that it lacks as a zero and mends its children by a mask over all
//! nodes, so that no branch and no address depends on the index.

use blindvox_engine::aes::Aes128;

/// Clears the lowest bit in the last level.
fn kept(level: usize, depth: usize) -> u128 {
    if level + 1 == depth { !1 } else { !0 }
}

/// The `2^sums.len()` leaves, and the sum of the left nodes of each level. `hashed` is room for half of the leaves.
pub(super) fn grow(key: &Aes128, root: u128, delta: u128, leaves: &mut [u128], hashed: &mut [u128], sums: &mut [u128]) {
    let depth = sums.len();
    (leaves[0], leaves[1], sums[0]) = (root, root ^ delta, root);
    for (level, sum) in sums.iter_mut().enumerate().skip(1) {
        let keep = kept(level, depth);
        let (parents, rest) = leaves.split_at_mut(1 << level);
        let hashed = &mut hashed[..1 << level];
        key.hash(parents, 0, hashed);
        *sum = 0;
        for ((left, right), h) in parents.iter_mut().zip(rest).zip(&*hashed) {
            *right = (*left ^ h) & keep;
            *left = h & keep;
            *sum ^= *left;
        }
    }
}

/// The leaves, the one at the index whose bits are `turns` as leaf xor Delta. `sums[j]` is the sum of the nodes of
/// level j on the side that turn j does not take. `hashed` is room for half of the leaves, `hole` for all.
pub(super) fn grow_punctured(
    key: &Aes128,
    turns: impl Iterator<Item = u8>,
    sums: &[u128],
    leaves: &mut [u128],
    hashed: &mut [u128],
    hole: &mut [u128],
) {
    let depth = sums.len();
    let mut of_zero = [0];
    key.hash(&[0], 0, &mut of_zero);
    let [of_zero] = of_zero;
    let mut turns = turns.map(|turn| u128::from(turn & 1).wrapping_neg());
    let first = turns.next().unwrap_or_default();
    (leaves[0], leaves[1]) = (sums[0] & first, sums[0] & !first);
    (hole[0], hole[1]) = (!first, first);
    for ((level, sum), turn) in sums.iter().enumerate().skip(1).zip(turns) {
        let keep = kept(level, depth);
        let (parents, rest) = leaves.split_at_mut(1 << level);
        let (holes, more) = hole.split_at_mut(1 << level);
        let hashed = &mut hashed[..1 << level];
        key.hash(parents, 0, hashed);
        let lefts = hashed.iter().fold(0, |sum, h| sum ^ h);
        let all = parents.iter().fold(0, |sum, p| sum ^ p);
        // Left is the other side where the turn is right. Both children of the hole are H(0) so far: the one on the
        // path becomes a zero, its sibling what its side lacks.
        let sibling = sum ^ lefts ^ (all & !turn);
        let [left_fix, right_fix] = [(sibling & turn) | (of_zero & !turn), (sibling & !turn) | (of_zero & turn)];
        let nodes = parents.iter_mut().zip(rest).zip(holes.iter_mut().zip(more));
        for (((left, right), (hole, right_hole)), h) in nodes.zip(&*hashed) {
            *right = (*left ^ h ^ (*hole & right_fix)) & keep;
            *left = (h ^ (*hole & left_fix)) & keep;
            *right_hole = *hole & turn;
            *hole &= !turn;
        }
    }
    // All leaves add up to Delta but for its lowest bit, which is 1.
    let missing = leaves.iter().fold(1, |sum, l| sum ^ l);
    leaves.iter_mut().zip(&*hole).for_each(|(leaf, hole)| *leaf ^= missing & hole);
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
        for depth in 2..=6 {
            let n = 1 << depth;
            let (mut leaves, mut room, mut lefts) = (vec![0; n], vec![0; n / 2], vec![0; depth]);
            grow(&key, root, delta, &mut leaves, &mut room, &mut lefts);
            for (i, l) in leaves.iter().enumerate() {
                assert_eq!(*l, leaf(&key, root, delta, i, depth));
            }
            for alpha in 0..n {
                let turns = (0..depth).map(|j| (alpha >> j & 1) as u8);
                // A level adds up to Delta, the last one without its lowest bit.
                let other = |j: usize| if alpha >> j & 1 == 1 { lefts[j] } else { lefts[j] ^ delta & kept(j, depth) };
                let sums: Vec<u128> = (0..depth).map(other).collect();
                let (mut found, mut hole) = (vec![3; n], vec![5; n]);
                grow_punctured(&key, turns, &sums, &mut found, &mut room, &mut hole);
                for i in 0..n {
                    assert_eq!(found[i] ^ leaves[i], if i == alpha { delta } else { 0 }, "depth {depth}, hole {alpha}");
                }
            }
        }
    }
}
