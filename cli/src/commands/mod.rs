//! One file a command: it parses nothing and prints through [`crate::ui`].

pub mod calibrate;
pub mod doctor;
pub mod estimate;
pub mod identity;
pub mod import;
pub mod operate;
pub mod plain;
mod results;
pub mod segment;
mod segment_remote;
pub mod serve;
