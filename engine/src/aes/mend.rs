//! Places of a level of a half tree that are mended as the level is read: no branch and no address depends on them.

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
