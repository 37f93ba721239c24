//! The consistency check of the extension: that the receiver's choices are the same in every block, as a random linear hash
//! of them shows (Roy, "SoftSpokenOT", CRYPTO 2022, section 4). Not the check of Keller, Orsini and Scholl, whose proof Roy
//! refutes.
//!
//! With q = v xor b·Delta a transfer (rows of 128 bits), column c over all transfers of a message is q_c = v_c xor Delta_c·b.
//! A linear hash R keeps that: R(q_c) = R(v_c) xor Delta_c·R(b). The receiver sends R(b) and a digest of all R(v_c); the
//! sender, who has q and Delta, computes what they must be. A receiver that put different choices into different blocks
//! passes only with a guess of Delta's bits there, right in all of them, as with an ideal functionality that lets it guess.
//!
//! R is POLYVAL: words of 128 transfers are coefficients over GF(2^128), so two messages of up to 513 words collide with a
//! chance of 513 / 2^128 for a random key. The key is a hash of all that the receiver sent (Fiat-Shamir), so no flight is
//! added, and a receiver may try keys offline: 2^119 of them for one collision. The last word is transfers with random
//! choices that serve nothing else, so R(b) says nothing of the others.
//!
//! | in a message of n words | bytes more |
//! |---|---|
//! | corrections of the word that is given up | 16·ceil(128/k) |
//! | R(b), digest of R(v_c) | 16 + 32 |

use polyval::Polyval;
use polyval::universal_hash::UniversalHash;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::columns::{self, Column, TILE, WORDS};

/// Bytes that end a checked message.
pub(super) const PROOF: usize = 16 + 32;

/// The hash of one message.
pub(super) struct Check {
    hash: Polyval,
    /// Keys the digest.
    key: [u8; 32],
}

impl Check {
    /// From all that the receiver sent, and where in which session it did.
    pub(super) fn new(session: &[u8; 32], used: u64, corrections: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(session);
        let mut output = hasher.update(b"OT check").update(&used.to_le_bytes()).update(corrections).finalize_xof();
        let (mut point, mut key) = ([0; 16], [0; 32]);
        output.fill(&mut point);
        output.fill(&mut key);
        Self { hash: Polyval::new(&point.into()), key }
    }

    fn words(&self, words: &[&[u128]]) -> u128 {
        let mut hash = self.hash.clone();
        words.iter().for_each(|words| feed(&mut hash, words));
        u128::from_le_bytes(hash.finalize().into())
    }

    /// The hash of each column, of rows in whole words.
    fn columns(&self, rows: &[&[u128]]) -> Zeroizing<Vec<u128>> {
        let mut hashes = vec![self.hash.clone(); 128];
        let mut turned: Box<[Column; 128]> = vec![[0; WORDS]; 128].try_into().expect("128 columns");
        let mut back: Box<[u128; TILE]> = vec![0; TILE].try_into().expect("a tile");
        let mut column: Column = [0; WORDS];
        for tile in rows.iter().flat_map(|rows| rows.chunks(TILE)) {
            let words = tile.len() / 128;
            // A transposition undoes itself: row i of each word stands as column i.
            for (word, rows) in tile.chunks_exact(128).enumerate() {
                turned.iter_mut().zip(rows).for_each(|(column, row)| column[word] = *row);
            }
            columns::transpose(&turned, &mut back);
            for (c, hash) in hashes.iter_mut().enumerate() {
                column.iter_mut().zip(back[c..].iter().step_by(128)).for_each(|(word, row)| *word = *row);
                feed(hash, &column[..words]);
            }
        }
        column.zeroize();
        turned.iter_mut().for_each(Zeroize::zeroize);
        back.zeroize();
        Zeroizing::new(hashes.into_iter().map(|hash| u128::from_le_bytes(hash.finalize().into())).collect())
    }

    fn digest(&self, columns: &[u128]) -> [u8; 32] {
        *blake3::keyed_hash(&self.key, bytemuck::cast_slice(columns)).as_bytes()
    }

    /// What the receiver sends of its choices and labels, the word that is given up last.
    pub(super) fn prove(&self, choices: &[&[u128]], labels: &[&[u128]]) -> [u8; PROOF] {
        let mut proof = [0; PROOF];
        proof[..16].copy_from_slice(&self.words(choices).to_le_bytes());
        proof[16..].copy_from_slice(&self.digest(&self.columns(labels)));
        proof
    }

    /// Whether a proof belongs to the sender's zero labels.
    pub(super) fn holds(&self, proof: &[u8], delta: u128, labels: &[&[u128]]) -> bool {
        let (hashed, digest) = proof.split_at(16);
        let hashed: u128 = bytemuck::pod_read_unaligned(hashed);
        let mut columns = self.columns(labels);
        for (c, column) in columns.iter_mut().enumerate() {
            *column ^= hashed & (delta >> c & 1).wrapping_neg();
        }
        self.digest(&columns).ct_eq(digest).into()
    }
}

fn feed(hash: &mut Polyval, words: &[u128]) {
    let blocks: &[[u8; 16]] = bytemuck::cast_slice(words);
    hash.update(polyval::Block::cast_slice_from_core(blocks));
}
