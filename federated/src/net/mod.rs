//! Rounds between hosts: members call the aggregator over mutual TLS, ask what is next, and do it.
//!
//! | module | what |
//! |---|---|
//! | [`wire`] | what is asked and answered, and how large it may be |
//! | [`models`] | model files by their digests |
//! | [`course`] | what the aggregator does when |
//! | [`server`] | its connections |
//! | [`way`] | a member's way to it |
//! | [`caller`] | what a member does when |
//!
//! A connection begins with [`wire::Hello`]; then the member asks and the aggregator answers, one after the other. Whatever a
//! member hands over may be handed over again: so a connection that is lost is made anew, and the last question asked again.

pub mod caller;
pub mod course;
pub mod models;
pub mod server;
pub mod way;
pub mod wire;
