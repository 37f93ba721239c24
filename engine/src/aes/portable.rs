//! The body for processors without VAES and AES-NI: the `aes` crate, eight blocks at a time.

use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

use super::Aes128;

/// Encrypts every block in place.
pub(super) fn encrypt(key: &Aes128, blocks: &mut [u128]) {
    let cipher = aes::Aes128::new(&Array::from(key.round_keys[0].to_le_bytes()));
    for tile in blocks.chunks_mut(8) {
        let mut bytes = [Array::from([0; 16]); 8];
        for (b, x) in bytes.iter_mut().zip(&*tile) {
            *b = Array::from(x.to_le_bytes());
        }
        cipher.encrypt_blocks(&mut bytes[..tile.len()]);
        for (x, b) in tile.iter_mut().zip(bytes) {
            *x = u128::from_le_bytes(b.into());
        }
    }
}
