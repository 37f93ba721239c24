//! Garbled circuits: many instances of one circuit at a time, streamed.
//!
//! The server garbles, the client evaluates; half-gates with free XOR and point-and-permute, semi-honest. Labels are
//! 128 bits; [`blindvox_engine::garble`] has the gate and the choice of hashes, [`blindvox_engine::aes`] and
//! [`blindvox_engine::chacha`] say why they are safe: re-keying for every gate half and 256 instances keeps the
//! security of long runs at that of a short one (about 119 bits), where a fixed key would lose log2 of the number of
//! gates. Hash keys come from one sequence that never goes back, so (session, gate, half, chunk) never share one.
//!
//! **What each sees.** The evaluator sees tables, one label a wire and their colours: uniform, given that Delta and the
//! other labels are not known to it. The garbler sees the OT corrections of the evaluator's inputs: masked by a
//! generator's output. Outputs are shared bit by bit, output = colour at the garbler xor colour at the evaluator; a
//! party learns an output only when the other sends its colours.
//!
//! **Faults.** Streams have lengths that both parties know and their messages are numbered, so a short, lost, repeated
//! or displaced one is an error where it arrives, and a silent peer one after the channel's time-out. Bits changed
//! inside a table or a correction are not noticed: semi-honest garbling has nothing to check labels against, and
//! outputs are then wrong. An encrypted transport keeps third parties from it; a peer that deviates on purpose is
//! outside the threat model.
//!
//! | module | what |
//! |---|---|
//! | [`circuit`] | builder, plain evaluation |
//! | [`arithmetic`] | words, and the circuits of the layers |
//! | [`modular`] | the same modulo a prime |
//! | [`aes128`] | AES-128, to check the rest by |
//! | [`bristol`] | circuits in files |
//! | [`schedule`] | a circuit made ready to run |
//! | [`planes`] | input and output bits of many instances |
//! | [`traffic`] | bytes of runs |
//! | [`choice`] | which hash, and where gates are computed |
//! | [`garble`] | the two parties, chunk by chunk in cache; `batched`: the same in rooms on a device |

pub mod aes128;
pub mod arithmetic;
mod batched;
pub mod bristol;
pub mod choice;
pub mod circuit;
pub mod garble;
pub mod modular;
pub mod planes;
mod public;
pub mod schedule;
mod stream;
pub mod traffic;

pub use choice::{Garbling, GatePlace};
pub use circuit::{Bit, Builder, Circuit};
pub use garble::{Evaluator, Garbler, Half};
use planes::Plane;
pub use planes::Planes;
pub use schedule::Schedule;

/// Instances that are worked on together: a wire's labels are 4 KiB, and they share a gate's hash keys.
pub const INSTANCES: usize = blindvox_engine::aes::INSTANCES_PER_KEY;
