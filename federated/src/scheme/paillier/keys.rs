//! The public key, as members hold it, and a holder's share of what decrypts.

use std::sync::OnceLock;

use blindvox_engine::bigint::{Body, FixedBase, Ring};
use zeroize::Zeroizing;

use super::number::{bits, boxed, from_bytes, limbs, times, to_bytes};
use crate::error::{Error, Result};

/// Bits of n that a ceremony offers: 112 and 128 bits of security.
pub const SIZES: [usize; 2] = [2048, 3072];

/// The most holders.
pub const MOST_HOLDERS: usize = 16;

/// Bytes before the numbers of a key: version, t, h, 0, and the bits of n.
const HEAD: usize = 8;
const VERSION: u8 = 1;

/// How many holders there are, and how many of them decrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cast {
    pub(super) threshold: usize,
    pub(super) holders: usize,
}

impl Cast {
    pub(super) fn new(threshold: usize, holders: usize) -> Result<Self> {
        if !(1..=MOST_HOLDERS).contains(&holders) || !(1..=holders).contains(&threshold) {
            let error =
                format!("a threshold of {threshold} of {holders} holders, expected 1 <= t <= h <= {MOST_HOLDERS}");
            return Err(Error::input(error));
        }
        Ok(Self { threshold, holders })
    }

    /// h!, below 2^45.
    pub(super) fn delta(self) -> u64 {
        (1..=self.holders as u64).product()
    }
}

/// What everybody knows: n, theta, hs, and for proofs v and v_1 .. v_h. n is what messages are modulo, ciphertexts are
/// integers modulo n^2.
pub struct PublicKey {
    cast: Cast,
    ring: Ring,
    n: Vec<u64>,
    /// hs | v | v_1 .. v_h, modulo n^2.
    powers: Vec<u64>,
    /// 1 / (4 Delta^2 theta) modulo n.
    scale: Vec<u64>,
    bytes: Vec<u8>,
    table: OnceLock<FixedBase>,
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({} bits, {} of {})", self.bits(), self.cast.threshold, self.cast.holders)
    }
}

impl PublicKey {
    pub(super) fn head(cast: Cast, bits: usize) -> [u8; HEAD] {
        let [low, high] = (bits as u16).to_le_bytes();
        [VERSION, cast.threshold as u8, cast.holders as u8, 0, low, high, 0, 0]
    }

