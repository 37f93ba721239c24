//! Opening a sum by the answers of t holders.
//!
//! ```text
//! mu_j = Delta prod l / (l - j) over the others l
//! P = prod of c_j^(2 mu_j), mu_j > 0,   N = prod of c_j^(2 |mu_j|), mu_j < 0
//! P = u + n p1,  N = u' + n q1;  u != u' means that an answer is wrong
//! m = (p1 - q1) / (4 Delta^2 theta u) modulo n
//! ```
//!
//! u = u' does not prove an answer: c_j (1 + n)^x has the same u. What [`super::proof`] is for.

use blindvox_engine::bigint::Exponents;
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use zeroize::Zeroizing;

use super::encrypt::{CHUNK, Packing};
use super::keys::PublicKey;
use super::number::{boxed, limbs};
use crate::error::{Error, Result};
use crate::shamir::subsets;

/// A holder's answers, and its point.
pub type Part<'a> = (usize, &'a [u8]);

/// Why t answers don't open a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongAnswer {
    /// The first ciphertext that they don't fit.
    pub ciphertext: usize,
}

/// Opens a sum of `numbers` numbers by the parts of at least t holders; other subsets of t are tried where one fails.
///
/// # Errors
/// [`Error::Message`] where no t parts fit each other.
pub fn open(key: &PublicKey, packing: &Packing, parts: &[Part<'_>], numbers: usize) -> Result<Zeroizing<Vec<u32>>> {
    // A part that is none is as if it had not come.
    let whole = packing.ciphertexts(numbers) * key.ciphertext_len();
    let is_part = |(i, part): &(usize, &Part<'_>)| {
        let known = (1..=key.holders()).contains(&part.0) && parts[..*i].iter().all(|other| other.0 != part.0);
        known && part.1.len() == whole
    };
    let parts: Vec<_> = parts.iter().enumerate().filter(is_part).map(|(_, part)| *part).collect();
    let mut wrong = None;
    for chosen in subsets(parts.len(), key.threshold()) {
        let chosen: Vec<_> = chosen.iter().map(|&i| parts[i]).collect();
        match open_by(key, packing, &chosen, numbers) {
            Ok(opened) => return Ok(opened),
            Err(WrongAnswer { ciphertext }) => wrong = wrong.or(Some(ciphertext)),
        }
    }
    let (found, t) = (parts.len(), key.threshold());
    Err(Error::message(match wrong {
        Some(i) => format!("no {t} of {found} answers open ciphertext {i}: one at least is wrong"),
        None => format!("{found} answers of {whole} bytes, expected {t} or more"),
    }))
}

/// Opens a sum by the parts of exactly t holders, each of as many bytes as the sum.
///
/// # Errors
/// [`WrongAnswer`] where they don't fit each other, or no sum that was packed so.
///
/// # Panics
/// If there are not t parts of different holders and that length.
pub fn open_by(
    key: &PublicKey,
    packing: &Packing,
    parts: &[Part<'_>],
    numbers: usize,
) -> std::result::Result<Zeroizing<Vec<u32>>, WrongAnswer> {
    let len = key.ciphertext_len();
    let count = packing.ciphertexts(numbers);
    assert!(parts.len() == key.threshold() && parts.iter().all(|part| part.1.len() == count * len), "t parts");
    let weights = weights(key, parts);
    let mut opened = Zeroizing::new(vec![0; numbers]);
    for (i, numbers) in opened.chunks_mut(CHUNK * packing.each()).enumerate() {
        let (first, w) = (i * CHUNK, key.n().len());
        let at = first * len..(first + packing.ciphertexts(numbers.len())) * len;
        let wrong = |offset: usize| WrongAnswer { ciphertext: first + offset };
        let parts: Vec<_> = parts.iter().map(|part| &part.1[at.clone()]).collect();
        let plaintexts = plaintexts(key, &parts, &weights).map_err(wrong)?;
        let rows = numbers.chunks_mut(packing.each()).zip(plaintexts.chunks_exact(w));
        for (offset, (row, plaintext)) in rows.enumerate() {
            if !packing.unpack(plaintext, row) {
                return Err(wrong(offset));
            }
        }
    }
    Ok(opened)
}

/// 2 mu of each part.
fn weights(key: &PublicKey, parts: &[Part<'_>]) -> Vec<i128> {
    let points: Vec<i128> = parts.iter().map(|part| part.0 as i128).collect();
    let weight = |j: &i128| {
        let others = points.iter().filter(|l| *l != j);
        // At most 16! 16^15, below 2^105; the quotient is an integer.
        let (top, bottom) = others.fold((i128::from(key.cast().delta()), 1), |(a, b), l| (a * l, b * (l - j)));
        2 * top / bottom
    };
    points.iter().map(weight).collect()
}

/// Integers of some ciphertexts, or the index of one that the parts don't fit.
type Integers = std::result::Result<Zeroizing<Vec<u64>>, usize>;

/// The product of the parts to the weights of one sign, of each ciphertext.
fn product(key: &PublicKey, parts: &[&[u8]], weights: &[i128], positive: bool) -> Integers {
    let mut product: Option<Zeroizing<Vec<u64>>> = None;
    for (part, &weight) in parts.iter().zip(weights).filter(|(_, weight)| (**weight > 0) == positive) {
        let c = key.ciphertexts(part).map_err(|_| 0_usize)?;
        let size = weight.unsigned_abs();
        let exponent = [size as u64, (size >> 64) as u64];
        let bits = 128 - size.leading_zeros() as usize;
        let exponents = Exponents { limbs: &exponent[..bits.div_ceil(64)], bits };
        let power = key.ring().power(&c, &exponents);
        product = Some(match product {
            Some(product) => key.ring().multiply(&product, &power),
            None => power,
        });
    }
    let one = || {
        let mut ones = vec![0; parts[0].len() / 8];
        ones.chunks_exact_mut(2 * key.n().len()).for_each(|one| one[0] = 1);
        Zeroizing::new(ones)
    };
    Ok(product.unwrap_or_else(one))
}

/// The plaintexts of some ciphertexts.
fn plaintexts(key: &PublicKey, parts: &[&[u8]], weights: &[i128]) -> Integers {
    let w = key.n().len();
    let [p, n] = [true, false].map(|positive| product(key, parts, weights, positive));
    let (p, n) = (key.ring().split(&p?), key.ring().split(&n?));
    let pairs = || p.chunks_exact(2 * w).zip(n.chunks_exact(2 * w));
    if let Some(i) = pairs().position(|(p, n)| p[..w] != n[..w]) {
        return Err(i);
    }
    let params = BoxedMontyParams::new_vartime(boxed(key.n()).to_odd().expect("an odd n"));
    let form = |x: &[u64]| BoxedMontyForm::new(boxed(x), &params);
    // One inversion for all: products of the first u, then back from the last.
    let mut before = vec![];
    let mut all = BoxedMontyForm::one(&params);
    for (p, _) in pairs() {
        before.push(all.clone());
        all = &all * &form(&p[..w]);
    }
    let mut inverse = all.invert().into_option().ok_or(0_usize)?;
    let mut plaintexts = Zeroizing::new(vec![0; p.len() / 2]);
    let scale = form(key.scale());
    let pairs: Vec<_> = pairs().zip(before).collect();
    for (i, ((p, n), before)) in pairs.into_iter().enumerate().rev() {
        let u = &before * &inverse;
        inverse = &inverse * &form(&p[..w]);
        let m = &(&form(&p[w..]) - &form(&n[w..])) * &(&u * &scale);
        plaintexts[i * w..][..w].copy_from_slice(&limbs(&m.retrieve(), w));
    }
    Ok(plaintexts)
}
