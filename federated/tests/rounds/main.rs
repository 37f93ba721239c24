//! Rounds of whole federations: what they come to, and what goes wrong in them.

mod common;
mod faults;
mod federations;
mod proofs;
