//! What both parties run in step: the gates' hash keys, and the public generator of the garbler's input labels.

use blindvox_engine::aes::Aes128;
use blindvox_engine::garble::{GateHash, GateKeys};

/// Goes on with every chunk, in both parties alike.
pub(super) struct Public {
    /// Of the chunks that are being worked on.
    pub(super) keys: GateKeys,
    generator: Aes128,
    labels_used: u64,
}

impl Public {
    pub(super) fn new(hash: GateHash, session: &[u8; 32]) -> Self {
        let mut seed = [0; 16];
        seed.copy_from_slice(&blake3::keyed_hash(session, b"garbler's input labels").as_bytes()[..16]);
        Self {
            keys: GateKeys::new(hash, session, "gate hash"),
            generator: Aes128::new(u128::from_le_bytes(seed)),
            labels_used: 0,
        }
    }

    /// The active labels of the garbler's next input bit of a chunk.
    pub(super) fn labels(&mut self, out: &mut [u128]) {
        self.generator.counter(0, self.labels_used, out);
        self.labels_used += out.len() as u64;
    }
}
