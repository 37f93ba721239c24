//! One file a command: it parses nothing and prints through [`crate::ui`].

pub(crate) mod calibrate;
pub(crate) mod doctor;
pub(crate) mod import;
pub(crate) mod plain;
mod results;
pub(crate) mod segment;
