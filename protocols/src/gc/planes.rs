//! Bits of many instances: for every chunk of 256 instances and every bit, 256 bits (two words of 128).

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::INSTANCES;

/// One bit of a chunk of instances; instance i's is bit i % 128 of word i / 128.
pub type Plane = [u128; 2];

/// The garbler's share of n instances' output: a negated output's labels are swapped, which the garbler alone accounts
/// for.
pub(super) fn flip(colours: Plane, negated: bool, n: usize) -> Plane {
    let mask = if negated { mask(n) } else { [0; 2] };
    [colours[0] ^ mask[0], colours[1] ^ mask[1]]
}

/// The first n of 256 bits.
pub(super) fn mask(n: usize) -> Plane {
    let low = |n: usize| if n >= 128 { u128::MAX } else { (1 << n) - 1 };
    [low(n), low(n.saturating_sub(128))]
}

/// Bit planes, ordered \[chunk\]\[bit\]. Bits beyond the last instance are 0.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Planes {
    bits: usize,
    instances: usize,
    planes: Vec<Plane>,
}

impl Planes {
    /// No instance's bits are set.
    pub fn zero(bits: usize, instances: usize) -> Self {
        Self { bits, instances, planes: vec![[0; 2]; bits * instances.div_ceil(INSTANCES)] }
    }

    /// The low `bits` bits of each column's value of every instance, column after column.
    ///
    /// # Panics
    /// If columns differ in length.
    pub fn from_columns(columns: &[&[u32]], bits: usize) -> Self {
        let instances = columns.first().map_or(0, |c| c.len());
        assert!(columns.iter().all(|c| c.len() == instances), "columns of different length");
        let mut all = Self::zero(bits * columns.len(), instances);
        for chunk in 0..all.chunks() {
            let range = all.range(chunk);
            for (i, column) in columns.iter().enumerate() {
                slice_bits(&column[range.clone()], &mut all.chunk_mut(chunk)[i * bits..(i + 1) * bits]);
            }
        }
        all
    }

    /// The values of `bits` bits from plane `first` on, of every instance.
    pub fn to_column(&self, first: usize, bits: usize) -> Vec<u32> {
        let mut column = vec![0; self.instances];
        for chunk in 0..self.chunks() {
            let planes = &self.chunk(chunk)[first..first + bits];
            for (half, values) in column[self.range(chunk)].chunks_mut(128).enumerate() {
                for (b, plane) in planes.iter().enumerate() {
                    let mut word = plane[half];
                    for v in values.iter_mut() {
                        *v |= (word as u32 & 1) << b;
                        word >>= 1;
                    }
                }
            }
        }
        column
    }

    /// Bit `bit` of every instance, a byte each.
    pub fn to_bytes(&self, bit: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.instances);
        for chunk in 0..self.chunks() {
            let plane = self.chunk(chunk)[bit];
            bytes.extend(self.range(chunk).enumerate().map(|(i, _)| (plane[i / 128] >> (i % 128)) as u8 & 1));
        }
        bytes
    }

    /// Bits an instance.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// Number of instances.
    pub fn instances(&self) -> usize {
        self.instances
    }

    /// Number of chunks.
    pub fn chunks(&self) -> usize {
        self.instances.div_ceil(INSTANCES)
    }

    /// Instances of a chunk.
    pub fn range(&self, chunk: usize) -> std::ops::Range<usize> {
        chunk * INSTANCES..self.instances.min((chunk + 1) * INSTANCES)
    }

    /// A chunk's planes.
    pub fn chunk(&self, chunk: usize) -> &[Plane] {
        &self.planes[chunk * self.bits..(chunk + 1) * self.bits]
    }

    /// A chunk's planes.
    pub(super) fn chunk_mut(&mut self, chunk: usize) -> &mut [Plane] {
        &mut self.planes[chunk * self.bits..(chunk + 1) * self.bits]
    }

    /// All planes.
    pub(crate) fn all(&self) -> &[Plane] {
        &self.planes
    }

    /// The bits that differ.
    ///
    /// # Panics
    /// If shapes differ, `other` being the plain planes of a peer.
    pub(crate) fn xor(&mut self, other: &[Plane]) {
        assert_eq!(self.planes.len(), other.len(), "planes of one shape");
        self.planes.iter_mut().zip(other).for_each(|(a, b)| *a = [a[0] ^ b[0], a[1] ^ b[1]]);
    }
}

/// Plane b of the result is bit b of each value; at most 32 planes and a chunk of values.
fn slice_bits(values: &[u32], planes: &mut [Plane]) {
    for (group, values) in values.chunks(8).enumerate() {
        let mut eight = [0; 8];
        eight[..values.len()].copy_from_slice(values);
        for (byte, planes) in planes.chunks_mut(8).enumerate() {
            let matrix =
                eight.iter().enumerate().fold(0, |m, (i, v)| m | (u64::from((v >> (8 * byte)) as u8) << (8 * i)));
            for (plane, row) in planes.iter_mut().zip(transpose8(matrix).to_le_bytes()) {
                plane[group / 16] |= u128::from(row) << (8 * (group % 16));
            }
        }
    }
}

/// Transposes an 8 x 8 bit matrix, a row a byte.
fn transpose8(x: u64) -> u64 {
    let swap = |x: u64, shift: u32, mask: u64| {
        let t = (x ^ (x >> shift)) & mask;
        x ^ t ^ (t << shift)
    };
    let x = swap(x, 7, 0x00aa_00aa_00aa_00aa);
    let x = swap(x, 14, 0x0000_cccc_0000_cccc);
    swap(x, 28, 0x0000_0000_f0f0_f0f0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_keep_their_place(a in proptest::collection::vec(any::<u32>(), 0..600), bits in 1usize..=32) {
            let b: Vec<u32> = a.iter().map(|v| v.rotate_left(9) ^ 77).collect();
            let planes = Planes::from_columns(&[&a, &b], bits);
            let low = |v: &u32| v & (u32::MAX >> (32 - bits));
            prop_assert_eq!(planes.to_column(0, bits), a.iter().map(low).collect::<Vec<_>>());
            prop_assert_eq!(planes.to_column(bits, bits), b.iter().map(low).collect::<Vec<_>>());
            prop_assert_eq!(planes.to_bytes(bits), b.iter().map(|v| v as &u32 & 1).map(|v| v as u8).collect::<Vec<_>>());
            for (i, v) in a.iter().enumerate() {
                let plane = planes.chunk(i / 256)[bits - 1];
                prop_assert_eq!((plane[i % 256 / 128] >> (i % 128)) as u32 & 1, v >> (bits - 1) & 1);
            }
        }
    }
}
