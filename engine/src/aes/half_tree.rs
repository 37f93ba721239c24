//! Levels of half trees (Guo, Yang, Wang, Zhang, Xie, Liu, Zhao: "Half-tree: halving the cost of tree expansion in COT and
//! DPF", 2023): a node p has the children H(p) and p xor H(p), left and right.
//!
//! A level is one pass over the nodes, which stay in registers from the parent to both children. A party that lacks one
//! node of a level finds out what two nodes must be only when it has added up all of them, so these are mended as the next
//! pass reads them: every node is compared with both places, and no branch and no address depends on the places.

use super::{Aes128, Body};

/// What is added to the node at a place, which may be secret.
#[derive(Clone, Copy, Default)]
pub struct Mend {
    /// The node's number in its level.
    pub at: usize,
    /// Added to it.
    pub add: u128,
}

impl Mend {
    /// What node number `n` gets.
    #[inline]
    fn of(self, n: usize) -> u128 {
        let differs = (n ^ self.at) as u64;
        // All ones where they are equal.
        let here = ((differs | differs.wrapping_neg()) >> 63).wrapping_sub(1);
        self.add & (u128::from(here) << 64 | u128::from(here))
    }
}

/// Mends nodes of a level.
pub fn mend(nodes: &mut [u128], mends: &[Mend; 2]) {
    nodes.iter_mut().enumerate().for_each(|(n, node)| *node ^= mends[0].of(n) ^ mends[1].of(n));
}

impl Aes128 {
    /// The next level of a half tree: mends `nodes`, puts their left children `& keep` in their places and their right
    /// ones `& keep` into `rights`. Returns the sum of the mended nodes, and of their left children before `keep`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn half_tree_level(&self, nodes: &mut [u128], rights: &mut [u128], mends: &[Mend; 2], keep: u128) -> [u128; 2] {
        self.half_tree_level_with(Body::best(), nodes, rights, mends, keep)
    }

    fn half_tree_level_with(
        &self,
        body: Body,
        nodes: &mut [u128],
        rights: &mut [u128],
        mends: &[Mend; 2],
        keep: u128,
    ) -> [u128; 2] {
        assert_eq!(nodes.len(), rights.len(), "a right child for each node");
        match body {
            #[cfg(target_arch = "x86_64")]
            Body::Vaes if nodes.len().is_multiple_of(super::vaes::TILE) => {
                let (nodes, rights) = (nodes.as_chunks_mut().0, rights.as_chunks_mut().0);
                // SAFETY: the body is only chosen on a processor that has its features.
                unsafe { super::vaes::half_tree_level(self, nodes, rights, mends, keep) }
            }
            #[cfg(target_arch = "x86_64")]
            Body::Vaes256 if nodes.len().is_multiple_of(super::vaes256::TILE) => {
                let (nodes, rights) = (nodes.as_chunks_mut().0, rights.as_chunks_mut().0);
                // SAFETY: the body is only chosen on a processor that has its features.
                unsafe { super::vaes256::half_tree_level(self, nodes, rights, mends, keep) }
            }
            _ => self.small_level(body, nodes, rights, mends, keep),
        }
    }

    /// A level by the hash of all nodes.
    fn small_level(
        &self,
        body: Body,
        nodes: &mut [u128],
        rights: &mut [u128],
        mends: &[Mend; 2],
        keep: u128,
    ) -> [u128; 2] {
        mend(nodes, mends);
        self.hash_with(body, nodes, 0, rights);
        let mut sums = [0; 2];
        for (node, right) in nodes.iter_mut().zip(rights) {
            let (p, h) = (*node, *right);
            sums = [sums[0] ^ p, sums[1] ^ h];
            (*node, *right) = (h & keep, (p ^ h) & keep);
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_level_is_its_definition(
            key: u128,
            nodes in proptest::collection::vec(any::<u128>(), 1..130),
            at in proptest::array::uniform2(0usize..140),
            add: [u128; 2],
            keep: u128,
        ) {
            let aes = Aes128::new(key);
            let mends = [0, 1].map(|i| Mend { at: at[i], add: add[i] });
            let sizes = [nodes.len(), nodes.len() / 32 * 32];
            for (size, body) in sizes.into_iter().flat_map(|s| Body::available().into_iter().map(move |b| (s, b))) {
                let (mut lefts, mut rights) = (nodes[..size].to_vec(), vec![1; size]);
                let sums = aes.half_tree_level_with(body, &mut lefts, &mut rights, &mends, keep);
                let mut expected = [0; 2];
                for (n, &node) in nodes[..size].iter().enumerate() {
                    let p = (0..2).filter(|&i| at[i] == n).fold(node, |p, i| p ^ add[i]);
                    let mut h = [0];
                    aes.hash(&[p], 0, &mut h);
                    prop_assert_eq!((lefts[n], rights[n]), (h[0] & keep, (p ^ h[0]) & keep), "{:?}", body);
                    expected = [expected[0] ^ p, expected[1] ^ h[0]];
                }
                prop_assert_eq!(sums, expected);
            }
        }
    }
}
