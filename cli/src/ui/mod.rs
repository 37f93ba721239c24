//! What a person sees: progress and tables, pictures, files.

#[macro_use]
pub(crate) mod screen;

pub(crate) mod files;
pub(crate) mod preview;
