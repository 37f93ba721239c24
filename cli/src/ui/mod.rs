//! What a person sees: progress and tables, pictures, files.

#[macro_use]
pub mod screen;

pub mod files;
pub mod preview;
