//! CryptMed: inference on additive shares alone, with a dealer.
//!
//! | module | what |
//! |---|---|
//! | [`plan`] | from a program to what a run opens and what a dealer shares for it |
//! | [`session`], [`source`], [`dealer`] | the ends of a run; what the dealer sends |
//! | [`hello`] | what all ends must have seen alike |
//! | [`local`], `ready` | all ends in one process; what a party holds before a run |
//! | [`memory`], [`outcome`] | what each end holds at its peak; what came of a run |
//! | [`layer`], [`gemm`] | linear layers under fresh masks |
//! | [`opening`] | activations, comparisons, truncation by one opening |
//! | [`masks`], [`prefix`] | what a dealer shares for one; trees over shared bits |
//! | [`adder`], [`triples`] | the published forms: prefix adder, ring triples |
//! | [`items`] | what a dealer shares at a time |
//! | [`wraps`] | truncation of shares by one bit each way |
//! | [`decide`] | the class, or the scores |
//! | [`pool`] | maxima and minima of windows |
//! | [`streams`], [`lanes`], [`end`] | seeds' words; bits side by side; messages |

pub mod adder;
pub mod dealer;
pub mod decide;
pub mod end;
pub mod gemm;
pub mod hello;
pub mod items;
pub mod lanes;
pub mod layer;
pub mod local;
pub mod masks;
pub mod memory;
pub mod opening;
pub mod outcome;
pub mod plan;
pub mod pool;
pub mod prefix;
mod ready;
pub mod session;
pub mod source;
pub mod streams;
pub mod triples;
pub mod wraps;

#[cfg(test)]
mod tests;
