//! That a holder's answers are right: one proof for all of a round.
//!
//! ```text
//! rho_i = 128-bit hashes of all,   C = prod c_i^rho_i,   C_j = prod c_{j,i}^rho_i
//! log_{C^4} C_j^2 = log_v v_j = Delta s_j:
//!     a = v^r, b = C^(4r), r of |n^2| + |Delta| + 256 bits;   e = H(.., a, b), 128 bits;   z = r + e Delta s_j
//! ```
//!
//! (e, z) is sent; a = v^z / v_j^e and b = C^(4z) / C_j^(2e) are found again. Fouque, Poupard and Stern, after Shoup. r
//! is 128 bits longer than e Delta s_j and so hides it. A negative answer passes: only its square is used.

use blake3::Hasher;
use blindvox_engine::Prng;
use blindvox_engine::bigint::Exponents;
use crypto_bigint::BoxedUint;
use zeroize::Zeroizing;

use super::encrypt::CHUNK;
use super::keys::{KeyShare, PublicKey};
use super::number::{bits, boxed, from_bytes, limbs, to_bytes};
use crate::error::{Error, Result};

/// Bytes of a hash that is an exponent.
const CHALLENGE: usize = 16;

/// What a proof is about: whoever makes it and whoever checks it must have the same.
#[derive(Clone, Copy)]
pub struct Statement<'a> {
    /// The federation, the round and whatever else the answers belong to.
    pub context: &'a [u8],
    /// Whose answers they are.
    pub point: usize,
    /// The summed ciphertexts.
    pub ciphertexts: &'a [u8],
    /// What they were answered with.
    pub answers: &'a [u8],
}

/// Both sides of a statement as one power each.
struct Batched {
    /// C^4.
    base: Zeroizing<Vec<u64>>,
    /// C_j^2.
    power: Zeroizing<Vec<u64>>,
    /// All that was hashed.
    seed: blake3::Hash,
}

/// Limbs of r and of z: |n^2| + |Delta| + 256 bits, and one for the sum.
fn nonce_bits(key: &PublicKey) -> usize {
    2 * key.bits() + bits(key.cast().delta()) + 256
}

fn response_limbs(key: &PublicKey) -> usize {
    (nonce_bits(key) + 1).div_ceil(64)
}

/// Bytes of a proof.
pub fn proof_len(key: &PublicKey) -> usize {
    CHALLENGE + 8 * response_limbs(key)
}

/// x_0^rho_0 x_1^rho_1 ..
fn product(key: &PublicKey, ciphertexts: &[u8], seed: &blake3::Hash) -> Result<Zeroizing<Vec<u64>>> {
    let w = 2 * key.n().len();
    let mut weights = Hasher::new_keyed(seed.as_bytes()).finalize_xof();
    let mut product: Option<Zeroizing<Vec<u64>>> = None;
    for chunk in ciphertexts.chunks(CHUNK * key.ciphertext_len()) {
        let x = key.ciphertexts(chunk)?;
        let mut rho = vec![0; CHALLENGE * (x.len() / w)];
        weights.fill(&mut rho);
        let mut x = key.ring().power(&x, &Exponents { limbs: &from_bytes(&rho), bits: 8 * CHALLENGE });
        while x.len() > w {
            let half = x.len() / w / 2 * w;
            let (pairs, odd) = x.split_at(2 * half);
            let mut next = key.ring().multiply(&pairs[..half], &pairs[half..]);
            next.extend_from_slice(odd);
            x = next;
        }
        product = Some(match product {
            Some(product) => key.ring().multiply(&product, &x),
            None => x,
        });
    }
    product.ok_or_else(|| Error::message("no ciphertexts to prove answers of"))
}

fn power(key: &PublicKey, x: &[u64], exponent: &[u64]) -> Zeroizing<Vec<u64>> {
    key.ring().power(x, &Exponents { limbs: exponent, bits: 64 * exponent.len() })
}

