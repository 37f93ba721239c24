//! One file a command: it parses nothing and prints through [`crate::ui`].

pub mod calibrate;
pub mod doctor;
pub mod import;
pub mod plain;
pub mod predict;
mod results;
pub mod segment;
