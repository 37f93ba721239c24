//! What two ends draw alike from one seed: AES-128 in counter mode, a key a run, a nonce for everything that is drawn.

use blindvox_engine::aes::Aes128;
use zeroize::Zeroizing;

/// A seed of the dealer's.
pub type Seed = Zeroizing<[u8; 16]>;

/// Words that are cleared when dropped.
pub type Words = Zeroizing<Vec<u32>>;

/// What is drawn of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Part {
    /// Masks of what is opened.
    Mask,
    /// Masks of bits, which nothing else depends on.
    Free,
    /// Shares of bits that depend on others.
    Bits,
    /// Shares of words that depend on others.
    Columns,
    /// Masks of a layer's input, or its matrix.
    Factor,
    /// Shares of a layer's masked output.
    Product,
}

/// The streams of a seed in one run. Run 0 is the model's own.
pub struct Streams {
    cipher: Aes128,
    /// What was drawn: never twice.
    #[cfg(test)]
    ledger: std::cell::RefCell<std::collections::HashSet<u64>>,
}

impl Streams {
    /// The streams of a run.
    pub fn new(seed: &Seed, run: u64) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("blindvox dealer streams");
        hash.update(&**seed).update(&run.to_le_bytes());
        let mut key = Zeroizing::new([0; 16]);
        hash.finalize_xof().fill(&mut *key);
        zeroize::Zeroize::zeroize(&mut hash);
        Self {
            cipher: Aes128::new(u128::from_le_bytes(*key)),
            #[cfg(test)]
            ledger: std::cell::RefCell::default(),
        }
    }

    /// So many uniform words of part `part` of item number `item`.
    pub fn draw(&self, item: usize, part: Part, count: usize) -> Words {
        let nonce = (item as u64) << 8 | part as u64;
        #[cfg(test)]
        assert!(count == 0 || self.ledger.borrow_mut().insert(nonce), "item {item}: {part:?} is drawn twice");
        let mut words = Zeroizing::new(vec![0u32; count]);
        let mut blocks = Zeroizing::new([0u128; 256]);
        for (at, words) in words.chunks_mut(1024).enumerate() {
            let blocks = &mut blocks[..words.len().div_ceil(4)];
            self.cipher.counter(nonce, 256 * at as u64, blocks);
            words.copy_from_slice(&bytemuck::cast_slice(blocks)[..words.len()]);
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_run_item_and_part() {
        let draw = |seed: u8, run, item, part| Streams::new(&Zeroizing::new([seed; 16]), run).draw(item, part, 3000);
        let all = [
            draw(1, 1, 0, Part::Mask),
            draw(2, 1, 0, Part::Mask),
            draw(1, 2, 0, Part::Mask),
            draw(1, 1, 1, Part::Mask),
            draw(1, 1, 0, Part::Free),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a.iter().zip(b.iter()).filter(|(a, b)| a == b).count() < 3));
        }
        assert_eq!(all[0], draw(1, 1, 0, Part::Mask));
        assert_eq!(all[0][..100], draw(1, 1, 0, Part::Mask)[..100]);
    }

    #[test]
    #[should_panic(expected = "drawn twice")]
    fn nothing_is_drawn_twice() {
        let streams = Streams::new(&Zeroizing::new([1; 16]), 1);
        streams.draw(3, Part::Mask, 5);
        streams.draw(3, Part::Mask, 5);
    }
}
