//! Oblivious transfer: a few public-key transfers, extended to any number of correlated ones.
//!
//! One [`OtSender`] and one [`OtReceiver`] make one direction with one secret offset Delta:
//!
//! | method | sender has | receiver has |
//! |---|---|---|
//! | `labels` | zero labels q_i | q_i xor b_i·Delta (not hashed: input labels of a garbled circuit) |
//! | `rot` | H(q_i), H(q_i xor Delta) | the one that b_i selects |
//! | `cot` | s_i | r_i with s_i + r_i = b_i·c_i in a ring, for the sender's correlations c_i |
//!
//! Security is 128 bits. Between hosts it holds against a party that deviates (the check of extensions, base transfers on
//! lattices); in one process, where both halves are one's own, it is semi-honest. The sender learns nothing of the choices b_i (they are masked by outputs of a
//! generator), the receiver nothing of Delta or of the values that it did not choose. The receiver's values are safe to
//! use without hashing only as labels under free XOR, whose hash is itself safe under the offset Delta. The hash is
//! re-keyed for every 256 transfers ([`blindvox_engine::aes`] says why), in a key domain of its own for every direction
//! and purpose. Choices are used without branches or indices. Nothing is used twice: every extension moves the counter
//! of all leaf streams and of the hash keys on, in both parties alike. A message of a wrong length or out of order is
//! an error; changed bits of the right length are not noticed, and give wrong values.
//!
//! [`base`](self) transfers: Chou-Orlandi, between hosts Masny-Rindal over ML-KEM; extension: SoftSpoken, of which IKNP is the case of width 1. For large
//! amounts [`silent`] OT takes its place in either direction ([`OtPair::go_silent`]); whoever draws transfers does not
//! know which it is.

mod base;
mod check;
mod columns;
mod cot;
mod lattice;
mod lots;
pub(crate) mod pack;
mod random;
mod setup;
pub mod silent;
mod softspoken;
mod stock;
mod tree;

pub(crate) use cot::messages;
pub use cot::{bytes, cot_bytes};
pub(crate) use setup::setup_from_bytes;
pub(crate) use softspoken::extension_bytes;
pub use softspoken::{LINK_WIDTH, LOCAL_WIDTH, OtReceiver, OtSender};

use blindvox_engine::Prng;
use blindvox_net::channel::{Channel, Party};

use crate::error::Result;
use crate::traffic::Bytes;

/// Bytes of [`OtPair::setup`] at a block width.
pub fn setup_bytes(width: usize) -> Bytes {
    setup::setup_bytes(Party::Client, width) + setup_from_bytes(Party::Server, width)
}

/// Both directions, as one party holds them.
pub struct OtPair {
    /// This party sends, its peer chooses.
    pub send: OtSender,
    /// The peer sends, this party chooses.
    pub recv: OtReceiver,
}

impl OtPair {
    /// Sets both directions up; the server's as sender comes first, the other one's base transfers are taken from it.
    pub fn setup(party: Party, channel: &mut Channel, prng: &mut Prng) -> Result<Self> {
        Ok(match party {
            Party::Server => {
                let mut send = OtSender::setup(channel, prng)?;
                let recv = OtReceiver::setup_from(&mut send, channel, prng)?;
                Self { send, recv }
            }
            Party::Client => {
                let mut recv = OtReceiver::setup(channel, prng)?;
                let send = OtSender::setup_from(&mut recv, channel, prng)?;
                Self { send, recv }
            }
        })
    }
}
