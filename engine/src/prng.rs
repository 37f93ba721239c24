//! The source of secrets: a ChaCha20 generator seeded by the operating system.
//!
//! Bulk draws take a fresh 128-bit key from it and expand that by AES-128 in counter mode, which is several times as
//! fast; no key serves two draws.
//!
//! Whenever a key is drawn, be it a seed or that of a fork, a series or a bulk draw, the generator takes a fresh key
//! for itself from the same stream and forgets its own (Bernstein: "Fast-key-erasure random-number generators", 2017):
//! whoever sees its state later cannot find the keys that were drawn before. Its state lies on the heap, so that moving
//! a generator copies none of it, and is cleared when dropped; the stack that it was made on is cleared at once.
//!
//! Fixed seeds exist for tests and for reproducible local runs only; the constructor says so in its name.

use std::fmt;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use rand::TryRng;
use rand::rngs::SysRng;
use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use crate::aes::Aes128;
use crate::error::{Error, Result};
use crate::stack::{SHALLOW, with_cleared_stack};

/// A 256-bit seed.
pub type Seed = [u8; 32];

/// Draws of at least this many bytes are expanded by AES, this many at a time.
const BULK: usize = 4096;

/// Larger draws are made by several threads, this many bytes each; what is drawn does not depend on it.
const THREAD: usize = 16 * BULK;

/// A cryptographically secure generator. Its state is secret: it is neither printed nor cloned.
pub struct Prng {
    /// Boxed: wherever a generator is moved, its key stays in one place.
    generator: Box<ChaCha20Rng>,
    /// Made from a seed that others may know, itself or the one it was forked from.
    fixed: bool,
}

/// The bytes of one bulk draw. As secret as they are.
pub(crate) struct Stream(Aes128);

impl Stream {
    /// 16 bytes a block, number `first` and on.
    pub(crate) fn blocks(&self, first: usize, out: &mut [u128]) {
        self.0.counter(0, first as u64, out);
    }
}

impl fmt::Debug for Prng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prng(..)")
    }
}

impl Prng {
    /// Seeded by the operating system.
    pub fn from_os() -> Result<Self> {
        let mut seed = Zeroizing::new(Seed::default());
        SysRng.try_fill_bytes(&mut *seed).map_err(|e| Error::Device(format!("no randomness: {e}")))?;
        Ok(Self::keyed(&seed, 0, false))
    }

    /// Reproducible and therefore **not secret**: for tests and local runs with a fixed seed.
    pub fn from_seed_for_tests(seed: Seed) -> Self {
        Self::keyed(&seed, 0, true)
    }

    /// Whether its draws come from a fixed seed, so that nothing made of them is secret.
    pub fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// Stream number `stream` under a key.
    fn keyed(seed: &Seed, stream: u64, fixed: bool) -> Self {
        let generator = with_cleared_stack::<SHALLOW, _>(|| {
            let mut generator = Box::new(ChaCha20Rng::from_seed(*seed));
            generator.set_stream(stream);
            generator
        });
        Self { generator, fixed }
    }

    /// Fills `key` from the stream, and then takes another key.
    fn draw_key(&mut self, key: &mut [u8]) {
        let mut next = Zeroizing::new(Seed::default());
        with_cleared_stack::<SHALLOW, _>(|| {
            self.generator.fill_bytes(key);
            self.generator.fill_bytes(&mut *next);
            *self.generator = ChaCha20Rng::from_seed(*next);
        });
    }

    /// An independent generator for one use, so that the order of other draws does not move it.
    pub fn fork(&mut self, label: &str) -> Self {
        let (mut root, mut seed) = (Zeroizing::new(Seed::default()), Zeroizing::new(Seed::default()));
        self.draw_key(&mut *root);
        with_cleared_stack::<SHALLOW, _>(|| {
            let mut hash = blake3::keyed_hash(&root, label.as_bytes());
            seed.copy_from_slice(hash.as_bytes());
            hash.zeroize();
        });
        Self::keyed(&seed, 0, self.fixed)
    }

    /// Generators by number, for parts that are drawn in any order.
    pub fn series(&mut self) -> PrngSeries {
        let mut seed = Box::new(Zeroizing::new(Seed::default()));
        self.draw_key(&mut **seed);
        PrngSeries { seed, fixed: self.fixed }
    }

    /// Fills `bytes`.
    pub fn fill_bytes(&mut self, bytes: &mut [u8]) {
        if bytes.len() < BULK {
            return self.generator.fill_bytes(bytes);
        }
        let stream = self.stream();
        let expand = |(part, bytes): (usize, &mut [u8])| {
            let mut blocks = Zeroizing::new([0u128; BULK / 16]);
            for (i, bytes) in bytes.chunks_mut(BULK).enumerate() {
                let first = (part * THREAD + i * BULK) / 16;
                if let Ok(blocks) = bytemuck::try_cast_slice_mut(bytes) {
                    stream.blocks(first, blocks);
                } else {
                    stream.blocks(first, &mut *blocks);
                    bytes.copy_from_slice(&bytemuck::cast_slice(&*blocks)[..bytes.len()]);
                }
            }
        };
        if bytes.len() <= THREAD {
            expand((0, bytes));
        } else {
            bytes.par_chunks_mut(THREAD).enumerate().for_each(expand);
        }
    }