    /// The key as bytes: a head, n, theta, hs, v and v_1 .. v_h, the least byte first.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// Of [`Self::to_bytes`].
    ///
    /// # Errors
    /// [`Error::Input`] for bytes that are no key, or one of less than 2048 bits.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let key = Self::decode(bytes)?;
        if !SIZES.contains(&key.bits()) {
            return Err(Error::input(format!("a Paillier key of {} bits, expected one of {SIZES:?}", key.bits())));
        }
        Ok(key)
    }

    /// The same of a key of tests, whose 512 bits are no secret.
    ///
    /// # Errors
    /// [`Error::Input`] for bytes that are no key.
    pub fn from_bytes_insecure_for_tests(bytes: &[u8]) -> Result<Self> {
        Self::decode(bytes)
    }

    /// Of any length that the engine takes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let broken = |what: &str| Error::input(format!("a Paillier key: {what}"));
        let head: &[u8; HEAD] = bytes.first_chunk().ok_or_else(|| broken("its head is missing"))?;
        let (cast, bits) =
            (Cast::new(head[1].into(), head[2].into())?, usize::from(u16::from_le_bytes([head[4], head[5]])));
        if *head != Self::head(cast, bits) || !bits.is_multiple_of(128) || !(512..=4096).contains(&bits) {
            return Err(broken("not of this version"));
        }
        let w = bits / 64;
        let expected = HEAD + 8 * w * (2 + 2 * (2 + cast.holders));
        if bytes.len() != expected {
            return Err(broken(&format!("{} bytes, expected {expected}", bytes.len())));
        }
        let all = from_bytes(&bytes[HEAD..]);
        let (n, theta, powers) = (&all[..w], &all[w..2 * w], &all[2 * w..]);
        let ring = Ring::new(n)?;
        if n[w - 1] >> 63 == 0 || !ring.contains(powers) || powers.chunks_exact(2 * w).any(is_zero) {
            return Err(broken("its numbers are out of range"));
        }
        let cast_delta = times(&times(theta, cast.delta()), 4);
        let odd = boxed(n).to_odd().into_option().ok_or_else(|| broken("n is even"))?;
        let scaled = boxed(&times(&cast_delta, cast.delta())).rem(&odd.as_nz_ref().clone());
        let inverse = scaled.invert_odd_mod(&odd).into_option().ok_or_else(|| broken("theta has no inverse"))?;
        Ok(Self {
            cast,
            n: n.to_vec(),
            powers: powers.to_vec(),
            scale: limbs(&inverse, w).to_vec(),
            ring,
            bytes: bytes.to_vec(),
            table: OnceLock::new(),
        })
    }

    /// Bits of n.
    pub fn bits(&self) -> usize {
        64 * self.n.len()
    }

    /// Bits of security, by the usual tables for factoring; 0 for keys of tests.
    pub fn security_bits(&self) -> u32 {
        match self.bits() {
            2048 => 112,
            3072.. => 128,
            _ => 0,
        }
    }

    /// Bytes of a ciphertext.
    pub fn ciphertext_len(&self) -> usize {
        2 * self.bits() / 8
    }

    /// t: how many answers open a sum.
    pub fn threshold(&self) -> usize {
        self.cast.threshold
    }

    /// h: how many holders there are, at points 1 to h.
    pub fn holders(&self) -> usize {
        self.cast.holders
    }

    /// The same key on a code path of one's choice.
    ///
    /// # Errors
    /// [`Error::Engine`] where the processor does not run it.
    pub fn with_body(self, body: Body) -> Result<Self> {
        Ok(Self { ring: Ring::with_body(&self.n, body)?, table: OnceLock::new(), ..self })
    }

    /// The code path that computes here.
    pub fn body(&self) -> Body {
        self.ring.body()
    }

    pub(super) fn cast(&self) -> Cast {
        self.cast
    }

    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    pub(super) fn n(&self) -> &[u64] {
        &self.n
    }

    pub(super) fn scale(&self) -> &[u64] {
        &self.scale
    }

    /// Number i of hs, v, v_1 .. v_h.
    fn power(&self, i: usize) -> &[u64] {
        let w = 2 * self.n.len();
        &self.powers[i * w..][..w]
    }

    /// v.
    pub(super) fn generator(&self) -> &[u64] {
        self.power(1)
    }

    /// v_j of the holder at a point.
    pub(super) fn check(&self, point: usize) -> &[u64] {
        self.power(1 + point)
    }

    /// Powers of hs, made when first used.
    pub(super) fn table(&self) -> &FixedBase {
        self.table.get_or_init(|| self.ring.fixed_base(self.power(0), self.bits() / 2))
    }

    /// Ciphertexts as limbs.
    ///
    /// # Errors
    /// [`Error::Message`] for other than whole integers modulo n^2 that are not 0.
    pub(super) fn ciphertexts(&self, bytes: &[u8]) -> Result<Zeroizing<Vec<u64>>> {
        let len = self.ciphertext_len();
        if !bytes.len().is_multiple_of(len) {
            return Err(Error::message(format!("{} bytes, expected ciphertexts of {len}", bytes.len())));
        }
        let all = from_bytes(bytes);
        let good = |x: &&[u64]| self.ring.contains(x) && !is_zero(x);
        match all.chunks_exact(len / 8).position(|x| !good(&x)) {
            Some(i) => Err(Error::message(format!("ciphertext {i} is not between 0 and n^2"))),
            None => Ok(all),
        }
    }
}

fn is_zero(x: &[u64]) -> bool {
    x.iter().all(|&limb| limb == 0)
}

/// A holder's share of what decrypts. Secret: it is neither printed nor cloned.
pub struct KeyShare {
    point: usize,
    /// s_j, below n n'.
    secret: Zeroizing<Vec<u64>>,
}

impl KeyShare {
    pub(super) fn new(point: usize, secret: Zeroizing<Vec<u64>>) -> Self {
        Self { point, secret }
    }

    /// The holder's point, from 1 on.
    pub fn point(&self) -> usize {
        self.point
    }

    pub(super) fn secret(&self) -> &[u64] {
        &self.secret
    }

    /// 2 Delta s_j, or Delta s_j, and its bits, which are the same for all shares of a key.
    pub(super) fn exponent(&self, factor: u64) -> (Zeroizing<Vec<u64>>, usize) {
        let length = 64 * self.secret.len() - 2 + bits(factor);
        let mut exponent = times(&self.secret, factor);
        exponent.truncate(length.div_ceil(64));
        (exponent, length)
    }

    /// As bytes, to be sealed to its holder: the point, then the integer.
    pub fn to_secret_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([&[self.point as u8][..], &to_bytes(&self.secret)].concat())
    }

    /// Of [`Self::to_secret_bytes`], for a key.
    ///
    /// # Errors
    /// [`Error::Input`] for bytes that are no share of such a key.
    pub fn from_secret_bytes(key: &PublicKey, bytes: &[u8]) -> Result<Self> {
        let expected = 1 + key.ciphertext_len();
        let Some((&point, secret)) = bytes.split_first().filter(|_| bytes.len() == expected) else {
            return Err(Error::input(format!("a key share of {} bytes, expected {expected}", bytes.len())));
        };
        let secret = from_bytes(secret);
        // Below n n' < 2^(2 bits - 2).
        if !(1..=key.holders()).contains(&point.into()) || secret[secret.len() - 1] >> 62 != 0 {
            return Err(Error::input(format!("a key share for point {point}, out of range for {key:?}")));
        }
        Ok(Self { point: point.into(), secret })
    }
}
