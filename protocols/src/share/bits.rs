//! Bits shared by xor.

use std::ops::{Deref, DerefMut};

use zeroize::Zeroizing;

/// One party's shares of bits, x = x_C xor x_S, a byte of 0 or 1 each: cleared when dropped, and neither printed nor
/// cloned. A byte each is what transfers choose with and selections mask with.
#[derive(Default)]
pub struct BitShares(Zeroizing<Vec<u8>>);

impl BitShares {
    /// The shares of the bits in parts of `len`, in their order; a shorter one at the end.
    pub fn split(&self, len: usize) -> Vec<Self> {
        self.0.chunks(len.max(1)).map(|part| part.to_vec().into()).collect()
    }
}

impl From<Vec<u8>> for BitShares {
    fn from(bits: Vec<u8>) -> Self {
        debug_assert!(bits.iter().all(|&b| b < 2), "bits are 0 or 1");
        Self(Zeroizing::new(bits))
    }
}

impl Deref for BitShares {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for BitShares {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
