//! AES-128 in batches: one key over many blocks, counter mode, and the hash of garbled circuits and OT.
//!
//! A block is a `u128` whose little-endian bytes are the cipher's 16 bytes. Four bodies give the same
//! bytes: VAES on 512-bit registers (32 blocks in flight) and on 256-bit ones (16), AES-NI (8), and the `aes` crate,
//! which brings its own hardware or constant-time software code elsewhere. All are constant-time.
//!
//! The hash is H_k(x) = E_k(s(x)) xor s(x), with the linear orthomorphism s(hi || lo) = (hi xor lo) || hi
//! (Guo, Katz, Wang, Yu: "Efficient and secure multiparty computation from fixed-key block ciphers", 2020).
//! Its keys are public; [`KeySequence`] gives out a fresh one for every few hundred inputs, because a
//! fixed key loses log2(number of gates) bits of security against generic attacks on many instances.

use std::sync::LazyLock;

use zeroize::{Zeroize, ZeroizeOnDrop};

mod half_tree;
#[cfg(target_arch = "x86_64")]
mod ni;
mod portable;
#[cfg(target_arch = "x86_64")]
pub(crate) mod vaes;
#[cfg(target_arch = "x86_64")]
mod vaes256;

pub use half_tree::{Mend, mend};

/// A code path; all give the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// VAES on AVX-512 registers.
    Vaes,
    /// VAES on AVX2 registers.
    Vaes256,
    /// AES-NI on 128-bit registers.
    AesNi,
    /// The `aes` crate.
    Portable,
}

impl Body {
    /// Every body that this processor runs, the fastest first.
    pub fn available() -> Vec<Self> {
        [Self::Vaes, Self::Vaes256, Self::AesNi, Self::Portable].into_iter().filter(|b| b.runs_here()).collect()
    }

    /// The fastest body that this processor runs.
    #[inline]
    pub fn best() -> Self {
        static BEST: LazyLock<Body> = LazyLock::new(|| Body::available()[0]);
        *BEST
    }

