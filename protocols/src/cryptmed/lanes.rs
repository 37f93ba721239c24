//! Bits of many elements side by side: 512 elements a block, a bit of each in a plane.

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Elements of a block.
pub const LANES: usize = 512;
/// 32-bit words of a plane; bit i of word g is element 32·g + i's.
pub const WORDS: usize = LANES / 32;
/// A bit of each element of a block.
pub type Plane = [u32; WORDS];
/// Planes that are cleared when dropped.
pub type Planes = Zeroizing<Vec<Plane>>;
/// Of nodes or leaves of a tree: greater, and equal.
pub type Nodes = Zeroizing<Vec<[Plane; 2]>>;
/// No bit set.
pub const ZERO: Plane = [0; WORDS];

/// Blocks that hold so many elements.
pub fn blocks(elements: usize) -> usize {
    elements.div_ceil(LANES)
}

/// The elements of block number `block` of `elements`.
pub fn filled(elements: usize, block: usize) -> usize {
    LANES.min(elements - block * LANES)
}

/// `a ^ b`.
#[inline(always)]
pub fn xor(a: &Plane, b: &Plane) -> Plane {
    std::array::from_fn(|g| a[g] ^ b[g])
}

/// `a & b`.
#[inline(always)]
pub fn and(a: &Plane, b: &Plane) -> Plane {
    std::array::from_fn(|g| a[g] & b[g])
}

/// `sum ^= a & b`.
#[inline(always)]
pub fn add_product(sum: &mut Plane, a: &Plane, b: &Plane) {
    for g in 0..WORDS {
        sum[g] ^= a[g] & b[g];
    }
}

/// Bit b of each of the words in plane b.
#[inline(always)]
pub fn planes(words: &[u32]) -> [Plane; 32] {
    let mut a: [Plane; 32] = std::array::from_fn(|i| std::array::from_fn(|g| words[32 * g + i]));
    // Transposes 32 by 32 bits, for 16 squares at once (Warren: Hacker's Delight, 7-3).
    let (mut j, mut mask) = (16, 0x0000_ffff_u32);
    while j != 0 {
        for k in (0..32).filter(|k| k & j == 0) {
            let (low, high) = a.split_at_mut(k | j);
            for (x, y) in low[k].iter_mut().zip(&mut high[0]) {
                let t = ((*x >> j) ^ *y) & mask;
                *y ^= t;
                *x ^= t << j;
            }
        }
        j >>= 1;
        mask ^= mask << j;
    }
    a
}

/// The bits of a plane as words of 0 and 1.
#[inline(always)]
pub fn unpack(plane: &Plane, out: &mut [u32]) {
    for (g, out) in out.chunks_exact_mut(32).enumerate() {
        for (i, out) in out.iter_mut().enumerate() {
            *out = (plane[g] >> i) & 1;
        }
    }
}

/// Planes on the wire: the bits of the elements that there are, one plane after another, without gaps.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
    pending: u64,
    count: u32,
}

/// Bytes of `planes` planes of `elements` elements, or of as many values of `planes` bits.
pub fn bytes(planes: usize, elements: usize) -> usize {
    (planes * elements).div_ceil(8)
}

impl Writer {
    /// With room for this many bytes: growing would leave copies behind.
    pub fn new(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), pending: 0, count: 0 }
    }

    /// The low `bits` bits of a word, at most 32.
    #[inline]
    pub fn word(&mut self, word: u32, bits: u32) {
        let kept = if bits == 32 { word } else { word & ((1 << bits) - 1) };
        self.pending |= u64::from(kept) << self.count;
        self.count += bits;
        if self.count >= 32 {
            self.bytes.extend_from_slice(&(self.pending as u32).to_le_bytes());
            self.pending >>= 32;
            self.count -= 32;
        }
    }

    /// A plane of the first `elements` elements.
    #[inline]
    pub fn plane(&mut self, plane: &Plane, elements: usize) {
        for (g, word) in plane.iter().enumerate().take(elements.div_ceil(32)) {
            self.word(*word, 32.min(elements - 32 * g) as u32);
        }
    }

    /// What was written.
    pub fn finish(mut self) -> Vec<u8> {
        let left = (self.count as usize).div_ceil(8);
        self.bytes.extend_from_slice(&self.pending.to_le_bytes()[..left]);
        self.bytes
    }
}

/// Reads what a [`Writer`] wrote.
pub struct Reader<'a> {
    bytes: &'a [u8],
    pending: u64,
    count: u32,
}

impl<'a> Reader<'a> {
    /// Of a message, which must have this length.
    ///
    /// # Errors
    /// [`Error::Protocol`] where it hasn't.
    pub fn new(bytes: &'a [u8], expected: usize) -> Result<Self> {
        if bytes.len() != expected {
            let found = bytes.len();
            return Err(Error::protocol(format!("a message of {found} bytes where {expected} were expected")));
        }
        Ok(Self { bytes, pending: 0, count: 0 })
    }

    /// The next `bits` bits, at most 32.
    #[inline]
    pub fn word(&mut self, bits: u32) -> u32 {
        if self.count < bits {
            let take = self.bytes.len().min(4);
            let mut next = [0; 4];
            next[..take].copy_from_slice(&self.bytes[..take]);
            self.bytes = &self.bytes[take..];
            self.pending |= u64::from(u32::from_le_bytes(next)) << self.count;
            self.count += 32;
        }
        let word = self.pending as u32;
        self.pending >>= bits;
        self.count -= bits;
        if bits == 32 { word } else { word & ((1 << bits) - 1) }
    }

    /// The next plane of `elements` elements.
    #[inline]
    pub fn plane(&mut self, elements: usize) -> Plane {
        let mut plane = ZERO;
        for (g, word) in plane.iter_mut().enumerate().take(elements.div_ceil(32)) {
            *word = self.word(32.min(elements - 32 * g) as u32);
        }
        plane
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_hold_the_bits_of_words() {
        let words: Vec<u32> = (0..LANES as u32).map(|i| i.wrapping_mul(0x9e37_79b9) ^ (i << 13)).collect();
        let planes = planes(&words);
        for (b, plane) in planes.iter().enumerate() {
            let mut bits = [0; LANES];
            unpack(plane, &mut bits);
            assert!((0..LANES).all(|i| bits[i] == (words[i] >> b) & 1), "bit {b}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for elements in [1, 7, 31, 32, 33, 100, 511, 512] {
            let plane = |seed: u32| -> Plane { std::array::from_fn(|g| (g as u32 + seed).wrapping_mul(0x85eb_ca6b)) };
            let mut writer = Writer::new(0);
            (0..5).for_each(|p| writer.plane(&plane(p), elements));
            (0..9).for_each(|v| writer.word(v * 77, 11));
            let message = writer.finish();
            assert_eq!(message.len(), (5 * elements + 99).div_ceil(8));
            let mut reader = Reader::new(&message, message.len()).unwrap();
            for p in 0..5 {
                let (read, wanted) = (reader.plane(elements), plane(p));
                let bit = |plane: &Plane, i: usize| plane[i / 32] >> (i % 32) & 1;
                assert!((0..elements).all(|i| bit(&read, i) == bit(&wanted, i)));
            }
            assert!((0..9).all(|v| reader.word(11) == v * 77));
            assert!(Reader::new(&message, message.len() + 1).is_err());
        }
    }
}
