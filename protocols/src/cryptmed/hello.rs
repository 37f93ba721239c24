//! What all three ends of a session must have seen alike: a version, the terms, the architecture.

use std::sync::Arc;

use blindvox_models::Program;

use super::plan::{Preset, Reveal, Terms};
use crate::error::{Error, Result};
use crate::infer::shares::public;

/// Of the messages of [`super::session`] and those it names.
const VERSION: u8 = 1;

/// The public part of a program and how it is run.
///
/// # Errors
/// What the program makes impossible.
pub fn encode(program: &Program, terms: Terms) -> Result<Vec<u8>> {
    let code = u8::from(terms.reveal == Reveal::Scores) | u8::from(terms.preset == Preset::Paper) << 1;
    let mut hello = vec![VERSION, code];
    hello.extend(public::encode(program)?);
    Ok(hello)
}

/// Decodes and checks what [`encode`] wrote.
///
/// # Errors
/// [`Error::Protocol`].
pub fn decode(hello: &[u8]) -> Result<(Arc<Program>, Terms)> {
    let Some(([VERSION, code @ 0..=3], bytes)) = hello.split_at_checked(2) else {
        return Err(Error::protocol("the service runs another version of runs with a dealer"));
    };
    let reveal = if code & 1 == 1 { Reveal::Scores } else { Reveal::Labels };
    let preset = if code & 2 == 2 { Preset::Paper } else { Preset::Dealer };
    Ok((Arc::new(public::decode(bytes)?), Terms { reveal, preset }))
}

/// What the ends compare.
pub fn digest(hello: &[u8]) -> [u8; 32] {
    *blake3::hash(hello).as_bytes()
}