impl Batched {
    fn new(key: &PublicKey, statement: &Statement<'_>) -> Result<Self> {
        if statement.ciphertexts.len() != statement.answers.len() || !(1..=key.holders()).contains(&statement.point) {
            let (found, expected) = (statement.answers.len(), statement.ciphertexts.len());
            let error = format!("answers of {found} bytes at point {}, expected {expected}", statement.point);
            return Err(Error::message(error));
        }
        let mut hasher = Hasher::new_derive_key("blindvox paillier answers 1");
        let bytes = key.to_bytes();
        for part in [&bytes[..], statement.context, &[statement.point as u8], statement.ciphertexts, statement.answers]
        {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        let seed = hasher.finalize();
        let base = power(key, &product(key, statement.ciphertexts, &seed)?, &[4]);
        let power = power(key, &product(key, statement.answers, &seed)?, &[2]);
        Ok(Self { base, power, seed })
    }

    /// e, of the two commitments.
    fn challenge(&self, a: &[u64], b: &[u64]) -> [u64; 2] {
        let mut hasher = Hasher::new_derive_key("blindvox paillier challenge 1");
        hasher.update(self.seed.as_bytes());
        [&self.base, &self.power].iter().for_each(|x| _ = hasher.update(&to_bytes(x)));
        [a, b].iter().for_each(|x| _ = hasher.update(&to_bytes(x)));
        let hash = hasher.finalize();
        from_bytes(&hash.as_bytes()[..CHALLENGE])[..].try_into().expect("16 bytes")
    }
}

/// Proves answers that this share gave.
///
/// # Errors
/// [`Error::Message`] for bytes that are no ciphertexts, or as many answers.
pub fn prove(key: &PublicKey, share: &KeyShare, statement: &Statement<'_>, prng: &mut Prng) -> Result<Vec<u8>> {
    let batched = Batched::new(key, statement)?;
    let mut nonce = Zeroizing::new(vec![0; 8 * response_limbs(key)]);
    prng.fill_bytes(&mut nonce);
    let mut r = from_bytes(&nonce);
    clear_from(&mut r, nonce_bits(key));
    let [a, b] = [key.generator(), &batched.base].map(|x| power(key, x, &r));
    let e = batched.challenge(&a, &b);
    // z = r + e Delta s_j, which has the bits of r and one more.
    let (secret, _) = share.exponent(key.cast().delta());
    for (i, e) in e.into_iter().enumerate() {
        let mut carry = 0_u128;
        for (j, z) in r[i..].iter_mut().enumerate() {
            carry += u128::from(*z) + u128::from(e) * u128::from(secret.get(j).copied().unwrap_or(0));
            *z = carry as u64;
            carry >>= 64;
        }
    }
    Ok([&to_bytes(&e)[..], &to_bytes(&r)].concat())
}

/// Clears bits from number `at` on.
fn clear_from(x: &mut [u64], at: usize) {
    let kept = |i: usize| at.saturating_sub(64 * i).min(64) as u32;
    x.iter_mut().enumerate().for_each(|(i, limb)| *limb &= u64::MAX.checked_shr(64 - kept(i)).unwrap_or(0));
}

/// Checks a proof.
///
/// # Errors
/// [`Error::Message`] where it does not hold, or bytes are not what they should be.
pub fn verify(key: &PublicKey, statement: &Statement<'_>, proof: &[u8]) -> Result<()> {
    let wrong = || Error::message(format!("the proof for the answers at point {} does not hold", statement.point));
    if proof.len() != proof_len(key) {
        return Err(Error::message(format!("a proof of {} bytes, expected {}", proof.len(), proof_len(key))));
    }
    let batched = Batched::new(key, statement)?;
    let (e, z) = proof.split_at(CHALLENGE);
    let (e, z) = (from_bytes(e), from_bytes(z));
    let w = 2 * key.n().len();
    let square = boxed(key.n());
    let square = crypto_bigint::ConcatenatingMul::concatenating_mul(&square, &square).to_odd().expect("of an odd n");
    let commitment = |x: &[u64], y: &[u64]| -> Result<Zeroizing<Vec<u64>>> {
        let divisor: BoxedUint = boxed(&power(key, y, &e));
        let inverse = divisor.invert_odd_mod(&square).into_option().ok_or_else(wrong)?;
        Ok(key.ring().multiply(&power(key, x, &z), &limbs(&inverse, w)))
    };
    let a = commitment(key.generator(), key.check(statement.point))?;
    let b = commitment(&batched.base, &batched.power)?;
    if batched.challenge(&a, &b)[..] != e[..] {
        return Err(wrong());
    }
    Ok(())
}
