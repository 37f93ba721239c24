//! One file a command: it parses nothing and prints through [`crate::ui`].

pub(crate) mod calibrate;
pub(crate) mod ckks;
pub(crate) mod classify;
pub(crate) mod deal;
pub(crate) mod doctor;
pub(crate) mod estimate;
pub(crate) mod federate;
pub(crate) mod identity;
pub(crate) mod import;
pub(crate) mod operate;
pub(crate) mod plain;
pub(crate) mod predict;
mod predict_remote;
mod predict_report;
mod predict_rows;
mod results;
pub(crate) mod segment;
mod segment_remote;
mod segment_slots;
pub(crate) mod serve;
pub(crate) mod slots;
