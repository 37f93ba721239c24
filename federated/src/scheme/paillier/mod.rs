//! Threshold Paillier under a dealer's key: any t of h holders open a sum.
//!
//! | module | what |
//! |---|---|
//! | [`keys`] | the public key, a holder's share |
//! | [`dealer`] | the ceremony that makes them |
//! | [`encrypt`] | numbers to ciphertexts, and products of those |
//! | [`answer`] | a holder's part of a decryption |
//! | [`combine`] | t parts to the sums |
//! | [`proof`] | that a holder's part is right |
//!
//! Ciphertexts and answers travel as integers modulo n^2, the least byte first; all are checked: below n^2, not 0.

pub mod answer;
pub mod combine;
pub mod dealer;
pub mod encrypt;
pub mod keys;
mod number;
pub mod proof;

#[cfg(test)]
mod tests;
