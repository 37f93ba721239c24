//! Numbers to ciphertexts: packed into plaintexts, (1 + m n) hs^alpha, and products of them.

use blindvox_engine::Prng;
use blindvox_engine::bigint::Exponents;
use zeroize::Zeroizing;

use super::keys::PublicKey;
use super::number::{from_bytes, to_bytes};
use crate::error::{Error, Result};

/// Ciphertexts that are worked on at a time, so that memory does not grow with the model.
pub(super) const CHUNK: usize = 512;

/// Numbers of `bits` bits side by side in a plaintext below n, the first one lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    bits: u32,
    each: usize,
}

impl Packing {
    /// Of F bits, F from 1 to 32, for sums that stay below 2^F.
    ///
    /// # Errors
    /// [`Error::Input`] for another F.
    pub fn new(key: &PublicKey, bits: u32) -> Result<Self> {
        if !(1..=32).contains(&bits) {
            return Err(Error::input(format!("numbers of {bits} bits, expected 1 to 32")));
        }
        Ok(Self { bits, each: (key.bits() - 1) / bits as usize })
    }

    /// Numbers in a ciphertext.
    pub fn each(&self) -> usize {
        self.each
    }

    /// Ciphertexts of some numbers.
    pub fn ciphertexts(&self, numbers: usize) -> usize {
        numbers.div_ceil(self.each)
    }

    /// Adds up to `each` numbers to a plaintext that is zero.
    fn pack(&self, numbers: &[u32], plaintext: &mut [u64]) {
        for (i, &number) in numbers.iter().enumerate() {
            let (word, shift) = (i * self.bits as usize / 64, i * self.bits as usize % 64);
            let wide = u128::from(number) << shift;
            plaintext[word] |= wide as u64;
            if let Some(next) = plaintext.get_mut(word + 1) {
                *next |= (wide >> 64) as u64;
            }
        }
    }

    /// The first numbers of a plaintext, and whether nothing else is in it.
    pub(super) fn unpack(&self, plaintext: &[u64], numbers: &mut [u32]) -> bool {
        for (i, number) in numbers.iter_mut().enumerate() {
            let (word, shift) = (i * self.bits as usize / 64, i * self.bits as usize % 64);
            let next = plaintext.get(word + 1).copied().unwrap_or(0);
            let wide = u128::from(plaintext[word]) | u128::from(next) << 64;
            *number = (wide >> shift) as u32 & u32::MAX >> (32 - self.bits);
        }
        let mut again = Zeroizing::new(vec![0; plaintext.len()]);
        self.pack(numbers, &mut again);
        again[..] == *plaintext
    }
}

/// Encrypts numbers below 2^F: [`PublicKey::ciphertext_len`] bytes for each [`Packing::each`] of them.
///
/// # Errors
/// [`Error::Input`] for a number that is not below 2^F.
pub fn seal(key: &PublicKey, packing: &Packing, numbers: &[u32], prng: &mut Prng) -> Result<Vec<u8>> {
    if numbers.iter().fold(0, |all, number| all | u64::from(*number) >> packing.bits) != 0 {
        return Err(Error::input(format!("a number that is not below 2^{}", packing.bits)));
    }
    let (w, alpha_bits) = (key.n().len(), key.bits() / 2);
    let mut sealed = Vec::with_capacity(packing.ciphertexts(numbers.len()) * key.ciphertext_len());
    for numbers in numbers.chunks(CHUNK * packing.each) {
        let count = packing.ciphertexts(numbers.len());
        let mut plaintexts = Zeroizing::new(vec![0; count * w]);
        for (numbers, plaintext) in numbers.chunks(packing.each).zip(plaintexts.chunks_exact_mut(w)) {
            packing.pack(numbers, plaintext);
        }
        let mut alphas = Zeroizing::new(vec![0; count * alpha_bits / 8]);
        prng.fill_bytes(&mut alphas);
        let alphas = from_bytes(&alphas);
        let exponents = Exponents { limbs: &alphas, bits: alpha_bits };
        sealed.extend_from_slice(&to_bytes(&key.ring().blind(key.table(), &exponents, &plaintexts)));
    }
    Ok(sealed)
}

/// Adds an upload's ciphertexts to a sum, which is empty before the first: products modulo n^2. Where that fails the
/// sum is as it was.
///
/// # Errors
/// [`Error::Message`] for bytes that are no ciphertexts, or not as many.
pub fn aggregate(key: &PublicKey, sum: &mut Vec<u8>, ciphertexts: &[u8]) -> Result<()> {
    let step = CHUNK * key.ciphertext_len();
    if sum.is_empty() {
        ciphertexts.chunks(step).try_for_each(|chunk| key.ciphertexts(chunk).map(drop))?;
        sum.extend_from_slice(ciphertexts);
        return Ok(());
    }
    if sum.len() != ciphertexts.len() {
        let error = format!("ciphertexts of {} bytes, expected {}", ciphertexts.len(), sum.len());
        return Err(Error::message(error));
    }
    let mut next = Vec::with_capacity(sum.len());
    for (a, b) in sum.chunks(step).zip(ciphertexts.chunks(step)) {
        let product = key.ring().multiply(&key.ciphertexts(a)?, &key.ciphertexts(b)?);
        next.extend_from_slice(&to_bytes(&product));
    }
    *sum = next;
    Ok(())
}
