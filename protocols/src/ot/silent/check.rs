//! The check of an iteration: that the sender's trees are the same whatever the receiver's secret places are (Yang, Weng,
//! Lan, Zhang, Wang: "Ferret", CCS 2020, the check of their single-point transfers).
//!
//! Before leaves are folded a tree's leaves are u at the sender, and u xor Delta at one secret place at the receiver. A
//! linear hash over GF(2^128) keeps that: L(w) = L(u) + f·Delta, f what the hash gives for a one at that place. The receiver
//! sends F, all trees' f in one, masked by the choices b of 128 base transfers that serve nothing else; both add those
//! transfers, weighted by powers of x, so that the mask falls out:
//!
//! | # | from -> to | content | bytes |
//! |---|---|---|---|
//! | 1 | receiver -> sender | F xor b | 16 |
//! | 2 | sender -> receiver | digest of L(u) + sum of (v_i xor (F xor b)_i·Delta)·x^i | 32 |
//!
//! The receiver holds the digest to that of L(w) + sum of w_i·x^i before it uses or sends anything of the iteration. A
//! sender whose trees fit some places alone passes where it has guessed that the receiver's are among these: it then knows so
//! many bits of the noise as it has risked, which LPN with leakage allows for. A receiver that sends another F
//! gets the digest of a value that differs by a multiple of Delta, of which 127 bits are secret.
//!
//! A tree's hash is POLYVAL under a key that is a hash of that tree's message, so that it is made while the leaves are in
//! cache; trees' hashes are hashed in turn, under a key of the whole message. So no flight is added for keys. A sender may
//! try keys offline: about 2^(128 - depth) of them for one tree that seems right and is not, as for the tree's own hash.

use polyval::Polyval;
use polyval::universal_hash::UniversalHash;
use zeroize::Zeroizing;

/// Base transfers that a check takes.
pub(super) const CHECK: usize = 128;
/// Bytes from the receiver.
pub(super) const MASKED: usize = 16;
/// Bytes from the sender.
pub(super) const DIGEST: usize = 32;

/// The reduction of x^128: POLYVAL's polynomial is x^128 + x^127 + x^126 + x^121 + 1.
const REDUCED: u128 = 1 << 127 | 1 << 126 | 1 << 121 | 1;

/// A linear hash of 128-bit words.
#[derive(Clone)]
pub(super) struct Hash(Polyval);

impl Hash {
    /// Under a key of what was sent, and where in which session it was.
    pub(super) fn new(session: &[u8; 32], place: [u64; 2], sent: &[u128]) -> (Self, [u8; 32]) {
        let mut hasher = blake3::Hasher::new_keyed(session);
        hasher.update(b"silent OT check").update(bytemuck::bytes_of(&place)).update(bytemuck::cast_slice(sent));
        let (mut point, mut digests) = ([0; 16], [0; 32]);
        let mut output = hasher.finalize_xof();
        output.fill(&mut point);
        output.fill(&mut digests);
        (Self(Polyval::new(&point.into())), digests)
    }

    /// Of words in their order.
    pub(super) fn of(&self, words: &[u128]) -> u128 {
        let mut hash = self.0.clone();
        let blocks: &[[u8; 16]] = bytemuck::cast_slice(words);
        hash.update(polyval::Block::cast_slice_from_core(blocks));
        u128::from_le_bytes(hash.finalize().into())
    }

    /// Of a one at the place whose bits `turns` are, zeros elsewhere: of 2^turns words. No branch or address depends on it.
    pub(super) fn of_one_at(&self, turns: impl Iterator<Item = u8>) -> u128 {
        // Behind it are as many words as the complement of its place says, each of which multiplies by the key once.
        let (mut key, mut product) = (self.clone(), self.of(&[1]));
        for turn in turns {
            let behind = u128::from(turn & 1).wrapping_sub(1);
            product ^= (product ^ key.of(&[product])) & behind;
            key = Self(Polyval::new(&key.square().to_le_bytes().into()));
        }
        product
    }

    /// The key whose hash multiplies by the square of what this one's multiplies by.
    fn square(&self) -> u128 {
        // A hash of one word multiplies it by key·x^-128, so of the key itself it is key²·x^-128. The key is what a hash
        // of x^128 gives.
        self.of(&[self.of(&[REDUCED])])
    }
}

/// The sum of labels, each times a power of x.
pub(super) fn packed(labels: &[u128; CHECK]) -> u128 {
    labels.iter().rev().fold(0, |sum, label| (sum << 1) ^ (REDUCED & (sum >> 127).wrapping_neg()) ^ label)
}

/// The sender's labels under what the receiver masked, with its Delta where a bit of that is set.
pub(super) fn corrected(labels: &[u128; CHECK], masked: u128, delta: u128) -> Zeroizing<[u128; CHECK]> {
    let mut corrected = Zeroizing::new(*labels);
    corrected.iter_mut().enumerate().for_each(|(i, label)| *label ^= delta & (masked >> i & 1).wrapping_neg());
    corrected
}

/// The lowest bits of the receiver's labels: what masks F.
pub(super) fn choices(labels: &[u128; CHECK]) -> u128 {
    labels.iter().rev().fold(0, |word, label| word << 1 | (label & 1))
}

/// What is sent of a value, and compared.
pub(super) fn digest(key: &[u8; 32], value: u128) -> [u8; DIGEST] {
    *blake3::keyed_hash(key, &value.to_le_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_one_is_hashed_by_its_place_as_by_the_whole_row() {
        for depth in 1..=6 {
            let (hash, _) = Hash::new(&[7; 32], [3, depth], &[1, 2, 3]);
            for at in 0..1usize << depth {
                let mut row = vec![0; 1 << depth];
                row[at] = 1;
                let turns = (0..depth).map(|bit| (at >> bit & 1) as u8);
                assert_eq!(hash.of_one_at(turns), hash.of(&row), "{at} of 2^{depth}");
            }
        }
    }

    #[test]
    fn hashes_are_linear_over_the_field() {
        let (hash, _) = Hash::new(&[1; 32], [0, 0], &[]);
        let bits = |value: u128| std::array::from_fn(|i| (value >> i & 1).wrapping_neg());
        // A product with Delta: its labels where the other factor's bits are set.
        let times = |f: u128, delta: u128| packed(&bits(f).map(|mask: u128| mask & delta));
        let (delta, rows) = (0x8123_4567_89ab_cdef_u128 << 64 | 0xf00d, [5u128, 1 << 127, u128::MAX, 0, 77]);
        for f in [1, 2, 1 << 127, delta, u128::MAX / 7] {
            assert_eq!(times(f, delta), times(delta, f));
            assert_eq!(hash.of(&rows.map(|r| times(r, f))), times(hash.of(&rows), f));
        }
        assert_eq!(hash.of(&[1, 2, 3]) ^ hash.of(&[4, 4, 4]), hash.of(&[5, 6, 7]));
    }
}
