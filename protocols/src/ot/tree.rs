//! All-but-one transfer of 2^k seeds by a tree of pseudo-random generators (Goldreich, Goldwasser, Micali).
//!
//! One party grows the full tree. The other learns every leaf but the one at its secret index alpha, from one
//! base OT a level: it gets the xor of all nodes on the side of each level that alpha's path does *not* take.
//! It numbers nodes relative to its path (y = x xor alpha), so that the missing leaf is always number 0 and no
//! address depends on alpha.

use subtle::{Choice, ConditionallySelectable};
use zeroize::{Zeroize, Zeroizing};

/// The two children of a node; `level` and `tree` keep their domains apart.
fn children(node: u128, tree: usize, level: usize) -> [u128; 2] {
    let mut key = Zeroizing::new([0; 32]);
    key[..16].copy_from_slice(&node.to_le_bytes());
    let mut input = *b"blindvox OT tree................";
    input[16..24].copy_from_slice(&(tree as u64).to_le_bytes());
    input[24..].copy_from_slice(&(level as u64).to_le_bytes());
    let mut digest = blake3::keyed_hash(&key, &input);
    let (left, right) = digest.as_bytes().split_at(16);
    let children = [left, right].map(|half| u128::from_le_bytes(half.try_into().expect("half of 32 bytes")));
    digest.zeroize();
    children
}

/// The leaves of a full tree of `depth` levels, and for every level the xor of its left and of its right nodes.
/// The highest bit of a leaf's number is its first turn.
pub(super) fn grow(root: u128, tree: usize, depth: usize) -> (Zeroizing<Vec<u128>>, Zeroizing<Vec<[u128; 2]>>) {
    let mut nodes = Zeroizing::new(vec![root]);
    let mut sums = Zeroizing::new(Vec::with_capacity(depth));
    for level in 0..depth {
        // Of the right size at once: a vector that grows leaves its former block uncleared.
        let mut next = Zeroizing::new(Vec::with_capacity(2 * nodes.len()));
        next.extend(nodes.iter().flat_map(|&n| children(n, tree, level)));
        sums.push(next.chunks(2).fold([0, 0], |s, c| [s[0] ^ c[0], s[1] ^ c[1]]));
        nodes = next;
    }
    (nodes, sums)
}

/// The leaves but number alpha, numbered y = x xor alpha, with 0 in place of the missing leaf y = 0.
/// `turns` are alpha's bits, the highest first; `sums` are the xors of the other sides.
pub(super) fn grow_punctured(turns: &[u8], sums: &[u128], tree: usize) -> Zeroizing<Vec<u128>> {
    let mut nodes = Zeroizing::new(vec![0]);
    for (level, (&turn, &sum)) in turns.iter().zip(sums).enumerate() {
        let turn = Choice::from(turn);
        let mut next = Zeroizing::new(vec![0; 2 * nodes.len()]);
        next[1] = sum;
        for (y, &node) in nodes.iter().enumerate().skip(1) {
            let [left, right] = children(node, tree, level);
            next[2 * y] = u128::conditional_select(&left, &right, turn);
            next[2 * y + 1] = u128::conditional_select(&right, &left, turn);
            next[1] ^= next[2 * y + 1];
        }
        nodes = next;
    }
    nodes
}

#[cfg(test)]
mod tests {
    use blindvox_engine::Prng;
    use blindvox_engine::stack::leaving_nothing;

    use super::*;
    use crate::memory::{Pattern, find};

    #[test]
    fn no_node_is_left_in_memory() {
        let patterns = leaving_nothing(|| {
            let root = Zeroizing::new(Prng::from_os().unwrap().fill::<u128>(1));
            let (leaves, sums) = grow(root[0], 4, 6);
            let others = Zeroizing::new(sums.iter().map(|s| s[1]).collect::<Vec<_>>());
            let found = grow_punctured(&[0; 6], &others, 4);
            assert_eq!(found[9], leaves[9]);
            let secrets = [("a leaf", leaves[9]), ("a sum of lefts", sums[3][0]), ("a sum of rights", sums[3][1])];
            secrets.map(|(name, secret)| Pattern::new(name, &secret.to_le_bytes()))
        });
        let Some(counts) = find(&patterns) else { return };
        assert!(counts.iter().all(|(_, count)| *count == 0), "{counts:?}");
    }

    #[test]
    fn all_leaves_but_one_are_found_for_every_index() {
        for depth in 1..=5 {
            let (leaves, sums) = grow(99, 4, depth);
            for alpha in 0..1usize << depth {
                let turns: Vec<u8> = (0..depth).map(|l| (alpha >> (depth - 1 - l) & 1) as u8).collect();
                let others: Vec<u128> = turns.iter().zip(sums.iter()).map(|(&t, s)| s[usize::from(1 - t)]).collect();
                let found = grow_punctured(&turns, &others, 4);
                for y in 0..1 << depth {
                    assert_eq!(found[y], if y == 0 { 0 } else { leaves[y ^ alpha] });
                }
            }
        }
    }
}
