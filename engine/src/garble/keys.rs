//! Which hash gates use, and the public sequence of its keys: two a gate and chunk of instances, none given out twice.

use std::fmt;

use super::{AndInputs, Garbled, GateKey, Row};
use crate::aes::{Aes128, KeySequence};
use crate::chacha::ChaCha12;

/// The hash of gates; garbler and evaluator must use the same.
///
/// Both are keyed anew for every gate half and chunk of at most 256 instances, with the same concrete security against
/// generic attacks ([`crate::aes`] and [`crate::chacha`] say why). AES is much the faster one on processors with AES
/// instructions. On a GPU the two cost about the same, and ChaCha12 looks up no table, so its timing says nothing about
/// labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GateHash {
    /// E_k(s(x)) xor s(x) with AES-128, see [`crate::aes`].
    #[default]
    Aes,
    /// A ChaCha block of 12 rounds, see [`crate::chacha`].
    ChaCha12,
}

impl GateHash {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Aes, Self::ChaCha12];

    /// Its number on the wire.
    pub fn code(self) -> u8 {
        match self {
            Self::Aes => 0,
            Self::ChaCha12 => 1,
        }
    }

    /// The hash with this number, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|h| h.code() == code)
    }
}

impl fmt::Display for GateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aes => "AES-128",
            Self::ChaCha12 => "ChaCha12",
        })
    }
}

/// The keys of one session's gates. Both parties run one in step.
pub struct GateKeys {
    sequence: Sequence,
    current: Keys,
}

enum Sequence {
    Aes(KeySequence),
    ChaCha12 { root: [u32; 6], next: u64 },
}

/// Keys, two a gate.
#[derive(Clone)]
pub(crate) enum Keys {
    Aes(Vec<Aes128>),
    ChaCha12(Vec<ChaCha12>),
}

/// What a GPU makes a batch's keys of.
#[cfg(feature = "wgpu")]
pub(crate) enum RawKeys {
    /// The keys, two a gate.
    Aes(Vec<u128>),
    /// The first key; the others' numbers follow its number.
    ChaCha12([u32; 8]),
}

fn pair<K>(keys: &[K], gate: usize) -> &[K; 2] {
    keys[2 * gate..].first_chunk().expect("two keys a gate")
}

impl Keys {
    /// Those of no gates.
    pub(crate) fn none(hash: GateHash) -> Self {
        match hash {
            GateHash::Aes => Self::Aes(vec![]),
            GateHash::ChaCha12 => Self::ChaCha12(vec![]),
        }
    }

    /// [`GateKeys::garble_and`].
    pub(crate) fn garble_and(
        &self,
        gate: usize,
        delta: u128,
        inputs: AndInputs<'_>,
        flips: [bool; 2],
        out: Garbled<'_>,
    ) {
        match self {
            Self::Aes(keys) => Aes128::garble_and(pair(keys, gate), delta, inputs, flips, out),
            Self::ChaCha12(keys) => ChaCha12::garble_and(pair(keys, gate), delta, inputs, flips, out),
        }
    }

    /// [`GateKeys::evaluate_and`].
    pub(crate) fn evaluate_and(
        &self,
        gate: usize,
        inputs: AndInputs<'_>,
        table: &[Row],
        next: &[Row],
        out: &mut [u128],
    ) {
        match self {
            Self::Aes(keys) => Aes128::evaluate_and(pair(keys, gate), inputs, table, next, out),
            Self::ChaCha12(keys) => ChaCha12::evaluate_and(pair(keys, gate), inputs, table, next, out),
        }
    }
}

impl GateKeys {
    /// The sequence for `purpose` (a fixed string of the program) in the session with this identifier.
    pub fn new(hash: GateHash, session: &[u8; 32], purpose: &str) -> Self {
        let sequence = match hash {
            GateHash::Aes => Sequence::Aes(KeySequence::new(session, purpose)),
            GateHash::ChaCha12 => {
                let digest = blake3::keyed_hash(session, purpose.as_bytes());
                let words = digest.as_bytes().as_chunks().0.iter().map(|w| u32::from_le_bytes(*w));
                let mut root = [0; 6];
                root.iter_mut().zip(words).for_each(|(r, w)| *r = w);
                Sequence::ChaCha12 { root, next: 0 }
            }
        };
        Self { sequence, current: Keys::none(hash) }
    }