    /// A bulk draw of any length, to be taken piece by piece: what [`Self::fill_bytes`] makes of [`BULK`] bytes and
    /// more.
    pub(crate) fn stream(&mut self) -> Stream {
        let mut key = Zeroizing::new([0; 16]);
        self.draw_key(&mut *key);
        Stream(Aes128::new(u128::from_le_bytes(*key)))
    }

    /// Uniform 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        self.generator.next_u32()
    }

    /// Uniform 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.generator.next_u64()
    }

    /// A fresh seed, to publish or to expand.
    pub fn seed(&mut self) -> Seed {
        let mut seed = Seed::default();
        self.draw_key(&mut seed);
        seed
    }

    /// `count` uniform plain values.
    pub fn fill<T: bytemuck::Pod>(&mut self, count: usize) -> Vec<T> {
        let mut values = vec![T::zeroed(); count];
        self.fill_bytes(bytemuck::cast_slice_mut(&mut values));
        values
    }
}

/// Independent generators by number: what each draws does not depend on the order, nor on the thread.
pub struct PrngSeries {
    seed: Box<Zeroizing<Seed>>,
    fixed: bool,
}

impl PrngSeries {
    /// Generator number `index`, each for one use: a stream of its own under the series' key.
    pub fn at(&self, index: usize) -> Prng {
        Prng::keyed(&self.seed, index as u64, self.fixed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_differ_by_label_and_draws_repeat_by_seed() {
        let draw = |label| Prng::from_seed_for_tests([7; 32]).fork(label).next_u64();
        assert_eq!(draw("a"), draw("a"));
        assert_ne!(draw("a"), draw("b"));
        assert_ne!(Prng::from_os().unwrap().next_u64(), Prng::from_os().unwrap().next_u64());
        assert!(!format!("{:?}", Prng::from_seed_for_tests([7; 32])).contains('7'));
    }

    /// The first block of the keystream under a zero key at zero (RFC 8439, A.1, vector 1).
    #[test]
    fn the_stream_is_the_standard_s() {
        let drawn = Prng::from_seed_for_tests([0; 32]).fill::<u8>(16);
        assert_eq!(drawn, 0x76b8_e0ad_a0f1_3d90_405d_6ae5_5386_bd28_u128.to_be_bytes());
    }

    /// What stands where a key was drawn is another key, which the drawn one does not give.
    #[test]
    fn a_drawn_key_is_forgotten() {
        let draws: [fn(&mut Prng); 4] =
            [|p| _ = p.seed(), |p| drop(p.fork("a")), |p| drop(p.series()), |p| drop(p.fill::<u8>(BULK))];
        for (i, draw) in draws.into_iter().enumerate() {
            let mut prng = Prng::from_seed_for_tests([7; 32]);
            let before = prng.generator.get_seed();
            draw(&mut prng);
            // The stream before it: the drawn key, then the one that took the old one's place.
            let stream = Prng::from_seed_for_tests([7; 32]).fill::<u8>(64);
            let at = if i == 3 { 16 } else { 32 };
            assert_ne!(prng.generator.get_seed(), before);
            assert_eq!(prng.generator.get_seed(), stream[at..at + 32]);
            assert_eq!(prng.next_u64(), Prng::from_seed_for_tests(prng.generator.get_seed()).next_u64());
        }
    }

    #[test]
    fn all_that_comes_of_a_fixed_seed_says_so() {
        for (mut prng, fixed) in [(Prng::from_seed_for_tests([7; 32]), true), (Prng::from_os().unwrap(), false)] {
            let mut fork = prng.fork("a");
            assert_eq!([prng.is_fixed(), fork.is_fixed(), fork.series().at(3).is_fixed()], [fixed; 3]);
        }
    }

    #[test]
    fn generators_of_a_series_differ_and_do_not_depend_on_order() {
        let series = Prng::from_seed_for_tests([7; 32]).series();
        let draws = |order: [usize; 3]| order.map(|i| series.at(i).next_u64());
        let ([a, b, c], [z, y, x]) = (draws([0, 1, 2]), draws([2, 1, 0]));
        assert_eq!([a, b, c], [x, y, z]);
        assert!(a != b && b != c && a != c);
    }

    #[test]
    fn bulk_draws_differ_and_fill_every_byte() {
        for len in [BULK - 1, BULK, BULK + 1, 3 * BULK + 5] {
            let mut prng = Prng::from_seed_for_tests([7; 32]);
            let (a, b): (Vec<u8>, Vec<u8>) = (prng.fill(len), prng.fill(len));
            assert_eq!(Prng::from_seed_for_tests([7; 32]).fill::<u8>(len), a);
            for bytes in [&a, &b] {
                // Every byte value is about as frequent as any other, at the end as well as elsewhere.
                let mut counts = [0usize; 256];
                bytes.iter().for_each(|&x| counts[usize::from(x)] += 1);
                let mean = len as f64 / 256.0;
                let chi2: f64 = counts.iter().map(|&c| (c as f64 - mean).powi(2) / mean).sum();
                assert!((128.0..384.0).contains(&chi2), "{chi2}");
            }
            assert!(a.iter().zip(&b).filter(|(a, b)| a == b).count() < len / 100);
            assert_ne!(a[len - 64..], b[len - 64..]);
            assert!(a.windows(16).skip(16).all(|w| w != &a[..16]), "no block repeats");
        }
    }
}
