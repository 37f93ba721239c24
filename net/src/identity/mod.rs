//! Who a host is, and whom it trusts.
//!
//! An identity is an Ed25519 key with a certificate of its own: a file for its owner (`NAME.pem`, key and certificate) and
//! one to give away (`NAME.crt`). Its [`Pin`] is a hash of the public key. Trust is by pin, or by an authority's
//! certificate.
//!
//! | module | what |
//! |---|---|
//! | [`pin`] | fingerprints of public keys |
//! | `checks` | what is checked of any certificate |
//! | [`files`] | making, writing and reading identities |
//! | [`trust`] | what is held against a peer's certificate |

pub(crate) mod checks;
pub mod files;
pub mod pin;
pub mod trust;

pub use files::{Certificate, Identity, keygen};
pub use pin::Pin;
pub use trust::Trust;