    #[cfg(target_arch = "x86_64")]
    fn runs_here(self) -> bool {
        match self {
            Self::Vaes => {
                is_x86_feature_detected!("vaes")
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
            }
            Self::Vaes256 => {
                is_x86_feature_detected!("vaes") && is_x86_feature_detected!("avx2") && Self::AesNi.runs_here()
            }
            Self::AesNi => is_x86_feature_detected!("aes") && is_x86_feature_detected!("ssse3"),
            Self::Portable => true,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn runs_here(self) -> bool {
        self == Self::Portable
    }
}

/// An expanded key: eleven round keys (the portable body uses the first, which is the key itself).
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
#[repr(C, align(16))]
pub struct Aes128 {
    pub(crate) round_keys: [u128; 11],
}

impl Default for Aes128 {
    fn default() -> Self {
        Self::new(0)
    }
}

/// s(hi || lo) = (hi xor lo) || hi.
#[inline]
pub(crate) fn orthomorphism(x: u128) -> u128 {
    x.rotate_left(64) ^ (x & (u128::MAX << 64))
}

impl Aes128 {
    /// Expands a key.
    pub fn new(key: u128) -> Self {
        let mut expanded = [Self { round_keys: [0; 11] }];
        Self::expand(&[key], &mut expanded);
        let [cipher] = expanded;
        cipher
    }

    /// Expands many keys at once.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn expand(keys: &[u128], out: &mut [Self]) {
        Self::expand_with(Body::best(), keys, out);
    }

    fn expand_with(body: Body, keys: &[u128], out: &mut [Self]) {
        assert_eq!(keys.len(), out.len(), "one cipher for each key");
        match body {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the body is only chosen on a processor that has its features.
            Body::Vaes => unsafe { vaes::expand(keys, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the bodies are only chosen on a processor that has their features.
            Body::Vaes256 | Body::AesNi => unsafe { ni::expand(keys, out) },
            _ => out.iter_mut().zip(keys).for_each(|(o, k)| o.round_keys[0] = *k),
        }
    }

    /// Encrypts every block in place.
    pub fn encrypt(&self, blocks: &mut [u128]) {
        self.encrypt_with(Body::best(), blocks);
    }

    fn encrypt_with(&self, body: Body, blocks: &mut [u128]) {
        match body {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the body is only chosen on a processor that has its features.
            Body::Vaes => unsafe { vaes::encrypt(self, blocks) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the body is only chosen on a processor that has its features.
            Body::Vaes256 => unsafe { vaes256::encrypt(self, blocks) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the body is only chosen on a processor that has its features.
            Body::AesNi => unsafe { ni::encrypt(self, blocks) },
            _ => portable::encrypt(self, blocks),
        }
    }

    /// Counter mode: `out[i]` = E(nonce·2^64 + start + i), the sum modulo 2^64.
    pub fn counter(&self, nonce: u64, start: u64, out: &mut [u128]) {
        self.counter_with(Body::best(), nonce, start, out);
    }

    fn counter_with(&self, body: Body, nonce: u64, start: u64, out: &mut [u128]) {
        match body {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the body is only chosen on a processor that has its features.
            Body::Vaes => unsafe { vaes::counter(self, nonce, start, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the body is only chosen on a processor that has its features.
            Body::Vaes256 => unsafe { vaes256::counter(self, nonce, start, out) },
            _ => {
                for (i, block) in out.iter_mut().enumerate() {
                    *block = (u128::from(nonce) << 64) | u128::from(start.wrapping_add(i as u64));
                }
                self.encrypt_with(body, out);
            }
        }
    }

    /// `out[i]` = H(`x[i]` xor `offset`).
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn hash(&self, x: &[u128], offset: u128, out: &mut [u128]) {
        self.hash_with(Body::best(), x, offset, out);
    }

    pub(crate) fn hash_with(&self, body: Body, x: &[u128], offset: u128, out: &mut [u128]) {
        assert_eq!(x.len(), out.len(), "one hash for each input");
        match body {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the body is only chosen on a processor that has its features.
            Body::Vaes => unsafe { vaes::hash(self, x, offset, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the body is only chosen on a processor that has its features.
            Body::Vaes256 => unsafe { vaes256::hash(self, x, offset, out) },
            _ => {
                for (o, x) in out.iter_mut().zip(x) {
                    *o = orthomorphism(x ^ offset);
                }
                self.encrypt_with(body, out);
                for (o, x) in out.iter_mut().zip(x) {
                    *o ^= orthomorphism(x ^ offset);
                }
            }
        }
    }
}

/// How many inputs of one batch share a hash key.
pub const INSTANCES_PER_KEY: usize = 256;

/// The public sequence of hash keys of one purpose within one session; no key is given out twice.
///
/// Both parties run one in step. Keys are E_root(0), E_root(1), ..., where root depends on the session's
/// random identifier and on the purpose, so that the key domains of garbling and of OT are disjoint.
pub struct KeySequence {
    root: Aes128,
    next: u64,
}

impl KeySequence {
    /// The sequence for `purpose` (a fixed string of the program) in the session with this identifier.
    pub fn new(session: &[u8; 32], purpose: &str) -> Self {
        let digest = blake3::keyed_hash(session, purpose.as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&digest.as_bytes()[..16]);
        Self { root: Aes128::new(u128::from_le_bytes(key)), next: 0 }
    }

    /// The next `out.len()` keys, expanded.
    pub fn next_keys(&mut self, out: &mut [Aes128]) {
        for out in out.chunks_mut(64) {
            let mut keys = [0; 64];
            let keys = &mut keys[..out.len()];
            self.root.counter(0, self.next, keys);
            self.next += out.len() as u64;
            Aes128::expand(keys, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(hex: &str) -> u128 {
        u128::from_str_radix(hex, 16).unwrap().swap_bytes()
    }

    /// Key, plaintext and ciphertext of FIPS-197, appendices B and C.1.
    #[test]
    fn every_body_gives_the_standard_s_answers() {
        for (key, plain, cipher) in [
            (
                "2b7e151628aed2a6abf7158809cf4f3c",
                "3243f6a8885a308d313198a2e0370734",
                "3925841d02dc09fbdc118597196a0b32",
            ),
            (
                "000102030405060708090a0b0c0d0e0f",
                "00112233445566778899aabbccddeeff",
                "69c4e0d86a7b0430d8cdb78070b4c55a",
            ),
        ] {
            for body in Body::available() {
                for len in [1, 5, 33] {
                    let mut aes = [Aes128 { round_keys: [0; 11] }];
                    Aes128::expand_with(body, &[block(key)], &mut aes);
                    let mut blocks = vec![block(plain); len];
                    aes[0].encrypt_with(body, &mut blocks);
                    assert_eq!(blocks, vec![block(cipher); len], "{body:?}");
                }
            }
        }
    }

    /// The last round key of FIPS-197's worked key expansion, appendix A.1.
    #[test]
    fn expansion_is_the_standard_s() {
        let cipher = Aes128::new(block("2b7e151628aed2a6abf7158809cf4f3c"));
        if Body::best() != Body::Portable {
            assert_eq!(cipher.round_keys[10], block("d014f9a8c9ee2589e13f0cc8b6630ca6"));
        }
    }

    proptest! {
        #[test]
        fn bodies_agree(keys in proptest::collection::vec(any::<u128>(), 1..10),
                        x in proptest::collection::vec(any::<u128>(), 0..130), start: u64, offset: u128) {
            let results: Vec<_> = Body::available().into_iter().map(|body| {
                let mut ciphers = vec![Aes128::default(); keys.len()];
                Aes128::expand_with(body, &keys, &mut ciphers);
                let mut all = vec![];
                for aes in &ciphers {
                    let (mut c, mut h, mut e) = (vec![0; x.len()], vec![0; x.len()], x.clone());
                    aes.counter_with(body, 7, start, &mut c);
                    aes.hash_with(body, &x, offset, &mut h);
                    aes.encrypt_with(body, &mut e);
                    all.push((c, h, e));
                }
                all
            }).collect();
            prop_assert!(results.windows(2).all(|w| w[0] == w[1]));
        }

        #[test]
        fn the_hash_is_its_definition(key: u128, x: u128, offset: u128) {
            let aes = Aes128::new(key);
            let mut out = [0];
            aes.hash(&[x], offset, &mut out);
            let y = x ^ offset;
            let (hi, lo) = (y >> 64, y & u128::from(u64::MAX));
            let s = ((hi ^ lo) << 64) | hi;
            let mut e = [s];
            aes.encrypt(&mut e);
            prop_assert_eq!(out[0], e[0] ^ s);
        }
    }

    #[test]
    fn keys_never_repeat_across_calls_sessions_and_purposes() {
        let draw = |session: u8, purpose, counts: &[usize]| {
            let mut sequence = KeySequence::new(&[session; 32], purpose);
            counts
                .iter()
                .flat_map(|&n| {
                    let mut out = vec![Aes128::default(); n];
                    sequence.next_keys(&mut out);
                    out.iter().map(|k| k.round_keys[0]).collect::<Vec<_>>()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(1, "a", &[70, 3]), draw(1, "a", &[1, 72]));
        let mut all = [draw(1, "a", &[100]), draw(1, "b", &[100]), draw(2, "a", &[100])].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 300);
    }
}
