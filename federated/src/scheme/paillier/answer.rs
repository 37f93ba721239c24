//! A holder's part of a decryption: c_j = c^(2 Delta s_j) of each ciphertext, an integer modulo n^2.

use blindvox_engine::bigint::Exponents;

use super::encrypt::CHUNK;
use super::keys::{KeyShare, PublicKey};
use super::number::to_bytes;
use crate::error::Result;

/// Answers for ciphertexts, as many bytes.
///
/// # Errors
/// [`Error::Message`](crate::Error::Message) for bytes that are no ciphertexts.
pub fn answer(key: &PublicKey, share: &KeyShare, ciphertexts: &[u8]) -> Result<Vec<u8>> {
    let (exponent, bits) = share.exponent(2 * key.cast().delta());
    let mut answers = Vec::with_capacity(ciphertexts.len());
    for chunk in ciphertexts.chunks(CHUNK * key.ciphertext_len()) {
        let powers = key.ring().power(&key.ciphertexts(chunk)?, &Exponents { limbs: &exponent, bits });
        answers.extend_from_slice(&to_bytes(&powers));
    }
    Ok(answers)
}