    /// The hash that they are keys of.
    pub fn hash(&self) -> GateHash {
        match self.sequence {
            Sequence::Aes(_) => GateHash::Aes,
            Sequence::ChaCha12 { .. } => GateHash::ChaCha12,
        }
    }

    /// Goes on to the next `gates` gates, which are numbered from 0 again.
    pub fn next_gates(&mut self, gates: usize) {
        match (&mut self.sequence, &mut self.current) {
            (Sequence::Aes(sequence), Keys::Aes(keys)) => {
                keys.resize(2 * gates, Aes128::default());
                sequence.next_keys(keys);
            }
            (Sequence::ChaCha12 { root, next }, Keys::ChaCha12(keys)) => {
                let first = *next;
                *next += 2 * gates as u64;
                keys.clear();
                keys.extend((first..*next).map(|number| ChaCha12::numbered(root, number)));
            }
            _ => unreachable!("the keys are those of the sequence's hash"),
        }
    }

    /// The current gates' number.
    pub(crate) fn gates(&self) -> usize {
        match &self.current {
            Keys::Aes(keys) => keys.len() / 2,
            Keys::ChaCha12(keys) => keys.len() / 2,
        }
    }

    /// The current gates' keys.
    pub(crate) fn current(&self) -> &Keys {
        &self.current
    }

    /// The current gates' keys.
    #[cfg(feature = "wgpu")]
    pub(crate) fn raw(&self) -> RawKeys {
        match &self.current {
            Keys::Aes(keys) => RawKeys::Aes(keys.iter().map(|k| k.round_keys[0]).collect()),
            Keys::ChaCha12(keys) => RawKeys::ChaCha12(keys.first().copied().unwrap_or_default().key),
        }
    }

    /// [`GateKey::garble_and`] under a gate's keys.
    ///
    /// # Panics
    /// If lengths do not fit or there is no such gate.
    pub fn garble_and(&self, gate: usize, delta: u128, inputs: AndInputs<'_>, flips: [bool; 2], out: Garbled<'_>) {
        self.current.garble_and(gate, delta, inputs, flips, out);
    }

    /// [`GateKey::evaluate_and`] under a gate's keys.
    ///
    /// # Panics
    /// If lengths do not fit or there is no such gate.
    pub fn evaluate_and(&self, gate: usize, inputs: AndInputs<'_>, table: &[Row], next: &[Row], out: &mut [u128]) {
        self.current.evaluate_and(gate, inputs, table, next, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All keys of `counts` gates, as words.
    fn draw(hash: GateHash, session: u8, purpose: &str, counts: &[usize]) -> Vec<[u32; 8]> {
        let mut sequence = GateKeys::new(hash, &[session; 32], purpose);
        let mut all = vec![];
        for &count in counts {
            sequence.next_gates(count);
            assert_eq!(sequence.gates(), count);
            match &sequence.current {
                Keys::Aes(keys) => {
                    all.extend(keys.iter().map(|k| bytemuck::cast::<[u128; 2], [u32; 8]>([k.round_keys[0], 0])))
                }
                Keys::ChaCha12(keys) => all.extend(keys.iter().map(|k| k.key)),
            }
        }
        all
    }

    #[test]
    fn keys_never_repeat_across_calls_sessions_and_purposes() {
        for hash in GateHash::ALL {
            assert_eq!(draw(hash, 1, "a", &[70, 3]), draw(hash, 1, "a", &[1, 72]));
            let mut all = [draw(hash, 1, "a", &[100]), draw(hash, 1, "b", &[100]), draw(hash, 2, "a", &[100])].concat();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), 600);
        }
    }

    #[test]
    fn codes_name_hashes() {
        for hash in GateHash::ALL {
            assert_eq!(GateHash::from_code(hash.code()), Some(hash));
        }
        assert_eq!(GateHash::from_code(9), None);
    }
}
